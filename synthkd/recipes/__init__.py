"""Recipes: the steps that ask a teacher. One file a recipe, each with its prompts and docs page."""
