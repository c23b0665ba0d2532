"""What describes a dataset: written, opened, checked."""
