"""Files on any file system, their checksums, and records in them."""
