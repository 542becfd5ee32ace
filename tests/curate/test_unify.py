from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.curate.triples.unify import UnifySettings, checked_aliases, unify
from synthkd.desk import Desk
from synthkd.errors import UserError
from synthkd.graphs.entities import Entity
from synthkd.graphs.resolve import same_among
from synthkd.graphs.triple import spelling
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import Json, Row, source_row
from synthkd.steps import TableKit


def document(
    *triples: tuple[str, str, str], types: dict[str, str] | None = None
) -> dict[str, Json]:
    names = dict.fromkeys(name for head, _, tail in triples for name in (head, tail))
    return {
        "graph": [list(one) for one in triples],
        "entities": [{"name": name, "type": (types or {}).get(name)} for name in names],
    }


def run(rows: list[dict[str, Json]], **given_settings: Any) -> tuple[list[Row], list[Any], Any]:
    """What is kept, what is gone, and the figures."""
    kit = TableKit(Desk(step="triples.unify", vectors=Path("vectors")))
    config = UnifySettings.model_validate(given_settings)
    table = [source_row("rows", [i], ordinal=i, fields=one) for i, one in enumerate(rows)]
    with RowSpool.of(Path("rows.spool"), table) as spool:
        kept = list(unify(Table(spool), kit, config))
    return kept, kit.take_gone(), kit.figures


def heads(row: Row) -> list[str]:
    graph: Any = row.fields["graph"]
    return [one["head"] for one in graph]


def same(row: Row) -> list[tuple[str, str, str, bool]]:
    found: Any = row.fields["same"]
    return [(one["name"], one["into"], one["why"], one["merged"]) for one in found]


TWO = [
    document(("WHO", "is in", "Geneva"), ("Halden Mills", "is in", "Erfurt")),
    document(("World Health Organization", "is in", "Geneva"), ("Halden Mills Inc.", "is in", "X")),
    document(("Genf", "is in", "Switzerland"), ("Geneva", "is in", "Switzerland")),
]


def test_nothing_is_merged_unasked_and_all_is_listed() -> None:
    kept, gone, figures = run(TWO)
    assert [heads(row) for row in kept] == [
        ["WHO", "Halden Mills"],
        ["World Health Organization", "Halden Mills Inc."],
        ["Genf", "Geneva"],
    ]
    assert same(kept[0]) == [
        ("WHO", "World Health Organization", "acronym", False),
        ("Halden Mills", "Halden Mills Inc.", "affix", False),
    ]
    assert same(kept[0]) == same(kept[1])
    assert (same(kept[2]), gone) == ([], [])
    assert figures["found"] == {"acronym": 1, "affix": 1}
    assert (figures["names_merged"], figures["triples_merged"]) == (0, 0)


def test_aliases_and_rules_merge() -> None:
    kept, _, figures = run(TWO, aliases={"Geneva": ["Genf"]}, merge=["acronym"])
    assert heads(kept[0]) == ["World Health Organization", "Halden Mills"]
    entities: Any = kept[0].fields["entities"]
    (alone,) = [one for one in entities if "WHO" in one.get("aliases", ())]
    assert alone["name"] == "World Health Organization"
    assert heads(kept[2]) == ["Geneva"]  # both triples are one now
    assert ("Genf", "Geneva", "alias", True) in same(kept[2])
    assert (figures["names_merged"], figures["triples_merged"]) == (2, 1)
    kept, gone, _ = run([document(("Genf", "is", "Geneva"))], aliases={"Geneva": ["Genf"]})
    assert (kept, gone[0][1].reason) == ([], "no_triples")


def test_near_names_are_listed_unless_their_types_differ() -> None:
    rows = [
        document(("Anselm Haldane", "knows", "Eva"), types={"Anselm Haldane": "person"}),
        document(("Anselm Haldanne", "knows", "Eva"), ("Anselm Haldan", "is in", "Eva")),
        document(("Anselm Haldana", "is in", "Eva"), types={"Anselm Haldana": "place"}),
    ]
    kept, _, _ = run(rows, near=0.4)
    told = {frozenset(one[:2]) for row in kept for one in same(row)}
    assert frozenset(("Anselm Haldane", "Anselm Haldanne")) in told
    assert frozenset(("Anselm Haldane", "Anselm Haldana")) not in told
    assert all(not one[3] for row in kept for one in same(row))


def test_rows_that_cannot_be_read_fail() -> None:
    rows: list[dict[str, Json]] = [{"graph": "no", "entities": []}, {"graph": [], "entities": [1]}]
    kept, gone, _ = run([*rows, TWO[0]])
    assert len(kept) == 1
    assert [str(error) for _, error in gone] == [
        "graph must be a list of triples, got 'no'",
        "entities must be a list of objects with a name, got 1",
    ]


@pytest.mark.parametrize(
    ("aliases", "fault"),
    [
        ({"a": ["c"], "b": ["C"]}, "'C' is an alias of 'a' and of 'b'"),
        ({"a": ["b"], "b": ["c"]}, "'b' has aliases and is one of 'a'"),
        ("none.yaml", "no such file"),
    ],
)
def test_aliases_that_contradict(aliases: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=fault):
        checked_aliases(UnifySettings(aliases=aliases).aliases, tmp_path)
    (told,) = UnifySettings(aliases=aliases).faults(tmp_path)
    assert told.startswith("aliases: ")


def test_aliases_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "aliases.yaml"
    file.write_text("Geneva: [Genf, Gen\u00e8ve]\n", encoding="utf-8")
    assert checked_aliases("aliases.yaml", tmp_path) == {"genf": "Geneva", "gen\u00e8ve": "Geneva"}
    file.write_text("Geneva: Genf\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"aliases.yaml: 'Geneva' must have a list of names"):
        checked_aliases("aliases.yaml", tmp_path)
    for said in ("Geneva: [[Genf]]", "Geneva: [null]", "Geneva: ['']", "'': [Genf]"):
        file.write_text(said, encoding="utf-8")
        with pytest.raises(UserError, match="is no name: write a text"):
            checked_aliases("aliases.yaml", tmp_path)


words = st.sampled_from(["the", "Ada", "Inc.", "Mills", "AM", "A.M.", "of", "Ada's", "AdaMills"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(words, min_size=1, max_size=3).map(" ".join), max_size=8))
def test_following_the_findings_ends(names: list[str]) -> None:
    found = same_among([Entity(name) for name in names], ["affix", "acronym"])
    steps = {spelling(one.name): spelling(one.into) for one in found}
    assert len(steps) == len(found)
    for name in steps:
        seen = [name]
        while (further := steps.get(seen[-1])) is not None:
            assert further not in seen
            seen.append(further)
