from __future__ import annotations

import re
import unicodedata

import pytest

from synthkd.curate.clusters.names import terms_of
from synthkd.curate.shingles import words_of
from synthkd.curate.tfidf import WORDS
from synthkd.text import UNSPACED_CLASS, answer_text, escaped, is_unspaced, same_answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order_status", "order status."),
        ("$1,200.00", 1200),
        (7, "7"),
        (7.0, 7),
        (True, "true"),
        ([1, "a"], [1, "a"]),
        (None, None),
    ],
)
def test_one_answer(one: object, other: object) -> None:
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("4", 5), (True, 1), (None, ""), (None, "none"), (["a"], "a"), ("a", "b")]
)
def test_two_answers(one: object, other: object) -> None:
    assert not same_answer(one, other)
    assert not same_answer(other, one)


def test_only_texts_and_numbers_are_answers() -> None:
    assert (answer_text("a"), answer_text(3), answer_text(2.5)) == ("a", "3", "2.5")
    assert answer_text(None) is answer_text([1]) is answer_text({}) is None


def test_what_acts_upon_a_terminal_is_written_out() -> None:
    assert escaped("a\x1b[2J\r\x9bb\u202ec\n\td") == "a\\x1b[2J\\r\\x9bb\\u202ec\n\td"
    assert escaped("Köln \N{GRINNING FACE} \ud83d") == "Köln \N{GRINNING FACE} \\ud83d"


@pytest.mark.parametrize(
    "text", ["สวัสดี", "ສະບາຍດີ", "ជំរាបសួរ", "မင်္ဂလာပါ", "བོད་ཡིག", "退回订单", "ありがとう", "𠀀𠀁"]
)
def test_each_tokeniser_takes_scripts_without_spaces_by_the_character(text: str) -> None:
    assert re.fullmatch(f"[{UNSPACED_CLASS}]+", text)
    assert len(words_of(text)) == sum(unicodedata.category(c)[0] != "P" for c in text)
    assert WORDS.findall(text) == [*text]
    assert [*terms_of(text)] == [text[n : n + 2] for n in range(len(text) - 1)]


def test_korean_has_spaces() -> None:
    assert len(words_of("주문 취소")) == len(WORDS.findall("주문 취소")) == 2
    assert not is_unspaced("주")
