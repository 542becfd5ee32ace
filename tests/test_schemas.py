"""A schema is checked in full or refused, never in part."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from synthkd.schemas import Schema

FLAT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
        "share": {"type": ["number", "null"], "maximum": 1},
        "kind": {"enum": ["leaf", "node", None]},
        "children": {"type": "array", "items": {"$ref": "#/$defs/child"}, "maxItems": 2},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {
        "child": {"type": "object", "properties": {"n": {"type": "integer"}}},
    },
}


def faults(schema: dict[str, Any], value: Any) -> tuple[str, ...]:
    return Schema.of("s", schema).read(orjson.dumps(value).decode()).faults


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a"},
        {"name": "a", "size": 9, "share": None, "kind": None, "children": []},
        {"name": "a", "share": 1, "kind": "leaf", "children": [{"n": 1, "more": "x"}, {}]},
    ],
)
def test_values_that_fit(value: Any) -> None:
    read = Schema.of("s", FLAT).read(orjson.dumps(value).decode())
    assert read.faults == ()
    assert read.value == value


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "the whole: Input should be an object, got []"),
        ({}, "name: Field required"),
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"name": "A"}, "name: String should match pattern"),
        ({"name": 1}, "name: Input should be a valid string, got 1"),
        ({"name": "a", "size": "1"}, 'size: Input should be a valid integer, got "1"'),
        ({"name": "a", "size": True}, "size: Input should be a valid integer, got true"),
        ({"name": "a", "size": 10}, "size: Input should be less than 10"),
        ({"name": "a", "kind": "tree"}, "kind: Input should be 'leaf', 'node' or None"),
        ({"name": "a", "children": [{"n": "x"}]}, "children[0].n: Input should be a valid integer"),
        ({"name": "a", "children": [{}, {}, {}]}, "children: List should have at most 2 items"),
        ({"name": "a", "more": 1}, "more: Extra inputs are not permitted, got 1"),
    ],
)
def test_values_that_do_not_fit(value: Any, fault: str) -> None:
    (found,) = faults(FLAT, value)
    assert found.startswith(fault)


def test_few_faults_are_told() -> None:
    told = faults({"type": "array", "items": {"type": "null"}}, list(range(9)))
    assert len(told) == 6
    assert told[-1] == "and 4 more"


@pytest.mark.parametrize("text", ["{", "", "Here it is: {}", "{} and more", "NaN", "[1] [2]"])
def test_what_is_no_json(text: str) -> None:
    (fault,) = Schema.of("s", {}).read(text).faults
    assert fault.startswith("it is not JSON")


@pytest.mark.parametrize("text", ["[1]", " [1]\n", "```json\n[1]\n```", "```\n[1]\n```\n"])
def test_json_alone_or_in_a_fence(text: str) -> None:
    assert Schema.of("s", {"type": "array"}).read(text).value == [1]


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab1", max_size=2)


@given(st.lists(SCALARS, min_size=1, max_size=4), SCALARS)
def test_an_enum_holds_its_values_and_no_others(values: list[Any], value: Any) -> None:
    fits = any(type(value) is type(one) and value == one for one in values)
    assert (faults({"enum": values}, value) == ()) is fits
    assert (faults({"const": values[0]}, values[0])) == ()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, "json_schema: type must be one of string, integer"),
        ({"oneOf": []}, "json_schema: the keyword 'oneOf' cannot be checked here"),
        ({"type": "string", "minimum": 1}, "the keyword 'minimum' cannot be checked here"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {"not": {}}}}},
            r"a\[\]: the keyword 'not' cannot be checked here",
        ),
        ({"$ref": "#/$defs/x"}, r"\$ref '#/\$defs/x' names none of \$defs"),
        ({"enum": []}, "enum must be a list"),
        ({"enum": [[]]}, "enum must hold plain values"),
        ({"anyOf": [7]}, r"anyOf\[0\] must be a schema, got 7"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"type": "string", "minLength": "a"}, "cannot be checked"),
        ({"type": "object", "properties": []}, "properties must be an object"),
        ({"$defs": 1}, r"\$defs must be an object of schemas"),
        ({"type": {"a": 1}}, "type must be one of"),
        ({"$ref": ["a"]}, r"\$ref .* names none"),
        ({"type": "object", "required": [{}]}, "required a list of names"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "in circles"),
        # Whoever checked by this one would end the process: the stack overflows in compiled code.
        (
            {
                "$defs": {
                    "a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]},
                    "b": {"$ref": "#/$defs/a"},
                }
            },
            r"in circles, .*: #/\$defs/\w to #/\$defs/\w to #/\$defs/\w",
        ),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema.of("s", schema)


def test_definitions_may_refer_to_each_other_and_to_themselves() -> None:
    schema = {
        "$ref": "#/$defs/list",
        "$defs": {
            "list": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/other"}, {"type": "null"}]}},
                "required": ["next"],
            },
            "other": {"$ref": "#/$defs/list"},
        },
    }
    assert faults(schema, {"next": {"next": {"next": None}}}) == ()
    assert faults(schema, {"next": {"next": {}}})


def test_what_the_provider_is_told() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    told: Any = Schema.of("my/prompt.v2", closed).response_format
    assert told == {
        "type": "json_schema",
        "json_schema": {"name": "my_prompt_v2", "schema": closed, "strict": True},
    }
    for open_ in ({**closed, "required": []}, {**closed, "additionalProperties": True}):
        open_told: Any = Schema.of("s", open_).response_format
        assert open_told["json_schema"]["strict"] is False, "providers would refuse it"


class Invoice(BaseModel):
    """A model with checks that no schema says."""

    model_config = ConfigDict(extra="forbid")

    day: date
    total: float = Field(gt=0)


def test_a_pydantic_model_is_a_schema() -> None:
    schema = Schema.of_model(Invoice)
    assert schema.name == "Invoice"
    assert schema.read('{"day": "2026-01-31", "total": 2}').faults == ()
    (fault,) = schema.read('{"day": "2026-02-31", "total": 2}').faults
    assert fault.startswith("day: ")
    told: Any = schema.response_format
    assert told["json_schema"]["strict"] is True


def test_a_fence_of_blank_lines_is_read_in_linear_time() -> None:
    text = "```\n" + "\n" * 200_000  # the cube of it would run into the time limit of a test
    (fault,) = Schema.of("s", {}).read(text).faults
    assert fault.startswith("it is not JSON")
