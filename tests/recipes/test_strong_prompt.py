from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from synthkd.config import PipelineConfig
from synthkd.desk import Desk
from synthkd.errors import MissingField, Rejected, TooManyLost, Unanswered
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.strong_prompt import StrongPromptSettings, strong_prompt
from synthkd.rows import source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from tests.recipes.conftest import Scripted, said

Ask = Callable[..., Any]
GOOD = '{"reason": "Two and two more.", "answer": "4"}'
SUMS = [{"missing": "", "summary": "Long."}, {"missing": "Ada; 1843", "summary": "Dense."}]


async def test_only_the_answer_is_kept(ask: Ask) -> None:
    done = await ask("strong_prompt", {}, {"question": "Two and two?"}, [GOOD])
    assert done.fields == {"question": "Two and two?", "answer": "4", "finish": "stop"}
    (request,) = done.teachers["main"].asked
    assert "reason" in str(request.body["response_format"])
    assert dict(done.kit.counts) == {"answers asked for": 1, "answers used": 1}


async def test_a_number_is_spelt_in_one_way_and_a_letter_is_its_choice(ask: Ask) -> None:
    typed = {"answer": {"type": "number"}, "into": "y"}
    done = await ask("strong_prompt", typed, {"question": "?"}, ['{"reason": "", "answer": 4.50}'])
    assert done.fields["y"] == "4.5"
    chosen = {"prompt": "strong_prompt/choose", "answer": {"choices": "options"}}
    row = {"question": "?", "options": ["park", "sea"]}
    done = await ask("strong_prompt", chosen, row, ['{"reason": "", "answer": "b"}'])
    assert done.fields["answer"] == "sea"


async def test_of_a_chain_of_density_the_last_summary_is_kept(ask: Ask) -> None:
    dense = {"prompt": "strong_prompt/condense", "take": "summary"}
    done = await ask("strong_prompt", dense, {"text": "Ada wrote."}, [orjson.dumps(SUMS).decode()])
    assert done.fields["answer"] == "Dense."


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        (["Four.", "Still four."], "bad_json"),
        (['{"reason": "", "answer": " "}'], "no_answer"),
        ([said(GOOD, finish="length")], "truncated"),
        (['{"reason": "", "answer": "four or five"}'], "bad_label"),
        ([""], "empty_answer"),
    ],
)
async def test_why_an_answer_is_not_used(ask: Ask, replies: list[Any], reason: str) -> None:
    settings = {"answer": {"type": "number"}}
    with pytest.raises(Rejected) as caught:
        await ask("strong_prompt", settings, {"question": "?"}, _Turns(replies))
    assert caught.value.reason == reason


class _Turns(list[Any]):
    """Whatever sample is asked for, the next reply, and the last one again."""

    def __init__(self, turns: Sequence[Any]) -> None:
        super().__init__()
        self.turns = [*turns]

    def __getitem__(self, sample: Any) -> Any:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]


async def test_a_teacher_that_does_not_reply_fails_the_row(ask: Ask) -> None:
    with pytest.raises(Unanswered):
        await ask("strong_prompt", {}, {"question": "?"}, [Unanswered("503")])


# --- prompts for the student, and conversations


def kit_with(teacher: Scripted, *prompts: str) -> Kit:
    loaded = [load_prompt(name, folders=[shipped_folder("prompts")]) for name in prompts]
    opened = OpenTeacher(
        name="main", model="m", params={}, max_tokens=None, simulated=True, stack=teacher
    )
    desk = Desk(step="s", teachers={"main": opened}, prompts={p.name: p for p in loaded})
    return Kit(desk, "row")


async def fields_of(config: StrongPromptSettings, kit: Kit, **fields: Any) -> Any:
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    (made,) = [out async for out in strong_prompt(row, kit, config)]
    return made.fields


async def test_the_student_gets_the_plain_prompt() -> None:
    plain = "strong_prompt/plain_choose"
    config = StrongPromptSettings.model_validate(
        {
            "teacher": "main",
            "prompt": "strong_prompt/choose",
            "student_prompt": plain,
            "answer": {"choices": "choices"},
        }
    )
    kit = kit_with(Scripted("main", ['{"reason": "r", "answer": "A"}']), config.prompt, plain)
    made = await fields_of(config, kit, question="Where?", choices=["park", "sea"])
    assert made["prompt"] == "Where?\n\n(a) park\n(b) sea"
    assert (made["system"], made["answer"]) == (None, "park")
    assert "reason" not in made["prompt"]


async def test_every_turn_of_a_conversation_is_answered_anew_after_the_new_ones() -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "old one"},
        {"role": "user", "content": "And now?"},
        {"role": "assistant", "content": "old two"},
        {"role": "user", "content": "Bye"},
    ]
    teacher = Scripted("main", _Turns(["new one", "new two", "new three"]))
    config = StrongPromptSettings.model_validate(
        {"teacher": "main", "prompt": "strong_prompt/turn", "messages": "talk", "into": "talk"}
    )
    made = await fields_of(config, kit_with(teacher, "strong_prompt/turn"), talk=talk)
    assert [m["content"] for m in made["talk"]] == [
        *("Be brief.", "Hello", "new one", "And now?", "new two", "Bye", "new three")
    ]
    messages: list[Any] = [request.body["messages"] for request in teacher.asked]
    sent = [[message["content"] for message in each] for each in messages]
    assert sent == [
        ["Be brief.", "Hello"],
        ["Be brief.", "Hello", "new one", "And now?"],
        ["Be brief.", "Hello", "new one", "And now?", "new two", "Bye"],
    ]


@pytest.mark.parametrize(
    "talk",
    [
        [],
        "Hello",
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
        [{"role": "system", "content": "b"}],
    ],
)
async def test_what_is_no_conversation(talk: Any) -> None:
    config = StrongPromptSettings(teacher="main", prompt="strong_prompt/turn", messages="talk")
    with pytest.raises(Rejected, match="not_a_talk"):
        await fields_of(config, kit_with(Scripted("main", []), "strong_prompt/turn"), talk=talk)
    with pytest.raises(MissingField):
        await fields_of(config, kit_with(Scripted("main", []), "strong_prompt/turn"))


# --- the floor


def test_a_low_success_ratio_is_warned_of() -> None:
    step = find_step("strong_prompt")
    assert isinstance(step, Step)
    assert step.sums_up is not None
    assert step.warns is not None
    few = step.sums_up({"answers asked for": 40, "answers used": 20})
    assert few["success ratio"] == 0.5
    assert "only 20 of 40 answers could be used (50.0%)" in next(iter(step.warns(few)))
    for counts in ((40, 39), (4, 1)):  # enough, or too few to tell
        told = step.sums_up({"answers asked for": counts[0], "answers used": counts[1]})
        assert not list(step.warns(told))


async def test_the_pipeline_stops_below_its_floor_and_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)

    def load(*overrides: str) -> Pipeline:
        return Pipeline.load(
            project / "pipelines" / "strong_prompt.yaml",
            overrides=overrides,
            out=tmp_path / "out",
            ledger=str(tmp_path / "ledger"),
        )

    floor = r"limits\.min_success\.strong_prompt is 70\.0%\. Lost: \d+ bad_json"
    with pytest.raises(TooManyLost, match=floor):
        await load("teachers.main.simulated.malformed_rate=0.7").run()
    manifest = await load("source.limit=60").run()
    assert manifest.figures["strong_prompt"]["success ratio"] > 0.9


def test_a_floor_is_of_a_step_that_there_is() -> None:
    with pytest.raises(ValidationError, match=r"limits\.min_success: no step is named 'other'"):
        PipelineConfig.model_validate(
            {
                "name": "p",
                "source": {"jsonl": "x"},
                "limits": {"min_success": {"other": 0.5}},
            }
        )


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValidationError, match="leave student_prompt out"):
        StrongPromptSettings(teacher="t", messages="m", student_prompt="strong_prompt/turn")


async def test_the_pipeline_of_summaries_keeps_the_last_one_and_the_plain_prompt(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    file = project / "pipelines" / "chain_of_density.yaml"
    manifest = await Pipeline.load(file, out=tmp_path / "out").run()
    assert manifest.counts.kept == 4
    lines = (tmp_path / "out" / "dataset" / "train.jsonl").read_bytes().splitlines()
    asked, answered = orjson.loads(lines[0])["messages"]
    assert asked["content"].startswith("Summarise this text in at most 80 words.\n\nThe ferry")
    assert answered["content"].startswith("The Lake Ormel ferry's engine failed in March; as Tersk")
