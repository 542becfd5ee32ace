"""Prices per model, as data (prices.yaml), each with its date and source. Unknown is None, never 0.

>>> price = Price(prompt=0.15, completion=0.60, cached_prompt=0.075)
>>> nano_usd(price, prompt_tokens=1000, completion_tokens=100)
210000
>>> nano_usd(price, prompt_tokens=1000, completion_tokens=100, cached_prompt_tokens=400)
180000
"""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from functools import cache
from importlib import resources

import yaml

from synthkd.config import Name, Price, Settings, TeacherConfig
from synthkd.manifest import PriceRecord

FREE = Price(prompt=0, completion=0)


class _Listed(Price):
    """An entry of prices.yaml."""

    model: Name
    also: tuple[Name, ...] = ()
    """Other names of the same model."""
    date: datetime.date
    source: str


class _PriceList(Settings):
    entries: list[_Listed]


def price_of(model: str) -> Price | None:
    """The list price of exactly this model; None = unknown."""
    listed = _prices().get(model)
    return None if listed is None else Price(**listed.model_dump(include=set(Price.model_fields)))


def price_for(config: TeacherConfig) -> Price | None:
    """What the teacher costs; None = unknown.

    Recorded and simulated ones are free, and so is a server of one's own: nobody sends a bill for
    its tokens. Whoever wants the hours of the GPU counted gives a `price`.
    """
    if config.price is not None:
        return config.price
    if config.kind != "http":
        return FREE
    return None if config.model is None else price_of(config.model)


def price_record(config: TeacherConfig) -> PriceRecord | None:
    """The price with where it is from, for the manifest and for people; None = unknown."""
    price = price_for(config)
    if price is None:
        return None
    listed = _prices().get(config.model or "") if config.price is None else None
    source = "set in the pipeline file" if config.price is not None else free_because(config)
    return PriceRecord(
        **price.model_dump(),
        date=None if listed is None else listed.date,
        source=source if listed is None else listed.source,
    )


def free_because(config: TeacherConfig) -> str:
    """Why a teacher that is not asked over the network costs nothing."""
    if config.kind == "vllm":
        return "free: hardware of your own, so no bill for tokens"
    return f"{config.kind}: free"


def nano_usd(
    price: Price,
    *,
    prompt_tokens: int,
    completion_tokens: int,
    cached_prompt_tokens: int = 0,
    batch: bool = False,
) -> int:
    """Billionths of a dollar, exact and rounded up.

    Args:
        price: US dollars per million tokens.
        prompt_tokens: all of them, those included that the provider had cached.
        completion_tokens: all of them, those of reasoning included.
        cached_prompt_tokens: those of the prompt that the provider had cached; they cost as much as
            the others where no price for them is known.
        batch: whether they were asked in batch mode; an unknown discount is none.
    """
    cached = min(cached_prompt_tokens, prompt_tokens)
    cached_price = price.prompt if price.cached_prompt is None else price.cached_prompt
    pico = (
        _pico_usd(price.prompt) * (prompt_tokens - cached)
        + _pico_usd(cached_price) * cached
        + _pico_usd(price.completion) * completion_tokens
    )
    if batch and price.batch_discount is not None:
        pico = math.ceil(pico * (1 - Decimal(str(price.batch_discount))))
    return -(-pico // 1000)


@cache
def _pico_usd(per_million: float) -> int:
    """Dollars per million tokens as 1e-12 dollars per token: whole for any price people write."""
    return math.ceil(Decimal(str(per_million)) * 10**6)


@cache
def _prices() -> dict[str, _Listed]:
    text = resources.files("synthkd.teachers").joinpath("prices.yaml").read_text("utf-8")
    listed = _PriceList(entries=yaml.safe_load(text)).entries
    return {name: entry for entry in listed for name in (entry.model, *entry.also)}
