from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate import agreement
from synthkd.curate.agreement import (
    AggregateConfig,
    Consensus,
    Votes,
    aggregate,
    expectation,
    majority,
    read_votes,
)
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, Row, source_row
from synthkd.table_kit import TableKit

if TYPE_CHECKING:
    import pandas as pd

Fitted = Literal["dawid_skene", "one_coin"]


def rows_of(*answers: Json) -> list[Row]:
    return [
        source_row("rows", [i], ordinal=i, fields={"answers": a}) for i, a in enumerate(answers)
    ]


def said(**labels: str | None) -> Json:
    """One row's answers, one sample a teacher."""
    return [{"teacher": who, "sample": 0, "label": label} for who, label in labels.items()]


def run(rows: list[Row], **settings: Any) -> tuple[list[Row], list[tuple[Row, str, str]]]:
    """What is kept, and what is rejected with reason and detail."""
    kit = TableKit(Desk(step="aggregate"))
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        kept = list(aggregate(Table(spool), kit, AggregateConfig.model_validate(settings)))
    gone = [
        (row, why.reason, why.detail) for row, why in kit.take_gone() if isinstance(why, Rejected)
    ]
    return kept, gone


def test_majority_confidence_and_agreement() -> None:
    rows, gone = run(rows_of(said(a="x", b="y", c="y", d=None)), into="intent")
    assert rows[0].fields["intent"] == "y"
    assert rows[0].fields["confidence"] == pytest.approx(2 / 3)  # of the labels given
    assert rows[0].fields["agreement"] == 0.5  # of the answers
    assert gone == []


def test_answers_that_are_equivalent_vote_together() -> None:
    rows, _ = run(rows_of(said(a="z", b="Top_up", c="top up.", d=None)))
    assert (rows[0].fields["label"], rows[0].fields["agreement"]) == ("Top_up", 0.5)


def test_a_tie_goes_to_the_answer_that_comes_first() -> None:
    # The first row makes y known before x: the order within a row decides, not the order of labels.
    rows, _ = run(
        rows_of(said(a="y"), said(a="x", b="y"), said(a=None, b="y", c="x", d="x", e="y"))
    )
    assert [row.fields["label"] for row in rows] == ["y", "x", "y"]


@pytest.mark.parametrize("method", ["majority", "dawid_skene", "one_coin"])
def test_rows_without_a_label_are_rejected(method: str) -> None:
    rows, gone = run(rows_of(said(a=None, b=None), said(a="x"), []), method=method)
    assert [row.fields["label"] for row in rows] == ["x"]
    assert [(row.order, reason) for row, reason, _ in gone] == [
        ((0,), "no_label"),
        ((2,), "no_label"),
    ]


@pytest.mark.parametrize("method", ["majority", "dawid_skene", "one_coin"])
@pytest.mark.parametrize("answers", [[], [said(a=None)]])
def test_a_table_without_any_label(method: str, answers: list[Json]) -> None:
    rows, gone = run(rows_of(*answers), method=method)
    assert (rows, len(gone)) == ([], len(answers))


@pytest.mark.parametrize(
    "answers",
    [
        None,
        "x",
        ["x"],
        [{"label": "x"}],
        [{"teacher": "a", "label": 3}],
        [{"teacher": "a", "label": "x"}, {"teacher": "a", "label": "x"}],
    ],
)
def test_answers_that_cannot_be_read_are_rejected(answers: Json) -> None:
    rows, gone = run(rows_of(answers, said(a="x")))
    assert len(rows) == 1
    assert [reason for _, reason, _ in gone] == ["unreadable_answers"]
    assert gone[0][2].startswith("answers")


def test_samples_of_one_teacher_share_what_is_known_about_it() -> None:
    answers: Json = [
        {"teacher": who, "sample": sample, "label": "x"} for who in "ab" for sample in (0, 1)
    ]
    with RowSpool.of(Path("rows.spool"), rows_of(answers)) as spool:
        votes = read_votes(Table(spool), "answers")
    assert votes.teacher_of == [0, 0, 1, 1]


def made_up(seed: int, n_rows: int = 300, n_labels: int = 4, missing: float = 0.2) -> Votes:
    """Five teachers of different accuracy over labels of different frequency."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(n_labels, n_rows, p=rng.dirichlet(np.full(n_labels, 3)))
    codes = np.empty((n_rows, 5), dtype=np.int32)
    for teacher in range(5):
        confusion = rng.dirichlet(np.ones(n_labels), n_labels) + 1.5 * np.eye(n_labels)
        drawn = [rng.choice(n_labels, p=confusion[k] / confusion[k].sum()) for k in truth]
        codes[:, teacher] = np.where(rng.random(n_rows) < missing, -1, drawn)
    codes[:n_labels, 0] = np.arange(n_labels)  # so that every label is named at least once
    labels = [f"label {k}" for k in range(n_labels)]
    return Votes(codes=codes, teacher_of=range(5), labels=labels)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    method=st.sampled_from(["dawid_skene", "one_coin"]),
    smoothing=st.sampled_from([0.0, 0.01, 1.0]),
    prior=st.sampled_from(["learned", "uniform"]),
    n_labels=st.integers(1, 5),
)
def test_the_fit_never_gets_worse(
    seed: int,
    method: Fitted,
    smoothing: float,
    prior: Literal["learned", "uniform"],
    n_labels: int,
) -> None:
    config = AggregateConfig(
        method=method, smoothing=smoothing, class_prior=prior, max_iterations=30, tolerance=1e-12
    )
    consensus = expectation(made_up(seed, 80, n_labels), config)
    # FLOOR lets a probability of 0 count as 1e-10, which costs at most so much.
    assert np.all(np.diff(consensus.history) > -1e-7)
    assert np.all((consensus.confidence >= 0) & (consensus.confidence <= 1 + 1e-12))


def theirs(votes: Votes, method: Fitted, iterations: int) -> pd.DataFrame:
    """crowd-kit's posteriors, (row, label); its E step comes first, so it needs one more turn."""
    import pandas as pd

    classification = pytest.importorskip(
        "crowdkit.aggregation.classification.dawid_skene", reason="needs synthkd[crowd]"
    )
    kinds = {"dawid_skene": "DawidSkene", "one_coin": "OneCoinDawidSkene"}
    model = getattr(classification, kinds[method])(n_iter=iterations + 1, tol=float("-inf"))
    rows, columns = np.nonzero(votes.codes >= 0)
    frame = pd.DataFrame({"task": rows, "worker": columns, "label": votes.codes[rows, columns]})
    posteriors: pd.DataFrame = model.fit_predict_proba(frame).sort_index()
    return posteriors


def ours(votes: Votes, method: Fitted, iterations: int) -> Consensus:
    return expectation(
        votes,
        AggregateConfig(method=method, smoothing=0, max_iterations=iterations, tolerance=1e-300),
    )


@pytest.mark.filterwarnings("ignore")  # crowd-kit's, about pandas
@pytest.mark.parametrize("method", ["dawid_skene", "one_coin"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same_as_crowd_kit_on_random_answers(method: Fitted, seed: int) -> None:
    votes = made_up(seed)
    mine, posteriors = ours(votes, method, 8), theirs(votes, method, 8)
    answered = mine.winners >= 0
    assert np.abs(mine.confidence[answered] - posteriors.max(axis=1).to_numpy()).max() < 1e-6
    assert np.array_equal(mine.winners[answered], posteriors.idxmax(axis=1).to_numpy())


def banking77(folder: Path, n_rows: int) -> Votes:
    import pandas as pd

    file = folder / "cls_banking77" / "teacher_labels_traindev.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    frame = pd.read_parquet(file, columns=["row", "teacher", "teacher_label"])
    zero_shot = frame[frame.teacher.str.endswith(" zero-shot") & (frame.teacher_label != "oos")]
    table = zero_shot.pivot(index="row", columns="teacher", values="teacher_label")[:n_rows]
    codes, labels = pd.factorize(table.to_numpy().ravel())
    shaped = codes.reshape(table.shape).astype(np.int32)
    return Votes(codes=shaped, teacher_of=range(shaped.shape[1]), labels=list(labels))


@pytest.mark.filterwarnings("ignore")  # crowd-kit's, about pandas
@pytest.mark.parametrize(("method", "n_rows"), [("dawid_skene", 10_003), ("one_coin", 1000)])
def test_same_as_crowd_kit_on_recorded_answers(
    recorded_data: Path, method: Fitted, n_rows: int
) -> None:
    votes = banking77(recorded_data, n_rows)
    mine, posteriors = ours(votes, method, 5), theirs(votes, method, 5)
    answered = mine.winners >= 0
    assert np.abs(mine.confidence[answered] - posteriors.max(axis=1).to_numpy()).max() < 1e-4
    assert np.mean(mine.winners[answered] == posteriors.idxmax(axis=1).to_numpy()) > 0.9999


@pytest.mark.parametrize("method", ["dawid_skene", "one_coin"])
def test_chunks_do_not_change_the_result(method: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    votes, config = made_up(5), AggregateConfig(method=method)
    whole = expectation(votes, config)
    monkeypatch.setattr(agreement, "CHUNK_ROWS", 7)
    cut = expectation(votes, config)
    assert np.array_equal(whole.winners, cut.winners)
    np.testing.assert_allclose(whole.confidence, cut.confidence, atol=1e-9)


def test_dawid_skene_hears_a_teacher_that_swaps_two_labels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    good = [np.where(rng.random(400) < 0.9, truth, 1 - truth) for _ in range(2)]
    swapped = [np.where(rng.random(400) < 0.97, 1 - truth, truth)]
    codes = np.stack([*good, *swapped], axis=1).astype(np.int32)
    votes = Votes(codes=codes, teacher_of=range(3), labels=["a", "b"])
    fitted = expectation(votes, AggregateConfig(method="dawid_skene"))
    right, by_majority = np.mean(fitted.winners == truth), np.mean(majority(votes).winners == truth)
    assert right > by_majority + 0.05
