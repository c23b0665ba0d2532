"""The user's pictures: found, checked, prepared once."""
