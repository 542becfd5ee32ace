"""`triples.entail`: whether a text says what a triple says, asked of a judge.

    text: "Ada Lovelace was born in London."
    ->  born in(Ada Lovelace, London) stays; died in(Ada Lovelace, London) goes (not_entailed)

`triples.ground` sees names alone: that this relation holds between them, the right way round, only
a reader can tell. The premise is the proposition that a triple was taken from (SynthKG, arXiv
2410.16597, section 3), or the whole text where it has none or the settings say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from synthkd.curate.fields import text_of
from synthkd.curate.triples.held import Held, held, kept, lost
from synthkd.errors import TeacherError
from synthkd.kit import Kit
from synthkd.recipes.objects import own_objects
from synthkd.recipes.replies import loss_of
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent

YES, NO, UNCLEAR = "yes", "no", "unclear"
REASONS = {NO: "contradicted", UNCLEAR: "not_entailed"}
"""What a verdict that is not `yes` is called where a triple goes for it."""


class EntailSettings(StepSettings):
    """Settings of `triples.entail`."""

    teacher: str
    """The judge; not the teacher that wrote the triples, where there is another."""
    prompt: str = "triples/entailed"
    """Shows a premise and numbered statements."""
    triples: str = "graph"
    """The field with the triples."""
    text: str = "text"
    """The field with the text."""
    by: Literal["proposition", "text"] = "proposition"
    """The premise: the triple's own `proposition` (the text where it has none), or the `text`. A
    proposition is the teacher's own sentence: that the text says it is another question."""
    at_once: int = Field(default=8, ge=1, le=50)
    """Statements in one question; those of one premise go together."""
    keep_unread: bool = False
    """Whether a triple stays about which the judge says nothing that can be read."""
    keep_empty: bool = False
    """Whether a row stays of which no triple is left."""


@step(
    "triples.entail",
    needs=lambda config: [config.triples, config.text],
    supplies=("premise", "statements"),
)
async def entail(row: Row, kit: Kit, config: EntailSettings, /) -> AsyncIterator[Row]:
    """Takes out triples that their premise does not say.

    Each triple that stays has `entailed: yes` (or null, with `keep_unread`). Discards
    `not_entailed`, `contradicted`, `no_verdict` (nothing about it can be read); rejects
    `no_triples`. The row fails when the judge does not reply. Figures: verdicts.
    """
    triples = held(row, config.triples)
    groups = _groups(triples, text_of(row, config.text), config)
    questions = [
        {"premise": premise, "statements": [" | ".join(triples[at].triple.parts) for at in places]}
        for premise, places in groups
    ]
    replies = await kit.ask_each(config.prompt, questions, teachers=[config.teacher])
    verdicts: dict[int, str] = {}
    for (_, places), reply in zip(groups, replies, strict=True):
        if isinstance(reply, TeacherError):
            raise reply
        said = read_verdicts(reply, len(places))
        verdicts |= {at: said[number] for number, at in enumerate(places) if number in said}
    stay: list[Json] = []
    for at, one in enumerate(triples):
        verdict = verdicts.get(at)
        kit.count(f"verdicts: {verdict or 'unread'}")
        if verdict == YES or (verdict is None and config.keep_unread):
            stay.append(one.as_json(entailed=verdict))
        else:
            lost(kit, "no_verdict" if verdict is None else REASONS[verdict], one.triple)
    yield kept(row, config.triples, stay, before=len(triples), keep_empty=config.keep_empty)


def read_verdicts(reply: Completion, statements: int) -> dict[int, str]:
    """Place of a statement, from 0 -> `yes`, `no` or `unclear`; those that can be read.

    The reply's last object counts, so that one which is quoted is no verdict.
    """
    objects = () if loss_of(reply) is not None else own_objects(reply.text)
    if not objects:
        return {}
    numbers = {str(number) for number in range(1, statements + 1)}
    found: dict[int, str] = {}
    for name, value in objects[-1].items():
        verdict = equivalent(value) if isinstance(value, str) else None
        number = name.strip().rstrip(".")
        if number in numbers and verdict in (YES, NO, UNCLEAR):
            found[int(number) - 1] = verdict
    return found


def _groups(
    triples: Sequence[Held], text: str, config: EntailSettings
) -> list[tuple[str, list[int]]]:
    """Each premise with the places of its triples, no more of them than go into one question."""
    by_premise: dict[str, list[int]] = {}
    for at, one in enumerate(triples):
        by_premise.setdefault(_premise(one.more, text, config), []).append(at)
    return [
        (premise, places[start : start + config.at_once])
        for premise, places in by_premise.items()
        for start in range(0, len(places), config.at_once)
    ]


def _premise(more: Mapping[str, Json], text: str, config: EntailSettings) -> str:
    proposition = more.get("proposition") if config.by == "proposition" else None
    return proposition if isinstance(proposition, str) and proposition.strip() else text
