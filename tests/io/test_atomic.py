from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthkd.errors import DiskFailed
from synthkd.io.atomic import atomic_file


def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from synthkd.io.atomic import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, path], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["a.json.tmp"]
    with atomic_file(path) as file:
        file.write(b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"whole")]


def test_a_full_disk_says_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(DiskFailed, match=r"cannot write .*a\.json: No space left on device; free"),
        atomic_file(tmp_path / "a.json") as file,
    ):
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_folder_says_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(DiskFailed, match=r"cannot write .*file/a\.json: .*\(--out\)"),
        atomic_file(tmp_path / "file" / "a.json"),
    ):
        pytest.fail("there is no such folder")


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"  # as of /dev/null, which whoever may write there would lose
    os.mkfifo(pipe)
    with pytest.raises(DiskFailed, match="no ordinary file"), atomic_file(pipe):
        pytest.fail("it is no file")
    assert pipe.is_fifo()
