"""`ner`: what a text speaks of, as mentions with types, asked of one teacher or of several.

    text: "Ada Lovelace was born in London."
    ->  mentions: [{text: Ada Lovelace, type: person, teachers: [a], support: 1}, ...]

Types are free, with definitions on top (`ner/define`), or given (`ner/types`). The open question
and what is made of its answers follow UniversalNER (arXiv 2308.03279). Where the mentions stand in
the text is what `ner.ground` finds out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from pydantic import Field, model_validator

from synthkd.config import Count, Samples, Teachers
from synthkd.errors import Rejected
from synthkd.graphs.mention import Mention, read_mentions, type_name
from synthkd.recipes.replies import Loss, discard_all, give_up, readable
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step

GIVEN = "ner/types"


class NerSettings(StepSettings):
    """Settings of `ner`."""

    teachers: Teachers
    """Whom to ask; each mention says who has it."""
    prompt: str = "ner/open"
    """The prompt; also shipped: ner/define (types and their definitions) and ner/types (the types
    in `types` alone)."""
    types: list[str] = Field(default=[])
    """The types that are wanted, for a prompt with the input `types`; none = any."""
    singular: bool = True
    """Whether free types lose an English plural, so that "cities" and "city" are one."""
    samples: Samples = 1
    """Replies of each teacher."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    keep_empty: bool = True
    """Whether a row stays whose text speaks of nothing: a student learns from it too."""
    into: str = "mentions"
    """The field for the mentions."""

    @model_validator(mode="after")
    def _types_that_are_asked_for(self) -> NerSettings:
        if (self.prompt == GIVEN) and not self.types:
            raise ValueError("prompt: ner/types needs `types`, the types that are wanted")
        if self.types and self.prompt in ("ner/open", "ner/define"):
            raise ValueError(f"types: {self.prompt} asks for any; name `prompt: ner/types`")
        seen: dict[str, str] = {}
        for name in self.types:
            key = type_name(name)
            if not key:
                raise ValueError(f"types: {name!r} is empty")
            if key in seen:
                raise ValueError(f"types: {seen[key]!r} and {name!r} are the same type")
            seen[key] = name
        return self


@dataclass(slots=True, kw_only=True)
class _Found:
    """A mention, and who has it."""

    mention: Mention
    teachers: list[str] = field(default_factory=list)
    replies: int = 0


@step("ner", gives=lambda config: [config.into], supplies=("types",))
async def ner(row: Row, kit: Kit, config: NerSettings, /) -> AsyncIterator[Row]:
    """Ask what a text speaks of; keep each mention once, with who has it and how often.

    Gives `into`: objects with text, type, teachers, support, and the definition where the reply
    has one. Discards `no_list` (a reply without any), `empty_part`, `too_long`, `no_mention`,
    `cut`, `other_type`; rejects `no_list` when no reply has one.
    """
    given = {type_name(name): name for name in config.types}
    listed: dict[str, Json] = {"types": [*config.types]} if given else {}
    replies = await kit.ask_many(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **listed),
        teachers=config.teachers,
        samples=config.samples,
        longer=config.longer,
    )
    found: dict[tuple[str, str], _Found] = {}
    losses: list[Loss] = []
    read = 0
    for place, reply in readable(replies, losses):
        spotted = read_mentions(reply.text)
        losses.extend(Loss(*fault) for fault in spotted.faults)
        if spotted.way == "none":
            losses.append(Loss("no_list", reply.text[:200]))
            continue
        read += 1
        known = [_typed(one, given, losses, config) for one in spotted.mentions]
        _add(found, known, config.teachers[place // config.samples])
    if not read:
        give_up(replies, losses)
    if not found and not config.keep_empty:
        raise Rejected("no_mentions", f"of {len(replies)} replies none has a mention")
    discard_all(kit, losses)
    yield row.with_fields(**{config.into: [_as_json(one, len(replies)) for one in found.values()]})


def _typed(
    mention: Mention, given: dict[str, str], losses: list[Loss], config: NerSettings
) -> Mention | None:
    """The mention with its type in one spelling; None = its type was not asked for."""
    kind = type_name(mention.type, singular=not given and config.singular)
    if given:
        spelled = given.get(kind) or given.get(type_name(kind, singular=True))
        if spelled is None:
            losses.append(Loss("other_type", f"{mention.text} | {mention.type}"[:200]))
            return None
        kind = spelled
    return Mention(mention.text, kind, mention.definition)


def _add(
    found: dict[tuple[str, str], _Found], mentions: Iterable[Mention | None], teacher: str
) -> None:
    """What one reply says; a mention that it has twice counts once."""
    fresh: set[tuple[str, str]] = set()
    for mention in mentions:
        if mention is None:
            continue
        key = mention.text, mention.type
        one = found.setdefault(key, _Found(mention=mention))
        if key not in fresh:
            fresh.add(key)
            one.replies += 1
            if teacher not in one.teachers:
                one.teachers.append(teacher)


def _as_json(one: _Found, replies: int) -> Json:
    said = one.mention
    more = {} if said.definition is None else {"definition": said.definition}
    teachers: list[Json] = [*one.teachers]
    return {
        "text": said.text,
        "type": said.type,
        **more,
        "teachers": teachers,
        "support": one.replies / replies,
    }
