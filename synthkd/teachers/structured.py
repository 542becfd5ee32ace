"""Questions that are asked once more where that mends the answer: for room, or for its shape.

    completion = await InShape(teacher, schema).complete(request)
    completion.shaped.value, completion.shaped.faults
    completion = await Lengthened(teacher, max_tokens=4000).complete(request)

Layers like those below them, but of one question: a step puts them on top.

The repair is a request of its own, stored and billed like any other: the same conversation, then
the faulty answer and what is wrong with it. There is one, at most: a model that does not see the
fault when it is told seldom sees it later.
"""

from __future__ import annotations

from synthkd.schemas import Read, Schema
from synthkd.teachers.request import Completion, Request, Shaped, Teacher

REPAIR = """\
Your answer does not fit what was asked for:
{faults}
Answer again: the corrected JSON alone, with nothing before or after it."""


class Lengthened:
    """Ask again, once and with more room, what was cut. Both answers are stored and paid for.

    Args:
        inner: is asked.
        max_tokens: of the second time; an answer that had as much room stays cut.
    """

    def __init__(self, inner: Teacher, max_tokens: int) -> None:
        self.inner = inner
        self.max_tokens = max_tokens

    async def complete(self, request: Request) -> Completion:
        """The whole answer, or the longest there is."""
        completion = await self.inner.complete(request)
        room = request.max_tokens
        if completion.finish != "length" or room is None or room >= self.max_tokens:
            return completion
        return await self.inner.complete(request._replace(max_tokens=self.max_tokens))


class InShape:
    """Ask for JSON of a schema, and once more for the corrected one where it does not fit.

    Args:
        inner: is asked.
        schema: goes out with the question.
    """

    def __init__(self, inner: Teacher, schema: Schema) -> None:
        self.inner = inner
        self.schema = schema

    async def complete(self, request: Request) -> Completion:
        """An answer with `shaped`: the value that was read, or what is wrong with it still."""
        form = self.schema.response_format
        asked = request._replace(body={**request.body, "response_format": form})
        first = await self.inner.complete(asked)
        read = self.schema.read(first.text)
        if not read.faults or not _is_mendable(first):
            return first._replace(shaped=Shaped(value=read.value, faults=_told(first, read)))
        second = await self.inner.complete(_repair(asked, first, read))
        mended = self.schema.read(second.text)
        shaped = Shaped(value=mended.value, faults=_told(second, mended), mends=first.key)
        return second._replace(shaped=shaped)


def _is_mendable(completion: Completion) -> bool:
    """Whether telling the fault may help: not where the answer was cut, filtered or refused."""
    return completion.finish in {"stop", ""} and completion.refusal is None


def _told(completion: Completion, read: Read) -> tuple[str, ...]:
    if read.faults and completion.finish == "length":
        return ("the answer was cut at max_tokens", *read.faults)
    return read.faults


def _repair(asked: Request, faulty: Completion, read: Read) -> Request:
    faults = "\n".join(f"- {fault}" for fault in read.faults)
    messages = asked.body["messages"]
    assert isinstance(messages, list | tuple)  # noqa: S101  schemas are for chats: see the prompt
    turns = [
        {"role": "assistant", "content": faulty.text},
        {"role": "user", "content": REPAIR.format(faults=faults)},
    ]
    return asked._replace(body={**asked.body, "messages": [*messages, *turns]})
