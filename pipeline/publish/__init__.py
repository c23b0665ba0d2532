"""Publishing a dataset or an export: what its maker says of it, and what is made of that."""
