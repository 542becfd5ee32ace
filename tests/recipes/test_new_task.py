"""A new task is an answer type, a prompt and a pipeline file: those of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyarrow import parquet

from synthkd.io.rows_file import read_rows
from synthkd.pipeline import Pipeline
from synthkd.rows import Json

ASKED: Sequence[Mapping[str, Json]] = [
    {"frage": "Zwei zu 600,25?", "preis": 1200.5},
    {"frage": "Drei zu 0,20?", "preis": "0,60"},
    {"frage": "Vier zu 1?", "preis": None},
    {"frage": "Fünf zu 1?", "preis": "5"},
    {"frage": "Sechs zu 1?", "preis": "sechs"},
    {"frage": "Sieben zu 1?", "preis": "7"},
]
SAID = {
    "Zwei zu 600,25?": "Zweimal 600,25.\nAntwort: 1.200,50 Euro",
    "Drei zu 0,20?": "Antwort: 0,40 €\nNein, dreimal.\nAntwort: 0,60 €",
    "Vier zu 1?": "Antwort: 4",
    "Fünf zu 1?": "Antwort: 6",
    "Sechs zu 1?": "Antwort: 6",
    "Sieben zu 1?": "Das weiß ich nicht.",
}


def shown(document: Path, language: str) -> str:
    """The last block in that language of the section on adding a task."""
    section = document.read_text(encoding="utf-8").partition("## Adding a task")[2]
    section = section.partition("\n## ")[0]
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return blocks[-1]


def write(path: str, records: Sequence[Mapping[str, Json]]) -> None:
    Path(path).write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def test_the_task_of_the_page_runs_as_it_stands_there(project: Path) -> None:
    page = project / "docs" / "recipes" / "rationale.md"
    Path("prompts").mkdir()
    Path("prompts", "preis.md.j2").write_text(shown(page, "jinja"), encoding="utf-8")
    Path("preise.yaml").write_text(shown(page, "yaml"), encoding="utf-8")
    write("fragen.jsonl", ASKED)
    write("antworten.jsonl", [{"frage": f, "gesagt": said} for f, said in SAID.items()])
    manifest = Pipeline.load("preise.yaml", out="out", ledger="ledger.db").run_sync()
    assert (manifest.counts.read, manifest.counts.kept, manifest.counts.failed) == (6, 3, 0)
    rejected = parquet.read_table("out/rejected.parquet", columns=["reason"])
    assert sorted(rejected.column("reason").to_pylist()) == ["bad_gold", "no_cue", "wrong_answer"]
    answers = {
        row.fields["frage"]: row.fields["answer"]
        for row in read_rows(Path("out", "rows", "rows.parquet"))
    }
    assert [*answers.values()] == ["1200,5", "0,6", "4"]
