"""Vectors of texts, whoever makes them: one block of settings, one protocol.

    embed: {kind: tfidf}                              # the default: offline, nothing to install
    embed: {kind: model2vec, model: ./potion-base-8M}
    embed: {kind: sentence_transformers, model: sentence-transformers/all-MiniLM-L6-v2}
    embed: {kind: endpoint, teacher: embedder}        # a teacher of the pipeline; stored, budgeted

    texts = TextColumn(table, ["question"])
    embedder = open_embedder(config.embed, kit, fit_on=texts)
    vectors = embedder.vectors(texts)                 # (n, d) float32, unit length, on disk
    for index, row in embeddable(table, kit, texts.fields, vectors): ...

What a local model makes is kept in .synthkd/vectors/<hash of the model>/ by the hash of the text,
so that a second run computes nothing; what an endpoint makes is in the ledger. Memory: 16 to 64
bytes a text and one batch.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field

from synthkd.curate.encoders import (
    Model2Vec,
    Model2VecSettings,
    SentenceTransformers,
    SentenceTransformersSettings,
)
from synthkd.curate.texts import text_or_none, text_or_reject
from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.errors import DiskFailed, RowError, TeacherError, UserError, Waiting
from synthkd.io.spool import Table
from synthkd.io.vectors import SEGMENT_TEXTS, VectorStore, text_hashes
from synthkd.rows import Row
from synthkd.steps import StepSettings, TableKit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MAX_CHARS = 20_000
"""Of a text that are embedded: some pages, and about what encoders and endpoints take at most."""
ROWS = 8_192
"""Vectors that are in memory at once, as they are laid out: 8 MB at 256 dimensions."""
ASKED = 2_048
"""Texts that an endpoint is given at once: 16 requests of 128."""
FITTED = "fitted"
"""A file in the folder of a model that was fitted on one table; its age is that of the last use."""
UNUSED_DAYS = 30
"""After so long without use, the vectors of a model that was fitted on one table are removed."""


class EndpointSettings(StepSettings):
    """A teacher of the pipeline that makes vectors: stored in the ledger, under its budget."""

    kind: Literal["endpoint"]
    teacher: str


EmbedSettings = Annotated[
    TfidfSettings | Model2VecSettings | SentenceTransformersSettings | EndpointSettings,
    Field(discriminator="kind"),
]
"""What a step's `embed` may be; its default is `TfidfSettings()`."""


class Texts(Protocol):
    """Texts that can be read again."""

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...


class TextColumn:
    """The text of each row of a table: some fields, each on a line of its own."""

    def __init__(self, table: Table, fields: Sequence[str]) -> None:
        self._table = table
        self.fields = fields

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        for row in self._table:
            yield text_or_none(row.fields, self.fields) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """One vector for each text, in the order of the texts."""

    values: Floats
    """(n, dimensions) float32 on disk, each of unit length. Zeros where there is none: a blank
    text, one of which the model knows nothing, or an error."""
    errors: Mapping[int, RowError]
    """Place -> why that text has no vector."""
    keys: NDArray[np.uint8] | None = None
    """(n, 32) the ledger entries they are from; None = a local model made them."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_blank(self) -> NDArray[np.bool_]:
        """(n,) whether the vector is all zeros."""
        import numpy as np

        blank: NDArray[np.bool_] = np.empty(len(self.values), dtype=np.bool_)
        for start in range(0, len(blank), ROWS):
            blank[start : start + ROWS] = ~self.values[start : start + ROWS].any(axis=1)
        return blank

    def made_by(self, place: int) -> tuple[str, ...]:
        """The keys of the ledger entries behind a vector, for `row.with_made_by`."""
        if self.keys is None or not self.keys[place].any():
            return ()
        return (self.keys[place].tobytes().hex(),)


class Embedder(Protocol):
    """Makes vectors of texts."""

    def vectors(self, texts: Texts) -> Vectors:
        """One for each text; they stay on disk until the step is done."""
        ...


class Model(Protocol):
    """A local model."""

    fitted: bool
    """Whether it was fitted on one table, so that hardly any other has a use for it."""

    @property
    def identity(self) -> str:
        """Hash of all that decides a vector, in hexadecimal digits."""
        ...

    def compute(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions) vectors of any length; NaN where the model fails."""
        ...


def open_embedder(settings: EmbedSettings, kit: TableKit, *, fit_on: Texts) -> Embedder:
    """Who makes the vectors.

    Args:
        settings: the step's `embed`.
        kit: the step's, which is asked for endpoints and says where there is room on disk.
        fit_on: the texts that a model without knowledge of its own (TF-IDF) learns from.

    Raises:
        UserError: a library or a model is missing.
    """
    if isinstance(settings, EndpointSettings):
        return Endpoint(kit, settings.teacher)
    if isinstance(settings, TfidfSettings):
        return Local(kit, TfidfModel(settings, _Cut(fit_on)))
    if isinstance(settings, Model2VecSettings):
        return Local(kit, Model2Vec(settings))
    return Local(kit, SentenceTransformers(settings))


def unit_vectors(model: str | None, texts: Sequence[str]) -> Callable[[Sequence[str]], Floats]:
    """Makes vectors of a few texts, outside of any run: (n, d), of unit length or zero.

    Args:
        model: a model2vec folder, or its name on the hub; None = TF-IDF.
        texts: what TF-IDF is fitted on.

    Raises:
        UserError: a library or the model is missing.
    """
    import numpy as np

    made: Model = TfidfModel(TfidfSettings(), texts)
    if model is not None:
        made = Model2Vec(Model2VecSettings(kind="model2vec", model=model))

    def vectors(some: Sequence[str]) -> Floats:
        found = made.compute(some)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Floats = (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return unit

    return vectors


def embeddable(
    table: Table, kit: TableKit, fields: Sequence[str], vectors: Vectors
) -> Iterator[tuple[int, Row]]:
    """Each row with its place; rows without text are rejected, rows without a vector fail.

    Rejects `missing_field` and `no_text`.
    """
    for place, row in enumerate(table):
        if text_or_reject(row, fields, kit) is None:
            continue
        if place in vectors.errors:
            kit.fail(row, vectors.errors[place])
        else:
            yield place, row


class _Cut:
    """The texts as far as they are embedded."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return (text[:MAX_CHARS] for text in self._texts)


class Local:
    """A model on this machine; what it makes is kept, and made once."""

    def __init__(self, kit: TableKit, model: Model) -> None:
        self._kit = kit
        self._model = model
        self._store = VectorStore(kit.desk.vectors / model.identity[:32])
        if model.fitted:
            _forget_unused(kit.desk.vectors, self._store.folder)

    def vectors(self, texts: Texts) -> Vectors:
        """One for each text."""
        import numpy as np

        texts = _Cut(texts)
        hashes = text_hashes(texts)
        blank = np.fromiter((not text.strip() for text in texts), np.bool_, len(hashes))
        self._make_missing(texts, hashes, blank)
        dimensions = self._store.dimensions or 1
        values = _room(self._kit, len(hashes), dimensions)
        errors: dict[int, RowError] = {}
        for start in range(0, len(hashes), ROWS):
            here = slice(start, start + ROWS)
            wanted = ~blank[here]
            block = values[here]  # zeros, as the file is new
            if wanted.any():
                block[wanted] = self._store.read(hashes[here][wanted])
            for place in np.flatnonzero(~np.isfinite(block).all(axis=1)):
                errors[start + int(place)] = _not_finite()
                block[place] = 0
            _to_unit_length(block)
        return Vectors(values=_read_only(values), errors=errors)

    def _make_missing(
        self, texts: Texts, hashes: NDArray[np.bytes_], blank: NDArray[np.bool_]
    ) -> None:
        """Compute what the store lacks, each text once, and store it segment by segment."""
        import numpy as np

        _, first = np.unique(hashes, return_index=True)
        first = first[~blank[first]]
        missing = np.zeros(len(hashes), dtype=np.bool_)
        missing[first[~self._store.has(hashes[first])]] = True
        if not missing.any():
            return
        new = ((place, text) for place, text in enumerate(texts) if missing[place])
        while batch := list(islice(new, SEGMENT_TEXTS)):
            places = np.array([place for place, _ in batch])
            made = self._model.compute([text for _, text in batch])
            self._store.add(hashes[places], made)
        self._store.reload()


class Endpoint:
    """A teacher; what it makes is in the ledger."""

    def __init__(self, kit: TableKit, teacher: str) -> None:
        self._kit = kit
        self._teacher = teacher

    def vectors(self, texts: Texts) -> Vectors:
        """One for each text that is not blank."""
        import numpy as np

        errors: dict[int, RowError] = {}
        keys = np.zeros((len(texts), 32), dtype=np.uint8)
        values: Floats | None = None
        waiting: Waiting | None = None
        asked = ((place, text) for place, text in enumerate(_Cut(texts)) if text.strip())
        while batch := list(islice(asked, ASKED)):
            try:
                given = self._kit.embed([text for _, text in batch], teacher=self._teacher)
            except Waiting as error:  # the others shall get into that batch too
                waiting = error
                continue
            for (place, _), one in zip(batch, given, strict=True):
                if isinstance(one, TeacherError):
                    errors[place] = one
                    continue
                keys[place] = np.frombuffer(bytes.fromhex(one.key), dtype=np.uint8)
                vector = np.frombuffer(one.vector, dtype=np.float32)
                if values is None:
                    values = _room(self._kit, len(texts), len(vector))
                if len(vector) != values.shape[1]:
                    raise UserError(
                        f"teachers.{self._teacher} gives vectors of {values.shape[1]} and of"
                        f" {len(vector)} dimensions, which cannot be compared: is there more than"
                        " one model behind its name?"
                    )
                if not np.isfinite(vector).all():
                    errors[place] = _not_finite()
                    continue
                values[place] = vector
        if waiting is not None:
            raise waiting
        if values is None:
            values = _room(self._kit, len(texts), 1)
        return Vectors(values=_read_only(values), errors=errors, keys=keys)


def _not_finite() -> RowError:
    return RowError("the vector of this text is not finite: the model fails on it")


def _to_unit_length(block: Floats) -> None:
    import numpy as np

    lengths = np.linalg.norm(block, axis=1, keepdims=True)
    np.divide(block, lengths, out=block, where=lengths > 0)


def _room(kit: TableKit, n: int, dimensions: int) -> Floats:
    """(n, dimensions) zeros on disk, in a file that goes with the step."""
    import numpy as np

    if n == 0:
        return np.zeros((0, dimensions), dtype=np.float32)
    return mapped(kit.scratch_file("vectors"), n, dimensions)


def mapped(path: Path, n: int, dimensions: int) -> Floats:
    """(n, dimensions) zeros in a new file, with their room on disk taken.

    A file with holes would end the process (SIGBUS) once the disk is full and a hole is written to.

    Raises:
        DiskFailed: there is no such room.
    """
    import numpy as np

    room: Floats = np.memmap(path, dtype=np.float32, mode="w+", shape=(n, dimensions))
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, room.nbytes)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                    raise DiskFailed.of(error, path) from error
    return room


def _read_only(values: Floats) -> Floats:
    values.flags.writeable = False
    return values


def _forget_unused(folder: Path, mine: Path) -> None:
    """Note that this fitted model is used, and remove those that no run has used for long."""
    mine.mkdir(parents=True, exist_ok=True)
    mark = mine / FITTED
    mark.touch()
    oldest = time.time() - UNUSED_DAYS * 86_400
    for other in folder.glob(f"*/{FITTED}"):
        with suppress(OSError):  # another process has removed it
            if other.stat().st_mtime < oldest:
                shutil.rmtree(other.parent)
