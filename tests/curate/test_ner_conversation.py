"""Talks about texts: one question a type, those without an answer drawn by frequency."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.ner.conversation import ConversationSettings, Drawing, conversation
from synthkd.desk import Desk
from synthkd.evaluate.extraction import mention_f1
from synthkd.io.rows_file import read_rows
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, Row, source_row
from synthkd.steps import Step, TableKit, find_step
from synthkd.teachers.simulated.facts import INVENTED
from synthkd.teachers.simulated.mentions import names_of

ROOT = Path(__file__).parents[2]
KINDS = st.sampled_from("abcdefgh")
FREQUENT, RARE = 200, 10


def rows_of(*named: dict[str, list[str]], **more: Json) -> list[Row]:
    rows = []
    for at, kinds in enumerate(named):
        mentions: list[Json] = [
            {"text": name, "type": kind} for kind, names in kinds.items() for name in names
        ]
        fields: dict[str, Json] = {"text": f"text {at}", "mentions": mentions, **more}
        rows.append(source_row("rows", [str(at)], ordinal=at, fields=fields))
    return rows


def talk(rows: list[Row], **config: Any) -> tuple[list[dict[str, Any]], TableKit]:
    kit = TableKit(Desk(step="ner.conversation"))
    made = conversation(rows, kit, ConversationSettings.model_validate(config))  # type: ignore[arg-type]
    return [dict(row.fields) for row in made], kit


def test_one_question_a_type_and_as_many_without_an_answer() -> None:
    first, second = {"person": ["Ada", "Bob", "Ada"], "city": ["Rome"]}, {"river": ["Po"]}
    (one, two), kit = talk(rows_of(first, second, set="s"), dataset="set")
    said = [message["content"] for message in one["messages"]]
    assert said[:2] == ["Dataset: s\nText: text 0", "I have read it."]
    answers = dict(zip(said[2::2], said[3::2], strict=True))
    assert answers == {
        "What describes person in the text?": '["Ada","Bob"]',
        "What describes city in the text?": '["Rome"]',
        "What describes river in the text?": "[]",  # there is no second type to ask for
    }
    roles = [message["role"] for message in one["messages"]]
    assert roles == ["user", "assistant"] * 4
    assert {q["type"]: q["mentions"] for q in one["questions"]}["river"] == []
    assert len(two["questions"]) == 2
    assert kit.figures == {"types": 3, "questions": 5, "without_answer": 2}


def test_how_many_there_are_without_an_answer() -> None:
    rows = rows_of({"a": ["x"], "b": ["y"]}, {}, {kind: ["z"] for kind in "cdefghij"})
    made, _ = talk(rows, per_question=1.5, at_least=2, at_most=3)
    empty = [sum(not one["mentions"] for one in row["questions"]) for row in made]
    assert empty == [3, 2, 2]  # 1.5 x 2; at least 2; two types are left
    made, kit = talk(rows, negatives="none")
    assert len(made) == 2
    ((row, why),) = kit.take_gone()
    assert row.fields["text"] == "text 1"
    assert str(why).startswith("no_questions")


def test_definitions_are_asked_for() -> None:
    rows = rows_of({"person": ["Ada"]})
    mentions: list[Json] = [
        {"text": "Ada", "type": "person", "definition": "a human  being"},
        {"text": "Rome", "type": "city"},
    ]
    rows = [rows[0].with_fields(mentions=mentions)]
    (one,), _ = talk(rows, by="definition", ask="Find: {type}.")
    assert [m["content"] for m in one["messages"][2:]] == ["Find: a human being.", '["Ada"]']


@settings(max_examples=80)
@given(
    st.dictionaries(KINDS, st.integers(1, 1_000), min_size=1),
    st.sets(KINDS),
    st.integers(0, 9),
    st.integers(),
)
def test_no_type_is_drawn_that_the_text_has_and_none_twice(
    counts: dict[str, int], present: set[str], count: int, seed: int
) -> None:
    drawn = Drawing(counts).draw(random.Random(seed), present, count)
    assert not set(drawn) & present
    assert len(set(drawn)) == len(drawn) == min(count, len(counts.keys() - present))


def test_frequent_types_are_asked_for_more_often() -> None:
    counts = {"often": FREQUENT, "seldom": RARE, "here": 1_000_000}
    rng = random.Random(3)
    for uniform, low, high in ((False, 0.92, 0.98), (True, 0.45, 0.55)):
        drawing = Drawing(counts, uniform=uniform)
        drawn = Counter(drawing.draw(rng, ["here"], 1)[0] for _ in range(2_000))
        assert low < drawn["often"] / 2_000 < high


def test_what_cannot_be_read_is_rejected_with_the_value() -> None:
    rows = [one.with_fields(mentions="Ada") for one in rows_of({"a": ["x"]})]
    made, kit = talk(rows)
    assert made == []
    ((_, why),) = kit.take_gone()
    assert str(why) == "unreadable_mentions: mentions must be a list of mentions, got 'Ada'"
    with pytest.raises(ValidationError, match=r"must say \{type\}, where the type goes"):
        ConversationSettings.model_validate({"ask": "What is there?"})


async def test_questions_alone_are_scored_as_they_are_answered() -> None:
    step = find_step("ner.questions")
    assert isinstance(step, Step)
    questions: Json = [{"type": "song", "mentions": ["A [b]"]}, {"type": "city", "mentions": []}]
    row = source_row("rows", ["1"], ordinal=0, fields={"text": "t", "questions": questions})
    kit = Kit(Desk(step=step.name), row.id)
    made = [out.fields async for out in step.run(row, kit, step.config())]
    assert made[0]["prompt"] == "Text: t\n\nWhat describes song in the text?"
    assert [one["completion"] for one in made] == ['["A [b]"]', "[]"]
    gold: list[Json] = [orjson.loads(str(one["completion"])) for one in made]
    assert mention_f1(gold, ['Here: ["the A [B]."]', "[]"]).value == 1


async def test_the_pipeline_lets_no_invented_mention_through(tmp_path: Path) -> None:
    data = f"source.jsonl={ROOT / 'data' / 'facts.jsonl'}"
    pipeline = ROOT / "pipelines" / "open_ner.yaml"
    manifest = await Pipeline.load(pipeline, overrides=[data], out=tmp_path / "out").run()
    assert manifest.counts.kept == 60
    gold: list[Json] = []
    given: list[Json] = []
    for row in read_rows(tmp_path / "out" / "rows" / "rows.parquet"):
        fields: dict[str, Any] = dict(row.fields)
        names = names_of(fields["text"])
        for one in fields["mentions"]:
            assert one["text"] not in INVENTED
            assert one["text"] == fields["text"][one["start"] : one["end"]]
        gold.append([{"text": name, "type": kind} for name, kind in names.items()])
        given.append([{"text": one["text"], "type": one["type"]} for one in fields["mentions"]])
        answered = {q["type"] for q in fields["questions"] if q["mentions"]}
        assert answered == {one["type"] for one in fields["mentions"]}
    assert 0.8 < mention_f1(gold, given).value < 0.95  # of an error rate of 0.2, a quarter invented


async def test_a_pipeline_may_ask_one_question_a_row(tmp_path: Path) -> None:
    text = (ROOT / "pipelines" / "open_ner.yaml").read_text("utf-8")
    steps, _, _ = text.partition("\n# `spans`")
    export = "export: {format: messages, prompt: prompt, completion: completion}"
    pipeline = tmp_path / "questions.yaml"
    pipeline.write_text(f"{steps}\n  - use: ner.questions\n{export}\n", "utf-8")
    data = f"source.jsonl={ROOT / 'data' / 'facts.jsonl'}"
    manifest = await Pipeline.load(pipeline, overrides=[data], out=tmp_path / "out").run()
    figures: Any = manifest.figures["ner.conversation"]
    lines = (tmp_path / "out" / "dataset" / "train.jsonl").read_bytes().splitlines()
    assert len(lines) == figures["questions"] > 250
    assert 0 < figures["without_answer"] <= figures["questions"] / 2
