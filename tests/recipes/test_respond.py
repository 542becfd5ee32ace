"""respond: the style of each task, the system message, drafts, pools, and what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkd.errors import Rejected, RowError, Unanswered
from synthkd.outflow import outflows
from synthkd.pipeline_file import read_yaml
from synthkd.plan import compile_plan
from synthkd.prompts import shipped_folder
from synthkd.recipes.styles import STYLES, style_of
from synthkd.recipes.systems import SystemSettings
from tests.recipes.conftest import said

ROW: Any = {"instruction": "Add the numbers.", "input": "2 and 3"}


def system_and_user(done: Any, teacher: str = "main") -> tuple[str, str]:
    first, last = done.teachers[teacher].asked[0].body["messages"]
    return first["content"], last["content"]


def test_the_table_has_the_32_classes_and_settings_come_first() -> None:
    listed = read_yaml(shipped_folder("prompts") / "tag" / "tasks.yaml")
    assert list(STYLES) == list(listed["shares"])
    assert len(STYLES) == 32
    assert Counter(STYLES.values()) == {"stepwise": 2, "code": 2, "plain": 28}
    table: Any = [
        ("Math", {}, "plain", "stepwise"),
        (" code debug ", {}, "plain", "code"),
        ("Code_Generation", {}, "plain", "code"),
        ("Others", {}, "code", "plain"),
        ("Knitting", {}, "code", "code"),
        (None, {}, "stepwise", "stepwise"),
        (7, {}, "plain", "plain"),
        ("Math", {"math": "plain"}, "stepwise", "plain"),
        ("Knitting", {"Knitting": "stepwise"}, "plain", "stepwise"),
    ]
    for task, own, other, style in table:
        assert style_of(task, own, other) == style, task


async def test_each_task_is_asked_for_in_its_style(ask: Callable[..., Any]) -> None:
    for task, style, words in [
        ("Math", "stepwise", "step by step"),
        ("Code Generation", "code", "fenced block"),
        ("Writing", "plain", "length that fits"),
    ]:
        done = await ask("respond", {}, {**ROW, "task": task}, [" Five. "])
        asked = system_and_user(done)
        assert words in asked[0]
        assert asked[1] == done.fields["prompt"] == "Add the numbers.\n\n2 and 3"
        assert (done.fields["output"], done.fields["style"]) == ("Five.", style)
        assert (done.fields["system"], done.fields["finish"]) == (None, "stop")
        assert done.kit.counts == [(f"style {style}", 1)]
    done = await ask("respond", {}, {"instruction": "Sing."}, ["La."])
    assert system_and_user(done)[1] == done.fields["prompt"] == "Sing."


async def test_a_draft_is_written_anew(ask: Callable[..., Any]) -> None:
    row = {**ROW, "task": "Math", "output": "4"}
    done = await ask("respond", {"refine": True}, row, ["2 + 3 = 5.\nAnswer: 5"])
    assert done.fields["output"] == "2 + 3 = 5.\nAnswer: 5"
    assert "<draft-" in system_and_user(done)[1]
    assert ("unchanged", 0) in done.kit.counts
    done = await ask("respond", {"refine": True}, row, ["4"])
    assert ("unchanged", 1) in done.kit.counts


async def test_several_answers_are_a_pool(ask: Callable[..., Any]) -> None:
    cut = said("Fi", finish="length")
    done = await ask(
        "respond",
        {"teachers": ["main", "b"], "samples": 2},
        ROW,
        {"main": [cut, "Five."], "b": ["5", Unanswered("down")]},
    )
    pool = done.fields["candidates"]
    assert [(one["teacher"], one["sample"], one["answer"]) for one in pool] == [
        ("main", 1, "Five."),
        ("b", 0, "5"),
    ]
    assert done.fields["output"] == "Five."
    assert [reason for reason, _ in done.kit.discards] == ["truncated", "unanswered"]


@pytest.mark.parametrize(
    ("settings", "row", "reply", "reason"),
    [
        ({}, {"instruction": " "}, "x", "no_instruction"),
        ({}, {"instruction": ["x"]}, "x", r"no_instruction: .* got \['x'\]"),
        ({"refine": True}, {**ROW, "output": None}, "x", "no_draft"),
        ({}, {**ROW, "input": ["2", "3"]}, "x", "bad_input"),
        ({}, {**ROW, "input": False}, "x", "bad_input"),
        ({}, ROW, said("Fi", finish="length"), "truncated"),
        ({}, ROW, said("", refusal="no"), "refused"),
        ({}, ROW, "  ", "empty_answer"),
    ],
)
async def test_losses(
    ask: Callable[..., Any], settings: Any, row: Any, reply: Any, reason: str
) -> None:
    with pytest.raises(Rejected, match=f"^{reason}"):
        await ask("respond", settings, row, [reply])


async def test_a_system_message_is_drawn_and_kept(ask: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("systems: [Be terse., '']")
    for setting, own, drawn in [
        (["Be terse."], None, "Be terse."),
        (["Be terse."], "Be kind.", "Be kind."),
        (["Be terse."], "", None),
        ([""], None, None),
        (str(tmp_path / "s.yaml"), None, "Be terse. or none"),
    ]:
        row = {**ROW, **({} if own is None else {"system": own})}
        done = await ask("respond", {"system": setting}, row, ["Five."])
        system = done.fields["system"]
        assert system == drawn or (drawn == "Be terse. or none" and system in {"Be terse.", None})
        assert system_and_user(done)[0].startswith(system or "Answer the instruction")
    with pytest.raises(RowError, match="'system' must be a text"):
        await ask("respond", {"system": ["x"]}, {**ROW, "system": 3}, ["Five."])


def test_a_file_of_system_messages_is_looked_at_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("systems: []")
    for name, fault in [("none.yaml", "at least one"), ("gone.yaml", "no such file")]:
        (told,) = SystemSettings(system=name).faults(tmp_path)
        assert fault in told
    (tmp_path / "own.yaml").write_text("systems: [a]")
    assert not list(SystemSettings(system="own.yaml").faults(tmp_path))
    (tmp_path / "own.yaml").write_text("systems: []")  # written anew: the next plan sees it
    assert list(SystemSettings(system="own.yaml").faults(tmp_path))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dialogue", {"text", "profile", "system"}),
        ("tools", {"instruction", "tools", "system"}),
        ("pairs", {"instruction", "input", "system"}),
    ],
)
def test_what_may_be_in_a_row_is_told_to_leave(name: str, fields: set[str], project: Path) -> None:
    path = project / "pipelines" / f"{name}.yaml"
    flow = outflows(compile_plan(read_yaml(path), path))[0]
    assert {sent.field for sent in flow.fields} == fields
