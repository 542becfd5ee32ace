"""`s3ft`: the student's own answer where it is right, else gold in its own words, else gold.

Selective self-to-supervised fine-tuning (arXiv 2502.08130): a model that learns words it would have
said itself forgets less of what else it can do. Of each row, in this order:

    own          an answer of the student that is right
    paraphrase   gold put into other words by the student (or a teacher), if that is still right
    gold         the reference as it stands

Right is told by comparing with `gold`, or by a teacher that judges.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Literal

from synthkd.answers import READ, before, choices_of, gold_of, same
from synthkd.config import Samples
from synthkd.errors import Rejected, RequestRefused, TeacherError
from synthkd.recipes.asking import Asked
from synthkd.recipes.pool import POOL, Candidate, pool_of
from synthkd.recipes.reasoning import SUPPLIES, Heard, ReasoningSettings, heard, reasoned
from synthkd.recipes.replies import loss_of
from synthkd.rows import Json, Row
from synthkd.steps import Kit, inputs_of, step
from synthkd.text import answer_text

Origin = Literal["own", "paraphrase", "gold"]
ORIGINS: tuple[Origin, ...] = ("own", "paraphrase", "gold")
WHOLE = READ | {"no_cue", "several_cues", "several_answers", "bad_label"}
"""Statuses of replies that came whole, whether an answer could be read or not."""


class S3ftSettings(ReasoningSettings):
    """Settings of `s3ft`."""

    student: str | None = None
    """The student, as a teacher: `student: {round: previous}`, or any model. None = the answers in
    the row's `candidates`, whoever gave them."""
    paraphraser: str | None = None
    """Who puts gold into own words: the student itself, if it can, or a teacher. None = nobody."""
    judge: str | None = None
    """The teacher that says whether an answer in prose is right. None = gold is compared."""
    gold: str
    """The field with the right answer."""
    reference: str | None = None
    """The field with the text that is learnt where nothing else is right, such as a solution that
    ends in gold; by default gold itself."""
    samples: Samples = 1
    """Answers of the student; the first that is right is taken."""
    paraphrase_prompt: str = "s3ft/paraphrase"
    """The prompt; the shipped one shows `question` and the reference."""
    judge_prompt: str = "s3ft/right"
    """The prompt; asks for JSON with `right`."""
    into: str = "response"
    """The field for what is to be learnt."""

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        named = (self.student, self.paraphraser, self.judge)
        return list(dict.fromkeys(name for name in named if name is not None))

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return self.samples + 1


def _needs(config: S3ftSettings) -> Iterable[str]:
    fields = (
        config.gold,
        config.reference,
        config.reads.choices,
        POOL if not config.student else None,
    )
    return [name for name in fields if name is not None]


def _shares(figures: Mapping[str, Json]) -> Mapping[str, Json]:
    """Of what rows are made, in per cent too."""
    counts = {name: n for name in ORIGINS if isinstance(n := figures.get(name), int)}
    rows = sum(counts.values())
    return {**figures, **{f"{name} %": round(100 * n / rows, 1) for name, n in counts.items()}}


@step(
    "s3ft",
    needs=_needs,
    gives=lambda config: (config.into, "source_of_target"),
    supplies=(*SUPPLIES, "reference", "gold", "answer"),
    sums_up=_shares,
)
async def s3ft(row: Row, kit: Kit, config: S3ftSettings, /) -> AsyncIterator[Row]:
    """What a row's target is: the student's own words where they are right.

    Gives the target (`into`) and `source_of_target`: own, paraphrase or gold. Answers that were not
    taken are discarded: `wrong_answer`, or why they could not be read. Rejects `no_gold`, and
    `bad_gold` (it is no answer of the type). The row fails where somebody is asked and nobody
    replies. Figures: rows of each origin.
    """
    reference = answer_text(row.fields.get(config.reference or config.gold))
    if answer_text(row.fields.get(config.gold)) is None or reference is None:
        values = [row.fields.get(name) for name in (config.gold, config.reference) if name]
        raise Rejected("no_gold", f"no text to learn from: {values!r:.200}")
    if config.judge is None:
        gold_of(row.fields, config.gold, config.reads, choices_of(row.fields, config.reads))
    taken = await _first_right(row, kit, config, reference)
    if taken is None:
        kit.count("gold")
        yield row.with_fields(**{config.into: reference, "source_of_target": "gold"})
        return
    origin, one = taken
    kit.count(origin)
    text = before(one.text or "", config.reads.stop_at).strip()
    kept = row.with_fields(**{config.into: text, "source_of_target": origin})
    yield kept if one.key is None else kept.with_made_by(one.key)


async def _first_right(
    row: Row, kit: Kit, config: S3ftSettings, reference: str
) -> tuple[Origin, Candidate] | None:
    async with aclosing(_candidates(row, kit, config, reference)) as found:
        async for origin, one in found:
            if await _is_right(row, kit, config, one):
                return origin, one
    return None


async def _candidates(
    row: Row, kit: Kit, config: S3ftSettings, reference: str
) -> AsyncGenerator[tuple[Origin, Candidate], None]:
    """What may be learnt, the best first; the paraphraser is asked only if it comes to that."""
    for one in await _own(row, kit, config):
        yield "own", one
    for one in await _paraphrases(row, kit, config, reference):
        yield "paraphrase", one


async def _own(row: Row, kit: Kit, config: S3ftSettings) -> Sequence[Candidate]:
    """What the student says: in the pool, or asked; nothing where there is no student yet."""
    if POOL in row.fields:
        pool = pool_of(row)
        found = [one for one in pool if config.student in {None, one.teacher}]
        if found or config.student is None:
            return found
    if config.student is None or not kit.can_ask(config.student):
        return ()
    answers = await reasoned(
        row, kit, config, teachers=[config.student], samples=config.samples, until=None
    )
    return _replies(answers)


async def _paraphrases(
    row: Row, kit: Kit, config: S3ftSettings, reference: str
) -> Sequence[Candidate]:
    if config.paraphraser is None or not kit.can_ask(config.paraphraser):
        return ()
    choices = choices_of(row.fields, config.reads)
    declared = kit.prompts[config.paraphrase_prompt].inputs
    listed = {} if choices is None else {"choices": choices, "labels": choices}
    (reply,) = await kit.ask_many(
        config.paraphrase_prompt,
        inputs_of(row, declared, reference=reference, **listed),
        teachers=[config.paraphraser],
        longer=config.longer,
    )
    return _replies([heard(Asked(config.paraphraser, 0, reply), choices, config)])


def _replies(answers: Sequence[Heard]) -> list[Candidate]:
    """What was said.

    Raises:
        TeacherError: nothing, and it may be another time.
    """
    errors = [one.reply for one in answers if isinstance(one.reply, TeacherError)]
    if len(errors) == len(answers) and not isinstance(errors[0], RequestRefused):
        raise errors[0]
    return [one.candidate for one in answers]


async def _is_right(row: Row, kit: Kit, config: S3ftSettings, one: Candidate) -> bool:
    """Whether the answer is right; why not is a discard."""
    told, said, gold = one.more.get("right"), _said(one, config), row.fields[config.gold]
    if said is None:
        kit.discard("truncated" if one.status in READ else one.status, (one.text or "")[:200])
        return False
    if isinstance(told, bool):
        right = told
    elif config.judge is None:
        right = same(said, gold, config.reads, choices_of(row.fields, config.reads))
    elif (judged := await _judged(row, kit, config, said)) is None:
        return False
    else:
        right = judged
    if not right:
        kit.discard("wrong_answer", f"gold is {gold!s:.80}, got {said[-200:]}")
    return right


def _said(one: Candidate, config: S3ftSettings) -> str | None:
    """What is compared or judged; None = nothing that can be."""
    if not (one.text or "").strip():
        return None
    if config.judge is None:
        return one.answer if one.is_usable else None
    is_whole = one.status in WHOLE and one.finish != "length"
    return before(one.text or "", config.reads.stop_at).strip() if is_whole else None


async def _judged(row: Row, kit: Kit, config: S3ftSettings, said: str) -> bool | None:
    """What the judge says; None = nothing that can be read, which is no yes and is discarded."""
    assert config.judge is not None  # noqa: S101  the caller looked
    declared = kit.prompts[config.judge_prompt].inputs
    inputs = inputs_of(row, declared, gold=row.fields[config.gold], answer=said)
    reply = await kit.ask(config.judge_prompt, inputs, teacher=config.judge)
    if (loss := loss_of(reply)) is not None:
        kit.discard("unjudged", f"{loss.reason}: {loss.detail}")
        return None
    value = reply.shaped.value if reply.shaped is not None else None
    return isinstance(value, dict) and value.get("right") is True
