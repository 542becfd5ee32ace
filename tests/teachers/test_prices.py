"""Prices: the list as data, exact arithmetic, what usage says, and what is unknown said so."""

from __future__ import annotations

import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import Price, TeacherConfig
from synthkd.ledger import Cost
from synthkd.teachers.prices import FREE, _prices, nano_usd, price_for, price_of, price_record
from synthkd.teachers.request import Usage
from synthkd.teachers.wire import parse_chat
from tests.teachers.acting import Noting, Playing, ask
from tests.teachers.test_budget import budgeted

ENDPOINT = "http://127.0.0.1:1/v1"

tokens = st.integers(0, 10**6)
dollars = st.decimals(0, 1000, places=6).map(float)


def replied(usage: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": "x"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return orjson.dumps({"choices": choices, "usage": usage})


# ------------------------------------------------------------------------------------ the list


def test_every_price_of_the_list_has_a_date_and_a_source() -> None:
    listed = _prices()
    assert len(listed) > len({entry.model for entry in listed.values()}), "other names find it too"
    for name, entry in listed.items():
        assert name in {entry.model, *entry.also}
        assert datetime.date(2023, 1, 1) < entry.date < datetime.date(2100, 1, 1)
        assert "." in entry.source.split("/")[0], f"{name}: the source is no page"
        assert entry.cached_prompt is None or entry.cached_prompt < entry.prompt < entry.completion


def test_a_price_is_found_by_its_exact_name_alone() -> None:
    assert price_of("gpt-4o-mini") == Price(
        prompt=0.15, completion=0.6, cached_prompt=0.075, batch_discount=0.5
    )
    assert price_of("gpt-4.1-2025-04-14") == price_of("gpt-4.1")
    assert price_of("gpt-4.1-2099-01-01") is None
    assert price_of("") is None


def test_the_teachers_own_price_comes_first() -> None:
    own = {"prompt": 1, "completion": 2, "cached_prompt": 0.5, "batch_discount": 0.25}
    config = TeacherConfig.model_validate(
        {"endpoint": ENDPOINT, "model": "gpt-4o-mini", "price": own}
    )
    assert price_for(config) == Price(**own)
    record = price_record(config)
    assert record is not None
    assert (record.source, record.date, record.batch_discount) == (
        "set in the pipeline file",
        None,
        0.25,
    )


def test_where_a_price_is_from() -> None:
    listed = price_record(TeacherConfig(endpoint=ENDPOINT, model="gpt-5-nano"))
    assert listed is not None
    words = listed.in_words()
    assert "0.05 USD per million prompt tokens (cached 0.005), 0.4 of completion" in words
    assert "batch discount 50%" in words
    assert "developers.openai.com" in words
    assert words.endswith(f"of {listed.date}")
    unsaid = price_record(TeacherConfig(endpoint=ENDPOINT, model="gpt-3.5-turbo"))
    assert unsaid is not None
    assert "(cached unknown)" in unsaid.in_words()
    assert "batch discount unknown" in unsaid.in_words()
    assert price_record(TeacherConfig(endpoint=ENDPOINT, model="mine")) is None
    free = price_record(TeacherConfig.model_validate({"simulated": {"world": "tickets"}}))
    assert free is not None
    assert (free.prompt, free.completion, free.source) == (0, 0, "simulated: free")


@pytest.mark.parametrize(
    ("price", "fault"),
    [
        ({"prompt": 1, "completion": 1, "cached_prompt": 2}, r"cached_prompt must be <= prompt"),
        ({"prompt": 1, "completion": 1, "batch_discount": 1.5}, "less than or equal to 1"),
        ({"prompt": -1, "completion": 1}, "greater than or equal to 0"),
    ],
)
def test_a_price_that_cannot_be(price: dict[str, float], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Price.model_validate(price)


# ------------------------------------------------------------------------------------ arithmetic


@given(
    prompt=dollars,
    share=st.floats(0, 1),
    completion=dollars,
    discount=st.none() | st.floats(0, 1),
    asked=tokens,
    answered=tokens,
    cached=tokens,
)
def test_the_full_price_is_the_worst(
    prompt: float,
    share: float,
    completion: float,
    discount: float | None,
    asked: int,
    answered: int,
    cached: int,
) -> None:
    """What a budget holds covers whatever part the provider had cached, and batch mode."""
    full = Price(prompt=prompt, completion=completion)
    cheap = Price(
        prompt=prompt,
        completion=completion,
        cached_prompt=round(prompt * share, 6) if share < 1 else prompt,
        batch_discount=discount,
    )
    held = nano_usd(cheap, prompt_tokens=asked, completion_tokens=answered)
    assert held == nano_usd(full, prompt_tokens=asked, completion_tokens=answered)
    for price in (full, cheap):
        settled = nano_usd(
            price, prompt_tokens=asked, completion_tokens=answered, cached_prompt_tokens=cached
        )
        in_batch = nano_usd(
            price,
            prompt_tokens=asked,
            completion_tokens=answered,
            cached_prompt_tokens=cached,
            batch=True,
        )
        assert 0 <= in_batch <= settled <= held
    assert nano_usd(FREE, prompt_tokens=asked, completion_tokens=answered) == 0


def test_cached_tokens_and_batches_are_cheaper() -> None:
    price = Price(prompt=2, completion=8, cached_prompt=0.5, batch_discount=0.5)
    cost = nano_usd(price, prompt_tokens=100, completion_tokens=10, cached_prompt_tokens=60)
    assert cost == 40 * 2000 + 60 * 500 + 10 * 8000
    half = nano_usd(
        price, prompt_tokens=100, completion_tokens=10, cached_prompt_tokens=60, batch=True
    )
    assert half == cost // 2
    unknown = Price(prompt=2, completion=8)
    full = nano_usd(
        unknown, prompt_tokens=100, completion_tokens=10, cached_prompt_tokens=60, batch=True
    )
    assert full == 100 * 2000 + 10 * 8000


# ------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, (9, 2, None, None)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 7,
                "total_tokens": 16,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            (9, 7, 8, 5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4},
            (9, 2, 4, None),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 16,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            (9, 7, None, 5),
        ),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, (None,) * 4),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, (None, None, None, 5)),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, (None,) * 4),
    ],
    ids=["plain", "openai", "deepseek", "grok", "nulls", "alone", "no count"],
)
def test_what_providers_say_they_used(usage: dict[str, Any], read: tuple[int | None, ...]) -> None:
    prompt, completion, cached, reasoning = read
    assert parse_chat(replied(usage)).usage == Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_prompt_tokens=cached,
        reasoning_tokens=reasoning,
    )


async def test_what_was_cached_is_settled_at_its_own_price_and_held_at_the_full_one() -> None:
    price = Price(prompt=1, completion=3, cached_prompt=0.1)
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    ledger = Noting()
    layer = budgeted(Playing(parse_chat(replied(usage))), ledger, price=price)
    held: list[Cost] = []
    inner = layer.inner.complete

    async def complete(request: Any) -> Any:
        held.append(ledger.held)
        return await inner(request)

    layer.inner.complete = complete  # type: ignore[method-assign]
    await layer.complete(ask())
    assert [cost.nano_usd for cost in held] == [20 * 1000 + 50 * 3000]
    assert ledger.spent == Cost(
        requests=1, prompt_tokens=10, completion_tokens=5, nano_usd=2 * 1000 + 8 * 100 + 5 * 3000
    )
    counts = layer.stats.counts()
    assert (counts.cached_prompt_tokens, counts.reasoning_tokens) == (8, 4)
