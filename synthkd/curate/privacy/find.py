"""Personal data in a text: spans, who finds them, and what becomes of those that overlap.

    >>> text = "Write to ana@example.com"
    >>> [(span.kind, text[span.start : span.end]) for span in find(text, [Emails()])]
    [('email', 'ana@example.com')]

A recogniser reads the text in plain signs (`flatten`) and yields spans of it; `find` maps them
back. **Overlaps**: spans that overlap become one, from the first start to the last end, of the kind
of the longest; of equally long ones the surer counts, then the one that the recognisers name first.
So nothing that anybody recognised stays uncovered. What an earlier masking wrote (`MASKED`) is no
personal data: spans that touch it are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from synthkd.curate.privacy.flat import flatten

MASKED = re.compile(
    r"<[A-Z][A-Z_]{1,30}_\d{1,9}>"  # placeholders
    r"|[\w.+-]{1,64}@[a-z0-9]{1,64}\.invalid(?![A-Za-z0-9]|[.-][A-Za-z0-9])"
    r"|https?://[a-z0-9]{1,64}\.invalid/[a-z0-9]{1,64}"
    r"|\+0-(?:[ ().\-/]{0,3}\d){6,15}|masked_[a-z0-9]{1,64}"
    r"|(?<![A-Za-z0-9])(?:000-[\d -]{9,13}|ZZ-[A-Z0-9 ]{9,13})"
)
"""Placeholders and pseudonyms, as `synthkd.curate.privacy.replace` writes them."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text that is personal data."""

    start: int
    end: int
    """Offsets in Unicode code points; the end is not part of it."""
    kind: str
    sure: bool = False
    """Whether check digits or a form that nothing else has say so."""
    value: str = ""
    """What it says, in one spelling: two spans of one kind with the same value are the same."""


class Recogniser(Protocol):
    """Whatever finds personal data."""

    def find(self, text: str) -> Iterator[Span]:
        """The spans in a text of plain signs, in any order; they may overlap."""
        ...


def find(text: str, recognisers: Iterable[Recogniser]) -> list[Span]:
    """The personal data in a text, in order; no two spans overlap."""
    flat = flatten(text)
    found = [span for recogniser in recognisers for span in recogniser.find(flat.text)]
    if not found:
        return []
    masked = [match.span() for match in MASKED.finditer(flat.text)]
    spans = []
    for span in merged(without(found, masked)):
        start, end = flat.back(span.start, span.end)
        spans.append(Span(start, end, span.kind, span.sure, span.value))
    return spans


def without(spans: Sequence[Span], places: Sequence[tuple[int, int]]) -> list[Span]:
    """The spans that touch none of the places, which are in order and do not overlap.

    A sure one that goes on behind the end of a place stays: what stands there is not known by its
    end, and a card behind a pseudonym's digits is no part of it.
    """
    if not places:
        return list(spans)
    kept, nth = [], 0
    for span in sorted(spans, key=lambda span: span.start):
        while nth < len(places) and places[nth][1] <= span.start:
            nth += 1
        if nth == len(places) or places[nth][0] >= span.end or _goes_on(span, places[nth]):
            kept.append(span)
    return kept


def _goes_on(span: Span, place: tuple[int, int]) -> bool:
    return span.sure and place[0] < span.start and place[1] < span.end


def merged(spans: Iterable[Span]) -> list[Span]:
    """One span for all that overlap, of the kind of the longest, then surest, then first."""
    groups: list[list[Span]] = []
    reach = 0
    for span in sorted(spans, key=lambda span: span.start):  # stable: recognisers keep their order
        if not groups or span.start >= reach:
            groups.append([])
        groups[-1].append(span)
        reach = max(reach, span.end)
    return [_one(group) for group in groups]


def _one(group: Sequence[Span]) -> Span:
    best = max(group, key=lambda span: (span.end - span.start, span.sure))
    start, end = group[0].start, max(span.end for span in group)
    if (start, end) == (best.start, best.end):
        return best
    # The pieces that stick out are part of the value, or two different spans would be called one.
    value = best.value + "".join(f"|{span.value}" for span in group if span is not best)
    return Span(start, end, best.kind, best.sure, value)
