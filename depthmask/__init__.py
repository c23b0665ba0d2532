"""depthmask datasets for TensorFlow: read what the pipeline made, without Beam."""

from depthmask.reading import DatasetError, DatasetInfo, load, read_info

__all__ = ["DatasetError", "DatasetInfo", "load", "read_info"]
