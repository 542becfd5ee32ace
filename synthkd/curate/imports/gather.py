"""`import.gather`: records about one question become one row with all of their candidates.

Many dumps have a record for each reply: several to a question, one after another or scattered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from synthkd.io.spool import Table
from synthkd.rows import Json, Row, canonical, merged_roots
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import normalised


class GatherConfig(StepSettings):
    """Which rows belong together."""

    by: Annotated[list[str], Field(min_length=1)]
    """The fields that say so, such as [question]: case and white space make no difference."""
    candidates: str = "candidates"
    """The field with the candidates; those of a group stand one behind the other, numbered anew by
    teacher. The other fields are those of the group's first row."""


@table_step("import.gather", needs=lambda config: [*config.by, config.candidates])
def gather(table: Table, kit: TableKit, config: GatherConfig, /) -> Iterator[Row]:
    """One row of each group, with the candidates of all; the others are merged into it.

    Rejects `missing_field`, `no_candidate`. Memory: some 130 bytes a question, and the rows of
    groups that are begun and not complete: few where the replies to a question are side by side.
    """
    waiting: dict[bytes, list[Row]] = {}
    left = Counter(key for row in table if (key := _key(row, config)) is not None)
    for row in table:
        key = _key(row, config)
        if key is None:
            absent = next(name for name in config.by if name not in row.fields)
            kit.reject(row, "missing_field", f"the row has no field {absent!r}")
            continue
        left[key] -= 1
        if not isinstance(row.fields.get(config.candidates), list | tuple):
            value = row.fields.get(config.candidates)
            kit.reject(
                row, "no_candidate", f"{config.candidates} must be a list, got {value!r:.80}"
            )
        else:
            waiting.setdefault(key, []).append(row)
        if not left[key] and (group := waiting.pop(key, None)):
            for other in group[1:]:
                kit.merge(other)
            yield _united(group, config.candidates)


def _united(group: Sequence[Row], field: str) -> Row:
    first, count, pool = group[0], Counter[Json](), list[Json]()
    for row in group:
        for one in row.fields[field]:  # type: ignore[union-attr]  # it is a list
            if isinstance(one, dict):
                teacher = str(one.get("teacher"))
                one = {**one, "sample": count[teacher]}
                count[teacher] += 1
            pool.append(one)
    made_by = tuple(dict.fromkeys(key for row in group for key in row.made_by))
    united = first.with_fields(**{field: pool})
    return united._replace(roots=merged_roots(group), made_by=made_by)


def _key(row: Row, config: GatherConfig) -> bytes | None:
    """What the rows of a group have in common; None = a field is missing."""
    if any(name not in row.fields for name in config.by):
        return None
    values = [row.fields[name] for name in config.by]
    compared = [normalised(value) if isinstance(value, str) else value for value in values]
    return hashlib.blake2b(canonical(compared), digest_size=16).digest()
