from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import LedgerFailed, UserError
from synthkd.io.rows_file import open_rows
from synthkd.ledger import Entry
from synthkd.ledger.removal import alone, datasets_of, doom, remove
from synthkd.ledger.sqlite import FIRST_LOOK, SqliteLedger
from synthkd.ledger.upkeep import entries, opened, verify
from synthkd.ledger.where import parse_where
from synthkd.rows import source_row
from tests.ledger.test_codec import question, reply
from tests.ledger.test_upkeep import pair

SECRET = "zebra-crossing-4711"


def erase(path: Path, *conditions: str) -> int:
    with alone(path) as store:
        count = doom(store, parse_where(conditions)).entries
        remove(store)
    return count


def traces(folder: Path, text: str) -> list[str]:
    """The files that have the text in them, packed as it may be in no other way than plain."""
    return [path.name for path in folder.rglob("*") if text.encode() in path.read_bytes()]


async def test_what_is_erased_is_gone_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    pairs = [pair(number, text=SECRET if number == 4 else "fine") for number in range(9)]
    for one in pairs:
        await ledger.store(*one)
    assert traces(tmp_path, SECRET), "short bodies are not packed smaller: the trace is plain"
    await ledger.close()
    assert erase(path, f"text={SECRET.upper()}") == 1
    assert not traces(tmp_path, SECRET)
    with opened(path) as store:
        assert list(verify(store)) == []
        left = [stored.entry for stored in entries(store, parse_where([]))]
    assert left == [entry for entry, _ in pairs if SECRET.encode() not in entry.reply]
    again = SqliteLedger(path)
    assert again.find(pairs[4][0].key) == []
    assert again.find(pairs[5][0].key) == [pairs[5][0]]
    await again.close()


async def test_a_dictionary_that_was_learnt_from_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    said = f'","note":"all of them say it: {SECRET}, {SECRET}, {SECRET}'.encode()
    bodies = [reply(n).replace(b'","refusal', said + b'","refusal') for n in range(700)]
    for part in (range(FIRST_LOOK), range(FIRST_LOOK, 700)):
        for n in part:
            entry = Entry(f"{n:064x}", None, 200, "stop", 5, bodies[n] if n % 2 else reply(n))
            await ledger.store(entry, question(n))
        await ledger.flush()
    learnt = ledger._reader.execute("select body from dictionaries").fetchall()
    assert SECRET.encode() in learnt[0][0]
    await ledger.close()
    assert erase(path, f"text={SECRET}") == 350
    assert not traces(tmp_path, SECRET)
    again = SqliteLedger(path)
    for n in range(700):
        assert [found.reply for found in again.find(f"{n:064x}")] == ([] if n % 2 else [reply(n)])
    learnt = again._reader.execute("select id, body from dictionaries").fetchall()
    assert [SECRET.encode() in body for _, body in learnt] == [False]
    await again.close()


async def test_entries_are_taken_out_only_while_nobody_else_has_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    await ledger.store(*pair(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthkd.ledger.removal.ALONE_S", 0.01)
        with pytest.raises(LedgerFailed, match=r"is open in another process.*Nothing was changed"):
            erase(path, "model=m")
    assert ledger.find(pair(1)[0].key) == [pair(1)[0]]
    await ledger.close()
    with opened(path) as store, pytest.raises(UserError, match="must be opened alone"):
        remove(store)
    assert erase(path, "model=m") == 1


async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    await ledger.store(*pair(1))
    with opened(path) as store:
        assert doom(store, parse_where(["model=m"])).entries == 1
    assert ledger.find(pair(1)[0].key) == [pair(1)[0]]
    await ledger.close()


async def test_an_erasure_that_fails_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    await ledger.store(*pair(1))
    await ledger.close()
    monkeypatch.setattr("synthkd.ledger.removal._dictionaries_of_doomed", lambda connection: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erase(path, "model=m")
    again = SqliteLedger(path)
    assert again.find(pair(1)[0].key) == [pair(1)[0]]
    assert again._reader.execute("pragma journal_mode").fetchone() == ("wal",)
    await again.close()


async def test_the_datasets_that_used_it_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    for number in range(4):
        await ledger.store(*pair(number))
    for run in ("known", "moved", "clean"):
        ledger.note_folder(run, str(tmp_path / run))
    await ledger.close()
    rows = [
        source_row("s", [n], ordinal=n, fields={}).with_made_by(pair(n)[0].key, "ff" * 32)
        for n in range(4)
    ]
    for folder, chosen in (("known", rows), ("clean", rows[:1]), ("other", rows[2:3])):
        (tmp_path / folder / "rows").mkdir(parents=True)
        with open_rows(tmp_path / folder / "rows" / "rows.parquet") as add:
            for row in chosen:
                add(row)
    with opened(path) as store:
        keys = [f"key={pair(n)[0].key}" for n in (2, 3)]
        doom(store, parse_where(keys[:1]))
        used, gone = datasets_of(store, [tmp_path / "other"])
    assert [(each.folder, each.rows) for each in used] == [
        (str(tmp_path / "known"), [rows[2].id]),
        (str(tmp_path / "other"), [rows[2].id]),
    ]
    assert gone == [str(tmp_path / "moved")]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 11)))
def test_exactly_what_is_meant_goes(meant: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(meant_goes(Path(folder) / "l", meant))


async def meant_goes(path: Path, meant: set[int]) -> None:
    ledger = SqliteLedger(path)
    for number in range(12):
        await ledger.store(*pair(number, model="out" if number in meant else "stays"))
    await ledger.close()
    assert erase(path, "model=out") == len(meant)
    again = SqliteLedger(path)
    for number in range(12):
        assert bool(again.find(pair(number, model="stays")[0].key)) == (number not in meant)
        assert not again.find(pair(number, model="out")[0].key)
    await again.close()
