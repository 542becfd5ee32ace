"""`relabel`: what a few gold labels add to votes and text, and that no row judges itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate.few_labels import _of_the_others, _scores, relabelled
from synthkd.curate.relabel import RelabelConfig, relabel
from synthkd.desk import Desk
from synthkd.errors import NothingToLearn, Rejected
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, Row, source_row
from synthkd.table_kit import TableKit

WORDS = {
    "tea": ["leaves", "steeped", "warm", "pot", "cup"],
    "coffee": ["beans", "roasted", "dark", "ground", "cup"],
    "juice": ["oranges", "pressed", "cold", "glass", "sour"],
    "milk": ["cow", "white", "cold", "glass", "farm"],
}
OFFERED = ["tea", "coffee", "juice"]
"""No teacher was offered milk: of that they say juice or nothing."""


def rows_of(n: int, gold: int) -> list[dict[str, Json]]:
    """Texts with three noisy teachers' answers; the first `gold` of each label have gold."""
    rng, rows = random.Random(0), list[dict[str, Json]]()
    for i in range(n):
        truth = [*WORDS][i % 4]
        words = [rng.choice(WORDS[truth]) for _ in range(4)] + [rng.choice("abcdefgh")]
        answers: list[Json] = []
        for teacher in ("a", "b", "c"):
            seen: str | None = truth
            if truth == "milk":
                seen = rng.choice(["juice", None])
            elif rng.random() < 0.4:
                seen = rng.choice(OFFERED)
            answers.append({"teacher": teacher, "sample": 0, "label": seen})
        known = truth if i < 4 * gold else None
        row: dict[str, Json] = {"text": " ".join(words), "truth": truth, "gold": known}
        rows.append(row | {"answers": answers})
    return rows


def run(
    fields: list[dict[str, Json]], **given_settings: Any
) -> tuple[list[Row], list[tuple[Row, Any]], Any]:
    """What is kept, what is rejected, and the figures."""
    rows = [source_row("rows", [i], ordinal=i, fields=f) for i, f in enumerate(fields)]
    kit = TableKit(Desk(step="relabel", vectors=Path("vectors")))
    config = RelabelConfig.model_validate({"text": "text", "gold": "gold", **given_settings})
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        kept = list(relabel(Table(spool), kit, config))
    return kept, kit.take_gone(), kit.figures


def right(rows: list[Row]) -> float:
    judged = [row for row in rows if not row.fields["is_gold"]]
    return sum(row.fields["label"] == row.fields["truth"] for row in judged) / len(judged)


def test_a_label_that_no_teacher_was_offered_is_found_all_the_same() -> None:
    kept, gone, figures = run(rows_of(240, 5), grow=[10, 20])
    assert (len(kept), gone) == (240, [])
    assert figures == {
        "gold_rows": 20,
        "labels": 4,
        "labels_without_gold": 0,
        "learnt_from": 100,
    }
    assert right(kept) > 0.9  # counting votes cannot be above 0.75
    milk = [row for row in kept if row.fields["truth"] == "milk"]
    assert sum(row.fields["label"] == "milk" for row in milk) > 50
    assert all(0 < float(str(row.fields["confidence"])) <= 1 for row in kept)
    assert all(row.fields["confidence"] == 1 for row in kept if row.fields["is_gold"])


def test_rows_with_gold_keep_it_and_no_more_of_it_is_used_than_was_asked_for() -> None:
    fields = [row | {"gold": row["truth"]} for row in rows_of(120, 0)]
    kept, _, figures = run(fields, per_label=3, grow=[])
    assert figures["gold_rows"] == figures["learnt_from"] == 12
    gold = [row for row in kept if row.fields["is_gold"]]
    assert len(gold) == 12
    assert all(row.fields["label"] == row.fields["truth"] for row in gold)
    assert 0.75 < right(kept) < 1  # else the gold of the others had been seen


def test_rows_worth_a_gold_label_are_spread_over_what_there_is() -> None:
    asked, _, _ = run(rows_of(120, 0), gold=None, central=12, grow=[])
    named = [row.fields["truth"] for row in asked if row.fields["is_central"]]
    assert len(named) in range(9, 13)
    assert {*named} == {*WORDS}  # milk too, of which no teacher has heard
    told = [row | {"gold": row["truth"]} for row in rows_of(120, 0)]
    kept, _, figures = run(told, central=12, grow=[10])
    assert figures["gold_rows"] == len(named)  # and no other gold is seen
    assert {row.id for row in kept if row.fields["is_gold"]} == {
        row.id for row in asked if row.fields["is_central"]
    }
    assert 0.85 < right(kept) < 1


def test_rows_that_cannot_be_read_go_with_a_reason() -> None:
    fields = rows_of(80, 5)
    fields[70] = fields[70] | {"answers": "tea"}
    fields[71] = fields[71] | {"text": "  "}
    kept, gone, _ = run(fields)
    reasons = {row.order[0]: why.reason for row, why in gone if isinstance(why, Rejected)}
    assert reasons == {70: "unreadable_answers", 71: "no_text"}
    assert len(kept) == 78


def test_without_gold_one_answer_a_row_is_enough_for_texts_that_are_like_others() -> None:
    fields: list[dict[str, Json]] = []
    rng = random.Random(1)
    for row in rows_of(240, 0):
        answers = row["answers"]
        assert isinstance(answers, list)
        if row["truth"] != "milk":
            fields.append(row | {"answers": [rng.choice(answers)]})
    kept, gone, figures = run(fields, gold=None, grow=[10, 20])
    assert (len(kept), gone) == (180, [])
    assert figures == {"gold_rows": 0, "labels": 3, "learnt_from": 60}
    assert right(kept) > 0.9  # the answers are right in three of four rows
    named = {str(row.fields["answers"][0]["label"]) for row in kept}  # type: ignore[index,call-overload]
    assert named == {str(row.fields["label"]) for row in kept}


def test_without_gold_answers_must_name_two_labels() -> None:
    said: list[Json] = [{"teacher": "a", "sample": 0, "label": "tea"}]
    with pytest.raises(NothingToLearn, match="name 1 labels, and two are the least"):
        run([row | {"answers": said} for row in rows_of(8, 0)], gold=None)


@pytest.mark.parametrize(("gold", "count"), [(None, 0), ("tea", 10)])
def test_gold_of_two_labels_is_the_least(gold: str | None, count: int) -> None:
    fields = [row | {"gold": gold} for row in rows_of(10, 0)]
    with pytest.raises(NothingToLearn, match=f"{count} rows have text and a gold label in 'gold'"):
        run(fields)


def unit(seed: int, rows: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    vectors = np.random.default_rng(seed).normal(size=(rows, width))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    short: np.ndarray[Any, np.dtype[np.float32]] = (vectors / lengths).astype(np.float32)
    return short


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), rows=st.integers(3, 9), row=st.integers(0, 2))
def test_what_the_others_foretell_is_what_a_fit_without_the_row_does(
    seed: int, rows: int, row: int
) -> None:
    texts = unit(seed, rows, 3)
    targets = np.random.default_rng(seed).integers(0, 2, (rows, 2)).astype(np.float32)
    changed, everyone = targets.copy(), np.arange(rows)
    changed[row] = 1 - changed[row]  # the row's own target has no part in it
    before = _of_the_others(texts, targets, everyone)[row]
    after = _of_the_others(texts, changed, everyone)[row]
    np.testing.assert_allclose(
        before, _of_the_others(texts, targets, np.delete(everyone, row))[row], atol=1e-4
    )
    np.testing.assert_allclose(before, after, atol=1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), anchors=st.integers(4, 9))
def test_an_anchor_is_judged_by_the_other_anchors(seed: int, anchors: int) -> None:
    sides = unit(seed, 12, 5)
    labels = np.arange(anchors) % 2
    places, ridge = np.arange(anchors), np.full(anchors, 0.2)
    whole = _scores(sides, places, labels, ridge, 2)
    without = _scores(sides, places[1:], labels[1:], ridge[1:], 2)
    np.testing.assert_allclose(whole[0], without[0], atol=1e-6)


def test_the_same_rows_in_another_order_get_the_same_labels() -> None:
    sides, gold = unit(0, 60, 6), {row: row % 3 for row in range(9)}
    order = np.random.default_rng(1).permutation(60)
    back = np.argsort(order)
    shuffled = relabelled(
        sides[order], {int(back[row]): label for row, label in gold.items()}, 3, (5,)
    )
    assert (shuffled.winners[back] == relabelled(sides, gold, 3, (5,)).winners).all()
