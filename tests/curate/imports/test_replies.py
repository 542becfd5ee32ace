"""import.replies and import.gather: the layouts of published dumps become candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.imports.replies import RepliesSettings
from synthkd.desk import Desk
from synthkd.errors import MissingField, Rejected, RowError, UserError
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step
from tests.curate.imports.tables import Outcome

NUMBER = {"answer": {"type": "number"}}


async def imported(settings: dict[str, Any], **fields: Json) -> dict[str, Any]:
    step = find_step("import.replies")
    assert isinstance(step, Step)
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    config = step.config.model_validate(settings)
    (made,) = [out async for out in step.run(row, Kit(Desk(step="i"), row.id), config)]
    return dict(made.fields)


async def test_a_raw_completion_of_distilling_step_by_step() -> None:
    raw = "Fish swim. So the answer is (b) sea.\n\nQ: Where do cows live?"
    made = await imported(
        {"text": "completion", "by": "palm", "answer": {"choices": "choices"}},
        completion=raw,
        choices=["park", "sea"],
    )
    (one,) = made["candidates"]
    assert {name: one[name] for name in ("teacher", "sample", "text", "answer", "rationale")} == {
        "teacher": "palm",
        "sample": 0,
        "text": raw,
        "answer": "sea",
        "rationale": "Fish swim.",
    }
    assert one["status"] == "run_on_cut"


async def test_choices_that_stand_in_the_text_of_the_question() -> None:
    asked = "Which of (a) or\n(b) is it?\nAnswer Choices:\n(a) park\n(b) coloring book\n(c) sea"
    settings = {"text": "said", "choices_in": "input", "answer": {"choices": "options"}}
    made = await imported(settings, input=asked, said="So the answer is (c).")
    assert made["options"] == ["park", "coloring book", "sea"]
    assert made["candidates"][0]["answer"] == "sea"
    with pytest.raises(Rejected, match="no_choices"):
        await imported(settings, input="Which is it?\n(a) park", said="So the answer is (a).")


async def test_reasoning_that_stands_apart_from_a_short_answer() -> None:
    made = await imported(
        {"text": "completion", "reasoning": "reasoning_completion", "by_field": "model", **NUMBER},
        reasoning_completion=" Two and two more.\n",
        completion=" 4.",
        model="davinci",
    )
    (one,) = made["candidates"]
    assert (one["teacher"], one["answer"], one["rationale"]) == (
        "davinci",
        "4",
        "Two and two more.",
    )


async def test_several_generations_with_and_without_tags() -> None:
    texts = ["<think>Hm.</think>\\boxed{4}", "So the answer is 5", "", "<think>Hm."]
    made = await imported({"text": "generations", **NUMBER}, generations=texts)
    told = [
        (one["sample"], one["thought"], one["answer"], one["status"]) for one in made["candidates"]
    ]
    assert told == [
        (0, "Hm.", "4", "ok"),
        (1, None, "5", "ok"),
        (2, None, None, "empty_answer"),
        (3, None, None, "no_solution"),
    ]


async def test_messages_with_a_thought_in_tags_or_apart() -> None:
    talk: list[Json] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two and two?"},
        {"role": "assistant", "content": "So the answer is 4.", "reasoning_content": "Hm."},
    ]
    made = await imported({"messages": "messages", **NUMBER}, messages=talk)
    assert (made["question"], made["system"]) == ("Two and two?", "Be brief.")
    assert made["candidates"][0]["thought"] == "Hm."
    made = await imported({"messages": "messages", **NUMBER}, messages=talk[1:])
    assert made["system"] is None


USER: Json = {"role": "user", "content": "a"}
ASSISTANT: Json = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        ([USER, ASSISTANT, USER, ASSISTANT], "several_turns"),
        ([USER], "not_a_talk"),
        ([], "not_a_talk"),
        ("a", "not_a_talk"),
        ([{"role": "tool", "content": "a"}, ASSISTANT], "not_a_talk"),
        ([{"role": "user", "content": 3}, ASSISTANT], "not_a_talk"),
        ([USER, {"role": "assistant", "content": " "}], "no_candidate"),
    ],
)
async def test_messages_that_are_no_question_and_answer(talk: Json, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await imported({"messages": "m"}, m=talk)
    assert caught.value.reason == reason


async def test_what_ends_a_row_of_a_dump() -> None:
    for nothing in (None, "", [], [None, {"other": "a"}], {"a": 1}):
        with pytest.raises(Rejected, match="no_candidate"):
            await imported({"text": "t"}, t=nothing)
    with pytest.raises(MissingField, match="no field 't'"):
        await imported({"text": "t"}, u="a")
    with pytest.raises(RowError, match="thoughts has 1 values beside 2 replies"):
        await imported({"text": "t", "thought": "thoughts"}, t=["a", "b"], thoughts=["c"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of text, messages"),
        ({"text": "a", "messages": "b"}, "exactly one of text, messages"),
        ({"messages": "b", "thought": "c"}, "leave thought and reasoning out"),
        ({"text": "a", "choices_in": "b"}, "choices_in needs answer"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RepliesSettings.model_validate(settings)


@given(st.lists(st.tuples(st.sampled_from("qr Q"), st.integers(0, 9)), max_size=12))
@settings(max_examples=30)
def test_gathering_loses_no_candidate_and_keeps_their_order(records: list[tuple[str, int]]) -> None:
    rows: list[dict[str, Any]] = [
        {"question": question, "candidates": [{"teacher": "t", "sample": 0, "answer": str(number)}]}
        for question, number in records
    ]
    outcome = Outcome("import.gather", {"by": ["question"]}, rows)
    groups: dict[str, list[str]] = {}
    for question, number in records:
        groups.setdefault(question.strip().casefold(), []).append(str(number))
    gathered: list[Any] = [row.fields for row in outcome.rows]
    made = {
        fields["question"].strip().casefold(): [
            (one["sample"], one["answer"]) for one in fields["candidates"]
        ]
        for fields in gathered
    }
    assert made == {key: list(enumerate(answers)) for key, answers in groups.items()}
    assert len(outcome.gone) == len(records) - len(groups)
    assert sum(len(row.roots) for row in outcome.rows) == len(records)


def test_records_that_cannot_be_gathered() -> None:
    rows: list[Any] = [
        {"q": "a", "candidates": []},
        {"candidates": []},
        {"q": "a", "candidates": 3},
    ]
    outcome = Outcome("import.gather", {"by": ["q"]}, rows)
    assert [row.fields for row in outcome.rows] == [{"q": "a", "candidates": []}]
    assert sorted(str(why).partition(":")[0] for _, why in outcome.gone) == [
        "missing_field",
        "no_candidate",
    ]


async def test_the_pipeline_takes_the_dump_and_stops_at_a_shuffled_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)

    def load(*overrides: str) -> Pipeline:
        file = project / "pipelines" / "import.yaml"
        return Pipeline.load(file, overrides=overrides, out=tmp_path / "out")

    manifest = await load().run()
    assert manifest.figures["import.audit"]["verdict"] == "aligned"
    assert manifest.counts.read == 200
    shards = sorted((project / "data").glob("arithmetic_cot_*.json"), reverse=True)
    texts = [text for shard in shards for text in orjson.loads(shard.read_bytes())]
    (tmp_path / "swapped.json").write_bytes(orjson.dumps(texts))
    with pytest.raises(UserError, match=r"100 rows (earlier|later) they would agree in 7"):
        await load(f"source.beside={{completion: {tmp_path / 'swapped.json'}}}").run()


async def test_the_recorded_completions_read_as_their_rows_say(recorded_data: Path) -> None:
    """As `rationale` reads them, and their labels agree with the recorded ones."""
    table = pq.read_table(recorded_data / "dss_anli1" / "valid.parquet").to_pylist()
    labels = ["entailment", "neutral", "contradiction"]
    config = {"text": "raw", "answer": {"labels": labels}}
    same = 0
    for row in table[:200]:
        made = await imported(config, raw=row["teacher_raw"])
        same += made["candidates"][0]["answer"] == row["teacher_label"]
    assert same >= 199
    table = pq.read_table(recorded_data / "dss_cqa" / "train.parquet").slice(0, 300).to_pylist()
    listed = {"text": "raw", "choices_in": "prompt", "answer": {"choices": "choices"}}
    for row in table:
        made = await imported(listed, raw=row["teacher_raw"], prompt=row["prompt"])
        assert made["choices"] == [choice.strip() for choice in row["choices"]]


async def test_messages_with_thoughts_become_what_a_student_learns(tmp_path: Path) -> None:
    """The way of an open dataset of long thoughts, from the file to the target."""
    talks = [
        ("2 + 2?", "<think>Two. Two more.</think>\n\nIt is \\boxed{4}.", 4),
        ("3 + 3?", "<think>Three.</think>\n\nIt is \\boxed{7}.", 6),
        ("4 + 4?", "It is \\boxed{8}.", 8),
    ]
    lines = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": said},
            ],
            "gold": gold,
        }
        for question, said, gold in talks
    ]
    (tmp_path / "open.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    number = {"type": "number"}
    pipeline = {
        "name": "open",
        "source": {"jsonl": "open.jsonl"},
        "steps": [
            {"use": "import.replies", "with": {"messages": "messages", "answer": number}},
            {"use": "thoughts.choose", "with": {"gold": "gold", "answer": number}},
            {"use": "thoughts.target"},
        ],
        "export": {"format": "prompt-completion", "prompt": "question", "completion": "response"},
        "limits": {"max_rejected": 1},
    }
    (tmp_path / "open.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    manifest = await Pipeline.load(tmp_path / "open.yaml", out=tmp_path / "out").run()
    assert manifest.funnel["thoughts.choose"].reasons == {"no_thought": 1, "unsolved": 1}
    [kept] = (tmp_path / "out" / "dataset" / "train.jsonl").read_bytes().splitlines()
    learnt = {
        "prompt": "2 + 2?",
        "completion": "<think>\nTwo. Two more.\n</think>\n\nIt is \\boxed{4}.",
    }
    assert orjson.loads(kept) | learnt == orjson.loads(kept)
