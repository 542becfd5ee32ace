from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.answers import AnswerSettings
from synthkd.recipes.asking import Until, leads, settled
from synthkd.recipes.votes import clusters

Ask = Callable[..., Any]

ROW = {"question": "?"}


def said(letters: str) -> list[str]:
    return [f"The answer is {letter}." if letter != "?" else "Hm." for letter in letters]


@pytest.mark.parametrize(
    ("leader", "second", "sure"),
    [(0, 0, 1 / 2), (1, 0, 3 / 4), (3, 0, 15 / 16), (4, 0, 31 / 32), (2, 1, 11 / 16)],
)
def test_how_sure_a_lead_is(leader: int, second: int, sure: float) -> None:
    """By hand: the mass of Beta(a + 1, b + 1) above a half."""
    assert leads(leader, second) == sure


@given(st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_how_sure_a_lead_is_agrees_with_the_beta_distribution(one: int, other: int) -> None:
    from scipy.special import betainc

    assert leads(one, other) == pytest.approx(1 - betainc(one + 1, other + 1, 0.5), abs=1e-9)


@pytest.mark.parametrize(
    ("replies", "asked"),
    [
        ("aaaaaaaaaa", 4),  # three of three is 0.94, four of four 0.97
        ("abaaaaaaaa", 7),
        ("ababababab", 10),
        ("????aaaaaa", 8),
    ],
)
async def test_no_more_is_asked_than_it_takes(ask: Ask, replies: str, asked: int) -> None:
    config = {"samples": 10, "until": {"sure": 0.95, "first": 3}}
    done = await ask("candidates", config, ROW, said(replies))
    assert [request.sample for request in done.teachers["main"].asked] == list(range(asked))
    assert len(done.fields["candidates"]) == asked
    figures = dict(done.kit.counts)
    assert figures["calls saved"] == 10 - asked
    assert figures["rows that stopped early"] == (asked < 10)


async def test_every_teacher_is_asked_once_before_any_is_asked_twice(ask: Ask) -> None:
    config = {"teachers": ["a", "b"], "samples": 3, "until": {"sure": 0.9, "first": 1}}
    done = await ask("candidates", config, ROW, {"a": said("xyx"), "b": said("xxx")})
    asked = [(one["teacher"], one["sample"]) for one in done.fields["candidates"]]
    # x, x, y, x, x: then y cannot draw level any more, and b is not asked again.
    assert asked == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


@given(
    replies=st.lists(st.text("abc?", min_size=3, max_size=3), min_size=1, max_size=4),
    first=st.integers(1, 5),
    sure=st.sampled_from([0.6, 0.9, 1.0]),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it has no state
)
def test_what_stops_early_and_what_it_changes(
    ask: Ask, replies: list[str], first: int, sure: float
) -> None:
    """Asked again it asks for the same; and `sure: 1` finds the answer of all samples."""

    async def run(until: dict[str, Any] | None) -> Any:
        names = [f"t{place}" for place in range(len(replies))]
        config = {"teachers": names, "samples": 3, "until": until}
        by_teacher = {name: said(letters) for name, letters in zip(names, replies, strict=True)}
        return await ask("candidates", config, ROW, by_teacher)

    async def runs() -> list[Any]:
        until = {"sure": sure, "first": first}
        return [await run(until), await run(until), await run(None)]

    one, again, whole = asyncio.run(runs())
    assert one.fields == again.fields
    few, every = one.fields["candidates"], whole.fields["candidates"]
    assert [each for each in every if each in few] == few
    if sure == 1:
        assert winner(few) == winner(every)


def winner(pool: list[dict[str, Any]]) -> str | None:
    answers = [one["answer"] for one in pool]
    found = clusters(answers)
    return answers[found[0].places[0]] if found else None


def test_a_lead_that_cannot_be_caught_is_enough() -> None:
    assert settled(["a", "a"], 1, Until(sure=1))
    assert not settled(["a", "a"], 2, Until(sure=1))  # b might draw level
    assert not settled([None, None], 1, Until(sure=0.6))
    assert not settled([], 5, Until())


def test_votes_for_choices_count_by_the_choices_of_the_row() -> None:
    config, choices = AnswerSettings(type="choice"), ["(a) or (b)", "neither"]
    assert settled([choices[0]] * 4, 5, Until(), config, choices)


async def test_the_vote_of_rationale_and_label_stops_too(ask: Ask) -> None:
    until = {"sure": 0.9, "first": 2}
    done = await ask("rationale", {"samples": 9, "until": until}, ROW, said("a" * 9))
    assert len(done.teachers["main"].asked) == 3
    assert (done.fields["answer"], done.fields["agreement"]) == ("a", 1.0)
    labels = {"labels": ["yes", "no"], "samples": 5, "until": until}
    done = await ask("label", labels, {"text": "Hm."}, ["yes", "no", "yes", "yes", "no"])
    assert [one["sample"] for one in done.fields["answers"]] == [0, 1, 2, 3]
    assert done.fields["agreement"] == 3 / 4


@given(st.lists(st.sampled_from(["1", "1.0", "A", "a", None]), max_size=8))
@settings(max_examples=30)
def test_every_answer_is_in_one_cluster(answers: list[str | None]) -> None:
    found = clusters(answers)
    places = sorted(place for cluster in found for place in cluster.places)
    assert places == [place for place, answer in enumerate(answers) if answer is not None]
    weights = [cluster.weight for cluster in found]
    assert weights == sorted(weights, reverse=True)


def test_weights_that_are_written_differently_are_a_tie() -> None:
    found = clusters(["b", "a", "a"], [0.3, 0.1, 0.2])
    assert [cluster.places for cluster in found] == [(0,), (1, 2)]
