"""The critic: what it learns, what the threshold promises, and labels that teach nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.critic import CriticSettings, critic
from synthkd.desk import Desk
from synthkd.errors import NothingToLearn, Rejected
from synthkd.evaluate.thresholds import cut_at
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, Row, digest, source_row
from synthkd.table_kit import TableKit

GOOD, BAD = ["clear", "helpful", "thorough", "exact"], ["vague", "wrong", "rude", "short"]


def texts(n: int, labelled: int) -> list[dict[str, Json]]:
    """Texts of which each third is good, which the words mostly tell; the first are labelled."""
    rng, rows = random.Random(0), list[dict[str, Json]]()
    for i in range(n):
        good = i % 3 == 0
        words = [rng.choice(GOOD if good ^ (rng.random() < 0.25) else BAD) for _ in range(5)]
        rows.append({"text": " ".join(words), "truth": good, "ok": good if i < labelled else None})
    return rows


def run(
    fields: list[dict[str, Json]], **settings: Any
) -> tuple[list[Row], dict[str, list[Row]], Any]:
    """What is kept, what is rejected by reason, and the figures."""
    rows = [source_row("rows", [i], ordinal=i, fields=f) for i, f in enumerate(fields)]
    kit = TableKit(Desk(step="critic", vectors=Path("vectors")))
    config = CriticSettings.model_validate({"field": "text", "label": "ok", **settings})
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        kept = list(critic(Table(spool), kit, config))
    gone: dict[str, list[Row]] = {}
    for row, why in kit.take_gone():
        assert isinstance(why, Rejected)
        gone.setdefault(why.reason, []).append(row)
    return kept, gone, kit.figures


TINY = {
    "scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "vocabulary": 300},
    **{"epochs": 4, "learning_rate": 5e-3, "max_length": 32},
}


@pytest.mark.parametrize("learner", [{}, {"embed": {"kind": "tfidf"}}, {"encoder": TINY}])
def test_it_throws_out_what_is_probably_bad_and_keeps_the_recall(learner: dict[str, Json]) -> None:
    kept, gone, figures = run(texts(1500, 600), recall=0.9, **learner)
    left = [row for row in kept if row.fields["ok"] is None]
    lost = gone["critic_low"]
    recall = sum(bool(r.fields["truth"]) for r in left) / sum(
        bool(r.fields["truth"]) for r in [*left, *lost]
    )
    precision = sum(bool(row.fields["truth"]) for row in left) / len(left)
    assert recall == pytest.approx(0.9, abs=0.08)
    assert precision > 0.6  # 0.33 without it
    assert figures["unlabelled"] == len(left) + len(lost) == 900
    assert figures["below_threshold"] == len(lost)


def test_an_encoder_that_cannot_be_trained_is_said_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    def settings(**encoder: Json) -> CriticSettings:
        return CriticSettings.model_validate({"field": "t", "label": "ok", "encoder": encoder})

    (fault,) = settings(base="nowhere").faults(tmp_path)
    assert fault.startswith("encoder.base: nowhere is no folder")
    assert list(settings(scratch={}).faults(tmp_path)) == []
    with pytest.raises(ValidationError, match="name one to begin with"):
        settings()
    with pytest.raises(ValidationError, match="not both"):
        CriticSettings.model_validate(
            {"field": "t", "label": "ok", "encoder": TINY, "embed": {"kind": "tfidf"}}
        )


def test_the_figures_are_those_of_the_threshold() -> None:
    kept, _, figures = run(texts(900, 600), reject=False)
    assert figures["validation"]["recall"] >= 0.9
    recalls = [cut["recall"] for cut in figures["curve"]]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0
    scores = [float(str(row.fields["critic"])) for row in kept]
    assert len(kept) == 900
    assert all(0 <= score <= 1 for score in scores)
    unlabelled = [
        score for row, score in zip(kept, scores, strict=True) if row.fields["ok"] is None
    ]
    above = cut_at(figures["threshold"], unlabelled, [True] * 300).kept
    assert 0 < above == figures["unlabelled"] - figures["below_threshold"] < 300
    assert figures["learnt_from"] + figures["validation"]["n"] + figures["test"]["n"] == 600


def test_the_test_rows_have_no_say_in_the_threshold() -> None:
    """Other labels on the test rows change what is told of them, and nothing else."""
    fields = texts(600, 600)
    _, _, before = run(fields, reject=False, test=0.4)
    rows = [source_row("rows", [i], ordinal=i, fields=f) for i, f in enumerate(fields)]
    for row, record in zip(rows, fields, strict=True):
        drawn = int(digest(0, "critic", row.roots[0]), 16) / 16**16
        if 0.25 <= drawn < 0.65:
            record["ok"] = not record["ok"]
    _, _, after = run(fields, reject=False, test=0.4)
    assert before["test"] != after["test"]
    assert {**before, "test": 0} == {**after, "test": 0}


def test_labelled_rows_keep_their_label() -> None:
    kept, gone, _ = run(texts(600, 600))
    assert all(row.fields["ok"] for row in kept)
    assert not any(row.fields["ok"] for row in gone["labelled_bad"])
    assert set(gone) == {"labelled_bad"}


def test_labels_may_be_scores_inside_a_verdict() -> None:
    rows = texts(600, 400)
    for row in rows:
        row["verdict"] = None if row["ok"] is None else {"score": 0.9 if row["ok"] else 0.2}
    _, _, by_score = run(rows, label="verdict.score", good_from=0.7, reject=False)
    _, _, by_label = run(rows, reject=False)
    assert by_score == by_label


def test_the_same_run_twice_is_the_same() -> None:
    assert run(texts(400, 300)) == run(texts(400, 300))


def test_rows_without_text_are_rejected() -> None:
    rows: list[dict[str, Json]] = [
        *texts(300, 300),
        {"text": None, "ok": None},
        {"text": " ", "ok": True},
    ]
    _, gone, _ = run(rows)
    assert len(gone["no_text"]) == 2


def labelled(label: Json) -> list[dict[str, Json]]:
    return [{**fields, "ok": label} for fields in texts(90, 90)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (texts(50, 0), "has 0 labelled rows to learn from in 'ok', and none of them is good"),
        (labelled(True), "none of them is bad"),
        (labelled("no"), "none of them is good"),
    ],
)
def test_labels_that_teach_nothing(rows: list[dict[str, Json]], message: str) -> None:
    with pytest.raises(NothingToLearn, match=message):
        run(rows)


@pytest.mark.parametrize("parts", [(0.5, 0.5), (0.0, 0.3)])
def test_parts_that_leave_nothing(parts: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="leave rows to learn from"):
        CriticSettings(field="a", label="b", validation=parts[0], test=parts[1])


def test_texts_without_a_word_teach_nothing() -> None:
    rows: list[dict[str, Json]] = [{"text": "!?"[i % 2], "ok": i % 3 == 0} for i in range(60)]
    with pytest.raises(NothingToLearn, match="no words to learn from in text"):
        run(rows)


def test_parts_that_a_field_names_and_flags_for_further_recalls() -> None:
    fields: list[dict[str, Json]] = [
        {**row, "split": ("train", "dev", "test", "train")[n % 4]}
        for n, row in enumerate(texts(600, 600))
    ]
    fields[0]["split"] = "elsewhere"
    kept, gone, figures = run(fields, split="split", recalls=[0.9, 0.5], reject=False)
    assert (len(kept), gone) == (600, {})
    assert figures["labelled, of no split"] == 1
    assert figures["learnt_from"] == 299
    assert figures["validation"]["n"] == figures["test"]["n"] == 150
    high, low = figures["rec_0.5 on test"], figures["rec_0.9 on test"]
    assert high["threshold"] > low["threshold"]
    assert high["precision"] > low["precision"] > 1 / 3
    for row in kept:
        if abs((score := float(str(row.fields["critic"]))) - high["threshold"]) > 1e-4:  # rounded
            assert row.fields["rec_0.5"] == (score > high["threshold"])
        assert row.fields["rec_0.9"] or not row.fields["rec_0.5"]
    dev = [row for row in kept if row.fields["split"] == "dev" and row.fields["truth"]]
    assert sum(bool(row.fields["rec_0.5"]) for row in dev) >= len(dev) / 2
