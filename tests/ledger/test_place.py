from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthkd.errors import UserError
from synthkd.ledger.place import NETWORK, mounted_at
from synthkd.ledger.sqlite import SqliteLedger

ROOT = Path(__file__).parents[2]
TABLE = r"""
/dev/sda1 / ext4 rw 0 0
tmpfs /home/me/tmp tmpfs rw 0 0
server:/export /home nfs4 rw 0 0
me@host:/data /mnt/far\040away fuse.sshfs rw 0 0
/dev/sdb1 /home/me ext4 rw 0 0
//box/share /mnt/share cifs rw 0 0
/dev/sdc1 /mnt/share ext4 rw 0 0
""".strip()


@pytest.mark.parametrize(
    ("path", "mount", "kind"),
    [
        ("/var/l", "/", "ext4"),
        ("/home/you/l", "/home", "nfs4"),
        ("/home/me/l", "/home/me", "ext4"),
        ("/home/me/tmp/a/b/l", "/home/me/tmp", "tmpfs"),
        ("/homestead/l", "/", "ext4"),
        ("/mnt/far away/l", "/mnt/far away", "fuse.sshfs"),
        ("/mnt/share/l", "/mnt/share", "ext4"),
    ],
)
def test_where_a_path_lies(path: str, mount: str, kind: str) -> None:
    assert mounted_at(Path(path), TABLE) == (mount, kind)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.s3fs"])
def test_a_network_filesystem_is_refused_with_the_way_out(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nfar {tmp_path}/far {kind} rw 0 0\n")
    monkeypatch.setattr("synthkd.ledger.place.MOUNTS", table)
    (tmp_path / "link").symlink_to(tmp_path / "far")
    for folder in ("far", "link"):
        path = tmp_path / folder / "ledger.sqlite"
        with pytest.raises(UserError, match=rf"{kind} at .*/far\).*this machine with --led"):
            SqliteLedger(path)
    assert not (tmp_path / "far").exists(), "nothing was made there"


async def test_a_system_without_a_mount_table_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.ledger.place.MOUNTS", tmp_path / "none")
    ledger = SqliteLedger(tmp_path / "l")
    assert ledger.find("00" * 32) == []
    await ledger.close()


def test_local_kinds_are_not_on_the_list() -> None:
    assert not NETWORK & {"ext4", "xfs", "btrfs", "zfs", "apfs", "tmpfs", "overlay", "9p", "fuse"}


async def test_a_file_that_others_may_read_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.touch(mode=0o644)
    path.chmod(0o664)
    ledger = SqliteLedger(path)
    ledger.note_folder("r", "somewhere")
    await ledger.flush()
    modes = {file.name: file.stat().st_mode & 0o777 for file in os.scandir(tmp_path)}
    assert modes == {"l": 0o600, "l-wal": 0o600, "l-shm": 0o600}
    await ledger.close()


OPEN = """
import os, sys
from pathlib import Path
from synthkd.ledger.sqlite import SqliteLedger

if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
SqliteLedger(Path(sys.argv[1]))
"""


def open_as_somebody(path: Path) -> str:
    """What opening says to a user who may not write everywhere."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach; pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_is_read_only(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    said = open_as_somebody(open_folder / "ledger.sqlite")
    assert "UserError" in said
    assert "cannot be opened: Permission denied" in said
    assert "--ledger" in said
    assert not list(open_folder.iterdir())


def make_ledger(path: Path) -> None:
    async def make() -> None:
        await SqliteLedger(path).close()

    asyncio.run(make())


def test_a_ledger_in_a_folder_that_is_read_only(open_folder: Path) -> None:
    path = open_folder / "ledger.sqlite"
    make_ledger(path)
    path.chmod(0o666)
    open_folder.chmod(0o555)
    said = open_as_somebody(path)
    assert "UserError" in said
    assert f"{path.name}-wal and {path.name}-shm beside it" in said
    assert f"the folder {open_folder} and all three files must be writable by you" in said


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_a_file_beside_it_that_belongs_to_another(end: str, open_folder: Path) -> None:
    path = open_folder / "ledger.sqlite"
    make_ledger(path)
    path.chmod(0o666)
    open_folder.chmod(0o777)
    (open_folder / f"{path.name}{end}").touch(0o600)
    if os.geteuid() != 0:  # then it is ours, and only its mode can forbid it
        (open_folder / f"{path.name}{end}").chmod(0)
    said = open_as_somebody(path)
    assert "UserError" in said
    assert "all three files must be writable by you" in said
