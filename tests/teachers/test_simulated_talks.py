"""The simulated teacher that talks, calls tools and judges: right without faults, else wrong."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import orjson
import pytest

from synthkd.errors import PromptError
from synthkd.recipes.talk import turn_fault
from synthkd.recipes.toolcalls import call_fault, declared
from synthkd.teachers.simulated.instructions import talks

TOOL = {
    "type": "function",
    "function": {
        "name": "train_timetable",
        "parameters": {
            "type": "object",
            "properties": {
                "origin": {"type": "string"},
                "hour": {"type": "integer"},
                "class": {"enum": ["first", "second"]},
            },
            "required": ["origin", "hour"],
        },
    },
}
TASK = "Which train leaves Leeds after 17 o'clock, second class?"


def acts(error_rate: float, seed: int, **more: Any) -> Any:
    inputs = {"task": TASK, "tools": [TOOL], "steps": [], **more}
    return orjson.loads(talks.tools("tools/act", inputs, error_rate, random.Random(seed)))


def test_an_agent_takes_its_arguments_out_of_the_task() -> None:
    (call,) = acts(0, 1)["calls"]
    assert call["arguments"] == {"origin": "Leeds", "hour": 17, "class": "second"}
    result = {"role": "tool", "name": "train_timetable", "content": "17:04"}
    done = acts(0, 1, steps=[result])
    assert (done["calls"], "17:04" in done["answer"]) == ([], True)
    tools = declared([TOOL])  # type: ignore[list-item]
    slips = Counter(
        fault.reason
        for seed in range(40)
        for call in acts(1, seed)["calls"]
        if (fault := call_fault(call["name"], orjson.dumps(call["arguments"]).decode(), tools))
    )
    assert slips.keys() == {"unknown_tool", "bad_arguments"}
    assert slips.total() == 40
    assert acts(1, 1, fault="unknown_tool")["calls"][0]["name"] == "train_timetable"


def test_users_and_assistants_err_in_the_ways_that_are_looked_for() -> None:
    before = [
        {"role": "user", "content": "Hello. It drips."},
        {"role": "assistant", "content": "?"},
    ]
    asked = {"goal": "It drips.", "profile": None, "stop": "[DONE]", "transcript": before}
    told = [talks.dialogue("dialogue/user", asked, 1, random.Random(i)) for i in range(30)]
    reasons = {fault.reason for one in told if (fault := turn_fault(one, "user", before))}
    assert reasons == {"role_confusion", "user_as_assistant", "repeated_turn"}
    fine = [talks.dialogue("dialogue/user", asked, 0, random.Random(i)) for i in range(30)]
    assert "[DONE]" in fine
    assert not any(turn_fault(one, "user", before) for one in fine)
    turn = {"turn": "It drips.", "system": None, "ask_back": True}
    assert "?" in talks.dialogue("dialogue/assistant", turn, 0, random.Random(1))
    assert "?" not in talks.dialogue("dialogue/assistant", turn, 1, random.Random(1))


def test_answers_have_their_style_and_good_ones_are_judged_better() -> None:
    asked = {"instruction": "Name three birds of the northern forest.", "input": ""}
    for style, mark in [("stepwise", "Step 1"), ("code", "```python")]:
        good = talks.respond(f"respond/{style}", asked, 0, random.Random(1))
        assert mark in good
        bad = talks.respond(f"respond/{style}", asked, 1, random.Random(1))
        assert talks.quality(asked["instruction"], good) > talks.quality(asked["instruction"], bad)


@pytest.mark.parametrize("answer", [talks.respond, talks.dialogue, talks.tools, talks.judged])
def test_a_prompt_that_shows_nothing_is_said_to_be_none(answer: Any) -> None:
    with pytest.raises(PromptError):
        answer("x/y", {}, 0, random.Random(1))
