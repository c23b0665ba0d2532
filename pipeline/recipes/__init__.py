"""Recipes: their keys, and the files that hold them."""
