from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from synthkd.curate.triples.ground import GroundSettings, ground
from synthkd.desk import Desk
from synthkd.errors import Rejected, RowError, TeacherError
from synthkd.graphs.notation import read_triples
from synthkd.graphs.triple import spelling
from synthkd.io.rows_file import read_rows
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.synthkg import SynthkgSettings, synthkg
from synthkd.rows import Fields, Row, source_row
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Completion, Request, Usage

ROOT = Path(__file__).parents[2]
FIRST = "Ada Lovelace was born in London near the old river and its many bridges."
SECOND = "She wrote the Notes in the quiet years of her life, far away from it all."
TEXT = f"{FIRST} {SECOND}"
NAMED = SECOND.replace("She", "Ada Lovelace")
ENTITIES = json.dumps([{"name": name} for name in ("Ada Lovelace", "London", "the Notes")])


def propositions(*said: tuple[str, list[list[str]]]) -> str:
    return json.dumps([{"proposition": text, "triples": triples} for text, triples in said])


BORN = ("Ada Lovelace was born in London.", [["Ada Lovelace", "born in", "London"]])
WROTE = ("Ada Lovelace wrote the Notes.", [["ada lovelace", "wrote", "The Notes"]])


@dataclass
class Reader:
    """Replies by the prompt's last word and, where there are several, by passage."""

    replies: Mapping[str, str | TeacherError | list[str]]
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        reply = self.replies[request.prompt.rpartition("/")[2]]
        if isinstance(reply, list):
            reply = reply["Notes" in str(request.inputs["text"])]
        if isinstance(reply, TeacherError):
            raise reply
        return Completion(text=reply, finish="stop", usage=Usage(), reply=b"", key="k")


GOOD: dict[str, Any] = {
    "decontextualise": NAMED,
    "entities": ENTITIES,
    "propositions": [propositions(BORN), propositions(BORN, WROTE)],
}


async def read(
    fields: Fields, replies: Mapping[str, Any] = GOOD, **settings: Any
) -> tuple[dict[str, Any], Kit, Reader]:
    config = SynthkgSettings(teachers=["a"], tokens=20, **settings)
    names = [config.prompt, config.entities_prompt, config.decontextualise_prompt]
    folders = [shipped_folder("prompts")]
    reader = Reader(replies)
    teacher = OpenTeacher(
        name="a", model="m", params={}, max_tokens=None, simulated=True, stack=reader
    )
    prompts = {name: load_prompt(name, folders=folders) for name in names if name}
    kit = Kit(Desk(step="synthkg", teachers={"a": teacher}, prompts=prompts), "row")
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    (out,) = [out async for out in synthkg(row, kit, config)]
    return dict(out.fields), kit, reader


async def test_a_document_of_two_passages() -> None:
    fields, kit, reader = await read({"text": TEXT})
    born, wrote = fields["graph"]
    assert (born["passage"], born["passages"], born["support"]) == (0, [0, 1], 1.0)
    # Heads and tails are spelled as the entities are.
    assert [wrote[part] for part in ("head", "relation", "tail")] == [
        "Ada Lovelace",
        "wrote",
        "the Notes",
    ]
    assert (wrote["teachers"], wrote["passage"]) == (["a"], 1)
    place = wrote["evidence"]["proposition"]
    assert TEXT[place["start"] : place["end"]] == SECOND
    read_as = [passage["rewritten"] for passage in fields["passages"]]
    assert read_as == [[FIRST], [NAMED]]
    assert ("passages rewritten", 1) in kit.counts
    rewriting = [r for r in reader.asked if r.prompt == "synthkg/decontextualise"]
    assert [(r.inputs["before"], r.inputs["text"]) for r in rewriting] == [(FIRST, SECOND)]


async def test_grounding_keeps_the_evidence_of_the_proposition() -> None:
    fields, kit, _ = await read({"text": TEXT})
    row = source_row("test", ["1"], ordinal=0, fields=fields)
    (out,) = [one async for one in ground(row, kit, GroundSettings(triples="graph"))]
    graph: Any = out.fields["graph"]
    evidence = graph[1]["evidence"]
    assert evidence["proposition"]["how"] == "nearly"
    assert evidence["head"] == {"start": 0, "end": 12, "how": "exact"}


async def test_a_rewriting_that_went_too_far_is_not_believed() -> None:
    replies = {**GOOD, "decontextualise": "It is about a writer."}
    _, kit, reader = await read({"text": TEXT}, replies)
    assert ("passages kept as they were", 1) in kit.counts
    assert [reason for reason, _ in kit.discards] == ["rewritten_too_far"]
    assert [r.inputs["text"] for r in reader.asked if r.prompt == "synthkg/entities"] == [
        FIRST,
        SECOND,
    ]


async def test_without_rewriting() -> None:
    _, _, reader = await read({"text": TEXT}, decontextualise_prompt=None)
    assert {r.prompt for r in reader.asked} == {"synthkg/entities", "synthkg/propositions"}


async def test_what_is_taken_out() -> None:
    said = propositions(
        BORN,
        ("Charles wrote.", [["Charles", "wrote", "the Notes"], ["London", "in", "England"]]),
        (" ", [["London", "has", "the Notes"]]),
    )
    fields, kit, _ = await read({"text": FIRST}, {**GOOD, "propositions": said})
    assert len(fields["graph"]) == 1
    assert [reason for reason, _ in kit.discards] == [
        "head_not_entity",
        "tail_not_entity",
        "no_proposition",
    ]


@pytest.mark.parametrize(
    ("text", "replies", "reason"),
    [
        (" \n\ufeff", {}, "no_text"),
        (FIRST, {"entities": "[]"}, "no_triples"),
        (FIRST, {"entities": "I see nobody."}, "no_entities"),
        (FIRST, {"propositions": "[]"}, "no_triples"),
    ],
)
async def test_a_document_of_which_nothing_comes(
    text: str, replies: dict[str, str], reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        await read({"text": text}, {**GOOD, **replies})


async def test_a_document_with_a_hole_fails() -> None:
    with pytest.raises(TeacherError, match="nobody"):
        await read({"text": TEXT}, {**GOOD, "propositions": TeacherError("nobody is there")})


async def test_a_field_that_is_no_text() -> None:
    with pytest.raises(RowError, match="text must be a text, got 3"):
        await read({"text": 3})


async def test_the_pipeline(tmp_path: Path) -> None:
    data = f"source.jsonl={ROOT / 'data' / 'fact_documents.jsonl'}"
    pipeline = ROOT / "pipelines" / "synthkg.yaml"
    manifest = await Pipeline.load(pipeline, overrides=[data], out=tmp_path / "out").run()
    assert (manifest.counts.read, manifest.counts.kept) == (10, 10)
    again = await Pipeline.load(pipeline, overrides=[data], out=tmp_path / "again").run()
    assert again.counts == manifest.counts
    rows, twin = (
        list(read_rows(tmp_path / out / "rows" / "rows.parquet")) for out in ("out", "again")
    )
    assert [row.fields for row in rows] == [row.fields for row in twin]
    right = wrong = 0
    for row in rows:
        right, wrong = right + _checked(row)[0], wrong + _checked(row)[1]
    assert right >= 150
    assert wrong <= 3


def _checked(row: Row) -> tuple[int, int]:
    """How many triples are right and wrong; each has an entity at both ends and true places."""
    fields: dict[str, Any] = dict(row.fields)
    gold = {tuple(one) for one in fields["triples"]}
    names = {entity["name"] for entity in fields["entities"]}
    text, hits = fields["text"], 0
    for one in fields["graph"]:
        assert {one["head"], one["tail"]} <= names
        evidence = one["evidence"]
        for part in ("head", "tail"):
            place = evidence[part]
            assert spelling(text[place["start"] : place["end"]]) == spelling(one[part])
        place, span = evidence["proposition"], fields["passages"][one["passage"]]
        assert span["start"] <= place["start"] < place["end"] <= span["end"]
        hits += (one["head"], one["relation"], one["tail"]) in gold
    assert len(read_triples(fields["completion"]).triples) == len(fields["graph"])
    return hits, len(fields["graph"]) - hits
