"""Concepts and relations that are given, and whether a triple keeps to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthkd.errors import UserError
from synthkd.graphs.triple import Triple, spelling
from synthkd.hints import near
from synthkd.io.paths import find_file
from synthkd.pipeline_file import load_yaml


class Relation(BaseModel):
    """A relation of an ontology."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    label: str = Field(min_length=1)
    domain: str | None = None
    """The concept of its heads; None = any."""
    range: str | None = None
    """The concept of its tails; None = any value, such as a date."""


class Ontology(BaseModel):
    """Concepts by name and relations between them, as a YAML or JSON file has them."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    concepts: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _other_ways(cls, value: object) -> object:
        """Concepts as `{qid, label}` and relations as `{label, domain: qid}` or plain names."""
        if not isinstance(value, Mapping):
            return value
        concepts = value.get("concepts") or ()
        if not isinstance(concepts, Sequence) or isinstance(concepts, str):
            return value
        labels = {_id(one): _label(one) for one in concepts}  # one without a label is a fault
        return {
            "concepts": list(labels.values()),
            "relations": [_relation(one, labels) for one in value.get("relations") or ()],
        }

    def relation(self, name: str) -> Relation | None:
        """The relation of that name, in whatever case and with underscores or blanks."""
        return self._relations.get(spelling(name))

    def is_concept(self, name: str) -> bool:
        """Whether the name is a concept's ("human"), which no head and no tail should be."""
        return spelling(name) in self._concepts

    @cached_property
    def _relations(self) -> dict[str, Relation]:
        return {spelling(one.label): one for one in self.relations}

    @cached_property
    def _concepts(self) -> frozenset[str]:
        return frozenset(map(spelling, self.concepts))


def _id(concept: object) -> str:
    return str(concept.get("qid", _label(concept)) if isinstance(concept, Mapping) else concept)


def _label(concept: object) -> Any:
    return concept.get("label") if isinstance(concept, Mapping) else concept


def _relation(relation: object, labels: Mapping[str, str]) -> object:
    if isinstance(relation, str):
        return {"label": relation}
    if not isinstance(relation, Mapping):
        return relation
    ends = {end: relation.get(end) or None for end in ("domain", "range")}
    named = {
        end: labels.get(name, name) if isinstance(name, str) else name for end, name in ends.items()
    }
    return {"label": relation.get("label"), **named}


def unfit(triple: Triple, ontology: Ontology) -> str | None:
    """Why the triple does not fit, as a reason of a rejection; None = it does."""
    if ontology.relation(triple.relation) is None:
        return "unknown_relation"
    if ontology.is_concept(triple.head):
        return "concept_as_head"
    if ontology.is_concept(triple.tail):
        return "concept_as_tail"
    return "head_is_tail" if spelling(triple.head) == spelling(triple.tail) else None


def load_ontology(written: str, base: Path, name: str | None = None) -> Ontology:
    """The ontology of a file (YAML or JSON).

    Args:
        written: the path as a setting has it.
        base: the pipeline file's folder.
        name: which of `ontologies` in the file, by its id; None = the file is one ontology.

    Raises:
        UserError: there is no such file or ontology, or it has faults; the message names them.
    """
    path = find_file(written, base)
    found = _ontologies(path, path.stat().st_mtime_ns)
    if name is None and None not in found:
        raise UserError(
            f"{path} has several ontologies ({', '.join(map(str, found))[:200]}): `by` must name"
            " the field of a row that says which"
        )
    if name not in found:
        raise UserError(f"{path} has no ontology {name!r}{near(str(name), map(str, found))}")
    return found[name]


@lru_cache(maxsize=8)
def _ontologies(path: Path, changed_ns: int) -> dict[str | None, Ontology]:
    raw = load_yaml(path)
    if isinstance(raw, list):  # as Text2KGBench has them
        raw = {"ontologies": {_own_id(one, path): one for one in raw}}
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must hold concepts and relations, or ontologies by their ids")
    several = raw.get("ontologies")
    if several is None:
        return {None: _checked(raw, str(path))}
    if not isinstance(several, Mapping):
        raise UserError(f"{path}: ontologies must be a block of id: {{concepts, relations}}")
    return {str(id_): _checked(one, f"{path}: ontologies.{id_}") for id_, one in several.items()}


def _own_id(one: object, path: Path) -> str:
    if not isinstance(one, Mapping) or not isinstance(one.get("id"), str):
        raise UserError(f"{path}: each ontology of a list must have an `id`, got {one!r:.80}")
    return str(one["id"])


def _checked(raw: object, place: str) -> Ontology:
    try:
        return Ontology.model_validate(raw)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_context=False)
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{place}: {where}: {first['msg']}, got {first['input']!r:.80}") from error
