"""Rounds: what the student of one round gets wrong on dev decides what the next round asks.

    round 0    source -> steps -> rows -> student -> dev
    round 1    source -> steps, which see `kit.feedback` -> rows -> student of all rows -> dev
    ...

The dataset is the union of all rounds by id: a row that is made again replaces the earlier one. The
student is that of the best round on dev. Resuming plays all rounds again: answers come from the
ledger, students are loaded from where they were trained, so nothing is bought or trained twice.

    DIR/rounds/R/rows.parquet     the rows that round R made
    DIR/rounds/R/student/         what was trained on the union so far
    DIR/rounds/R/feedback.json    what that student does on dev
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from synthkd.config import RoundsConfig
from synthkd.evaluate.classification import accuracy, macro_f1
from synthkd.evaluate.report import label_report
from synthkd.feedback import Example, Feedback
from synthkd.flow import in_thread
from synthkd.folder import RunFolder
from synthkd.io.rows_file import open_rows
from synthkd.io.spool import RowSpool
from synthkd.manifest import RoundRecord, StepCounts
from synthkd.rows import Json, Row
from synthkd.students.artefact import Student, confidences
from synthkd.students.lesson import HeldOutRow
from synthkd.text import same_answer
from synthkd.training import Train


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a round has of those before it; of the first one nothing."""

    round: int = 0
    """The round that begins."""
    feedback: Feedback | None = None
    """What the last student does on dev."""
    student: Path | None = None
    """The folder of the last student."""
    rows: Iterable[Row] = ()
    """All that were kept, in order; to be read as often as one likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a round's steps did."""

    funnel: Mapping[str, StepCounts]
    figures: Mapping[str, Mapping[str, Json]]


Ask = Callable[[Before, RowSpool], Awaitable[Books]]
"""Carries out a round; fills the spool and seals it."""


class Rounds:
    """The rounds of a run, one after the other.

    Args:
        config: how many, and when to stop.
        folder: of the run; students lie in `folder.rounds` until they are staged.
        ask: carries out one round.
        train: trains one student.
        dev: the dev rows that have gold, at least one.
    """

    def __init__(
        self,
        config: RoundsConfig,
        folder: RunFolder,
        ask: Ask,
        train: Train,
        dev: Sequence[HeldOutRow],
    ) -> None:
        self.records: list[RoundRecord] = []
        self._config = config
        self._folder = folder
        self._ask = ask
        self._train = train
        self._dev = dev

    @property
    def best(self) -> int:
        """The round whose student is best on dev; of equal ones the first."""
        scores = [record.scores[self._config.by] for record in self.records]
        return scores.index(max(scores))

    async def carry_out(self, into: RowSpool) -> None:
        """All rounds; their rows go into the spool, the best student to `folder.trained`."""
        with ExitStack() as scratch:
            spools: list[RowSpool] = []
            before = Before()
            for number in range(self._config.count):
                new = RowSpool(self._folder.work / f"round-{number}.scratch")
                books = await self._ask(before, scratch.enter_context(new))
                spools.append(new)
                before = await self._learn(number, spools, books)
                if self._gains_no_more():
                    break
            await in_thread(lambda: _fill(into, Union(spools)))
        await in_thread(lambda: self._folder.stage_rounds(len(self.records), self.best))

    async def _learn(self, number: int, spools: Sequence[RowSpool], books: Books) -> Before:
        """Train on the union so far, and look at what the student does on dev."""
        staged = self._folder.staged / "rounds" / str(number)
        rows_file = self._folder.work / "union.parquet"
        rows = await in_thread(lambda: _write(staged / "rows.parquet", spools[-1]))
        union = Union(tuple(spools))
        of_all = await in_thread(lambda: _write(rows_file, union))
        own = self._folder.rounds / str(number)
        student = await self._train(
            rows_file=rows_file, folder=own / "student", work=own / "learning"
        )
        feedback = await in_thread(lambda: look(number, student, self._dev))
        await in_thread(lambda: (staged / "feedback.json").write_bytes(_as_json(feedback)))
        self.records.append(
            RoundRecord(
                round=number,
                rows=rows,
                rows_so_far=of_all,
                student=student.fingerprint,
                scores=feedback.scores,
                funnel=books.funnel,
                figures=books.figures,
            )
        )
        return Before(round=number + 1, feedback=feedback, student=own / "student", rows=union)

    def _gains_no_more(self) -> bool:
        patience = self._config.patience
        return patience is not None and len(self.records) - 1 - self.best >= patience


class Union:
    """The rows of all spools in order; of rows with one id the one in the last spool."""

    def __init__(self, spools: Sequence[RowSpool]) -> None:
        self._spools = spools

    def __iter__(self) -> Iterator[Row]:
        newer: set[str] = set()
        parts: list[Iterable[Row]] = []
        for spool in reversed(self._spools):
            parts.append(_without(spool, frozenset(newer)))
            newer.update(row.id for row in spool)
        return heapq.merge(*parts, key=lambda row: (row.order, row.id))


def look(number: int, student: Student, dev: Sequence[HeldOutRow]) -> Feedback:
    """What a round's student does on the dev rows.

    Args:
        number: the round.
        student: it is asked with the rows' text.
        dev: rows with gold, at least one.
    """
    texts = [row.text for row in dev]
    said = list(student.predict(texts))
    gold = [row.gold or "" for row in dev]
    sure: Sequence[float | None] = confidences(student, texts) or [None] * len(dev)
    return Feedback(
        round=number,
        scores={
            "accuracy": accuracy(gold, said).value,
            "macro_f1": macro_f1(gold, said).value,
        },
        report=label_report(gold, said),
        examples=tuple(
            Example(
                text=row.text,
                gold=right,
                # In gold's spelling where it is gold, so that nobody needs to compare again.
                said=right if same_answer(answer, right) else answer,
                confidence=confidence,
                domain=row.domain,
            )
            for row, right, answer, confidence in zip(dev, gold, said, sure, strict=True)
        ),
    )


def _without(spool: RowSpool, newer: frozenset[str]) -> Iterator[Row]:
    return (row for row in spool if row.id not in newer)


def _fill(spool: RowSpool, rows: Iterable[Row]) -> None:
    spool.add(rows)
    spool.seal()


def _write(file: Path, rows: Iterable[Row]) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with open_rows(file) as add:
        for row in rows:
            add(row)
            count += 1
    return count


def _as_json(feedback: Feedback) -> bytes:
    return orjson.dumps(asdict(feedback), option=orjson.OPT_INDENT_2)
