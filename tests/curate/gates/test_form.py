from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.gates.form import PARSERS, FormatConfig, fault_in, fenced_in
from tests.curate.gates.passing import reason_of

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def fault(form: str, text: str, **settings: Any) -> str | None:
    config = {"field": "text", "format": form, **settings}
    return fault_in(text, FormatConfig.model_validate(config))


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("json", '{"a": [1, null]}', "{'a': 1}"),
        ("python", "def f(x):\n    return x\n", "def f(x)\n    return x\n"),
        ("yaml", "a: [1, 2]\n", "a: [1, 2\n"),
        ("toml", "a = 1\n", "a = \n"),
        ("xml", "<a><b/></a>", "<a><b></a>"),
    ],
)
def test_each_format(form: str, good: str, bad: str) -> None:
    assert fault(form, good) is None
    assert fault(form, f"Here:\n```{form}\n{good}\n```\nDone.") is None
    assert str(fault(form, bad)).startswith(f"is no {form}: ")
    assert fault(form, f"Here:\n```{form}\n{bad}\n```\nDone.") is not None
    assert fault(form, "") == f"is empty, which is no {form}"


def test_fences() -> None:
    assert fault("json", "Here:\n```\n[1]\n```\n") is None
    assert fault("json", "```python\nx\n```\n```json\n[1]\n```\n```json\n[2\n```") is not None
    assert fault("json", "[1]", fenced="only") == "has no code fence with json"
    assert fault("json", "```\n[1]\n```", fenced="never") is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```json\r\n[1]\r\n```\r\n", ["[1]\r\n"]),
        ("```json\n```\n", [""]),
        ("````json\n```\n[1]\n````", ["```\n[1]\n"]),
        ("```json\n[1]\n````\n", ["[1]\n"]),
        ("````\n```json\n[1]\n```\n", ["[1]\n"]),
        ("~~~ json title\n[1]\n~~~\t", ["[1]\n"]),
        ("```json\n[1]\n~~~\n", []),
        ("```json\n[1]\n``` and more\n", []),
        ("```json", []),
    ],
)
def test_where_a_fence_ends(text: str, code: list[str]) -> None:
    assert fenced_in(text, "json") == code


@pytest.mark.parametrize(
    "text",
    ["```a\n" * 40_000, "```" + "a" * 199_000, "`" * 199_000, ("`" * 50 + "a\n") * 3_900],
    ids=["never closed", "one long line", "ticks", "long fences"],
)
def test_hostile_fences_are_read_in_linear_time(text: str) -> None:
    assert fenced_in(text, "json") == []  # quadratic, each would run into the time limit of a test


def test_json_by_schema() -> None:
    assert fault("json", '{"total": 3}', json_schema=SCHEMA) is None
    assert fault("json", '{"total": "3"}', json_schema=SCHEMA) == (
        'is no json: total: Input should be a valid number, got "3"'
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "python", "json_schema": SCHEMA}, "json_schema is for format json"),
        ({"format": "json", "json_schema": {"type": "what"}}, "type must be one of"),
        ({"format": "java"}, "format"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FormatConfig.model_validate({"field": "text", **settings})


HOSTILE = {
    "brackets": "(" * 50_000,
    "nested lists": "[" * 90_000 + "]" * 90_000,
    "minus signs": "-" * 100_000 + "1",
    "spaced minus signs": "- " * 90_000 + "1",
    "nots": "not " * 40_000 + "x",
    "powers": "2**" * 60_000 + "2",
    "sums": "1+" * 90_000 + "1",
    "attributes": "a" + ".a" * 90_000,
    "calls": "f" + "()" * 90_000,
    "lambdas": "lambda:" * 25_000 + "1",
    "elses": "x if x else " * 15_000 + "x",
    "elifs": "if a: pass\n" + "elif a: pass\n" * 14_000,
    "blocks": "".join(" " * n + "if a:\n" for n in range(99)) + " " * 99 + "pass",
    "a null byte": "x = '\0'",
    "a lone surrogate": "x = '\ud800'",
    "an escape": "x = '\\d'",
    "a long number": "9" * 100_000,
    "anchors": "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(99)),
    "entities": '<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>',
    "tags": "<a>" * 60_000,
    "json in json": '{"a":' * 30_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", PARSERS)
def test_no_text_ends_the_run(form: str, name: str) -> None:
    found = PARSERS[form](HOSTILE[name])
    assert found is None or isinstance(found, str)


def test_what_is_deep_is_said_to_be() -> None:
    assert fault("python", HOSTILE["brackets"]) == "is no python: nested deeper than 100"
    assert fault("python", HOSTILE["sums"]) == "is no python: too deeply nested for the parser"
    assert fault("xml", HOSTILE["entities"]) == "is no xml: it declares entities"
    assert fault("python", HOSTILE["an escape"]) is None


async def test_a_long_text_is_not_parsed() -> None:
    told = await reason_of("gate.format", {"format": "json"}, "[" * 5_000_000)
    assert told == "bad_format: text has 5000000 chars, max_chars is 200000"


@given(st.text(max_size=200))
def test_any_text_has_an_outcome(text: str) -> None:
    for form in PARSERS:
        found = fault(form, text)
        assert found is None or found.startswith(("is no ", "is empty"))
