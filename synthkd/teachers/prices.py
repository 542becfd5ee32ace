"""Prices per model, as data (prices.yaml). Unknown is None, never 0.

>>> nano_usd(Price(prompt=0.15, completion=0.60), prompt_tokens=1000, completion_tokens=100)
210000
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cache
from importlib import resources

import yaml

from synthkd.config import Price

FREE = Price(prompt=0, completion=0)


def price_of(model: str) -> Price | None:
    """The list price of exactly this model; None = unknown."""
    return _prices().get(model)


def nano_usd(price: Price, *, prompt_tokens: int, completion_tokens: int) -> int:
    """Billionths of a dollar, exact and rounded up."""
    pico = _pico_usd(price.prompt) * prompt_tokens + _pico_usd(price.completion) * completion_tokens
    return -(-pico // 1000)


@cache
def _pico_usd(per_million: float) -> int:
    """Dollars per million tokens as 1e-12 dollars per token: whole for any price people write."""
    return math.ceil(Decimal(str(per_million)) * 10**6)


@cache
def _prices() -> dict[str, Price]:
    text = resources.files("synthkd.teachers").joinpath("prices.yaml").read_text("utf-8")
    return {
        entry["model"]: Price(prompt=entry["prompt"], completion=entry["completion"])
        for entry in yaml.safe_load(text)
    }
