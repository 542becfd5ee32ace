from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.records.agreeing import Reading, agree
from synthkd.records.loading import load_schema
from synthkd.records.reading import Leaf, as_rows, from_rows, read_record
from synthkd.rows import Json

SCHEMA = load_schema(
    {
        "fields": {
            "no": {"type": "text", "required": True},
            "total": {"type": "money"},
            "due_date": {"type": "date", "order": "dmy"},
            "tags": {"type": "text", "many": True},
            "sender": {"type": "record", "fields": {"city": {}, "zip": {}}},
            "lines": {
                "type": "record",
                "many": True,
                "fields": {"item": {}, "pieces": {"type": "number"}},
            },
        }
    },
    Path(),
)
FIVE = {"amount": 5, "currency": "EUR"}


def built_of(leaves: Sequence[Leaf]) -> dict[str, Json]:
    """The record that one reading alone makes."""
    return agree([Reading(teacher="a", leaves=leaves)], SCHEMA).record


def leaf(value: Json, evidence: str | None = "x") -> Json:
    return {"value": value, "evidence": evidence}


def record(text: str) -> dict[str, Json]:
    """What has a value."""
    built = built_of(read_record(text, SCHEMA).leaves)
    return {name: value for name, value in built.items() if value is not None}


WHOLE = '{"no": {"value": "A-1", "evidence": "No. A-1"}, "total": {"value": "5 EUR"}}'
BOTH = {"no": "A-1", "total": FIVE}


@pytest.mark.parametrize(
    ("text", "told", "faults"),
    [
        (WHOLE, BOTH, []),
        (f"Here it is:\n```json\n{WHOLE}\n```\nAnything else?", BOTH, []),
        ("\ufeff" + WHOLE, BOTH, []),
        ('{"no": "A-1", "total": "5 EUR"}', BOTH, []),  # as students write
        ('{"no": "A-1", "total": {"amount": 5, "currency": "EUR"}}', BOTH, []),
        (WHOLE.replace("no", "No.").replace("total", "TOTAL"), BOTH, []),
        ('{"NO": "A-1", "dueDate": "05/03/2024"}', {"no": "A-1", "due_date": "2024-03-05"}, []),
        (WHOLE[:-1] + ", }", BOTH, []),
        (f'{{"record": {WHOLE}}}', BOTH, []),
        (f"[{WHOLE}]", BOTH, []),
        (f'I think {{so}}: {{"x": 1}} {WHOLE}', BOTH, []),
        (WHOLE[:-1], BOTH, ["cut"]),
        (WHOLE[:-3], {"no": "A-1"}, ["cut"]),
        ('{"no": "A-1", "total": 12', {"no": "A-1"}, ["cut"]),  # of 1,234, perhaps
        ('{"no": "A-1", "colour": "red"}', {"no": "A-1"}, ["unknown_field"]),
        ('{"no": "A-1", "No": "B-2"}', {"no": "A-1"}, ["unknown_field"]),
        ('{"no": null, "total": "N/A"}', {}, []),
        ('{"no": "A-1", "total": "5"}', {"no": "A-1"}, ["no_currency"]),
        ('{"tags": ["a", null, {"value": "b", "evidence": "b"}]}', {"tags": ["a", "b"]}, []),
        ('{"tags": {"value": ["a", "b"], "evidence": "a and b"}}', {"tags": ["a", "b"]}, []),
        ('{"tags": "a"}', {"tags": ["a"]}, []),
        ('{"tags": []}', {"tags": []}, []),
        ('{"tags": null}', {}, []),
        ('{"no": ["A-1"], "total": {"value": ["5 EUR"]}}', BOTH, []),
        ('{"no": ["A-1", "A-2"]}', {}, ["not_a_value"]),
        ('{"sender": {"City": "Oslo"}}', {"sender": {"city": "Oslo", "zip": None}}, []),
        ('{"sender": {"value": {"city": "Oslo"}}}', {"sender": {"city": "Oslo", "zip": None}}, []),
        ('{"sender": "Oslo"}', {}, ["not_a_record"]),
        (
            '{"lines": [{"item": "hook", "pieces": 3}, {"item": "shelf"}, {}, null]}',
            {"lines": [{"item": "hook", "pieces": 3}, {"item": "shelf", "pieces": None}]},
            [],
        ),
        ('{"lines": [{"item": "hook", "pieces": 3}, {"item": "sh', None, ["cut"]),
        ("I cannot see an invoice.", {}, ["no_record"]),
        ("{}", {}, ["no_record"]),
        ('{"colour": "red"}', {}, ["no_record"]),
        ("", {}, ["no_record"]),
    ],
)
def test_ways_of_writing(text: str, told: dict[str, Json] | None, faults: list[str]) -> None:
    read = read_record(text, SCHEMA)
    reasons = [reason for reason, _ in read.faults if reason != "not_a_record" or "sender" in text]
    assert reasons == faults
    hook: Json = {"lines": [{"item": "hook", "pieces": 3}]}
    assert record(text) == (hook if told is None else told)


def test_of_several_quotes_the_first_counts() -> None:
    (no, *_) = read_record('{"no": {"Value": "A-1", "quote": [3, "a", "b"]}}', SCHEMA).leaves
    assert (no.value, no.evidence) == ("A-1", "a")


def test_null_missing_and_lost_are_three_things() -> None:
    text = orjson.dumps({"no": leaf(None), "total": leaf("much"), "tags": [leaf("a", "tag a")]})
    read = read_record(text.decode(), SCHEMA)
    states = {one.name: (one.state, one.reason) for one in read.leaves}
    assert states["no"] == ("null", "")
    assert states["due_date"] == ("missing", "")
    assert states["total"] == ("lost", "not_money")
    assert states["tags"] == ("value", "")
    (tag,) = (one for one in read.leaves if one.name == "tags")
    assert (tag.path, tag.evidence) == (("tags", 0), "tag a")


@pytest.mark.parametrize("piece", ["{", '{"no": ', '{"no": [', '"', '{"no": "', '{"no": 1,', "[{"])
def test_a_reply_that_goes_on_for_ever_takes_no_hour(piece: str) -> None:
    assert read_record(piece * 5_000, SCHEMA).faults  # within the timeout of every test


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 20_000, '{"no": ' + "1" * 40_000 + "x", ",  " * 9_000]
)
def test_nor_does_one_of_quotes_digits_or_commas(text: str) -> None:
    assert not read_record(text, SCHEMA).leaves


def test_half_a_character_is_mended_and_a_number_without_end_is_lost() -> None:
    leaves = read_record('{"no": "7\\ud800"}', SCHEMA).leaves
    assert built_of(leaves)["no"] == "7\ufffd"
    (fault,) = read_record({"no": "7", "total": 10**5_000}, SCHEMA).faults
    assert fault[0] == "too_long"


@given(st.integers(0, len(WHOLE)))
def test_of_a_cut_reply_nothing_is_read_that_it_does_not_have(end: int) -> None:
    assert record(WHOLE[:end]).items() <= BOTH.items()


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["value", "evidence", "item", "city", "x"]), inner),
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*SCHEMA.fields, "x"]), VALUES))
def test_whatever_is_said_has_an_outcome_and_survives_the_row(said: dict[str, Any]) -> None:
    leaves = read_record(said, SCHEMA).leaves
    assert list(from_rows(as_rows(leaves))) == leaves
    built = built_of(leaves)
    assert list(built) == list(SCHEMA.fields)
    assert built_of(read_record(built, SCHEMA).leaves) == built or not leaves


@pytest.mark.parametrize("value", [None, "x", [1], [{"path": "x", "state": "value"}], [{}]])
def test_rows_that_hold_no_leaves(value: Json) -> None:
    with pytest.raises(ValueError, match="leaves"):
        list(from_rows(value))
