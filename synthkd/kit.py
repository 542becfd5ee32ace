"""What a row step works with: whom it may ask, where chance comes from, what becomes of candidates.

A `Kit` is made anew for each call. There are no globals: what a step may know is in its row, its
settings and its kit. A table step has a `TableKit` (`synthkd.table_kit`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from synthkd.desk import ROUND_OFFSET, Desk
from synthkd.errors import TeacherError, Waiting
from synthkd.feedback import Feedback
from synthkd.prompts import Prompt
from synthkd.rows import Fields
from synthkd.schemas import Schema
from synthkd.teachers.embeddings import vector_of
from synthkd.teachers.likelihood import Likelihood, likelihood
from synthkd.teachers.parts import with_images
from synthkd.teachers.request import Completion, Request, Teacher
from synthkd.teachers.structured import InShape, Lengthened


class Kit:
    """What a row step works with; made anew for each call, so nothing leaks between rows."""

    __slots__ = ("_rng", "counts", "desk", "discards", "keys", "row_id", "waiting")

    def __init__(self, desk: Desk, row_id: str) -> None:
        self.desk = desk
        self.row_id = row_id
        self.keys: list[str] = []
        """Keys of the answers that this call was given, in the order it asked."""
        self.discards: list[tuple[str, str]] = []
        self.counts: list[tuple[str, int]] = []
        self.waiting: Waiting | None = None
        """An answer is under way in a batch: whatever the step makes of it, the row waits."""
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
    def feedback(self) -> Feedback | None:
        """Where the student of the round before is weak; None in round 0."""
        return self.desk.feedback

    def can_ask(self, teacher: str) -> bool:
        """False of the student of the round before (`student: {round: previous}`) in round 0."""
        return self.desk.teachers[teacher].is_there

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

    def count(self, what: str, times: int = 1) -> None:
        """Add to a figure of this step that the manifest keeps, such as `masked_emails`.

        All calls add to one sum; it stands in the manifest under `figures: {STEP: {what: sum}}`
        and in `synthkd show`.
        """
        self.counts.append((what, times))

    async def ask(
        self,
        prompt: str,
        inputs: Fields,
        *,
        teacher: str,
        sample: int = 0,
        images: Sequence[Fields] = (),
        history: Sequence[Fields] = (),
        after: Sequence[Fields] = (),
        tools: Sequence[Fields] = (),
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
            history: earlier turns of a conversation (`role` and `content`), which go out before
                the last message.
            after: messages that go out after the last one, such as calls of tools and their
                results.
            tools: declarations of tools that the model may call, in OpenAI's shape; what it calls
                is in `tool_calls`, and nothing is run.
            schema: what the answer must look like, in place of what the prompt's file says.
            longer: tokens; an answer that was cut is asked for again, once, with this `max_tokens`.

        Raises:
            TeacherError: there is none; left alone, it fails the row.
            Unrenderable: a value does not fit the prompt; left alone, it fails the row.
            Waiting: it is under way in a batch; the row waits, whatever the step does.
        """
        asked = self.desk.prompts[prompt]
        question = asked.question(inputs)
        if history:
            *before, last = question["messages"]
            question["messages"] = [*before, *map(dict, history), last]
        if after:
            question["messages"] = [*question["messages"], *map(dict, after)]
        if tools:
            question["tools"] = [dict(one) for one in tools]
        request = self._request(asked, question, inputs, teacher, sample)
        if images:
            request = with_images(request, images)
        who = self._who(teacher, schema or asked.schema, longer)
        try:
            completion = await who.complete(request)
        except Waiting as waiting:
            self.waiting = waiting
            raise
        self.keys += completion.keys
        return completion

    def ask_many(
        self,
        prompt: str,
        inputs: Fields,
        *,
        teachers: Sequence[str],
        samples: int = 1,
        first: int = 0,
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> Coroutine[Any, Any, list[Completion | TeacherError]]:
        """So many samples of every teacher at once, teacher by teacher in the order given.

        They are numbered from `first`: a step that wants more than it had goes on where it stopped.
        `schema` and `longer` as in `ask`.

        Raises:
            Unrenderable: a value does not fit the prompt, and nobody was asked.
            Waiting: all were asked, and answers are under way in a batch; the row waits.
        """
        more: Any = {"teachers": teachers, "samples": samples, "schema": schema, "longer": longer}
        return self.ask_each(prompt, [inputs], first=first, **more)

    async def ask_each(
        self,
        prompt: str,
        inputs: Sequence[Fields],
        *,
        teachers: Sequence[str],
        samples: int = 1,
        first: int = 0,
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> list[Completion | TeacherError]:
        """Several questions of one row at once: for each in turn what `ask_many` gives for it."""
        drawn = range(first, first + samples)
        whom = [(teacher, sample) for teacher in teachers for sample in drawn]
        return await self._ask_all(prompt, inputs, whom, schema, longer)

    async def ask_these(
        self,
        prompt: str,
        inputs: Fields,
        *,
        whom: Sequence[tuple[str, int]],
        schema: Schema | None = None,
        longer: int | None = None,
    ) -> list[Completion | TeacherError]:
        """One question put to several (teacher, sample) at once, in their order."""
        return await self._ask_all(prompt, [inputs], whom, schema, longer)

    async def _ask_all(
        self,
        prompt: str,
        inputs: Sequence[Fields],
        whom: Sequence[tuple[str, int]],
        schema: Schema | None,
        longer: int | None,
    ) -> list[Completion | TeacherError]:
        asked = self.desk.prompts[prompt]
        questions = [(asked.question(each), each) for each in inputs]
        pairs = [
            (
                self._who(teacher, schema or asked.schema, longer),
                self._request(asked, *question, teacher, sample),
            )
            for question in questions
            for teacher, sample in whom
        ]
        if len(pairs) == 1:  # no task: most steps ask one teacher once
            results = [await _try(*pairs[0])]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_try(*pair)) for pair in pairs]
            results = [task.result() for task in tasks]
        replies: list[Completion | TeacherError] = []
        for result in results:
            if isinstance(result, Waiting):
                self.waiting = result
                raise result
            if isinstance(result, Completion):
                self.keys += result.keys
            replies.append(result)
        return replies

    async def score(self, prompt: str, inputs: Fields, *, teacher: str) -> Completion:
        """What a reward model makes of a conversation; its numbers are the completion's `text`.

        Args:
            prompt: its name; the server puts its messages into the model's own template, and a raw
                one is scored as it stands.
            inputs: what it declares.
            teacher: the reward model.

        Raises:
            TeacherError: there is no score; left alone, it fails the row.
            Unrenderable: a value does not fit the prompt; left alone, it fails the row.
            Waiting: it is under way in a batch; the row waits.
        """
        who = self.desk.teachers[teacher]
        question = self.desk.prompts[prompt].question(inputs)
        if "prompt" in question:
            question = {"input": question["prompt"]}
        request = Request(
            api="classify",
            # The reward itself: by default a server puts it through a function of its own.
            body={"model": who.model, **question, "use_activation": False, **who.params},
            prompt=prompt,
            inputs=inputs,
            rank=self.desk.rank,
        )
        try:
            completion = await who.score(request)
        except Waiting as waiting:
            self.waiting = waiting
            raise
        self.keys += completion.keys
        return completion

    async def likelihood(
        self, prompt: str, inputs: Fields, response: str, *, teacher: str, alone: bool = False
    ) -> Likelihood:
        """How likely a teacher itself is to answer so: see `synthkd.teachers.likelihood`.

        Args:
            prompt: its name.
            inputs: what it declares.
            response: the answer whose tokens count; not empty.
            teacher: a student, or a model that vLLM serves.
            alone: without the prompt, as a text that stands for itself.

        Raises:
            TeacherError: there is no answer; left alone, it fails the row.
            Unrenderable: a value does not fit the prompt; left alone, it fails the row.
        """
        asked = self.desk.prompts[prompt]
        request = self._request(asked, asked.question(inputs), inputs, teacher, 0)
        told = await likelihood(self.desk.teachers[teacher], request, response, alone=alone)
        self.keys += told.keys
        return told

    async def embed(self, texts: Sequence[str], *, teacher: str) -> list[Sequence[float]]:
        """A vector of unit length for each text, in order; many travel in one request.

        Raises:
            TeacherError: a text has none; left alone, it fails the row.
            Waiting: one is under way in a batch; the row waits.
        """
        embedder = self.desk.teachers[teacher].embedder(self.desk.rank)
        try:
            completions = await embedder.complete(texts)
        except Waiting as waiting:
            self.waiting = waiting
            raise
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
            sample=sample + self.desk.round * ROUND_OFFSET,
            prompt=asked.name,
            inputs=inputs,
            rank=self.desk.rank,
        )


async def _try(who: Teacher, request: Request) -> Completion | TeacherError | Waiting:
    try:
        return await who.complete(request)
    except (TeacherError, Waiting) as error:
        return error
