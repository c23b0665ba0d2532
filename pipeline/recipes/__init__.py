"""Recipes: their keys, and the files that hold them."""

from pipeline.recipes.json_schema import recipe_schema
from pipeline.recipes.loading import builtin_recipes, load_recipe
from pipeline.recipes.schema import Recipe

__all__ = ["Recipe", "builtin_recipes", "load_recipe", "recipe_schema"]
