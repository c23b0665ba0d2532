"""depthmask datasets for TensorFlow: read what the pipeline made, without Beam."""

from importlib.metadata import version

from depthmask.errors import DatasetError
from depthmask.reading import DatasetInfo, load, read_info

__version__ = version("depthmask")
__all__ = ["DatasetError", "DatasetInfo", "load", "read_info"]
