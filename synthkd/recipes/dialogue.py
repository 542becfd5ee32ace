"""`dialogue`: two teachers talk, one in the part of a user, and the conversation is learnt.

    messages: [{role: user, content: ...}, {role: assistant, content: ...}, ...]

The user has a goal and perhaps a profile, and says when the goal is reached. In a share of the
turns the assistant must ask back before it advises, as Zhongjing's doctors do (arXiv 2308.03549:
multi-turn with proactive inquiry): its first turns are those. What models do wrong when they play a
part ends the row, with the reason: `synthkd.recipes.talk`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from synthkd.config import Count, Share
from synthkd.errors import Rejected
from synthkd.recipes.systems import SYSTEM, SystemSettings, system_for
from synthkd.recipes.talk import Message, turn_fault, written_by
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.text import answer_text, tail

SUPPLIES = ("goal", "profile", "transcript", "stop", "turn", "system", "ask_back")
QUESTION_MARKS = "?\uff1f\u061f\u037e\u055e"
"""Latin, full width, Arabic, Greek, Armenian."""
EXCHANGES, ASKED_BACK, ENDED = "exchanges", "turns that ask back", "ended by"


class DialogueSettings(SystemSettings):
    """Settings of `dialogue`."""

    user: str
    """The teacher that plays the user."""
    assistant: str
    """The teacher that answers, and whose turns are learnt."""
    goal: str = "instruction"
    """The field with what the user wants."""
    profile: str = "profile"
    """The field with who the user is; a row without one draws from `profiles`."""
    profiles: Annotated[list[str], Field(min_length=1)] | None = None
    """Who a user may be, of which each row draws one; null = nothing is said of it."""
    opening: str | None = None
    """The field with the user's first words; by default the user's teacher writes them too."""
    turns: Annotated[int, Field(ge=1, le=64)] = 3
    """Turns of each, at most."""
    ask_back: Share = 0.0
    """The share of the assistant's turns, of `turns`, that must ask before they advise: its first
    ones, never the last. What is left over of a turn is left to chance, so that it is the share
    over many rows."""
    stop: Annotated[str, Field(min_length=2)] = "[DONE]"
    """What the user says when the goal is reached, in capitals or not; it is no part of the
    conversation."""
    least: Count | None = None
    """A conversation that is spoilt after so many exchanges is kept up to there; null = never."""
    longest: Count | None = None
    """Characters of a user's turn; a longer one is refused (`long_turn`): a user who answers in the
    assistant's place does so at length. null = any."""
    user_prompt: str = "dialogue/user"
    assistant_prompt: str = "dialogue/assistant"
    longer: Count | None = None
    """Tokens: a turn that was cut is asked for again, once, with this `max_tokens`."""
    into: str = "messages"
    """The field for the conversation."""

    @model_validator(mode="after")
    def _room_for_advice(self) -> Self:
        if self.ask_back and self.turns < 2:
            raise ValueError("ask_back needs turns of 2 or more: the last one advises")
        return self

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        return [self.user, self.assistant]

    @property
    def also_shown(self) -> list[str]:
        """Fields that a teacher sees inside of what is computed, where a row has them."""
        opening = [self.opening] if self.opening is not None else []
        return [self.goal, self.profile, *opening, SYSTEM]

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return self.turns


def _needs(config: DialogueSettings) -> Iterable[str]:
    return [config.goal, *([config.opening] if config.opening is not None else [])]


def _gives(config: DialogueSettings) -> Iterable[str]:
    return [config.into, SYSTEM, "profile", "asked_back", "ended"]


class Exchange(NamedTuple):
    """What the user said, and the answer."""

    user: str
    assistant: str
    asks: bool
    """Whether the answer had to ask back, and does."""


@step("dialogue", needs=_needs, gives=_gives, supplies=SUPPLIES)
async def dialogue(row: Row, kit: Kit, config: DialogueSettings, /) -> AsyncIterator[Row]:
    """Have two teachers talk, and keep what they said as `messages`.

    Gives the conversation (`into`), `system` and `profile` (null = none), `asked_back` (which of
    the assistant's turns, from 0, ask before they advise) and `ended`: `stop`, `turns`, or what
    spoilt it after `least` exchanges. Rejects `no_goal`, `no_talk`, `no_advice`, `asked_nothing`,
    `empty_turn`, `truncated`, `plays_both`, `template_leak`, `role_confusion`, `user_as_assistant`,
    `repeated_turn`, `long_turn`, `refused`, `content_filter`, `repetition`, `not_text`,
    `called_tools`.
    """
    goal = answer_text(row.fields.get(config.goal))
    if goal is None or not goal.strip():
        raise Rejected("no_goal", f"{config.goal} is {row.fields.get(config.goal)!r:.120}")
    system = system_for(row, kit, config)
    profile = _profile(row, kit, config)
    asking = _asking(kit, config)
    about: dict[str, Json] = {"goal": goal, "profile": profile, "stop": config.stop}
    done: list[Exchange] = []
    ended = "turns"
    try:
        for turn in range(config.turns):
            said = messages_of(done, None)
            words = await _user(row, kit, config, about, said)
            if words is None:
                ended = "stop"
                break
            answer = await _assistant(row, kit, config, system, words, said, turn < asking)
            done.append(Exchange(words, answer, turn < asking))
    except Rejected as fault:
        if config.least is None or len(done) < config.least:
            raise
        kit.discard(fault.reason, fault.detail)
        ended = fault.reason
    if not done:
        raise Rejected("no_talk", f"the user says {config.stop} before anything was said")
    if done[-1].asks:
        raise Rejected("no_advice", f"ended ({ended}) after: {tail(done[-1].assistant)}")
    asked_back = [place for place, one in enumerate(done) if one.asks]
    kit.count(EXCHANGES, len(done))
    kit.count(ASKED_BACK, len(asked_back))
    kit.count(f"{ENDED} {ended}")
    made: dict[str, Json] = {config.into: messages_of(done, system), "profile": profile}
    yield row.with_fields(**made, system=system, asked_back=asked_back, ended=ended)


def messages_of(done: Sequence[Exchange], system: str | None) -> list[Message]:
    """The exchanges as messages, after the system message if there is one."""
    said: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for one in done:
        said.append({"role": "user", "content": one.user})
        said.append({"role": "assistant", "content": one.assistant})
    return said


def _profile(row: Row, kit: Kit, config: DialogueSettings) -> Json:
    own = row.fields.get(config.profile)  # an object is shown as JSON
    if own in (None, "") and config.profiles is not None:
        return kit.rng.choice(config.profiles)
    return own


def _asking(kit: Kit, config: DialogueSettings) -> int:
    """How many of the assistant's turns, from the first on, ask before they advise."""
    wanted = config.ask_back * config.turns
    asking = math.floor(wanted)
    if wanted > asking:
        asking += kit.rng.random() < wanted - asking
    return min(asking, config.turns - 1)


async def _user(
    row: Row,
    kit: Kit,
    config: DialogueSettings,
    about: Mapping[str, Json],
    said: Sequence[Message],
) -> str | None:
    """What the user says next; None = the goal is reached.

    Raises:
        Rejected: it is not what a user says.
        TeacherError: nobody replied.
    """
    if config.opening is not None and not said:
        opening = answer_text(row.fields.get(config.opening))
        if opening is None or not opening.strip():
            raise Rejected("empty_turn", f"user: {config.opening} is {opening!r}")
        return opening.strip()
    inputs = inputs_of(row, kit.prompts[config.user_prompt].inputs, transcript=list(said), **about)
    reply = await kit.ask(config.user_prompt, inputs, teacher=config.user, longer=config.longer)
    words = written_by(reply, "user")
    if config.stop.casefold() in words.casefold():
        return None  # thanks before it would want an answer
    if (fault := turn_fault(words, "user", said)) is not None:
        raise Rejected(*fault)
    if config.longest is not None and len(words) > config.longest:
        raise Rejected("long_turn", f"{len(words)} characters, longest is {config.longest}")
    return words


async def _assistant(
    row: Row,
    kit: Kit,
    config: DialogueSettings,
    system: str | None,
    words: str,
    said: Sequence[Message],
    asks: bool,
) -> str:
    """The answer.

    Raises:
        Rejected: it is none, or `asked_nothing` where it was to ask.
        TeacherError: nobody replied.
    """
    known: dict[str, Json] = {"turn": words, "system": system, "ask_back": asks}
    inputs = inputs_of(row, kit.prompts[config.assistant_prompt].inputs, **known)
    reply = await kit.ask(
        config.assistant_prompt,
        inputs,
        teacher=config.assistant,
        history=said,
        longer=config.longer,
    )
    answer = written_by(reply, "assistant")
    heard = [*said, {"role": "user", "content": words}]
    if (fault := turn_fault(answer, "assistant", heard)) is not None:
        raise Rejected(*fault)
    if asks and not any(mark in answer for mark in QUESTION_MARKS):
        raise Rejected("asked_nothing", f"was to ask before it advises: {tail(answer)}")
    return answer
