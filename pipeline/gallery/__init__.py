"""The gallery: a dataset as one web page that opens anywhere."""
