"""What a table step works with: asking from its thread, what becomes of rows, figures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
from array import array
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from synthkd.desk import Desk
from synthkd.errors import Rejected, RowError, TeacherError, Waiting
from synthkd.kit import Kit
from synthkd.rows import Fields, Json, Row, clean
from synthkd.schemas import Schema
from synthkd.teachers.embeddings import vector_of
from synthkd.teachers.request import Completion


class Embedded(NamedTuple):
    """The vector of one text."""

    vector: array[float]
    """(dimensions,) 32-bit floats, of unit length."""
    key: str
    """Of the ledger entry: what is made with the vector says so, with `row.with_made_by(key)`."""


class Question(NamedTuple):
    """One of many questions that are asked at once."""

    prompt: str
    """The prompt's name."""
    inputs: Fields
    """What it declares."""
    sample: int = 0
    """Which of several answers to the same question is wanted."""


T = TypeVar("T")


class TableKit:
    """What a table step works with.

    The step runs in a thread, the teachers in the run's loop: asking blocks the step until the
    answer is there. What ends the run (`RunStopped`, a cancellation) ends the asking too, and
    passes through the step. An answer that is under way in a batch (`Waiting`) may end the step or
    not: either way all its rows wait. What goes on asking gets more into that batch.

    Args:
        desk: where the step stands.
        loop: the run's; None = the step cannot ask, as in a test of its arithmetic.
        tell: takes what the step says of how far it is.
    """

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop | None = None,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.desk = desk
        self.tell = tell
        """Say in a few words how far the step is, such as "120 of 500 accepted", for displays."""
        self.figures: dict[str, Json] = {}
        """What the step has noted; for the engine."""
        self._gone: list[tuple[Row, RowError | None]] = []
        self._discards: list[tuple[Row, str, str]] = []
        self.waiting: Waiting | None = None
        """An answer is under way in a batch: what the step makes from now on is thrown away."""
        self._loop = loop
        self._scratch: list[Path] = []
        self._asking: set[asyncio.Task[Any]] = set()
        self._left = False

    @cached_property
    def rng(self) -> random.Random:
        """The only source of chance: a function of seed, round and step name."""
        return self.desk.rng("")

    def scratch_file(self, name: str) -> Path:
        """A path for a new scratch file, such as one to map into memory; it goes with the step."""
        folder = self.desk.work / f"{self.desk.step}.scratch"
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch.append(folder / f"{len(self._scratch)}-{name}")
        return self._scratch[-1]

    # --- what becomes of rows, and what is said of all of them

    def reject(self, row: Row, reason: str, detail: str = "") -> None:
        """Throw a row out, with the reason (a lower_snake code) and what a person needs to see."""
        self._gone.append((row, Rejected(reason, detail)))

    def fail(self, row: Row, error: RowError) -> None:
        """Say that a row could not be judged, such as one whose question has no answer."""
        self._gone.append((row, error))

    def merge(self, row: Row) -> None:
        """Say that a row lives on inside another, which has its roots too (`merged_roots`)."""
        self._gone.append((row, None))

    def discard(self, row: Row, reason: str, detail: str = "") -> None:
        """Say that a candidate was lost, such as a text that a gate refused; no row ends.

        Args:
            row: of which it would have been made.
            reason: a lower_snake code.
            detail: what a person needs to see.
        """
        self._discards.append((row, reason, detail))

    def take_discards(self) -> list[tuple[Row, str, str]]:
        """What was discarded since the last call; for the engine."""
        discards, self._discards = self._discards, []
        return discards

    def take_gone(self) -> list[tuple[Row, RowError | None]]:
        """What was rejected or failed (and why) or merged (None) since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def note(self, figures: Fields) -> None:
        """Keep figures of the table as a whole, such as `{"groups": 12, "by_kind": {"a": 3}}`.

        They stand in the manifest under `figures: {STEP: {...}}` and in `synthkd show`. JSON only,
        and few: they are for people. A name that is noted again has the later value.
        """
        for name, value in figures.items():
            self.figures[name] = clean(value)

    def count(self, what: str, times: int = 1) -> None:
        """Add to a figure; see `note`."""
        so_far = self.figures.get(what, 0)
        if not isinstance(so_far, int):
            raise TypeError(f"the figure {what!r} is no count, it was noted as {so_far!r:.80}")
        self.figures[what] = so_far + times

    # --- asking

    def ask(
        self,
        prompt: str,
        inputs: Fields,
        *,
        teacher: str,
        sample: int = 0,
        images: Sequence[Fields] = (),
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> Completion:
        """One answer, as `Kit.ask` gives it; the rows that it contributes to say so.

            yield row.with_fields(topic=completion.text).with_made_by(*completion.keys)

        Raises:
            TeacherError: there is none; the step says `kit.fail(row, error)` or does without.
            Unrenderable: a value does not fit the prompt.
        """
        kit = Kit(self.desk, "")
        return self._wait(
            kit.ask(
                prompt,
                inputs,
                teacher=teacher,
                sample=sample,
                images=images,
                schema=schema,
                longer=longer,
            )
        )

    def ask_many(
        self,
        prompt: str,
        inputs: Fields,
        *,
        teachers: Sequence[str],
        samples: int = 1,
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> list[Completion | TeacherError]:
        """Several samples of several teachers for one question, as `Kit.ask_many` gives them."""
        kit = Kit(self.desk, "")
        return self._wait(
            kit.ask_many(
                prompt, inputs, teachers=teachers, samples=samples, schema=schema, longer=longer
            )
        )

    def ask_all(
        self,
        prompt: str,
        inputs: Sequence[Fields],
        *,
        teacher: str,
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> list[Completion | RowError]:
        """One answer for each of many questions, in their order; as many at once as may be.

        A question that does not fit the prompt, or has no answer, costs the others nothing: its
        error stands in its place. All answers are in memory at the end: of a large table, ask
        some thousands at a time.
        """
        questions = [Question(prompt, one) for one in inputs]
        return self._wait(self._all(questions, teacher, schema, longer))

    def ask_each(
        self, questions: Sequence[Question], *, teacher: str, longer: int | None = None
    ) -> list[Completion | RowError]:
        """As `ask_all`, of questions that may differ in their prompt and in the sample wanted."""
        return self._wait(self._all(questions, teacher, None, longer))

    def embed(self, texts: Sequence[str], *, teacher: str) -> list[Embedded | TeacherError]:
        """A vector of unit length for each text, in order; many travel in one request.

        All are in memory at the end: of a large table, embed some thousands at a time.
        """
        embedder = self.desk.teachers[teacher].embedder(self.desk.rank)
        return [
            outcome
            if isinstance(outcome, TeacherError)
            else Embedded(vector_of(outcome), outcome.key)
            for outcome in self._wait(embedder.outcomes(texts))
        ]

    def leave(self) -> None:
        """Cancel what is being asked, and all that would be; for the engine, in the loop."""
        self._left = True
        for task in self._asking:
            task.cancel()

    def close(self) -> None:
        """Remove the scratch files; for the engine."""
        for path in self._scratch:
            path.unlink(missing_ok=True)

    async def _all(
        self,
        questions: Sequence[Question],
        teacher: str,
        schema: Schema | None,
        longer: int | None,
    ) -> list[Completion | RowError]:
        answers: dict[int, Completion | RowError] = {}
        numbered = enumerate(questions)

        async def work() -> None:
            for place, (prompt, inputs, sample) in numbered:
                try:
                    kit = Kit(self.desk, "")
                    answers[place] = await kit.ask(
                        prompt,
                        inputs,
                        teacher=teacher,
                        sample=sample,
                        schema=schema,
                        longer=longer,
                    )
                except Waiting as waiting:
                    self.waiting = answers[place] = waiting
                except RowError as error:
                    answers[place] = error

        workers = min(len(questions), self.desk.teachers[teacher].concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # a stop reaches all of them at once
        return [answers[place] for place in range(len(questions))]

    def _wait(self, asking: Coroutine[Any, Any, T]) -> T:
        """Block this thread until the loop has the answer."""
        here = None
        with suppress(RuntimeError):
            here = asyncio.get_running_loop()
        if self._loop is None or here is not None:
            asking.close()
            raise RuntimeError(
                f"table step {self.desk.step!r} asks outside its run: ask from the generator's "
                "body, not when it is closed and not without an engine"
            )

        async def owned() -> T:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101  a coroutine runs in a task
            if self._left:
                asking.close()
                raise asyncio.CancelledError
            self._asking.add(task)
            try:
                return await asking
            finally:
                self._asking.discard(task)

        try:
            return asyncio.run_coroutine_threadsafe(owned(), self._loop).result()
        except Waiting as waiting:
            self.waiting = waiting
            raise
        except concurrent.futures.CancelledError:
            # Not an Exception, so that no step takes it for a fault of its own.
            raise asyncio.CancelledError from None
