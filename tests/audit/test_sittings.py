"""A sitting at a terminal, and what may go wrong in it: the labels up to there are kept."""

from __future__ import annotations

import errno
import os
import pty
import shlex
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from synthkd.audit.labels import Reviewer, Said, reviewers_of
from synthkd.audit.sample import Sample
from synthkd.cli.audit import edited_with, is_text
from synthkd.errors import DiskFailed, SourceError
from synthkd.pipeline import read_manifest
from tests.audit.audited import audit, finished, invoke
from tests.runs import DEADLINE_S, command

LATIN = "import sys; open(sys.argv[1], 'wb').write(b'\\xff')"


@pytest.mark.parametrize(
    "editor", ["/nowhere/ed", "ed 'x", "rm", f"{sys.executable} -c {shlex.quote(LATIN)}"]
)
def test_an_editor_that_gives_no_text_is_told_of(editor: str) -> None:
    with pytest.raises((OSError, ValueError)):
        edited_with(editor, "before")


def test_text_that_is_no_utf_8_is_none() -> None:
    assert not is_text("\udcff")
    assert is_text("ä")


def at_a_terminal(*keys: bytes) -> tuple[subprocess.Popen[bytes], int]:
    """An audit on a terminal of its own, after these keys; and our end of the terminal."""
    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens is its own, with Ctrl-C and all.
    shell = f"exec {shlex.join(command('audit', 'out'))} <$0 >$0 2>&1"
    process = subprocess.Popen(
        ["sh", "-c", shell, os.ttyname(theirs)],
        env={**os.environ, "EDITOR": "", "VISUAL": ""},
        start_new_session=True,
    )
    for key in keys:
        seen = b""
        while not seen.endswith((b"[q]uit ", b"nothing but a dot:\r\n")):
            seen += os.read(ours, 65536)
        if seen.endswith(b"[q]uit "):
            wait_until_raw(ours)
        os.write(ours, key)
    os.close(theirs)
    return process, ours


def rest_of(terminal: int) -> bytes:
    """What is printed until the process has ended."""
    seen = b""
    with suppress(OSError):  # so Linux says that nobody has the other end any more
        while more := os.read(terminal, 65536):
            seen += more
    os.close(terminal)
    return seen


def wait_until_raw(terminal: int) -> None:
    """Until single keys are read; what is typed before is thrown away."""
    while termios.tcgetattr(terminal)[3] & termios.ICANON:
        time.sleep(0.005)


def test_the_end_of_the_input_on_a_terminal_quits() -> None:
    out = finished()
    process, ours = at_a_terminal(b"y", b"\x04")
    assert b"reviewers: reviewer 1" in rest_of(ours)
    assert process.wait(DEADLINE_S) == 0
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.EDQUOT, "quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFailed, match=r"ann\.labels\.jsonl"):
        Reviewer(tmp_path, "ann").say("kept", "a", "good")


def test_a_disk_that_gets_full_ends_the_sitting(monkeypatch: pytest.MonkeyPatch) -> None:
    out = finished(12)
    sync, times = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(times) == 2:  # after audit.json and one label
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = invoke("audit", "out", keys="y\ny\n")
    assert result.exit_code == 7
    assert result.stderr.count("\n") == 2  # and how to go on
    assert "reviewer.labels.jsonl: No space left on device; all labels before" in result.stderr
    assert "good" in reviewers_of(out)["reviewer"].values()


def test_a_folder_that_cannot_be_written_to() -> None:
    out = finished(12)
    (out / "audit").write_text("in its way, which stops root too", encoding="utf-8")
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 7
    assert "cannot write out/audit/audit.json" in result.stderr


def test_labels_that_cannot_be_read() -> None:
    out = finished(12)
    audit(keys="y\n")
    (out / "audit" / "ann.labels.jsonl").mkdir()
    result = invoke("audit", "out", "--reviewer", "bob", keys="y\n")
    assert result.exit_code == 7
    assert "cannot use out/audit/ann.labels.jsonl" in result.stderr


def test_an_edit_without_its_end_is_none() -> None:
    out = finished(12)
    said = audit(keys="y\ne\nhalf of a te")
    assert "has ended before the dot" in said.output
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]
    assert not (out / "audit/reviewer.edits.jsonl").exists()


def test_a_card_that_is_gone() -> None:
    out = finished(12)
    (out / "dataset" / "README.md").unlink()
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert "the labels are kept" in result.stderr
    assert len(reviewers_of(out)["reviewer"]) == 1


@pytest.mark.parametrize("name", ["rows/rows.parquet", "rejected.parquet"])
def test_rows_that_the_manifest_does_not_tell_of_are_not_shown(name: str) -> None:
    out = finished(12)
    mine = (out / name).read_bytes()
    finished(24)
    (out / name).write_bytes(mine)
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert f"out/{name}: is not the file that manifest.json tells of" in result.stderr
    (out / name).unlink()
    assert f"out/{name}: cannot be read: No such file" in invoke("audit", "out").stderr


def test_rows_that_are_replaced_during_a_sitting() -> None:
    sample = Sample(finished(), read_manifest(Path("out")), 0)
    finished(60)
    with pytest.raises(SourceError, match="was run again meanwhile"):
        next(sample.kept_rows())


@pytest.mark.parametrize(
    ("keys", "closed", "labels"),
    [(b"y\n\xff\nn\n", "", ["good", "bad"]), (b"", " <&-", [])],
    ids=["bytes that are no text", "no input at all"],
)
def test_odd_inputs(keys: bytes, closed: str, labels: list[Said]) -> None:
    out = finished(12)
    shell = shlex.join(command("audit", "out")) + closed
    done = subprocess.run(["sh", "-c", shell], input=keys, capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [*reviewers_of(out).get("reviewer", {}).values()] == labels


def test_ctrl_c_in_mid_answer_keeps_the_labels() -> None:
    out = finished(12)
    process, ours = at_a_terminal(b"y", b"e", b"half of a te\x03")
    assert rest_of(ours).count(b"interrupted") == 1
    assert process.wait(DEADLINE_S) == 130
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]


def test_a_terminal_that_goes_away_keeps_the_labels() -> None:
    out = finished(12)
    process, ours = at_a_terminal(b"y", b"y")
    os.close(ours)
    process.wait(DEADLINE_S)
    assert set(reviewers_of(out)["reviewer"].values()) == {"good"}
