"""`instruct.magpie`: an aligned model writes the user's turn itself, out of nothing.

Magpie (arXiv 2406.08464): the model is given what its chat template has before a user's words, and
continues. So the teacher must be asked through the completions API, where the template is ours: a
chat endpoint would put its own around. The same few characters are sent for every row; which of
them is asked for is told by the number of the sample.

    - {use: instruct.magpie, with: {teacher: writer, template: chatml, accept: 1000}}
    - {use: respond, with: {teacher: answerer}}       # the same model, temperature 0

The rows that come in may each have a system message (`system`), which steers what the turns are
about; they are asked in turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import model_validator

from synthkd.config import TeacherConfig
from synthkd.errors import UserError
from synthkd.hints import near
from synthkd.io.spool import Table
from synthkd.recipes.instruct.turns import KNOWN, TurnTemplate, mark_in, turn_in
from synthkd.recipes.instruct.waves import (
    Candidate,
    GrowSettings,
    Pool,
    Question,
    grow,
    most_questions,
    new_rows,
)
from synthkd.recipes.instruct.written import Form, FormSettings
from synthkd.recipes.replies import Loss
from synthkd.rows import Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion
from synthkd.text import tail

CHAT_ONLY = frozenset(
    {
        *("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"),
        *("api.mistral.ai", "api.groq.com"),
    }
)
"""Hosts that take messages alone, from memory and not from their pages: one that is missing here is
told of by the first question."""
WITH_COMPLETIONS = frozenset({"gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"})
"""Models there that take raw text all the same."""


class MagpieSettings(GrowSettings):
    """Settings of `instruct.magpie`; the teacher's temperature and top_p are 1 in the paper."""

    template: str | TurnTemplate
    """The teacher's chat template: chatml, llama3, llama2, mistral, gemma, phi3, zephyr, or its
    pieces `{opening, system, end, assistant}`."""
    system: str | None = None
    """The field with a system message; None, or null in a row = none is sent."""
    prompt: str = "magpie/turn"
    """The prompt: a raw block with `opening` alone."""
    form: FormSettings = FormSettings(min_words=2, max_words=500, blacklist=())
    """What a turn must look like."""
    seeds: Literal["keep", "drop"] = "drop"
    """The rows that came in are no instructions."""

    @model_validator(mode="after")
    def _known(self) -> MagpieSettings:
        if isinstance(self.template, str) and self.template not in KNOWN:
            raise ValueError(
                f"template: {self.template!r} is none of {', '.join(KNOWN)}"
                f"{near(self.template, KNOWN)}; give the pieces of any other one:"
                " {opening, end, assistant}"
            )
        if self.system is not None and self.pieces.system is None:
            raise ValueError(
                f"system: the template {self.template!r} has no place for a system message"
            )
        return self

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees, inside of the opening."""
        return [] if self.system is None else [self.system]

    @property
    def pieces(self) -> TurnTemplate:
        """The template's."""
        return KNOWN[self.template] if isinstance(self.template, str) else self.template

    def bound_faults(
        self,
        use: str,
        teachers: Mapping[str, TeacherConfig],
        prompts: Mapping[str, str],
        folder: Path,
    ) -> Iterable[str]:
        """See `StepSettings.bound_faults`."""
        if self.teacher in teachers:
            yield from _faults(use, self.teacher, teachers[self.teacher], self.pieces.end)


def _faults(use: str, name: str, teacher: TeacherConfig, end: str) -> Iterable[str]:
    if teacher.recorded is not None:
        yield f"teacher: {use} needs one that continues raw text, and {name!r} has recorded answers"
    urls = [teacher.endpoint] if isinstance(teacher.endpoint, str) else teacher.endpoint or []
    for host in {urlsplit(url).hostname or "" for url in urls} & CHAT_ONLY:
        if teacher.model not in WITH_COMPLETIONS:
            yield (
                f"teacher: {use} needs one that continues raw text (the path /completions), and"
                f" {teacher.model} at {host} takes chat messages alone: take a model that you serve"
                " yourself (vLLM), or instruct.self for this one"
            )
    if teacher.kind in {"http", "vllm"} and end not in _stops(teacher):
        yield (
            f"teacher: {name!r} must stop where the user's turn ends: add params: {{stop:"
            f" [{end!r}]}}"
        )


def _stops(teacher: TeacherConfig) -> Sequence[object]:
    stop = teacher.params.get("stop")
    return [stop] if isinstance(stop, str) else list(stop) if isinstance(stop, list) else []


def _unfit(config: MagpieSettings, row: Row) -> Loss | None:
    """Whether a system message would end its own turn: nothing fences it in raw text."""
    system = None if config.system is None else row.fields.get(config.system)
    mark = mark_in(system, config.pieces) if isinstance(system, str) else None
    return None if mark is None else Loss("template_leak", f"{mark!r} in the system message")


class Turns:
    """Asks for the next turn, of each row that came in by turns; a `Writer`."""

    per_question = 1

    def __init__(self, config: MagpieSettings) -> None:
        self._config = config
        self._asked = 0

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`."""
        first, self._asked = self._asked, self._asked + count
        numbers = range(first, first + count)
        return [self._question(pool.seeds[number % len(pool.seeds)]) for number in numbers]

    def _question(self, row: Row) -> Question:
        system = None if self._config.system is None else row.fields.get(self._config.system)
        text = system if isinstance(system, str) and system.strip() else None
        # Of a row that is no system message, nothing is true of the new one.
        known = {} if self._config.system is None else row.fields
        return Question(
            prompt=self._config.prompt,
            inputs={"opening": self._config.pieces.opened(text)},
            parents=[row],
            about={**{name: known[name] for name in known if name != "output"}, "input": ""},
        )

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`."""
        if reply.finish == "length":
            yield Loss("cut", tail(reply.text))
            return
        found = turn_in(reply.text, self._config.pieces)
        yield found if isinstance(found, Loss) else Candidate(text=found)


@table_step(
    "instruct.magpie",
    needs=lambda config: [] if config.system is None else [config.system],
    gives=lambda config: (config.instruction, "input", "origin"),
    supplies=("opening",),
    asks=lambda config, rows: most_questions(config, 1) if rows else 0,
    makes=new_rows,
)
def magpie(table: Table, kit: TableKit, config: MagpieSettings, /) -> Iterator[Row]:
    """Magpie: user turns that an aligned model writes, until there are `accept` of them.

    Gives the instruction, an empty input, `origin`, and the fields of the row whose system message
    was sent, but for its `output`. Discards `empty_turn`, `several_turns`, `template_leak`, `cut`,
    `too_short`, `too_long`, `starts_with_punctuation`, `held_out`, `too_similar`, `enough`, or for
    what is wrong with the reply. Rejects rows whose system message has marks of a template
    (`template_leak`). Memory: all that is accepted.

    Raises:
        UserError: the prompt is one of messages.
    """
    prompt = kit.desk.prompts.get(config.prompt)
    if prompt is not None and prompt.api != "completions":
        raise UserError(
            f"{kit.desk.step}: the prompt {config.prompt!r} is one of messages, which a server puts"
            " into its own template: write it as one {# raw #} block with {{ opening }}"
        )
    return grow(
        table, kit, config, Turns(config), [Form(config.form)], seed_fault=partial(_unfit, config)
    )
