"""Evolution, refinement and back-translation: what is taken, what is eliminated and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.desk import Desk
from synthkd.errors import Rejected, RequestRefused, RowError, TeacherError, Unanswered
from synthkd.kit import Kit
from synthkd.prompts import Prompt, load_prompt, shipped_folder
from synthkd.recipes.instruct.back import copied
from synthkd.recipes.instruct.elimination import (
    begs_off,
    eliminated,
    has_content,
    instruction_in,
)
from synthkd.recipes.instruct.evolve import EvolveSettings
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Shaped
from tests.recipes.conftest import run_step, said

SEED: dict[str, Any] = {"instruction": "Explain the tides.", "input": "Moon", "output": "They rise"}
Says = Callable[[Request, int], str | Completion | TeacherError]


def tagged(text: str) -> str:
    return f"<instruction>{text}</instruction>"


@cache
def shipped(name: str) -> Prompt:
    return load_prompt(name, folders=[shipped_folder("prompts")])


@dataclass
class Speaking:
    """Answers the nth question as a function of it."""

    says: Says
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.says(request, len(self.asked))
        if isinstance(reply, TeacherError):
            raise reply
        completion = said(reply) if isinstance(reply, str) else reply
        return completion._replace(key=f"key-{len(self.asked)}")


async def evolved(
    says: Says, settings: Mapping[str, Any] = {}, fields: Fields = SEED, row_id: str = "row"
) -> tuple[list[Row], Kit, Speaking]:
    step = find_step("instruct.evolve")
    assert isinstance(step, Step)
    config = step.config.model_validate({"teacher": "main", **settings})
    prompts = {name: shipped(name) for setting, name in config if setting.endswith("_prompt")}
    speaking = Speaking(says)
    who = OpenTeacher(
        name="main", model="m", params={}, max_tokens=None, simulated=True, stack=speaking
    )
    desk = Desk(step="evolve", teachers={"main": who, "judge": who}, prompts=prompts)
    kit = Kit(desk, row_id)
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    return [made async for made in step.run(row, kit, config)], kit, speaking


def harder(request: Request, n: int) -> str:
    return tagged(f"{request.inputs['instruction']} Condition {n}.")


async def test_each_generation_evolves_the_last_accepted_wording() -> None:
    rows, kit, teacher = await evolved(harder, {"operations": ["constrain", "deepen"]})
    assert [row.fields["instruction"] for row in rows] == [
        "Explain the tides." + "".join(f" Condition {n}." for n in range(1, last + 1))
        for last in (1, 2, 3, 4)
    ]
    assert [row.fields["generation"] for row in rows] == [1, 2, 3, 4]
    assert [row.fields["former"] for row in rows] == [
        "Explain the tides.",
        *(row.fields["instruction"] for row in rows[:-1]),
    ]
    assert {row.fields["operation"] for row in rows} <= {"constrain", "deepen"}
    assert [request.prompt for request in teacher.asked] == [
        f"evolve/{row.fields['operation']}" for row in rows
    ]
    # the input is shown, fenced, and kept; the answer to the former wording is not
    assert {(row.fields["input"], row.fields["output"]) for row in rows} == {("Moon", "")}
    assert "Moon" in str(teacher.asked[0].body)
    assert [row.made_by for row in rows] == [
        tuple(f"key-{n}" for n in range(1, last + 1)) for last in (1, 2, 3, 4)
    ]
    assert sum(times for _, times in kit.counts) == 4
    only_last, _, _ = await evolved(harder, {"operations": ["constrain", "deepen"], "keep": "last"})
    assert [row.fields for row in only_last] == [rows[-1].fields]


async def test_what_fails_keeps_the_former_and_asks_for_another_answer() -> None:
    def says(request: Request, n: int) -> str:
        return tagged(str(request.inputs["instruction"]) + "!") if n < 3 else harder(request, n)

    rows, kit, teacher = await evolved(says, {"operations": ["reason"], "keep_seed": True})
    assert [row.fields["generation"] for row in rows] == [0, 3, 4]
    assert rows[0].fields == {**SEED, "former": "", "operation": "", "generation": 0}
    assert [request.sample for request in teacher.asked] == [0, 1, 2, 0]
    assert Counter(reason for reason, _ in kit.discards) == {"unchanged": 2}
    assert kit.discards[0][1].startswith("reason, generation 1: ")


async def test_breadth_writes_another_task_without_the_input() -> None:
    rows, _, _ = await evolved(harder, {"operations": ["breadth"], "generations": 1})
    assert rows[0].fields["input"] == ""


async def test_operations_are_drawn_by_the_row_all_equally_often() -> None:
    drawn = Counter[str]()
    for n in range(100):
        rows, _, _ = await evolved(harder, row_id=f"row {n}")
        drawn.update(str(row.fields["operation"]) for row in rows)
    assert len(drawn) == 5
    assert all(50 <= times <= 110 for times in drawn.values()), drawn


def judging(same: Any) -> Says:
    def says(request: Request, n: int) -> str | Completion:
        if request.prompt != "evolve/same":
            return harder(request, n)
        assert set(request.inputs) == {"former", "instruction"}
        value = {"same": same}
        text = orjson.dumps(value).decode()
        return said(text, shaped=Shaped(value=value, faults=()))

    return says


@pytest.mark.parametrize(
    ("same", "generations", "reasons"),
    [(False, [1, 2], []), (True, None, ["no_information_gain"]), ("yes", None, ["unjudged"])],
)
async def test_a_judge_may_say_that_nothing_is_gained(
    same: Any, generations: list[int] | None, reasons: list[str]
) -> None:
    settings = {"judge": "judge", "generations": 2, "operations": ["deepen"], "keep_seed": True}
    rows, kit, teacher = await evolved(judging(same), settings)
    assert [row.fields["generation"] for row in rows] == [0, *(generations or [])]
    assert [reason for reason, _ in kit.discards] == reasons * 2
    assert len(teacher.asked) >= 4
    if generations:
        assert rows[1].made_by == ("key-1", "key-2")


async def test_how_a_row_ends_without_a_wording() -> None:
    with pytest.raises(Rejected, match="not_evolved: none of 4"):
        await evolved(lambda request, n: "no tags")
    with pytest.raises(Unanswered):
        await evolved(lambda request, n: Unanswered("down"))
    rows, kit, _ = await evolved(
        lambda request, n: (
            RequestRefused(400, "content_filter: no") if n == 1 else harder(request, n)
        )
    )
    assert len(rows) == 3
    assert kit.discards[0][0] == "content_filter"
    for empty in ("", " \n", None, 7):
        with pytest.raises(Rejected, match="empty_instruction"):
            await evolved(harder, fields={"instruction": empty})
    with pytest.raises(RowError, match="input must be text"):
        await evolved(harder, fields={"instruction": "a", "input": ["b"]})


TEXTS: list[tuple[str, str | None]] = [
    ("Explain the tides, and why the moon matters.", None),
    ("EXPLAIN  the tides!", "unchanged"),
    ("Explain: the \u201ctides\u201d", "unchanged"),
    ("And so on, of the...", "no_content"),
    ("?!", "no_content"),
    ("潮汐を説明して", None),
    ("12 + 7 =", None),
    ("New wording: Explain the spring tides.", "template_leak"),
    ("Explain the tides. This is the REWRITTEN  task.", "template_leak"),
    ("<task-abcdefgh>Explain the spring tides.</task-abcdefgh>", "template_leak"),
]


@pytest.mark.parametrize(("text", "reason"), TEXTS)
def test_eliminated(text: str, reason: str | None) -> None:
    loss = eliminated(text, ["Name a sea.", "Explain the tides."])
    assert (loss and loss.reason) == reason


def test_words_of_the_template_that_the_task_itself_has_are_no_leak() -> None:
    assert (
        eliminated("Improve the given prompt in two steps.", ["Improve the given prompt."]) is None
    )
    loss = eliminated("Teach the seas well.", ["Teach the seas."], ["teach  THE", "well"])
    assert loss is not None
    assert (loss.reason, loss.detail.partition(" in: ")[0]) == ("template_leak", "'well'")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (said("Sure!\n<instruction>\n Do it.\n</instruction> There."), "Do it."),
        (said("<INSTRUCTION>Do\nit.</INSTRUCTION>"), "Do\nit."),
        (said("Do it."), "no_instruction"),
        (said("<instruction> </instruction>"), "no_instruction"),
        (said("<instruction>Do it at", finish="length"), "cut"),
        (said(tagged("a") + tagged("b")), "several_instructions"),
        (said(""), "empty_answer"),
        (said("", refusal="No."), "refused"),
        (RequestRefused(400, "content_filter: no"), "content_filter"),
    ],
)
def test_reading_a_reply(reply: Completion | TeacherError, found: str) -> None:
    read = instruction_in(reply)
    assert found == (read if isinstance(read, str) else read.reason)


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_that_is_written_raises_and_a_text_never_gains_on_itself(
    text: str, former: str
) -> None:
    assert eliminated(text, [text]) is not None
    assert isinstance(has_content(former), bool)
    copied(text, former, 2)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("The moon pulls at the water.", None),
        ("I'm sorry, I have no text.", "begs_off"),
        ("Sorry!", "begs_off"),
        ("A sorry sight. " + "The sea fell back. " * 20, None),
        ("Of the, and so on...", "no_content"),
        ("", "no_content"),
        (None, "no_content"),
        ("42", None),
        ("\U0001f431\U0001f9f6", None),
    ],
)
async def test_answers_that_beg_off_or_say_nothing(answer: str | None, reason: str | None) -> None:
    if reason in {None, "begs_off"}:
        done = await run_step("instruct.eliminate", {}, {"output": answer}, [])
        assert done.fields == {"output": answer}
    settings = {"sorry_words": 80}
    if reason is not None:
        with pytest.raises(Rejected, match=f"^{reason}"):
            await run_step("instruct.eliminate", settings, {"output": answer}, [])
    elif answer is not None:
        assert not begs_off(answer)


async def test_refining() -> None:
    done = await run_step("instruct.refine", {}, SEED, [tagged("Explain spring tides to a child.")])
    assert done.fields == {
        "instruction": "Explain spring tides to a child.",
        **{"input": "Moon", "output": "", "former": "Explain the tides."},
    }
    assert done.rows[0].made_by == ("main-0",)
    for reply, reason in (
        (tagged("explain the tides"), "unchanged"),
        (tagged("..."), "no_content"),
        (tagged("Given instruction: explain more"), "template_leak"),
        ("Explain more", "no_instruction"),
    ):
        with pytest.raises(Rejected, match=f"^{reason}"):
            await run_step("instruct.refine", {}, SEED, [reply])
    with pytest.raises(Unanswered):
        await run_step("instruct.refine", {}, SEED, [Unanswered("down")])


TEXT = "The tide rises twice a day because the moon pulls at the water of the sea."


async def test_back_translation() -> None:
    done = await run_step(
        "instruct.back", {}, {"text": TEXT}, [tagged("Say in a sentence why tides rise.")]
    )
    assert done.fields == {
        "text": TEXT,
        "instruction": "Say in a sentence why tides rise.",
        **{"input": "", "output": TEXT},
    }
    assert done.rows[0].made_by == ("main-0",)
    assert TEXT in str(done.teachers["main"].asked[0].body)
    for reply, reason in (
        (tagged(f"Write this: {TEXT}"), "copies_text"),
        (tagged("Say that the tide rises twice a day as it does"), None),
        (tagged(TEXT), "unchanged"),
        (tagged("Write what stands in <text-abc>"), "template_leak"),
        ("Write it", "no_instruction"),
    ):
        if reason is None:
            await run_step("instruct.back", {}, {"text": TEXT}, [reply])
            continue
        with pytest.raises(Rejected, match=f"^{reason}"):
            await run_step("instruct.back", {}, {"text": TEXT}, [reply])
    with pytest.raises(Rejected, match="empty_text"):
        await run_step("instruct.back", {}, {"text": " "}, [])


@pytest.mark.parametrize(
    ("instruction", "run"),
    [
        ("Say why THE TIDE, rises twice  today", "why the tide rises"),
        ("Say why the tide rose", None),
        ("潮汐について書く", "潮 汐 に つ"),
        ("短い文", None),
    ],
)
def test_copied_runs(instruction: str, run: str | None) -> None:
    assert copied(instruction, "See why the tide rises 潮汐について", 4) == run


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"operations": []}, "at least one operation"),
        ({"operations": ["deepen", "deepen"]}, "each once"),
        ({"operations": ["shorten"]}, "constrain"),
        ({"generations": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        EvolveSettings.model_validate({"teacher": "main", **given})


def test_who_is_asked_how_often() -> None:
    config = EvolveSettings(teacher="main", judge="main")
    assert (config.teachers, config.calls_a_row, config.rows_a_row) == (["main"], 8, 4)
    config = EvolveSettings(teacher="main", judge="other", generations=2)
    assert (config.teachers, config.calls_a_row) == (["main", "other"], 2)
    assert EvolveSettings(teacher="main", keep="last", keep_seed=True).rows_a_row == 2
