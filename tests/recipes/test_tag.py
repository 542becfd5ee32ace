"""tag: which class an instruction gets, what else is read, and what a teacher cannot slip in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from synthkd.errors import MissingField, Rejected, RowError
from synthkd.recipes.tag import TagSettings, language_of, read_difficulty, read_intents, read_task
from synthkd.recipes.tasks import Tasks, load_tasks
from synthkd.steps import Step, find_step
from tests.recipes.conftest import said

ROW = {
    "instruction": "Please write a poem about the rain in autumn for my mother.",
    "input": "Four lines.",
}
ALL = {"kinds": ["task", "domain", "difficulty", "intents", "language"]}
TWO = {"kinds": ["task"], "tasks": ["Code Debug", "Code", "Others"]}


def told(**kinds: Any) -> str:
    return orjson.dumps(kinds).decode()


FULL = told(
    task="writing",
    domain="  Poetry ",
    difficulty=3,
    intents=[
        {"tag": "Poem writing", "explanation": "Asks for one."},
        {"tag": "poem  writing", "explanation": "twice"},
        "nature",
    ],
)


async def test_one_question_tells_all_kinds(ask: Callable[..., Any]) -> None:
    done = await ask("tag", ALL, ROW, [FULL])
    intents = [
        {"tag": "Poem writing", "explanation": "Asks for one."},
        {"tag": "nature", "explanation": ""},
    ]
    assert done.fields == {
        **ROW,
        **{"task": "Writing", "task_said": None, "domain": "poetry", "difficulty": 3},
        **{"intents": intents, "language": "en"},
    }
    step = find_step("tag")
    assert isinstance(step, Step)
    assert step.sums_up is not None
    figures = step.sums_up(dict(done.kit.counts))
    assert figures["tasks"] == {"Writing": 1}
    assert figures["languages"] == {"en": 1}
    assert figures["difficulty"] == {"rows": 1, "mean": 3.0, "histogram": {"3": 1}}
    first = done.teachers["main"].asked[0]
    shown = str(first.body["messages"])
    assert "Four lines." in shown
    assert "Common-Sense; Counterfactual" in shown
    wire = first.body["response_format"]["json_schema"]["schema"]
    assert list(wire["properties"]) == ["task", "domain", "difficulty", "intents"]
    assert len(wire["properties"]["task"]["enum"]) == 32


async def test_language_alone_asks_nobody(ask: Callable[..., Any]) -> None:
    row = {"instruction": "Schreibe bitte ein Gedicht über den Regen im Herbst."}
    done = await ask("tag", {"kinds": ["language"], "teacher": None}, row, [])
    assert done.fields["language"] == "de"
    assert language_of("OK", 0.8) is None


@pytest.mark.parametrize(
    ("reply", "task", "what"),
    [
        (told(task="code_debug"), "Code Debug", None),
        (told(task="It is a Code Debug task."), "Code Debug", None),
        ("I would say: Code.", "Code", None),
        (told(task="Cooking"), "Others", "Cooking"),
        (told(task="Code or Others"), "Others", "Code or Others"),  # two are named
        (told(task="Decode"), "Others", "Decode"),  # no word of its own
        (told(task="\u4ee3\u7801"), "Others", "\u4ee3\u7801"),
        (told(task="code-debug"), "Code Debug", None),
    ],
)
async def test_a_class_outside_the_list_is_seen(
    ask: Callable[..., Any], reply: str, task: str, what: str | None
) -> None:
    done = await ask("tag", {**TWO, "structured": False}, ROW, [reply])
    assert (done.fields["task"], done.fields["task_said"]) == (task, what)
    assert dict(done.kit.counts)["classes outside the list"] == (what is not None)
    if what is not None:
        with pytest.raises(Rejected, match="bad_class: none of the 3 classes"):
            await ask("tag", {**TWO, "structured": False, "outside": "reject"}, ROW, [reply])


async def test_what_cannot_be_read_ends_the_row_or_is_null(ask: Callable[..., Any]) -> None:
    settings = {"kinds": ["domain", "difficulty"], "structured": False, "domains": ["law", "art"]}
    for silent in (
        told(task=7), told(label="Code"), told(task=" "),
        '{"task": "Code"',  # cut: what is inside may be a quotation
    ):  # fmt: skip
        with pytest.raises(Rejected, match="bad_class: no class is said"):
            await ask("tag", {**TWO, "structured": False}, ROW, [silent])
    with pytest.raises(Rejected, match="cut at max_tokens"):
        await ask("tag", {**TWO, "structured": False}, ROW, [said('{"task": "C', finish="length")])
    for reply, reason in (
        (told(domain="law", difficulty=11), "off_scale"),
        (f"{told(domain='law', difficulty=3)}\n{told(domain='law', difficulty=4)}", "said_twice"),
        (told(domain="law", difficulty="hard"), "no_difficulty"),
        (told(domain="sports", difficulty=2), "bad_domain"),
        (said("{", finish="length"), "cut"),
        (said("", refusal="No."), "refused"),
        ("", "empty_answer"),
    ):
        with pytest.raises(Rejected, match=reason):
            await ask("tag", settings, ROW, [reply])
    kept = await ask(
        "tag", {**settings, "missing": "keep"}, ROW, [told(domain="Art", difficulty=0)]
    )
    assert (kept.fields["domain"], kept.fields["difficulty"]) == ("art", None)
    assert [reason for reason, _ in kept.kit.discards] == ["off_scale"]
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"instruction": " "}, Rejected),
        ({"instruction": 3}, RowError),
        ({"text": "x"}, MissingField),
    ]
    for row, error in wrong:
        with pytest.raises(error):
            await ask("tag", settings, row, [FULL])


def test_readings() -> None:
    for value, number in ((5, 5), ("5", 5), (5.0, 5), (True, None), (5.5, None), (None, None)):
        assert read_difficulty(value).value == number
    unread: list[Any] = [[], "x", [{"tag": " "}], [{"name": "x"}], None]
    for one in unread:
        assert read_intents(one).loss is not None
    tasks = Tasks.model_validate(["a b", "b"])
    assert read_task("a b", tasks, "reject").value == "a b"  # and not both


def test_tapirs_classes_are_data_and_may_be_others(tmp_path: Path) -> None:
    config = TagSettings(teacher="t")
    assert len(config.tasks.shares) == 32
    assert config.tasks.other == "Others"
    assert config.tasks.shares["Math"] == 0.167
    (tmp_path / "own.yaml").write_text("shares: {x: 0.5, y: 0.5}\n")
    assert load_tasks("own", [tmp_path]).names == ["x", "y"]
    (tmp_path / "bad.yaml").write_text("shares: {x: 0.5, y: 0.6}\n")
    for name, fault in (
        ("bad", "must sum to 1, got 1.1"),
        ("nowhere", "no file of tasks 'nowhere'; looked for"),
        ("../x", "no name of a file"),
    ):
        with pytest.raises(ValueError, match=fault):
            load_tasks(name, [tmp_path])


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"kinds": ["task", "task"]}, "name each once"),
        ({"teacher": None}, "who is asked for task"),
        ({"tasks": ["a", "b"]}, "no class for what belongs to none"),
        ({"tasks": ["a", "A"], "outside": "reject"}, "differ in more than case"),
        ({"tasks": ["a", "a"]}, "name each once"),
        ({"tasks": {"shares": {"a": 1.0}}}, "2 to 500 classes"),
        ({"tasks": {"shares": {"a": -1.0, "b": 2.0}}}, "0 or more"),
        ({"tasks": {"shares": {"a": 0.5, "b": 0.5}, "other": "c"}}, "none of the classes"),
        ({"kinds": ["task", "domain"], "names": {"domain": "task"}}, "into the field 'task'"),
        ({"kinds": ["domain"], "domains": ["sea-life", "Sea life"]}, "domains must differ"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TagSettings.model_validate({"teacher": "t", **settings})
