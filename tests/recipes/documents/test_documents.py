from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.desk import Desk
from synthkd.errors import Rejected, RowError, TeacherError, Unanswered
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.documents.pairs import PairsSettings
from synthkd.recipes.documents.questions import QuestionsSettings
from synthkd.rows import Row, source_row
from synthkd.steps import Step, find_step
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage

FIRST = "Greta Keller was born in Senlis near the old river in the year 1930."
SECOND = "She wrote The Clockmaker of Velden, and her house has twelve doors."
TEXT = f"{FIRST} {SECOND}"
BORN, WROTE = "Where was Greta Keller born?", "What did Greta Keller write?"
ANSWERS = {BORN: "Greta Keller was born in Senlis.", WROTE: "She wrote The Clockmaker of Velden."}


@dataclass
class Reader:
    """Replies by the prompt's last word, then by passage, question or answer."""

    says: Mapping[str, Any]
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        kind, inputs = request.prompt.rpartition("/")[2], request.inputs
        said = self.says[kind]
        if isinstance(said, TeacherError):
            raise said
        if kind in {"questions", "pairs"}:
            said = {kind: said["Clockmaker" in str(inputs["passage"])]}
        elif kind == "judge":
            said = dict(zip(("supported", "alone"), said(inputs["answer"]), strict=True))
        else:
            said = {"answer": said[inputs["question"]]}
        key = f"{kind}-{len(self.asked)}"
        return Completion(text=json.dumps(said), finish="stop", usage=Usage(), reply=b"", key=key)


async def read(
    step: str, says: Mapping[str, Any], text: Any = TEXT, **more: Any
) -> tuple[list[Row], Kit, Reader]:
    found = find_step(step)
    assert isinstance(found, Step)
    config = found.config.model_validate({"teacher": "a", "tokens": 24, **more})
    reader = Reader(says)
    teacher = OpenTeacher(
        name="a", model="m", params={}, max_tokens=None, simulated=True, stack=reader
    )
    names = [value for name, value in config if name == "prompt" or name.endswith("_prompt")]
    prompts = {name: load_prompt(name, folders=[shipped_folder("prompts")]) for name in names}
    kit = Kit(Desk(step=step, teachers={"a": teacher, "j": teacher}, prompts=prompts), "row")
    row = source_row("test", ["1"], ordinal=0, fields={"text": text})
    return [made async for made in found.run(row, kit, config)], kit, reader


async def test_questions_and_their_answers() -> None:
    says = {"questions": [[BORN, BORN.lower()], [WROTE, "When was she born?"]], "answer": ANSWERS}
    rows, kit, reader = await read("documents.questions", says)
    assert [(row.fields["instruction"], row.fields["output"]) for row in rows] == [*ANSWERS.items()]
    assert [row.fields["passage"] for row in rows] == [0, 1]
    evidence: Any = [row.fields["evidence"] for row in rows]
    assert [[TEXT[one["start"] : one["end"]] for one in each] for each in evidence] == [
        [FIRST],
        [SECOND],
    ]
    assert {(row.fields["input"], row.fields["task"]) for row in rows} == {("", "open_qa")}
    # A row is made by the answers to its own questions alone.
    assert [row.made_by for row in rows] == [
        ("questions-1", "answer-3"),
        ("questions-2", "answer-4"),
    ]
    assert [reason for reason, _ in kit.discards] == ["repeated_question", "points_outside"]
    assert [request.inputs["passage"] for request in reader.asked[:2]] == [FIRST, SECOND]
    assert dict(kit.counts)["passages"] == 2


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (BORN, "Greta Keller was born in Paris.", "name_not_in_passage"),
        (BORN, "She was born in 1931.", "number_not_in_passage"),
        (BORN, "She came from a poor family of farmers.", "too_little_in_passage"),
        (BORN, "Greta Keller was born.", "answers_itself"),
        (BORN, "Yes.", "says_nothing"),
        (BORN, "The passage says Senlis.", "points_outside"),
        (BORN, None, "unanswerable"),
        (BORN, " ", "unanswerable"),
        ("Where was Napoleon born?", "", "not_of_the_document"),
        ("What happened in 1815?", "", "not_of_the_document"),
        ("What?", "", "says_nothing"),
        ("What does the author say of Senlis?", "", "points_outside"),
    ],
)
async def test_what_is_lost_and_why(question: str, answer: str | None, reason: str) -> None:
    says = {"questions": [[question], []], "answer": {question: answer}}
    with pytest.raises(Rejected) as rejected:
        await read("documents.questions", says)
    assert rejected.value.reason == reason


async def test_spans_are_copied() -> None:
    says = {
        "questions": [[BORN, "Is Senlis old?"], [WROTE]],
        "span": {BORN: "senlis", "Is Senlis old?": "Senlis", WROTE: "Night Ferry"},
    }
    rows, kit, _ = await read("documents.questions", says, answer="span")
    (row,) = rows
    place: Any = row.fields["evidence"]
    assert [TEXT[one["start"] : one["end"]] for one in place] == ["Senlis"]
    assert [reason for reason, _ in kit.discards] == ["answers_itself", "not_in_passage"]


async def test_the_passage_as_input_and_questions_without_an_answer() -> None:
    says = {"questions": [[BORN, WROTE], []], "answer": {**ANSWERS, WROTE: None}}
    more = {"input": "passage", "unanswered": "The text does not say."}
    rows, kit, _ = await read("documents.questions", says, **more)
    assert [row.fields["output"] for row in rows] == [ANSWERS[BORN], "The text does not say."]
    assert {(row.fields["input"], row.fields["task"]) for row in rows} == {(FIRST, "closed_qa")}
    assert rows[1].fields["evidence"] == []
    assert ("unanswerable", 1) in kit.counts


async def test_a_judge_has_the_last_word() -> None:
    says = {
        "questions": [[BORN], [WROTE]],
        "answer": ANSWERS,
        "judge": lambda answer: ("Senlis" in answer, True),
    }
    rows, kit, reader = await read("documents.questions", says, judge={"teacher": "j"})
    assert [row.fields["instruction"] for row in rows] == [BORN]
    assert [reason for reason, _ in kit.discards] == ["not_borne_out"]
    alone = {**says, "judge": lambda answer: (True, "Senlis" in answer)}
    _, kit, _ = await read("documents.questions", alone, judge={"teacher": "j"})
    assert [reason for reason, _ in kit.discards] == ["not_alone"]
    assert reader.asked[-1].inputs == {
        "passage": SECOND,
        "question": WROTE,
        "answer": ANSWERS[WROTE],
    }


async def test_pairs_of_a_raw_text() -> None:
    def pair(instruction: str, response: str) -> dict[str, str]:
        return {"instruction": instruction, "response": response}

    good = pair(f" {BORN}", ANSWERS[BORN])
    outside = pair("Tell of this woman.", "Senlis.")
    says = {"pairs": [[good, outside], [pair(WROTE, "Night Ferry.")]]}
    rows, kit, _ = await read("documents.pairs", says, task="extract")
    (row,) = rows
    assert (row.fields["instruction"], row.fields["task"]) == (BORN, "extract")
    assert row.made_by == ("pairs-1",)
    assert [reason for reason, _ in kit.discards] == ["points_outside", "name_not_in_passage"]


async def test_what_a_document_ends_by() -> None:
    nothing: dict[str, Any] = {"questions": [[], []], "pairs": [[], []]}
    for step, reason in (("documents.questions", "no_questions"), ("documents.pairs", "no_pairs")):
        with pytest.raises(Rejected, match=reason):
            await read(step, nothing)
        with pytest.raises(Rejected, match="no_text"):
            await read(step, nothing, " \ufeff\n")
        with pytest.raises(RowError, match="text must be a text, got 7"):
            await read(step, nothing, 7)
    # A document with a hole is none: asking again may help.
    with pytest.raises(Unanswered):
        await read("documents.questions", {**nothing, "questions": Unanswered("timeout")})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"language": "english"}, "nothing is known of the language 'english'"),
        ({"unanswered": "No."}, "set `input: passage`"),
        ({"answer": "cloze"}, "'free' or 'span'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        QuestionsSettings.model_validate({"teacher": "a", **settings})


def test_the_forecast_counts_the_calls_of_a_document() -> None:
    plain = {"teacher": "a", "count": 5}
    assert QuestionsSettings.model_validate(plain).calls_a_row == 4 * 6
    judged = {**plain, "judge": {"teacher": "b"}}
    assert PairsSettings.model_validate(judged).calls_a_row == 4 * 6
