from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.errors import UserError
from synthkd.graphs import export
from synthkd.graphs.export import write_graphml, write_ntriples, write_parquet
from synthkd.graphs.picture import picture
from synthkd.graphs.triple import Triple
from synthkd.graphs.whole import WholeGraph

ADA, NOTES = "Ada \u4e1c\u4eac", 'The "Notes" <1843>\x01 & more'
BORN = Triple(ADA, "born in", "London")
WROTE = Triple("ADA \u4e1c\u4eac", "wrote", NOTES)


def two_documents() -> WholeGraph:
    whole = WholeGraph()
    types = {ADA: "person", "Paris": "city"}
    whole.add("a", [(BORN, "Ada was born."), (BORN, None), (WROTE, None)], types=types, words=50)
    other = Triple("Charles", "Born_In", "Paris")
    whole.add("b", [(BORN, "Born."), (other, None)], types={"london": "city", **types}, words=50)
    return whole


def test_each_is_there_once_and_says_where_it_is_from() -> None:
    whole = two_documents()
    assert [(n.name, n.type, n.documents) for n in whole.nodes] == [
        (ADA, "person", 2),
        ("London", "city", 2),
        (NOTES, None, 1),
        ("Charles", None, 1),
        ("Paris", "city", 1),
    ]
    assert [(e.relation, e.document, e.documents) for e in whole.edges] == [
        ("born in", "a", 2),
        ("wrote", "a", 1),
        ("born in", "b", 1),
    ]
    assert whole.edges[0].proposition == "Ada was born."


def test_figures() -> None:
    assert two_documents().figures() == {
        "documents": 2,
        "entities": 5,
        "triples": 3,
        "triples_per_100_words": 4.0,
        "components": 2,
        "largest_component": 3,
        "mean_degree": 1.2,
        "highest_degree": 2,
        "degrees": {"1": 4, "2": 1},
        "relations": 2,
        "triples_by_relation": {"born in": 2, "wrote": 1},
        "triples_of_other_relations": 0,
    }
    assert WholeGraph().figures()["components"] == 0


def test_parquet(tmp_path: Path) -> None:
    nodes, edges = (
        pq.read_table(file).to_pylist() for file in write_parquet(two_documents(), tmp_path)
    )
    assert nodes[0] == {"node": 0, "name": ADA, "type": "person", "documents": 2}
    assert [(one["head"], one["relation"], one["tail"]) for one in edges][1] == (
        ADA,
        "wrote",
        NOTES,
    )
    assert all(nodes[one["tail_node"]]["name"] == one["tail"] for one in edges)


def test_edges_never_stand_beside_nodes_of_another_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [file.read_bytes() for file in write_parquet(two_documents(), tmp_path)]
    other = two_documents()
    monkeypatch.setattr(other, "edges", [None])  # as a disk that is full after the nodes
    with pytest.raises(AttributeError):
        write_parquet(other, tmp_path)
    files = [tmp_path / name for name in ("nodes.parquet", "edges.parquet")]
    assert [file.read_bytes() for file in files] == before
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_graphml_is_read_again(tmp_path: Path) -> None:
    nx: Any = pytest.importorskip("networkx")
    (file,) = write_graphml(two_documents(), tmp_path)
    read = nx.read_graphml(file, force_multigraph=True)
    labels = nx.get_node_attributes(read, "label")
    told = [(labels[h], d["relation"], labels[t]) for h, t, d in read.edges(data=True)]
    assert sorted(told) == sorted(
        [
            (ADA, "born in", "London"),
            (ADA, "wrote", NOTES.replace("\x01", "\ufffd")),
            ("Charles", "born in", "Paris"),
        ]
    )


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
graphs = st.lists(st.builds(Triple, names, names, names), max_size=8)


@settings(max_examples=25, deadline=None)
@given(graphs)
def test_n_triples_are_read_again(triples: list[Triple]) -> None:
    rdflib: Any = pytest.importorskip("rdflib")
    whole = WholeGraph()
    said = [Triple(*(" ".join(part.split()) for part in one.parts)) for one in triples]
    whole.add("a", [(one, None) for one in said if one.fault is None], types={}, words=1)
    lines = list(export._statements(whole, export.BASE))
    some = rdflib.Graph()
    for line in lines:
        some.add(line)
    read = rdflib.Graph().parse(data=some.serialize(format="nt"), format="nt")
    labels = {entity: str(label) for entity, label in read.subject_objects(rdflib.RDFS.label)}
    told = {(labels[h], labels[r], labels[t]) for h, r, t in read if r != rdflib.RDFS.label}
    assert told == {
        (whole.nodes[e.head].name, e.relation, whole.nodes[e.tail].name) for e in whole.edges
    }


def test_n_triples_are_written_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rdflib: Any = pytest.importorskip("rdflib")
    monkeypatch.setattr(export, "AT_ONCE", 2)
    (file,) = write_ntriples(two_documents(), tmp_path, "https://example.org/")
    lines = file.read_bytes().splitlines()
    pairs = [lines[at : at + 2] for at in range(0, len(lines), 2)]
    assert pairs == [sorted(pair) for pair in pairs]  # the same bytes in every process
    read = rdflib.Graph().parse(file, format="nt")
    assert len(read) == 5 + 3 + 2 + 3  # labels of entities, types, labels of relations, edges
    assert (
        len(list(read.predicate_objects(rdflib.URIRef("https://example.org/entity/Charles")))) == 2
    )


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"nt needs rdflib.*pip install 'synthkd\[graph\]'"):
        write_ntriples(two_documents(), tmp_path)


@pytest.mark.parametrize("base", ["", "example/", "https://a b/", "https://<a>/"])
def test_names_that_would_be_no_iri(tmp_path: Path, base: str) -> None:
    pytest.importorskip("rdflib")
    with pytest.raises(UserError, match="begins no IRI"):
        write_ntriples(two_documents(), tmp_path, base)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    told = {
        "id": "a",
        "text": "Ada was born in London.",
        "graph": [{"head": "Ada", "relation": "born in", "tail": "London", "proposition": "So."}],
        "entities": [{"name": "Ada", "type": "person"}],
    }
    as_text = {**told, "id": "b", "graph": json.dumps(told["graph"])}
    rows.write_text("\n".join(map(json.dumps, (told, as_text, {"id": "c"}))), encoding="utf-8")
    done = CliRunner().invoke(app, ["graph", str(rows), "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["figures"]["triples_per_100_words"] == 20.0
    assert [Path(file).name for file in shown["files"]] == ["nodes.parquet", "edges.parquet"]
    assert (
        pq.read_table(tmp_path / "rows.graph" / "nodes.parquet").to_pylist()[0]["type"] == "person"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "a"}, "no row has a triple in 'graph'"),
        ({"graph": [["Ada", "born in"]]}, "record 1: graph must hold triples"),
    ],
)
def test_rows_that_are_no_graph(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row), encoding="utf-8")
    done = CliRunner().invoke(app, ["graph", str(rows)])
    assert done.exit_code == 2
    assert said in done.output


def test_a_picture_shows_what_is_next_to_the_best_connected(tmp_path: Path) -> None:
    pytest.importorskip("networkx")
    whole = two_documents()
    assert picture(whole) == picture(whole)
    (file,) = export.FORMATS["svg"](whole, tmp_path)
    read = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    told = [text.text for text in read.iter("{http://www.w3.org/2000/svg}text")]
    assert {"London", "Charles", "born in", "wrote"} <= set(told)
    one = ElementTree.fromstring(picture(whole, 1))
    assert "Charles" not in {text.text for text in one.iter("{http://www.w3.org/2000/svg}text")}


def test_a_question_to_the_graph(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    said = {"head": "Ada", "relation": "wrote", "tail": "Notes", "proposition": "Ada wrote Notes."}
    rows.write_text(json.dumps({"id": "a", "graph": [said]}) + "\n")
    asked = CliRunner().invoke(app, ["graph", str(rows), "--ask", "Who wrote Notes?", "--json"])
    (hit,) = json.loads(asked.stdout)
    assert (hit["proposition"], hit["document"], hit["hops"]) == ("Ada wrote Notes.", "a", 1)
    rows.write_text(json.dumps({"id": "a", "graph": [["Ada", "wrote", "Notes"]]}) + "\n")
    asked = CliRunner().invoke(app, ["graph", str(rows), "--ask", "Who?"])
    assert asked.exit_code == 2
    assert "no triple has a proposition" in asked.output
