"""Where a ledger may lie, and who may read it.

Write-ahead logging keeps an index in memory that all processes share, so all of them must be on one
machine and the file on a disk of that machine. On a network filesystem it seems to work until two
machines write at once and the file is damaged. So it is refused, where the system says what is
mounted (Linux); elsewhere nothing is known, and nothing is refused.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from synthkd.errors import UserError

MOUNTS = Path("/proc/self/mounts")

# Without 9p and virtiofs: containers and virtual machines use them for disks of their own host.
NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "davfs", "davfs2"),
    *("ceph", "lustre", "gpfs", "beegfs", "glusterfs", "orangefs", "ocfs2", "gfs2", "juicefs"),
    *("sshfs", "curlftpfs", "smbnetfs", "ceph-fuse", "rclone"),
    *("s3fs", "goofys", "mount-s3", "gcsfuse", "blobfuse", "blobfuse2"),
}
"""Kinds of filesystems that lie on another machine; those in user space are `fuse.KIND`."""


def make_private(path: Path) -> None:
    """Make the file and its folder when missing; only its owner may read it.

    The files that SQLite puts beside it (-wal, -shm) get the same mode.

    Raises:
        UserError: on a network filesystem, or not permitted.
    """
    refuse_network(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        for file in beside(path):
            _narrow(file)
    except OSError as error:
        raise UserError(
            f"the ledger {path} cannot be opened: {error.strerror}. "
            f"Name another file with --ledger, or mend its permissions."
        ) from error


def beside(path: Path) -> list[Path]:
    """The ledger and what SQLite puts beside it."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]


def _narrow(file: Path) -> None:
    """Take from others what they may do with a file of ours: a copy, say, made with any umask."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
        file.chmod(0o600)


def refuse_network(path: Path) -> None:
    """Refuse a file on a network filesystem.

    Raises:
        UserError: with what is mounted where, and the way out.
    """
    mount, kind = filesystem_of(path)
    if kind.removeprefix("fuse.") in NETWORK:
        raise UserError(
            f"the ledger {path} would lie on a network filesystem ({kind} at {mount}), where "
            f"SQLite's write-ahead log does not work and the file can be damaged: keep it on a "
            f"disk of this machine with --ledger FILE; results (--out) may stay where they are"
        )


def filesystem_of(path: Path) -> tuple[str, str]:
    """The mount point under which the path lies, and the kind; both empty where nobody says."""
    try:
        table = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "", ""  # a system that does not say; see the module's docstring
    return mounted_at(Path(os.path.realpath(path)), table)


def mounted_at(path: Path, table: str) -> tuple[str, str]:
    """The mount point under which the path lies, and the kind of filesystem there.

    Args:
        path: absolute, without links; it need not exist.
        table: in the form of /proc/self/mounts.

    Returns:
        Both empty when the table says nothing about the path.
    """
    mount = kind = ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        # What is mounted later lies on top, so of equal ones the last counts.
        if len(point) >= len(mount) and path.is_relative_to(point):
            mount, kind = point, fields[2]
    return mount, kind
