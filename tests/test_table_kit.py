"""A table step asks from its thread: answers, lineage, stops, cancellations; figures are kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthkd.account import Account
from synthkd.config import LimitsConfig
from synthkd.desk import Desk
from synthkd.engines.local import carry_out
from synthkd.errors import BudgetReached, RowError, TeacherError, Unanswered, UserError
from synthkd.io.spool import RowSpool, Table
from synthkd.kit import Kit
from synthkd.plan import BoundRowStep, BoundTableStep, Segment
from synthkd.prompts import load_prompt
from synthkd.rows import Row, source_row
from synthkd.steps import Step, StepSettings, TableStep
from synthkd.table_kit import Question, TableKit
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage

LIMITS = LimitsConfig(max_failed=1, max_rejected=1)


class Nothing(StepSettings):
    """No settings."""


class Echo:
    """Answers with the input in capitals; what it is asked, and by which thread, is kept."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.samples: list[int] = []
        self.threads: set[int] = set()
        self.ended: list[str] = []
        self.trouble: dict[str, BaseException] = {}
        self.hang = asyncio.Event()

    async def complete(self, request: Request) -> Completion:
        text = str((request.inputs or {})["text"])
        self.asked.append(text)
        self.samples.append(request.sample)
        self.threads.add(threading.get_ident())
        await asyncio.sleep(0)
        if text in self.trouble:
            raise self.trouble[text]
        if text == "hang":
            self.hang.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)  # what a stack settles when it is cancelled
                self.ended.append(text)
        return Completion(
            text.upper(), finish="stop", usage=Usage(), key=f"key-{text}", reply=b"{}"
        )


def desk(echo: Echo, tmp_path: Path) -> Desk:
    (tmp_path / "say.md.j2").write_text(
        "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n", encoding="utf-8"
    )
    prompt = load_prompt("say", folders=[tmp_path])
    teacher = OpenTeacher(
        name="t", model="m", params={}, max_tokens=None, simulated=False, stack=echo, concurrency=4
    )
    return Desk(step="table", teachers={"t": teacher}, prompts={"say": prompt})


Run = Callable[[Table, TableKit, Nothing], Iterator[Row]]


def segments(run: Run) -> list[Segment]:
    step = TableStep(name="table", config=Nothing, run=run, needs=(), gives=(), about="")
    common: dict[str, Any] = {"rank": 0, "config": Nothing(), "prompts": {}, "teachers": ("t",)}
    bound = BoundTableStep(label="table", step=step, needs=(), gives=(), **common)
    return [Segment(rows=(), table=bound), Segment(rows=(), table=None)]


def rows(*texts: str) -> list[Row]:
    return [source_row("s", [i], ordinal=i, fields={"text": t}) for i, t in enumerate(texts)]


async def carried(
    run: Run, echo: Echo, tmp_path: Path, *texts: str, account: Account | None = None
) -> tuple[list[Row], Account]:
    account = account or Account(tmp_path / "account", ["table"], LIMITS)
    given = rows(*texts)
    account.enter((row.order[0], row.id, "train") for row in given)
    kept: list[Row] = []

    async def source() -> AsyncIterator[list[Row]]:
        yield given

    async def keep(row: Row) -> None:
        account.keep(row)
        kept.append(row)

    await carry_out(
        segments(run),
        source(),  # type: ignore[arg-type]
        lambda _: desk(echo, tmp_path),
        account,
        tmp_path,
        keep,
    )
    return kept, account


async def test_a_step_asks_in_the_runs_loop_and_rows_say_what_made_them(tmp_path: Path) -> None:
    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        said = kit.ask("say", {"text": "all"}, teacher="t")
        several = kit.ask_many("say", {"text": "two"}, teachers=["t"], samples=2)
        assert [type(one) for one in several] == [Completion, Completion]
        for row in table:
            yield row.with_fields(said=said.text).with_made_by(*said.keys)

    echo = Echo()
    kept, account = await carried(step, echo, tmp_path, "a", "b")
    assert [row.fields["said"] for row in kept] == ["ALL", "ALL"]
    assert [row.made_by for row in kept] == [("key-all",), ("key-all",)]
    assert echo.asked == ["all", "two", "two"]
    assert echo.threads == {threading.get_ident()}  # the loop's, not the step's
    assert account.reconcile().kept == 2
    account.close()


async def test_many_questions_are_answered_in_order_and_errors_stand_in_their_place(
    tmp_path: Path,
) -> None:
    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        given = list(table)
        answers = kit.ask_all("say", [{"text": row.fields["text"]} for row in given], teacher="t")
        for row, answer in zip(given, answers, strict=True):
            if isinstance(answer, RowError):
                kit.fail(row, answer)
            else:
                yield row.with_fields(said=answer.text)

    echo = Echo()
    echo.trouble["c"] = Unanswered("no")
    kept, account = await carried(step, echo, tmp_path, *"abcdefghij")
    assert [row.fields["said"] for row in kept] == list("ABDEFGHIJ")
    counts = account.reconcile()
    assert (counts.kept, counts.failed, counts.rejected) == (9, 1, 0)
    assert account.funnel["table"].reasons == {"Unanswered": 1}
    account.close()


async def test_questions_of_several_kinds_discards_and_words_for_displays(tmp_path: Path) -> None:
    told: list[list[str]] = []

    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        asked = [Question("say", {"text": text}, number) for number, text in enumerate("abc")]
        first, second, third = kit.ask_each(asked, teacher="t")
        assert (first.text, third.text) == ("A", "C")  # type: ignore[union-attr]
        kit.tell("1 of 3")
        told.append(account.told)
        (row,) = table
        kit.discard(row, "dull", str(second))
        yield row
        yield row.child("table", 0)

    echo = Echo()
    echo.trouble["b"] = Unanswered("no")
    account = Account(tmp_path / "account", ["table"], LIMITS)
    kept, _ = await carried(step, echo, tmp_path, "x", account=account)
    assert len(kept) == 2
    assert sorted(echo.samples) == [0, 1, 2]
    assert (told, account.told) == ([["table: 1 of 3"]], [])
    assert account.funnel["table"].discarded == {"dull": 1}
    assert [loss["detail"] for loss in account.losses("discarded")] == ["no"]
    assert account.reconcile().kept == 1
    account.close()


@pytest.mark.parametrize("each", [False, True])
async def test_what_stops_the_run_passes_through_the_step(tmp_path: Path, each: bool) -> None:
    passed: list[str] = []

    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        try:
            if each:
                kit.ask_all("say", [{"text": "a"}, {"text": "b"}], teacher="t")
            kit.ask("say", {"text": "b"}, teacher="t")
        except TeacherError:
            raise AssertionError("a stop is no TeacherError") from None
        finally:
            passed.append("finally")
        yield from table

    echo = Echo()
    echo.trouble["b"] = BudgetReached("enough")
    with pytest.raises(BudgetReached, match="enough"):
        await carried(step, echo, tmp_path, "x")
    assert passed == ["finally"]


@pytest.mark.parametrize("each", [False, True])
async def test_cancelling_the_run_cancels_what_is_asked_and_waits_for_its_end(
    tmp_path: Path, each: bool
) -> None:
    seen: list[str] = []

    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        try:
            if each:
                kit.ask_all("say", [{"text": "hang"}, {"text": "hang"}], teacher="t")
            kit.ask("say", {"text": "hang"}, teacher="t")
        except Exception:  # noqa: BLE001  what a careless step does
            seen.append("swallowed")
        except BaseException:
            try:
                kit.ask("say", {"text": "again"}, teacher="t")
            except asyncio.CancelledError:
                seen.append("nothing more is asked")
            raise
        yield from table

    echo = Echo()
    task = asyncio.create_task(carried(step, echo, tmp_path, "x"))
    await echo.hang.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(echo.ended) == {"hang"}  # its cleaning up was awaited
    assert seen == ["nothing more is asked"]
    assert echo.asked.count("again") == 0


async def test_asking_where_it_would_block_the_loop_is_refused(tmp_path: Path) -> None:
    kit = TableKit(desk(Echo(), tmp_path), asyncio.get_running_loop())
    with pytest.raises(RuntimeError, match="asks outside its run"):
        kit.ask("say", {"text": "a"}, teacher="t")


def test_a_kit_without_a_loop_cannot_ask(tmp_path: Path) -> None:
    kit = TableKit(Desk(step="s"))
    kit.desk = desk(Echo(), tmp_path)
    with pytest.raises(RuntimeError, match="asks outside its run"):
        kit.ask("say", {"text": "a"}, teacher="t")


async def test_vectors_of_who_makes_none_are_refused(tmp_path: Path) -> None:
    def step(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        kit.embed(["a"], teacher="t")
        yield from table

    with pytest.raises(UserError, match="makes no vectors"):
        await carried(step, Echo(), tmp_path, "x")


async def test_figures_of_steps_are_kept_in_the_order_of_names(tmp_path: Path) -> None:
    def table(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        kit.note({"z": 1, "by_kind": {"a": 2}})
        kit.note({"z": 3.5})
        for row in table:
            kit.count("rows")
            yield row

    async def masks(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        kit.count("emails", len(str(row.fields["text"])))
        kit.count("rows")
        yield row

    account = Account(tmp_path / "account", ["masks", "table"], LIMITS)
    given = rows("a", "bb")
    account.enter((row.order[0], row.id, "train") for row in given)

    async def source() -> AsyncIterator[list[Row]]:
        yield given

    async def keep(row: Row) -> None:
        account.keep(row)

    step: Step[Nothing] = Step(
        name="masks",
        config=Nothing,
        run=masks,  # type: ignore[arg-type]
        needs=(),
        gives=(),
        supplies=frozenset(),
        fans_out=False,
        about="",
    )
    first = BoundRowStep(
        label="masks",
        rank=0,
        config=Nothing(),
        prompts={},
        teachers=(),
        needs=(),
        gives=(),
        step=step,
    )
    gathered, last = segments(table)
    cut = [Segment(rows=(first,), table=gathered.table), last]
    await carry_out(
        cut,
        source(),  # type: ignore[arg-type]
        lambda _: desk(Echo(), tmp_path),
        account,
        tmp_path,
        keep,
    )
    assert account.figures == {
        "masks": {"emails": 3, "rows": 2},
        "table": {"by_kind": {"a": 2}, "rows": 2, "z": 3.5},
    }
    account.close()


def test_a_figure_is_json_and_counts_are_whole() -> None:
    kit = TableKit(Desk(step="s"))
    with pytest.raises(ValueError, match="nan"):
        kit.note({"mean": float("nan")})
    kit.note({"mean": 0.5})
    with pytest.raises(TypeError, match="is no count"):
        kit.count("mean")


def test_a_row_that_fails_is_in_the_books(tmp_path: Path) -> None:
    account = Account(tmp_path / "account", ["table"], LIMITS)
    given = rows("a", "b")
    account.enter((row.order[0], row.id, "train") for row in given)
    with RowSpool.of(tmp_path / "spool", given) as spool:
        books = account.table("table", spool)
        kit = TableKit(Desk(step="table"))
        kit.fail(given[0], Unanswered("no"))
        books.settle(kit.take_gone(), given[1:])
        for _ in books.close():
            pass
    account.keep(given[1])
    counts = account.reconcile()
    assert (counts.kept, counts.failed) == (1, 1)
    assert [loss["error"] for loss in account.losses("failed")] == ["Unanswered"]
    account.close()
