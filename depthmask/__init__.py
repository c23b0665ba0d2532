"""depthmask datasets for TensorFlow: read what the pipeline made, without Beam."""

from importlib.metadata import version

from depthmask.reading import DatasetError, DatasetInfo, load, read_info

__version__ = version("depthmask")
__all__ = ["DatasetError", "DatasetInfo", "load", "read_info"]
