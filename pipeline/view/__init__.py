"""A dataset as pictures: a sheet, and a web page that opens anywhere."""

from pipeline.view.gallery import write_gallery
from pipeline.view.sheet import write_sheet

__all__ = ["write_gallery", "write_sheet"]
