"""Held-out rows among the rows that a student would learn from: its evaluation would be worthless.

A held-out text leaks when a row holds

* the same text, normalised as `source.holdout` does it: one is refused, for no split makes it;
* nearly the whole of it, MOST of its runs of 13 words: refused where more than FEW of the held-out
  rows leak so. Real sources hold such twins, and a few say nothing of a student (docs/log.md).

One shared run of 13 words, as in GPT-3 (Brown et al. 2020, appendix C), is too little to refuse:
texts of one source share premises and set phrases. Runs that stand in more than three held-out
texts count for nothing, and texts of fewer than 13 words leak only when they are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from synthkd.config import LearnerConfig
from synthkd.curate.ngrams import NgramIndex, Rules
from synthkd.errors import NothingToLearn
from synthkd.plan import Plan
from synthkd.rows import Json, Row
from synthkd.students.lesson import HeldOutRow
from synthkd.text import normalised

MOST = 0.95
"""One changed word breaks 13 runs: a longer text may differ in one."""
FEW = 0.01
RULES = Rules(any_words=None, share_words=13, share=MOST, least_words=13)
SAME = "the same text"
NOT_CHECKED = "not checked"
LEAKS = "leaks"
"""Under which a student's `made_from` says what was found."""
AT_ONCE = 1000
"""Rows looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A row that holds a held-out text."""

    row: str
    held_out: HeldOutRow
    how: str
    """In words; SAME where it is."""


def leaks_among(
    config: LearnerConfig, rows: Iterable[Row], held_out: Sequence[HeldOutRow]
) -> str | None:
    """What the card says of leaks; None = nothing was held out.

    Args:
        config: names the fields, and says whether leaks are allowed.
        rows: to learn from.
        held_out: of both sides.

    Raises:
        NothingToLearn: there are leaks, and the settings do not allow them.
    """
    found = sorted(leaks(config, rows, held_out), key=lambda leak: leak.how != SAME)
    if not held_out:
        return None
    if not found:
        return f"none of {len(held_out):,} held-out rows"
    same = sum(leak.how == SAME for leak in found)
    twins = len({leak.held_out.id for leak in found[same:]})
    figures = (
        f"{same:,} rows are the same as a held-out one; {twins:,} of {len(held_out):,} held-out"
        f" rows stand nearly whole in {len(found) - same:,} others"
    )
    if config.allow_leaks or (same == 0 and twins <= FEW * len(held_out)):
        return figures
    first = found[0]
    raise NothingToLearn(
        f"student: {figures}. Row {first.row} has {first.held_out.side} row {first.held_out.id},"
        f" {first.held_out.text!r:.80}: {first.how}. What is measured on such rows says nothing:"
        " drop them by the step `decontaminate`, or set student.allow_leaks: true, which the card"
        " will say"
    )


def leaks_told(about: Mapping[str, Any]) -> str | None:
    """What student.json says of leaks; None = they were not looked for."""
    told: str | None = about.get("made_from", {}).get(LEAKS)
    return told


def contamination_told(
    plan: Plan, figures: Mapping[str, Mapping[str, Json]], about: Mapping[str, Any]
) -> str:
    """What is known of held-out rows among those to learn from: which checks ran, what they found.

    Args:
        plan: of the run that made the rows.
        figures: what its steps noted.
        about: the content of student.json; empty = there is no student.
    """
    said = []
    for bound in plan.steps:
        if bound.step.name == "decontaminate":
            did = "flagged" if getattr(bound.config, "action", "") == "flag" else "dropped"
            found = figures.get(bound.label, {}).get("benchmarks")
            for name, of in found.items() if isinstance(found, dict) else ():
                if isinstance(of, dict):
                    said.append(
                        f"{bound.label}: {of['rows']} rows {did}, with {of['items_found']} of"
                        f" {of['items']} items of {name}"
                    )
    told = leaks_told(about)
    return "; ".join([*said, *([] if told is None else [told])]) or NOT_CHECKED


def leaks(
    config: LearnerConfig, rows: Iterable[Row], held_out: Sequence[HeldOutRow]
) -> Iterator[Leak]:
    """The rows that hold a held-out text, as `leaks_among` counts them."""
    if not held_out:
        return
    same = same_texts(config, held_out)
    index = NgramIndex([row.text for row in held_out], RULES)
    left = iter(rows)
    while some := list(islice(left, AT_ONCE)):
        judged = index.judge(["\n".join(_learnt_from(config, row)) for row in some])
        for row, match in zip(some, judged, strict=True):
            if (found := same(row)) is not None:
                yield Leak(row=row.id, held_out=found, how=SAME)
            elif match is not None:
                yield Leak(row=row.id, held_out=held_out[match.item], how=match.how)


def same_texts(
    config: LearnerConfig, held_out: Iterable[HeldOutRow]
) -> Callable[[Row], HeldOutRow | None]:
    """Tells of a row which held-out row has the same text; None = none has."""
    _, asked_with = config.asked_with
    same = {normalised(row.text): row for row in held_out}

    def twin(row: Row) -> HeldOutRow | None:
        seen = (normalised(text) for text in texts_in(row.fields.get(asked_with)))
        return next((same[text] for text in seen if text in same), None)

    return twin


def _learnt_from(config: LearnerConfig, row: Row) -> Iterator[str]:
    """All texts of a row that the student would see or learn."""
    for _, name in config.fields():
        yield from texts_in(row.fields.get(name))


def texts_in(value: Json) -> Iterator[str]:
    """A text, or those of a conversation."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for message in value:
            if isinstance(message, dict):
                yield from texts_in(message.get("content"))
