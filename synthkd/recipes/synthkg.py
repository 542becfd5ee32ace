"""`synthkg`: a long document as a graph, passage by passage (SynthKG, arXiv 2410.16597).

    document -> passages of whole sentences -> each rewritten so that it can be read alone
             -> its entities -> propositions, each with its triples -> one graph of all passages

A teacher that is asked for the graph of a long document at once leaves most of it out; asked
passage by passage it does not know who "she" is. The rewriting tells it, and is believed only where
it left the passage's words alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from synthkd.config import Count, Samples, Share, Teachers
from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.graphs.entities import Entity, read_entities
from synthkd.graphs.ground import Place, find
from synthkd.graphs.notation import read_triples
from synthkd.graphs.passages import Span, evidence_of, passages, word_overlap
from synthkd.graphs.stated import Merged, Origin, Stated, merged
from synthkd.graphs.triple import spelling
from synthkd.kit import Kit
from synthkd.recipes.replies import UNANSWERED, Loss, discard_all, give_up, loss_of
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, inputs_of, step
from synthkd.teachers.request import Completion

USUAL_PASSAGES = 4
"""Of a document of about 700 words, for the forecast, which knows no document."""


class SynthkgSettings(StepSettings):
    """Settings of `synthkg`."""

    teachers: Teachers
    """Whom to ask; each reads the whole document on its own."""
    text: str = "text"
    """The field with the document."""
    tokens: int = Field(default=256, ge=16)
    """The size of a passage, in tokens as `synthkd.graphs.passages.tokens_in` counts them."""
    decontextualise_prompt: str | None = "synthkg/decontextualise"
    """Asks for a passage rewritten to be read alone; null = passages stay as they are."""
    entities_prompt: str = "synthkg/entities"
    """Asks for the entities of a passage."""
    prompt: str = "synthkg/propositions"
    """Asks for propositions and triples between the entities listed."""
    alike: Share = 0.7
    """The least overlap of words (ROUGE-1 F1) of a rewritten passage with the original; else the
    original is read. The paper's value."""
    samples: Samples = 1
    """Replies of each teacher to the last question, of which `support` is a share."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    keep_empty: bool = False
    """Whether a row stays of which no triple came."""
    into: str = "graph"
    """The field for the triples."""

    @property
    def also_shown(self) -> list[str]:
        """The field that the teachers see, passage by passage."""
        return [self.text]

    @property
    def calls_a_row(self) -> int:
        """Questions to each teacher about a usual document; for the forecast."""
        return USUAL_PASSAGES * (1 + self.samples + (self.decontextualise_prompt is not None))


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What all teachers make of a document."""

    kit: Kit
    row: Row
    config: SynthkgSettings
    text: str
    spans: Sequence[Span]
    rewritten: list[list[str]] = field(default_factory=list)
    """By teacher and passage."""
    entities: dict[str, tuple[Entity, set[int], set[int]]] = field(default_factory=dict)
    """By spelling: the entity, its passages, its teachers."""
    stated: list[Stated] = field(default_factory=list)
    replies: list[Completion | TeacherError] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    read: int = 0
    """Replies that could be read, even if nothing stands in them."""

    def usable(self, reply: Completion | TeacherError) -> Completion | None:
        """The reply, if something can be read from it.

        Raises:
            TeacherError: nobody replied: a document with a hole is none, and asking again may help.
        """
        self.replies.append(reply)
        loss = loss_of(reply)
        if isinstance(reply, TeacherError) and (loss is None or loss.reason == UNANSWERED):
            raise reply
        if loss is not None:
            self.losses.append(loss)
        return reply if loss is None and isinstance(reply, Completion) else None


@step(
    "synthkg",
    needs=lambda config: [config.text],
    gives=lambda config: [config.into, "entities", "passages"],
    supplies=("text", "before", "entities"),
)
async def synthkg(row: Row, kit: Kit, config: SynthkgSettings, /) -> AsyncIterator[Row]:
    """Read a document as a graph: triples with proposition, passage and evidence; entities.

    Gives `into`, `entities` and `passages`. Discards `rewritten_too_far`, `head_not_entity`,
    `tail_not_entity`, `no_proposition`, `no_entities` and what `triples` discards; rejects
    `no_text`, `no_triples`. Figures: passages, those rewritten and those kept as they were.
    """
    text = row.fields.get(config.text)
    if not isinstance(text, str):
        raise RowError(f"{config.text} must be a text, got {text!r:.80}")
    spans = passages(text, config.tokens)
    if not spans:
        raise Rejected("no_text", f"{config.text} has no sentence: {text!r:.80}")
    reading = _Reading(kit=kit, row=row, config=config, text=text, spans=spans)
    for number, teacher in enumerate(config.teachers):
        await _read(reading, number, teacher)
    if not reading.read:
        give_up(reading.replies, reading.losses)
    if not reading.stated and not config.keep_empty:
        raise Rejected("no_triples", f"none in {len(spans)} passages by {len(config.teachers)}")
    discard_all(kit, reading.losses)
    yield row.with_fields(**_fields(reading))


async def _read(reading: _Reading, number: int, teacher: str) -> None:
    """One teacher's way through the document."""
    kit, config = reading.kit, reading.config
    passages = await _rewritten(reading, teacher)
    reading.rewritten.append(passages)
    asked = [_inputs(reading, config.entities_prompt, text=passage) for passage in passages]
    replies = await kit.ask_each(
        config.entities_prompt, asked, teachers=[teacher], longer=config.longer
    )
    listed = [_listed(reading, reply) for reply in replies]
    chunks = [chunk for chunk, entities in enumerate(listed) if entities]
    if not chunks:
        return
    questions = []
    for chunk in chunks:
        for entity in listed[chunk]:
            known = reading.entities.setdefault(spelling(entity.name), (entity, set(), set()))
            known[1].add(chunk)
            known[2].add(number)
        names: list[Json] = [entity.name for entity in listed[chunk]]
        questions.append(_inputs(reading, config.prompt, text=passages[chunk], entities=names))
    replies = await kit.ask_each(
        config.prompt, questions, teachers=[teacher], samples=config.samples, longer=config.longer
    )
    for place, reply in enumerate(replies):
        chunk, sample = chunks[place // config.samples], place % config.samples
        allowed = {spelling(entity.name) for entity in listed[chunk]}
        if (usable := reading.usable(reply)) is not None:
            _take(reading, usable.text, passages[chunk], allowed, (chunk, number, sample))


async def _rewritten(reading: _Reading, teacher: str) -> list[str]:
    """The passages, each rewritten with the one before it; as it was where that went wrong.

    One after the other, since the one before is shown as it was rewritten. The first has none
    before it and stays.
    """
    kit, config = reading.kit, reading.config
    passages = [reading.text[start:end] for start, end in reading.spans]
    kit.count("passages", len(passages))
    if config.decontextualise_prompt is None:
        return passages
    for chunk in range(1, len(passages)):
        original = passages[chunk]
        inputs = _inputs(
            reading, config.decontextualise_prompt, text=original, before=passages[chunk - 1]
        )
        (reply,) = await kit.ask_each(
            config.decontextualise_prompt, [inputs], teachers=[teacher], longer=config.longer
        )
        usable = reading.usable(reply)
        said = "" if usable is None else usable.text.strip()
        overlap = word_overlap(original, said)
        if said and overlap >= config.alike:
            passages[chunk] = said
            kit.count("passages rewritten")
        else:
            kit.count("passages kept as they were")
            if said:
                reading.losses.append(Loss("rewritten_too_far", f"{overlap:.2f}: {said[:200]}"))
    return passages


def _inputs(reading: _Reading, prompt: str, **computed: Json) -> dict[str, Json]:
    return inputs_of(reading.row, reading.kit.prompts[prompt].inputs, **computed)


def _listed(reading: _Reading, reply: Completion | TeacherError) -> list[Entity]:
    usable = reading.usable(reply)
    if usable is None:
        return []
    listed = read_entities(usable.text)
    reading.losses.extend(Loss(*fault) for fault in listed.faults)
    if listed.is_list:
        reading.read += 1
    else:
        reading.losses.append(Loss("no_entities", usable.text[:200]))
    return listed.entities


def _take(
    reading: _Reading,
    reply: str,
    passage: str,
    allowed: set[str],
    asked: tuple[int, int, int],
) -> None:
    """What one reply states between the entities that it was given."""
    written = read_triples(reply, source=passage)
    reading.losses.extend(Loss(*fault) for fault in written.faults)
    if written.way == "none":
        reading.losses.append(Loss("no_triples", reply[:200]))
    pairs = zip(written.triples, written.propositions, strict=True)
    for number, (triple, proposition) in enumerate(pairs):
        head, _, tail = triple.key
        said = " | ".join(triple.parts)[:200]
        if head not in allowed or tail not in allowed:
            end = "tail" if head in allowed else "head"
            reading.losses.append(Loss(f"{end}_not_entity", said))
        elif proposition is None or not proposition.strip():
            reading.losses.append(Loss("no_proposition", said))
        else:
            origin = Origin(*asked, number)
            span = reading.spans[origin.chunk]
            evidence = evidence_of(proposition, reading.text, span)
            one = Stated(triple=triple, proposition=proposition, origin=origin, evidence=evidence)
            reading.stated.append(one)


def _fields(reading: _Reading) -> dict[str, Json]:
    names = {key: entity.name for key, (entity, _, _) in reading.entities.items()}
    whom = reading.config.teachers
    asked = len(whom) * reading.config.samples
    graph: list[Json] = [_triple(one, names, whom, asked) for one in merged(reading.stated)]
    entities: list[Json] = [
        {
            "name": entity.name,
            "type": entity.type,
            "passages": list[Json](sorted(chunks)),
            "teachers": [whom[number] for number in sorted(numbers)],
            "place": _place(find(entity.name, reading.text)),
        }
        for entity, chunks, numbers in reading.entities.values()
    ]
    read: list[Json] = [
        {"start": start, "end": end, "rewritten": [by[chunk] for by in reading.rewritten]}
        for chunk, (start, end) in enumerate(reading.spans)
    ]
    return {reading.config.into: graph, "entities": entities, "passages": read}


def _triple(one: Merged, names: dict[str, str], whom: Sequence[str], asked: int) -> Json:
    first = one.first
    head, _, tail = first.triple.key
    return {
        "head": names[head],
        "relation": first.triple.relation,
        "tail": names[tail],
        "proposition": first.proposition,
        "passage": first.origin.chunk,
        "passages": list[Json](one.chunks),
        "evidence": {"proposition": _place(first.evidence)},
        "teachers": [whom[number] for number in one.teachers],
        "support": one.replies / asked,
    }


def _place(place: Place | None) -> Json:
    return None if place is None else {"start": place.start, "end": place.end, "how": place.how}
