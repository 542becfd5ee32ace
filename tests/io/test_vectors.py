"""The store of vectors: whole segments or none, whoever is killed and whoever else writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.io.vectors import VectorStore, text_hashes

VECTOR = np.arange(4, dtype=np.float32)


def filled(folder: Path, *texts: str) -> VectorStore:
    store = VectorStore(folder)
    made = np.stack([VECTOR + len(text) for text in texts])
    store.add(text_hashes(texts), made)
    store.reload()
    return store


@given(st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True), max_size=5))
def test_what_was_added_is_found_whatever_the_segments(segments: list[list[str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = VectorStore(Path(folder))
        assert store.dimensions is None
        for texts in segments:
            store.add(text_hashes(texts), np.stack([VECTOR + len(text) for text in texts]))
        again = VectorStore(Path(folder))
        known = [text for texts in segments for text in texts]
        assert again.has(text_hashes(known)).all()
        assert not again.has(text_hashes(["none of them"])).any()
        if known:
            found = again.read(text_hashes(known))
            assert (found[:, 0] == [len(text) for text in known]).all()
            assert found.dtype == np.float32


def test_a_text_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    store = filled(tmp_path, "a")
    with pytest.raises(KeyError, match="1 texts have no vector"):
        store.read(text_hashes(["a", "b"]))


def test_lone_surrogates_are_texts_like_others() -> None:
    assert len(set(text_hashes(["\ud800", "\udfff", "?"]).tolist())) == 3


@pytest.mark.parametrize("keep", [0, 10, 140, -1])
def test_a_damaged_segment_is_named_with_the_way_out(tmp_path: Path, keep: int) -> None:
    filled(tmp_path, "a", "b")
    (segment,) = tmp_path.glob("*.vectors")
    segment.write_bytes(segment.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"is damaged .*: remove it"):
        VectorStore(tmp_path)


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.npy").rename(tmp_path / "x.vectors")
    with pytest.raises(UserError, match="is damaged"):
        VectorStore(tmp_path)


def test_what_the_killed_leave_is_swept_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "old.part.tmp", tmp_path / "new.part.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 10 * 86_400,) * 2)
    filled(tmp_path, "a")
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from synthkd.io.vectors import VectorStore, text_hashes
store = VectorStore(Path(sys.argv[1]))
for batch in range(10_000):
    texts = [f"{batch} {n}" for n in range(50)]
    store.add(text_hashes(texts), np.full((50, 64), batch, dtype=np.float32))
    print(batch, flush=True)
"""


def test_kill_9_and_a_second_writer_leave_whole_segments_only(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for kill_at in (3, 7, 12):
        pair = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        said = -1
        for line in pair[0].stdout or ():
            said = int(line)
            if said >= kill_at:
                break
        for process in pair:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        store = VectorStore(folder)
        texts = [f"{batch} {n}" for batch in range(said + 1) for n in range(50)]
        assert store.read(text_hashes(texts))[:, 0].tolist() == [
            float(text.split()[0]) for text in texts
        ]
