from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.judges.expected import ExpectedSettings, expected_number, read_digit
from synthkd.errors import Rejected, Unanswered
from synthkd.teachers.request import Completion, Logprob
from synthkd.teachers.wire import parse_chat
from tests.curate.judges.asking import always, judged, patient, said

ROW = {"instruction": "Why?", "response": "Because.", "gold": "For a reason."}


def with_logprobs(text: str, **top: float) -> Completion:
    """A reply as a server sends it that was asked for `top_logprobs`."""
    tokens = [{"token": t.strip("_"), "logprob": math.log(p)} for t, p in top.items()]
    place = {**tokens[0], "token": text, "top_logprobs": tokens}
    message = {"role": "assistant", "content": text}
    choice = {"message": message, "finish_reason": "stop", "logprobs": {"content": [place]}}
    return parse_chat(orjson.dumps({"choices": [choice], "model": "m"}))


async def test_the_score_is_the_expected_digit() -> None:
    reply = with_logprobs("7", _7=0.5, _5=0.25, _6=0.05, the=0.2)
    done = await judged("judge.expected", {}, ROW, always(reply))
    number = (7 * 0.5 + 5 * 0.25 + 6 * 0.05) / 0.8
    assert done.verdict["number"] == pytest.approx(number)
    assert done.verdict["score"] == pytest.approx(number / 9)
    assert done.verdict["by"] == "logprobs"
    assert done.figures["scored by probabilities"] == 1


async def test_without_probabilities_the_mean_of_the_samples_stands_in() -> None:
    done = await judged("judge.expected", {"samples": 3}, ROW, always("7", " 8.", "6/9"))
    assert (done.verdict["number"], done.verdict["by"]) == (7.0, "text")
    assert done.figures["scored by probabilities"] == 0


async def test_the_reference_is_shown_where_the_prompt_wants_it() -> None:
    settings = {"reference": "gold", "prompt": "judges/digit_reference"}
    done = await judged("judge.expected", settings, ROW, always("9"))
    assert "For a reason." in str(done.asked[0].body["messages"])
    same = await judged("judge.expected", settings, ROW | {"response": "for a reason. "}, always())
    assert same.asked == []
    assert (same.verdict["score"], same.verdict["by"]) == (1.0, "definition")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I give it a seven.", "no_verdict"),
        ("7 or 8", "no_verdict"),
        ("10", "off_scale"),
        ("07", "no_verdict"),
        ("00", "no_verdict"),
        ("-0", "no_verdict"),
        ("-1", "off_scale"),
        ("9" * 5000, "off_scale"),
        ("", "empty_answer"),
    ],
)
async def test_replies_without_a_digit_fail_closed(reply: str, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await judged("judge.expected", {}, ROW, always(reply))
    assert caught.value.reason == reason


async def test_a_number_of_two_tokens_is_no_digit_whatever_the_first_one_weighs() -> None:
    with pytest.raises(Rejected, match="07 is no digit"):
        await judged("judge.expected", {}, ROW, always(with_logprobs("07", _0=0.9, _1=0.1)))


def test_a_judge_that_says_a_digit_takes_no_schema() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ExpectedSettings.model_validate({"teacher": "main", "structured": True})


def test_too_little_on_digits_is_no_expectation() -> None:
    assert expected_number([Logprob("7", math.log(0.1), (("7", math.log(0.1)),))]) is None
    assert expected_number([]) is None
    assert expected_number([Logprob("Grade", -0.1), Logprob("\u01207", -0.1)]) == 7.0


@pytest.mark.parametrize(
    "told",
    [
        b'{"content": [{"token": "7", "logprob": NaN}]}',
        b'{"tokens": ["7"], "token_logprobs": [0], "top_logprobs": [{"7": NaN, "8": 0}]}',
        b'{"content": [{"token": "7", "logprob": "likely"}]}',
        b'{"content": [{"token": "7", "logprob": null}]}',
        b'{"content": [{"token": "7"}]}',
        b'{"content": ["7"]}',
        b'{"tokens": ["7"], "token_logprobs": [0, 0], "top_logprobs": [null]}',
    ],
)
def test_probabilities_that_are_none_leave_the_digit_itself(told: bytes) -> None:
    choice = b'{"message": {"content": "7"}, "finish_reason": "stop", "logprobs": ' + told + b"}"
    digit = read_digit(parse_chat(b'{"choices": [' + choice + b"]}"))
    assert (digit.number, digit.by) == (7.0, "text")


@patient
@given(st.text())
def test_any_text_gives_a_digit_or_a_loss(text: str) -> None:
    digit = read_digit(said(text))
    assert (digit.number is None) == (digit.loss is not None)
    assert digit.number is None or 0 <= digit.number <= 9
    assert read_digit(Unanswered("503")).loss is not None


@patient
@given(st.dictionaries(st.integers(0, 9), st.floats(1e-6, 1), min_size=1))
def test_an_expected_number_is_between_the_digits(likely: dict[int, float]) -> None:
    total = sum(likely.values())
    top: Any = tuple((str(digit), math.log(p / total)) for digit, p in likely.items())
    number = expected_number([Logprob(top[0][0], top[0][1], top)])
    assert number is not None
    assert min(likely) - 1e-9 <= number <= max(likely) + 1e-9
