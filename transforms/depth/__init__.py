"""Depth: models of several kinds behind one interface, and how their maps are stored."""
