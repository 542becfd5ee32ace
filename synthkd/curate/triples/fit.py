"""`triples.fit`: whether triples keep to an ontology, a file of concepts and relations.

    concepts: [film, human, city]
    relations:
      - {label: director, domain: film, range: human}
      - {label: publication date, domain: film}

Weak teachers fill in what they were shown: `director(Toy Story, human)` names the concept in place
of a person. Such a triple is taken out here, and so is one of a relation that nobody asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from pydantic import model_validator

from synthkd.curate.fields import text_of
from synthkd.curate.triples.held import Held, held, kept, lost
from synthkd.errors import UserError
from synthkd.graphs.ontology import Ontology, load_ontology, unfit
from synthkd.graphs.triple import Triple
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, step


class FitSettings(StepSettings):
    """Settings of `triples.fit`."""

    triples: str = "triples"
    """The field with the triples."""
    ontology: Ontology | str
    """The ontology itself, or a file of one (YAML or JSON); of several, as a block `ontologies`."""
    by: str | None = None
    """The field of a row with the id of its ontology, where the file has several."""
    keep_empty: bool = False
    """Whether a row stays of which no triple is left."""

    @model_validator(mode="after")
    def _one_way(self) -> FitSettings:
        if self.by is not None and not isinstance(self.ontology, str):
            raise ValueError("by chooses among the ontologies of a file: name one in `ontology`")
        return self

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the file."""
        if isinstance(self.ontology, str) and self.by is None:
            try:
                load_ontology(self.ontology, folder)
            except UserError as error:
                yield f"ontology: {error}"

    def of(self, row: Row, folder: Path) -> Ontology:
        """The ontology of a row."""
        if isinstance(self.ontology, Ontology):
            return self.ontology
        name = None if self.by is None else text_of(row, self.by)
        return load_ontology(self.ontology, folder, name)


def _needs(config: FitSettings) -> Iterable[str]:
    return [name for name in (config.triples, config.by) if name is not None]


@step("triples.fit", needs=_needs)
async def fit(row: Row, kit: Kit, config: FitSettings, /) -> AsyncIterator[Row]:
    """Takes out triples that do not keep to the ontology; relations get its spelling.

    Discards `unknown_relation`, `concept_as_head`, `concept_as_tail`, `head_is_tail`; rejects
    `no_triples`.
    """
    ontology = config.of(row, kit.desk.folder)
    triples = held(row, config.triples)
    fitting: list[Json] = []
    for one in triples:
        reason = unfit(one.triple, ontology)
        relation = ontology.relation(one.triple.relation)
        if reason is not None or relation is None:
            lost(kit, reason or "unknown_relation", one.triple)
        else:
            head, _, tail = one.triple.parts
            said = Held(triple=Triple(head, relation.label, tail), more=one.more)
            fitting.append(said.as_json())
    yield kept(row, config.triples, fitting, before=len(triples), keep_empty=config.keep_empty)
