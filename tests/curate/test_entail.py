from __future__ import annotations

from typing import Any

import pytest

from synthkd.curate.triples.entail import read_verdicts
from synthkd.errors import Rejected, Unanswered
from synthkd.rows import Json
from tests.recipes.conftest import run_step, said

TEXT = "Ada was born in London. She wrote Notes."
PROPOSITION = "Ada was born in London."


def fact(head: str, relation: str, tail: str, **more: Json) -> dict[str, Json]:
    return {"head": head, "relation": relation, "tail": tail, **more}


GRAPH: list[Json] = [
    fact("Ada", "born in", "London", proposition=PROPOSITION, support=1.0),
    fact("London", "born in", "Ada", proposition=PROPOSITION),
    fact("Ada", "wrote", "Notes"),
]


async def asked(reply: Any, **settings: Any) -> Any:
    fields = {"text": TEXT, "graph": GRAPH}
    return await run_step("triples.entail", {"teacher": "main", **settings}, fields, [reply])


async def test_each_triple_is_held_against_its_own_proposition() -> None:
    out = await asked('They differ.\n{"1": "yes", "2": "no"}')
    assert [(one["tail"], one["entailed"]) for one in out.fields["graph"]] == [
        ("London", "yes"),
        ("Notes", "yes"),
    ]
    assert out.fields["graph"][0]["support"] == 1.0
    assert [reason for reason, _ in out.kit.discards] == ["contradicted"]
    premises = [request.inputs["premise"] for request in out.teachers["main"].asked]
    assert premises == [PROPOSITION, TEXT]
    assert out.teachers["main"].asked[0].inputs["statements"] == [
        "Ada | born in | London",
        "London | born in | Ada",
    ]


async def test_by_the_text_and_so_many_at_once() -> None:
    out = await asked('{"1": "yes"}', by="text", at_once=2)
    assert len(out.teachers["main"].asked) == 2
    assert [reason for reason, _ in out.kit.discards] == ["no_verdict"]
    out = await asked('{"1": "Unclear."}', keep_unread=True)
    assert [one["entailed"] for one in out.fields["graph"]] == [None]
    assert [reason for reason, _ in out.kit.discards] == ["not_entailed", "not_entailed"]


async def test_a_judge_that_says_nothing() -> None:
    with pytest.raises(Rejected, match="no_triples: none of the 3"):
        await asked("Well.")
    with pytest.raises(Unanswered):
        await asked(Unanswered("gone"))


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        ('{"1": "yes", "2": "UNCLEAR", "3": "no"}', {0: "yes", 1: "unclear"}),
        ('```json\n{"1.": "no"}\n```', {0: "no"}),
        ('{"1": true, "2": "maybe", "one": "yes", "0": "yes", "-1": "yes"}', {}),
        ('The text quotes {"1": "yes"} and goes on.', {}),
        ('{"1": "yes"', {}),
        ('{"\u0661": "yes"}', {}),
        ('{"' + "1" * 5_000 + '": "yes"}', {}),
        ("", {}),
    ],
)
def test_what_counts_as_a_verdict(reply: str, verdicts: dict[int, str]) -> None:
    assert read_verdicts(said(reply), 2) == verdicts
