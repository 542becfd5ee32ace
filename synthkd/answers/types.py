"""The canonical spelling of an answer of each type, and which answers are the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from synthkd.answers.arithmetic import value_of
from synthkd.answers.choices import choice_in, label_in, letter_in
from synthkd.answers.faults import NotRead, SeveralRead
from synthkd.answers.numbers import close, number_in, number_of, written
from synthkd.answers.series import parts_of
from synthkd.answers.settings import NUMERIC, AnswerSettings
from synthkd.rows import Json
from synthkd.text import answer_text, equivalent

LONGEST = 20_000
"""Characters of an answer: what is longer is a text that lacks its end."""

_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
"""What LaTeX puts around words."""
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_AROUND = f"{_SPACES}*`\"'"

Choices = Sequence[str] | None


def canonical(value: Json, config: AnswerSettings, choices: Choices = None) -> str | None:
    """The canonical spelling of a value that is an answer already: gold, say, or a field of a row.

    Args:
        value: a text or a number; of a set or a list, also a JSON list.
        config: its type.
        choices: the row's choices; by default the labels of `config`.

    Returns:
        None where it is no answer of the type: such gold cannot be compared with.
    """
    try:
        if isinstance(value, list | tuple) and config.type in ("set", "list"):
            return _series_of([*value], config, choices)
        text = _as_text(value, config, config.type)
        return None if text is None else spelt(text, config, choices, given=True)
    except NotRead:
        return None


def same(one: Json, other: Json, config: AnswerSettings, choices: Choices = None) -> bool:
    """Whether two answers are the same; what is no answer of the type is the same as nothing."""
    texts = canonical(one, config, choices), canonical(other, config, choices)
    return None not in texts and _equal(texts[0] or "", texts[1] or "", config, choices)


def grouped(
    answers: Sequence[Json], config: AnswerSettings, choices: Choices = None
) -> list[int | None]:
    """Which answers are the same: for each the number of its group, in order of appearance.

    Two numbers are in one group if each is as near to the group's first one as `tolerance` asks.
    None for what is no answer.
    """
    kind = config.type_for(choices if choices is not None else config.labels)
    groups: list[str] = []
    known: dict[str, int] = {}
    found: list[int | None] = []
    for answer in answers:
        text = canonical(answer, config, choices)
        if text is None:
            found.append(None)
            continue
        key = _key(kind, text)
        if key not in known:
            near = (i for i, first in enumerate(groups) if _equal(first, text, config, choices))
            known[key] = next(near, len(groups))
            if known[key] == len(groups):
                groups.append(text)
        found.append(known[key])
    return found


def spelt(words: str, config: AnswerSettings, choices: Choices, *, given: bool = False) -> str:
    """The canonical spelling of the answer in some words.

    Args:
        words: a line of a reply, or what is in a box.
        config: what type the answer has.
        choices: the row's choices; by default the labels of `config`.
        given: the words are an answer already, and not read out of a reply: a choice without a
            list of choices may then be any text.

    Raises:
        SeveralRead: the words are several answers.
        NotRead: they are none.
    """
    if len(words) > LONGEST:
        raise NotRead(f"{len(words)} characters are no answer: {words[:80]!r}...")
    listed = choices if choices is not None else config.labels
    kind = config.type_for(listed)
    if kind in ("set", "list"):
        return _series_of(parts_of(words, config), config, choices)
    return _spelt_as(kind, words, config, listed, given=given)


def _spelt_as(
    kind: str, words: str, config: AnswerSettings, listed: Choices, *, given: bool
) -> str:
    if kind not in NUMERIC and "\\" in words:
        words = _WRAPPED.sub(r"\1", words)
    words = words.strip()
    if kind == "number":
        return written(number_in(words, config), config.decimal)
    if kind == "equation":
        return written(value_of(words, config), config.decimal)
    if kind == "text":
        return _text(words)
    if listed is not None:
        return (choice_in if kind == "choice" else label_in)(words, listed)
    if not given:
        return letter_in(words)
    try:
        return letter_in(words)
    except SeveralRead:
        raise
    except NotRead:
        return _text(words)


def _as_text(value: Json, config: AnswerSettings, kind: str | None) -> str | None:
    """The text that stands for a value; a number of JSON is one in every spelling."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and kind in NUMERIC and math.isfinite(value):  # type: ignore[arg-type]
        return written(Fraction(str(value)), config.decimal)
    return answer_text(value)


def _text(words: str) -> str:
    text = words.lstrip(_AROUND).rstrip(_AROUND + ".") or words.strip()
    if not text:
        raise NotRead("nothing is said")
    return text


def _series_of(parts: Sequence[Json], config: AnswerSettings, choices: Choices) -> str:
    """The items as JSON; those of a set once each and in order."""
    item = config.model_copy(update={"type": config.items})
    texts = [_as_text(part, config, config.items) for part in parts]
    if None in texts:
        raise NotRead(f"an item that is no text and no number: {parts!r:.200}")
    listed = choices if choices is not None else config.labels
    spelt_items = [_spelt_as(config.items, text or "", item, listed, given=True) for text in texts]
    if config.type == "set":
        once = {_key(config.items, text): text for text in spelt_items}
        spelt_items = sorted(once.values(), key=_order(config))
    return json.dumps(spelt_items, ensure_ascii=False)


def _order(config: AnswerSettings) -> Callable[[str], Any]:
    if config.items not in NUMERIC:
        return equivalent
    return partial(number_of, decimal=config.decimal)


def _key(kind: str, text: str) -> str:
    """What canonical spellings that differ in nothing that counts have in common."""
    return equivalent(text) if kind in ("text", "choice", "label") else text


def _equal(one: str, other: str, config: AnswerSettings, choices: Choices) -> bool:
    """Whether two canonical spellings are the same answer."""
    kind = config.type_for(choices if choices is not None else config.labels)
    if kind not in ("set", "list"):
        return _equal_as(kind, one, other, config)
    ours, theirs = json.loads(one), json.loads(other)
    return len(ours) == len(theirs) and all(
        _equal_as(config.items, *pair, config) for pair in zip(ours, theirs, strict=True)
    )


def _equal_as(kind: str, one: str, other: str, config: AnswerSettings) -> bool:
    if one == other:
        return True
    if kind in NUMERIC:
        ours, theirs = number_of(one, config.decimal), number_of(other, config.decimal)
        return close(ours, theirs, config.tolerance)
    return equivalent(one) == equivalent(other)
