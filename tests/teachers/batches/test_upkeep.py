"""A ledger with an outbox: verified, erased from, pruned; the commands for batches."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.errors import LedgerFailed, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher
from synthkd.ledger.removal import alone, doom, doom_letters, remove
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.ledger.upkeep import opened, verify
from synthkd.ledger.where import parse_where
from tests.teachers.batches.driving import DELAY_S, Clock, pipeline, until_done


def faults(ledger: Path) -> list[str]:
    with opened(ledger) as store:
        return list(verify(store))


async def waiting(folder: Path, provider: FakeTeacher) -> Path:
    """A run with 27 questions under way; its ledger."""
    with pytest.raises(WaitingForBatch):
        await pipeline(folder, provider).run()
    return folder / "out.sqlite"


async def test_a_ledger_with_questions_under_way_is_sound_and_damage_is_found(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    ledger = await waiting(tmp_path, provider)
    assert faults(ledger) == []
    with sqlite3.connect(ledger) as connection:
        connection.execute("update outbox set key = zeroblob(32) where id = 1")
        connection.execute("update outbox set body = x'00' where id = 2")
        connection.execute("update outbox set batch = 'no such batch' where id = 3")
    connection.close()
    found = "\n".join(faults(ledger))
    assert "question 1 in the outbox, key 000000000000" in found
    assert "question 2 in the outbox" in found
    assert "batch no such batch: questions are in it" in found


@pytest.mark.parametrize(
    ("condition", "expected"), [("text=say 4 about it", 3), ("key=", 1), ("model=fake", 27)]
)
async def test_who_erases_a_subject_erases_what_is_under_way_too(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, condition: str, expected: int
) -> None:
    ledger = await waiting(tmp_path, provider)
    with sqlite3.connect(ledger) as connection:
        (key,) = connection.execute("select hex(key) from outbox where id = 5").fetchone()
    connection.close()
    where = parse_where([condition + key[:20] if condition == "key=" else condition])
    with alone(ledger) as store:
        doomed = doom_letters(store, where, doom(store, where))
        assert (doomed.entries, doomed.letters, doomed.under_way) == (0, expected, expected)
        remove(store)
    assert faults(ledger) == []
    if condition.startswith("text"):
        assert b"say 4 about it" not in ledger.read_bytes()
    # The provider may bill it, so what was held is spent; its answers are nobody's.
    manifest, _ = await until_done(pipeline(tmp_path, provider), clock)
    assert manifest.spend.requests == provider.billed_requests == 54 + expected


async def test_pruning_leaves_what_is_under_way(tmp_path: Path, provider: FakeTeacher) -> None:
    ledger = await waiting(tmp_path, provider)
    told = CliRunner().invoke(
        app, ["ledger", "prune", "--where", "model=fake", "--yes", "--ledger", str(ledger)]
    )
    assert told.exit_code == 0
    with sqlite3.connect(ledger) as connection:
        assert connection.execute("select count(*) from outbox").fetchone() == (27,)
    connection.close()


def invoke(*arguments: str | Path) -> tuple[int, str]:
    told = CliRunner().invoke(app, list(map(str, arguments)))
    return told.exit_code, told.output


async def started(folder: Path, provider: FakeTeacher) -> tuple[tuple[str, str], ...]:
    ledger = await waiting(folder, provider)
    return (("--out", str(folder / "out")), ("--ledger", str(ledger)))


def flat(options: tuple[tuple[str, str], ...]) -> list[str]:
    return [word for option in options for word in option]


def test_batches_are_listed_collected_and_given_up(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    options = flat(asyncio.run(started(tmp_path, provider)))
    file = tmp_path / "p.yaml"
    code, told = invoke("batch", "list", "--json", *options[2:])
    (one,) = json.loads(told)
    assert (code, one["questions"], one["open"], one["state"]) == (0, 27, 27, "sent")
    assert one["held_usd"] > 0
    code, told = invoke("batch", "list", *options[2:])
    assert one["id"][:12] in told
    code, told = invoke("batch", "collect", file, *options)
    assert (code, "0 of 1 batches are over" in told) == (6, True)
    code, told = invoke("batch", "cancel", file, "zzzz", *options)
    assert (code, "names 0 batches; under way: " + one["id"][:12] in told) == (2, True)
    assert invoke("batch", "cancel", file, *options)[0] == 2
    clock.now += DELAY_S / 2
    code, told = invoke("batch", "cancel", file, one["id"][:8], *options)
    assert (code, "the provider is cancelling it" in told) == (0, True)
    clock.now += DELAY_S
    code, told = invoke("batch", "collect", file, *options)
    assert (code, "1 of 1 batches are over" in told) == (0, True)
    half = provider.billed_requests
    assert 0 < half < 27
    # What it had answered is kept, the rest is asked online now.
    code, told = invoke("run", file, *options, "--set", "teachers.main.mode=online")
    assert code == 0, told
    assert provider.billed_requests == 54
    code, told = invoke("batch", "list", *options[2:])
    assert told == "no batches\n"
    assert "cancelled" in invoke("batch", "list", "--all", *options[2:])[1]
    code, told = invoke("show", tmp_path / "out")
    assert "27 questions wait" not in told


def test_all_of_a_run_is_given_up_and_what_the_provider_does_not_know_counts_as_paid(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    options = flat(asyncio.run(started(tmp_path, provider)))
    provider.batches.batches.clear()
    code, told = invoke("batch", "cancel", tmp_path / "p.yaml", "--all", *options)
    assert (code, "knows no such batch: what was held for it counts as paid" in told) == (0, True)
    code, told = invoke("batch", "cancel", tmp_path / "p.yaml", "--all", *options)
    assert (code, told.strip()) == (0, "this run has no batches under way")
    code, told = invoke("ledger", "stats", "--json", *options[2:])
    (run,) = json.loads(told)["runs"]
    assert run["spent"]["requests"] == 27
    shown = invoke("show", tmp_path / "out")[1]
    assert "waits (exit code 6)" in shown
    assert "12 wait for a batch" in shown


@pytest.mark.parametrize(
    "damage", ["drop table outbox", "drop table batches", "update outbox set body = x'00'"]
)
async def test_a_damaged_outbox_is_one_message(
    tmp_path: Path, provider: FakeTeacher, damage: str
) -> None:
    ledger = await waiting(tmp_path, provider)
    with sqlite3.connect(ledger) as connection:
        (batch,) = connection.execute("select id from batches").fetchone()
        connection.execute(damage)
    connection.close()
    store = SqliteLedger(ledger)

    async def read() -> None:
        assert len(store.outbox.batches()) == 1
        assert store.outbox.held(batch).requests == 27
        assert [letter async for letter in store.outbox.letters(batch)]

    try:
        with pytest.raises(LedgerFailed, match=r"the ledger .*out\.sqlite cannot be used"):
            await read()
    finally:
        await store.close()


def test_nobody_waits_for_batches_that_the_pipeline_cannot_ask_about(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    options = flat(asyncio.run(started(tmp_path, provider)))
    elsewhere = ("--set", "teachers.main.endpoint=http://127.0.0.1:9/v1")
    code, told = invoke("batch", "collect", tmp_path / "p.yaml", "--wait", *options, *elsewhere)
    assert (code, "0 of 1 batches are over" in told) == (6, True)
    assert "1 of them were sent where no teacher of batched is" in " ".join(told.split())
