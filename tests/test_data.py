"""The sample inputs in data/ are what data/README.md says they are."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import orjson
import pytest

from synthkd.teachers.simulated.facts import facts_of
from synthkd.teachers.simulated.tickets import INTENTS

DATA = Path(__file__).parent.parent / "data"


def rows(file: str) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in (DATA / file).read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("file", "count", "fields"),
    [
        ("tickets.jsonl", 1_000, ["id", "text", "intent"]),
        ("arithmetic.jsonl", 200, ["id", "question", "answer"]),
        ("general.jsonl", 199, ["id", "kind", "prompt", "type", "answer", "reference"]),
        ("facts.jsonl", 60, ["id", "text", "triples"]),
        ("events.jsonl", 20, ["id", "head"]),
        ("tool_tasks.jsonl", 24, ["id", "instruction", "tools"]),
        ("problems.jsonl", 200, ["id", "instruction", "output", "level", "gold"]),
        ("fact_documents.jsonl", 10, ["id", "text", "triples"]),
        ("card_seeds.jsonl", 12, ["id", "card", "input"]),
        ("drug_reports.jsonl", 12, ["id", "text", "drugs", "gold"]),
        ("invoices.jsonl", 30, ["id", "text", "record"]),
    ],
)
def test_rows_fields_and_ids(file: str, count: int, fields: list[str]) -> None:
    found = rows(file)
    assert len(found) == len({row["id"] for row in found}) == count
    assert all([name for name in row if name != "choices"] == fields for row in found)
    assert (DATA / file).stat().st_size < 200_000


def test_twenty_tickets_repeat_another_but_for_capitals_and_spaces() -> None:
    texts = Counter(" ".join(row["text"].casefold().split()) for row in rows("tickets.jsonl"))
    assert sum(count - 1 for count in texts.values()) == 20


def test_every_intent_has_its_share() -> None:
    intents = Counter(row["intent"] for row in rows("tickets.jsonl"))
    assert set(intents) == set(INTENTS)
    assert min(intents.values()) >= 90


@pytest.mark.parametrize(("noise", "least", "most"), [(0.2, 0.80, 0.97), (0.0, 0.95, 1.0)])
def test_a_linear_student_learns_intents(noise: float, least: float, most: float) -> None:
    """Neither trivial nor hopeless: one label in five is wrong, four in five are used."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rng = random.Random(0)
    unique = {
        " ".join(row["text"].casefold().split()): row["intent"] for row in rows("tickets.jsonl")
    }
    texts = rng.sample(sorted(unique), len(unique))
    test, train = texts[:196], texts[196:]
    labels = [
        rng.choice([other for other in INTENTS if other != unique[text]])
        if rng.random() < noise
        else unique[text]
        for text in train
    ]
    student = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10)
    ).fit(train, labels)
    accuracy = student.score(test, [unique[text] for text in test])
    assert least <= accuracy <= most


@pytest.mark.parametrize("file", ["facts.jsonl", "fact_documents.jsonl"])
def test_the_simulated_teacher_without_faults_finds_every_fact(file: str) -> None:
    for row in rows(file):
        triples: object = row["triples"]
        assert [
            list(fact) for fact in dict.fromkeys(fact for _, fact in facts_of(row["text"]))
        ] == triples
