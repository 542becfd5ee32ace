"""What the simulated worlds say of instructions: true, wrong at the error rate, never malformed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from synthkd.config import SimulatedConfig
from synthkd.errors import PromptError
from synthkd.teachers.simulated import open_world
from synthkd.teachers.simulated.instructions.grammar import instruction
from synthkd.teachers.simulated.instructions.tagging import truth_of

KINDS = ["task", "domain", "difficulty", "intents"]
STORY = "Ruth has five bowls. She buys 6. She gets 4. She loses 2. How many bowls has Ruth now?"


def told(world: str, prompt: str, error_rate: float = 0.0, **inputs: Any) -> Any:
    teacher = open_world(SimulatedConfig(world=world, error_rate=error_rate))
    return json.loads(teacher.world.answer(prompt, inputs, random.Random(1)))


def test_worlds_know_what_their_instructions_are() -> None:
    shown: dict[str, Any] = {
        "kinds": KINDS,
        "tasks": ["Math", "Writing", "Others"],
        "domains": None,
    }
    sums = told("arithmetic", "tag/tags", question=STORY, **shown)
    assert (sums["task"], sums["domain"]) == ("Math", "arithmetic")
    assert 1 <= sums["difficulty"] <= 10
    wrong = told("arithmetic", "tag/tags", 1.0, question=STORY, **shown)
    assert wrong["task"] != "Math"
    assert wrong["difficulty"] < sums["difficulty"]  # the other end of the scale
    poem = told("instructions", "tag/tags", question="Compose a poem on rain.", **shown)
    assert (poem["task"], poem["intents"][0]["tag"]) == ("Writing", "creative writing")
    with pytest.raises(PromptError, match="lists none of these"):
        told("arithmetic", "tag/tags", question=STORY, kinds=["task"], tasks=["Poem", "Song"])


def test_more_demands_are_harder_and_both_answers_are_scored() -> None:
    rng = random.Random(3)
    for _ in range(50):
        task = instruction(rng)
        harder = f"{task} Give a reason for each point, and justify it."
        assert truth_of(harder).task[0] == truth_of(task).task[0]
        assert truth_of(harder).hard > truth_of(task).hard or truth_of(task).hard == 1
    criteria = [{"name": "difficulty", "least": 1, "most": 10}]
    scores = [
        told("instructions", "judges/difficulty", question=one, criteria=criteria)["scores"]
        for one in ("List three ideas.", "Plan a week step by step. Justify it. Compare two ways.")
    ]
    assert scores[0]["difficulty"] < scores[1]["difficulty"]
    shown: dict[str, Any] = {"first": "Write about gardens, then.", "second": "as you asked: no"}
    shown |= {"question": "Write about gardens.", "criteria": criteria}
    both = told("instructions", "judges/both", **shown)
    assert both["scores"]["first_difficulty"] == 10
    assert both["scores"]["second_difficulty"] < 5
