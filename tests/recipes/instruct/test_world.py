"""The simulated world `instructions`: what it writes, and its faults on purpose."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from synthkd.errors import PromptError
from synthkd.recipes.instruct.offers import Candidate
from synthkd.recipes.instruct.written import Form, FormSettings, items_of
from synthkd.rows import Fields
from synthkd.teachers.simulated.instructions import Instructions
from synthkd.teachers.simulated.instructions.grammar import FAMILIES, instruction

FORM = Form(FormSettings())


def listed(error_rate: float) -> list[str]:
    inputs: Fields = {
        "instructions": ["Name a tree that grows in the north."],
        "first": 2,
        "last": 201,
    }
    said = Instructions(error_rate).answer("instruct/self", inputs, random.Random(1))
    return list(items_of(said))


def test_lists_have_faults_at_the_error_rate() -> None:
    good, bad = listed(0.0), listed(1.0)
    assert len(good) == len(bad) == 200
    assert {FORM(Candidate(text=text)) for text in good} == {None}
    assert len(set(good)) > 195
    reasons = [loss.reason if (loss := FORM(Candidate(text=text))) else "" for text in bad]
    assert {"too_short", "blacklisted", "starts_with_punctuation"} < set(reasons)
    assert sum(text in bad[:place] for place, text in enumerate(bad)) > 20  # said again


def test_it_knows_its_own_classifications_and_writes_instances() -> None:
    world = Instructions()
    for family in FAMILIES.values():
        for pattern in family.patterns:
            task = pattern.format(topic="a", other="b", reader="c", condition="d", number="two")
            kind = world.answer("instruct/classification", {"instruction": task}, random.Random(0))
            assert kind == ("Yes" if family.labels else "No"), task
            said = world.answer(
                "instruct/output_first", {"instruction": task, "n": 3}, random.Random(0)
            )
            made: list[dict[str, Any]] = orjson.loads(said)["instances"]
            assert len(made) == (3 if family.labels or family.needs_text else 1)
            assert all(one["output"] and one["output"] != one["input"] for one in made)
            assert all(
                bool(one["input"]) == bool(family.labels or family.needs_text) for one in made
            )
    wrong = Instructions(1.0)
    task = instruction(random.Random(3))
    said = wrong.answer("instruct/input_first", {"instruction": task, "n": 1}, random.Random(0))
    (one,) = orjson.loads(said)["instances"]
    assert one["output"] in {one["input"], task}


def test_what_it_cannot_do_is_said() -> None:
    rng = random.Random(0)
    with pytest.raises(PromptError, match="reads the inputs instructions, first and last"):
        Instructions().answer("instruct/self", {"text": "x"}, rng)
    with pytest.raises(PromptError, match="cannot do the prompt 'label/classify'"):
        Instructions().answer("label/classify", {"text": "x"}, rng)
    assert Instructions().run_on("instruct/self", rng).startswith("\n\nInstruction: ")
