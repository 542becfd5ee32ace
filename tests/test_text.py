from __future__ import annotations

import pytest

from synthkd.text import answer_text, escaped, same_answer


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
