"""`figures.collapse`: what it says of texts that cover the human ones, and of texts that do not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthkd.curate import collapse
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Row, source_row
from synthkd.steps import TableStep, find_step
from synthkd.table_kit import TableKit

Floats = NDArray[np.float32]
NOUNS = ("cat", "boat", "tree", "river", "song", "clock", "bread", "stone")
VERBS = ("paint", "count", "move", "weigh", "find", "draw")


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        f"{rng.choice(VERBS)} the {rng.choice(NOUNS)} {rng.choice(NOUNS)}" for _ in range(count)
    ]


def run(
    human: list[str], made: list[str], kept: list[Row] | None = None, **with_: Any
) -> tuple[dict[str, Any], list[str]]:
    sources = [source_row("s", [n], ordinal=n, fields={"t": text}) for n, text in enumerate(human)]
    children = [
        sources[n % len(sources)].child("x", n).with_fields(t=text) for n, text in enumerate(made)
    ]
    step = find_step("figures.collapse")
    assert isinstance(step, TableStep)
    assert step.warns is not None
    kit = TableKit(Desk(step="c", work=Path("work"), vectors=Path("vectors")))
    with RowSpool.of(Path("rows.spool"), [*sources, *children]) as spool:
        table = Table(spool, kept or ())
        out = list(step.run(table, kit, step.config.model_validate({"field": "t", **with_})))
        assert out == list(table)
    kit.close()
    return kit.figures, list(step.warns(kit.figures))


def test_rows_of_the_same_kind_are_no_collapse_and_repeated_ones_are() -> None:
    human = texts(150, 1)
    figures, alarms = run(human, texts(150, 2))
    assert not alarms
    assert (figures["rows"], figures["new"], figures["share_synthetic"]) == (300, 150, 0.5)
    assert figures["recall"]["human"] == pytest.approx(figures["recall"]["expected"], abs=0.12)
    assert figures["spread"]["new"] == pytest.approx(figures["spread"]["human"], abs=0.03)
    figures, alarms = run(human, ["paint the cat boat"] * 150)
    assert [alarm.split()[0] for alarm in alarms] == ["distinct_2", "spread", "new"]
    assert figures["spread"]["new"] == pytest.approx(0, abs=1e-6)
    # Limits are settings; so is who says what is synthetic.
    limits: dict[str, Any] = {"least_distinct": 0, "least_spread": 0, "least_recall": 0}
    assert run(human, ["paint the cat boat"] * 150, **limits)[1] == []
    assert run(human, ["paint the cat boat"] * 150, synthetic="made")[0]["synthetic"] == 0


def test_earlier_rounds_are_counted_and_too_few_rows_are_not_compared() -> None:
    root = source_row("s", [0], ordinal=0, fields={"t": "x"})
    kept = [root, *(root.child("y", n).with_fields(t="y") for n in range(30))]
    figures, alarms = run(["a"], ["b"] * 3, kept)
    assert (figures["rows"], figures["synthetic"], figures["new"]) == (34, 33, 3)
    assert alarms == ["97% of the rows to learn from are synthetic"]
    assert "recall" not in figures
    assert run(["a"], [])[0]["share_synthetic"] == 0


def test_rows_without_text_are_told_and_not_compared() -> None:
    figures, alarms = run([*texts(30, 1), ""], [*texts(19, 2), *[" "] * 20])
    assert alarms == ["20 of 39 new rows have no text"]
    assert (figures["rows"], figures["new"]) == (70, 39)
    assert "compared" not in figures
    assert run(texts(30, 1), [*texts(20, 2), ""])[0]["compared"] == 20


def test_recall_by_its_definition() -> None:
    rng = np.random.default_rng(0)

    def unit(n: int, d: int) -> Floats:
        drawn = rng.normal(size=(n, d))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)

    human, new = unit(40, 5), unit(30, 5)
    covered = 0
    for place, one in enumerate(human):
        others = sorted(float(one @ other) for n, other in enumerate(human) if n != place)
        covered += max(float(one @ each) for each in new) >= others[-3]
    assert collapse.recall(human, new) == covered / 40
    found = [collapse.recall(unit(100, 3), unit(100, 3)) for _ in range(20)]
    assert float(np.mean(found)) == pytest.approx(collapse.expected_recall(100), abs=0.03)
