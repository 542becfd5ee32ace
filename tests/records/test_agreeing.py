from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.records.agreeing import Reading, agree
from synthkd.records.loading import load_schema
from synthkd.records.reading import read_record
from synthkd.rows import Json

SCHEMA = load_schema(
    {
        "fields": {
            "no": {},
            "tags": {"many": True},
            "from": {"type": "record", "fields": {"city": {}, "zip": {}}},
        }
    },
    Path(),
)


def readings(*said: Json) -> list[Reading]:
    names = "abcdef"
    return [
        Reading(teacher=names[at], leaves=read_record(one, SCHEMA).leaves)
        for at, one in enumerate(said)
    ]


X, Y = {"no": "x"}, {"no": "y"}
NULL: Json = {"no": None, "tags": []}
LEFT_OUT: Json = {"tags": []}


@pytest.mark.parametrize(
    ("said", "settings", "value", "what", "support"),
    [
        ([X, X, Y], {}, "x", "outvoted", 2 / 3),
        ([X, X, X], {}, "x", "agree", 1),
        ([X], {}, "x", "alone", 1),
        ([X, Y], {}, "x", "tie", 0.5),
        ([X, Y], {"ties": "abstain"}, None, "tie", None),
        ([X, Y], {"weights": {"b": 1.5}}, "y", "outvoted", 0.6),
        ([X, Y, Y], {"weights": {"a": 2}}, "x", "tie", 0.5),
        ([X, NULL, NULL], {}, None, "outvoted", None),  # that there is none is a vote
        ([NULL, NULL], {}, None, "agree", None),
        ([X, LEFT_OUT, LEFT_OUT], {}, "x", "alone", 1 / 3),  # silence is none
        ([X, LEFT_OUT, LEFT_OUT], {"at_least": 0.5}, None, "too little support", None),
        ([X, X, Y], {"at_least": 2 / 3}, "x", "outvoted", 2 / 3),
        ([LEFT_OUT], {}, None, "no vote", None),
    ],
)
def test_a_field_is_what_most_say(
    said: list[Json], settings: dict[str, Any], value: Json, what: str, support: float | None
) -> None:
    agreed = agree(readings(*said), SCHEMA, **settings)
    assert agreed.record["no"] == value
    assert dict(agreed.figures)["no"] == what
    told: Any = agreed.support.get("no")
    assert (None if told is None else told["support"]) == pytest.approx(support)


@pytest.mark.parametrize(
    ("lists", "ties", "value", "what"),
    [
        ([["a", "b"], ["a", "b"]], "first", ["a", "b"], "agree"),
        ([["a", "b"], ["b", "c"], ["b", "a"]], "first", ["a", "b"], "outvoted"),
        ([["a"], ["b"]], "first", ["a"], "outvoted"),
        ([["a"], ["b"]], "abstain", None, "outvoted"),
        ([["a", "a"], ["a", "a"], ["a"]], "first", ["a", "a"], "outvoted"),
        ([[], [], ["a"]], "first", [], "nothing listed"),
        ([["a"]], "first", ["a"], "alone"),
    ],
)
def test_of_a_list_each_item_is_voted_on(
    lists: list[Json], ties: Any, value: Json, what: str
) -> None:
    agreed = agree(readings(*({"tags": one} for one in lists)), SCHEMA, ties=ties)
    assert agreed.record["tags"] == value
    assert dict(agreed.figures)["tags"] == what


def test_each_field_of_a_record_is_voted_on_and_who_says_it_is_told() -> None:
    said: list[Json] = [
        {"from": {"city": "Oslo", "zip": "1"}},
        {"from": {"city": "Oslo", "zip": "2"}},
        {"from": {"city": "Bergen", "zip": "2"}},
    ]
    agreed = agree(readings(*said), SCHEMA)
    assert agreed.record["from"] == {"city": "Oslo", "zip": "2"}
    told: Any = agreed.support
    assert (told["from.city"]["teachers"], told["from.zip"]["teachers"]) == (["a", "b"], ["b", "c"])
    assert agree(readings({"from": {"city": None}}), SCHEMA).record["from"] is None


VOTES = st.lists(st.sampled_from(["x", "y", None]), min_size=1, max_size=6)


@given(VOTES, st.randoms())
def test_the_order_of_readings_decides_nothing_but_ties(votes: list[str | None], rng: Any) -> None:
    shuffled = rng.sample(votes, len(votes))
    one, other = (
        agree(readings(*({"no": vote} for vote in order)), SCHEMA, ties="abstain").record["no"]
        for order in (votes, shuffled)
    )
    assert one == other
