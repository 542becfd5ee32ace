"""`privacy.memorised`: answers that say what a known set says, and may be recited from it.

    - use: privacy.memorised
      with:
        field: answer
        against: [{jsonl: public_sft.jsonl, field: response}]
        embed: {kind: sentence_transformers, model: ./all-MiniLM-L6-v2}

A row is compared with the nearest record of the given files. A cosine of 0.95 or more counts as
memorised, from 0.85 on a person should look: the thresholds of work on extracting alignment data
(arXiv 2510.18554), which found that measures on strings miss nine of ten such answers. They are for
encoders of sentences; with the default, TF-IDF, 0.95 means nearly the same words. What a teacher
recites belongs to whom it was taught from: such a set is reported on, or dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from synthkd.config import Share
from synthkd.curate.embed import EmbedSettings, TextColumn, embeddable, open_embedder
from synthkd.curate.nearest import nearest
from synthkd.curate.others import OtherData
from synthkd.curate.texts import FieldOrFields
from synthkd.curate.tfidf import TfidfSettings
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK = 50_000
"""Records whose vectors are in memory at once: 75 MB at 384 dimensions."""


class MemorisedConfig(FieldOrFields):
    """What is compared with what, and from where on it counts."""

    against: list[OtherData] = Field(min_length=1)
    """Files of known texts: public sets, or the seeds of this very pipeline."""
    embed: EmbedSettings = TfidfSettings()
    threshold: Share = 0.95
    """The cosine from which on a row counts as memorised: the paper's, see the module."""
    review: Share = 0.85
    """The cosine from which on rows are counted as worth a look: the paper's too."""
    action: Literal["flag", "drop"] = "flag"
    """flag: `into` says which record is nearest and how near; drop: the row is rejected."""
    into: str = "nearest_known"

    @model_validator(mode="after")
    def _in_order(self) -> MemorisedConfig:
        if self.review > self.threshold:
            raise ValueError(
                f"review {self.review:g} must not be above threshold {self.threshold:g}"
            )
        return self

    def faults(self, folder: Path) -> Iterable[str]:
        """See `StepSettings.faults`."""
        for place, other in enumerate(self.against):
            yield from other.faults_at(f"against[{place}]", folder)


@table_step(
    "privacy.memorised",
    needs=lambda config: config.all_fields,
    gives=lambda config: [config.into] if config.action == "flag" else [],
)
def memorised(table: Table, kit: TableKit, config: MemorisedConfig, /) -> Iterator[Row]:
    """Compares each row with the nearest record of known sets, by the cosine of their vectors.

    Flags rows, or with `drop` rejects the near ones (`memorised`, naming the record); rejects rows
    without text (`missing_field`, `no_text`). Figures: how many are memorised and how many worth a
    look. Memory: the vectors of 50,000 records, and 12 bytes a row.
    """
    known = _Known(config.against, kit.desk.folder)
    rows = TextColumn(table, config.all_fields)
    texts = _Both(rows, known)
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    place, cosine = nearest_of(vectors.values, len(rows))
    counts = {"known": len(known), "memorised": 0, "worth_a_look": 0}
    for index, row in embeddable(table, kit, config.all_fields, vectors):
        near = float(cosine[index])
        name, number = known.record(int(place[index])) if len(known) else ("", 0)
        counts["memorised"] += near >= config.threshold
        counts["worth_a_look"] += config.review <= near < config.threshold
        if config.action == "drop" and near >= config.threshold:
            detail = f"cosine {near:.3f} to record {number} of {name}"
            kit.reject(row, "memorised", f"{detail}, threshold is {config.threshold:g}")
            continue
        if config.action == "flag":
            # Blank texts have no direction, and nothing is near them.
            nearest_known: Json = (
                {"cosine": round(near, 4), "of": name, "record": number} if near > 0 else None
            )
            row = row.with_fields(**{config.into: nearest_known})
        yield row.with_made_by(*vectors.made_by(index))
    kit.note(dict(counts))


def nearest_of(values: Floats, n_rows: int) -> tuple[NDArray[np.int64], Floats]:
    """For each of the first rows, the nearest of the others, which stay on disk but for a block."""
    import numpy as np

    place = np.zeros(n_rows, dtype=np.int64)
    cosine = np.full(n_rows, -1, dtype=np.float32)
    for start in range(n_rows, len(values), BLOCK):
        there, near = nearest(values[:n_rows], np.array(values[start : start + BLOCK]))
        better = near > cosine
        place[better] = there[better] + (start - n_rows)
        cosine[better] = near[better]
    return place, cosine


class _Known:
    """The texts of all the files, one after the other."""

    def __init__(self, files: Sequence[OtherData], folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._ends = list(accumulate(sum(1 for _ in file.texts(folder)) for file in files))

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[str]:
        for file in self._files:
            for _, text in file.texts(self._folder):
                yield text or ""

    def record(self, place: int) -> tuple[str, int]:
        """The file that a place is in, and the record's number in it, from 1."""
        nth = bisect_right(self._ends, place)
        before = self._ends[nth - 1] if nth else 0
        return self._files[nth].called, place - before + 1


@dataclass(frozen=True, slots=True)
class _Both:
    """The rows' texts and then the known ones: a model that learns from texts sees both."""

    rows: TextColumn
    known: _Known

    def __len__(self) -> int:
        return len(self.rows) + len(self.known)

    def __iter__(self) -> Iterator[str]:
        yield from self.rows
        yield from self.known
