from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from synthkd.errors import MissingField, Rejected, RowError, TeacherError
from synthkd.evaluate.predictions import read_predictions
from synthkd.pipeline import Pipeline
from synthkd.records.loading import load_schema
from synthkd.rows import Json
from synthkd.scoreboard import evaluation_view
from tests.recipes.conftest import said

Ask = Callable[..., Any]
ROOT = Path(__file__).parent.parent.parent
RECORD = {
    "name": "bill",
    "fields": {
        "no": {"required": True},
        "total": {"type": "money"},
        "due": {"type": "date", "order": "dmy"},
    },
}
ROW = {"text": "No. A-1\nTotal: 5 EUR\n"}


def reply(**fields: Any) -> str:
    told = {name: {"value": v, "evidence": e} for name, (v, e) in fields.items()}
    return orjson.dumps(told).decode()


GOOD = reply(no=("A-1", "No. A-1"), total=("5 EUR", "Total: 5 EUR"), due=(None, None))
WRONG = reply(no=("A-1", "No. A-1"), total=("50 EUR", "Total: 5 EUR"), due=("1.2.2024", "by then"))
FIVE = {"amount": 5, "currency": "EUR"}


def settings(*teachers: str, **more: Any) -> dict[str, Any]:
    return {"teachers": [*teachers] or ["a"], "record": RECORD, **more}


async def test_a_record_and_what_each_reply_says(ask: Ask) -> None:
    asked = await ask("extract", settings("a", "b"), ROW, {"a": [GOOD], "b": [WRONG]})
    assert asked.fields["record"] == {"no": "A-1", "total": FIVE, "due": None}
    first, second = asked.fields["readings"]
    assert (first["teacher"], second["teacher"], second["sample"]) == ("a", "b", 0)
    assert first["leaves"][1] == {
        "path": ["total"],
        "state": "value",
        "value": FIVE,
        "evidence": "Total: 5 EUR",
    }
    counted = dict(asked.kit.counts)
    assert counted["due: null"] == counted["due: value"] == 1
    body = asked.teachers["a"].asked[0].body
    system = body["messages"][0]["content"]
    assert "record (bill)" in system
    assert "- no (text, required)" in system
    assert body["response_format"]["json_schema"]["name"] == "bill"


async def test_only_a_reply_without_any_field_is_asked_for_again(ask: Ask) -> None:
    bad = '{"No": "A-1", "total": "5 EUR", "colour": "red"'
    asked = await ask("extract", settings(), ROW, {"a": [bad]})
    assert asked.fields["record"] == {"no": "A-1", "total": FIVE, "due": None}
    assert [reason for reason, _ in asked.kit.discards] == ["cut", "unknown_field"]
    assert len(asked.teachers["a"].asked) == 1
    asked = await ask("extract", settings("a", "b"), ROW, {"a": ["I see no bill."], "b": [GOOD]})
    assert [len(asked.teachers[name].asked) for name in "ab"] == [2, 1]
    asked = await ask("extract", settings(shape=False), ROW, {"a": [bad]})
    assert len(asked.teachers["a"].asked) == 1
    assert "response_format" not in asked.teachers["a"].asked[0].body


async def test_a_value_that_cannot_be_used_costs_no_row(ask: Ask) -> None:
    lost = reply(no=("A-1", None), total=("five", None), due=("01/02/2024 or so", None))
    asked = await ask("extract", settings(), ROW, {"a": [lost]})
    assert asked.fields["record"] == {"no": "A-1", "total": None, "due": "2024-02-01"}
    assert [reason for reason, _ in asked.kit.discards] == ["not_money"]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        (["I see no bill."], "no_record"),
        ([said("", refusal="I cannot help.")], "refused"),
        ([said("")], "empty_answer"),
    ],
)
async def test_no_record_at_all(ask: Ask, replies: list[Any], reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        await ask("extract", settings(shape=False), ROW, {"a": replies})
    asked = await ask("extract", settings("a", "b", shape=False), ROW, {"a": replies, "b": [GOOD]})
    assert asked.fields["record"]["no"] == "A-1"
    assert [reason for reason, _ in asked.kit.discards] == [reason]


async def test_nobody_replies(ask: Ask) -> None:
    with pytest.raises(TeacherError, match="away"):
        await ask("extract", settings(), ROW, {"a": [TeacherError("away")]})


async def grounded(ask: Ask, *replies: str) -> Any:
    names = "abc"[: len(replies)]
    asked = await ask(
        "extract", settings(*names), ROW, {n: [r] for n, r in zip(names, replies, strict=True)}
    )
    fields = {**ROW, **asked.fields}
    return await ask("extract.ground", {"record": RECORD}, fields, {})


async def test_what_the_document_does_not_say_goes(ask: Ask) -> None:
    found = await grounded(ask, WRONG)
    assert found.fields["record"] == {"no": "A-1", "total": None, "due": None}
    reasons = [reason for reason, _ in found.kit.discards]
    assert reasons == ["evidence_lacks_value", "not_in_text"]
    leaf = found.fields["readings"][0]["leaves"][0]
    assert leaf["span"] == {"start": 0, "end": 7, "how": "exact"}


async def test_several_readings_become_one_record(ask: Ask) -> None:
    found = await grounded(ask, WRONG, GOOD, reply(no=("A-1", "A-1"), total=(None, None)))
    done = await ask("extract.reconcile", {"record": RECORD}, found.fields, {})
    assert done.fields["record"] == {"no": "A-1", "total": FIVE, "due": None}
    support: Any = done.fields["support"]
    assert support["no"]["teachers"] == ["a", "b", "c"]
    assert support["total"]["support"] == pytest.approx(1 / 3)
    assert support["total"]["spans"] == [{"path": "total", "start": 8, "end": 20, "how": "exact"}]
    assert dict(done.kit.counts)["total: tie"] == 1


async def test_a_record_without_a_required_field_is_none(ask: Ask) -> None:
    found = await grounded(ask, reply(no=("B-2", "No. B-2"), total=("5 EUR", "5 EUR")))
    with pytest.raises(Rejected, match="incomplete_record: no value for no"):
        await ask("extract.reconcile", {"record": RECORD}, found.fields, {})
    more = {"record": RECORD, "keep_incomplete": True}
    kept = await ask("extract.reconcile", more, found.fields, {})
    assert kept.fields["record"]["no"] is None


async def test_the_record_as_the_text_that_a_student_learns(ask: Ask) -> None:
    record: Json = {"no": "Ä-1", "due": None}
    whole = await ask("extract.write", {}, {"record": record}, {})
    assert whole.fields["completion"] == '{"no": "Ä-1", "due": null}'
    bare = await ask("extract.write", {"nulls": False}, {"record": record}, {})
    assert bare.fields["completion"] == '{"no": "Ä-1"}'


@pytest.mark.parametrize(
    ("step", "fields", "error", "told"),
    [
        ("extract.ground", {"text": "x"}, MissingField, "no field 'readings'"),
        ("extract.ground", {"text": "x", "readings": []}, RowError, "list of readings"),
        ("extract.ground", {"text": "x", "readings": [{"teacher": 1}]}, RowError, "hold readings"),
        (
            "extract.reconcile",
            {"readings": [{"teacher": "a", "leaves": [3]}]},
            RowError,
            "must hold leaves",
        ),
        ("extract.write", {"record": "x"}, RowError, "must be a record"),
    ],
)
async def test_rows_that_hold_something_else(
    ask: Ask, step: str, fields: dict[str, Json], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        await ask(step, {} if step.endswith("write") else {"record": RECORD}, fields, {})


async def test_the_pipeline_is_scored_field_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    ledger, less = str(tmp_path / "ledger.db"), ["source.limit=12", "evaluate.bootstrap=50"]
    pipeline = Pipeline.load(
        "pipelines/extract.yaml", overrides=less, out=tmp_path / "out", ledger=ledger
    )
    manifest = await pipeline.run()
    assert manifest.counts.failed == 0
    assert manifest.counts.kept > 0
    assert manifest.evaluation is not None
    panel = next(one for one in manifest.evaluation.contestants if one.role == "panel")
    assert panel.metrics["record_f1"].value > 0.8
    assert list(panel.fields)[-2:] == ["lines.item", "lines.pieces"]
    console = Console(width=200, record=True, file=StringIO())
    console.print(evaluation_view(manifest.evaluation))
    assert console.export_text().count("lines.pieces") == 1  # not of the most frequent label
    kept = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert kept.about.record == load_schema(str(ROOT / "data" / "invoice.yaml"), ROOT)
