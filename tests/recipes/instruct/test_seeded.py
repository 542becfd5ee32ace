"""`instruct.self`, `instruct.expand`, `instruct.instances`: prompts, lists, filters, instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.errors import MissingField, Rejected, RowError, Unrenderable
from synthkd.recipes.instruct.offers import Candidate
from synthkd.recipes.instruct.written import Form, FormSettings, items_of
from synthkd.rows import Fields
from synthkd.teachers.request import Completion
from tests.recipes.instruct.growing import completion, grown

SEEDS: list[Fields] = [{"instruction": f"Say the number {n} in\nFrench words."} for n in range(9)]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. One thing\n2. Two\n   things\n", ["One thing", "Two things"]),
        ("Sure!\n9) Sing a song\n10) Dance", ["Sing a song", "Dance"]),
        (
            "4. Do this: 1. mix 2. stir\n1. bake\n5. Eat it",
            ["Do this: 1. mix 2. stir 1. bake", "Eat it"],
        ),
        ("9: Instruction: Name it\n10: Task: Eat it", ["Name it", "Eat it"]),
        ("1.\n2. Here", ["", "Here"]),
        ("There is nothing.", []),
        ("3.5 litres of milk", []),
        (
            "9\u3001\u5199\u8bd7\n10\uff0e\u5531\u6b4c",
            ["\u5199\u8bd7", "\u5531\u6b4c"],
        ),  # Chinese lists
        ("9" * 5000 + ". Sing", []),  # which is no number of an item, and too long for `int`
    ],
)
def test_the_items_of_a_list(text: str, items: list[str]) -> None:
    assert list(items_of(text)) == items


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("Name three good books.", {}, None),
        ("Name three books", {}, "too_short"),
        ("Name three books", {"min_words": 3}, None),
        ("word " * 151, {}, "too_long"),
        ("word " * 150, {}, None),
        ("Draw a house with a door.", {}, "blacklisted"),
        ("Go to the shop and buy it.", {}, "blacklisted"),
        ("Describe the drawer in detail.", {}, None),
        ("Describe the photograph in detail.", {}, None),
        ("Draw a house with a door.", {"blacklist": []}, None),
        ("'Name three good books'", {}, "starts_with_punctuation"),
        ("Übersetze den Satz ins Englische", {}, None),
        ("Übersetze den Satz ins Englische", {"ascii_start": True}, "not_ascii"),
        ("Write a program that adds.", {}, None),
        ("write a program that adds.", {"programs": False}, "program"),
        ("写一首关于茶的诗", {}, None),
        ("\u00bfCu\u00e1l es la capital de Francia?", {}, None),
        ("\u00abCu\u00e1l\u00bb es una palabra espa\u00f1ola", {}, "starts_with_punctuation"),
    ],
)
def test_the_form_of_an_instruction(
    text: str, settings: dict[str, Any], reason: str | None
) -> None:
    loss = Form(FormSettings.model_validate(settings))(Candidate(text=text))
    assert (None if loss is None else loss.reason) == reason


def test_what_is_asked_and_what_of_a_reply_is_lost(tmp_path: Path) -> None:
    replies: Iterator[Completion | RowError] = iter(
        [
            completion("9. Explain why the moon is bright.\n10.\n11. Give me", finish="length"),
            Unrenderable("no text"),
            completion("", refusal="I will not."),
        ]
    )
    settings = {"accept": 3, "wave": 3, "per_question": 3, "yield_over": 9, "min_yield": 0.5}
    found = grown("instruct.self", settings, SEEDS, lambda question: next(replies), tmp_path)
    assert [row.fields["instruction"] for row in found.new] == ["Explain why the moon is bright."]
    assert found.reasons == [
        *("empty_item", "cut"),
        *("unrenderable", "not_given", "not_given"),
        *("refused", "not_given", "not_given"),
    ]
    (wave,) = found.kit.waves
    inputs = wave[0].inputs
    assert (inputs["first"], inputs["last"], inputs["n"]) == (9, 11, 3)
    assert all("\n" not in str(one) for one in inputs["instructions"])  # type: ignore[union-attr]
    assert len(found.new[0].roots) == 8


def test_the_same_question_again_asks_for_another_sample(tmp_path: Path) -> None:
    one: list[Fields] = [{"instruction": "Name three good books."}]
    settings = {"accept": 1, "wave": 3, "per_question": 1, "shown": 1, "yield_over": 6}
    found = grown("instruct.expand", settings, one, lambda question: "no", tmp_path)
    assert [question.sample for wave in found.kit.waves for question in wave] == [0, 1, 2, 3, 4, 5]


# --- instances


def wrote(*instances: Any) -> str:
    return orjson.dumps({"instances": instances}).decode()


class Turns(list[Any]):
    """Replies in turn, whatever sample is asked for."""

    def __getitem__(self, sample: Any) -> Any:
        return self.pop(0)


TASK: Fields = {"instruction": "Is the sentence right?"}
KNOWN: Fields = {**TASK, "is_classification": True}


async def test_a_classification_gets_its_output_first(ask: Callable[..., Any]) -> None:
    settings = {"samples": 3}
    pairs = [{"output": label, "input": f"{label} one"} for label in ("right", "wrong")]
    for fields, said in ((KNOWN, None), (TASK, "Yes."), (TASK, "no")):
        replies = [said, wrote(*pairs)] if said else [wrote(*pairs)]
        done = await ask("instruct.instances", settings, fields, Turns(replies))
        first = fields is KNOWN or said == "Yes."
        prompts = [request.prompt for request in done.teachers["main"].asked]
        order = "instruct/output_first" if first else "instruct/input_first"
        assert prompts == [*(["instruct/classification"] if said else []), order]
        assert [row.fields["output"] for row in done.rows] == ["right", "wrong"]
        assert {row.fields["is_classification"] for row in done.rows} == {first}
        assert all(len(row.made_by) == len(prompts) for row in done.rows)


async def test_a_row_with_an_output_is_handed_on(ask: Callable[..., Any]) -> None:
    done = await ask("instruct.instances", {}, {**TASK, "output": "yes"}, [])
    assert done.fields == {**TASK, "output": "yes", "input": ""}
    assert done.teachers["main"].asked == []


async def test_instances_that_teach_nothing_are_discarded(ask: Callable[..., Any]) -> None:
    reply = wrote(
        {"input": "a", "output": " "},
        {"input": "b", "output": "B"},
        {"input": "c", "output": "yes"},
        {"input": "C", "output": "Yes"},
        {"input": "d", "output": "yes"},
        {"input": "d", "output": "no"},
        {"input": "e", "output": "no"},
    )
    done = await ask("instruct.instances", {"samples": 9}, KNOWN, [reply])
    assert [row.fields["input"] for row in done.rows] == ["c", "e"]
    reasons = [reason for reason, _ in done.kit.discards]
    assert reasons == ["empty_output", "output_is_input", "duplicate", "conflicting", "conflicting"]
    for replies, reason in (([wrote()], "no_instance"), ([completion("")], "empty_answer")):
        with pytest.raises(Rejected, match=reason):
            await ask("instruct.instances", {}, KNOWN, replies)
    with pytest.raises(Rejected, match="no_kind"):
        await ask("instruct.instances", {}, TASK, ["It depends."])
    with pytest.raises(MissingField, match="must be text"):
        await ask("instruct.instances", {}, {"instruction": None}, [])
