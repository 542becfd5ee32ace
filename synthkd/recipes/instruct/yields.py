"""The books of a generator: what was accepted, what was lost and why, what the rest will take."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from synthkd.errors import RowError
from synthkd.rows import Json
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.prices import nano_usd
from synthkd.teachers.request import Completion

ENOUGH = "enough"
"""Why a candidate was lost that came when all were accepted that were asked for."""
CARD_FULL = "card_full"
"""Why one was lost whose card had got its last row by one of the same wave."""
SPARE = frozenset({ENOUGH, CARD_FULL})
"""Nobody looked at these: they say nothing of how well a teacher writes."""


class Yield:
    """How a generator goes.

    Args:
        accept: how many rows are asked for.
        over: of how many candidates the yield of the last ones is told.
        teacher: who answers; None = nobody knows what it costs.
    """

    def __init__(self, accept: int, over: int, teacher: OpenTeacher | None) -> None:
        self._accept = accept
        self._teacher = teacher
        self._last: deque[bool] = deque(maxlen=over)
        self.accepted = 0
        self.lost: Counter[str] = Counter()
        self.questions = 0
        self.checks = 0
        self.waves = 0
        self._nano_usd = 0

    def asked(self, replies: Sequence[Completion | RowError]) -> None:
        """Note what answers cost, or did when they were bought."""
        teacher = self._teacher
        if teacher is None or teacher.price is None:
            return
        for reply in replies:
            if isinstance(reply, Completion):
                usage = reply.usage
                self._nano_usd += nano_usd(
                    teacher.price,
                    prompt_tokens=usage.prompt_tokens or 0,
                    completion_tokens=usage.completion_tokens or 0,
                    cached_prompt_tokens=usage.cached_prompt_tokens or 0,
                    batch=teacher.batch,
                )

    def wave(self, questions: int) -> None:
        """Note that a wave was answered."""
        self.waves += 1
        self.questions += questions

    def accept(self) -> None:
        """Note a candidate that was accepted."""
        self.accepted += 1
        self._last.append(True)

    def lose(self, reason: str) -> None:
        """Note one that was lost."""
        self.lost[reason] += 1
        if reason not in SPARE:
            self._last.append(False)

    @property
    def is_full(self) -> bool:
        """Whether all are accepted that are asked for."""
        return self.accepted >= self._accept

    def too_low(self, least: float) -> str | None:
        """In words, how the last candidates fell short of this share; None = they did not."""
        accepted, of = sum(self._last), len(self._last)
        if of < (self._last.maxlen or 0) or accepted >= least * of:
            return None
        return (
            f"yield too low: of the last {of} candidates {accepted} were accepted, and min_yield"
            f" is {least:g}"
        )

    @property
    def _of_last(self) -> float:
        return sum(self._last) / len(self._last) if self._last else 0.0

    @property
    def _candidates(self) -> int:
        return self.accepted + sum(self.lost[reason] for reason in self.lost if reason not in SPARE)

    @property
    def _questions_to_go(self) -> int | None:
        """At the yield of the last candidates; None = never."""
        if self.is_full:
            return 0
        if not self._of_last or not self.questions:
            return None
        a_question = self._of_last * self._candidates / self.questions
        return max(1, round((self._accept - self.accepted) / a_question))

    @property
    def _usd_to_go(self) -> float | None:
        """None = nobody knows, or never."""
        to_go = self._questions_to_go
        if to_go is None or not self._nano_usd:
            return None
        return self._nano_usd / self.questions * to_go / 1e9

    def figures(self) -> dict[str, Json]:
        """What it came to so far."""
        figures: dict[str, Json] = {
            "asked_for": self._accept,
            "accepted": self.accepted,
            "waves": self.waves,
            "questions": self.questions,
            "candidates": self._candidates,
            "yield": _ratio(self.accepted, self._candidates),
            "yield_of_last": round(self._of_last, 4),
            "accepted_per_question": _ratio(self.accepted, self.questions),
            "lost": dict(sorted(self.lost.items())),
            "questions_to_go": self._questions_to_go,
        }
        if self.checks:
            figures["checks"] = self.checks
        if self._nano_usd:
            usd = self._usd_to_go
            figures["usd_a_row"] = _ratio(self._nano_usd / 1e9, self.accepted, 6)
            figures["usd_to_go"] = None if usd is None else round(usd, 4)
        return figures

    def in_words(self) -> str:
        """How far it is, for displays."""
        left = self._left()
        return (
            f"{self.accepted:,} of {self._accept:,} accepted, yield {self._of_last:.0%},"
            f" {'no end in sight' if left is None else f'{left} to go'}"
        )

    def _left(self) -> str | None:
        """What the rest will take; None = it will never come."""
        to_go, usd = self._questions_to_go, self._usd_to_go
        if to_go is None:
            return None
        return f"about {to_go:,} questions{f' and {usd:,.2f} USD' if usd else ''}"

    def stopped(self, why: str, way: str) -> str:
        """The end before all were accepted: why, figures, and the ways out."""
        lost = ", ".join(f"{times:,} {reason}" for reason, times in self.lost.most_common(6))
        left = self._left()
        if self.accepted:
            way += f", or take what there is with accept: {self.accepted}, which asks nothing new"
        rest = "will never come" if left is None else f"takes {left}"
        return (
            f"{why}. Accepted {self.accepted:,} of {self._accept:,} rows from"
            f" {self.questions:,} questions in {self.waves:,} waves; lost: {lost or 'nothing'}; at"
            f" this yield the rest {rest}. What was paid for is kept: {way}"
        )


def _ratio(part: float, whole: float, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None
