"""The world `forms`: without faults it reads every invoice of data/; with faults, as it is told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from synthkd.records.agreeing import Reading, agree
from synthkd.records.loading import load_schema
from synthkd.records.reading import Leaf, read_record
from synthkd.records.schema import leaf_fields
from synthkd.records.support import grounded
from synthkd.rows import Json
from synthkd.teachers.simulated.forms import Forms

ROOT = Path(__file__).parent.parent.parent
SCHEMA = load_schema(str(ROOT / "data" / "invoice.yaml"), ROOT)
ROWS: list[dict[str, Any]] = [
    orjson.loads(line) for line in (ROOT / "data" / "invoices.jsonl").read_bytes().splitlines()
]


def built_of(leaves: Sequence[Leaf]) -> dict[str, Json]:
    """The record that one reading alone makes."""
    return agree([Reading(teacher="a", leaves=leaves)], SCHEMA).record


def asked(text: str, error_rate: float, seed: int = 0) -> str:
    inputs: dict[str, Any] = {"text": text, "fields": SCHEMA.table, "name": "invoice"}
    return Forms(error_rate).answer("extract/record", inputs, random.Random(seed))


def test_without_faults_it_finds_gold_and_all_of_it_stands_in_the_text() -> None:
    fields = dict(leaf_fields(SCHEMA))
    for row in ROWS:
        read = read_record(asked(row["text"], 0), SCHEMA)
        assert not read.faults
        assert built_of(read.leaves) == row["record"]
        for leaf in read.leaves:
            if leaf.state == "value":
                assert grounded(leaf, fields[leaf.name], row["text"]).span is not None


def test_its_mistakes_are_of_each_kind() -> None:
    fields = dict(leaf_fields(SCHEMA))
    seen = set()
    for seed, row in enumerate(ROWS * 2):
        read = read_record(asked(row["text"], 0.5, seed), SCHEMA)
        seen |= {reason for reason, _ in read.faults} | {leaf.state for leaf in read.leaves}
        known = [leaf for leaf in read.leaves if leaf.name in fields]
        seen |= {grounded(leaf, fields[leaf.name], row["text"]).reason for leaf in known}
        assert read.leaves
    assert {"missing", "null", "unknown_field", "not_in_text", "evidence_lacks_value"} <= seen
