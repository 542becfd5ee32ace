"""The driver of every generator: it asks in waves, looks at what comes, and keeps exactly so many.

    class Writer:
        per_question = 8
        def questions(self, pool, rng, count): ...      # of one wave
        def read(self, question, reply): ...            # candidates, and what is wrong with others

    yield from grow(table, kit, config, Writer(), gates=[...])

What a wave asks is a function of the seeds, the settings, `kit.rng` and the pool of the waves
before it; replies are treated in the order of the questions. So the rows depend neither on the
order in which answers come nor on where a run was killed, and a run that goes on asks nothing that
it has bought. `accept` has no part in what a wave asks, unless the writer has quotas, as those of
`cards.write` and `curriculum.expand`: a run for fewer rows is the beginning of a run for more, and
costs nothing where that one is in the ledger.

A question whose answer failed for a passing reason would change all that comes after it, once it is
answered: it is asked again, and if that is of no use the run stops, to be gone on with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveInt

from synthkd import table_kit
from synthkd.config import Share
from synthkd.desk import ROUND_OFFSET
from synthkd.errors import NotInLedger, RowError, TeacherError, TooManyLost, Unanswered, UserError
from synthkd.io.sources import side_of
from synthkd.io.spool import Table
from synthkd.recipes.instruct.offers import Candidate, Check, Gate, Pool, Question, Writer
from synthkd.recipes.instruct.yields import ENOUGH, Yield
from synthkd.recipes.replies import Loss, loss_of
from synthkd.rows import Json, Row, digest, merged_roots
from synthkd.steps import StepSettings, TableKit
from synthkd.teachers.request import Completion

__all__ = [
    "SEED",
    "Candidate",
    "Check",
    "Gate",
    "GrowSettings",
    "Pool",
    "Question",
    "Writer",
    "grow",
    "has_instruction",
    "most_questions",
    "new_rows",
]

TRIES = 3
"""How often a wave's unanswered questions are asked, each time with all the attempts of the teacher
(`max_attempts`)."""
SEED = "seed"
"""The `origin` of rows that came in; of those that a step wrote it is the step's name."""


class GrowSettings(StepSettings):
    """What all generators have in common."""

    teacher: str
    """The teacher that writes."""
    accept: Annotated[int, Field(ge=1, lt=ROUND_OFFSET)]
    """How many new rows there shall be, exactly; in a later round so many more."""
    wave: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Questions asked at once; the next wave shows what this one brought."""
    instruction: str = "instruction"
    """The field with the instruction."""
    max_similarity: Share | None = 0.7
    """Highest ROUGE-L with any seed or accepted row (Self-Instruct, arXiv 2212.10560, section 2.2);
    null = none is computed, and only the same text again is refused."""
    min_yield: Annotated[float, Field(ge=0.001, le=1)] = 0.1
    """Stop where fewer than this share of the last candidates were accepted."""
    yield_over: PositiveInt = 200
    """How many candidates the last ones are."""
    seeds: Literal["keep", "drop"] = "keep"
    """What becomes of the rows that came in; dropped ones live on in those made from them."""


def most_questions(config: GrowSettings, per_question: int) -> int:
    """How many questions are asked at most, but for checks: with a lower yield the run stops.

    Every question counts for at least `per_question` candidates. So many waves bring as many as the
    yield is told of, and where the run goes on behind them, they brought at least the lowest yield.
    """
    waves = -(-config.yield_over // (per_question * config.wave))
    least = math.ceil(config.min_yield * config.yield_over)
    return -(-config.accept // least) * waves * config.wave


def new_rows(config: GrowSettings, rows: int) -> int:
    """How many rows are made at most, for the forecast."""
    return config.accept if rows else 0


def grow(
    table: Table,
    kit: TableKit,
    config: GrowSettings,
    writer: Writer,
    gates: Sequence[Gate] = (),
    *,
    seed_fault: Callable[[Row], Loss | None] | None = None,
) -> Iterator[Row]:
    """The seeds, if they are kept, and exactly `accept` new rows.

    Where answers are under way in a batch it ends early, and all rows wait.

    Args:
        table: the seeds; one without an instruction is rejected (`no_instruction`).
        kit: of the step.
        config: its settings.
        writer: what is asked, and how replies are read.
        gates: asked in this order, before similarity.
        seed_fault: why a row is no seed, where what is asked is made of other fields than the
            instruction; None = it is one if it has an instruction.

    Raises:
        UserError: no row is a seed.
        TooManyLost: the yield is too low, the writer has nothing more to ask, or a question of a
            wave stays without an answer.
    """
    seeds, losses = _seeds(table, seed_fault or partial(_without_text, config.instruction))
    if not seeds:
        raise UserError(f"{kit.desk.step}: {_no_seed(losses, config, seed_fault is None)}")
    for row, loss in losses:
        kit.reject(row, loss.reason, loss.detail)
    ids = {row.id for row in table}
    earlier = [
        row
        for row in kit.desk.earlier
        if row.id not in ids and isinstance(row.fields.get(config.instruction), str)
    ]
    pool = Pool(seeds, earlier, config.instruction, config.max_similarity)
    if config.seeds == "keep":
        yield from seeds
    growth = _Growth(kit, config, pool, writer, gates)
    yield from growth.rows()
    if config.seeds == "drop" and kit.waiting is None:
        _drop(seeds, growth.roots, kit)


def _seeds(
    table: Table, fault_of: Callable[[Row], Loss | None]
) -> tuple[list[Row], list[tuple[Row, Loss]]]:
    """The seeds, and the rows that are none, each with why."""
    seeds: list[Row] = []
    losses: list[tuple[Row, Loss]] = []
    for row in table:
        if (loss := fault_of(row)) is None:
            seeds.append(row.with_fields(origin=row.fields.get("origin") or SEED))
        else:
            losses.append((row, loss))
    return seeds, losses


def has_instruction(row: Row, config: GrowSettings) -> bool:
    """Whether a row can be a seed."""
    return _without_text(config.instruction, row) is None


def _without_text(field: str, row: Row) -> Loss | None:
    text = row.fields.get(field)
    if isinstance(text, str) and text.strip():
        return None
    return Loss("no_instruction", f"{field} is {text!r:.80}")


def _no_seed(losses: Sequence[tuple[Row, Loss]], config: GrowSettings, by_text: bool) -> str:
    """What is wrong where there is no seed."""
    if by_text:
        return (
            f"none of {len(losses)} rows has text in {config.instruction!r}, and without a seed"
            " there is nothing to begin with: name the field in `instruction`, or give the source"
            " some rows"
        )
    first = f" (of the first: {losses[0][1].detail})" if losses else ""
    return (
        f"none of {len(losses)} rows can be begun with{first}, and each new row descends from one:"
        " give the source others"
    )


def _drop(seeds: Sequence[Row], roots: set[str], kit: TableKit) -> None:
    """Seeds that others were made from live on in them."""
    for row in seeds:
        if roots.issuperset(row.roots):
            kit.merge(row)
        else:
            kit.reject(row, "seed_unused", "nothing accepted was made from it")


class _Growth:
    """One run of the driver."""

    def __init__(
        self,
        kit: TableKit,
        config: GrowSettings,
        pool: Pool,
        writer: Writer,
        gates: Sequence[Gate],
    ) -> None:
        self._kit = kit
        self._config = config
        self._pool = pool
        self._writer = writer
        self._gates = gates
        self.roots: set[str] = set()
        """Of all that was accepted."""
        self._asked: Counter[str] = Counter()
        """How often each question was asked: the same one again asks for another sample."""
        teacher = kit.desk.teachers.get(config.teacher)
        self._yield = Yield(config.accept, config.yield_over, teacher)

    def rows(self) -> Iterator[Row]:
        """The accepted ones, as they come."""
        while not self._yield.is_full:
            wave = self._writer.questions(self._pool, self._kit.rng, self._config.wave)
            if not wave:
                raise self._stopped("there is nothing more to ask", "give it more rows")
            replies = self._answers(wave)
            if self._kit.waiting is not None:
                return
            self._yield.wave(len(wave))
            offers = [
                _Offer(question, offer, reply.keys if isinstance(reply, Completion) else ())
                for question, reply in zip(wave, replies, strict=True)
                for offer in self._offers(question, reply)
            ]
            checked = self._checked(offers)
            if self._kit.waiting is not None:
                return
            for offer in checked:
                if (row := self._settled(offer)) is not None:
                    yield row
            self._kit.note(self._yield.figures())
            self._kit.tell(self._yield.in_words())
            if not self._yield.is_full and (why := self._yield.too_low(self._config.min_yield)):
                way = "mend the prompt or the teacher, or lower min_yield to go on"
                raise self._stopped(why, way)

    def _stopped(self, why: str, way: str) -> TooManyLost:
        return TooManyLost(f"{self._kit.desk.step}: {self._yield.stopped(why, way)}")

    # --- asking

    def _answers(self, wave: Sequence[Question]) -> list[Completion | RowError]:
        """Of a whole wave.

        Raises:
            TooManyLost: one has none, and the reason may pass.
        """
        asked = [self._numbered(question) for question in wave]
        replies = self._ask(asked)
        for _ in range(TRIES - 1):
            again = [at for at, reply in enumerate(replies) if isinstance(reply, Unanswered)]
            if not again:
                break
            for at, reply in zip(again, self._ask([asked[at] for at in again]), strict=True):
                replies[at] = reply
        self._yield.asked(replies)
        open_ones = [reply for reply in replies if isinstance(reply, Unanswered | NotInLedger)]
        if open_ones and self._kit.waiting is None:
            raise self._stopped(
                f"{len(open_ones)} of {len(wave)} questions of wave {self._yield.waves + 1} have"
                f" no answer ({open_ones[0]}), and all that follows depends on them",
                "run again to go on, not with --offline",
            )
        return replies

    def _ask(self, asked: Sequence[table_kit.Question]) -> list[Completion | RowError]:
        return self._kit.ask_each(asked, teacher=self._config.teacher)

    def _numbered(self, question: Question) -> table_kit.Question:
        known = _known(question)
        sample = self._asked[known]
        self._asked[known] += 1
        return table_kit.Question(question.prompt, question.inputs, sample)

    def _offers(
        self, question: Question, reply: Completion | RowError
    ) -> Iterator[Candidate | Loss]:
        """What a reply comes to: as many as the question asked for, or more."""
        offers: list[Candidate | Loss]
        if not isinstance(reply, Completion | TeacherError):
            offers = [Loss("unrenderable", str(reply))]
        elif (loss := loss_of(reply)) is not None:
            offers = [loss]
        else:
            assert isinstance(reply, Completion)  # noqa: S101  an error is a loss
            offers = list(self._writer.read(question, reply))
        least = self._writer.per_question
        missing = Loss("not_given", f"{len(offers)} of {least} asked for")
        yield from [*offers, *[missing] * (least - len(offers))]

    def _checked(self, offers: Sequence[_Offer]) -> Iterator[_Offer]:
        """The offers, those with a check as its answer says."""
        checks = {
            place: offer.what.check
            for place, offer in enumerate(offers)
            if isinstance(offer.what, Candidate)
            and offer.what.check is not None
            and self._refused(offer.question, offer.what) is None
        }
        if not checks:
            return iter(offers)
        # Of a candidate that came twice in a wave the same is asked once: one of them goes anyhow.
        keys = {place: _known(check.question) for place, check in checks.items()}
        asked = {keys[place]: check.question for place, check in checks.items()}
        self._yield.checks += len(asked)
        replies = dict(zip(asked, self._answers([*asked.values()]), strict=True))
        return (
            _after(offer, checks[place], replies[keys[place]]) if place in checks else offer
            for place, offer in enumerate(offers)
        )

    # --- accepting

    def _refused(self, question: Question, candidate: Candidate) -> Loss | None:
        """Why a candidate is not accepted, as far as that is known without asking."""
        for gate in self._gates:
            if (loss := gate(candidate)) is not None:
                return loss
        return self._held_out(question, candidate) or self._pool.too_similar(candidate.text)

    def _held_out(self, question: Question, candidate: Candidate) -> Loss | None:
        """Whether it falls where the source sets rows aside: one that is the same as theirs does.

        Nobody here may see those rows; but the same text always falls on the same side.
        """
        holdout = self._kit.desk.holdout
        fields = self._fields(question, candidate)
        if holdout is None or not fields.keys() >= set(holdout.by):
            return None
        side = side_of([fields[name] for name in holdout.by], holdout)
        if side == "train":
            return None
        return Loss("held_out", f"on the side {side} of source.holdout: {candidate.text[:200]}")

    def _settled(self, offer: _Offer) -> Row | None:
        """The new row; None = it was not accepted, which is in the books."""
        what = offer.what
        loss: Loss | None
        if self._yield.is_full:
            loss = Loss(ENOUGH, "accept was reached before it")
        else:
            loss = what if isinstance(what, Loss) else self._refused(offer.question, what)
        if loss is not None:
            self._yield.lose(loss.reason)
            self._kit.discard(offer.question.parents[0], loss.reason, loss.detail)
            return None
        assert isinstance(what, Candidate)  # noqa: S101  a loss was settled
        return self._accept(offer.question, what, offer.keys)

    def _fields(self, question: Question, candidate: Candidate) -> dict[str, Json]:
        text: dict[str, Json] = {self._config.instruction: candidate.text}
        # First in the row, and again last: what is known of the question may have such a field.
        return {
            **text,
            **question.about,
            **candidate.fields,
            "origin": self._kit.desk.step,
            **text,
        }

    def _accept(self, question: Question, candidate: Candidate, keys: Sequence[str]) -> Row:
        desk = self._kit.desk
        number = desk.round * ROUND_OFFSET + self._yield.accepted
        self._yield.accept()
        row = (
            question.parents[0]
            .child(desk.step, number)
            ._replace(
                roots=merged_roots(question.parents),
                fields=self._fields(question, candidate),
                made_by=tuple(dict.fromkeys(keys)),
            )
        )
        self.roots.update(row.roots)
        self._pool.add(row)
        return row


def _known(question: Question) -> str:
    """The same for questions that ask the same."""
    return digest(question.prompt, question.inputs)


class _Offer(NamedTuple):
    """One candidate, or a loss, and where it came from."""

    question: Question
    what: Candidate | Loss
    keys: tuple[str, ...]
    """Of the answers that it was made of."""


def _after(offer: _Offer, check: Check, reply: Completion | RowError) -> _Offer:
    """The offer as its check leaves it."""
    if not isinstance(reply, Completion):
        loss: Loss | None = Loss("check_unanswered", f"{type(reply).__name__}: {reply}")
    elif (unread := loss_of(reply)) is not None:
        loss = Loss("check_unread", f"{unread.reason}: {unread.detail}")
    else:
        loss = check.says(reply)
    keys = reply.keys if isinstance(reply, Completion) else ()
    return offer._replace(what=loss or offer.what, keys=(*offer.keys, *keys))
