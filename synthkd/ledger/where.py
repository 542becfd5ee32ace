"""Which entries a command means: `NAME=VALUE`, of which all must hold.

    key=PREFIX        digits that the key begins with
    model=NAME        the model that was asked for
    served_by=NAME    who answered, as `synthkd ledger stats` shows it
    status=NUMBER     200, or the 4xx of a stored refusal
    finish=WORD       how the answer ended: stop, length, ...
    before=WHEN       bought before a day (2026-11-24), or more than so long ago (90d, 12h)
    after=WHEN        bought since then
    text=WORDS        words in the question or the answer, in any case and spacing

Words are looked for in every string of the JSON, and in JSON that stands in a string.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import orjson

from synthkd.errors import UserError
from synthkd.text import normalised

AGES_S = {"d": 86_400, "h": 3_600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A condition on `answers`, joined with `teachers`, and the words to look for beyond it."""

    sql: str = "true"
    values: tuple[str | int | bytes, ...] = ()
    words: tuple[str, ...] = ()
    """In the form that `normalised` gives."""

    def says(self, *bodies: bytes | None) -> bool:
        """Whether each of the words is in one of the bodies."""
        found = [normalised(text) for body in bodies if body for text in texts_of(body)]
        return all(any(words in text for text in found) for words in self.words)


def parse_where(conditions: Iterable[str]) -> Where:
    """Read conditions as a person writes them.

    Raises:
        UserError: a name that there is not, or a value that it cannot have.
    """
    sql: list[str] = []
    values: list[str | int | bytes] = []
    words: list[str] = []
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals or name not in (*CONDITIONS, "text"):
            known = ", ".join([*CONDITIONS, "text"])
            raise UserError(
                f"--where {condition}: must be NAME=VALUE, where NAME is one of {known}"
            )
        if not value.strip():
            raise UserError(f"--where {condition}: has no value, and would mean every entry")
        if name == "text":
            words.append(normalised(value))
            continue
        clause, read = CONDITIONS[name]
        try:
            read_values = read(value)
        except ValueError as error:
            raise UserError(f"--where {condition}: {error}") from None
        sql.append(clause)
        values += read_values
    return Where(sql=" and ".join(sql) or "true", values=tuple(values), words=tuple(words))


def texts_of(body: bytes) -> Iterator[str]:
    """The body as it is, every string in its JSON, and every string in JSON in those."""
    yield body.decode("utf-8", "replace")
    left: list[object] = [body]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
            if value.lstrip()[:1] in {"{", "["}:
                left.append(value.encode())
        elif isinstance(value, bytes):
            with suppress(orjson.JSONDecodeError):
                left.append(orjson.loads(value))
        elif isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            left += value


def _key(value: str) -> list[str | int | bytes]:
    value = value.lower()
    if not re.fullmatch("[0-9a-f]{1,64}", value):
        raise ValueError("a key has up to 64 digits of 0-9 and a-f")
    first, last = (bytes.fromhex(value.ljust(64, fill)) for fill in "0f")
    return [first[:6], last[:6], first, last]


def _when(value: str) -> list[str | int | bytes]:
    if age := re.fullmatch(r"(\d+)([dh])", value):
        return [int(time.time()) - int(age[1]) * AGES_S[age[2]]]
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day, as 2026-11-24, or an age, as 90d or 12h") from None
    return [int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())]


def _text(value: str) -> list[str | int | bytes]:
    return [value]


def _number(value: str) -> list[str | int | bytes]:
    if not re.fullmatch("[0-9]{3}", value):
        raise ValueError("a status has three digits, as 200 or 400")
    return [int(value)]


# An answer without a time was bought before times were kept: it is older than any other.
CONDITIONS: Mapping[str, tuple[str, Callable[[str], list[str | int | bytes]]]] = MappingProxyType(
    {
        "key": ("substr(key, 1, 6) between ? and ? and key between ? and ?", _key),
        "model": ("model = ?", _text),
        "served_by": ("served_by = ?", _text),
        "status": ("status = ?", _number),
        "finish": ("finish = ?", _text),
        "before": ("coalesce(answers.created_s, 0) < ?", _when),
        "after": ("answers.created_s >= ?", _when),
    }
)
