"""Recipes: runs and tools whose inputs are results of earlier steps."""
