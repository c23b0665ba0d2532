"""Running a job: its folder, its lock, Beam's options, its progress, its end."""
