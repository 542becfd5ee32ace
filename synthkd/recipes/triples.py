"""`triples`: facts out of a text as triples, asked of one teacher or of several.

    text: "Ada Lovelace was born in London."
    ->  triples: [{head: Ada Lovelace, relation: born in, tail: London, teachers: [a], support: 1}]

With an ontology the question is the one of Text2KGBench (arXiv 2308.02357): concepts and relations
are given, and what is left is to find them in the text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from synthkd.config import Count, Samples, Teachers
from synthkd.errors import MissingField, Rejected, UserError
from synthkd.graphs.notation import read_triples
from synthkd.graphs.ontology import Ontology, load_ontology
from synthkd.graphs.triple import PartsKey, Triple
from synthkd.recipes.replies import Loss, discard_all, give_up, readable
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, inputs_of, step


class TriplesSettings(StepSettings):
    """Settings of `triples`."""

    teachers: Teachers
    """Whom to ask; what several of them say can be held against each other (`triples.agree`)."""
    prompt: str = "triples/extract"
    """The prompt; also shipped: triples/ontology, for which `ontology` is needed."""
    text: str = "text"
    """The field with the text; tells which comma divides where a part has one."""
    samples: Samples = 1
    """Replies of each teacher."""
    longer: Count | None = None
    """Tokens: a reply that was cut is asked for again, once, with this `max_tokens`."""
    ontology: Ontology | str | None = None
    """Concepts and relations: here, or a file of them (YAML or JSON)."""
    by: str | None = None
    """The field of a row with the id of its ontology, where the file has several."""
    keep_empty: bool = False
    """Whether a row stays of which no triple came."""
    into: str = "triples"
    """The field for the triples."""

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the file."""
        if isinstance(self.ontology, str) and self.by is None:
            try:
                load_ontology(self.ontology, folder)
            except UserError as error:
                yield f"ontology: {error}"


@dataclass(slots=True, kw_only=True)
class _Found:
    """A triple, and who said it."""

    triple: Triple
    proposition: str | None
    teachers: list[str] = field(default_factory=list)
    replies: int = 0


def _needs(config: TriplesSettings) -> Iterable[str]:
    return [name for name in (config.text, config.by) if name is not None]


@step(
    "triples", needs=_needs, gives=lambda config: [config.into], supplies=("concepts", "relations")
)
async def triples(row: Row, kit: Kit, config: TriplesSettings, /) -> AsyncIterator[Row]:
    """Ask for the facts of a text; keep each once, with who said it and in which share of replies.

    Gives `into`: objects with head, relation, tail, teachers, support, and the proposition where
    the reply has one. Discards `no_triples` (a reply without any), `empty_part`, `too_long`,
    `no_triple`, `cut`; rejects `no_triples` when no reply has one.
    """
    replies = await kit.ask_many(
        config.prompt,
        inputs_of(row, kit.prompts[config.prompt].inputs, **_listed(row, kit, config)),
        teachers=config.teachers,
        samples=config.samples,
        longer=config.longer,
    )
    source = row.fields.get(config.text)
    found: dict[PartsKey, _Found] = {}
    losses: list[Loss] = []
    read = 0
    for place, reply in readable(replies, losses):
        written = read_triples(reply.text, source=source if isinstance(source, str) else "")
        losses.extend(Loss(*fault) for fault in written.faults)
        if written.way == "none":
            losses.append(Loss("no_triples", reply.text[:200]))
            continue
        read += 1
        teacher = config.teachers[place // config.samples]
        _add(found, written.triples, written.propositions, teacher)
    if not read:
        give_up(replies, losses)
    if not found and not config.keep_empty:
        raise Rejected("no_triples", f"of {len(replies)} replies none states a fact")
    discard_all(kit, losses)
    yield row.with_fields(**{config.into: [_as_json(one, len(replies)) for one in found.values()]})


def _listed(row: Row, kit: Kit, config: TriplesSettings) -> dict[str, Json]:
    """What the prompt is told of the ontology."""
    if config.ontology is None:
        return {}
    ontology = config.ontology
    if isinstance(ontology, str):
        ontology = load_ontology(ontology, kit.desk.folder, _name(row, config.by))
    relations: list[Json] = [
        f"{one.label} ({one.domain or 'anything'}, {one.range or 'a value'})"
        for one in ontology.relations
    ]
    return {"concepts": list(ontology.concepts), "relations": relations}


def _name(row: Row, by: str | None) -> str | None:
    if by is None:
        return None
    name = row.fields.get(by)
    if not isinstance(name, str):
        raise MissingField(f"the row has no text in {by!r}, which `by` names, got {name!r:.80}")
    return name


def _add(
    found: dict[PartsKey, _Found],
    triples: Iterable[Triple],
    propositions: Iterable[str | None],
    teacher: str,
) -> None:
    """What one reply says; a triple that it has twice counts once."""
    fresh: set[PartsKey] = set()
    for triple, proposition in zip(triples, propositions, strict=True):
        one = found.setdefault(triple.key, _Found(triple=triple, proposition=proposition))
        if triple.key not in fresh:
            fresh.add(triple.key)
            one.replies += 1
            if teacher not in one.teachers:
                one.teachers.append(teacher)


def _as_json(one: _Found, replies: int) -> Json:
    head, relation, tail = one.triple.parts
    said = {} if one.proposition is None else {"proposition": one.proposition}
    teachers: list[Json] = [*one.teachers]
    return {
        "head": head,
        "relation": relation,
        "tail": tail,
        **said,
        "teachers": teachers,
        "support": one.replies / replies,
    }
