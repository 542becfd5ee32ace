from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.errors import MissingField, RequestRefused, RowError, Unanswered
from synthkd.recipes.pool import POOL, Candidate, pool_of, told
from synthkd.rows import Json, source_row
from synthkd.steps import find_step, names_of
from synthkd.teachers.request import Completion, Usage

Ask = Callable[..., Any]

ROW = {"question": "What is 2 + 2?"}


def row_with(pool: Json) -> Any:
    return source_row("test", ["1"], ordinal=0, fields={POOL: pool})


async def test_every_reply_is_kept_in_one_shape(ask: Ask) -> None:
    thinking = Completion("Two and two. The answer is 4.", "stop", Usage(), b"", reasoning="Hm.")
    replies = {
        "a": [thinking, "I do not know."],
        "b": [RequestRefused(400, "no"), "The answer is 5."],
    }
    done = await ask("candidates", {"teachers": ["a", "b"], "samples": 2}, ROW, replies)
    assert done.fields == ROW | {
        "candidates": [
            {
                "teacher": "a",
                "sample": 0,
                "text": "Two and two. The answer is 4.",
                "thought": "Hm.",
                "rationale": "Two and two.",
                "answer": "4",
                "status": "ok",
                "finish": "stop",
                "logprob": None,
                "key": "a-0",
            },
            {
                "teacher": "a",
                "sample": 1,
                "text": "I do not know.",
                "thought": None,
                "rationale": "I do not know.",
                "answer": None,
                "status": "no_cue",
                "finish": "stop",
                "logprob": None,
                "key": "a-1",
            },
            {
                "teacher": "b",
                "sample": 0,
                "text": None,
                "thought": None,
                "rationale": "",
                "answer": None,
                "status": "failed",
                "finish": None,
                "logprob": None,
                "key": None,
            },
            {
                "teacher": "b",
                "sample": 1,
                "text": "The answer is 5.",
                "thought": None,
                "rationale": "",
                "answer": "5",
                "status": "ok",
                "finish": "stop",
                "logprob": None,
                "key": "b-1",
            },
        ]
    }
    assert dict(done.kit.counts) == {
        "candidates": 2,
        "candidates: no_cue": 1,
        "candidates: failed": 1,
    }
    assert done.kit.keys == ["a-0", "a-1", "b-1"]


async def test_a_row_that_nobody_answers_fails_and_one_that_nobody_can_read_lives(ask: Ask) -> None:
    with pytest.raises(Unanswered):
        await ask("candidates", {"samples": 2}, ROW, [Unanswered("503"), Unanswered("503")])
    done = await ask("candidates", {"samples": 2}, ROW, ["Hm.", Unanswered("503")])
    assert [one["status"] for one in done.fields[POOL]] == ["no_cue", "failed"]


async def test_candidates_are_added_to_those_that_are_there(ask: Ask) -> None:
    done = await ask("candidates", {}, ROW, ["The answer is 4."])
    more = await ask("candidates", {"teachers": ["b"], "add": True}, done.fields, {"b": ["Hm."]})
    assert [one["teacher"] for one in more.fields[POOL]] == ["main", "b"]
    alone = await ask(
        "candidates", {"teachers": ["b"], "add": True}, done.fields, {"b": [Unanswered("503")]}
    )
    assert [one["status"] for one in alone.fields[POOL]] == ["ok", "failed"]


async def test_more_of_the_same_teacher_is_numbered_on_and_nothing_is_there_twice(ask: Ask) -> None:
    there: Json = [Candidate(teacher="main", sample=2, answer="5", key="by another prompt").told]
    config = {"samples": 2, "add": True}
    replies = ["The answer is 4.", "Hm."]
    done = await ask("candidates", config, ROW | {POOL: there}, replies)
    assert [one.sample for one in pool_of(row_with(done.fields[POOL]))] == [2, 3, 4]
    again = await ask("candidates", config, done.fields, replies)
    assert again.fields[POOL] == done.fields[POOL]


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("ans = 2 + 2", "ans = 2 + 2"),
        ("Here:\n```python\nans = 2 + 2\n```\nThe answer is 5.", "ans = 2 + 2"),
    ],
)
async def test_a_program_is_kept_and_nobody_runs_it(ask: Ask, reply: str, program: str) -> None:
    done = await ask("candidates", {"program": True, "samples": 2}, ROW, [reply, ""])
    one, empty = done.fields[POOL]
    assert (one["rationale"], one["answer"], one["status"]) == (program, None, "not_run")
    assert one["text"] == reply
    assert empty["status"] == "empty_answer"


async def test_the_mean_log_probability_is_kept_where_it_is_told(ask: Ask) -> None:
    tokens = [{"token": "4", "logprob": -0.5}, {"token": ".", "logprob": -1.5}]
    reply = json.dumps({"choices": [{"logprobs": {"content": tokens}}]}).encode()
    said = Completion("The answer is 4.", "stop", Usage(), reply)
    done = await ask("candidates", {}, ROW, [said])
    assert done.fields[POOL][0]["logprob"] == -1.0


async def test_steps_between_may_add_to_a_candidate(ask: Ask) -> None:
    done = await ask("candidates", {}, ROW, ["The answer is 4."])
    (one,) = done.fields[POOL]
    scored = row_with([{**one, "score": 0.5}])
    (candidate,) = pool_of(scored)
    assert (candidate.number("score"), candidate.number("likelihood")) == (0.5, None)
    assert told([candidate]) == scored.fields[POOL]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("none", "candidates must be a list of candidates, got 'none'"),
        (["4"], r"candidates\[0\] must be an object, got '4'"),
        ([{"answer": "4"}], r"candidates\[0\] has no 'teacher'; it has answer"),
        ([{"teacher": "a", "answer": 4}], r"candidates\[0\].answer must be text or null, got 4"),
        (
            [{"teacher": "a", "answer": "4", "sample": True}],
            r"candidates\[0\].sample must be an integer, got True",
        ),
        ([{"teacher": "a", "answer": "4"}] * 2, "has two candidates of 'a', sample 0"),
    ],
)
def test_a_pool_that_is_none_is_told_with_its_place(pool: Json, message: str) -> None:
    with pytest.raises(RowError, match=message):
        pool_of(row_with(pool))


def test_a_row_without_a_pool_names_the_step_that_makes_one() -> None:
    with pytest.raises(MissingField, match="no field 'options': the step `candidates` makes it"):
        pool_of(row_with([]), "options")


def test_a_number_that_is_none() -> None:
    candidate = Candidate(teacher="a", sample=1, more={"score": "high"})
    with pytest.raises(RowError, match="the score of candidate a, sample 1 must be a number"):
        candidate.number("score")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of teacher, teachers"),
        ({"teachers": ["a", "a"]}, "name each teacher once"),
        ({"teacher": "a", "program": True, "until": {}}, "until must be left out with program"),
        ({"teacher": "a", "until": {"sure": 0.5}}, "greater than 0.5"),
        ({"teacher": "a", "choices": "c", "labels": ["x"]}, "at most one of choices"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        find_step("candidates").config.model_validate(settings)


def test_what_it_needs() -> None:
    found = find_step("candidates")
    config = found.config.model_validate({"teacher": "a", "choices": "options", "add": True})
    assert names_of(found.needs, config) == ("options", "candidates")
