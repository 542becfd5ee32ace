"""`synthkd plan`: which fields would leave, for whom, and whether a privacy step stands before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.outflow import Outflow, is_this_machine
from synthkd.pipeline import Pipeline
from tests.test_forecast import DRAFT, JUDGE, planned, teacher, write

MASK = {"use": "privacy.mask", "with": {"fields": ["text"]}}
AFAR = {"main": teacher(endpoint="https://API.example.com/v1")}


def flows(folder: Path, **changes: Any) -> list[Outflow]:
    return list(planned(folder, **changes).outflows)


def test_the_inputs_of_the_prompt_and_nothing_else(tmp_path: Path) -> None:
    draft, judge = flows(tmp_path, teachers=AFAR)
    assert (draft.to, draft.hosts) == ("elsewhere", ("api.example.com",))
    assert [sent.field for sent in draft.fields] == ["text"]
    assert draft.in_words() == (
        "generate asks main at api.example.com: text (as in the source; no privacy step before it)"
    )
    assert judge.in_words() == (
        "label asks main at api.example.com: response (made by generate; no privacy step before it)"
    )


def test_a_privacy_step_counts_only_before(tmp_path: Path) -> None:
    before, _ = flows(tmp_path, teachers=AFAR, steps=[MASK, DRAFT, JUDGE])
    assert before.fields[0].masked_by == "privacy.mask"
    after, _ = flows(tmp_path, teachers=AFAR, steps=[DRAFT, MASK, JUDGE])
    assert after.fields[0].masked_by is None


def test_a_field_that_is_made_anew_is_not_masked_any_more(tmp_path: Path) -> None:
    mask = {"use": "privacy.mask", "with": {"fields": ["response"]}}
    last = flows(tmp_path, teachers=AFAR, steps=[DRAFT, mask, JUDGE])[-1]
    assert last.fields[0].masked_by == "privacy.mask"
    again = {**DRAFT, "name": "again"}
    last = flows(tmp_path, teachers=AFAR, steps=[DRAFT, mask, again, JUDGE])[-1]
    assert (last.fields[0].origin, last.fields[0].masked_by) == ("again", None)


def test_what_a_step_computes_is_said_so(tmp_path: Path) -> None:
    both = "---\ninputs: [text, labels]\noutput: text\n---\n{# user #}\n{{ text }}{{ labels }}\n"
    steps = [{"use": "label", "with": {"teacher": "main", "prompt": "both", "labels": ["a", "b"]}}]
    write(tmp_path)
    (tmp_path / "both.md.j2").write_text(both, encoding="utf-8")
    (only,) = flows(tmp_path, steps=steps)
    assert [sent.field for sent in only.fields] == ["text"]
    assert only.computed == ("labels",)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("self_instruct", "instruction"),
        ("task_cards", "input"),
        ("adverse_events", "text"),
        ("documents_qa", "text"),
        ("synthkg", "text"),
    ],
)
def test_what_goes_out_inside_of_what_is_computed_is_named(
    name: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    for flow in Pipeline.load(f"pipelines/{name}.yaml").plan().outflows:
        if flow.step != "triples.entail":
            assert field in {sent.field for sent in flow.fields if sent.surely}, flow.in_words()


@pytest.mark.parametrize(
    ("who", "to"),
    [
        ({"simulated": {"world": "tickets"}}, "nobody"),
        (teacher(endpoint="http://localhost:8000/v1"), "this machine"),
        (teacher(endpoint=["http://127.0.0.1:1/v1", "http://[::1]:2/v1"]), "this machine"),
        (teacher(endpoint=["http://127.0.0.1:1/v1", "http://10.0.0.7/v1"]), "elsewhere"),
    ],
)
def test_where_it_goes(tmp_path: Path, who: dict[str, Any], to: str) -> None:
    draft, _ = flows(tmp_path, teachers={"main": who})
    assert draft.to == to
    assert draft.hosts == (("10.0.0.7",) if to == "elsewhere" else ())


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("a.localhost", True), ("127.8.0.1", True), ("::1", True),
     ("localhost.example.com", False), ("10.0.0.1", False), ("example.com", False)],
)  # fmt: skip
def test_the_loopback(host: str, here: bool) -> None:
    assert is_this_machine(host) is here


def test_the_evaluation_asks_about_rows_that_nobody_masked(tmp_path: Path) -> None:
    label = {"use": "label", "with": {"teacher": "main", "prompt": "say", "labels": ["a", "b"]}}
    changes: dict[str, Any] = {
        "teachers": AFAR,
        "steps": [MASK, label],
        "source": {"jsonl": "rows.jsonl", "id": ["id"], "holdout": {"test": 0.5, "by": ["text"]}},
        "evaluate": {"on": "test", "ask": "label", "gold": "id", "metrics": ["accuracy"]},
    }
    masked, bare = flows(tmp_path, **changes)
    assert masked.fields[0].masked_by == "privacy.mask"
    assert (bare.step, bare.fields[0].masked_by) == ("label (evaluation)", None)
    table = planned(tmp_path, **changes).table()
    assert "leaves this machine as the source has it: text to api.example.com" in table


def test_for_programs(tmp_path: Path) -> None:
    write(tmp_path, teachers=AFAR)
    told = CliRunner().invoke(app, ["plan", str(tmp_path / "planned.yaml"), "--json"])
    (draft, _) = orjson.loads(told.output)["outflows"]
    assert draft["hosts"] == ["api.example.com"]
    assert draft["fields"] == [{"field": "text", "origin": None, "masked_by": None, "surely": True}]


def test_what_a_judge_puts_together_may_hold_what_it_needs(tmp_path: Path) -> None:
    judge = {"use": "judge.rubric", "with": {"teacher": "main", "question": "text"}}
    last = flows(tmp_path, teachers=AFAR, steps=[DRAFT, judge])[-1]
    assert {(sent.field, sent.origin, sent.surely) for sent in last.fields} == {
        ("text", None, False),
        ("response", "generate", False),
    }
    assert "no privacy step before it; perhaps" in last.in_words()


def test_what_rows_may_lack_is_told_as_perhaps(tmp_path: Path) -> None:
    tag = {"use": "tag", "with": {"teacher": "main", "question": "text"}}
    mfd = {
        "use": "difficulty.mfd",
        "with": {"student": "main", "judge": "main", "question": "text", "field": "text"},
    }
    for step in (tag, mfd):
        (only,) = flows(tmp_path, teachers=AFAR, steps=[step])
        assert [(sent.field, sent.surely) for sent in only.fields] == [
            ("text", False),
            ("input", False),
        ]
