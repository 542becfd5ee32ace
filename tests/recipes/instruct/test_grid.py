"""Covers of values and pairs, and instructions made to them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import TooManyLost, UserError
from synthkd.recipes.instruct.cover import Cover, pairs_of
from synthkd.recipes.instruct.grid import Every, GridSettings, coverage
from synthkd.rows import Fields
from synthkd.table_kit import Question
from tests.recipes.instruct.growing import grown

GRIDS = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(
    lambda sizes: {f"a{n}": [f"v{k}" for k in range(size)] for n, size in enumerate(sizes)}
)


def pairs_in(chosen: Mapping[str, str]) -> set[tuple[tuple[str, str], ...]]:
    return set(combinations(chosen.items(), min(2, len(chosen))))


@settings(max_examples=40)
@given(GRIDS, st.integers(0, 999))
def test_every_value_soon_and_then_every_pair(grid: dict[str, list[str]], seed: int) -> None:
    cover = Cover(grid, random.Random(seed))
    assert cover.pairs == pairs_of(grid)
    seen: set[Any] = set()
    values: set[tuple[str, str]] = set()
    longest = max(map(len, grid.values()))
    for n in range(1, cover.pairs + 1):
        chosen = cover.take()
        assert list(chosen) == list(grid)
        assert all(chosen[name] in grid[name] for name in grid)
        values.update(chosen.items())
        if n >= longest:
            assert len(values) == sum(map(len, grid.values()))
        new = pairs_in(chosen) - seen
        seen |= new
        if len(seen) == cover.pairs:
            break
        assert new, "a combination before the end adds a pair"
    assert len(seen) == cover.pairs
    # after that, everything again: no pair is forgotten
    times = Counter[Any]()
    for _ in range(3 * cover.pairs):
        times.update(pairs_in(cover.take()))
    assert len(times) == cover.pairs


def test_a_cover_needs_few_more_than_the_two_longest_attributes_have_pairs() -> None:
    grid = {name: [str(n) for n in range(10)] for name in "abcd"}  # 600 pairs, 10,000 combinations
    cover = Cover(grid, random.Random(1))
    seen: set[Any] = set()
    n = 0
    while len(seen) < 600:
        seen |= pairs_in(cover.take())
        n += 1
    assert 100 <= n <= 160


def test_what_came_to_nothing_is_asked_for_again_but_not_for_ever() -> None:
    cover = Cover({"task": ["easy", "odd"]}, random.Random(0))
    times = Counter[str]()
    for _ in range(400):
        chosen = cover.take()
        times.update(chosen.values())
        if chosen["task"] == "easy":
            cover.credit(chosen)
    assert times["odd"] == pytest.approx(300, abs=2)


def test_every_combination_and_then_those_without_a_row() -> None:
    grid = {"a": ["1", "2", "3"], "b": ["x", "y"]}
    every = Every(grid, random.Random(3))
    first = [every.take() for _ in range(6)]
    assert len({tuple(chosen.items()) for chosen in first}) == math.prod(map(len, grid.values()))
    for chosen in first[:4]:
        every.credit(chosen)
    assert [every.take(), every.take()] == first[4:]
    assert first != [dict(zip("ab", pair, strict=True)) for pair in
                     [(a, b) for a in "123" for b in "xy"]]  # fmt: skip


PEOPLE: list[Fields] = [{"persona": "a baker"}, {"persona": " a pilot "}, {"persona": "a baker"}]
GRID: dict[str, Any] = {
    "attributes": {"task": ["explain", "plan"], "level": ["new", "old"]},
    "fields": ["persona"],
    "max_similarity": None,
    "wave": 4,
}


def made_to(question: Question) -> str:
    listed: Any = question.inputs["attributes"]
    told = ", ".join(f"{one['name']} {one['value']}" for one in listed)
    return f"<instruction>Do what suits {told}, way {question.sample}.</instruction>"


def test_instructions_are_made_to_every_pair(tmp_path: Path) -> None:
    done = grown("instruct.grid", {**GRID, "accept": 12}, PEOPLE, made_to, tmp_path)
    assert done.ended is None
    assert len(done.new) == 12
    for row in done.new:
        chosen: Any = row.fields["attributes"]
        assert all(f"{name} {value}" in str(row.fields["instruction"]) for name, value in
                   chosen.items())  # fmt: skip
        assert set(row.fields) == {"instruction", "input", "attributes", "origin"}
    figures: Any = done.kit.figures
    assert (figures["pairs"], figures["pairs_with_rows"]) == (12, 12)
    assert set(figures["coverage"]) == {"persona", "task", "level"}
    assert sum(figures["coverage"]["persona"].values()) == 12
    assert "warning" not in figures
    # both rows of the baker have children, as has the pilot's
    assert {row.roots for row in done.new} == {row.roots for row, _ in done.gone}
    again = grown("instruct.grid", {**GRID, "accept": 12}, PEOPLE, made_to, tmp_path)
    assert again.rows == done.rows
    every = grown("instruct.grid", {**GRID, "accept": 8, "cover": "all"}, PEOPLE, made_to, tmp_path)
    combos = {str(row.fields["attributes"]) for row in every.new}
    assert len(combos) == 8


def test_a_later_round_goes_on_where_the_earlier_one_has_no_rows(tmp_path: Path) -> None:
    six = {**GRID, "fields": [], "attributes": {"task": list("abcdef")}, "wave": 3, "accept": 3}
    first = grown("instruct.grid", six, PEOPLE, made_to, tmp_path)
    second = grown("instruct.grid", six, PEOPLE, made_to, tmp_path, earlier=first.new, number=1)
    tasks = [str(row.fields["attributes"]) for row in (*first.new, *second.new)]
    assert len(set(tasks)) == 6


def test_a_value_that_gets_no_row_is_warned_of(tmp_path: Path) -> None:
    def says(question: Question) -> str:
        return "I would rather not." if "plan" in str(question.inputs) else made_to(question)

    done = grown("instruct.grid", {**GRID, "accept": 10}, PEOPLE, says, tmp_path)
    assert len(done.new) == 10
    figures: Any = done.kit.figures
    assert figures["coverage"]["task"] == {"explain": 10, "plan": 0}
    assert figures["warning"] == "no row was accepted with task: plan"
    assert set(done.reasons) - {"enough"} == {"no_instruction"}
    # one that refuses everything ends the run, with the coverage told all the same
    short = {**GRID, "accept": 5, "yield_over": 8}
    nothing = grown("instruct.grid", short, PEOPLE, lambda question: "No.", tmp_path)
    assert isinstance(nothing.ended, TooManyLost)
    assert "and 0 more" not in str(nothing.kit.figures["warning"])
    assert str(nothing.kit.figures["warning"]).count(":") == 6


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("<instruction>...</instruction>", "no_content"),
        ("<instruction>New wording: do it well now.</instruction>", "template_leak"),
        ("<instruction>Go away.</instruction>", "too_short"),
        ("<instruction>Draw a picture of it all.</instruction>", "blacklisted"),
    ],
)
def test_what_is_discarded(reply: str, reason: str, tmp_path: Path) -> None:
    replies = [reply]

    def says(question: Question) -> str:
        return replies.pop() if replies else made_to(question)

    done = grown("instruct.grid", {**GRID, "accept": 3}, PEOPLE, says, tmp_path)
    assert done.reasons == [reason]


def test_an_attribute_of_many_values_is_told_in_two_figures() -> None:
    grid = {"persona": [str(n) for n in range(50)]}
    told = coverage(grid, [{"persona": "1"}, {"persona": "1"}, {"persona": "2"}])
    assert told["coverage"] == {"persona": {"values": 50, "with_rows": 2}}
    assert str(told["warning"]).endswith("persona: 31 and 18 more")
    assert "pairs" not in told


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "needs attributes, fields or both"),
        ({"attributes": {"a": []}}, "at least 1 item"),
        ({"attributes": {"a": ["x", " x "]}}, "attributes.a has a value twice"),
        ({"attributes": {"a": ["x"]}, "fields": ["a"]}, "'a' is an attribute and a field"),
        ({"attributes": {"a": ["x"]}, "into": "instruction"}, "into: the field 'instruction'"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        GridSettings.model_validate({"teacher": "main", "accept": 1, **given})


def test_a_field_without_text_and_too_many_combinations(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"accept": 1, "fields": ["persona"]}
    done = grown("instruct.grid", settings, [{"persona": " "}, {"persona": 3}], made_to, tmp_path)
    assert isinstance(done.ended, UserError)
    assert "none of 2 rows has text in 'persona'" in str(done.ended)
    none = grown("instruct.grid", {"accept": 1, "attributes": {"a": ["x"]}}, [], made_to, tmp_path)
    assert "none of 0 rows can be begun with, and each new row descends" in str(none.ended)
    many = {name: [str(n) for n in range(101)] for name in "abc"}
    config = GridSettings(teacher="main", accept=1, attributes=many, cover="all")
    assert "1,030,301 combinations, and 1,000,000 are the most" in str(
        list(config.faults(tmp_path))
    )
    assert not list(config.model_copy(update={"cover": "pairs"}).faults(tmp_path))
