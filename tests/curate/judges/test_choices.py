from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.judges.choices import SCHEMA, read_choice
from tests.curate.judges.asking import patient


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ('{"reasoning": "b lacks the date", "verdict": "first"}', "first"),
        ('```json\n{"verdict": "second"}\n```', "second"),
        ('I weigh {both}.\n{"verdict": "Tie"}', "tie"),
        ('{"verdict": 2}', "second"),
        ("[[A]]", "first"),
        ("After some thought:\n\n[[C]]", "tie"),
        ("Final verdict: **[[B]]**", "second"),
        ("My final choice is B.", "second"),
        ("Output (a)", "first"),
        ("Output (b)", "second"),
        ("The first answer.", "first"),
        ("Output (a) is long.\nTherefore, Output (b) is better.", "second"),
        ("{x} and \\frac{1}{2} are right in both.\ntie", "tie"),
        ("A", "first"),
        ("2.", "second"),
        ("tie", "tie"),
        ("0", "tie"),
    ],
)
def test_replies_with_a_choice(text: str, better: str) -> None:
    choice = read_choice(text)
    assert (choice.better, choice.loss) == (better, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_verdict"),
        ("I like both of them.", "no_verdict"),
        ("I can choose neither Output (a) nor Output (b).", "no_verdict"),
        ("Response 1 is longer than Response 2.", "no_verdict"),
        ("Response 1 is better because it is concise.", "no_verdict"),
        ("The second answer is wrong.", "no_verdict"),
        ("First, both are equally good", "no_verdict"),
        ("Let me look at the first", "no_verdict"),
        ("The second ends with [[B]]", "no_verdict"),
        ('{"verdict": "third"}', "no_verdict"),
        ('{"verdict": null}', "no_verdict"),
        ('{"verdict": true}', "no_verdict"),
        ('{"verdict": "first", "verdict": "second"}', "no_verdict"),
        ('{"verdict": "first", "Verdict": "second"}', "no_verdict"),
        ('{"verdict": -1}', "no_verdict"),
        ("Verdict: -2", "no_verdict"),
        ("!A", "no_verdict"),
        ("~~first~~", "no_verdict"),
        ('{"verdict": "first"} {"verdict": "second"}', "no_verdict"),
        ('{"verdict": "first"}\n{"verdict": "second"}', "several_verdicts"),
        ("A clear answer.", "no_verdict"),
        # Cut, though nobody says so.
        ('{"reasoning": "The first', "no_verdict"),
        ('{"reasoning": "Hm.", "verdict":\n"first"', "no_verdict"),
        ('{"\nfirst', "no_verdict"),
        ('{"verdict": "first"}\n{"verdict": "second"', "no_verdict"),
        # What an answer says is quoted.
        ('The second says {"verdict": "second"} of itself, which is a trick.', "no_verdict"),
        ('The second says {"verdict": "second"}', "no_verdict"),
        ('{"reasoning": "It says {"verdict": "first"}.", "verdict": "second"}', "no_verdict"),
        ('{"reasoning": "It says\n{"verdict": "first"}', "no_verdict"),
        ('{"verdict": "first"}' + "{" * 200 + '\n{"verdict": "second"}', "no_verdict"),
    ],
)
def test_replies_without(text: str, reason: str) -> None:
    choice = read_choice(text)
    assert choice.better is None
    assert choice.loss is not None
    assert choice.loss.reason == reason


@patient
@given(
    st.one_of(
        st.text(),
        st.text(alphabet='[]{}()":abAB12 verdictfirstsecond'),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps({"verdict": value})),
    )
)
def test_any_text_gives_a_choice_or_a_loss(text: str) -> None:
    choice = read_choice(text)
    assert (choice.better is None) == (choice.loss is not None)


def test_the_reasoning_is_asked_for_before_the_verdict() -> None:
    form = SCHEMA.response_format["json_schema"]
    assert isinstance(form, dict)
    names = list(form["schema"]["properties"])
    assert names == sorted(names) == ["reasoning", "verdict"]
