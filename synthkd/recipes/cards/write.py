"""`cards.write`: rows for task cards, written by a teacher, exactly so many of each card.

    cards: [cards/ticket_urgency, cards/expense_entry], accept: 100
    -> 50 rows of each: instruction, input, output, task; what breaks schema or rules is none

AnyTaskTune (arXiv 2407.07094) lists the tasks of a domain and fine-tunes a small model on the union
of their data; here a card also says what a row must be, and is held to it. The waves are those of
all generators (`synthkd.recipes.instruct.waves`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, model_validator

from synthkd.io.spool import Table
from synthkd.recipes.cards.card import Card, CardSetting
from synthkd.recipes.cards.made import Made, checked, items_of
from synthkd.recipes.instruct.waves import (
    Candidate,
    Check,
    GrowSettings,
    Pool,
    Question,
    grow,
    most_questions,
)
from synthkd.recipes.instruct.yields import CARD_FULL
from synthkd.recipes.quotas import largest_remainder
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step
from synthkd.teachers.request import Completion
from synthkd.text import tail


class WriteSettings(GrowSettings):
    """Settings of `cards.write`; `accept` is the number of rows of all cards together."""

    cards: Annotated[list[CardSetting], Field(min_length=1)]
    """Names of cards, such as cards/ticket_urgency, or cards themselves; each gets its share of
    `accept` by its `weight`, in whole rows by largest remainder."""
    output_by: Literal["same", "own"] = "same"
    """Whether inputs and output are written in one call, or each output is asked for by itself,
    which costs a call a row, and the teacher sees no output while it writes inputs."""
    per_question: Annotated[int, Field(ge=1, le=100)] = 4
    """Rows asked for with each question."""
    prompt: str = "cards/write"
    """Asks for inputs and outputs; gets what the card says, `like` and `n`."""
    inputs_prompt: str = "cards/inputs"
    """With `output_by: own`: asks for inputs."""
    answer_prompt: str = "cards/answer"
    """With `output_by: own`: asks for an output; gets what the card says, and `inputs`."""
    instruction: str = "input"
    """The field that must be new: of a row that comes in what inputs may be about, and of a row
    that is written its input. What the student is asked to do stands in `instruction`."""
    card: str = "card"
    """The field of a row that comes in with the name of the card that it is for, if it has one."""
    seeds: Literal["keep", "drop"] = "drop"
    """What becomes of the rows that came in; dropped ones live on in those made from them."""

    @model_validator(mode="after")
    def _names_differ(self) -> WriteSettings:
        named = Counter(card.name for card in self.cards)
        if twice := [name for name, times in named.items() if times > 1]:
            raise ValueError(f"two cards are named {twice[0]!r}: rows could not say of which")
        if without := [name for name, quota in self.quotas.items() if not quota]:
            raise ValueError(
                f"accept is {self.accept} for {len(self.cards)} cards, and by their weights"
                f" {without[0]!r} gets no row: raise accept, or leave the card out"
            )
        return self

    @property
    def also_shown(self) -> list[str]:
        """The field that the teacher sees, of a row at a time."""
        return [self.instruction]

    @property
    def quotas(self) -> dict[str, int]:
        """Card -> its rows."""
        weights = [card.weight for card in self.cards]
        shares = largest_remainder(self.accept, weights, [self.accept] * len(weights))
        return dict(zip([card.name for card in self.cards], shares, strict=True))


@dataclass(slots=True)
class _Tally:
    """What became of a card."""

    questions: int = 0
    offered: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def _most(config: WriteSettings, rows: int) -> int:
    questions = most_questions(config, config.per_question)
    return questions * (1 if config.output_by == "same" else 1 + config.per_question)


@table_step(
    "cards.write",
    needs=lambda config: [config.instruction],
    gives=lambda config: ("instruction", "input", "output", "value", "task", "evidence", "origin"),
    supplies=(
        *("about", "instruction", "language", "inputs_schema", "output_schema", "rules"),
        *("examples", "like", "n", "inputs"),
    ),
    asks=_most,
)
def write(table: Table, kit: TableKit, config: WriteSettings, /) -> Iterator[Row]:
    """Have rows written for cards until there are exactly so many of each.

    Gives `instruction`, `input`, `output` (text), `value` (JSON), `task` (the card's name),
    `evidence` and `origin`. Discards `bad_json`, `not_in_schema`, `outside_the_list`, the reasons
    of rules, `card_full`, and what waves discard (`too_similar`, ...). Figures: by card the
    questions, what was offered, lost and accepted.
    """
    writer = CardWriter(config)
    try:
        yield from grow(table, kit, config, writer, gates=[writer.has_room])
    finally:
        kit.note({"cards": writer.figures()})


class CardWriter:
    """Asks for rows of the cards that have room; a `Writer` of waves."""

    def __init__(self, config: WriteSettings) -> None:
        self._config = config
        self.per_question = config.per_question
        self._cards: Mapping[str, Card] = {card.name: card for card in config.cards}
        self._quotas = config.quotas
        self._pool: Pool | None = None
        self._seeds: Mapping[str, Sequence[Row]] = {}
        """Card -> what its inputs may be about."""
        self._counted = 0
        """Rows of the pool that are counted in `_accepted`."""
        self._accepted: Counter[str] = Counter()
        self._tallies = {name: _Tally() for name in self._cards}

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """See `Writer`: the cards that lack most rows get most questions."""
        if self._pool is None:
            self._pool, self._counted = pool, len(pool.made)  # those of earlier rounds do not count
            self._seeds = _seeds_of(pool.seeds, self._cards, self._config.card)
        needs = [quota - self._has(name) for name, quota in self._quotas.items()]
        room = [-(-max(0, need) // self.per_question) for need in needs]
        shares = largest_remainder(min(count, sum(room)), [float(r) for r in room], room)
        return [
            self._question(self._cards[name], pool, rng)
            for name, share in zip(self._quotas, shares, strict=True)
            for _ in range(share)
        ]

    def has_room(self, candidate: Candidate) -> Loss | None:
        """The gate: whether the card of a candidate lacks rows."""
        name = str(candidate.fields["task"])
        if self._has(name) < self._quotas[name]:
            return None
        return Loss(CARD_FULL, f"{name} has its {self._quotas[name]} rows")

    def figures(self) -> dict[str, Json]:
        """Of each card what was asked, offered, lost and accepted."""
        return {
            name: {
                "quota": self._quotas[name],
                "questions": tally.questions,
                "offered": tally.offered,
                "accepted": self._has(name),
                "lost": dict(sorted(tally.lost.items())),
                "dropped": dict(sorted(tally.dropped.items())),
            }
            for name, tally in self._tallies.items()
        }

    def _has(self, name: str) -> int:
        made = [] if self._pool is None else self._pool.made
        for row in made[self._counted :]:
            self._accepted[str(row.fields["task"])] += 1
        self._counted = len(made) if self._pool is not None else self._counted
        return self._accepted[name]

    def _question(self, card: Card, pool: Pool, rng: random.Random) -> Question:
        config = self._config
        seed = rng.choice(self._seeds[card.name])
        prompt = config.prompt if config.output_by == "same" else config.inputs_prompt
        inputs = {**card.shown, "like": pool.text(seed), "n": config.per_question}
        self._tallies[card.name].questions += 1
        return Question(prompt=prompt, inputs=inputs, parents=[seed], about={"task": card.name})

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """See `Writer`."""
        card = self._cards[str(question.about["task"])]
        tally = self._tallies[card.name]
        for item in items_of(reply.text):
            tally.offered += 1
            offer = item if isinstance(item, Loss) else self._offer(card, item, question)
            if isinstance(offer, Loss):
                tally.lost[offer.reason] += 1
            yield offer

    def _offer(self, card: Card, item: Any, question: Question) -> Candidate | Loss:
        if self._config.output_by == "own":
            return self._without_output(card, item, question)
        made = checked(card, item)
        if isinstance(made, Loss):
            return made
        self._drop(made)
        return Candidate(text=card.asked_with(made.inputs), fields=_fields(made))

    def _without_output(self, card: Card, item: Any, question: Question) -> Candidate | Loss:
        """Inputs alone; the answer to the check is their output, and completes the fields."""
        read = card.inputs_schema.read(orjson.dumps({"inputs": item}).decode())
        if read.faults:
            return Loss("not_in_schema", "; ".join(read.faults)[:500])
        fields: dict[str, Json] = {"task": card.name}

        def says(reply: Completion) -> Loss | None:
            found = items_of(reply.text, of="output")
            output = found[0] if found else Loss("bad_json", tail(reply.text))
            made = (
                output
                if isinstance(output, Loss)
                else checked(card, {"inputs": item, "output": output})
            )
            if isinstance(made, Loss):
                self._tallies[card.name].lost[made.reason] += 1
                return made
            self._drop(made)
            fields.update(_fields(made))
            return None

        shown = {**card.shown, "inputs": orjson.dumps(item).decode()}
        check = Question(prompt=self._config.answer_prompt, inputs=shown, parents=question.parents)
        return Candidate(
            text=card.asked_with(item), fields=fields, check=Check(question=check, says=says)
        )

    def _drop(self, made: Made) -> None:
        self._tallies[made.card.name].dropped.update(loss.reason for loss in made.dropped)


def _seeds_of(
    seeds: Sequence[Row], names: Iterable[str], field: str
) -> Mapping[str, Sequence[Row]]:
    """Of each card the rows that name it; else those that name none, else all."""
    for_all = [one for one in seeds if one.fields.get(field) is None]
    for_card: dict[str, list[Row]] = {name: [] for name in names}
    for one in seeds:
        if isinstance(name := one.fields.get(field), str) and name in for_card:
            for_card[name].append(one)
    return {name: rows or for_all or seeds for name, rows in for_card.items()}


def _fields(made: Made) -> dict[str, Json]:
    return made.fields(instruction="instruction", output="output", value="value")
