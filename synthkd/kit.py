"""What a step works with: whom it may ask, where chance comes from, what becomes of lost rows.

A row step gets a `Kit`, made anew for each call; a table step gets a `TableKit`. There are no
globals: what a step may know is in its row, its settings and its kit.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from synthkd.errors import MissingField, Rejected, TeacherError, Unrenderable
from synthkd.prompts import Prompt
from synthkd.rows import Fields, Json, Row, canonical
from synthkd.schemas import Schema
from synthkd.teachers.embeddings import vector_of
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.parts import has_parts, with_images
from synthkd.teachers.request import Completion, Request, Teacher
from synthkd.teachers.structured import InShape, Lengthened

ROUND_SAMPLES = 10**6
"""Round R asks for samples R * 10^6 and up, so that a new round buys new answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every call of one step shares: where it stands, whom it may ask."""

    step: str
    """The step's name in this pipeline."""
    rank: int = 0
    seed: int = 0
    round: int = 0
    teachers: Mapping[str, OpenTeacher] = field(default_factory=dict)
    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    def rng(self, row_id: str) -> random.Random:
        """A generator of its own for each step and row: the same in every run and order."""
        seed = hashlib.sha256(canonical([self.seed, self.round, self.step, row_id])).digest()
        return random.Random(seed)  # noqa: S311  reproducible on purpose, not for secrets


class Kit:
    """What a row step works with; made anew for each call, so nothing leaks between rows."""

    __slots__ = ("_rng", "desk", "discards", "keys", "row_id")

    def __init__(self, desk: Desk, row_id: str) -> None:
        self.desk = desk
        self.row_id = row_id
        self.keys: list[str] = []
        """Keys of the answers that this call was given, in the order it asked."""
        self.discards: list[tuple[str, str]] = []
        self._rng: random.Random | None = None

    @property
    def rng(self) -> random.Random:
        """The only source of chance: a function of seed, round, step name and row id."""
        if self._rng is None:
            self._rng = self.desk.rng(self.row_id)
        return self._rng

    @property
    def round(self) -> int:
        """The round that is running, from 0."""
        return self.desk.round

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """The prompts that the plan loaded for this step, by name."""
        return self.desk.prompts

    def discard(self, reason: str, detail: str = "") -> None:
        """Say that a candidate was lost while the row lives on: it is counted and written down.

        Args:
            reason: a lower_snake code.
            detail: what a person needs to see why.
        """
        self.discards.append((reason, detail))

    async def ask(
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
        """One answer.

        Args:
            prompt: its name.
            inputs: what it declares.
            teacher: whom to ask.
            sample: which of several independent answers.
            images: content parts (`synthkd.teachers.parts.image_part`) for the last message.
            schema: what the answer must look like, in place of what the prompt's file says.
            longer: tokens; an answer that was cut is asked for again, once, with this `max_tokens`.

        Raises:
            TeacherError: there is none; left alone, it fails the row.
            Unrenderable: a value does not fit the prompt; left alone, it fails the row.
        """
        asked = self.desk.prompts[prompt]
        request = self._request(asked, asked.question(inputs), inputs, teacher, sample)
        if images:
            request = with_images(request, images)
        who = self._who(teacher, schema or asked.schema, longer)
        completion = await who.complete(request)
        self.keys += completion.keys
        return completion

    async def ask_many(
        self,
        prompt: str,
        inputs: Fields,
        *,
        teachers: Sequence[str],
        samples: int = 1,
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> list[Completion | TeacherError]:
        """Samples 0..samples-1 of every teacher at once, teacher by teacher in the order given.

        `schema` and `longer` as in `ask`.

        Raises:
            Unrenderable: a value does not fit the prompt, and nobody was asked.
        """
        asked = self.desk.prompts[prompt]
        question = asked.question(inputs)
        pairs = [
            (
                self._who(teacher, schema or asked.schema, longer),
                self._request(asked, question, inputs, teacher, sample),
            )
            for teacher in teachers
            for sample in range(samples)
        ]
        if len(pairs) == 1:  # no task: most steps ask one teacher once
            results = [await _try(*pairs[0])]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_try(*pair)) for pair in pairs]
            results = [task.result() for task in tasks]
        for result in results:
            if isinstance(result, Completion):
                self.keys += result.keys
        return results

    async def embed(self, texts: Sequence[str], *, teacher: str) -> list[Sequence[float]]:
        """A vector of unit length for each text, in order; many travel in one request.

        Raises:
            TeacherError: a text has none; left alone, it fails the row.
        """
        embedder = self.desk.teachers[teacher].embedder(self.desk.rank)
        completions = await embedder.complete(texts)
        self.keys += [completion.key for completion in completions]
        return [vector_of(completion) for completion in completions]

    def _who(self, teacher: str, schema: Schema | None, longer: int | None) -> Teacher:
        who: Teacher = self.desk.teachers[teacher]
        if longer is not None:
            who = Lengthened(who, longer)
        return who if schema is None else InShape(who, schema)

    def _request(
        self, asked: Prompt, question: Fields, inputs: Fields, teacher: str, sample: int
    ) -> Request:
        who = self.desk.teachers[teacher]
        return Request(
            api=asked.api,
            body={"model": who.model, **question, **who.params},
            max_tokens=who.max_tokens,
            sample=sample + self.desk.round * ROUND_SAMPLES,
            prompt=asked.name,
            inputs=inputs,
            rank=self.desk.rank,
        )


async def _try(who: Teacher, request: Request) -> Completion | TeacherError:
    try:
        return await who.complete(request)
    except TeacherError as error:
        return error


class TableKit:
    """What a table step works with."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._gone: list[tuple[Row, Rejected | None]] = []

    @cached_property
    def rng(self) -> random.Random:
        """The only source of chance: a function of seed, round and step name."""
        return self.desk.rng("")

    def reject(self, row: Row, reason: str, detail: str = "") -> None:
        """Throw a row out, with the reason (a lower_snake code) and what a person needs to see."""
        self._gone.append((row, Rejected(reason, detail)))

    def merge(self, row: Row) -> None:
        """Say that a row lives on inside another, which has its roots too (`merged_roots`)."""
        self._gone.append((row, None))

    def take_gone(self) -> list[tuple[Row, Rejected | None]]:
        """What was rejected (with why) or merged (None) since the last call; for the engine."""
        gone, self._gone = self._gone, []
        return gone


def inputs_of(row: Row, names: Iterable[str], **computed: Json) -> dict[str, Json]:
    """The prompt's inputs: `computed` ones from the step, the others from the row's fields.

    Raises:
        MissingField: the row has no such field.
        Unrenderable: a field holds content parts that are no text.
    """
    try:
        inputs = {name: computed[name] if name in computed else row.fields[name] for name in names}
    except KeyError as error:
        raise MissingField(f"the row has no field {error.args[0]!r}") from error
    for name, value in inputs.items():
        if type(value) is not str and has_parts(value):
            raise Unrenderable(
                f"the field {name!r} holds content parts such as an image, and this step is for "
                "text: take a step that asks with images, or drop such rows before it"
            )
    return inputs
