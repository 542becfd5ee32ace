from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.errors import UserError
from synthkd.fake_teacher.schemas import instance
from synthkd.plan import compile_plan
from synthkd.records.loading import load_schema
from synthkd.records.reading import read_record
from synthkd.records.schema import RecordSchema

ROOT = Path(__file__).parent.parent.parent
INVOICE = str(ROOT / "data" / "invoice.yaml")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "fields: dictionary should have at least 1 item"),
        ({"a": {"type": "colour"}}, "fields.a.type: input should be 'text', 'enum'"),
        ({"a": {"typ": "text"}}, "fields.a.typ: extra inputs are not permitted"),
        ({"a": {"type": "enum"}}, "type enum needs `choices`, at least one"),
        ({"a": {"type": "enum", "choices": ["x", "X "]}}, "'X ' is of 'x' and of 'X '"),
        ({"a": {"type": "enum", "choices": {"x": ["z"], "y": ["Z"]}}}, "'Z' is of 'x' and of 'y'"),
        ({"a": {"type": "enum", "choices": [" "]}}, "choices: one is blank"),
        ({"a": {"order": "dmy"}}, "order is for type date, not for text"),
        ({"a": {"type": "money", "currency": "EURO"}}, "'EURO' is no currency of ISO 4217"),
        ({"a": {"type": "number", "unit": "stone"}}, "no unit is called 'stone'; there are any, %"),
        ({"a": {"type": "boolean", "literal": True}}, "a boolean stands in no text"),
        ({"a": {"type": "record"}}, "type record needs `fields`"),
        (
            {"a": {"type": "record", "fields": {"b": {"type": "record", "fields": {"c": {}}}}}},
            "a record inside of a record may hold no further record",
        ),
        ({"Total": {}, "total": {}}, "'Total' and 'total' are the same but for their case"),
        ({"value": {}}, "'value' is what each field's answer has"),
        ({"a.b": {}}, "'a.b' is no name"),
        ({f"f{n}": {} for n in range(201)}, "201 are too many, 200 are the most"),
    ],
)
def test_a_schema_that_no_reply_could_fit_is_one_clear_error(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_schema({"fields": fields}, ROOT)
    assert told in str(caught.value)


def test_the_error_is_told_when_the_plan_is_made(tmp_path: Path) -> None:
    record = {"fields": {"total": {"type": "colour"}}}
    step = {"use": "extract", "with": {"teachers": ["a"], "record": record}}
    weighed: dict[str, Any] = {
        "use": "extract.reconcile",
        "with": {"record": record, "weights": {"b": 2}},
    }
    raw: dict[str, Any] = {
        "name": "x",
        "teachers": {"a": {"simulated": {"world": "forms"}}},
        "source": {"jsonl": "x.jsonl", "holdout": {"test": 0.5, "by": ["text"]}},
        "steps": [step, weighed],
        "evaluate": {"gold": "record", "metrics": ["record_f1"], "record": "missing.yaml"},
    }
    with pytest.raises(UserError, match=r"steps\[0\]\.with: record: record: fields\.total\.type"):
        compile_plan(raw, tmp_path / "p.yaml")
    with pytest.raises(UserError, match="weights: no teacher is named 'b'; there are: a"):
        compile_plan(raw, tmp_path / "p.yaml")
    weighed["with"]["weights"] = {"a": 2}
    record["fields"]["total"]["type"] = "money"
    with pytest.raises(UserError, match=r"evaluate\.record: missing\.yaml: no such file"):
        compile_plan(raw, tmp_path / "p.yaml")
    (tmp_path / "missing.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    plan = compile_plan(raw, tmp_path / "p.yaml")
    assert plan.config.evaluate is not None
    assert plan.config.evaluate.record == {"fields": {"total": {"type": "money"}}}


def test_a_schema_that_was_written_down_is_the_same_when_it_is_read() -> None:
    schema = load_schema(INVOICE, ROOT)
    assert RecordSchema.model_validate_json(schema.model_dump_json()) == schema


def test_what_the_teacher_is_told() -> None:
    table = load_schema(INVOICE, ROOT).table
    assert table[0] == "- invoice_no (text, required): the number of the invoice"
    assert "- weight (number with its unit): what the goods weigh" in table
    assert "- status (one of open, paid, overdue)" in table
    assert table[-3:] == [
        "- lines (a list of records, with): what was bought",
        "  - item (text)",
        "  - pieces (number)",
    ]


def test_the_json_schema_is_closed_and_what_fits_it_is_read() -> None:
    schema = load_schema(INVOICE, ROOT)
    sent: Any = schema.json_schema.response_format["json_schema"]
    assert sent["strict"] is True
    assert sent["name"] == "invoice"
    assert list(sent["schema"]["properties"]) == list(schema.fields)
    made = orjson.dumps(instance(sent["schema"], b"any")).decode()
    assert not schema.json_schema.read(made).faults
    assert read_record(made, schema).leaves
