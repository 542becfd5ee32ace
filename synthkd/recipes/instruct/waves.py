"""The driver of every generator: it asks in waves, looks at what comes, and keeps exactly so many.

    class Writer:
        per_question = 8
        def questions(self, pool, rng, count): ...      # of one wave
        def read(self, question, reply): ...            # candidates, and what is wrong with others

    yield from grow(table, kit, config, Writer(), gates=[...])

What a wave asks is a function of the seeds, the settings, `kit.rng` and the pool of the waves
before it; replies are treated in the order of the questions. So the rows depend neither on the
order in which answers come nor on where a run was killed, and a run that goes on asks nothing that
it has bought. `accept` has no part in what a wave asks: a run for fewer rows is the beginning of a
run for more, and costs nothing where that one is in the ledger.

A question whose answer failed for a passing reason would change all that comes after it, once it is
answered: it is asked again, and if that is of no use the run stops, to be gone on with.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol

from pydantic import Field, PositiveInt

from synthkd import table_kit
from synthkd.config import Count, Share
from synthkd.desk import ROUND_OFFSET
from synthkd.errors import NotInLedger, RowError, TeacherError, TooManyLost, Unanswered, UserError
from synthkd.io.sources import side_of
from synthkd.io.spool import Table
from synthkd.recipes.instruct.novelty import Novelty
from synthkd.recipes.replies import Loss, loss_of
from synthkd.rows import Fields, Json, Row, digest, merged_roots
from synthkd.steps import StepSettings, TableKit
from synthkd.teachers.request import Completion

TRIES = 3
"""How often a wave's unanswered questions are asked, each time with all the attempts of the teacher
(`max_attempts`)."""
SEED = "seed"
"""The `origin` of rows that came in; of those that a step wrote it is the step's name."""


class GrowSettings(StepSettings):
    """What all generators have in common."""

    teacher: str
    """The teacher that writes."""
    accept: Count
    """How many new rows there shall be, exactly; in a later round so many more."""
    wave: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Questions asked at once; the next wave shows what this one brought."""
    instruction: str = "instruction"
    """The field with the instruction."""
    max_similarity: Share | None = 0.7
    """Highest ROUGE-L with any seed or accepted row (Self-Instruct, arXiv 2212.10560, section 2.2);
    null = none is computed."""
    min_yield: Annotated[float, Field(ge=0.001, le=1)] = 0.1
    """Stop where fewer than this share of the last candidates were accepted."""
    yield_over: PositiveInt = 200
    """How many candidates the last ones are."""
    seeds: Literal["keep", "drop"] = "keep"
    """What becomes of the rows that came in; dropped ones live on in those made from them."""


def most_questions(config: GrowSettings, per_question: int) -> int:
    """How many questions are asked at most: with a lower yield the run stops.

    Every question counts for `per_question` candidates, the missing ones as lost.
    """
    candidates = config.accept / config.min_yield + config.yield_over
    waves = -(-candidates // (per_question * config.wave)) + 1
    return int(waves) * config.wave


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a wave."""

    prompt: str
    """The prompt's name."""
    inputs: Fields
    """What it declares."""
    parents: Sequence[Row]
    """The rows that the answer is made from; what is accepted is a child of the first one."""
    about: Fields = field(default_factory=dict)
    """Fields of each row that comes of it, such as which operation was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a reply offers."""

    text: str
    """The instruction."""
    fields: Fields = field(default_factory=dict)
    """Further fields."""
    check: Check | None = None
    """What is asked about it before it is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question about a candidate, which is asked if nothing else refuses the candidate.

    The checks of a wave are asked together, before any of its candidates is accepted.
    """

    question: Question
    says: Callable[[Completion], Loss | None]
    """Of the answer, why the candidate is refused; None = it is not."""


Gate = Callable[[Candidate], Loss | None]
"""Why a candidate is refused; None = it is not."""


class Writer(Protocol):
    """What one generator asks, and how it reads what comes."""

    @property
    def per_question(self) -> int:
        """Candidates that a question asks for, at least 1: fewer that come are lost ones."""
        ...

    def questions(self, pool: Pool, rng: random.Random, count: int) -> Sequence[Question]:
        """The next wave: at most `count` questions; fewer = there is nothing more to ask."""
        ...

    def read(self, question: Question, reply: Completion) -> Iterable[Candidate | Loss]:
        """What a reply offers; a `Loss` for what cannot be used."""
        ...


class Pool:
    """What is known so far, each in its order.

    Args:
        seeds: the rows that came in.
        earlier: what earlier rounds have kept.
        instruction: the field with the instruction.
        max_similarity: as in `GrowSettings`.
    """

    def __init__(
        self,
        seeds: Sequence[Row],
        earlier: Sequence[Row],
        instruction: str,
        max_similarity: float | None,
    ) -> None:
        self.seeds = seeds
        self.made: list[Row] = list(earlier)
        """Of earlier rounds, then of this one."""
        self._instruction = instruction
        self._texts: list[str] = []
        self._known = None if max_similarity is None else Novelty(max_similarity)
        for row in (*seeds, *earlier):
            if row.fields.get(instruction) is not None:
                self._note(row)

    def text(self, row: Row) -> str:
        """Its instruction."""
        return str(row.fields[self._instruction])

    def add(self, row: Row) -> None:
        """Take in what was accepted."""
        self.made.append(row)
        self._note(row)

    def too_similar(self, text: str) -> Loss | None:
        """Why the text is too near to one that is known."""
        near = None if self._known is None else self._known.near(text)
        if near is None:
            return None
        known = self._texts[near.place]
        return Loss("too_similar", f"ROUGE-L {near.score:.2f} with {known[:120]!r}: {text[:200]}")

    def _note(self, row: Row) -> None:
        if self._known is not None:
            self._texts.append(self.text(row))
            self._known.add(self.text(row))


def grow(
    table: Table,
    kit: TableKit,
    config: GrowSettings,
    writer: Writer,
    gates: Sequence[Gate] = (),
    *,
    bare: bool = False,
) -> Iterator[Row]:
    """The seeds, if they are kept, and exactly `accept` new rows.

    Where answers are under way in a batch it ends early, and all rows wait.

    Args:
        table: the seeds; one without an instruction is rejected (`no_instruction`).
        kit: of the step.
        config: its settings.
        writer: what is asked, and how replies are read.
        gates: asked in this order, before similarity.
        bare: rows without an instruction are seeds too: what is asked is made of other fields.

    Raises:
        UserError: no row has an instruction, or there is no row.
        TooManyLost: the yield is too low, the writer has nothing more to ask, or a question of a
            wave stays without an answer.
    """
    seeds = list(_seeds(table, kit, config, bare=bare))
    if not seeds:
        raise UserError(
            f"{kit.desk.step}: none of {len(table)} rows has text in {config.instruction!r}, and"
            " without a seed there is nothing to begin with: name the field in `instruction`, or"
            " give the source some rows"
        )
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


def _seeds(table: Table, kit: TableKit, config: GrowSettings, *, bare: bool) -> Iterator[Row]:
    for row in table:
        text = row.fields.get(config.instruction)
        if bare or (isinstance(text, str) and text.strip()):
            yield row.with_fields(origin=row.fields.get("origin") or SEED)
        else:
            kit.reject(row, "no_instruction", f"{config.instruction} is {text!r:.80}")


def _drop(seeds: Sequence[Row], roots: set[str], kit: TableKit) -> None:
    """Seeds that others were made from live on in them."""
    for row in seeds:
        if roots.issuperset(row.roots):
            kit.merge(row)
        else:
            kit.reject(row, "seed_unused", "nothing accepted was made from it")


class _Growth:
    """One run of the driver, and its books."""

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
        self._last: deque[bool] = deque(maxlen=config.yield_over)
        """Of the last candidates, whether each was accepted."""
        self._lost: Counter[str] = Counter()
        self._questions = 0
        self._checks = 0
        self._waves = 0
        self._accepted = 0

    def rows(self) -> Iterator[Row]:
        """The accepted ones, as they come."""
        while self._accepted < self._config.accept:
            wave = self._writer.questions(self._pool, self._kit.rng, self._config.wave)
            if not wave:
                raise self._stopped("there is nothing more to ask")
            replies = self._answers(wave)
            if self._kit.waiting is not None:
                return
            self._waves += 1
            self._questions += len(wave)
            offers = [
                (question, offer, reply)
                for question, reply in zip(wave, replies, strict=True)
                for offer in self._offers(question, reply)
            ]
            verdicts = self._checked(offers)
            if self._kit.waiting is not None:
                return
            for place, (question, offer, reply) in enumerate(offers):
                verdict = verdicts.get(place)
                row = self._settled(question, offer, reply, verdict)
                if row is not None:
                    yield row
            self._kit.note(self.figures())
            if self._accepted < self._config.accept:
                self._check_yield()

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
        open_ones = [reply for reply in replies if isinstance(reply, Unanswered | NotInLedger)]
        if open_ones and self._kit.waiting is None:
            raise self._stopped(
                f"{len(open_ones)} of {len(wave)} questions of wave {self._waves + 1} have no"
                f" answer ({open_ones[0]}), and all that follows depends on them"
            )
        return replies

    def _ask(self, asked: Sequence[table_kit.Question]) -> list[Completion | RowError]:
        return self._kit.ask_each(asked, teacher=self._config.teacher)

    def _numbered(self, question: Question) -> table_kit.Question:
        known = digest(question.prompt, question.inputs)
        sample = self._asked[known]
        self._asked[known] += 1
        return table_kit.Question(question.prompt, question.inputs, sample)

    def _offers(
        self, question: Question, reply: Completion | RowError
    ) -> Iterator[Candidate | Loss]:
        """What a reply comes to: as many as the question asked for, or more."""
        least = self._writer.per_question
        offers: list[Candidate | Loss]
        if not isinstance(reply, Completion | TeacherError):
            offers = [Loss("unrenderable", str(reply))]
        elif (loss := loss_of(reply)) is not None:
            offers = [loss]
        else:
            assert isinstance(reply, Completion)  # noqa: S101  an error is a loss
            offers = list(self._writer.read(question, reply))
        yield from offers
        missing = Loss("not_given", f"{len(offers)} of {least} asked for")
        yield from [missing] * (least - len(offers))

    def _checked(
        self, offers: Sequence[tuple[Question, Candidate | Loss, Completion | RowError]]
    ) -> Mapping[int, Loss | tuple[str, ...]]:
        """Of each candidate with a check that is worth asking: why it fails, or keys of answers."""
        wanted = [
            (place, offer.check)
            for place, (question, offer, _) in enumerate(offers)
            if isinstance(offer, Candidate)
            and offer.check is not None
            and self._refused(question, offer) is None
        ]
        if not wanted:
            return {}
        self._checks += len(wanted)
        verdicts: dict[int, Loss | tuple[str, ...]] = {}
        replies = self._answers([check.question for _, check in wanted])
        for (place, check), reply in zip(wanted, replies, strict=True):
            if not isinstance(reply, Completion):
                verdicts[place] = Loss("check_unanswered", f"{type(reply).__name__}: {reply}")
            elif (loss := loss_of(reply)) is not None:
                verdicts[place] = Loss("check_unread", f"{loss.reason}: {loss.detail}")
            else:
                verdicts[place] = check.says(reply) or reply.keys
        return verdicts

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

    def _settled(
        self,
        question: Question,
        offer: Candidate | Loss,
        reply: Completion | RowError,
        verdict: Loss | tuple[str, ...] | None,
    ) -> Row | None:
        """The new row; None = it was not accepted, which is in the books."""
        enough = self._accepted >= self._config.accept
        loss = Loss("enough", "accept was reached before it") if enough else None
        if loss is None:
            loss = offer if isinstance(offer, Loss) else self._refused(question, offer)
        if loss is None and isinstance(verdict, Loss):
            loss = verdict
        if not enough:
            self._last.append(loss is None)
        if loss is not None:
            self._lost[loss.reason] += 1
            self._kit.discard(question.parents[0], loss.reason, loss.detail)
            return None
        assert isinstance(offer, Candidate)  # noqa: S101  a loss was settled
        assert isinstance(reply, Completion)  # noqa: S101  as was an error
        keys = (*reply.keys, *(verdict if isinstance(verdict, tuple) else ()))
        return self._accept(question, offer, keys)

    def _fields(self, question: Question, candidate: Candidate) -> dict[str, Json]:
        return {
            self._config.instruction: candidate.text,
            **question.about,
            **candidate.fields,
            "origin": self._kit.desk.step,
        }

    def _accept(self, question: Question, candidate: Candidate, keys: Sequence[str]) -> Row:
        desk = self._kit.desk
        number = desk.round * ROUND_OFFSET + self._accepted
        self._accepted += 1
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

    # --- how it goes

    def figures(self) -> dict[str, Json]:
        """What it came to so far."""
        candidates = self._accepted + self._lost.total() - self._lost["enough"]
        left = self._config.accept - self._accepted
        share = sum(self._last) / len(self._last) if self._last else 0.0
        a_question = share * candidates / self._questions if self._questions else 0.0
        return {
            "asked_for": self._config.accept,
            "accepted": self._accepted,
            "waves": self._waves,
            "questions": self._questions,
            **({"checks": self._checks} if self._checks else {}),
            "candidates": candidates,
            "yield": round(self._accepted / candidates, 4) if candidates else None,
            "yield_of_last": round(share, 4),
            "lost": dict(sorted(self._lost.items())),
            "questions_to_go": round(left / a_question) if a_question else None if left else 0,
        }

    def _check_yield(self) -> None:
        full = len(self._last) == self._last.maxlen
        if full and sum(self._last) < self._config.min_yield * len(self._last):
            raise self._stopped(
                f"yield too low: of the last {len(self._last)} candidates {sum(self._last)} were"
                f" accepted, and min_yield is {self._config.min_yield:g}"
            )

    def _stopped(self, why: str) -> TooManyLost:
        """The end before `accept` is reached, with figures and the ways out."""
        lost = ", ".join(f"{times} {reason}" for reason, times in self._lost.most_common(6))
        figures = self.figures()
        to_go = figures["questions_to_go"]
        forecast = "out of reach" if to_go is None else f"about {to_go:,} questions away"
        return TooManyLost(
            f"{self._kit.desk.step}: {why}. Accepted {self._accepted:,} of"
            f" {self._config.accept:,} rows from {self._questions:,} questions in"
            f" {self._waves:,} waves; lost: {lost or 'nothing'}; at this yield the rest is"
            f" {forecast}. What was paid for is kept: run again to go on, mend the prompt, or take"
            f" what there is with accept: {max(1, self._accepted)}, which asks nothing new"
        )
