"""Vectors on disk by the hash of their text, so that no text is embedded twice by one model.

A store is a folder of segments. A segment is one file that holds two arrays in NumPy's own format:
the hashes of its texts and, behind them, their vectors, which are memory-mapped. Segments are
written whole under another name and renamed, never changed: a kill costs the segment that was being
made, and processes that write at once do not see each other's halves. Two of them may embed the
same text; then either vector serves.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthkd.errors import UserError
from synthkd.io.atomic import atomic_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Hashes = NDArray[np.bytes_]

HASH_BYTES = 16
"""Of 10^9 texts, the chance that two share 128 bits is below 10^-20."""
SEGMENT_TEXTS = 16_384
"""Texts a segment: what a kill costs at most; 16 MB at 256 dimensions."""
LEFT_OVER_S = 86_400
"""Age of a half-written file that nobody writes any more."""


def text_hashes(texts: Iterable[str]) -> Hashes:
    """(n,) the hash of each text, 16 bytes."""
    import numpy as np

    hashes = bytearray()
    for text in texts:
        told = text.encode("utf-8", "surrogatepass")
        hashes += hashlib.blake2b(told, digest_size=HASH_BYTES).digest()
    return np.frombuffer(bytes(hashes), dtype=f"S{HASH_BYTES}")


@dataclass(frozen=True, slots=True)
class _Segment:
    hashes: Hashes
    vectors: Floats


class VectorStore:
    """The vectors that one model has made, in a folder of their own.

    Memory: 24 bytes a stored text for the index; vectors stay on disk.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder; one that is not there is made by the first `add`.

        Raises:
            UserError: a segment is damaged.
        """
        self.folder = folder
        self.reload()

    def reload(self) -> None:
        """Look again at what is there, others' additions included."""
        import numpy as np

        self._segments = [_read(path) for path in sorted(self.folder.glob("*.vectors"))]
        empty = np.empty(0, dtype=f"S{HASH_BYTES}")
        hashes = np.concatenate([empty, *(segment.hashes for segment in self._segments)])
        sizes = [len(segment.hashes) for segment in self._segments]
        self._hashes, first = np.unique(hashes, return_index=True)
        self._segment_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[first]
        starts = np.cumsum([0, *sizes])[:-1]
        self._row_of = (first - starts[self._segment_of]).astype(np.int32) if sizes else first

    @property
    def dimensions(self) -> int | None:
        """Of the vectors; None = there are none yet."""
        return self._segments[0].vectors.shape[1] if self._segments else None

    def has(self, hashes: Hashes) -> NDArray[np.bool_]:
        """(n,) whether each text's vector is here."""
        return self._places(hashes)[1]

    def read(self, hashes: Hashes) -> Floats:
        """(n, dimensions) the vectors of these texts, all of which must be here."""
        import numpy as np

        places, found = self._places(hashes)
        if not found.all() or self.dimensions is None:
            raise KeyError(f"{int((~found).sum())} texts have no vector in {self.folder}")
        vectors = np.empty((len(hashes), self.dimensions), dtype=np.float32)
        segments, rows = self._segment_of[places], self._row_of[places]
        for index in np.unique(segments):
            here = segments == index
            vectors[here] = self._segments[index].vectors[rows[here]]
        return vectors

    def add(self, hashes: Hashes, vectors: Floats) -> None:
        """Write a segment; `reload` before reading from it.

        Raises:
            DiskFailed: the disk is full or the folder cannot be written to.
        """
        import numpy as np

        self._sweep()
        # Named by its content: who embeds the same texts again replaces it by itself.
        name = hashlib.sha256(hashes.tobytes()).hexdigest()[:32]
        part = self.folder / f"{uuid.uuid4().hex}.part"
        with atomic_file(part) as file:
            np.save(file, hashes, allow_pickle=False)
            np.save(file, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        part.replace(self.folder / f"{name}.vectors")

    def _places(self, hashes: Hashes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each would stand in the index, and whether it does."""
        import numpy as np

        if not len(self._hashes):
            return np.zeros(len(hashes), dtype=np.intp), np.zeros(len(hashes), dtype=np.bool_)
        places = np.searchsorted(self._hashes, hashes)
        places = np.minimum(places, len(self._hashes) - 1)
        return places, self._hashes[places] == hashes

    def _sweep(self) -> None:
        """Take away what killed processes have left half-written."""
        for pattern in ("*.part", "*.part.tmp"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):  # somebody else has swept it
                    if time.time() - path.stat().st_mtime > LEFT_OVER_S:
                        path.unlink()


def _read(path: Path) -> _Segment:
    import numpy as np

    try:
        with path.open("rb") as file:
            hashes = np.load(file, allow_pickle=False)
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"an array of version {version}")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        if path.stat().st_size != start + dtype.itemsize * shape[0] * shape[1]:
            raise ValueError("it is cut short")
        vectors = np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)
    except (ValueError, EOFError, IndexError) as error:
        raise UserError(
            f"{path}: is damaged ({error}): remove it, and its texts are embedded anew"
        ) from error
    return _Segment(hashes, vectors)
