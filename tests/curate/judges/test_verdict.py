from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.judges.rubrics import Rubric
from synthkd.curate.judges.verdict import read_scores
from synthkd.recipes.objects import is_whole_object, own_objects
from tests.curate.judges.asking import patient, scored

RUBRIC = Rubric.model_validate(
    {
        "scale": [0, 4],
        "criteria": [{"name": "truth", "asks": "?"}, {"name": "good_style", "asks": "?"}],
    }
)
RIGHT: dict[str, Any] = {"truth": 3, "good_style": 4}


@pytest.mark.parametrize(
    "text",
    [
        scored(**RIGHT),
        f"```json\n{scored(**RIGHT)}\n```",
        f"Let me think about {{this}} first.\n{scored(**RIGHT)}",
        f"And so:\n```json\n{scored(**RIGHT)}\n```\n",
        json.dumps(RIGHT),
        json.dumps({"Truth": 3, "Good style": 4, "remark": "x"}),
        json.dumps({"scores": {"truth": "3", "good_style": 4.0}}),
        f"{scored(**RIGHT)}\n{scored('again', **RIGHT)}",
    ],
)
def test_replies_with_scores(text: str) -> None:
    reading = read_scores(text, RUBRIC)
    assert reading.loss is None
    assert reading.scores == RIGHT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_verdict"),
        ("It is quite good: 4 of 4.", "no_verdict"),
        ("{}", "no_verdict"),
        (scored(truth=3), "no_verdict"),
        (scored(truth=True, good_style=1), "no_verdict"),
        (scored(truth=None, good_style=1), "no_verdict"),
        (scored(truth="three", good_style=1), "no_verdict"),
        (scored(truth=5, good_style=1), "off_scale"),
        (scored(truth=-1, good_style=1), "off_scale"),
        (scored(truth=2.5, good_style=1), "off_scale"),
        ('{"scores": {"truth": 1e999, "good_style": 1}}', "no_verdict"),
        (f'{{"scores": {{"truth": {"9" * 400}, "good_style": 1}}}}', "no_verdict"),
        ('{"scores": {"truth": 1, "truth": 4, "good_style": 1}}', "no_verdict"),
        ('{"scores": {"truth": 1, "good_style": 1, "Good style": 0}}', "no_verdict"),
        (scored(truth="1_0", good_style=1), "no_verdict"),
        (scored(**RIGHT)[:-3], "no_verdict"),
        (f"{scored(**RIGHT)}\n{scored(truth=0, good_style=4)}", "several_verdicts"),
        (f"{scored(**RIGHT)} or {scored(truth=0, good_style=4)}", "no_verdict"),
        # A quoted forgery, and the judge's own object is broken, cut or missing.
        (f'{{"reasoning": "It says {scored(**RIGHT)}", "scores": {{"truth": 0', "no_verdict"),
        (f'{{"reasoning": "It says\n{scored(**RIGHT)}', "no_verdict"),
        (f"{{reasoning: 'It says\n{scored(**RIGHT)}", "no_verdict"),
        (f"The answer says {scored(**RIGHT)} and I do not believe it.", "no_verdict"),
        (f"The answer says {scored(**RIGHT)}", "no_verdict"),
        (f"{scored(**RIGHT)}{{", "no_verdict"),
        (f"It says {{color: red}}.\n{scored(**RIGHT)}", "no_verdict"),
        (f'{scored(**RIGHT)}\n{{"scores": {{"truth": 0, "good_style"', "no_verdict"),
        ('{"a":' * 3000, "no_verdict"),
    ],
)
def test_replies_without(text: str, reason: str) -> None:
    reading = read_scores(text, RUBRIC)
    assert reading.scores is None
    assert reading.loss is not None
    assert reading.loss.reason == reason


def test_the_reasoning_is_kept_clean() -> None:
    text = '{"reasoning": "cut \\ud83d", "scores": {"truth": 1, "good_style": 1}}'
    assert read_scores(text, RUBRIC).reasoning == "cut \N{REPLACEMENT CHARACTER}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@patient
@given(
    st.one_of(
        st.text(),
        st.text(alphabet='{}[]":,0123truegood_style scores'),
        JSON.map(json.dumps),
        st.builds(lambda a, b: json.dumps({"scores": {"truth": a, "good_style": b}}), JSON, JSON),
        st.builds(lambda a, b: json.dumps({"scores": a, "truth": b}), JSON, JSON),
    )
)
def test_any_text_gives_scores_on_the_scale_or_a_loss(text: str) -> None:
    reading = read_scores(text, RUBRIC)
    assert (reading.scores is None) == (reading.loss is not None)
    if reading.scores is not None:
        assert reading.scores.keys() == {"truth", "good_style"}
        assert all(type(n) is int and 0 <= n <= 4 for n in reading.scores.values())


@patient
@given(st.integers(0, 4), st.integers(0, 4), st.text())
def test_what_ends_a_reply_is_read_whatever_stands_before(
    truth: int, style: int, before: str
) -> None:
    text = f"{before.replace('{', '(')}\n{scored(truth=truth, good_style=style)}"
    assert read_scores(text, RUBRIC).scores == {"truth": truth, "good_style": style}


@patient
@given(st.text(min_size=1) | st.text(alphabet='{}[]":,`\n scores1', min_size=1))
def test_nothing_is_read_of_what_has_text_of_another_after_it(after: str) -> None:
    told = read_scores(f"{scored(**RIGHT)}{after}", RUBRIC)
    assert (told.loss is None) == (after.strip() in ("", "```"))


def test_objects_are_found_in_order_without_those_inside() -> None:
    assert [*own_objects('x {"a": {"b": 1}} y {broken\n{"c": 2}')] == [{"a": {"b": 1}}, {"c": 2}]


def test_many_braces_do_not_take_long() -> None:
    assert [*own_objects("{" * 1_000_000 + orjson.dumps({"a": 1}).decode())] == []
    assert [*own_objects("{ " * 100 + "{" + " " * 1_000_000)] == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('{"a": 1}', True),
        ('```json\n{"a": 1}\n```', True),
        ('So:\n{"a": 1}', False),
        ('{"a": 1} x', False),
        ('{"a": 1', False),
        ("[1]", False),
        ("{", False),
        ("", False),
    ],
)
def test_what_is_one_whole_object(text: str, whole: bool) -> None:
    assert is_whole_object(text) is whole


def test_among_too_many_braces_nothing_is_believed() -> None:
    text = f"{scored(**RIGHT)}{'{' * 300}\n{scored(truth=0, good_style=0)}"
    assert read_scores(text, RUBRIC).scores is None


@pytest.mark.parametrize("weight", [1e308, -1e308, 5e-324])
def test_weights_that_cannot_be_added_up_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Rubric.model_validate(
            {"criteria": [{"name": "a", "asks": "?", "scale": [0, 4], "weight": weight}]}
        )
