from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import SourceError
from synthkd.evaluate.suite import Item, read_suite
from synthkd.prompts import shipped_folder


def item(type_: str, answer: Any, **more: Any) -> Item:
    return Item(prompt="?", type=type_, answer=answer, **more)


YES_NO = {"choices": ["yes", "no"]}
NUMBER = item("number", "1000")
PARIS = item("text", "Paris")
SUN = item("text", ["Sun", "the Sun"])
CHOICE = item("choice", "yes", **YES_NO)
LIST = item("list", ["1", "2", "3"])
EXACT = item("exact", "[tea]")
LINES = item("lines", ["yes", "yes"])
JSON = item("json", {"size": 7})


@pytest.mark.parametrize(
    ("asked", "reply", "right"),
    [
        (NUMBER, "1,000.", True),
        (NUMBER, "A kilometre is 1000 metres", True),
        (NUMBER, "\n1000\n\nQuestion: what is 2 + 2?\n4", True),
        (NUMBER, "1000 or 100", False),
        (NUMBER, "10000", False),
        (NUMBER, "<think>Is it 7? No.</think>\n1000", True),
        (NUMBER, "-1000", False),
        (NUMBER, "", False),
        (NUMBER, None, False),
        (PARIS, "It is PARIS, of course.", True),
        (PARIS, "Parisian", False),
        (PARIS, "France\nParis", False),
        (SUN, "the sun", True),
        (CHOICE, "Yes.", True),
        (CHOICE, "yes or no", False),
        (CHOICE, "no", False),
        (CHOICE, "yesterday", False),
        (LIST, "1, 2, 3", True),
        (LIST, "1\n2\n3.", True),
        (LIST, "3, 2, 1", False),
        (LIST, "Here: 1, 2, 3", False),
        (EXACT, " [tea]\n", True),
        (EXACT, "[Tea]", False),
        (LINES, "yes\nyes", True),
        (LINES, "yes, yes", False),
        (JSON, '```json\n{"size": 7}\n```', True),
        (JSON, '{"size": "7"}', False),
        (JSON, '{"size": 7', False),
        (JSON, "[" * 5000, False),
    ],
)
def test_what_counts_as_right(asked: Item, reply: str | None, right: bool) -> None:
    assert asked.right(reply) is right


def test_our_own_suite_answers_itself() -> None:
    suite = read_suite(shipped_folder("data") / "general.jsonl")
    assert len(suite.items) == len({one.id for one in suite.items}) == 199
    assert len({one.prompt for one in suite.items}) == 199
    assert {one.kind for one in suite.items} == {
        *("arithmetic", "spelling", "facts", "choices", "order", "format", "languages")
    }
    for one in suite.items:
        first = one.answer[0] if one.type == "text" and isinstance(one.answer, list) else one.answer
        match one.type:
            case "json":
                said = orjson.dumps(first).decode()
            case "list":
                said = ", ".join(first)
            case "lines":
                said = "\n".join(first)
            case _:
                said = first
        assert one.right(said), one
        assert not one.right("I do not know."), one
        assert one.reference, one


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_reply_is_right_or_wrong(reply: str) -> None:
    for asked in (NUMBER, PARIS, CHOICE, LIST, EXACT, LINES, JSON):
        assert asked.right(reply) in {True, False}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"}', "line 2: answer: Field required"),
        ('{"prompt": "a", "answer": "b", "type": "number"}', "'b' is none of type number"),
        ('{"prompt": "a", "answer": "b", "type": "choice", "choices": ["c"]}', "among the choices"),
        ('{"prompt": "a", "answer": "!"}', "none of type text"),
        ('{"prompt": "a", "answer": "1", "type": "list"}', "none of type list"),
        ("{", "line 2 is no JSON object"),
        ("3", "line 2: "),
    ],
)
def test_a_row_that_is_no_question_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(f'{{"prompt": "p", "answer": "a"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(SourceError, match=said):
        read_suite(file)
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(SourceError, match="has no rows"):
        read_suite(file)
