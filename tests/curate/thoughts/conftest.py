"""The fixture `ask` of the recipes: these steps ask teachers too."""

from tests.recipes.conftest import ask

__all__ = ["ask"]
