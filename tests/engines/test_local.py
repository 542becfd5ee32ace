"""Laws of the local engine: whatever a step does, each row is somewhere afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.account import Account
from synthkd.config import LimitsConfig
from synthkd.desk import Desk
from synthkd.engines.local import carry_out
from synthkd.errors import AccountError, BudgetReached, Rejected, TooManyLost, Unanswered
from synthkd.flow import from_thread
from synthkd.io.spool import Table
from synthkd.kit import Kit
from synthkd.manifest import Counts
from synthkd.plan import BoundRowStep, BoundTableStep, Segment
from synthkd.rows import Row, merged_roots, source_row
from synthkd.steps import Step, StepSettings, TableStep
from synthkd.table_kit import TableKit

ANYTHING_GOES = LimitsConfig(max_failed=1, max_rejected=1)
Ending = Literal["end", "reject", "fail"]


class Nothing(StepSettings):
    """No settings."""


def row_step(label: str, run, *, fans_out: bool = False, in_flight: int = 3) -> BoundRowStep:  # type: ignore[no-untyped-def]
    step = Step(
        name=label,
        config=Nothing,
        run=run,
        needs=(),
        gives=(),
        supplies=frozenset(),
        fans_out=fans_out,
        about="",
    )
    return BoundRowStep(
        label=label,
        rank=0,
        config=Nothing(),
        prompts={},
        teachers=(),
        needs=(),
        gives=(),
        in_flight=in_flight,
        step=step,
    )


def table_step(label: str, run) -> BoundTableStep:  # type: ignore[no-untyped-def]
    step = TableStep(name=label, config=Nothing, run=run, needs=(), gives=(), about="")
    return BoundTableStep(
        label=label,
        rank=1,
        config=Nothing(),
        prompts={},
        teachers=(),
        needs=(),
        gives=(),
        step=step,
    )


def rows(n: int) -> list[Row]:
    return [source_row("numbers", [i], ordinal=i, fields={"i": i}) for i in range(n)]


def carried(
    tmp_path: Path,
    n: int,
    segments: list[Segment],
    limits: LimitsConfig = ANYTHING_GOES,
) -> tuple[list[Row], Account, Counts]:
    """Run n rows through the segments; the final rows, the books and the reconciled counts."""
    labels = [b.label for s in segments for b in (*s.rows, s.table) if b is not None]
    account = Account(tmp_path / "account", labels, limits)
    source = rows(n)
    account.enter((row.order[0], row.id, "train") for row in source)
    account.close_entry(["i"])
    final: list[Row] = []

    async def sink(row: Row) -> None:
        account.keep(row)
        final.append(row)

    def desk(bound: BoundRowStep | BoundTableStep) -> Desk:
        return Desk(step=bound.label)

    asyncio.run(carry_out(segments, from_thread(iter(source)), desk, account, tmp_path, sink))
    return final, account, account.reconcile()


def mixed_step(plan: list[tuple[int, Ending]]) -> BoundRowStep:
    """Row i becomes as many children as planned, and then ends as planned."""

    async def mixed(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        children, ending = plan[int(str(row.fields["i"]))]
        for child in range(children):
            yield row.with_fields(child=child)
        if ending == "reject":
            raise Rejected("disliked", "for the test")
        if ending == "fail":
            raise Unanswered("for the test")

    return row_step("mixed", mixed, fans_out=True)


def mixed_table(fates: list[str]) -> BoundTableStep:
    """Rows are yielded, rejected, merged into one new row at the end, or never mentioned."""

    def table(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        merged = []
        for place, row in enumerate(table):
            fate = fates[place % len(fates)]
            if fate == "out":
                yield row
            elif fate == "reject":
                kit.reject(row, "disliked_too")
            elif fate == "merge":
                kit.merge(row)
                merged.append(row)
        if merged:
            yield merged[0].child("table", 0)._replace(roots=merged_roots(merged))

    return table_step("table", table)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["end", "reject", "fail"]))),
    second=st.lists(st.sampled_from(["out", "reject", "merge", "forget"]), min_size=1),
)
def test_the_account_closes_under_any_mixture_of_outcomes(
    tmp_path: Path, first: list[tuple[int, Ending]], second: list[str]
) -> None:
    segments = [
        Segment(rows=(mixed_step(first),), table=mixed_table(second)),
        Segment(rows=(), table=None),
    ]
    final, account, counts = carried(tmp_path, len(first), segments)
    assert counts.read == len(first) == counts.kept + counts.rejected + counts.failed
    assert counts.kept == len({root for row in final for root in row.roots})
    assert all(tally.balances for tally in account.funnel.values())
    line = account.funnel["mixed"]
    assert line.entered == len(first)
    assert line.out == sum(children for children, _ in first)
    assert line.reasons["nothing_made"] == first.count((0, "end"))
    assert account.funnel["table"].made == (1 if account.funnel["table"].merged else 0)
    assert len({row.id for row in final}) == len(final)
    assert len(list(account.losses("rejected"))) == sum(
        tally.rejected for tally in account.funnel.values()
    )


def test_a_row_merged_into_nobody_is_noticed(tmp_path: Path) -> None:
    def swallow(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        for row in table:
            kit.merge(row)
        yield from ()

    segments = [Segment(rows=(), table=table_step("t", swallow)), Segment(rows=(), table=None)]
    with pytest.raises(AccountError, match="has no fate"):
        carried(tmp_path, 3, segments)


def test_a_row_settled_twice_is_a_bug(tmp_path: Path) -> None:
    def twice(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        for row in table:
            kit.reject(row, "unsure")
            yield row

    segments = [Segment(rows=(), table=table_step("t", twice)), Segment(rows=(), table=None)]
    with pytest.raises(RuntimeError, match=r"settled row .* twice"):
        carried(tmp_path, 3, segments)


def test_children_have_ids_places_and_lineage_of_their_own(tmp_path: Path) -> None:
    async def twice(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        kit.keys.append("bought")
        yield row.with_fields(n=0)
        yield row.with_fields(n=1).with_made_by("only this one")

    step = row_step("twice", twice, fans_out=True)
    final, _, _ = carried(tmp_path, 3, [Segment(rows=(step,), table=None)])
    final.sort(key=lambda row: row.order)
    assert [row.order for row in final] == [(i, k) for i in range(3) for k in range(2)]
    assert final[0].id == rows(1)[0].child("twice", 0).id
    assert [row.made_by for row in final[:2]] == [("bought",), ("only this one",)]


def test_a_filter_leaves_the_row_what_it_was(tmp_path: Path) -> None:
    async def same(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row

    final, _, _ = carried(tmp_path, 3, [Segment(rows=(row_step("same", same),), table=None)])
    assert sorted(final, key=lambda row: row.order) == rows(3)


def test_several_rows_from_a_step_that_does_not_fan_out_is_a_bug(tmp_path: Path) -> None:
    async def twice(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row
        yield row

    with pytest.raises(RuntimeError, match="declare fans_out=True"):
        carried(tmp_path, 1, [Segment(rows=(row_step("twice", twice),), table=None)])


@pytest.mark.parametrize("value", [float("nan"), 2**70, {1: 2}, object()])
def test_a_value_that_is_no_json_is_a_bug_of_the_step(tmp_path: Path, value: object) -> None:
    async def odd(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row.with_fields(odd=value)  # type: ignore[arg-type]  # that is the test

    with pytest.raises(ValueError, match="step 'odd' put no JSON into 'odd'"):
        carried(tmp_path, 1, [Segment(rows=(row_step("odd", odd),), table=None)])


def test_what_a_step_changes_in_place_is_its_result_and_checked(tmp_path: Path) -> None:
    async def add(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        row.fields["more"] = 1  # type: ignore[index]  # that is the test
        yield row

    async def spoil(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        row.fields["i"] = float("nan")  # type: ignore[index]  # that is the test
        yield row

    final, _, _ = carried(tmp_path, 1, [Segment(rows=(row_step("add", add),), table=None)])
    assert final[0].fields == {"i": 0, "more": 1}
    with pytest.raises(ValueError, match="step 'spoil' put no JSON into 'i'"):
        carried(tmp_path, 1, [Segment(rows=(row_step("spoil", spoil),), table=None)])


def test_a_step_that_lets_a_cancellation_out_is_a_bug_and_no_lost_rows(tmp_path: Path) -> None:
    async def leaky(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        if row.fields["i"] == 1:
            raise asyncio.CancelledError  # as from a task of its own that it has cancelled
        yield row

    with pytest.raises(RuntimeError, match=r"step 'leaky' on row .* was cancelled by nobody"):
        carried(tmp_path, 9, [Segment(rows=(row_step("leaky", leaky),), table=None)])


def test_a_step_that_swallows_its_cancellation_begins_no_further_row(tmp_path: Path) -> None:
    begun = []

    async def stubborn(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        begun.append(row.id)
        if row.fields["i"] == 2:
            raise BudgetReached("for the test")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        yield row

    with pytest.raises(BudgetReached):
        carried(tmp_path, 50, [Segment(rows=(row_step("stubborn", stubborn),), table=None)])
    assert len(begun) == 3


def test_a_table_step_that_raises_says_which_one_it_is(tmp_path: Path) -> None:
    def reject(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        yield from table
        raise Rejected("disliked")

    def nothing(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        yield None  # type: ignore[misc]  # that is the test

    def ends(run) -> list[Segment]:  # type: ignore[no-untyped-def]
        return [Segment(rows=(), table=table_step("t", run)), Segment(rows=(), table=None)]

    with pytest.raises(RuntimeError, match=r"table step 't' raised Rejected .*kit\.reject"):
        carried(tmp_path, 3, ends(reject))
    with pytest.raises(AttributeError) as caught:
        carried(tmp_path, 3, ends(nothing))
    assert caught.value.__notes__ == ["in table step 't'"]


def test_a_table_step_may_give_a_list(tmp_path: Path) -> None:
    def whole(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        return list(table)  # type: ignore[return-value]  # that is the test

    segments = [Segment(rows=(), table=table_step("t", whole)), Segment(rows=(), table=None)]
    final, _, _ = carried(tmp_path, 3, segments)
    assert final == rows(3)


def test_a_bug_stops_the_run_and_names_step_and_row(tmp_path: Path) -> None:
    async def buggy(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row.with_fields(x=row.fields["missing"])

    with pytest.raises(KeyError) as caught:
        carried(tmp_path, 1, [Segment(rows=(row_step("buggy", buggy),), table=None)])
    assert "in step 'buggy' on row" in caught.value.__notes__[0]


def test_a_stop_comes_out_of_a_group_as_itself(tmp_path: Path) -> None:
    async def broke(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(spend())
        yield row

    async def spend() -> None:
        raise BudgetReached("no more")

    with pytest.raises(BudgetReached, match="no more"):
        carried(tmp_path, 5, [Segment(rows=(row_step("broke", broke),), table=None)])


def test_discards_are_counted_while_the_row_lives_on(tmp_path: Path) -> None:
    async def picky(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        kit.discard("too_short", "x")
        yield row

    _, account, counts = carried(
        tmp_path, 4, [Segment(rows=(row_step("picky", picky),), table=None)]
    )
    assert account.funnel["picky"].discarded == {"too_short": 4}
    assert counts.kept == 4


def test_chance_is_the_same_in_every_run_and_order(tmp_path: Path) -> None:
    async def dice(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row.with_fields(a=kit.rng.random(), b=kit.rng.random())

    def once(in_flight: int) -> set[tuple[object, ...]]:
        segment = Segment(rows=(row_step("dice", dice, in_flight=in_flight),), table=None)
        final, _, _ = carried(tmp_path, 50, [segment])
        return {(row.id, row.fields["a"], row.fields["b"]) for row in final}

    assert once(1) == once(17)
    assert len({a for _, a, _ in once(1)}) == 50


@pytest.mark.parametrize(("kind", "ending"), [("failed", "fail"), ("rejected", "reject")])
def test_crossing_a_limit_stops_the_run_long_before_its_end(
    tmp_path: Path, kind: str, ending: Ending
) -> None:
    seen = 0

    async def lossy(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        nonlocal seen
        seen += 1
        if seen % 2:
            raise Rejected("odd") if ending == "reject" else Unanswered("odd")
        yield row

    limits = LimitsConfig(max_failed=0.2, max_rejected=0.2)
    segment = Segment(rows=(row_step("lossy", lossy),), table=None)
    with pytest.raises(TooManyLost, match=rf"limits.max_{kind} is 20.0%.*\(.* times\) .* at lossy"):
        carried(tmp_path, 10_000, [segment], limits)
    assert 100 <= seen < 150
