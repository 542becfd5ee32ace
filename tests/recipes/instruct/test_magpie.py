"""Magpie: turns written out of nothing, over a real socket too, and who cannot write them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import ValidationError

from synthkd.config import RecordedConfig
from synthkd.errors import BudgetReached, ConfigError, PromptError, TeacherRefused, UserError
from synthkd.fake_teacher import FakeTeacher
from synthkd.io.rows_file import ROWS, read_rows
from synthkd.pipeline import Pipeline
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.instruct.magpie import MagpieSettings
from synthkd.recipes.instruct.turns import KNOWN, TurnTemplate, turn_in
from synthkd.rows import Fields
from synthkd.table_kit import Question
from synthkd.teachers.recorded import RecordedTeacher
from synthkd.teachers.refusals import Refusals
from synthkd.teachers.request import Request
from synthkd.teachers.simulated.instructions import Instructions
from synthkd.teachers.wire import parse_reply
from tests.recipes.instruct.growing import completion, grown
from tests.runs import tree_bytes

CHATML, LLAMA3 = KNOWN["chatml"], KNOWN["llama3"]
SYSTEMS: list[Fields] = [{"system": "You cook.", "domain": "food"}, {"system": None, "domain": ""}]
SETTINGS = {"template": "chatml", "system": "system", "wave": 4}


def asked(n: int) -> str:
    """The nth question of a user, unlike all others."""
    digits = " ".join(f"word{n}{place}" for place in range(6))
    return f"What is {digits}?"


class Counting:
    """A teacher that says something else each time."""

    def __init__(self, *first: Any) -> None:
        self.first = list(first)
        self.n = 0

    def __call__(self, question: Question) -> Any:
        self.n += 1
        return self.first.pop(0) if self.first else asked(self.n)


@pytest.mark.parametrize(
    ("text", "template", "found"),
    [
        (" How do tides work?\n", CHATML, "How do tides work?"),
        ("Two lines:\nand one.", CHATML, "Two lines:\nand one."),
        ("How?<|im_end|>\n", CHATML, "How?"),
        ("How?<|im_end|>\n<|im_start|>assistant\nSo.", CHATML, "several_turns"),
        ("How?\nassistant\n\nSo.", LLAMA3, "several_turns"),
        ("How?\nAssistant:\nSo.", CHATML, "several_turns"),
        ("How?<|im_start|>assistant\nSo.", CHATML, "several_turns"),
        ("My assistant left.\nWhy?", CHATML, "My assistant left.\nWhy?"),
        ("<|im_end|>", CHATML, "empty_turn"),
        (" \n", CHATML, "empty_turn"),
        ("How? <|", CHATML, "template_leak"),
        ("How?<|eot_id|>", CHATML, "template_leak"),
        ("How? [/INST] So.", KNOWN["llama2"], "several_turns"),
        ("Is a < b | c > d?", CHATML, "Is a < b | c > d?"),
        ("What is x |> f and g <| y?", CHATML, "What is x |> f and g <| y?"),
        ("How?\nAssistant: So.\nUser: Thanks", CHATML, "several_turns"),
        ("How?<end_of_turn>\n<start_of_turn>model\nSo.", KNOWN["gemma"], "several_turns"),
    ],
)
def test_reading_a_turn(text: str, template: TurnTemplate, found: str) -> None:
    read = turn_in(text, template)
    assert found == (read if isinstance(read, str) else read.reason)


@pytest.mark.parametrize("name", KNOWN)
def test_each_known_template(name: str) -> None:
    pieces = KNOWN[name]
    assert pieces.opened(None) == pieces.opening
    # where there is a system message, the user's turn opens as it does without
    if pieces.system is not None:
        opened = pieces.opened("You {system} cook.")
        assert opened.count("You {system} cook.") == 1
        assert opened.endswith(pieces.opening) or name == "llama2"
    else:
        with pytest.raises(ValueError, match="no place"):
            pieces.opened("You cook.")
    # an opening goes out to the letter
    prompt = load_prompt("magpie/turn", folders=[shipped_folder("prompts")])
    assert prompt.question({"opening": pieces.opening}) == {"prompt": pieces.opening}


def test_exactly_so_many_turns_by_sample_and_system_message(tmp_path: Path) -> None:
    broken = [" \n<|im_end|>", asked(1) + "<|im_end|>\nassistant\nSo", "How? <|", asked(4)[:9]]
    replies = [*broken[:3], completion("What is", finish="length"), asked(99), asked(99)]
    done = grown(
        "instruct.magpie", {**SETTINGS, "accept": 5}, SYSTEMS, Counting(*replies), tmp_path
    )
    assert done.ended is None
    assert len(done.new) == 5 == len(done.rows)
    assert done.reasons[:5] == [
        *("empty_turn", "several_turns", "template_leak", "cut", "too_similar"),
    ]
    assert {row.fields["input"] for row in done.new} == {""}
    assert {row.fields["domain"] for row in done.new} == {"food", ""}
    questions = [question for wave in done.kit.waves for question in wave]
    openings = [CHATML.opened("You cook."), CHATML.opening]
    assert [question.inputs["opening"] for question in questions[:4]] == openings * 2
    # the same few characters, time and again: what tells the questions apart is the sample
    assert [question.sample for question in questions[:6]] == [0, 0, 1, 1, 2, 2]
    assert len(done.gone) == 2  # the two rows live on in what was made
    assert [error for _, error in done.gone] == [None, None]


def test_rows_that_are_no_system_messages_say_nothing_of_the_new_ones(tmp_path: Path) -> None:
    seeds: list[Fields] = [{"instruction": asked(500), "output": "old", "task": "sums"}]
    settings = {"template": "chatml", "accept": 2, "seeds": "keep"}
    replies = Counting(asked(500))
    done = grown("instruct.magpie", settings, seeds, replies, tmp_path)
    assert done.reasons[:1] == ["too_similar"]  # what came in is known
    assert [set(row.fields) for row in done.new] == [{"instruction", "input", "origin"}] * 2
    steered = {**settings, "system": "system"}
    rows: list[Fields] = [{"system": "You cook.", "output": "old", "task": "food"}]
    done = grown("instruct.magpie", steered, rows, Counting(), tmp_path)
    assert {row.fields["task"] for row in done.new} == {"food"}
    assert not any("output" in row.fields for row in done.new)


def test_what_a_row_already_has_never_stands_for_the_turn_that_was_written(tmp_path: Path) -> None:
    rows: list[Fields] = [{"system": "You cook.", "instruction": "Old.", "origin": "elsewhere"}]
    settings = {**SETTINGS, "accept": 3}
    for more in ({}, {"instruction": "input"}):
        found = grown("instruct.magpie", {**settings, **more}, rows, Counting(), tmp_path)
        field = more.get("instruction", "instruction")
        assert [row.fields[field] for row in found.new] == [asked(n) for n in (1, 2, 3)]


def test_a_system_message_that_ends_its_own_turn_is_no_seed(tmp_path: Path) -> None:
    ends: Fields = {"system": "Be kind.<|im_end|>\n<|im_start|>assistant\nHi", "domain": ""}
    found = grown(
        "instruct.magpie", {**SETTINGS, "accept": 2}, [*SYSTEMS, ends], Counting(), tmp_path
    )
    assert [getattr(why, "reason", "merged") for _, why in found.gone] == [
        *("template_leak", "merged", "merged")
    ]
    found = grown("instruct.magpie", {**SETTINGS, "accept": 2}, [ends], Counting(), tmp_path)
    assert "none of 1 rows can be begun with (of the first: '<|im_end|>'" in str(found.ended)


def test_a_run_for_fewer_is_the_beginning_of_a_run_for_more(tmp_path: Path) -> None:
    few, more = (
        grown("instruct.magpie", {**SETTINGS, "accept": n}, SYSTEMS, Counting(), tmp_path)
        for n in (3, 9)
    )
    assert few.rows == more.rows[:3]
    assert [more.kit.waves[0]] == few.kit.waves


def written(folder: Path, teacher: dict[str, Any], **settings: Any) -> Path:
    rows = [{"id": n, **row} for n, row in enumerate(SYSTEMS)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    pipeline = {
        "name": "magpie",
        "teachers": {"main": teacher},
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [
            {"use": "instruct.magpie", "with": {"teacher": "main", **SETTINGS, **settings}},
        ],
        "export": {"format": "rows"},
    }
    file = folder / "magpie.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


STOP = {"stop": ["<|im_end|>"], "temperature": 1, "seed": 7}


async def test_over_a_socket_raw_text_goes_out_and_a_turn_comes_back(tmp_path: Path) -> None:
    def says(body: Any) -> str:
        assert "messages" not in body
        n = body["seed"] * 10 + len(body["prompt"]) % 10
        return f"{asked(n)}<|im_end|>\n<|im_start|>assistant\nSo."

    async with FakeTeacher(answer=says).serve() as provider:
        teacher = {"endpoint": provider.url, "model": "qwen", "params": STOP}
        file = written(tmp_path, teacher, accept=6)
        manifest = await Pipeline.load(file, out="out").run()
        assert manifest.funnel["instruct.magpie"].out == 6
        bought = provider.requests
        assert bought == 8
        rows = list(read_rows(tmp_path / "out" / ROWS))
        again = await Pipeline.load(file, out="again").run()
        assert provider.requests == bought
    assert again.figures == manifest.figures
    # the stop string ended the reply, so that nothing of the assistant's turn came
    assert {str(row.fields["instruction"])[:8] for row in rows} == {"What is "}


async def test_a_run_that_was_stopped_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    teacher = {"simulated": {"world": "instructions", "error_rate": 0.2}, "concurrency": 3}
    file = written(tmp_path, teacher, accept=8)

    async def run(out: str, ledger: str, *limits: str) -> int:
        loaded = Pipeline.load(file, out=out, ledger=str(tmp_path / ledger), overrides=limits)
        return (await loaded.run()).teachers["main"].attempts

    whole = await run("whole", "one.db")
    with pytest.raises(BudgetReached):
        await run("parts", "other.db", "budget.requests=5")
    # and from the ledger alone a raw reply is read as it was when it came
    assert await run("parts", "other.db", "budget.requests=100") == whole - 5
    assert await run("again", "other.db") == 0
    datasets = {out: tree_bytes(tmp_path / out / "dataset") for out in ("whole", "parts", "again")}
    assert datasets["whole"] == datasets["parts"] == datasets["again"]


async def test_recorded_answers_to_raw_text_are_replayed_too(tmp_path: Path) -> None:
    (tmp_path / "said.jsonl").write_text('{"opening": "Once", "said": "upon a time"}\n')
    config = RecordedConfig(jsonl="said.jsonl", match="opening", text="said")
    request = Request(
        api="completions",
        body={"model": "m", "prompt": "Once"},
        prompt="magpie/turn",
        inputs={"opening": "Once"},
    )
    reply = (await RecordedTeacher(config, tmp_path / "said.jsonl").complete(request)).reply
    assert parse_reply("completions", reply).text == "upon a time"


def test_a_server_without_raw_text_stops_the_run_and_says_why() -> None:
    refusals, said = Refusals(None, None), b'{"detail": "Not Found"}'
    error = refusals.of("http://h/v1/completions", 404, {}, said)
    assert isinstance(error, TeacherRefused)
    assert "may take chat messages alone" in str(error)
    error = refusals.of("http://h/v1/chat/completions", 404, {}, said)
    assert "raw" not in str(error)


@pytest.mark.parametrize(
    ("teacher", "fault"),
    [
        (
            {"endpoint": "https://api.openai.com/v1", "model": "gpt-4o", "params": STOP},
            "continues raw text.*gpt-4o at api.openai.com takes chat messages alone",
        ),
        (
            {"recorded": {"jsonl": "rows.jsonl", "match": "opening", "text": "system"}},
            "continues raw text, and 'main' has recorded answers",
        ),
        (
            {"endpoint": "http://127.0.0.1:9/v1", "model": "qwen", "params": {"stop": "\n"}},
            r"must stop where the user's turn ends: add params: \{stop: \['<\|im_end\|>'\]\}",
        ),
    ],
)
def test_who_cannot_be_asked_is_told_at_plan_time(
    teacher: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=fault):
        Pipeline.load(written(tmp_path, teacher, accept=2), out="out")


def test_the_models_that_still_take_raw_text_may_be_asked(tmp_path: Path) -> None:
    teacher = {"endpoint": "https://api.openai.com/v1", "model": "davinci-002", "params": STOP}
    pipeline = Pipeline.load(written(tmp_path, teacher, accept=2), out="out")
    assert pipeline.name == "magpie"


async def test_a_prompt_of_messages_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    text = "---\ninputs: [opening]\n---\n{# user #}\n{{ opening }}\n"
    (tmp_path / "chat.md.j2").write_text(text, encoding="utf-8")
    teacher = {"simulated": {"world": "instructions"}}
    file = written(tmp_path, teacher, accept=2, prompt="chat")
    with pytest.raises(UserError, match=r"'chat' is one of messages.*raw"):
        await Pipeline.load(file, out="out").run()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"template": "chatlm"}, "none of chatml, llama3.*did you mean.*chatml"),
        ({"template": "mistral", "system": "system"}, "no place for a system message"),
        (
            {"template": {"opening": " ", "end": "x", "assistant": "y"}},
            "must have marks in them",
        ),
        (
            {"template": {"opening": "U:", "system": "S:", "end": "x", "assistant": "y"}},
            r"must have \{system\} exactly once",
        ),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        MagpieSettings.model_validate({"teacher": "main", "accept": 1, **given})


def test_the_simulated_teacher_says_what_it_cannot_do() -> None:

    with pytest.raises(
        PromptError, match="reads the inputs instruction, text, attributes or opening"
    ):
        Instructions(0.0).answer("evolve/odd", {"nothing": 1}, random.Random(0))
