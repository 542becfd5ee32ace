"""The strongest teacher's answer, and chance; and what a pool may be made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.errors import MissingField, Rejected, RowError
from synthkd.steps import Step, find_step
from tests.curate.choose.choosing import choose, one, who

POOL = [
    one("a", None),
    one("b", "4"),
    one("b", "5", sample=1),
    one("c", "4.0"),
    one("c", "7", sample=1, status="truncated"),
]


async def test_the_strongest_that_has_an_answer_is_taken() -> None:
    made = await choose("choose.strongest", POOL, {"order": ["a", "c", "b"]})
    assert {name: made.fields[name] for name in ("answer", "rationale", "finish", "chosen")} == {
        "answer": "4.0",
        "rationale": "c thinks.",
        "finish": "stop",
        "chosen": {"teacher": "c", "sample": 0, "key": "c-0"},
    }
    assert made.fields["agreement"] == 2 / 5  # 4 is 4.0, and what cannot be used counts against it
    assert made.fields["candidates"] == POOL
    right = await choose("choose.strongest", POOL, {"order": ["b"], "gold": "gold"}, gold=5)
    assert who(right.fields) == ("b", 1)
    unknown = await choose("choose.strongest", POOL, {"order": ["b"], "gold": "gold"}, gold=None)
    assert who(unknown.fields) == ("b", 0)
    other = await choose("choose.strongest", [], {"order": ["c"], "candidates": "more"}, more=POOL)
    assert (who(other.fields), other.fields["more"]) == (("c", 0), POOL)
    most = await choose("choose.strongest", POOL[2:], {"order": ["b", "c"], "agreeing": True})
    assert who(most.fields) == ("b", 1)  # a tie: the one that comes first


async def test_every_candidate_is_as_likely_by_chance_and_a_row_chooses_the_same_again() -> None:
    picked = Counter(
        [who((await choose("choose.random", POOL, row=str(row))).fields) for row in range(300)]
    )
    assert set(picked) == {("b", 0), ("b", 1), ("c", 0)}
    assert min(picked.values()) > 70
    again = [(await choose("choose.random", POOL, row="7")).fields for _ in range(2)]
    assert again[0] == again[1]


async def test_a_teacher_that_no_row_has_is_told_of() -> None:
    step = find_step("choose.strongest")
    assert isinstance(step, Step)
    assert step.warns is not None
    made = await choose("choose.strongest", POOL, {"order": ["gtp", "b"]})
    (warning,) = step.warns(made.figures)
    assert "no row has a candidate of 'gtp'" in warning
    with pytest.raises(ValidationError, match="each teacher once"):
        step.config.model_validate({"order": ["b", "b"]})


@pytest.mark.parametrize("name", ["choose.strongest", "choose.random"])
@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        ([], Rejected, "no_candidate: none of 0 can be used: none"),
        (POOL[:1] + POOL[4:], Rejected, "none of 2 can be used: 1 no_cue, 1 truncated"),
        ("[]", RowError, "candidates must be a list of candidates, got '\\[\\]'"),
        ([3], RowError, r"candidates\[0\] must be an object, got 3"),
        ([one("b", "4"), {"teacher": "c"}], RowError, r"candidates\[1\] has no 'answer'"),
        ([one("b", "4", text=7)], RowError, r"candidates\[0\].text must be text or null, got 7"),
        ([one("b", "4"), one("b", "5")], RowError, "two candidates of 'b', sample 0"),
    ],
)
async def test_a_pool_that_gives_nothing(
    name: str, pool: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await choose(name, pool, {"order": ["b"]} if name == "choose.strongest" else {})


async def test_rows_without_what_is_asked_for() -> None:
    with pytest.raises(Rejected, match=r"wrong_answer: answered 4; 5; 4\.0, gold 9"):
        await choose("choose.random", POOL, {"gold": "gold"}, gold="9")
    with pytest.raises(Rejected, match="no_candidate: only of b, c, which `order` does not name"):
        await choose("choose.strongest", POOL, {"order": ["a"]})
    with pytest.raises(MissingField, match="gold"):
        await choose("choose.random", POOL, {"gold": "gold"})


async def test_what_counts_as_the_same_is_a_setting() -> None:
    pool = [one("a", "1/2"), one("b", "0.5"), one("c", "3")]
    number: dict[str, Any] = {"answer": {"type": "number"}}
    made = await choose("choose.random", pool, number | {"agreeing": True})
    assert who(made.fields)[0] in {"a", "b"}
    assert made.fields["agreement"] == 2 / 3
    made = await choose("choose.strongest", pool, number | {"order": ["b"], "gold": "g"}, g=0.5)
    assert who(made.fields) == ("b", 0)
    with pytest.raises(Rejected, match="bad_gold"):
        await choose("choose.random", pool, number | {"gold": "g"}, g="many")
    with pytest.raises(Rejected, match="no_candidate: none is a number: 'many'"):
        await choose("choose.random", [one("a", "many")], number | {"agreeing": True})


async def test_candidates_that_are_all_equal() -> None:
    pool = [one("b", "4", sample=sample, rationale="So.") for sample in range(3)]
    made = await choose("choose.strongest", pool, {"order": ["b"]})
    assert (who(made.fields), made.fields["agreement"]) == (("b", 0), 1.0)
    assert (await choose("choose.random", pool)).fields["answer"] == "4"
