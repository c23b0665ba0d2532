"""A dataset as pictures: a sheet, and a web page that opens anywhere."""
