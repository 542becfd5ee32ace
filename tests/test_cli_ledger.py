"""`synthkd ledger`: what each command prints, and its exit codes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from synthkd.cli import app
from synthkd.io.rows_file import open_rows
from synthkd.ledger import Cost
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import source_row
from tests.ledger.test_upkeep import pair


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["ledger", *arguments], input=answer)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The default ledger of the folder that the test runs in."""
    path = Path(".synthkd/ledger.sqlite")
    ledger = SqliteLedger(path)
    await ledger.open_run("r")
    ledger.note_folder("r", str(tmp_path / "out"))
    for number in range(5):
        await ledger.store(*pair(number, text="Ada Lovelace" if number == 3 else "fine"))
    await ledger.close()
    (tmp_path / "out" / "rows").mkdir(parents=True)
    made = source_row("s", [1], ordinal=0, fields={}).with_made_by(
        pair(3, text="Ada Lovelace")[0].key
    )
    with open_rows(tmp_path / "out" / "rows" / "rows.parquet") as add:
        add(made)
    return path


def test_stats(path: Path, tmp_path: Path) -> None:
    shown = run("stats")
    assert shown.exit_code == 0, shown.output
    assert ".synthkd/ledger.sqlite: 5 entries" in shown.output
    assert "m, http://x/v1" in shown.output
    assert str(tmp_path / "out") in shown.output
    counted = orjson.loads(run("stats", "--json").output)
    assert counted["teachers"][0]["entries"] == 5
    assert counted["runs"][0]["spent"]["requests"] == 0


async def test_what_nobody_priced_is_not_shown_as_nothing(path: Path) -> None:
    for nano_usd, shown in ((0, "not counted"), (2_500_000, "0.002500")):
        ledger = SqliteLedger(path)
        await ledger.hold("r", Cost(requests=1))
        ledger.settle("r", Cost(requests=1), Cost(requests=1, nano_usd=nano_usd))
        await ledger.close()
        assert shown in run("stats").output


def test_show(path: Path) -> None:
    entry = pair(2)[0]
    shown = run("show", entry.key[:9])
    assert shown.exit_code == 0, shown.output
    assert entry.key in shown.output
    assert '"number": 2' in shown.output
    assert orjson.loads(run("show", entry.key, "--json").output)["reply"] == entry.reply.decode()
    nothing = run("show", "0" * 30)
    assert (nothing.exit_code, "begins with 000" in nothing.output) == (2, True)
    assert run("show", "x").exit_code == 2


async def test_show_asks_for_more_digits(path: Path) -> None:
    ledger = SqliteLedger(path)
    keys = [f"{'abcdef0a' * 4}{number:032x}" for number in range(12)]
    for key in keys:
        await ledger.store(pair(0)[0]._replace(key=key))
    await ledger.close()
    shown = run("show", "abcdef0a")
    assert shown.exit_code == 2
    assert "give more digits" in shown.output
    assert [key in shown.output for key in keys] == [True] * 10 + [False] * 2
    assert "and more" in shown.output
    assert run("show", keys[3]).exit_code == 0


def test_export(path: Path) -> None:
    lines = [orjson.loads(line) for line in run("export").output.splitlines()]
    assert [orjson.loads(line["reply"])["number"] for line in lines] == [0, 1, 2, 3, 4]
    (one,) = run("export", "--where", "text=lovelace").output.splitlines()
    assert orjson.loads(one)["asked"]["number"] == 3


def test_verify(path: Path) -> None:
    sound = run("verify")
    assert (sound.exit_code, "is sound: 5 entries" in sound.output) == (0, True)
    with sqlite3.connect(path) as connection:
        connection.execute("update answers set reply = x'00' where id = 2")
    connection.close()
    faulty = run("verify")
    assert faulty.exit_code == 7
    assert "entry 2" in faulty.output
    assert "has 1 faults" in faulty.output


def test_prune(path: Path) -> None:
    assert run("prune").exit_code == 2
    nothing = run("prune", "--older-than", "90d")
    assert (nothing.exit_code, "pruning 0 entries" in nothing.output) == (0, True)
    dry = run("prune", "--where", "model=m", "--dry-run")
    assert (dry.exit_code, "would prune 5 entries" in dry.output) == (0, True)
    refused = run("prune", "--where", "model=m", answer="n\n")
    assert (refused.exit_code, "nothing was changed" in refused.output) == (2, True)
    assert "5 entries" in run("stats").output
    done = run("prune", "--where", "model=m", answer="y\n")
    assert (done.exit_code, "smaller" in done.output) == (0, True)
    assert "0 entries" in run("stats").output


def test_erase_names_the_datasets(path: Path, tmp_path: Path) -> None:
    assert run("erase").exit_code == 2
    dry = run("erase", "--where", "text=ada lovelace", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "would erase 1 entries" in dry.output
    assert f"{tmp_path / 'out'}: 1 rows" in dry.output
    assert b"Ada Lovelace" in path.read_bytes()
    done = run("erase", "--where", "text=ada lovelace", "--yes")
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'out'}: 1 rows" in done.output
    assert b"Ada Lovelace" not in path.read_bytes()
    again = run("erase", "--where", "text=ada lovelace", "--yes")
    assert "no dataset that is known" in again.output


def test_nobody_there_to_answer_changes_nothing(path: Path) -> None:
    for command in ("prune", "erase"):
        result = run(command, "--where", "model=m")
        assert result.exit_code == 2
        assert "nothing was changed; --yes answers beforehand" in result.output
    assert "5 entries" in run("stats").output


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    for command in (["stats"], ["export"], ["verify"], ["show", "ab"]):
        missing = run(*command, "--ledger", str(tmp_path / "none"))
        assert missing.exit_code == 2
        assert "there is no ledger at" in missing.output
