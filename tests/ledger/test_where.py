from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.ledger.where import parse_where, texts_of

REPLY = orjson.dumps({"choices": [{"message": {"content": 'Dear  Ada\nLovelace, said "José".'}}]})
ESCAPED = b'{"content": "Jos\\u00e9 \\"quoted\\"", "card": 4111111111111111}'
NESTED = orjson.dumps({"content": ' {"name": "Jos\\u00e9", "tags": ["a b"]}'})


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("ada lovelace", REPLY),
        ("ADA\tLOVELACE", REPLY),
        ("josé", ESCAPED),
        ('"quoted"', ESCAPED),
        ("4111111111111111", ESCAPED),
        ("josé", NESTED),
        ("a b", NESTED),
        ("plain", b"a plain refusal"),
        ("content", NESTED),
    ],
)
def test_words_are_found_however_json_writes_them(words: str, body: bytes) -> None:
    assert parse_where([f"text={words}"]).says(body, None)
    assert parse_where([f"text={words}"]).says(b"{}", body)
    assert not parse_where([f"text={words}x"]).says(body, None)


def test_all_words_must_be_there() -> None:
    assert parse_where(["text=ada", "text=jos"]).says(REPLY, ESCAPED)
    assert not parse_where(["text=ada", "text=grace"]).says(REPLY, ESCAPED)


@given(st.recursive(st.text(max_size=8), lambda j: st.lists(j) | st.dictionaries(st.text(), j)))
def test_every_string_is_seen(value: object) -> None:
    def strings(value: object) -> list[str]:
        if isinstance(value, str):
            return [value]
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        assert isinstance(parts, list)
        return [text for part in parts for text in strings(part)]

    seen = set(texts_of(orjson.dumps(value)))
    assert set(strings(value)) <= seen


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("text", "must be NAME=VALUE, where NAME is one of key, model"),
        ("txet=x", "must be NAME=VALUE"),
        ("text=", "has no value"),
        ("text=  ", "has no value"),
        ("key=xyz", "digits of 0-9 and a-f"),
        ("status=ok", "three digits"),
        ("before=soon", "must be a day, as 2026-11-24, or an age"),
    ],
)
def test_what_cannot_be_meant_is_refused(condition: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_where([condition])


def test_a_key_may_be_written_in_capitals() -> None:
    assert parse_where(["key=AB12"]) == parse_where(["key=ab12"])


def test_days_and_ages() -> None:
    assert parse_where(["before=1970-01-02"]).values == (86_400,)
    (since,) = parse_where(["after=2d"]).values
    assert isinstance(since, int)
    assert abs(time.time() - 2 * 86_400 - since) < 60
