"""Parts of a text with a label: as `[{start, end, label}, ...]`, and as BIO tags of tokens.

    tags = tags_of([Span(5, 11, "city")], offsets)      # ["O", "B-city", "I-city"]
    spans_in(tags, offsets, text)                       # [Span(5, 11, "city")]

BIO as in CoNLL-2003: B begins a span, I goes on with it, O is outside. Every sub-word has a tag.
Two spans that overlap cannot both be written so: the longer one stays, of equals the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from synthkd.errors import NothingToLearn
from synthkd.rows import Json, canonical

OUTSIDE = "O"
KEYS = {"start", "end", "label"}

Offsets = Sequence[tuple[int, int]]
"""Of each token: its first character in the text and the one after its last; (0, 0) = none."""


class Span(NamedTuple):
    """A part of a text; offsets in characters, `end` is the one after the last."""

    start: int
    end: int
    label: str


def read_spans(row_id: str, value: Json, text: str, field: str) -> list[Span]:
    """The spans that a row has in a field, in their order in the text.

    Args:
        row_id: for the message.
        value: a list of `{start, end, label}`, or that as JSON text.
        text: what they are parts of.
        field: for the message.

    Raises:
        NothingToLearn: it is no such list, or a span is not within the text.
    """
    told = f"student: row {row_id}, {field!r}"
    if isinstance(value, str):
        with suppress(orjson.JSONDecodeError):  # said below, with the value
            value = orjson.loads(value)
    if not isinstance(value, list):
        raise NothingToLearn(
            f"{told} has {value!r:.80}: spans are a list of {{start, end, label}}, [] where there"
            " are none; choose another field, or reject such rows by a step"
        )
    return sorted(_span(told, each, text) for each in value)


def _span(told: str, value: Any, text: str) -> Span:
    if not (
        isinstance(value, dict)
        and set(value) >= KEYS
        and type(value["start"]) is type(value["end"]) is int
        and isinstance(value["label"], str)
        and value["label"]
    ):
        raise NothingToLearn(f"{told}: {value!r:.80} is not {{start, end, label}}")
    span = Span(value["start"], value["end"], value["label"])
    if not 0 <= span.start < span.end <= len(text):
        raise NothingToLearn(
            f"{told}: the span {span.start} to {span.end} ({span.label!r}) is no part of the text,"
            f" which has {len(text)} characters; offsets count characters from 0, and `end` is the"
            " one after the last. Mend it, or reject such rows by a step"
        )
    return span


def apart(spans: Iterable[Span]) -> list[Span]:
    """The spans without those that overlap a longer one, or an equally long one before them."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)


def tags_of(spans: Sequence[Span], offsets: Offsets) -> list[str | None]:
    """The tag of each token: that of the first span it has a character of; None = no text's.

    Args:
        spans: apart from each other, in order.
        offsets: of the tokens, in order.
    """
    tags: list[str | None] = []
    open_span: Span | None = None
    for start, end in offsets:
        if start == end:
            tags.append(None)
            continue
        span = next((span for span in spans if span.start < end and start < span.end), None)
        if span is None:
            tags.append(OUTSIDE)
        else:
            tags.append(f"{'I' if span is open_span else 'B'}-{span.label}")
        open_span = span
    return tags


def spans_in(tags: Sequence[str | None], offsets: Offsets, text: str) -> list[Span]:
    """The spans that tags stand for, without white space at their ends.

    An I that goes on with nothing of its label begins a span, as B does.
    """
    found: list[Span] = []
    label: str | None = None
    for tag, (start, end) in zip(tags, offsets, strict=True):
        if start == end or tag is None:
            continue
        goes_on = tag[:2] == "I-" and tag[2:] == label
        label = None if tag == OUTSIDE else tag[2:]
        if goes_on:
            found[-1] = found[-1]._replace(end=end)
        elif label is not None:
            found.append(Span(start, end, label))
    return [trimmed for span in found if (trimmed := _trimmed(span, text)).start < trimmed.end]


def _trimmed(span: Span, text: str) -> Span:
    """Tokens of many tokenizers have the space before the word."""
    inside = text[span.start : span.end]
    start = span.start + len(inside) - len(inside.lstrip())
    return Span(start, start + len(inside.strip()), span.label)


def as_json(spans: Iterable[Span]) -> str:
    """The spans as JSON text, in one spelling."""
    return canonical([span._asdict() for span in sorted(spans)]).decode()


def agreement(said: Sequence[Sequence[Span]], gold: Sequence[Sequence[Span]]) -> dict[str, float]:
    """Accuracy and macro_f1 of the spans of texts.

    accuracy: share of the texts whose spans are all right, and no other is there. macro_f1: mean
    over the labels in gold of the F1 of spans; right is a span with both ends and the label right.
    """
    ours = {(place, *span) for place, spans in enumerate(said) for span in spans}
    right = {(place, *span) for place, spans in enumerate(gold) for span in spans}

    def by_label(spans: set[Any]) -> dict[str, set[Any]]:
        ordered = sorted(spans, key=lambda span: str(span[-1]))
        return {label: set(group) for label, group in groupby(ordered, key=lambda span: span[-1])}

    found = by_label(ours)
    f1 = [
        2 * len(spans & found.get(label, set())) / (len(spans) + len(found.get(label, ())))
        for label, spans in by_label(right).items()
    ]
    same = sum(set(one) == set(other) for one, other in zip(said, gold, strict=True))
    return {
        "accuracy": same / max(1, len(gold)),
        "macro_f1": sum(f1) / len(f1) if f1 else 0.0,
    }
