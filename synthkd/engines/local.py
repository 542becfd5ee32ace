"""The local engine: row steps as stages of a stream, table steps as barriers between streams.

A row step is wrapped so that whatever it does, each row that goes in is somewhere afterwards:
emitted (with its id, place and lineage set here, not by the step), rejected or failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

from synthkd.account import Account
from synthkd.desk import ROUND_OFFSET, Desk
from synthkd.errors import Rejected, RowError, Waiting
from synthkd.flow import Emit, Stage, from_thread, pour
from synthkd.io.spool import RowSpool, Table
from synthkd.kit import Kit
from synthkd.plan import BoundRowStep, BoundTableStep, Segment
from synthkd.rows import Fields, Json, Row, clean, digest
from synthkd.table_kit import TableKit

SPOOL_BATCH = 500
"""Rows handed to a spool at once: about 3 ms of writing, during which nothing else runs."""


async def carry_out(
    segments: Iterable[Segment],
    source: AsyncGenerator[list[Row], None],
    desk_of: Callable[[BoundRowStep | BoundTableStep], Desk],
    account: Account,
    work: Path,
    sink: Emit[Row],
) -> None:
    """Run the source's rows through every segment into the sink, in completion order.

    Where rows wait for a batch, the next table step does not run, and nothing after it.

    Args:
        segments: what the plan compiled; a segment with a table step is followed by another.
        source: the rows; closed at the end, whatever happens.
        desk_of: what the calls of a step share.
        account: told of every row's fate.
        work: a folder for spools.
        sink: takes the final rows; while it waits, everything waits.
    """
    rows = source
    for index, segment in enumerate(segments):
        account.start_segment(bound.label for bound in segment.rows)
        stages = [row_stage(bound, desk_of(bound), account) for bound in segment.rows]
        if segment.table is None:
            await pour(rows, stages, sink)
            return
        spool = RowSpool(work / f"table-{index}.spool")
        into = SpoolSink(spool)
        await pour(rows, stages, into.emit)
        into.finish()
        if account.waiting:
            await _wait_before(segment.table.label, spool, account)
            return
        rows = table_rows(segment.table, spool, desk_of(segment.table), account)


async def _wait_before(step: str, spool: RowSpool, account: Account) -> None:
    """A table step sees all rows or none: those that are ready wait with the others."""
    with spool:
        for rows in spool.groups(SPOOL_BATCH):
            account.wait_before(step, rows)
            await asyncio.sleep(0)


def row_stage(bound: BoundRowStep, desk: Desk, account: Account) -> Stage[Row]:
    """The stage that calls a row step and keeps its books."""
    tally = account.funnel[bound.label]

    run, config = bound.step.run, bound.config

    async def work(row: Row, emit: Emit[Row]) -> None:
        kit = Kit(desk, row.id)
        tally.entered += 1
        made = 0
        lost: RowError | None = None
        # Fields of its own: what a step changes in place is seen, and cleaned, as its result.
        given = Row(row.id, row.order, row.roots, {**row.fields}, row.made_by)
        children = run(given, kit, config)
        try:
            async for child in children:
                if kit.waiting is not None:
                    break  # what it made of no answer at all
                ready = _settled(child, row, made, kit, bound)
                made += 1
                tally.out += 1
                await emit(ready)
        except RowError as error:
            lost = error
        except asyncio.CancelledError as error:
            _check_cancelled(error, f"step {bound.label!r} on row {row.id}")
            raise
        except Exception as bug:
            bug.add_note(f"in step {bound.label!r} on row {row.id}")
            raise
        finally:
            await children.aclose()
        lost = _loss(kit, made, lost)
        if not isinstance(lost, Waiting):
            _book_asides(kit, row, bound.label, account)
        tally.made += made - 1 if lost is None else made
        if lost is not None:
            child_of = row.child(bound.label, desk.round * ROUND_OFFSET + made)
            account.lose(bound.label, child_of if made else row, lost)

    return Stage(work=work, in_flight=bound.in_flight)


def _loss(kit: Kit, made: int, lost: RowError | None) -> RowError | None:
    """Why the call has no row, or no further one; None = it has made all that it could."""
    if kit.waiting is not None:
        return kit.waiting
    return Rejected("nothing_made") if made == 0 and lost is None else lost


def _check_cancelled(error: asyncio.CancelledError, who: str) -> None:
    """A worker that cancels itself would take its rows with it."""
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        raise RuntimeError(
            f"{who} was cancelled by nobody but itself: it must catch the CancelledError of what it"
            " has cancelled"
        ) from error


def _book_asides(kit: Kit, row: Row, label: str, account: Account) -> None:
    """What a call said beside its rows."""
    for reason, detail in kit.discards:
        account.discard(label, row, reason, detail)
    for what, times in kit.counts:
        account.count(label, what, times)


def _settled(child: Row, row: Row, index: int, kit: Kit, bound: BoundRowStep) -> Row:
    """What the step yielded, with id, place and lineage as they must be, and only JSON in it."""
    row_id, order = row.id, row.order
    if bound.step.fans_out:
        number = kit.round * ROUND_OFFSET + index
        row_id, order = digest(row.id, bound.label, number), (*row.order, number)
    elif index > 0:
        raise RuntimeError(f"step {bound.label!r} yields several rows: declare fans_out=True")
    fields = checked(child.fields, row.fields, bound.label)
    # A step that does not say which answers a child came from gets all that it asked for.
    made_by = child.made_by if child.made_by != row.made_by else (*row.made_by, *kit.keys)
    return Row(row_id, order, child.roots, fields, made_by)


def checked(fields: Fields, known: Fields, label: str) -> Fields:
    """The fields as clean JSON; values that came in with the row are known to be.

    Raises:
        ValueError: the step put something into the row that JSON does not have.
    """
    settled: dict[str, Json] = {}
    for name, value in fields.items():
        # Nearly all that steps give is plain text or nothing, which needs no cleaning.
        if value is None or known.get(name) is value or (type(value) is str and value.isascii()):
            settled[name] = value
            continue
        try:
            settled[name] = clean(value)
        except ValueError as error:
            raise ValueError(f"step {label!r} put no JSON into {name!r}: {error}") from None
    return settled


async def table_rows(
    bound: BoundTableStep, spool: RowSpool, desk: Desk, account: Account
) -> AsyncGenerator[list[Row], None]:
    """Run a table step in a thread; its rows, in batches."""
    kit = TableKit(desk, asyncio.get_running_loop(), lambda words: account.tell(bound.label, words))
    with spool:
        books = account.table(bound.label, spool)
        try:
            step = iter(bound.step.run(Table(spool, desk.earlier), kit, bound.config))
            async with aclosing(from_thread(step, leave=kit.leave)) as batches:
                async for rows in batches:
                    if kit.waiting is not None:
                        continue  # what it makes of missing answers; it may ask for more
                    books.settle(kit.take_gone(), rows)
                    _book_discards(kit, bound.label, account)
                    # pour closes this generator
                    yield [r._replace(fields=checked(r.fields, {}, bound.label)) for r in rows]  # noqa: ASYNC119
            if kit.waiting is None:
                books.settle(kit.take_gone(), ())
                _book_discards(kit, bound.label, account)
                account.note(bound.label, kit.figures)
        except Waiting:
            if kit.waiting is None:
                raise
        except RowError as error:
            raise RuntimeError(
                f"table step {bound.label!r} raised {type(error).__name__} ({error}), which ends"
                " one row: a table step says `kit.reject(row, reason)` or `kit.fail(row, error)`"
                " and goes on"
            ) from error
        except Exception as bug:
            bug.add_note(f"in table step {bound.label!r}")
            raise
        finally:
            kit.close()
            account.tell(bound.label, "")
        for _ in books.close(waiting=kit.waiting is not None):
            await asyncio.sleep(0)


def _book_discards(kit: TableKit, label: str, account: Account) -> None:
    for row, reason, detail in kit.take_discards():
        account.discard(label, row, reason, detail)


class SpoolSink:
    """Gathers rows for a spool, since many at a time are cheaper than one by one."""

    def __init__(self, spool: RowSpool) -> None:
        self._spool = spool
        self._batch: list[Row] = []

    async def emit(self, row: Row) -> None:
        """Take one row."""
        self._batch.append(row)
        if len(self._batch) >= SPOOL_BATCH:
            self._write()

    def finish(self) -> None:
        """Write what is left and put everything in order."""
        self._write()
        self._spool.seal()

    def _write(self) -> None:
        self._spool.add(self._batch)
        self._batch = []
