from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import ConfigError
from synthkd.pipeline_file import read_yaml
from synthkd.plan import compile_plan
from synthkd.prompts import shipped_folder
from synthkd.recipes.cards.answer import AnswerSettings
from synthkd.recipes.cards.card import Card, load_card
from synthkd.recipes.cards.made import Made, checked
from synthkd.recipes.cards.paths import parse, unknown, values_at, without
from synthkd.recipes.cards.possible import impossible
from synthkd.recipes.replies import Loss
from synthkd.schemas import Schema

SHIPPED = [shipped_folder("prompts")]
PAIR = {
    "name": "pairs",
    "about": "a",
    "instruction": "Find it.",
    "inputs": {"text": {"type": "string"}, "names": {"type": "array", "items": {"type": "string"}}},
    "output": {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["one", "two"]},
            "found": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["kind", "found"],
        "additionalProperties": False,
    },
}


def card(**more: Any) -> Card:
    return Card.model_validate({**PAIR, **more})


def made(with_card: Card, output: Any, text: str = "A red ox and a cow.") -> Made | Loss:
    return checked(with_card, {"inputs": {"text": text, "names": ["ox", "cow"]}, "output": output})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum 5 is above maximum 3"),
        ({"type": "integer", "minimum": 1.2, "maximum": 1.8}, "no integer between"),
        (
            {"type": "number", "exclusiveMinimum": 1, "maximum": 1},
            "exclusiveMinimum 1 is not",
        ),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no integer between"),
        ({"type": "string", "minLength": 9, "maxLength": 8}, "minLength 9 is above maxLength 8"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems 2 is above maxItems 1"),
        ({"type": "array", "maxItems": -1}, "maxItems -1 is below 0"),
        ({"type": "number", "multipleOf": 0}, "multipleOf 0 must be above 0"),
        ({"enum": []}, "enum is empty"),
        ({"anyOf": []}, "anyOf is empty"),
        ({"type": "integer", "enum": ["a", True]}, "is of the type integer"),
        ({"type": "string", "const": 3}, "none of [3] is of the type string"),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "'a' is required, and is no property, and no other is allowed",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": []}}}},
            "a[]: enum is empty",
        ),
        (
            {
                "$defs": {
                    "x": {
                        "type": "object",
                        "properties": {"y": {"$ref": "#/$defs/x"}},
                        "required": ["y"],
                    }
                },
                "$ref": "#/$defs/x",
            },
            "$defs.x: needs a value of its own kind inside of it, without end",
        ),
    ],
)
def test_what_no_value_could_fit(schema: dict[str, Any], told: str) -> None:
    assert any(told in fault for fault in impossible(schema)), list(impossible(schema))
    # The plan says it, with the card and the place.
    output = {"type": "object", "properties": {"part": schema}} if "$defs" not in schema else schema
    with pytest.raises(ValidationError) as error:
        card(output=output)
    assert "card 'pairs': output" in str(error.value) or "$defs" in str(error.value)
    assert told in str(error.value)


def test_what_may_be_is_not_refused() -> None:
    assert list(impossible(PAIR["output"])) == []  # type: ignore[arg-type]
    tree = {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}
    or_null = {"anyOf": [{"$ref": "#/$defs/u"}, {"type": "null"}]}
    ends = {"type": "object", "properties": {"next": or_null}, "required": ["next"]}
    assert list(impossible({"$defs": {"t": tree, "u": ends}, "$ref": "#/$defs/t"})) == []
    assert list(impossible({"type": "integer", "minimum": 2, "maximum": 2})) == []


@settings(max_examples=60)
@given(low=st.integers(-9, 9), high=st.integers(-9, 9), value=st.integers(-10, 10))
def test_a_range_is_impossible_only_where_nothing_fits(low: int, high: int, value: int) -> None:
    schema = {"type": "integer", "minimum": low, "exclusiveMaximum": high}
    if not Schema.of("x", schema).read(str(value)).faults:
        assert list(impossible(schema)) == []
    if low >= high:
        assert list(impossible(schema)) != []


def test_paths() -> None:
    whole: Any = {"output": {"events": [{"drug": "A"}, {"drug": "B", "dose": 1}]}}
    path = parse("output.events[].drug")
    assert [(one.place, one.value) for one in values_at(path, whole)] == [
        ("output.events[0].drug", "A"),
        ("output.events[1].drug", "B"),
    ]
    assert values_at(parse("output.events[].dose"), whole)[0].place == "output.events[1].dose"
    (dose,) = values_at(parse("output.events[].dose"), whole)
    assert without(whole, dose.steps) == {"output": {"events": [{"drug": "A"}]}}
    with pytest.raises(ValueError, match="is in no list"):
        without(whole, ("output", "events"))
    for wrong in ("events", "output..x", "output.events[0]", ""):
        with pytest.raises(ValueError, match="is no path"):
            parse(wrong)
    wire = card()._wire("inputs", "output")
    assert unknown(parse("output.knd"), wire) == (
        "output has no 'knd'; it has kind, found; did you mean kind?"
    )
    assert unknown(parse("output.kind[]"), wire) == "output.kind is no list"
    assert unknown(parse("output.found[]"), wire) is None


STANDS = {"rule": "stands_in", "of": "output.found[]", "source": "inputs.text"}
LISTED = {"rule": "in_list", "of": "output.found[]", "source": "inputs.names[]"}
WORDS = {"rule": "words", "of": "output.kind"}
DIFFERS = {**STANDS, "rule": "differs"}


@pytest.mark.parametrize(
    ("rule", "output", "reason"),
    [
        (STANDS, ["Ox"], None),
        (
            {"rule": "stands_in", "of": "output.found[]", "source": "inputs.text"},
            ["o"],
            "not_in_input",
        ),
        ({**STANDS, "near": 0.8}, ["redd ox"], None),
        (LISTED, ["OX."], None),
        (
            {"rule": "in_list", "of": "output.found[]", "source": "inputs.names[]"},
            ["hen"],
            "not_listed",
        ),
        ({"rule": "words", "of": "output.found[]", "least": 2}, ["ox"], "too_short"),
        ({"rule": "words", "of": "output.found[]", "most": 1}, ["red ox"], "too_long"),
        ({"rule": "words", "of": "output.found[]", "most": 2}, ["red ox"], None),
        ({"rule": "matches", "of": "output.found[]", "pattern": "^[a-z]+$"}, ["ox"], None),
        ({"rule": "matches", "of": "output.found[]", "pattern": "^[a-z]+$"}, ["OX"], "no_match"),
        # A pattern that would take for ever elsewhere.
        (
            {"rule": "matches", "of": "output.found[]", "pattern": "^(a+)+$"},
            ["a" * 40 + "b"],
            "no_match",
        ),
        ({"rule": "distinct", "of": "output.found[]"}, ["ox", "Ox."], "repeated"),
        ({"rule": "distinct", "of": "output.found[]"}, ["ox", "cow"], None),
        (
            {"rule": "differs", "of": "output.found[]", "source": "inputs.text"},
            ["a red ox and a cow"],
            "unchanged",
        ),
        (DIFFERS, ["ox"], None),
    ],
)
def test_rules(rule: dict[str, Any], output: list[str], reason: str | None) -> None:
    found = made(card(accept=[rule]), {"kind": "one", "found": output})
    assert (found.reason if isinstance(found, Loss) else None) == reason
    # To drop takes out the items that break it, and nothing else.
    kept = made(
        card(accept=[{**rule, "each": "drop"}]), {"kind": "one", "found": ["cow ox", *output]}
    )
    assert isinstance(kept, Made)


def test_dropped_items_leave_the_others_and_the_schema_is_asked_again() -> None:
    rule = {"rule": "stands_in", "of": "output.found[]", "source": "inputs.text", "each": "drop"}
    found = made(card(accept=[rule]), {"kind": "one", "found": ["hen", "ox", "hen"]})
    assert isinstance(found, Made)
    assert found.output == {"kind": "one", "found": ["ox"]}
    assert [(loss.reason, loss.detail[:15]) for loss in found.dropped] == [
        ("not_in_input", "output.found[0]"),
        ("not_in_input", "output.found[2]"),
    ]
    output = json.loads(json.dumps(PAIR["output"]))
    output["properties"]["found"]["minItems"] = 1
    emptied = made(card(accept=[rule], output=output), {"kind": "one", "found": ["hen"]})
    assert isinstance(emptied, Loss)
    assert (emptied.reason, "without it" in emptied.detail) == ("not_in_input", True)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ({"kind": "three", "found": []}, "outside_the_list"),
        ({"kind": "one"}, "not_in_schema"),
        ({"kind": "one", "found": [1]}, "not_in_schema"),
        ({"kind": "one", "found": [], "more": 1}, "not_in_schema"),
        ("one", "not_in_schema"),
        (json.loads("[" * 400 + "]" * 400), "not_in_schema"),
    ],
)
def test_what_breaks_the_schema(output: Any, reason: str) -> None:
    found = made(card(), output)
    assert isinstance(found, Loss)
    assert found.reason == reason


def test_the_fields_of_a_row() -> None:
    rule = {"rule": "stands_in", "of": "output.found[]", "source": "inputs.text"}
    found = made(card(accept=[rule]), {"found": ["red ox"], "kind": "one"})
    assert isinstance(found, Made)
    assert found.fields(instruction="i", output="o", value="v") == {
        "i": "Find it.",
        "input": "text: A red ox and a cow.\nnames: ox, cow",
        "o": '{"kind":"one","found":["red ox"]}',  # in the order of the schema
        "v": {"found": ["red ox"], "kind": "one"},
        "task": "pairs",
        "evidence": [
            {"of": "output.found[0]", "in": "inputs.text", "start": 2, "end": 8, "how": "exact"}
        ],
    }
    text = card(inputs={"text": {"type": "string"}}, output={"type": "string"})
    plain = checked(text, {"inputs": {"text": "Ox?"}, "output": "Cow."})
    assert isinstance(plain, Made)
    fields = plain.fields(instruction="i", output="o", value="v")
    assert (fields["input"], fields["o"]) == ("Ox?", "Cow.")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"accept": [{"rule": "words", "of": "output.knd"}]},
            "accept[0]: output.knd: output has no 'knd'",
        ),
        ({"accept": [{"rule": "words", "of": "output.kind", "each": "drop"}]}, "has no []"),
        (
            {"accept": [{"rule": "words", "of": "output.kind", "least": 3, "most": 2}]},
            "no text fits",
        ),
        ({"accept": [{"rule": "matches", "of": "output.kind", "pattern": "("}]}, "pattern: "),
        ({"accept": [{"rule": "run", "of": "output.kind"}]}, "'stands_in', 'in_list', 'words'"),
        ({"inputs": {}}, "at least 1"),
        ({"inputs": {"text": {"type": "text"}}}, "type must be one of string"),
        ({"inputs": {"a.b": {"type": "string"}}}, "should match pattern"),
        ({"output": {"type": "object", "properties": ["a"], "required": 3}}, "output: "),
        ({"output": {"enum": "abc"}}, "enum must be a list"),
        ({"output": {"$ref": "nowhere"}}, "names none of $defs"),
        ({"output": {"type": "array", "anyOf": 1, "items": 2}}, "output: "),
        ({"output": {"type": "object", "minProperties": 1}}, "'minProperties' cannot be checked"),
        (
            {
                "accept": [
                    {"rule": "words", "of": "inputs.text", "least": 9},
                    {"rule": "words", "of": "inputs.text", "most": 5},
                ]
            },
            "inputs.text has at least 9 words by one rule, and at most 5 by another",
        ),
        ({"examples": [{"inputs": {"text": {1: "a"}}, "output": 1}]}, "must be a string, got 1"),
        ({"examples": [{"inputs": {"text": 10**30}, "output": 1}]}, "does not fit into 64 bits"),
        ({"examples": [{"inputs": json.loads("[" * 400 + "]" * 400)}]}, "more than 200 deep"),
        (
            {"examples": [{"inputs": {"text": "a", "names": []}, "output": {"kind": "one"}}]},
            "examples[0]: output.found: Field required",
        ),
        (
            {
                "accept": [{"rule": "words", "of": "inputs.text", "least": 2}],
                "examples": [
                    {"inputs": {"text": "a", "names": []}, "output": {"kind": "one", "found": []}}
                ],
            },
            "examples[0]: too_short: inputs.text: 1 words, at least 2",
        ),
        ({"name": "No name"}, "String should match pattern"),
        ({"student": {"metrics": ["fluency"]}}, "accuracy"),
        ({"extra": 1}, "Extra inputs are not permitted"),
    ],
)
def test_cards_that_cannot_be(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        card(**more)
    assert told in str(error.value)


def test_files_of_cards(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    file = tmp_path / "cards" / "mine.yaml"
    for path in sorted(SHIPPED[0].glob("cards/*.yaml")):
        shipped = load_card(f"cards/{path.stem}", SHIPPED)
        assert shipped.name == path.stem
        assert shipped.examples
        assert list(impossible(shipped.output)) == []
    folders = [tmp_path, *SHIPPED]
    file.write_text(json.dumps(PAIR), encoding="utf-8")  # JSON is YAML
    assert load_card("cards/mine", folders).name == "pairs"
    context = {"folders": folders}
    known = AnswerSettings.model_validate({"teacher": "a", "card": "cards/mine"}, context=context)
    assert known.card.instruction == "Find it."
    bad = {**PAIR, "output": {"type": "string", "enum": []}}
    file.write_text(json.dumps(bad), encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.yaml: card 'pairs': output: enum is empty"):
        load_card("cards/mine", folders)
    with pytest.raises(ValueError, match=r"no card 'cards/mime'.*did you mean .*cards/mine"):
        load_card("cards/mime", folders)
    with pytest.raises(ValueError, match="is no name of a card"):
        load_card("../mine", folders)
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "{name: x, teachers: {a: {simulated: {world: instructions}}}, source: {jsonl: x.jsonl},"
        " steps: [{use: cards.answer, with: {teacher: a, card: cards/mine}}]}",
        encoding="utf-8",
    )
    with pytest.raises(
        ConfigError, match=r"steps\[0\]\.with\.card: .*mine\.yaml: card 'pairs': out"
    ):
        compile_plan(read_yaml(pipeline), pipeline)
    file.write_text("name: [", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        load_card("cards/mine", folders)
