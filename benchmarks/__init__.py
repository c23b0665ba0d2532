"""Measurements: how fast the pipeline is, and which local runner is the best."""
