"""What the doctor finds about the machine; it makes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthkd.config import LinearConfig, SftConfig, SourceConfig
from synthkd.doctor import machine
from synthkd.doctor.machine import disk, extras, gpu, ledger_file, size_text, source
from synthkd.doctor.report import Finding
from synthkd.ledger import Entry, place
from synthkd.ledger.sqlite import SqliteLedger


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def soundness(path: Path) -> Finding:
    return next(each for each in ledger_file(path) if each.check == "sound")


@pytest.fixture
async def ledger(tmp_path: Path) -> Path:
    """A ledger with some answers, closed."""
    path = tmp_path / "ledger.sqlite"
    opened = SqliteLedger(path)
    for number in range(300):
        await opened.store(
            Entry(
                key=f"{number:064x}",
                max_tokens=None,
                status=200,
                finish="stop",
                completion_tokens=1,
                reply=f"answer {number}".encode(),
            )
        )
    await opened.close()
    return path


# ------------------------------------------------------------------------------------ source


def test_rows_that_are_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nhello,a\n", encoding="utf-8")
    there = SourceConfig(csv="rows.csv", id=["text"])
    assert only(source(there, tmp_path)).grade == "fine"
    for changes, said in (
        ({"csv": "row.csv"}, "row.csv: no such file"),
        ({"id": ["txt"]}, "'txt'"),
    ):
        found = only(source(there.model_copy(update=changes), tmp_path))
        assert (found.grade, said in found.said) == ("mend", True), found.said


def test_a_dataset_on_the_hub_is_not_loaded(tmp_path: Path) -> None:
    assert only(source(SourceConfig(hf="some/where"), tmp_path)).grade == "note"


# ------------------------------------------------------------------------------------ disk


@pytest.mark.parametrize(
    ("free", "grade"), [(10**12, "fine"), (5 * 10**8, "warning"), (10**7, "mend")]
)
def test_room_on_the_disk(
    free: int, grade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    found = only(disk("results", tmp_path / "not" / "there"))
    assert found.grade == grade
    assert size_text(free) in found.said
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert only(disk("results", tmp_path / "file" / "out")).grade == "mend"
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = only(disk("results", tmp_path / "out"))
    assert (found.grade, "cannot be written" in found.said) == ("mend", True)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3 * 10**13, "30.0 TB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


# ------------------------------------------------------------------------------------ ledger


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = soundness(tmp_path / "deep" / "ledger.sqlite")
    assert (found.grade, "not there yet" in found.said) == ("fine", True)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_ledger(ledger: Path) -> None:
    before = ledger.read_bytes()
    found = soundness(ledger)
    assert found.grade == "fine"
    assert found.said.endswith("sound")
    assert ledger.read_bytes() == before


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    (tmp_path / "l").touch()
    assert soundness(tmp_path / "l").grade == "fine"


def test_a_damaged_ledger(ledger: Path) -> None:
    content = bytearray(ledger.read_bytes())
    content[4096 : len(content) - 4096] = b"\xff" * (len(content) - 8192)
    ledger.write_bytes(content)
    found = soundness(ledger)
    assert found.grade == "mend"
    assert "restore it from a copy" in found.said


def test_what_is_no_ledger(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database at all, but long enough for a header\n" * 40, encoding="utf-8")
    assert soundness(text).grade == "mend"
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("create table t (x)")
    connection.close()
    assert "is no synthkd ledger" in soundness(other).said


def test_a_ledger_of_a_newer_version(ledger: Path) -> None:
    connection = sqlite3.connect(ledger)
    connection.execute("pragma user_version = 999")
    connection.close()
    found = soundness(ledger)
    assert (found.grade, "has version 999" in found.said) == ("mend", True)


def test_a_large_ledger_is_not_read_through(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CHECKED_LEDGER", 100)
    assert soundness(ledger).grade == "note"


def test_a_network_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text("dev / ext4 rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(place, "MOUNTS", table)
    assert [found.said for found in ledger_file(tmp_path / "l") if found.check == "filesystem"] == [
        "ext4"
    ]
    table.write_text("host:/x / nfs4 rw 0 0\n", encoding="utf-8")
    found = next(ledger_file(tmp_path / "l"))
    assert (found.grade, "network filesystem" in found.said) == ("mend", True)


# ------------------------------------------------------------------------------------ the rest


def write_program(folder: Path, text: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)


def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = only(gpu())
    assert (found.grade, found.said.startswith("none")) == ("note", True)
    write_program(tmp_path, "echo 'Some GPU, 81559 MiB, 560.1'")
    assert only(gpu()).said == "Some GPU, 81559 MiB, 560.1"
    write_program(tmp_path, "exit 9")
    assert only(gpu()).grade == "warning"
    monkeypatch.setattr(machine, "GPU_ANSWERS_S", 0.1)
    write_program(tmp_path, "exec /bin/sleep 30")
    assert subprocess.TimeoutExpired.__name__ in only(gpu()).said


def test_an_extra_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "EXTRAS", {"fast": ("no_such_module", "speed")})
    found = only(extras())
    assert found.grade == "note"
    assert "pip install 'synthkd[fast]'" in found.said
    monkeypatch.setattr(machine, "EXTRAS", {"test": ("pytest", "tests")})
    assert only(extras()).said == f"pytest {pytest.__version__}"


def test_what_the_training_of_a_student_lacks_is_to_mend(tmp_path: Path) -> None:
    linear = LinearConfig(kind="linear", text="t", label="l")
    assert list(machine.student(None, tmp_path)) == []
    assert only(machine.student(linear, tmp_path)).grade == "fine"
    sft = SftConfig(kind="sft", prompt="t", completion="l", base="nowhere")
    found = only(machine.student(sft, tmp_path))
    assert (found.about, found.grade) == ("student", "mend")
    assert "student.base: nowhere is no folder" in found.said
