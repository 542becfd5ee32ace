"""A pool may be somebody's JSON: whatever it holds, a row comes out of it or one clear error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.answers import READ
from synthkd.errors import RowError
from tests.curate.choose.choosing import choose

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS)
KEYS = (
    *("teacher", "sample", "text", "rationale", "answer", "status", "likelihood", "tokens"),
    *("score", "logprob", "finish", "key", "thought"),
)
GOOD: Mapping[str, st.SearchStrategy[Any]] = {
    "teacher": st.sampled_from(["a", "b"]),
    "sample": st.integers(0, 9),
    "text": st.text(max_size=4),
    "rationale": st.text(max_size=4),
    "answer": st.sampled_from(["4", "5", "", "1e400", "٤", "4" * 200]) | st.none(),
    "status": st.sampled_from(["ok", "no_cue", "run_on_cut", "too_long"]),
    "likelihood": st.floats(-9, 0),
}
CANDIDATES = st.one_of(
    st.fixed_dictionaries(dict(GOOD)),
    st.builds(
        lambda good, key, value: {**good, key: value},
        st.fixed_dictionaries(dict(GOOD)),
        st.sampled_from(KEYS),
        VALUES,
    ),
)
POOLS = st.lists(CANDIDATES, max_size=4) | st.lists(VALUES, max_size=2) | VALUES
HUGE = st.floats(-1e308, 1e308)
NUMBERS = st.fixed_dictionaries(
    dict(GOOD) | {"score": HUGE | st.just(1e308), "logprob": HUGE, "tokens": HUGE}
)
STEPS: list[tuple[str, Mapping[str, Any]]] = [
    ("choose.strongest", {"order": ["a", "b"]}),
    ("choose.random", {"agreeing": True}),
    ("choose.grape", {}),
    ("choose.vote", {"answer": {"type": "number"}}),
    ("choose.vote", {"weight": "logprob"}),
    ("choose.rerank", {"weight": "likelihood"}),
    ("choose.rerank", {"weight": "score", "weighted": True}),
    ("contrast", {"students": ["b"], "negatives_at_least": 0, "unread": True}),
    ("confidence.clear", {"pool": True}),
    ("confidence.correct", {"pool": True}),
    ("candidates.sums", {}),
    ("thoughts.choose", {"gold": "response"}),
]


def outcome(name: str, pool: Any, settings: Mapping[str, Any], **fields: Any) -> Any:
    """What came of it, or why nothing did; any other error is a bug."""
    try:
        return asyncio.run(choose(name, pool, settings, **fields))
    except RowError as error:
        return str(error)


@pytest.mark.parametrize(("name", "config"), STEPS)
@settings(max_examples=60)
@given(pool=POOLS | st.lists(NUMBERS, max_size=4))
def test_whatever_a_pool_holds(name: str, config: Mapping[str, Any], pool: Any) -> None:
    made = outcome(name, pool, config, response="5", confident=True)
    if isinstance(made, str):
        assert 0 < len(made) < 1000
    elif "chosen" in made.fields:
        assert made.fields["answer"] is not None
        took = made.fields["chosen"]
        (status,) = {
            each.get("status", "ok")
            for each in pool
            if (each["teacher"], each.get("sample", 0)) == (took["teacher"], took["sample"])
        }
        assert status in READ
    else:
        assert len(made.fields["candidates"]) == len(pool)


@settings(max_examples=60)
@given(good=st.lists(CANDIDATES, max_size=3), bad=POOLS, score=st.sampled_from([None, "score"]))
def test_whatever_pairs_are_made_of(good: Any, bad: Any, score: Any) -> None:
    lists = {"positives": good, "negatives": bad}
    made = outcome("contrast.pairs", [], {"most": 3, "score": score}, **lists)
    if isinstance(made, str):
        assert 0 < len(made) < 1000
    else:
        assert all(row.fields["chosen"] != row.fields["rejected"] for row in made.rows)
