from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.errors import MissingField, Rejected
from synthkd.recipes.triples import TriplesSettings
from synthkd.teachers.request import Completion, Usage

Ask = Callable[..., Any]
ROW = {"text": "Ada was born in London. She wrote Notes."}
BORN, WROTE = ["Ada", "born in", "London"], ["Ada", "wrote", "Notes"]


def told(*triples: list[str]) -> str:
    return orjson.dumps(list(triples)).decode()


def cut(text: str) -> Completion:
    return Completion(text=text, finish="length", usage=Usage(), reply=b"")


async def test_who_said_it_and_in_which_share_of_replies(ask: Ask) -> None:
    replies = {"a": [told(BORN, BORN), told(BORN, WROTE)], "b": ["born_in(ADA, London)", "[]"]}
    asked = await ask("triples", {"teachers": ["a", "b"], "samples": 2}, ROW, replies)
    born, wrote = asked.fields["triples"]
    assert born == {
        "head": "Ada",
        "relation": "born in",
        "tail": "London",
        "teachers": ["a", "b"],
        "support": 0.75,
    }
    assert (wrote["teachers"], wrote["support"]) == (["a"], 0.25)


async def test_what_was_cut_keeps_what_is_whole(ask: Ask) -> None:
    reply = cut('[["Ada", "born in", "London"], ["Ada", "wr')
    asked = await ask("triples", {"teachers": ["a"]}, ROW, {"a": [reply]})
    assert [one["relation"] for one in asked.fields["triples"]] == ["born in"]
    assert [reason for reason, _ in asked.kit.discards] == ["cut"]


@pytest.mark.parametrize("reply", ["[]", "I see no facts here."])
async def test_no_triples(ask: Ask, reply: str) -> None:
    with pytest.raises(Rejected, match="no_triples"):
        await ask("triples", {"teachers": ["a"]}, ROW, {"a": [reply]})


async def test_a_text_that_states_nothing_may_stay(ask: Ask) -> None:
    asked = await ask("triples", {"teachers": ["a"], "keep_empty": True}, ROW, {"a": ["[]"]})
    assert asked.fields["triples"] == []


async def test_the_prompt_is_told_of_the_ontology(ask: Ask, tmp_path: Path) -> None:
    relation = {"label": "born in", "domain": "person"}
    ontology = {"concepts": ["person", "city"], "relations": [relation]}
    settings = {"teachers": ["a"], "prompt": "triples/ontology", "ontology": ontology}
    asked = await ask("triples", settings, ROW, {"a": [told(BORN)]})
    system = asked.teachers["a"].asked[0].body["messages"][0]["content"]
    assert "Kinds: person, city" in system
    assert "- born in (person, a value)" in system


async def test_a_row_that_does_not_say_which_ontology(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "ontologies.json"
    path.write_bytes(orjson.dumps({"ontologies": {"films": {"relations": ["cast"]}}}))
    settings = {"teachers": ["a"], "prompt": "triples/ontology", "ontology": str(path), "by": "o"}
    with pytest.raises(MissingField, match=r"no text in 'o', which `by` names, got 3"):
        await ask("triples", settings, {**ROW, "o": 3}, {"a": ["[]"]})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    settings = TriplesSettings(teachers=["a"], ontology="films.yaml")
    (fault,) = settings.faults(tmp_path)
    assert fault.startswith("ontology: films.yaml: no such file")
