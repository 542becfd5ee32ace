"""Throws out rows that say the same as an earlier one.

Two texts are the same when they agree after NFKC (full-width forms, ligatures), case folding and
collapsing white space; with `ignore_punctuation` also without punctuation and symbols. The first by
order is kept: a copy that is longer only in spaces is no better.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from synthkd.curate.texts import FieldOrFields
from synthkd.io.spool import Table
from synthkd.rows import Json, Row, canonical
from synthkd.steps import TableKit, table_step
from synthkd.text import normalised, without_punctuation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGEST_BYTES = 16
"""With 10^9 rows, the chance that two different ones share 128 bits is below 10^-20."""

ABSENT = bytes(DIGEST_BYTES)
"""Stands for rows without the fields, which are nobody's duplicates: null is a value."""


class ExactConfig(FieldOrFields):
    """Which fields make two rows the same: all of them must agree."""

    ignore_punctuation: bool = False
    """Also drop punctuation and symbols before comparing. Off: 3.5 and 35 are not the same."""


@table_step("dedup.exact", needs=lambda config: config.all_fields)
def exact(table: Table, kit: TableKit, config: ExactConfig, /) -> Iterator[Row]:
    """The first of each group of rows that agree, after normalising, in the compared fields.

    Rejects the others (`exact_duplicate`, naming the row kept) and rows without the fields
    (`missing_field`). What an earlier round has kept comes before all of the table. Memory: a
    16-byte hash and its place a row, 115 bytes a row at the peak while they are sorted (measured),
    and the ids of kept rows that have duplicates; never a text.
    """
    keeper, is_shared = _keepers(table, config)
    n_earlier = len(keeper) - len(table)
    kept_ids: dict[int, str] = {}
    for index, row in enumerate(chain(table.earlier, table)):
        absent = [name for name in config.all_fields if name not in row.fields]
        first = int(keeper[index])
        if index < n_earlier:
            if is_shared[index] and first == index:
                kept_ids[index] = row.id
        elif absent:
            kit.reject(row, "missing_field", f"the row has no field {absent[0]!r}")
        elif first < index:
            kit.reject(row, "exact_duplicate", f"of row {kept_ids[first]}")
        else:
            if is_shared[index]:
                kept_ids[index] = row.id
            yield row


def _keepers(table: Table, config: ExactConfig) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each row the index of the first that agrees with it, and whether others agree.

    Rows of earlier rounds first, then the table's.
    """
    import numpy as np

    hashes = bytearray()
    for row in chain(table.earlier, table):
        if all(name in row.fields for name in config.all_fields):
            values = [row.fields[name] for name in config.all_fields]
            hashes += _digest(values, config.ignore_punctuation)
        else:
            hashes += ABSENT
    digests = np.frombuffer(hashes, dtype=f"S{DIGEST_BYTES}")
    _, first, group, size = np.unique(
        digests, return_index=True, return_inverse=True, return_counts=True
    )
    return first[group], size[group] > 1


def _digest(values: Sequence[Json], ignore_punctuation: bool) -> bytes:
    said = [_compared(v, ignore_punctuation) if isinstance(v, str) else v for v in values]
    return hashlib.blake2b(canonical(said), digest_size=DIGEST_BYTES).digest()


def _compared(text: str, ignore_punctuation: bool) -> str:
    # Normalised first: NFKC can make punctuation out of other characters.
    text = normalised(text)
    return normalised(without_punctuation(text)) if ignore_punctuation else text
