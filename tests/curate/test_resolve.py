from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate.triples.resolve import ResolveSettings, resolve
from synthkd.desk import Desk
from synthkd.errors import RowError
from synthkd.graphs.entities import Entity
from synthkd.graphs.resolve import same_names
from synthkd.graphs.triple import spelling
from synthkd.kit import Kit
from synthkd.rows import source_row


def found(*names: str, types: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    entities = [Entity(name, (types or {}).get(name)) for name in names]
    return [(one.name, one.into, one.why) for one in same_names(entities)]


@pytest.mark.parametrize(
    ("name", "into", "why"),
    [
        ("Notes", "the Notes", "affix"),
        ("Halden Mills", "Halden Mills, Inc.", "affix"),
        ("WHO", "World Health Organization", "acronym"),
        ("U.N.", "United Nations", "acronym"),
        ("ABC", "Academy of Better Care", "acronym"),
        ("Lovelace", "Ada Lovelace", "part"),
        ("Ada", "Ada Lovelace", "part"),
    ],
)
def test_two_names_of_one(name: str, into: str, why: str) -> None:
    assert found(name, into) == found(into, name) == [(name, into, why)]


@pytest.mark.parametrize(
    "names",
    [
        ("Lovelace", "Ada Lovelace", "Annabella Lovelace"),  # whose
        ("WHO", "World Health Organization", "White House Office"),
        ("York", "New York Times"),  # neither begins nor ends
        ("who", "World Health Organization"),
        ("war", "civil war"),
        ("The", "the"),
        ("1843", "1844"),
    ],
)
def test_names_that_stay(names: tuple[str, ...]) -> None:
    assert found(*names) == []


def test_a_type_may_contradict() -> None:
    types = {"London": "city", "Jack London": "person"}
    assert found("London", "Jack London", types=types) == []
    types = {"Morris": "person", "Morris & Co.": "company"}
    assert found("Morris", "Morris & Co.", types=types) == []


def row_of(graph: Any, entities: Any) -> Any:
    return source_row("rows", ["1"], ordinal=0, fields={"graph": graph, "entities": entities})


async def through(graph: Any, entities: Any, **config: Any) -> tuple[dict[str, Any], Kit]:
    row = row_of(graph, entities)
    kit = Kit(Desk(step="triples.resolve"), row.id)
    made = ResolveSettings.model_validate(config)
    (out,) = [out async for out in resolve(row, kit, made)]
    return dict(out.fields), kit


async def test_triples_and_entities_are_merged() -> None:
    who = "World Health Organization"
    graph = [["WHO", "in", "Geneva"], [who, "in", "Geneva"], ["WHO", "is", who]]
    entities = [{"name": name} for name in ("WHO", who, "Geneva", "Health Organization")]
    fields, kit = await through(graph, entities)
    assert fields["graph"] == [{"head": who, "relation": "in", "tail": "Geneva"}]
    assert fields["entities"] == [
        {"name": who, "aliases": ["WHO"]},
        {"name": "Geneva"},
        {"name": "Health Organization"},
    ]
    assert [(one["name"], one["why"], one["merged"]) for one in fields["same"]] == [
        ("Health Organization", "part", False),
        ("WHO", "acronym", True),
    ]
    assert [reason for reason, _ in kit.discards] == ["head_is_tail"]
    assert kit.counts == [("triples merged", 1), ("names merged", 1)]


words = st.sampled_from(["Ada", "the", "King", "Inc", "A", "K", "AK", "'s"])
names = st.lists(words, min_size=1, max_size=3).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(names, min_size=2, max_size=6, unique_by=spelling))
async def test_no_triple_loses_its_entities_and_twice_is_once(said: list[str]) -> None:
    graph = [[one, "knows", two] for one, two in pairwise(said)]
    config = {"merge": ["affix", "acronym", "part"], "keep_empty": True}
    fields, _ = await through(graph, [{"name": name} for name in said], **config)
    left = {entity["name"] for entity in fields["entities"]}
    assert all({one["head"], one["tail"]} <= left for one in fields["graph"])
    aliases = [name for entity in fields["entities"] for name in entity.get("aliases", [])]
    assert sorted([*left, *aliases]) == sorted(said)


async def test_entities_that_are_none() -> None:
    with pytest.raises(RowError, match="entities must be a list of objects with a name, got 'Ada'"):
        await through([["a", "b", "c"]], ["Ada"])
