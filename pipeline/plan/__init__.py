"""Which examples there are, and where each foreground lands."""
