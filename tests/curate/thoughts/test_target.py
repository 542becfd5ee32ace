"""thoughts.target and thoughts.choose: what a student learns, of replies that are there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.thoughts.target import TargetSettings
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.kit import Kit
from synthkd.recipes.parts import has_tags, read_parts
from synthkd.rows import Fields, Json, source_row
from synthkd.steps import Step, find_step

TEXTS = st.text(max_size=40).filter(lambda text: text.strip() and not has_tags(text))


def through(name: str, settings: dict[str, Any], fields: Fields) -> dict[str, Json]:
    """The fields that the step yields; it asks nobody, so it never waits."""
    step = find_step(name)
    assert isinstance(step, Step)
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    made = step.run(row, Kit(Desk(step=name), row.id), step.config.model_validate(settings))
    try:
        made.asend(None).send(None)
    except StopIteration as yielded:
        return dict(yielded.value.fields)
    raise AssertionError("it waited")


@given(TEXTS, TEXTS)
@settings(max_examples=30)
def test_a_target_comes_apart_again(thought: str, solution: str) -> None:
    fields = through("thoughts.target", {}, {"thought": thought, "solution": solution})
    parts = read_parts(str(fields["response"]), solution_tags=())
    assert (parts.thought, parts.solution) == (thought.strip(), solution.strip())


def test_the_thought_may_be_dropped() -> None:
    given = {"thought": "Hm.", "solution": "4"}
    made = through("thoughts.target", {"thought": None, "into": "text"}, given)
    assert made["text"] == "4"


def test_a_part_that_holds_the_tag_itself_is_rejected() -> None:
    with pytest.raises(Rejected, match="tag_in_text"):
        through("thoughts.target", {}, {"thought": "write </think> now", "solution": "4"})
    made = through(
        "thoughts.target",
        {"tags": ["<t>", "</t>"]},
        {"thought": "write </think> now", "solution": "4"},
    )
    assert made["response"] == "<t>\nwrite </think> now\n</t>\n\n4"


@pytest.mark.parametrize("tags", [["<t>", "<t>"], ["", "</t>"]])
def test_tags_must_differ(tags: list[str]) -> None:
    with pytest.raises(ValidationError, match="tags must be two different texts"):
        TargetSettings.model_validate({"tags": tags})


def candidate(text: str, sample: int = 0, **more: Json) -> dict[str, Json]:
    return {"teacher": "r1", "sample": sample, "text": text, "answer": None, **more}


CHOOSE: dict[str, Any] = {"gold": "gold", "answer": {"type": "number"}}


def test_of_a_dump_the_right_thought_is_chosen() -> None:
    pool = [
        candidate("<think>Hm.</think> \\boxed{5}"),
        candidate("<think>Two.</think> It is \\boxed{4}.", 1),
        candidate("So the answer is 4.", 2, thought="Sent apart."),
    ]
    made = through("thoughts.choose", CHOOSE, {"candidates": pool, "gold": 4})
    assert (made["thought"], made["solution"]) == ("Two.", "It is \\boxed{4}.")
    assert (made["answer"], made["difficulty"], made["tries"]) == ("4", "medium", 3)
    longest = {**CHOOSE, "choose": "longest"}
    made = through("thoughts.choose", longest, {"candidates": pool, "gold": 4})
    assert made["thought"] == "Sent apart."


def test_a_solution_may_be_the_bare_answer() -> None:
    pool: list[Json] = [candidate("<think>Two.</think>\n<answer> 4 </answer>")]
    bare = {"gold": "gold", "answer": {"type": "number", "cue": []}}
    made = through("thoughts.choose", bare, {"candidates": pool, "gold": 4})
    assert (made["solution"], made["answer"], made["difficulty"]) == ("4", "4", "easy")


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ([], "no_candidate"),
        ([candidate("<think>Hm.</think> \\boxed{5}")], "unsolved"),
        ([candidate("Four."), candidate("Five.", 1)], "no_thought"),
        ([{"teacher": "r1", "answer": "4"}], "unsolved"),  # without a text it shows no solution
    ],
)
def test_why_nothing_can_be_chosen(pool: list[Json], reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        through("thoughts.choose", CHOOSE, {"candidates": pool, "gold": 4})
    assert caught.value.reason == reason
