from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.errors import LedgerFailed, UserError
from synthkd.ledger import Cost, Entry, Question
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.ledger.upkeep import Store, entries, opened, stats, verify
from synthkd.ledger.where import parse_where


def pair(
    number: int, *, model: str = "m", text: str = "fine", **changes: Any
) -> tuple[Entry, Question]:
    asked = orjson.dumps({"v": 1, "number": number, "model": model})
    entry = Entry(
        key=hashlib.sha256(asked).hexdigest(),
        max_tokens=None,
        status=200,
        finish="stop",
        completion_tokens=3,
        reply=orjson.dumps({"text": text, "number": number}),
    )
    return entry._replace(**changes), Question(served_by="http://x/v1", model=model, asked=asked)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path)
    await ledger.open_run("r")
    ledger.note_folder("r", str(tmp_path / "out"))
    for number in range(6):
        await ledger.store(*pair(number))
    await ledger.store(*pair(6, model="other", status=400, finish="", reply=b"too long"))
    await ledger.store(pair(7)[0]._replace(reply=b'"\xc3\xa9"'))
    await ledger.hold("r", Cost(requests=2, prompt_tokens=5))
    ledger.settle("r", Cost(requests=1), Cost(requests=1, prompt_tokens=4, nano_usd=10**9))
    ledger.add_wall("r", 2.5)
    await ledger.close()
    return path


def found(store: Store, *conditions: str) -> list[bytes]:
    return [stored.entry.reply for stored in entries(store, parse_where(conditions))]


async def test_entries_are_found_by_what_is_known_of_them(path: Path) -> None:
    with opened(path) as store:
        assert len(found(store)) == 8
        assert len(found(store, "model=m")) == 6
        assert found(store, "model=other") == found(store, "status=400") == [b"too long"]
        assert found(store, f"key={pair(3)[0].key[:7]}") == [pair(3)[0].reply]
        assert len(found(store, "served_by=http://x/v1", "finish=stop")) == 6
        assert found(store, 'text="number":4') == [pair(4)[0].reply]
        assert found(store, "before=1d") == []
        assert len(found(store, "after=1d")) == 8


async def test_an_exported_entry_has_everything(path: Path) -> None:
    with opened(path) as store:
        lines = [orjson.loads(stored.as_json()) for stored in entries(store, parse_where([]))]
    entry, question = pair(0)
    assert lines[0].pop("created_s") > 1_700_000_000
    assert lines[0] == {
        "key": entry.key,
        "served_by": "http://x/v1",
        "model": "m",
        "max_tokens": None,
        "status": 200,
        "finish": "stop",
        "completion_tokens": 3,
        "asked": orjson.loads(question.asked),
        "reply": entry.reply.decode(),
    }
    assert lines[7]["asked"] is None


def test_a_reply_that_is_no_text_is_exported_byte_for_byte() -> None:
    from synthkd.ledger.upkeep import Stored

    entry = pair(0)[0]._replace(reply=b"\xff\x00")
    line = orjson.loads(Stored(entry=entry, question=None, created_s=None).as_json())
    assert line["reply_base64"] == "/wA="
    assert "reply" not in line


async def test_what_is_counted_adds_up(path: Path, tmp_path: Path) -> None:
    with opened(path) as store:
        counted = stats(store)
        bodies = [
            (stored.entry.reply, stored.question and stored.question.asked)
            for stored in entries(store, parse_where([]))
        ]
    assert counted.file_bytes > 4096
    shares = {share.model: share for share in counted.teachers}
    assert (shares["m"].entries, shares["m"].refusals) == (6, 0)
    assert (shares["other"].entries, shares["other"].refusals) == (1, 1)
    assert shares[None].entries == 1
    raw = sum(len(reply) + len(asked or b"") for reply, asked in bodies)
    assert sum(share.raw_bytes for share in counted.teachers) == raw
    (run,) = counted.runs
    assert (run.run_id, run.folder) == ("r", str(tmp_path / "out"))
    assert (run.spent, run.wall_s) == (Cost(requests=1, prompt_tokens=4, nano_usd=10**9), 2.5)
    assert run.held == Cost(requests=1, prompt_tokens=5)


async def test_a_sound_ledger_has_no_faults_while_others_write(path: Path) -> None:
    ledger = SqliteLedger(path)
    with opened(path) as store:
        assert list(verify(store)) == []
        await ledger.store(*pair(99))
        assert list(verify(store)) == []
    await ledger.close()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("update answers set reply = x'00' where id = 3", "entry 3, key .*: cannot be unpacked"),
        ("update answers set dictionary = 9 where id = 2", "entry 2.*dictionary 9 is missing"),
        ("update answers set status = 200 where status = 400", "the reply is no JSON"),
        ("update answers set asked = (select asked from answers where id = 1)", "not the one that"),
        ("update runs set nano_usd = -1", "run r: has spent less than nothing"),
        ("update holds set requests = -1", "run r: has held less than nothing"),
        ("update holds set run_id = 'gone'", "run gone: holds money, but there is no such run"),
    ],
)
async def test_each_fault_is_told(change: str, fault: str, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with opened(path) as store:
        faults = "\n".join(verify(store))
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(faults)


async def test_a_file_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = SqliteLedger(path)
    for number in range(40):
        await ledger.store(*pair(number, reply=os.urandom(2000)))
    await ledger.close()
    content = bytearray(path.read_bytes())
    content[4096 * 14 :] = b"\xff" * len(content[4096 * 14 :])
    path.write_bytes(bytes(content))
    with opened(path) as store:
        assert any("the file" in fault for fault in verify(store))


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no ledger at"), opened(tmp_path / "l"):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_damage_comes_out_in_words(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update answers set reply = x'00'")
    connection.close()
    with pytest.raises(LedgerFailed, match=r"ledger\.sqlite cannot be used"), opened(path) as store:
        found(store)
