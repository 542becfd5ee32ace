"""`cluster.balance` and the controls: sizes, shares, reasons, and what they are compared by."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.clusters.balance import BalanceConfig
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import TableStep, find_step
from synthkd.table_kit import TableKit


def run(
    given_fields: list[Fields], use: str = "cluster.balance", seed: int = 0, **with_: Any
) -> tuple[list[Row], list[tuple[str, str]], dict[str, Any]]:
    rows = [source_row("s", [i], ordinal=i, fields=f) for i, f in enumerate(given_fields)]
    kit = TableKit(Desk(step=use, seed=seed))
    step = find_step(use)
    assert isinstance(step, TableStep)
    config = step.config.model_validate(with_)
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        out = list(step.run(Table(spool), kit, config))
    gone = [(why.reason, why.detail) for _, why in kit.take_gone() if isinstance(why, Rejected)]
    return out, gone, dict(kit.figures)


def clustered(*sizes: int | None, null: int = 0) -> list[Fields]:
    rows: list[Fields] = [{"cluster": n} for n, size in enumerate(sizes) for _ in range(size or 0)]
    return rows + [{"cluster": None} for _ in range(null)]


def kept_of(rows: list[Row]) -> Counter[object]:
    return Counter(row.fields["cluster"] for row in rows)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        ("equal", {0: 7, 1: 7, 2: 6}),
        ("proportional", {0: 15, 1: 4, 2: 1}),
        ("sqrt", {0: 11, 1: 6, 2: 3}),
    ],
)
def test_budgets_by_the_size_of_clusters(budget: str, kept: dict[int, int]) -> None:
    out, gone, _ = run(clustered(64, 16, 6), rows=20, budget=budget)
    assert kept_of(out) == kept
    assert len(gone) == 66
    assert ("over_budget", f"cluster 1 keeps {kept[1]} of its 16 rows") in gone


def test_weights_leave_out_who_is_not_named_and_null_is_a_cluster() -> None:
    out, _, _ = run(clustered(9, 9, null=9), rows=8, budget="weights", weights={"0": 1, "null": 3})
    assert kept_of(out) == {0: 2, None: 6}


def test_the_highest_scores_are_kept_and_the_mean_score_divides() -> None:
    rows: list[Fields] = [{"cluster": n % 2, "s": n % 2 + n / 1000} for n in range(40)]
    out, _, _ = run(rows, rows=10, budget="mean_score", score="s")
    # Means are 0.019 and 1.02: shares of 10 are 0.18 and 9.82.
    assert kept_of(out) == {1: 10}
    assert sorted(row.order[0] for row in out) == list(range(21, 40, 2))
    out, gone, _ = run([*rows, {"cluster": 1}, {"cluster": 1, "s": "high"}], rows=10, score="s")
    assert [reason for reason, _ in gone if reason == "no_score"] == ["no_score"] * 2
    assert len(out) == 10


@pytest.mark.parametrize("use", ["cluster.balance", "select.random", "select.cluster_uniform"])
@pytest.mark.parametrize(
    ("rows", "with_", "kept"),
    [
        (10, {"rows": 4}, 4),
        (10, {"rows": 99}, 10),
        (10, {"share": 0.25}, 2),
        (1, {"share": 0.1}, 1),
    ],
)
def test_how_many_are_kept(use: str, rows: int, with_: dict[str, Any], kept: int) -> None:
    out, gone, _ = run(clustered(rows), use, **with_)
    assert len(out) == kept
    assert len(gone) == rows - kept
    assert run([], use, **with_)[0] == []


@pytest.mark.parametrize("use", ["cluster.balance", "select.random", "select.cluster_uniform"])
def test_chance_is_the_seeds(use: str) -> None:
    places = [
        [row.order for row in run(clustered(30, 30), use, seed=seed, rows=10)[0]]
        for seed in (1, 1, 2)
    ]
    assert places[0] == places[1] != places[2]
    assert places[0] == sorted(places[0])


def test_the_uniform_control_takes_the_same_from_each_as_far_as_there_is() -> None:
    out, gone, _ = run(clustered(50, 3, 50), "select.cluster_uniform", rows=21)
    assert kept_of(out) == {0: 9, 1: 3, 2: 9}
    assert {reason for reason, _ in gone} == {"not_selected"}


def test_a_selection_is_shown_beside_its_controls() -> None:
    rows: list[Fields] = [
        {"cluster": n % 5 if n < 50 else 0, "good": n % 3 == 0, "s": float(n % 3 == 0)}
        for n in range(300)
    ]
    _, _, figures = run(rows, rows=30, budget="equal", score="s", compare=["good", "no such"])
    assert figures["before"]["rows"] == 300
    for name in ("selected", "control random", "control cluster_uniform"):
        assert figures[name]["rows"] == 30
    assert figures["selected"]["mean good"] > figures["control random"]["mean good"]
    assert figures["control cluster_uniform"]["clusters_filled"] == 5
    assert "mean no such" not in figures["selected"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(st.sampled_from([0, 1, "a", None, 2.5]), max_size=30),
    st.integers(1, 40),
    st.sampled_from(["equal", "proportional", "sqrt"]),
)
def test_every_row_is_kept_or_rejected_and_the_size_is_right(
    clusters: list[Any], rows: int, budget: str
) -> None:
    out, gone, _ = run([{"cluster": one} for one in clusters], rows=rows, budget=budget)
    assert len(out) == min(rows, len(clusters))
    assert len(out) + len(gone) == len(clusters)


@pytest.mark.parametrize(
    ("with_", "said"),
    [
        ({}, "exactly one of rows, share"),
        ({"rows": 1, "share": 0.5}, "exactly one of rows, share"),
        ({"rows": 1, "budget": "weights"}, "go together"),
        ({"rows": 1, "weights": {"a": 1}}, "go together"),
        ({"rows": 1, "budget": "mean_score"}, "needs `score`"),
        ({"rows": 1, "budget": "weights", "weights": {"a": -1}}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense(with_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BalanceConfig.model_validate(with_)


@pytest.mark.parametrize("budget", ["sqrt", "mean_score"])
def test_a_number_whose_sum_would_be_infinite_is_none(budget: str) -> None:
    rows: list[Fields] = [{"cluster": 0, "score": score} for score in (1e308, 1e308, -1e308, 2.0)]
    out, gone, figures = run(rows, rows=2, budget=budget, score="score", compare=["score"])
    assert [row.fields["score"] for row in out] == [2.0]
    assert [reason for reason, _ in gone] == ["no_score"] * 3
    assert figures["selected"]["mean score"] == 2.0
