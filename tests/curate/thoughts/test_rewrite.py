from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synthkd.errors import MissingField, Rejected, Unanswered
from tests.recipes.conftest import said

Ask = Callable[..., Any]
ROW = {"question": "Two and two?", "solution": "Well, 4, I think.", "answer": "4"}
NUMBER = {"answer": {"type": "number"}}
CLEAN = "2 + 2 = 4\nSo the answer is 4."


async def test_a_solution_with_the_same_answer_takes_the_place_of_the_old_one(ask: Ask) -> None:
    done = await ask("thoughts.rewrite", NUMBER, ROW, [CLEAN])
    old = ROW["solution"]
    made = {"solution": CLEAN, "original_solution": old, "rewritten": True}
    assert done.fields == ROW | made
    (request,) = done.teachers["main"].asked
    sent = request.body["messages"][-1]["content"]
    assert old in sent
    assert sent.count("<solution-") == 1  # what is in the solution cannot close its fence


@pytest.mark.parametrize(
    ("reply", "settings", "reason"),
    [
        ("2 + 2 = 5\nSo the answer is 5.", {}, "other_answer"),
        ("It is clear.", {}, "no_cue"),
        (said(CLEAN, finish="length"), {}, "truncated"),
        (CLEAN, {"limits": {"max_words": 5}}, "too_long"),
        (said("", refusal="I would rather not."), {}, "refused"),
    ],
)
async def test_a_solution_that_cannot_be_used(
    ask: Ask, reply: Any, settings: dict[str, Any], reason: str
) -> None:
    done = await ask("thoughts.rewrite", NUMBER | settings, ROW, [reply])
    assert done.fields == ROW | {"original_solution": ROW["solution"], "rewritten": False}
    assert [why for why, _ in done.kit.discards] == [reason]
    with pytest.raises(Rejected) as caught:
        await ask("thoughts.rewrite", NUMBER | settings | {"otherwise": "reject"}, ROW, [reply])
    assert caught.value.reason == reason


async def test_what_fails_the_row(ask: Ask) -> None:
    with pytest.raises(Unanswered):
        await ask("thoughts.rewrite", NUMBER, ROW, [Unanswered("503")])
    with pytest.raises(MissingField):
        await ask("thoughts.rewrite", NUMBER, {"question": "?"}, [CLEAN])
