"""Reading ahead changes what a look-up costs, never what it finds."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.ledger import Entry
from synthkd.ledger.ahead import LONGEST, LONGEST_PAUSE, ROOM, ROWS, ReadAhead
from synthkd.ledger.sqlite import SqliteLedger


def answer(number: int, max_tokens: int | None = None, reply: bytes = b"{}") -> Entry:
    return Entry(
        key=f"{number:064x}",
        max_tokens=max_tokens,
        status=200,
        finish="length",  # so that other lengths are other answers
        completion_tokens=None,
        reply=reply,
    )


Doing = st.tuples(
    st.sampled_from(["store", "find", "store elsewhere"]),
    st.integers(0, 5),
    st.sampled_from([None, 8, 16]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(Doing, max_size=40))
def test_whatever_was_stored_by_whom_is_found_at_every_length(
    doings: list[tuple[str, int, int | None]],
) -> None:
    async def do(folder: Path) -> None:
        ledger, other = (SqliteLedger(folder / "ledger.sqlite") for _ in range(2))
        model: dict[int, list[int | None]] = {}
        try:
            for what, number, max_tokens in doings:
                if what == "find":
                    found = [entry.max_tokens for entry in ledger.find(f"{number:064x}")]
                    known = model.get(number, [])
                    # What another process stores in the meantime may be seen a look-up later.
                    assert found == known[: len(found)]
                    assert (len(found) > 0) == (len(known) > 0)
                    assert [e.max_tokens for e in ledger.find(f"{number:064x}")] == known
                else:
                    await (other if "else" in what else ledger).store(answer(number, max_tokens))
                    if max_tokens not in model.setdefault(number, []):
                        model[number].append(max_tokens)
        finally:
            await ledger.close()
            await other.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(do(Path(folder)))


@pytest.fixture
async def ledger(tmp_path: Path) -> SqliteLedger:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    async with asyncio.TaskGroup() as group:
        for number in range(4 * ROWS):
            group.create_task(ledger.store(answer(number)))
    return ledger


async def test_in_the_order_of_buying_a_look_up_is_rare(ledger: SqliteLedger) -> None:
    looked_up: list[str] = []
    ledger._reader.set_trace_callback(looked_up.append)
    for number in range(4 * ROWS):
        assert len(ledger.find(f"{number:064x}")) == 1
    assert len(looked_up) == 2 * 4  # each ROWS + 1 answers: one look-up, one read ahead
    await ledger.close()


async def test_long_bodies_are_not_gathered(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    for number in range(3):
        await ledger.store(answer(number, reply=secrets.token_bytes(2 * LONGEST)))
    ledger.find(f"{0:064x}")
    assert ledger._ahead.take(bytes.fromhex(f"{1:064x}")) is None
    assert len(ledger.find(f"{1:064x}")) == 1
    await ledger.close()


def test_where_the_order_is_another_it_stops_reading_and_holds_little() -> None:
    reads = 0

    def select(_: str, values: tuple[int, int]) -> list[tuple[object, ...]]:
        nonlocal reads
        reads += 1
        first = values[0] * 1000
        return [(b"%d" % (first + n), first + n, -1, 200, "stop", 1, 0, b"") for n in range(ROWS)]

    ahead = ReadAhead(select)
    for number in range(10_000):
        ahead.found(number)
        assert len(ahead._rows) <= ROOM + ROWS
    assert reads < 20 + 10_000 / LONGEST_PAUSE
