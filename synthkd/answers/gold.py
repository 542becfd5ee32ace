"""The right answer of a row, for whoever compares with it."""

from __future__ import annotations

from collections.abc import Sequence

from synthkd.answers.settings import AnswerSettings
from synthkd.answers.types import canonical
from synthkd.errors import MissingField, Rejected
from synthkd.rows import Fields


def gold_of(
    fields: Fields, field: str, config: AnswerSettings, choices: Sequence[str] | None
) -> str | None:
    """The right answer in canonical spelling; None = nobody knows it.

    Raises:
        MissingField: there is no such field.
        Rejected: `bad_gold`: what it holds is no answer of the type, so that nothing could be it.
    """
    if field not in fields:
        raise MissingField(f"the row has no field {field!r}, which `gold` names")
    value = fields[field]
    if value is None:
        return None
    gold = canonical(value, config, choices)
    if gold is None:
        raise Rejected(
            "bad_gold", f"{field} is {value!r:.200}, which is no {config.type_for(choices)}"
        )
    return gold
