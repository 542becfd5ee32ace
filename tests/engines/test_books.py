"""Whole pipelines of odd steps against a model: fates, funnel, final rows and limits agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.account import EXPORT, Account
from synthkd.config import LimitsConfig
from synthkd.desk import Desk
from synthkd.engines.local import carry_out
from synthkd.errors import Rejected, TooManyLost, Unanswered
from synthkd.flow import from_thread
from synthkd.io.spool import Table
from synthkd.kit import Kit
from synthkd.manifest import Counts
from synthkd.plan import BoundRowStep, BoundTableStep, Segment
from synthkd.rows import Row, digest, merged_roots
from synthkd.table_kit import TableKit
from tests.engines.test_local import Nothing, row_step, rows, table_step

Kind = Literal["gate", "fan", "table"]
ROWS = 8
"""With at most two fan-outs of 3 below the 100 rows from which a share is looked at on the way."""


def chance(label: str, row: Row, sides: int) -> int:
    """What a step does to a row: the same in engine and model."""
    return int(digest(label, row.id), 16) % sides


def outcome(kind: Kind, label: str, row: Row) -> tuple[int, str]:
    """How many rows a row step yields, and how it ends."""
    children = chance(f"{label} children", row, 4 if kind == "fan" else 2)
    return children, ["end", "end", "reject", "fail"][chance(f"{label} ending", row, 4)]


def fate_at_table(label: str, row: Row) -> str:
    return ["out", "out", "reject", "merge", "silence"][chance(label, row, 5)]


def is_unexportable(row: Row, world: int) -> bool:
    return chance(f"export {world}", row, 5) == 0


# --- the real thing


def as_row_step(kind: Kind, label: str) -> BoundRowStep:
    async def run(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        await asyncio.sleep(0)
        children, ending = outcome(kind, label, row)
        for _ in range(children):
            yield row
        if ending == "reject":
            raise Rejected("disliked")
        if ending == "fail":
            raise Unanswered("for the test")

    return row_step(label, run, fans_out=kind == "fan")


def as_table_step(label: str) -> BoundTableStep:
    def run(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        merged = []
        for row in table:
            fate = fate_at_table(label, row)
            if fate == "out":
                yield row
            elif fate == "reject":
                kit.reject(row, "disliked")
            elif fate == "merge":
                kit.merge(row)
                merged.append(row)
        if merged:
            yield merged[0].child(label, 0)._replace(roots=merged_roots(merged))

    return table_step(label, run)


def labels_of(kinds: list[Kind], world: int) -> list[str]:
    """Names of the steps; what a step does to a row hangs on its name."""
    return [f"s{place}-{world}" for place in range(len(kinds))]


def segments_of(kinds: list[Kind], world: int) -> list[Segment]:
    segments: list[Segment] = []
    before: list[BoundRowStep] = []
    for kind, label in zip(kinds, labels_of(kinds, world), strict=True):
        if kind == "table":
            segments.append(Segment(rows=tuple(before), table=as_table_step(label)))
            before = []
        else:
            before.append(as_row_step(kind, label))
    return [*segments, Segment(rows=tuple(before), table=None)]


def carried(
    folder: Path, kinds: list[Kind], world: int, limits: LimitsConfig
) -> tuple[list[Row], Account, Counts]:
    account = Account(folder / "account", labels_of(kinds, world), limits)
    source = rows(ROWS)
    account.enter((row.order[0], row.id, "train") for row in source)
    account.close_entry(["i"])
    final: list[Row] = []

    async def sink(row: Row) -> None:
        if is_unexportable(row, world):
            account.lose(EXPORT, row, Rejected("no_text_to_export"))
        else:
            account.keep(row)
            final.append(row)

    def desk(bound: BoundRowStep | BoundTableStep) -> Desk:
        return Desk(step=bound.label)

    segments = segments_of(kinds, world)
    asyncio.run(carry_out(segments, from_thread(iter(source)), desk, account, folder, sink))
    return final, account, account.reconcile()


# --- the model


class Model:
    """The same pipeline, row after row, with nothing but lists and sets."""

    def __init__(self, kinds: list[Kind], world: int) -> None:
        self.lost: dict[str, set[str]] = {"rejected": set(), "failed": set()}
        """Kind of loss -> source rows with a descendant that was lost so."""
        self.funnel: dict[str, Counter[str]] = {}
        flow = rows(ROWS)
        for kind, label in zip(kinds, labels_of(kinds, world), strict=True):
            line = self.funnel[label] = Counter(entered=len(flow))
            step = self._table if kind == "table" else self._row_step
            flow = step(kind, label, flow, line)
            line["out"] = len(flow)
        bad = [row for row in flow if is_unexportable(row, world)]
        if bad:
            self.funnel[EXPORT] = Counter(entered=len(flow), out=len(flow) - len(bad))
            for row in bad:
                self._lose(row, "rejected", self.funnel[EXPORT])
        self.final = [row for row in flow if not is_unexportable(row, world)]
        self.kept = {root for row in self.final for root in row.roots}
        self.failed = self.lost["failed"] - self.kept
        self.rejected = self.lost["rejected"] - self.kept - self.failed

    def _lose(self, row: Row, kind: str, line: Counter[str]) -> None:
        self.lost[kind].update(row.roots)
        line[kind] += 1

    def _row_step(self, kind: Kind, label: str, flow: list[Row], line: Counter[str]) -> list[Row]:
        out: list[Row] = []
        for row in flow:
            children, ending = outcome(kind, label, row)
            out += [row.child(label, i) if kind == "fan" else row for i in range(children)]
            is_lost = ending != "end" or not children
            if is_lost:
                self._lose(row, "failed" if ending == "fail" else "rejected", line)
            line["made"] += children + is_lost - 1
        return out

    def _table(self, kind: Kind, label: str, flow: list[Row], line: Counter[str]) -> list[Row]:
        fates = [(row, fate_at_table(label, row)) for row in sorted(flow, key=lambda r: r.order)]
        for row, fate in fates:
            if fate in {"reject", "silence"}:
                self._lose(row, "rejected", line)
        merged = [row for row, fate in fates if fate == "merge"]
        line["merged"] = len(merged)
        out = [row for row, fate in fates if fate == "out"]
        if merged:
            out.append(merged[0].child(label, 0)._replace(roots=merged_roots(merged)))
            line["made"] = 1
        return out


pipelines = st.lists(st.sampled_from(["gate", "fan", "table"]), max_size=5).filter(
    lambda kinds: kinds.count("fan") <= 2
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kinds=pipelines,
    world=st.integers(0, 10**6),
    max_failed=st.sampled_from([0.0, 0.25, 1.0]),
    max_rejected=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_engine_and_account_agree_with_the_model(
    tmp_path: Path, kinds: list[Kind], world: int, max_failed: float, max_rejected: float
) -> None:
    model = Model(kinds, world)
    limits = LimitsConfig(max_failed=max_failed, max_rejected=max_rejected)
    crossed = len(model.failed) > max_failed * ROWS or len(model.rejected) > max_rejected * ROWS
    try:
        final, account, counts = carried(tmp_path, kinds, world, limits)
    except TooManyLost:
        assert crossed
        return
    assert not crossed
    assert sorted((r.order, r.id, r.roots) for r in final) == sorted(
        (r.order, r.id, r.roots) for r in model.final
    )
    assert (counts.read, counts.kept, counts.failed, counts.rejected) == (
        ROWS,
        len(model.kept),
        len(model.failed),
        len(model.rejected),
    )
    for label, tally in account.funnel.items():
        for name in ("entered", "made", "out", "rejected", "failed", "merged"):
            assert getattr(tally, name) == model.funnel[label][name], (label, name)
    assert account.funnel.keys() == model.funnel.keys()
