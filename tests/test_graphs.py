from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import RowError, UserError
from synthkd.graphs.ground import find, places
from synthkd.graphs.notation import read_triples, write_graph
from synthkd.graphs.ontology import Ontology, load_ontology, unfit
from synthkd.graphs.triple import LONGEST_PART, Triple, distinct, triple_of, triples_in

ADA = Triple("Ada", "born in", "London")


@pytest.mark.parametrize(
    ("text", "way", "triples"),
    [
        ('[["Ada", "born in", "London"]]', "json", [ADA]),
        ('```json\n[["Ada", "born in", "London"]]\n```', "json", [ADA]),
        ('{"facts": [{"subj": "Ada", "pred": "born in", "obj": "London"}]}', "json", [ADA]),
        ('Here: [{"Head": "Ada", "rel": "born in", "TAIL": "London"}] done', "json", [ADA]),
        ("born in(Ada, London)", "calls", [ADA]),
        ("1. born in(Ada,London)\n- born in(Ada , London).", "calls", [ADA, ADA]),
        ("The relation is born(Ada, London), I think", "calls", [Triple("Ada", "born", "London")]),
        ("the triple (born_in(Ada, London)) holds", "calls", [Triple("Ada", "born_in", "London")]),
        ("cast\\_member(A (film), B), cast\\_member(A (film), C)", "calls",
         [Triple("A (film)", "cast_member", "B"), Triple("A (film)", "cast_member", "C")]),
        ("Ada | born in | London", "bars", [ADA]),
        ("| Ada | born in | London |\n|---|---|---|", "bars", [ADA]),
        ("<Ada; born in; London>", "bars", [ADA]),
        ("\ufeffAda\tborn in\tLondon", "bars", [ADA]),
        ("出生(阿达, 伦敦)", "calls", [Triple("阿达", "出生", "伦敦")]),
        ("[]", "json", []),
        ('```json\n{"triples": []}\n```', "json", []),
        ("There is nothing to be found.", "none", []),
        ("", "none", []),
    ],
)  # fmt: skip
def test_ways_to_write_triples(text: str, way: str, triples: list[Triple]) -> None:
    written = read_triples(text)
    assert (written.way, written.triples) == (way, triples)


@pytest.mark.parametrize(
    ("text", "fault", "left"),
    [
        ('[["Ada", "born in", "London"], ["Ada", "wro', "cut", [ADA]),
        ('{"triples": [["Ada", "born in", "London"], ["Ada"', "cut", [ADA]),
        ("born in(Ada, London)\nwrote(Ada, Not", "cut", [ADA]),
        ("born in(Ada, London)\nwrote(Ada,)", "empty_part", [ADA]),
        ("born in(Ada, London)\nwrote(Ada)", "no_triple", [ADA]),
        (f"born in(Ada, London)\nwrote(Ada, {'x' * 2000})", "too_long", [ADA]),
    ],
)
def test_what_cannot_be_used_is_told_and_costs_nothing_else(
    text: str, fault: str, left: list[Triple]
) -> None:
    written = read_triples(text)
    assert written.triples == left
    assert [reason for reason, _ in written.faults] == [fault]


def test_the_source_tells_which_comma_divides() -> None:
    line = "director(Panda! Go, Panda!, Isao Takahata)"
    assert read_triples(line).triples == [Triple("Panda! Go", "director", "Panda!, Isao Takahata")]
    (triple,) = read_triples(line, source="Isao Takahata made Panda! Go, Panda! in 1972.").triples
    assert triple == Triple("Panda! Go, Panda!", "director", "Isao Takahata")


def test_a_proposition_stays_with_its_triples() -> None:
    text = '{"proposition": "Ada was born in London.", "triples": [["Ada", "born in", "London"]]}'
    assert read_triples(text).propositions == ["Ada was born in London."]


@pytest.mark.parametrize(
    "reply", ["x" * 100_000, "a-" * 50_000, f"a{' ' * 100_000}b", "\n" * 100_000, "9" * 100_000]
)
def test_a_reply_that_goes_on_for_ever_is_read_in_linear_time(reply: str) -> None:
    assert read_triples(reply).triples == []  # in quadratic time this takes many minutes


@pytest.mark.parametrize("levels", [90, 500, *range(985, 1000)])
def test_what_is_nested_beyond_sense_is_broken(levels: int) -> None:
    written = read_triples("[" * levels + '"Ada", "born in", "London"' + "]" * levels)
    assert written.triples == ([ADA] if levels < 100 else [])


parts = st.text(min_size=1, max_size=30).filter(lambda text: any(c.isalnum() for c in text))
triples = st.builds(Triple, parts, parts, parts).map(lambda one: triple_of(list(one.parts)))
graphs = st.lists(
    st.tuples(st.none() | st.text(max_size=20), st.lists(triples, min_size=1, max_size=3)),
    max_size=4,
)


@settings(max_examples=100)
@given(graphs, st.integers(0, 400))
def test_what_is_written_is_read_again_and_a_cut_costs_one_line(
    graph: list[tuple[str | None, list[Triple]]], at: int
) -> None:
    text = write_graph(graph)
    said = [triple for _, several in graph for triple in several if triple.fault is None]
    assert read_triples(text).triples == said
    whole = text[:at].count("\n")
    least = sum(1 for line in text.split("\n")[:whole] for t in read_triples(line).triples)
    assert len(read_triples(text[:at]).triples) >= least


@settings(max_examples=100)
@given(st.text(alphabet='[]{}(),|"ab:; \n\\', max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    written = read_triples(text, source=text)
    assert all(triple.fault is None for triple in written.triples)


@pytest.mark.parametrize("text", ["[" * 50_000, "a(" * 50_000, "a(b,c)" * 5_000, "a|" * 50_000])
def test_long_and_broken_texts_end(text: str) -> None:
    assert len(read_triples(text).triples) in {0, 5_000}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Ada", "Ada and Adam", ("Ada", "exact")),
        ("Adam", "Ada", None),
        ("da", "Ada", None),
        ("noriyuki  ABE", "by Noriyuki Abe.", ("Noriyuki Abe", "spelling")),
        ("Hello, Fräulein!", "in Hello , FRÄULEIN !, 1970", ("Hello , FRÄULEIN", "spelling")),
        ("伦敦", "阿达生于伦敦市。", ("伦敦", "exact")),
        ("①", "see ① below", ("①", "exact")),
        ("Rene\u0301", "by Ren\u00e9 Descartes", ("Ren\u00e9", "spelling")),
        ("\u00b4", "\u00b4 alone", None),
        ("\u0e01\u0e34\u0e19", "\u0e01\u0e31\u0e19", None),
        ("\u0e01", "\u0e01\u0e34\u0e19", None),
        (
            "\u0e01\u0e34\u0e19",
            "\u0e44\u0e1b\u0e01\u0e34\u0e19\u0e02",
            ("\u0e01\u0e34\u0e19", "exact"),
        ),
        ("\u0301", "a \u0301 b", None),
        ("!?", "what!?", None),
        ("", "anything", None),
    ],
)
def test_where_a_name_stands(name: str, text: str, found: tuple[str, str] | None) -> None:
    place = find(name, text)
    assert (place and (text[place.start : place.end], place.how)) == found


def test_a_name_that_is_nearly_there() -> None:
    text = "Directed by Isao Takahatta in Tokyo."
    assert find("Isao Takahata", text) is None
    place = find("Isao Takahata", text, near=0.9)
    assert place is not None
    assert (text[place.start : place.end], place.how) == ("Isao Takahatta", "nearly")
    assert find("Hayao Miyazaki", text, near=0.9) is None
    assert find("Isa", "Ira", near=0.5) is None


@settings(max_examples=100)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_a_name_between_spaces_is_found_where_it_stands(left: str, right: str, name: str) -> None:
    text = f"{left} {name} {right}"
    found = list(places(name, text))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert bool(found) == any(c.isalnum() for c in name) or not found or not name.isprintable()


def test_triples_are_the_same_in_another_spelling() -> None:
    twins = [Triple("Ada", "born_in", "London"), Triple("ADA", "Born in", "london ")]
    assert distinct(twins) == twins[:1]
    assert triple_of(["a", 1, True]) == Triple("a", "1", "True")
    assert Triple("+", "is", "sign").fault is None
    assert Triple(" ", "is", "sign").fault == "empty_part"
    assert Triple("x" * (LONGEST_PART + 1), "is", "y").fault == "too_long"


@pytest.mark.parametrize("value", ["text", {"head": "a"}, [["a", "b"]], [{"head": "a"}], [None]])
def test_a_field_that_holds_no_triples(value: object) -> None:
    with pytest.raises(RowError, match="facts must"):
        triples_in(value, "facts")  # type: ignore[arg-type]


FILMS = {
    "concepts": [{"qid": "Q5", "label": "human"}, {"qid": "Q11424", "label": "film"}],
    "relations": [{"label": "cast member", "domain": "Q11424", "range": "Q5"}, "runtime"],
}


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (("Up", "Cast_Member", "Ed Asner"), None),
        (("Up", "director", "Pete Docter"), "unknown_relation"),
        (("Up", "cast member", "Human"), "concept_as_tail"),
        (("film", "cast member", "Ed Asner"), "concept_as_head"),
        (("Up", "cast member", "up"), "head_is_tail"),
    ],
)
def test_what_an_ontology_refuses(triple: tuple[str, str, str], reason: str | None) -> None:
    ontology = Ontology.model_validate(FILMS)
    assert unfit(Triple(*triple), ontology) == reason
    relation = ontology.relation("CAST_MEMBER")
    assert relation is not None
    assert (relation.domain, relation.range) == ("film", "human")


def test_ontologies_in_files(tmp_path: Path) -> None:
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_bytes(orjson.dumps(FILMS))
    several.write_bytes(orjson.dumps({"ontologies": {"films": FILMS}}))
    assert load_ontology("one.json", tmp_path) == load_ontology("several.json", tmp_path, "films")
    with pytest.raises(UserError, match=r"several.json has several ontologies \(films\): `by`"):
        load_ontology("several.json", tmp_path)
    with pytest.raises(UserError, match=r"no ontology 'film'.*films"):
        load_ontology("several.json", tmp_path, "film")
    (tmp_path / "bad.yaml").write_text("concepts: [human]\nrelations: []\n")
    with pytest.raises(UserError, match=r"bad.yaml: relations: .* got \[\]"):
        load_ontology("bad.yaml", tmp_path)
    (tmp_path / "bad.yaml").write_text("relations: [director]\n")
    assert load_ontology("bad.yaml", tmp_path).relation("director") is not None
    (tmp_path / "bad.yaml").write_text("relations: [editor]\n")
    os.utime(tmp_path / "bad.yaml", ns=(1, 1))
    assert load_ontology("bad.yaml", tmp_path).relation("director") is None
    for bad in (
        {"concepts": "human", "relations": ["r"]},
        {"concepts": [{"qid": "Q5"}], "relations": ["r"]},
        {"relations": [{"label": "r", "domain": ["human"]}]},
    ):
        with pytest.raises(ValidationError):
            Ontology.model_validate(bad)
