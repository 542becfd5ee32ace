from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synthkd.errors import MissingField, PromptError, Rejected, RowError, TooManyLost
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.cards.card import Card, load_card
from synthkd.recipes.cards.write import WriteSettings
from synthkd.rows import Fields
from synthkd.table_kit import Question
from synthkd.teachers.simulated.instructions import cards, documents
from tests.recipes.conftest import Ask
from tests.recipes.instruct.growing import grown

ROOT = Path(__file__).parents[3]
ADE: dict[str, Any] = {"card": "cards/adverse_events"}
TEXT = "Two days after the first dose of naproxen she complained of stomach pain and of hives."
ROW = {"text": TEXT, "drugs": ["naproxen"]}
SEEDS: list[Fields] = [
    {"card": "ticket_urgency", "input": "A card that has not come"},
    {"card": "expense_entry", "input": "Train tickets"},
    {"input": "Anything else"},
]
TWO: dict[str, Any] = {"cards": ["cards/ticket_urgency", "cards/expense_entry"], "wave": 3}


def events(*pairs: tuple[str, str]) -> str:
    return json.dumps({"output": {"events": [{"drug": d, "event": e} for d, e in pairs]}})


# --- cards.answer


async def test_events_of_the_drugs_that_stand_in_the_text(ask: Ask) -> None:
    said = events(
        ("Naproxen", "Stomach pain"),  # another spelling is the text's all the same
        ("naproxen", "hives"),
        ("naproxen", "hives"),
        ("naproxen", "an upset stomach"),
        ("ibuprofen", "hives"),
    )
    found = await ask("cards.answer", ADE, ROW, [said])
    assert found.fields["value"] == {
        "events": [
            {"drug": "Naproxen", "event": "Stomach pain"},
            {"drug": "naproxen", "event": "hives"},
        ]
    }
    assert found.fields["task"] == "adverse_events"
    assert found.fields["input"] == f"text: {TEXT}\ndrugs: naproxen"
    assert str(found.fields["output"]).startswith('{"events":[{"drug":"Naproxen","event":"Stomach')
    places = {one["of"]: TEXT[one["start"] : one["end"]] for one in found.fields["evidence"]}
    assert places["output.events[0].event"] == "stomach pain"
    assert sorted(reason for reason, _ in found.kit.discards) == [
        "not_in_input",
        "not_listed",
        "repeated",
    ]
    request = found.teachers["main"].asked[0]
    assert request.body["response_format"]["json_schema"]["name"] == "adverse_events_output"
    assert "stands word for word in inputs.text" in request.body["messages"][0]["content"]


async def test_a_text_that_tells_of_none(ask: Ask) -> None:
    found = await ask("cards.answer", ADE, ROW, [events()])
    assert found.fields["output"] == '{"events":[]}'


@pytest.mark.parametrize(
    ("settings", "row", "reply", "reason"),
    [
        (ADE, ROW, '{"output": {"events": [{"medicine": "x"}]}}', "not_in_schema"),
        (ADE, ROW, "There are none.", "bad_json"),
        (ADE, ROW, '{"events": []}', "bad_json"),
        (
            {"card": "cards/ticket_urgency"},
            {"message": "Please answer me, I leave tonight."},
            '{"output": {"urgency": "urgent", "because": "I leave tonight"}}',
            "outside_the_list",
        ),
        (
            {"card": "cards/ticket_urgency", "inputs": {"message": "text"}},
            {"text": "Please answer me, I leave tonight."},
            '{"output": {"urgency": "high", "because": "sounds worried"}}',
            "not_in_input",
        ),
    ],
)
async def test_answers_that_are_no_rows(
    ask: Ask, settings: dict[str, Any], row: Fields, reply: str, reason: str
) -> None:
    with pytest.raises(Rejected) as rejected:
        await ask("cards.answer", settings, row, [reply])
    assert rejected.value.reason == reason


async def test_rows_that_are_no_inputs_of_the_card(ask: Ask) -> None:
    with pytest.raises(MissingField, match="no field 'drugs'"):
        await ask("cards.answer", ADE, {"text": TEXT}, [events()])
    with pytest.raises(RowError, match=r"does not fit the card 'adverse_events': inputs\.drugs"):
        await ask("cards.answer", ADE, {"text": TEXT, "drugs": []}, [events()])


def test_the_simulated_teacher_reads_the_reports_as_gold_does() -> None:
    card = load_card("cards/adverse_events", [shipped_folder("prompts")])
    for line in (ROOT / "data" / "drug_reports.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        inputs = {**card.shown, "inputs": json.dumps({key: row[key] for key in ("text", "drugs")})}
        said = cards.answer("cards/answer", inputs, 0.0, random.Random(0))
        assert json.loads(said)["output"] == row["gold"], row["id"]
        asked = {"instruction": "", "input": card.asked_with({k: row[k] for k in card.inputs})}
        bare = cards.answer("cards/student", asked, 0.0, random.Random(0))
        assert bare == card.answered_with(row["gold"])


# --- cards.write


def teacher(error_rate: float = 0.2) -> Any:
    def says(question: Question) -> str:
        rng = random.Random(repr((question.inputs, question.sample)))
        return cards.answer(question.prompt, question.inputs, error_rate, rng)

    return says


def tasks(found: Any) -> Counter[str]:
    return Counter(str(row.fields["task"]) for row in found.new)


@pytest.mark.parametrize("output_by", ["same", "own"])
def test_exactly_so_many_of_each_card(tmp_path: Path, output_by: str) -> None:
    settings = {**TWO, "accept": 13, "output_by": output_by, "max_similarity": 0.9}
    found = grown("cards.write", settings, SEEDS, teacher(), tmp_path)
    assert found.ended is None
    assert tasks(found) == {
        "ticket_urgency": 7,
        "expense_entry": 6,
    }  # the first of equal remainders
    folders = [shipped_folder("prompts")]
    known = {name: load_card(f"cards/{name}", folders) for name in tasks(found)}
    student = load_prompt("cards/student", folders=folders)
    for row in found.new:
        card: Card = known[str(row.fields["task"])]
        assert row.fields["instruction"] == card.instruction
        (name,) = card.inputs
        example = {"inputs": {name: row.fields["input"]}, "output": row.fields["value"]}
        assert list(card.unfit(type(card.examples[0]).model_validate(example))) == []
        assert len(row.made_by) == (1 if output_by == "same" else 2)
        # A student is asked with the messages that it learns: the export's.
        assert student.render({**row.fields}) == [
            {"role": "system", "content": row.fields["instruction"]},
            {"role": "user", "content": row.fields["input"]},
        ]
    figures: Any = found.kit.figures["cards"]
    for name, told in figures.items():
        assert told["accepted"] == told["quota"] == tasks(found)[name]
        assert told["offered"] <= 4 * told["questions"]
    lost = Counter(found.reasons)
    assert (
        sum(told["lost"].get("not_in_schema", 0) for told in figures.values())
        == (lost["not_in_schema"])
    )
    # A card is shown its own seeds.
    shown = {
        question.inputs["like"]
        for wave in found.kit.waves
        for question in wave
        if "like" in question.inputs
    }
    assert shown == {"A card that has not come", "Train tickets"}


def test_quotas_by_weight() -> None:
    folders = [shipped_folder("prompts")]
    heavy = load_card("cards/ticket_urgency", folders).model_copy(update={"weight": 3})
    light = load_card("cards/expense_entry", folders)
    config = WriteSettings(teacher="a", accept=10, cards=[light, heavy])
    assert config.quotas == {"expense_entry": 3, "ticket_urgency": 7}
    for settings, told in (
        (
            {"cards": ["cards/expense_entry"] * 2, "accept": 9},
            "two cards are named 'expense_entry'",
        ),
        ({**TWO, "accept": 1}, "by their weights .expense_entry. gets no row"),
    ):
        with pytest.raises(ValueError, match=told):
            WriteSettings.model_validate({"teacher": "a", **settings})


def test_inputs_that_come_twice_in_a_wave_have_one_output_bought(tmp_path: Path) -> None:
    def says(question: Question) -> str:
        if question.prompt == "cards/inputs":
            return json.dumps([{"note": "We paid 9 EUR for our lunch."}] * 4)
        output = {"date": "2024-03-05", "amount": 9, "currency": "EUR", "category": "meals"}
        return json.dumps({"output": output})

    settings = {"cards": ["cards/expense_entry"], "accept": 9, "output_by": "own", "yield_over": 9}
    found = grown("cards.write", settings, SEEDS, says, tmp_path)
    inputs, outputs = found.kit.waves
    assert (len(inputs), len(outputs), len(found.new)) == (3, 1, 1)


def test_more_than_a_card_has_room_for_is_no_low_yield(tmp_path: Path) -> None:
    notes = [" ".join(f"n{n}x{place}" for place in range(8)) for n in range(50)]
    output = {"date": "2024-03-05", "amount": 1, "currency": "EUR", "category": "meals"}
    rows = json.dumps([{"inputs": {"note": f"{note} EUR"}, "output": output} for note in notes])
    cards = ["cards/expense_entry", "cards/ticket_urgency"]
    settings = {"cards": cards, "accept": 6, "per_question": 50, "wave": 2, "yield_over": 110}
    replies = [rows, "[]", "[]", "no"]  # fifty where three are wanted, and then nothing
    found = grown("cards.write", settings, SEEDS, lambda question: replies.pop(0), tmp_path)
    assert Counter(found.reasons) == {"card_full": 47, "not_given": 149, "bad_json": 1}
    assert "yield too low: of the last 110 candidates 0 were" in str(found.ended)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("no JSON at all", "bad_json"),
        ('{"rows": []}', "bad_json"),
        ('[{"inputs": {"message": "x"}}]', "not_in_schema"),
        ("[]", "not_given"),
    ],
)
def test_a_teacher_that_cannot_is_left(tmp_path: Path, reply: str, reason: str) -> None:
    settings = {**TWO, "accept": 50, "yield_over": 20}
    found = grown("cards.write", settings, SEEDS, lambda question: reply, tmp_path)
    assert isinstance(found.ended, TooManyLost)
    assert "yield too low" in str(found.ended)
    assert reason in found.reasons
    figures: Any = found.kit.figures["cards"]  # told all the same
    assert figures["ticket_urgency"]["accepted"] == 0


def test_prompts_that_the_simulated_teacher_cannot_do() -> None:
    rng = random.Random(0)
    with pytest.raises(PromptError, match="of documents it does questions, answer, span"):
        documents.answer("documents/poem", {"passage": "x"}, 0.0, rng)
    with pytest.raises(PromptError, match="cannot do the card"):
        cards.answer("cards/write", {"output_schema": "{}", "n": 1}, 0.0, rng)
    shown: Fields = {"output_schema": '{"urgency": 1}', "n": 1}
    with pytest.raises(PromptError, match="of cards it does write, inputs, answer, student"):
        cards.answer("cards/poem", shown, 0.0, rng)


def test_faults_of_the_simulated_reader_are_those_that_words_can_and_cannot_show() -> None:
    text = "Ada Falk was born in Senlis. In 1930, Ada Falk founded Halden Mills."
    said = Counter[str]()
    for seed in range(200):
        inputs = {"passage": text, "question": "What did Ada Falk found?"}
        answer = documents.answer("documents/answer", inputs, 1.0, random.Random(seed))
        said[json.loads(answer)["answer"]] += 1
    assert "Halden Mills founded Ada Falk." in said  # which only a judge can see
    assert "The passage says that Ada Falk founded Halden Mills." in said
    judged: Fields = {"passage": text, "question": "", "answer": "Halden Mills founded Ada Falk."}
    verdict = documents.answer("documents/judge", judged, 0.0, random.Random(0))
    assert json.loads(verdict) == {"supported": False, "alone": True}
    asked: Fields = {"passage": text, "question": "In which year did Ada Falk found Halden Mills?"}
    assert json.loads(documents.answer("documents/span", asked, 0.0, random.Random(0))) == {
        "answer": "1930"
    }
