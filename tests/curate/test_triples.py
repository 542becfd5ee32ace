from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthkd.curate.triples.fit import FitSettings
from synthkd.desk import Desk
from synthkd.errors import Rejected, RowError
from synthkd.graphs.notation import read_triples
from synthkd.io.rows_file import read_rows
from synthkd.kit import Kit
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step

ROOT = Path(__file__).parents[2]
TEXT = "Ada Lovelace was born in London. She wrote Notes."
ONTOLOGY = {"concepts": ["city"], "relations": ["born in", "wrote"]}


def fact(head: str, relation: str, tail: str, **more: Json) -> Json:
    return {"head": head, "relation": relation, "tail": tail, **more}


async def through(
    name: str, settings: dict[str, Any], **fields: Json
) -> tuple[dict[str, Any], list[str]]:
    """The fields of the row that comes out, and the reasons of what was discarded."""
    step = find_step(name)
    assert isinstance(step, Step)
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    kit = Kit(Desk(step=name), row.id)
    config = step.config.model_validate(settings)
    (out,) = [out async for out in step.run(row, kit, config)]
    return dict(out.fields), [reason for reason, _ in kit.discards]


async def test_ground_takes_out_what_the_text_does_not_have() -> None:
    triples = [
        fact("Ada Lovelace", "born in", "LONDON", support=1.0),
        fact("Ada Lovelace", "born in", "Paris"),
        fact("Charles", "wrote", "Notes"),
    ]
    fields, lost = await through("triples.ground", {}, text=TEXT, triples=triples)
    (kept,) = fields["triples"]
    assert kept["support"] == 1.0
    assert kept["evidence"] == {
        "head": {"start": 0, "end": 12, "how": "exact"},
        "tail": {"start": 25, "end": 31, "how": "spelling"},
    }
    assert lost == ["tail_not_in_text", "head_not_in_text"]


async def test_ground_takes_near_names_when_asked() -> None:
    triples = [fact("Ada Lovelase", "wrote", "Notes")]
    fields, _ = await through("triples.ground", {"near": 0.85}, text=TEXT, triples=triples)
    assert fields["triples"][0]["evidence"]["head"]["how"] == "nearly"
    with pytest.raises(Rejected, match="no_triples: none of the 1 in triples is left"):
        await through("triples.ground", {}, text=TEXT, triples=triples)
    fields, _ = await through("triples.ground", {"keep_empty": True}, text=TEXT, triples=triples)
    assert fields["triples"] == []


async def test_fit_gives_relations_their_spelling() -> None:
    triples = [
        ["Ada", "Born_In", "London"],
        ["Ada", "born in", "city"],
        ["Ada", "knows", "Charles"],
        ["Ada", "wrote", "ada"],
    ]
    fields, lost = await through("triples.fit", {"ontology": ONTOLOGY}, triples=triples)
    assert fields["triples"] == [fact("Ada", "born in", "London")]
    assert lost == ["concept_as_tail", "unknown_relation", "head_is_tail"]


async def test_agree_counts_teachers_and_replies() -> None:
    triples = [
        fact("Ada", "wrote", "Notes", teachers=["a", "b"], support=2 / 3),
        fact("Ada", "wrote", "Letters", teachers=["a", "a"], support=1.0),
        fact("Ada", "born in", "London", teachers=["a", "b"], support=0.5),
    ]
    settings = {"support": 2 / 3}
    fields, lost = await through("triples.agree", settings, triples=triples)
    assert [one["tail"] for one in fields["triples"]] == ["Notes"]
    assert lost == ["few_teachers", "little_support"]
    with pytest.raises(RowError, match="must say which `teachers` have it, got None"):
        await through("triples.agree", {}, triples=[fact("Ada", "wrote", "Notes")])


async def test_write_keeps_propositions_with_their_triples() -> None:
    triples = [
        fact("Ada", "born in", "London", proposition="Ada was born in London."),
        fact("Ada", "was", "born", proposition="Ada was born in London."),
        fact("Ada", "wrote", "Notes"),
    ]
    fields, _ = await through("triples.write", {}, triples=triples)
    assert isinstance(fields["graph"], str)
    assert fields["graph"].count("\n") == 1
    written = read_triples(fields["graph"])
    assert written.propositions == ["Ada was born in London."] * 2 + [None]
    assert [one.tail for one in written.triples] == ["London", "born", "Notes"]


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="by chooses among the ontologies of a file"):
        FitSettings.model_validate({"ontology": ONTOLOGY, "by": "domain"})
    (fault,) = FitSettings(ontology="none.yaml").faults(tmp_path)
    assert fault.startswith("ontology: none.yaml: no such file")


async def test_the_pipeline_keeps_what_both_teachers_read(tmp_path: Path) -> None:
    data = f"source.jsonl={ROOT / 'data' / 'facts.jsonl'}"
    pipeline = ROOT / "pipelines" / "ontology_kg.yaml"
    manifest = await Pipeline.load(pipeline, overrides=[data], out=tmp_path / "out").run()
    assert manifest.counts.read == 60
    assert manifest.counts.kept >= 55
    right = wrong = 0
    for row in read_rows(tmp_path / "out" / "rows" / "rows.parquet"):
        fields: dict[str, Any] = dict(row.fields)
        gold = {tuple(one) for one in fields["triples"]}
        for one in fields["graph"]:
            hit = (one["head"], one["relation"], one["tail"]) in gold
            right, wrong = right + hit, wrong + (not hit)
    assert right >= 150
    assert wrong == 0
