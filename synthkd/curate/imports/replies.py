"""`import.replies`: what a field of a dump holds becomes the row's candidates.

    text: completion                    a text, or a list of texts or of {text: ...}
    messages: messages                  [{role, content}, ...]: the assistant's last turn

From there on a dump is like what a teacher of ours said: `candidates` in the row, for `choose.*`,
`thoughts.choose`, `import.audit` and the gates. Nothing is thrown away for how it reads: a
candidate whose answer cannot be read has a `status` that says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import model_validator

from synthkd.answers import AnswerSettings, choices_of, read
from synthkd.curate.fields import value_of
from synthkd.errors import Rejected, RowError
from synthkd.recipes.parts import has_tags, read_parts
from synthkd.recipes.pool import OK, POOL, Candidate, told
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step

TEXTS = ("text", "content", "completion", "response", "generation", "output")
"""Where an object of a list has its text, in the dumps that are about."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")
"""Where a message or an object has a thought that was kept apart."""
_CHOICE = re.compile(r"^[ \t]*\(([a-z])\)[ \t]+(\S.*)$", re.MULTILINE)


class RepliesSettings(StepSettings):
    """Settings of `import.replies`."""

    text: str | None = None
    """The field with the reply: a text, a list of texts, or of objects with a text."""
    messages: str | None = None
    """Instead: a field with [{role, content}, ...] that ends with the assistant. The question is
    what the user says in it, and becomes the field `question`; a system message, `system`."""
    thought: str | None = None
    """The field with the thoughts, where they are kept apart: as many as there are replies."""
    reasoning: str | None = None
    """The field with the reasoning, where a dump has it apart from a short answer (as those of
    reasoning-teacher, arXiv 2212.10071): it goes before the reply, with `join` between."""
    join: str = "\nSo the answer is "
    """What stands between `reasoning` and reply; a cue, so that the answer is found."""
    by: str = "imported"
    """Who said it: the `teacher` of the candidates."""
    by_field: str | None = None
    """Instead: the field with the name."""
    choices_in: str | None = None
    """A field whose text ends with the choices, a line each: "(a) park", as those of Distilling
    Step-by-Step. They become the field that `answer.choices` names."""
    answer: AnswerSettings = AnswerSettings()
    """What the answer is, and where it stands."""

    @model_validator(mode="after")
    def _one(self) -> RepliesSettings:
        if (self.text is None) == (self.messages is None):
            raise ValueError("must name exactly one of text, messages")
        if self.messages is not None and (self.thought or self.reasoning):
            raise ValueError(
                "messages have their thoughts in themselves: leave thought and reasoning out"
            )
        if self.choices_in is not None and self.answer.choices is None:
            raise ValueError("choices_in needs answer: {choices: FIELD}, the field for the list")
        return self

    @property
    def row_fields(self) -> list[str]:
        """The fields of a row that are read."""
        choices = self.choices_in or self.answer.choices
        named = (self.text, self.messages, self.thought, self.reasoning, self.by_field, choices)
        return [name for name in named if name is not None]


class Reply(NamedTuple):
    """One reply of a dump."""

    text: str | None
    thought: str | None = None


def _gives(config: RepliesSettings) -> Iterable[str]:
    asked = ["question", "system"] if config.messages is not None else []
    listed = [config.answer.choices or ""] if config.choices_in is not None else []
    return [POOL, *asked, *listed]


@step("import.replies", needs=lambda config: config.row_fields, gives=_gives)
async def replies(row: Row, kit: Kit, config: RepliesSettings, /) -> AsyncIterator[Row]:
    """Read the replies of a dump into `candidates`: thought, rationale, answer, status of each.

    Rejects `no_candidate` (nothing with a text), `no_choices`, `not_a_talk`, and `several_turns`:
    an answer that builds on others belongs to no single question. Figures: candidates by status.
    """
    made: dict[str, Json] = {}
    if config.messages is not None:
        made["question"], made["system"], found = _of_messages(row, config.messages)
    else:
        found = _of_fields(row, config)
    if not any(reply.text and reply.text.strip() for reply in found):
        raise Rejected("no_candidate", f"no reply has a text, got {found!r:.200}")
    if config.choices_in is not None:
        made[config.answer.choices or ""] = _choices_in(row, config.choices_in)
    choices = choices_of({**row.fields, **made}, config.answer)
    by = config.by if config.by_field is None else str(value_of(row, config.by_field))
    pool = [
        _candidate(reply, by, place, config.answer, choices) for place, reply in enumerate(found)
    ]
    for status, times in Counter(one.status for one in pool).items():
        kit.count("candidates" if status == OK else f"candidates: {status}", times)
    yield row.with_fields(**made, **{POOL: told(pool)})


def _candidate(
    reply: Reply, teacher: str, place: int, config: AnswerSettings, choices: list[str] | None
) -> Candidate:
    if reply.text is None or not reply.text.strip():
        return Candidate(teacher=teacher, sample=place, status="empty_answer")
    thought, solution, fault = reply.thought, reply.text, None
    if thought or has_tags(reply.text):
        parts = read_parts(reply.text, reasoning=thought)
        thought, fault = parts.thought or None, parts.fault
        solution = parts.solution
    reading = read(solution, config, choices=choices)
    return Candidate(
        teacher=teacher,
        sample=place,
        text=reply.text,
        thought=thought,
        rationale=reading.rationale,
        answer=reading.answer,
        status=fault or reading.status,
    )


# --- where the replies are


def _of_fields(row: Row, config: RepliesSettings) -> list[Reply]:
    texts = _listed(value_of(row, config.text or ""))
    thoughts = _beside(row, config.thought, len(texts))
    reasons = _beside(row, config.reasoning, len(texts))
    found = []
    for value, thought, reason in zip(texts, thoughts, reasons, strict=True):
        text, own = _text(value), _first(value, THOUGHTS)
        if text is not None and isinstance(reason, str):
            text = f"{reason.rstrip()}{config.join}{text.strip()}"
        found.append(Reply(text, thought if isinstance(thought, str) else own))
    return found


def _beside(row: Row, field: str | None, count: int) -> Sequence[Json]:
    """As many values as there are replies.

    Raises:
        RowError: there are fewer or more, so nobody knows which belongs to which.
    """
    if field is None:
        return [None] * count
    values = _listed(value_of(row, field))
    if len(values) != count:
        raise RowError(f"{field} has {len(values)} values beside {count} replies: each needs one")
    return values


def _of_messages(row: Row, field: str) -> tuple[str, str | None, list[Reply]]:
    """The question, the system message, and the reply.

    Raises:
        Rejected: it is no such conversation.
    """
    value = value_of(row, field)
    talk = [*value] if isinstance(value, list | tuple) else []
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in talk]
    plain = [role for role in roles if role != "system"]
    if not plain or plain[-1] != "assistant" or set(plain) - {"user", "assistant"}:
        raise Rejected(
            "not_a_talk", f"{field} must be messages of user and assistant, got {value!r:.160}"
        )
    if plain != ["user", "assistant"] or roles[1:].count("system"):
        raise Rejected("several_turns", f"{field} has the turns {', '.join(map(str, roles))}")
    *before, last = talk
    question, system = _text(before[-1]), _text(before[0]) if len(before) > 1 else None
    if question is None:
        raise Rejected(
            "not_a_talk", f"{field}: the user says {before[-1]!r:.120}, which is no text"
        )
    return question, system, [Reply(_text(last), _first(last, THOUGHTS))]


def _choices_in(row: Row, field: str) -> list[Json]:
    """The choices that a text lists.

    Raises:
        Rejected: `no_choices`: it lists fewer than two.
    """
    text = str(value_of(row, field))
    found: list[Json] = []
    for letter, choice in _CHOICE.findall(text):
        if letter == "a":
            found = []  # what came before was part of the question
        if ord(letter) - ord("a") == len(found):
            found.append(choice.strip())
    if len(found) < 2:
        raise Rejected("no_choices", f"{field} has no lines of (a) ... (b) ...: {text[-160:]}")
    return found


def _listed(value: Json) -> list[Json]:
    return [*value] if isinstance(value, list | tuple) else [value]


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else _first(value, TEXTS)


def _first(value: Json, names: Sequence[str]) -> str | None:
    """The first text that an object has under one of the names."""
    if not isinstance(value, Mapping):
        return None
    texts = (value.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text.strip()), None)
