"""A student as a teacher in this process: the same `complete` as any other.

    teacher = open_student(LocalConfig(folder="data/out/x/student"), folder)
    await teacher.complete(request)
    await teacher.free()

Questions that come together are answered together: who asks first waits a few milliseconds for
others, and what comes while a batch is under way makes the next one. A worker thread answers, one
batch at a time, so the run goes on meanwhile. Nothing is loaded before the first question.

A student that writes is asked like a server: chat or raw text, temperature, top_p, seed, stop. One
that only labels (`linear`, `encoder`, `seq2seq`) answers with its label, to the last message.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from synthkd.config import LocalConfig, SamplingConfig
from synthkd.errors import RequestRefused, SynthkdError, TeacherRefused, UserError
from synthkd.rows import Json, canonical
from synthkd.students import kinds
from synthkd.students.artefact import Probabilistic, Student
from synthkd.students.writing import Ask, Writer, load_writer
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.students import about
from synthkd.teachers.wire import parse_reply

GATHER_S = 0.005
"""How long the first question waits for others: less than a token of a small model takes."""
LONGEST_ANSWER = 1024
"""Tokens of an answer whose length nobody limits, where the model has no limit of its own."""
WRITERS = frozenset({"sft", "dpo"})
"""Kinds that are causal models, in a folder as Hugging Face lays it out."""

Answer = bytes | SynthkdError
"""A reply as a server would send it, or why there is none."""


class Answering(Protocol):
    """Who answers a batch, in the worker thread."""

    def answer(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """One answer a request, in order."""
        ...


def open_student(config: LocalConfig, folder: Path) -> LocalTeacher:
    """The student in a folder that was found good; see the module."""
    return LocalTeacher(lambda left: _load(folder, left), config.batch_size)


def _load(folder: Path, left: threading.Event) -> Answering:
    kind = about(folder).get("kind")
    if kind is None or kind in WRITERS:
        return _Writing(load_writer(folder, left))
    return _Labelling(kinds.load(folder))


class LocalTeacher:
    """Gathers questions into batches, and has each answered by the worker thread.

    Args:
        load: makes who answers; called at the first question, and again after `free`. What it is
            given is set when nobody wants an answer any more.
        batch_size: questions that are answered together, at most.
    """

    def __init__(self, load: Callable[[threading.Event], Answering], batch_size: int) -> None:
        self._load = load
        self._most = batch_size
        self._waiting: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._work: asyncio.Task[None] | None = None
        self._left = threading.Event()
        self._loaded: Answering | None = None

    @property
    def loaded(self) -> bool:
        """Whether it holds memory."""
        return self._loaded is not None

    async def complete(self, request: Request) -> Completion:
        """The answer to one request.

        Raises:
            RequestRefused: the student cannot do what it asks.
            UserError: it cannot be loaded.
            TeacherRefused: there is not enough memory.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._work is None:
            self._work = asyncio.create_task(self._batches())
        answer = await future
        if isinstance(answer, SynthkdError):
            raise answer
        return parse_reply(request.api, answer)

    async def free(self) -> None:
        """Give back the memory; what is being written ends at the next token."""
        if self._work is not None:
            self._left.set()
            await asyncio.wait([self._work])
        _cancel(self._waiting)
        self._waiting = []
        self._left.clear()
        if self._loaded is not None:
            self._loaded = None
            await asyncio.to_thread(_collect)

    async def _batches(self) -> None:
        try:
            while self._waiting and not self._left.is_set():
                if len(self._waiting) < self._most:
                    await asyncio.sleep(GATHER_S)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                wanted = [(request, future) for request, future in batch if not future.done()]
                if wanted:
                    await self._settle(wanted)
        finally:
            self._work = None

    async def _settle(self, batch: Sequence[tuple[Request, asyncio.Future[Answer]]]) -> None:
        """Answer a batch; whatever goes wrong, nobody waits for ever."""
        requests = [request for request, _ in batch]
        answering = asyncio.create_task(asyncio.to_thread(self._answer, requests))
        await asyncio.wait([answering])
        error = answering.exception()
        if isinstance(error, InterruptedError):
            _cancel(batch)
            return
        for place, (_, future) in enumerate(batch):
            if future.done():  # who asked was cancelled
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answering.result()[place])

    def _answer(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """In the worker thread."""
        try:
            if self._loaded is None:
                self._loaded = self._load(self._left)
            return self._loaded.answer(requests)
        except (MemoryError, RuntimeError) as error:  # torch has no other for a CPU
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            raise TeacherRefused(
                f"the student has no memory for {len(requests)} questions at once: lower"
                f" `batch_size` or `max_tokens` ({str(error).splitlines()[0]:.200})"
            ) from None


def _cancel(batch: Sequence[tuple[Request, asyncio.Future[Answer]]]) -> None:
    for _, future in batch:
        future.cancel()


def _collect() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Labelling:
    """A student that answers a text with its label.

    With a `temperature` it draws from its probabilities, where it has any.
    """

    def __init__(self, student: Student) -> None:
        self.student = student

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Answering`."""
        labels = self._labels(requests)
        return [
            _reply(request, text=label or "", finish="stop", prompt_tokens=0, completion_tokens=0)
            for request, label in zip(requests, labels, strict=True)
        ]

    def _labels(self, requests: Sequence[Request]) -> list[str | None]:
        texts = [_last_text(request) for request in requests]
        said = list(self.student.predict(texts))
        names = getattr(self.student, "labels", ())
        drawn = [n for n, request in enumerate(requests) if _temperature(request) > 0]
        if drawn and names and isinstance(self.student, Probabilistic):
            table = self.student.predict_proba([texts[n] for n in drawn])
            for n, shares in zip(drawn, table, strict=True):
                weights = [float(share) ** (1 / _temperature(requests[n])) for share in shares]
                rng = random.Random(_seed(requests[n]))  # noqa: S311  reproducible on purpose
                said[n] = rng.choices(names, weights)[0] if sum(weights) > 0 else said[n]
        return said


class _Writing:
    """A causal model: writes, and says how likely a text is (`prompt_logprobs`)."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Answering`."""
        answers: dict[int, Answer] = {}
        to_write: dict[int, Ask] = {}
        to_score: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            try:
                tokens = self._tokens(request)
                if "prompt_logprobs" in request.body:
                    to_score[place] = tokens
                else:
                    to_write[place] = self._ask(request, tokens)
            except (RequestRefused, UserError) as error:
                answers[place] = error
        if to_write:
            written = self.writer.write(list(to_write.values()))
            for (place, ask), one in zip(to_write.items(), written, strict=True):
                answers[place] = _reply(
                    requests[place],
                    text=one.text,
                    finish=one.finish,
                    prompt_tokens=len(ask.tokens),
                    completion_tokens=len(one.tokens),
                )
        scored = self.writer.logprobs(list(to_score.values()))
        for (place, tokens), values in zip(to_score.items(), scored, strict=True):
            answers[place] = self._scored(requests[place], tokens, values)
        return [answers[place] for place in range(len(requests))]

    def _tokens(self, request: Request) -> list[int]:
        if request.images:
            raise RequestRefused(400, "a student reads no images")
        if request.api == "completions":
            tokens = self.writer.raw_tokens(str(request.body["prompt"]))
        elif request.api == "chat":
            messages: Any = request.body["messages"]
            opens = request.body.get("add_generation_prompt") is not False
            tokens = self.writer.chat_tokens(messages, opens=opens)
        else:
            raise RequestRefused(400, f"a student does not do {request.api}")
        context = self.writer.context
        if not tokens or (context is not None and len(tokens) >= context):
            raise RequestRefused(
                400, f"the prompt has {len(tokens)} tokens; the student takes 1 to {context} of"
                " prompt and answer"
            )  # fmt: skip
        return tokens

    def _ask(self, request: Request, tokens: Sequence[int]) -> Ask:
        asked = {n: value for n, value in request.body.items() if n not in ASKED_WITH}
        try:
            sampling = SamplingConfig.model_validate(asked)
        except ValidationError as error:
            fault = error.errors()[0]
            raise RequestRefused(
                400,
                f"a student cannot be asked with {'.'.join(map(str, fault['loc']))}:"
                f" {fault['msg']}; a server of it may: `vllm: {{model: FOLDER}}`",
            ) from None
        room = LONGEST_ANSWER if self.writer.context is None else self.writer.context - len(tokens)
        stop = sampling.stop
        return Ask(
            tokens=tokens,
            max_tokens=room if request.max_tokens is None else min(room, request.max_tokens),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=_seed(request),
        )

    def _scored(
        self, request: Request, tokens: Sequence[int], values: Sequence[float | None]
    ) -> bytes:
        """In vLLM's shape: of each token what was given, by its number."""
        told: list[Json] = [
            None
            if value is None
            else {str(t): {"logprob": value, "decoded_token": self.writer.tokenizer.decode([t])}}
            for t, value in zip(tokens, values, strict=True)
        ]
        return _reply(
            request,
            text="",
            finish="length",  # nothing is written
            prompt_tokens=len(tokens),
            completion_tokens=0,
            prompt_logprobs=told,
        )


ASKED_WITH = frozenset({"model", "messages", "prompt", "add_generation_prompt"})
"""What a body has besides sampling parameters."""


def _temperature(request: Request) -> float:
    value = request.body.get("temperature", 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _seed(request: Request) -> int:
    """The source of chance of one sample of one question: the same in every run and batch."""
    return int.from_bytes(hashlib.sha256(canonical([request.body, request.sample])).digest())


def _last_text(request: Request) -> str:
    if request.api == "completions":
        return str(request.body["prompt"])
    messages: Any = request.body["messages"]
    content: Any = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _reply(
    request: Request,
    *,
    text: str,
    finish: str,
    prompt_tokens: int,
    completion_tokens: int,
    **more: Json,
) -> bytes:
    said: Mapping[str, Json] = {"text": text}
    if request.api == "chat":
        said = {"message": {"role": "assistant", "content": text}}
    return orjson.dumps(
        {
            "model": request.body.get("model"),
            "choices": [{"index": 0, "finish_reason": finish, **said}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
            **more,
        }
    )
