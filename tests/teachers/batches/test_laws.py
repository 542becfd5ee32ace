"""Laws of batches: whatever happens in whatever order, a question is billed once, no budget is
passed, and the dataset is the one that online asking makes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.errors import BudgetReached, SynthkdError, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.ledger import Cost
from synthkd.ledger.sqlite import SqliteLedger
from tests.runs import tree_bytes
from tests.teachers.batches.driving import DELAY_S, Clock, online, pipeline, until_done

ROWS = 3
QUESTIONS = 18
LAW = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

told_faults = st.sampled_from(["expired", "partial", "doubled", "unknown", "enqueued", "invalid"])
lost_faults = st.sampled_from(["missing", "garbled", "broken_line"])
call_faults = st.sampled_from(["500", "429", "reset", "lost", "cut"])
acts = st.tuples(
    st.sampled_from(["one", "one", "other"]),
    st.sampled_from(["batch", "batch", "online"]),
    st.sampled_from([0.0, DELAY_S / 2, DELAY_S]),
)


@contextmanager
def serving(clock: Clock) -> Iterator[tuple[Path, FakeTeacher]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        in_thread(FakeTeacher(batch_delay_s=DELAY_S, clock=clock)) as provider,
    ):
        yield Path(folder), provider


def books(folder: Path, ledger: str) -> Cost:
    """What all runs of a ledger have spent or hold."""

    async def read() -> Cost:
        store = SqliteLedger(folder / ledger)
        try:
            runs = store._reader.execute("select run_id from runs").fetchall()
            total = Cost()
            for (run_id,) in runs:
                spent, held = store.outbox.books(run_id)
                total = total + spent + held
            return total
        finally:
            await store.close()

    return asyncio.run(read())


@pytest.mark.timeout(240)
@LAW
@given(
    st.lists(acts, max_size=5),
    st.lists(st.none() | told_faults, max_size=4),
    st.lists(st.none() | st.none() | call_faults, max_size=10),
)
def test_a_question_is_billed_once_whatever_happens(
    actions: list[tuple[str, str, float]],
    batch_faults: list[str | None],
    calls: list[str | None],
) -> None:
    clock = Clock()
    with serving(clock) as (folder, provider):
        provider.batch_script.extend(batch_faults)
        provider.batch_call_script.extend(calls)
        common: dict[str, Any] = {"rows": ROWS, "max_attempts": 20}
        for out, mode, passes_s in actions:
            run = pipeline(folder, provider, out, ledger="shared.db", mode=mode, **common)
            with suppress(SynthkdError):
                asyncio.run(run.run())
            clock.now += passes_s
            assert set(provider.bodies.values()) <= {
                1,
                2,
            }  # 2: a line that failed with 500 unbilled
            assert provider.billed_requests <= QUESTIONS
            total = books(folder, "shared.db")
            assert total.requests >= provider.billed_requests
            assert total.tokens >= provider.billed_tokens
        manifests = {}
        for out in ("one", "other"):
            run = pipeline(folder, provider, out, ledger="shared.db", **common)
            manifests[out], _ = asyncio.run(until_done(run, clock))
        assert provider.billed_requests == QUESTIONS
        assert sum(one.spend.requests for one in manifests.values()) == QUESTIONS
        _, wanted = asyncio.run(online(folder, provider, rows=ROWS))
        for out in manifests:
            assert tree_bytes(folder / out / "dataset") == wanted


@pytest.mark.timeout(240)
@LAW
@given(
    st.integers(1, QUESTIONS - 1),
    st.lists(st.none() | told_faults | lost_faults, max_size=4),
    st.lists(st.none() | call_faults, max_size=6),
)
def test_the_budget_is_never_passed(
    requests: int, batch_faults: list[str | None], calls: list[str | None]
) -> None:
    clock = Clock()
    with serving(clock) as (folder, provider):
        provider.batch_script.extend(batch_faults)
        provider.batch_call_script.extend(calls)

        def run(limit: int) -> None:
            budget = {"budget": {"requests": limit}}
            asyncio.run(pipeline(folder, provider, rows=ROWS, more=budget, max_attempts=20).run())

        stop: SynthkdError | None = None
        for _ in range(25):
            try:
                run(requests)
            except SynthkdError as error:
                stop = error
            assert provider.billed_requests <= requests
            assert books(folder, "out.sqlite").requests <= requests
            if isinstance(stop, BudgetReached):
                break
            clock.now += DELAY_S
        assert isinstance(stop, BudgetReached)
        more = {"budget": {"requests": 10 * QUESTIONS}}
        batched = pipeline(folder, provider, rows=ROWS, more=more, max_attempts=20)
        asyncio.run(until_done(batched, clock))
        spent = books(folder, "out.sqlite")
        assert spent.requests >= provider.billed_requests
        assert spent.tokens >= provider.billed_tokens
        _, wanted = asyncio.run(online(folder, provider, rows=ROWS))
        assert tree_bytes(folder / "out" / "dataset") == wanted


async def test_switched_to_online_in_the_middle_reuses_every_answer(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    """What is under way waits, what is not sent yet is asked at once."""
    shared: dict[str, Any] = {
        "ledger": "shared.db",
        "batch": {"max_requests": 4, "max_enqueued_tokens": 40},
    }
    with pytest.raises(WaitingForBatch, match="no more prompt tokens"):
        await pipeline(tmp_path, provider, **shared).run()
    sent = sum(
        batch.as_json["request_counts"]["total"] for batch in provider.batches.batches.values()
    )
    assert 0 < sent < 27
    switched = pipeline(tmp_path, provider, mode="online", **shared)
    with pytest.raises(WaitingForBatch, match="synthkd batch cancel"):
        await switched.run()
    assert provider.requests == 27 - sent
    clock.now += DELAY_S
    await switched.run()
    assert provider.billed_requests == 54
    back = await pipeline(tmp_path, provider, **shared).run()
    assert provider.billed_requests == 54
    assert back.counts.waiting == 0


async def test_the_second_of_two_runs_waits_for_the_first_and_pays_nothing(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    one = pipeline(tmp_path, provider, "one", ledger="shared.db")
    other = pipeline(tmp_path, provider, "other", ledger="shared.db")
    with pytest.raises(WaitingForBatch):
        await one.run()
    with pytest.raises(WaitingForBatch, match="1 batch:"):
        await other.run()
    clock.now += DELAY_S
    # The second may collect what the first has sent; the first has paid for it.
    with pytest.raises(WaitingForBatch):
        await other.run()
    clock.now += DELAY_S
    mine = await other.run()
    theirs = await one.run()
    assert provider.billed_requests == 54
    assert (theirs.spend.requests, mine.spend.requests) == (27, 27)
    assert tree_bytes(tmp_path / "one" / "dataset") == tree_bytes(tmp_path / "other" / "dataset")


async def test_side_by_side_they_share_what_they_ask(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    runs = [pipeline(tmp_path, provider, out, ledger="shared.db") for out in ("one", "other")]

    async def slept(seconds: float) -> None:
        await asyncio.sleep(0.01)
        clock.now += seconds

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run.run(wait=True, sleep=slept)) for run in runs]
    assert provider.billed_requests == 54
    assert sum(task.result().spend.requests for task in tasks) == 54
    assert tree_bytes(tmp_path / "one" / "dataset") == tree_bytes(tmp_path / "other" / "dataset")
