"""PTransforms of the depthmask graph, and the plain functions beneath them."""
