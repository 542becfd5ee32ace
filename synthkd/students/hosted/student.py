"""The hosted student: what a provider trained, and what it is asked as.

Its folder holds no weights, only where they are:

    student.json    the model's name, the endpoint, the job, trained tokens, hyper-parameters
    README.md       the card
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import BudgetConfig, HostedConfig, Price, TeacherConfig
from synthkd.errors import UserError
from synthkd.ledger import Cost
from synthkd.rows import canonical
from synthkd.students.artefact import (
    damaged,
    fingerprint,
    holds,
    origin,
    read_about,
    written,
)
from synthkd.students.hosted.chat_file import ChatFile, write_chat_file
from synthkd.students.hosted.job import Job, Order
from synthkd.students.hosted.provider import JobStatus, open_jobs
from synthkd.students.lesson import Lesson, Tell
from synthkd.teachers.budget import Purse
from synthkd.teachers.prices import nano_usd
from synthkd.teachers.request import Completion, Request

FORMAT = 1
"""Raised when the same rows and settings would give another student."""
FILE = "training.jsonl"
TARGET_EPOCHS, FEWEST_STEPS, MOST_STEPS, MOST_EPOCHS = 3, 100, 25_000, 25
"""How many epochs OpenAI chooses, as its cookbook has it: 3, more for few examples, fewer for many.
(OpenAI cookbook, "Data preparation and analysis for chat model fine-tuning")"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedStudent:
    """A student that a provider has."""

    folder: Path
    fingerprint: str
    about: Mapping[str, Any]
    """The content of student.json."""
    config: HostedConfig

    @property
    def asked_as(self) -> TeacherConfig:
        """The student as a teacher's block: a run asks it within its ledger and budget."""
        return self.config.asked_as(self.about["model"])

    def request(self, text: str) -> Request:
        """The question that it was trained to answer."""
        system = self.about["system"]
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": text})
        asked = self.asked_as
        return Request(
            body={"model": asked.asked_model, "messages": messages, **asked.sampling},
            inputs={},
            max_tokens=self.config.max_new_tokens,
        )

    def predict(self, texts: Sequence[str]) -> list[str | None]:
        """Ask it, in no run: nothing is kept, and no budget holds. None = it declined.

        Raises:
            TeacherError: a text that it gave no answer to.
            TeacherRefused: the provider does not let us ask.
        """
        with ThreadPoolExecutor(1) as thread:  # there may be a loop in this one
            return thread.submit(asyncio.run, self._asked(texts)).result()

    async def _asked(self, texts: Sequence[str]) -> list[str | None]:
        from synthkd.ledger.sqlite import open_ledger
        from synthkd.teachers.open import open_teachers

        with tempfile.TemporaryDirectory(prefix="synthkd-") as scratch:
            ledger = open_ledger(f"{scratch}/ledger.sqlite", "process")
            try:
                async with open_teachers(
                    {"student": self.asked_as},
                    base=self.folder,
                    ledger=ledger,
                    run_id=uuid.uuid4().hex,
                    budget=BudgetConfig(),
                ) as gateway:
                    ask = gateway.teachers["student"].complete
                    async with asyncio.TaskGroup() as group:
                        asked = [group.create_task(ask(self.request(text))) for text in texts]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            finally:
                await ledger.close()
        return [answer_in(task.result()) for task in asked]


def answer_in(reply: Completion) -> str | None:
    """What it answered; None = it declined, or said nothing."""
    return None if reply.refusal is not None else reply.text.strip() or None


async def train(
    lesson: Lesson, tell: Tell, purse: Purse | None = None, *, offline: bool = False
) -> None:
    """Have the student trained, unless the lesson's folder holds it already.

    Args:
        lesson: with a hosted student's block.
        tell: takes a line on how far it is.
        purse: what pays for the job; None = nobody counts.
        offline: reach no provider.

    Raises:
        NothingToLearn: the provider would not take the rows; nothing was sent.
        BudgetReached: the job may cost more than is left; nothing was sent.
        TrainingFailed: it was not trained, or the provider tells nothing of it.
        TeacherRefused: the provider takes nothing from us.
        UserError: offline, and it was not trained before; or another job goes on.
    """
    config = lesson.config
    assert isinstance(config, HostedConfig)  # noqa: S101  the caller asks for this kind alone
    path = lesson.work / FILE
    file = await asyncio.to_thread(lambda: write_chat_file(lesson.examples(), config, path))
    tag = tag_of(file, config)
    mark = fingerprint(FORMAT, config, (), (), tag)
    if holds(lesson.folder, mark):
        return
    if offline:
        raise UserError(
            "student: it is trained by a provider, and the run is offline: run without --offline"
        )
    order = Order(
        tag=tag,
        config=config,
        file=file,
        most=Cost(nano_usd=_nano_usd(config, file.most_tokens * epochs_of(file, config)) or 0),
        nano_usd=lambda tokens: _nano_usd(config, tokens),
    )
    tell(in_words(file, config))
    async with open_jobs(config) as provider:
        status = await Job(order, provider, lesson.work, purse, tell).trained()
    _write(lesson, mark, file, status)


def load_hosted(folder: Path) -> HostedStudent:
    """The student in a folder; the provider is not asked.

    Raises:
        UserError: there is no whole student.
    """
    about = read_about(folder)
    try:
        config = HostedConfig.model_validate(about["config"])
        about["model"], about["system"]
    except (ValueError, KeyError) as error:
        raise damaged(folder, error) from None
    return HostedStudent(
        folder=folder, fingerprint=about["fingerprint"], about=about, config=config
    )


def tag_of(file: ChatFile, config: HostedConfig) -> str:
    """SHA-256 over all that changes what the provider trains: file, base, settings, seed."""
    settings = ("base", "epochs", "batch_size", "learning_rate_multiplier", "seed")
    named = {name: getattr(config, name) for name in settings}
    return hashlib.sha256(canonical([FORMAT, file.sha256, named])).hexdigest()


def epochs_of(file: ChatFile, config: HostedConfig) -> int:
    """Passes over the file: as set, or as OpenAI is likely to choose."""
    if config.epochs is not None:
        return config.epochs
    if file.examples * TARGET_EPOCHS < FEWEST_STEPS:
        return min(MOST_EPOCHS, FEWEST_STEPS // file.examples)
    if file.examples * TARGET_EPOCHS > MOST_STEPS:
        return max(1, MOST_STEPS // file.examples)
    return TARGET_EPOCHS


def in_words(file: ChatFile, config: HostedConfig) -> str:
    """What the job will be, and what it may cost."""
    epochs = epochs_of(file, config)
    about, most = (_nano_usd(config, tokens * epochs) for tokens in (file.tokens, file.most_tokens))
    cost = "cost unknown (student.usd_per_million_tokens)"
    if about is not None and most is not None:
        cost = f"about {about / 1e9:.4f} USD, at most {most / 1e9:.4f}"
    chosen = "" if config.epochs is not None else " (the provider chooses, perhaps so)"
    long = f"; {file.maybe_long} may be too long and cut off" if file.maybe_long else ""
    return (
        f"{file.examples:,} examples, about {file.tokens:,} tokens, {epochs} epochs{chosen}:"
        f" {cost}{long}"
    )


def _nano_usd(config: HostedConfig, tokens: int) -> int | None:
    """What so many trained tokens cost, rounded up; None = unknown."""
    if config.usd_per_million_tokens is None:
        return None
    price = Price(prompt=config.usd_per_million_tokens, completion=0)
    return nano_usd(price, prompt_tokens=tokens, completion_tokens=0)


def _write(lesson: Lesson, mark: str, file: ChatFile, status: JobStatus) -> None:
    config = lesson.config
    assert isinstance(config, HostedConfig)  # noqa: S101  see `train`
    cost = None if status.trained_tokens is None else _nano_usd(config, status.trained_tokens)
    about = {
        "kind": "hosted",
        "fingerprint": mark,
        "model": status.model,
        "job": status.id,
        "rows": file.examples,
        "tokens": status.trained_tokens,
        "usd": None if cost is None else cost / 1e9,
        "hyperparameters": dict(status.hyperparameters),
        "system": file.system,
        "config": config.model_dump(mode="json"),
        "made_from": dict(lesson.made_from),
    }
    with written(lesson.folder, about, _card(about)):
        pass  # it has nothing else


def _card(about: Mapping[str, Any]) -> str:
    config = about["config"]
    tokens, usd = (
        "unknown" if about[name] is None else f"{about[name]:,}" for name in ("tokens", "usd")
    )
    variable = config["api_key_env"]
    key = "No key is sent." if variable is None else f"The key is read from `{variable}`."
    settings = ", ".join(f"{name} {value}" for name, value in about["hyperparameters"].items())
    return f"""# A hosted student

`{about["model"]}`, fine-tuned from `{config["base"]}` by {config["endpoint"]} for synthkd.
Its weights are the provider's: this folder says how to ask it.

## Made from

{origin(about["made_from"])}
* rows: {about["rows"]:,}

## Trained

* job: {about["job"]}
* tokens billed: {tokens}; US dollars: {usd}
* settings: {settings or "not told"}; seed {config["seed"]}

## Load

```python
from pathlib import Path
from synthkd.students.hosted.student import load_hosted

load_hosted(Path(".")).predict(["a text"])
```

{key}
Fingerprint {about["fingerprint"]}.
"""
