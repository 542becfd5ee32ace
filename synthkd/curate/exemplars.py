"""`exemplars`: worked examples out of a file of your own, for the prompt of a later step.

    - use: exemplars
      with: {jsonl: worked.jsonl, field: question, count: 4}
    - use: rationale
      with: {teacher: main, prompt: rationale/few_shot}

Which ones is a matter of the row: those whose text is nearest to its own, the nearest last, or the
same for all. What `source.holdout` sets aside is never among them, and a row never sees itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.others import OtherData
from synthkd.curate.texts import text_or_none, text_or_reject
from synthkd.curate.tfidf import TfidfSettings
from synthkd.errors import RowError, UserError
from synthkd.io.sources import side_of
from synthkd.io.spool import Table
from synthkd.rows import Fields, Row
from synthkd.steps import TableKit, table_step
from synthkd.text import normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PRODUCTS_AT_ONCE = 2**22
"""Cosines that are in memory at once: 16 MB."""
MOST = 20_000
"""Records of the file: more are a dataset to distil, not a handful of worked examples."""


class ExemplarsConfig(OtherData):
    """Where the examples are, how many a row gets, and which."""

    count: Annotated[int, Field(ge=1, le=100)] = 4
    """Examples in one prompt; fewer where there are no more."""
    pick: Literal["nearest", "fixed"] = "nearest"
    """nearest: those whose text is most like the row's; fixed: the first of the file."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors of `nearest`; TF-IDF is fitted on rows and examples together."""
    keep: list[str] | None = None
    """Fields of an example that the prompt gets; by default all."""
    into: str = "exemplars"
    """The field for them: a list of objects."""

    def faults(self, folder: Path) -> Iterator[str]:
        """Look at the file."""
        yield from self.faults_at("exemplars", folder)


class Exemplar(NamedTuple):
    """A worked example."""

    text: str
    fields: Fields


@table_step(
    "exemplars",
    needs=lambda config: config.all_fields,
    gives=lambda config: [config.into],
)
def exemplars(table: Table, kit: TableKit, config: ExemplarsConfig, /) -> Iterator[Row]:
    """Give each row its worked examples: a list of records of the file.

    The same in every run. Examples on a held-out side of `source.holdout` are left out and counted,
    as are records without text and those that say what another says; of a row, the example that is
    the row itself. Rejects `no_exemplar` and rows without text (`missing_field`, `no_text`); a row
    whose vector cannot be had fails. Memory: the file, and the vectors of its examples.
    """
    shown = _read(kit, config)
    books = _Books()
    order = _nearest(table, kit, config, shown) if config.pick == "nearest" else None
    for place, row in enumerate(table):
        text = text_or_reject(row, config.all_fields, kit)
        if text is None:
            continue
        try:
            ranked = range(len(shown)) if order is None else order.of(place)
        except RowError as error:
            kit.fail(row, error)
            continue
        own = normalised(text)
        others = [one for one in ranked if normalised(shown[one].text) != own]
        books.rows += 1
        books.own += len(others) < len(ranked)
        chosen = others[: config.count]
        if not chosen:
            kit.reject(row, "no_exemplar", f"the only one in {config.called} is the row itself")
            continue
        if order is not None:
            chosen.reverse()  # the nearest stands next to the question
        made_by = () if order is None else order.made_by(place)
        given = [shown[one].fields for one in chosen]
        yield row.with_fields(**{config.into: given}).with_made_by(*made_by)
    kit.note({"rows": books.rows, "rows that are an exemplar": books.own})


@dataclass
class _Books:
    rows: int = 0
    own: int = 0


def _read(kit: TableKit, config: ExemplarsConfig) -> list[Exemplar]:
    """The examples that may be shown, in the order of the file.

    Raises:
        UserError: none may, there are too many, or whether one is held out cannot be told.
    """
    shown: list[Exemplar] = []
    seen: set[str] = set()
    left_out = {"without text": 0, "held out": 0, "said before": 0}
    for number, fields in config.records(kit.desk.folder):
        text = text_or_none(fields, config.all_fields)
        if text is None or not text.strip():
            left_out["without text"] += 1
        elif _is_held_out(kit, config, number, fields):
            left_out["held out"] += 1
        elif normalised(text) in seen:
            left_out["said before"] += 1
        else:
            seen.add(normalised(text))
            shown.append(Exemplar(text, _kept(config, number, fields)))
        if len(shown) > MOST:
            raise UserError(f"{config.called}: has more than {MOST:,} exemplars: make it shorter")
    kit.note({"exemplars": len(shown), **{f"left out: {why}": n for why, n in left_out.items()}})
    if not shown:
        told = ", ".join(f"{n} {why}" for why, n in left_out.items() if n)
        raise UserError(f"{config.called}: no exemplar is left to show: {told or 'it is empty'}")
    return shown


def _is_held_out(kit: TableKit, config: ExemplarsConfig, number: int, fields: Fields) -> bool:
    holdout = kit.desk.holdout
    if holdout is None:
        return False
    missing = [name for name in holdout.by if name not in fields]
    if missing:
        raise UserError(
            f"{config.called}: record {number} has no field {missing[0]!r}, by which source.holdout"
            " sets rows aside, so that nobody can tell whether it is one of them: name its fields"
            " as the source does"
        )
    return side_of([fields[name] for name in holdout.by], holdout) != "train"


def _kept(config: ExemplarsConfig, number: int, fields: Fields) -> Fields:
    if config.keep is None:
        return fields
    missing = [name for name in config.keep if name not in fields]
    if missing:
        raise UserError(f"{config.called}: record {number} has no field {missing[0]!r} to keep")
    return {name: fields[name] for name in config.keep}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """For each row its examples, the nearest first; of equals the first of the file."""

    ranked: NDArray[np.int32]
    """(n, most) places."""
    errors: dict[int, RowError] = field(default_factory=dict)
    keys: Sequence[tuple[str, ...]] = ()

    def of(self, place: int) -> list[int]:
        if place in self.errors:
            raise self.errors[place]
        return [int(one) for one in self.ranked[place]]

    def made_by(self, place: int) -> tuple[str, ...]:
        return self.keys[place] if self.keys else ()


class _Texts:
    """The rows' texts, and then those of the examples."""

    def __init__(self, table: Table, config: ExemplarsConfig, shown: Sequence[Exemplar]) -> None:
        self._table, self._config, self._shown = table, config, shown

    def __len__(self) -> int:
        return len(self._table) + len(self._shown)

    def __iter__(self) -> Iterator[str]:
        names = self._config.all_fields
        rows = (text_or_none(row.fields, names) or "" for row in self._table)
        return chain(rows, (one.text for one in self._shown))


def _nearest(
    table: Table, kit: TableKit, config: ExemplarsConfig, shown: Sequence[Exemplar]
) -> _Order:
    import numpy as np

    texts = _Texts(table, config, shown)
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    n = len(table)
    for place in range(n, len(texts)):
        if place in vectors.errors:
            raise UserError(
                f"{config.called}: {shown[place - n].text!r:.80} has no vector:"
                f" {vectors.errors[place]}"
            )
    few = np.asarray(vectors.values[n:])
    most = min(config.count + 1, len(shown))  # one more than is shown: one may be the row itself
    ranked = np.zeros((n, most), dtype=np.int32)
    size = max(1, PRODUCTS_AT_ONCE // len(few))
    for start in range(0, n, size):
        here = slice(start, min(start + size, n))
        products = np.round(np.asarray(vectors.values[here]) @ few.T, 6)
        ranked[here] = np.argsort(-products, axis=1, kind="stable")[:, :most]
    return _Order(
        ranked=ranked,
        errors={place: error for place, error in vectors.errors.items() if place < n},
        keys=[] if vectors.keys is None else [vectors.made_by(place) for place in range(n)],
    )
