from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import NothingToLearn
from synthkd.students.spans import (
    Span,
    agreement,
    apart,
    as_json,
    read_spans,
    spans_in,
    tags_of,
)

TEXT = "from Lisbon to Rio de Janeiro"
#       0    5      12 15
LISBON, RIO = Span(5, 11, "city"), Span(15, 29, "city")
WORDS = [(0, 0), (0, 4), (4, 11), (11, 14), (14, 18), (18, 21), (21, 25), (25, 29), (0, 0)]
"""As byte-level tokenizers count them: with the space before, and special tokens around."""

some_spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 30),
        st.integers(1, 8),
        st.sampled_from(["a", "b", "b-c"]),
    ),
    max_size=8,
)


def test_spans_as_tags_of_subwords_and_back() -> None:
    tags = tags_of([LISBON, RIO], WORDS)
    assert tags == [
        *(None, "O", "B-city", "O"),
        *("B-city", "I-city", "I-city", "I-city", None),
    ]
    assert spans_in(tags, WORDS, TEXT) == [LISBON, RIO]


@given(some_spans)
def test_what_is_apart_comes_back_from_tags_of_characters(spans: list[Span]) -> None:
    kept = apart(spans)
    offsets = [(place, place + 1) for place in range(40)]
    assert spans_in(tags_of(kept, offsets), offsets, "x" * 40) == kept


@given(some_spans)
def test_of_spans_that_overlap_the_longer_stays(spans: list[Span]) -> None:
    kept = apart(spans)
    assert all(one.end <= other.start for one, other in pairwise(kept))
    for lost in set(spans) - set(kept):
        over = [o for o in kept if o.start < lost.end and lost.start < o.end]
        assert max(o.end - o.start for o in over) >= lost.end - lost.start


def test_equally_long_ones_and_doubles() -> None:
    assert apart([Span(2, 6, "b"), Span(0, 4, "a"), Span(0, 4, "a")]) == [Span(0, 4, "a")]


def test_a_span_that_begins_or_ends_within_a_token_widens_to_it() -> None:
    tags = tags_of([Span(6, 10, "city")], WORDS)
    assert spans_in(tags, WORDS, TEXT) == [LISBON]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["I-a", "I-a", "O"], [Span(0, 2, "a")]),  # no B before it
        (["B-a", "I-b", "I-b"], [Span(0, 1, "a"), Span(1, 3, "b")]),
        (["B-a", "B-a", "I-a"], [Span(0, 1, "a"), Span(1, 3, "a")]),
        (["O", "O", "O"], []),
    ],
)
def test_tags_that_do_not_fit_together(tags: list[str | None], spans: list[Span]) -> None:
    assert spans_in(tags, [(0, 1), (1, 2), (2, 3)], "xyz") == spans


def test_white_space_alone_is_no_span() -> None:
    assert spans_in(["B-a", "O"], [(0, 2), (2, 3)], "  x") == []


def test_bytes_of_one_character_have_its_offsets() -> None:
    offsets = [(0, 1), (0, 1), (1, 2), (1, 2)]  # two characters of two bytes each
    tags = tags_of([Span(0, 2, "a")], offsets)
    assert tags == ["B-a", "I-a", "I-a", "I-a"]
    assert spans_in(tags, offsets, "üé") == [Span(0, 2, "a")]


def test_spans_are_read_from_a_list_or_its_json_text() -> None:
    value = [RIO._asdict(), {**LISBON._asdict(), "score": 0.9}]
    assert read_spans("1", value, TEXT, "cities") == [LISBON, RIO]
    assert read_spans("1", as_json([RIO, LISBON]), TEXT, "cities") == [LISBON, RIO]
    assert read_spans("1", [], TEXT, "cities") == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "row 7, 'cities' has None: spans are a list"),
        ("Lisbon", "row 7, 'cities' has 'Lisbon': spans are a list"),
        ([5, 11], "5 is not {start, end, label}"),
        ([{"start": 5, "end": 11}], "is not {start, end, label}"),
        ([{"start": "5", "end": 11, "label": "city"}], "is not {start, end, label}"),
        ([{"start": True, "end": 11, "label": "city"}], "is not {start, end, label}"),
        ([{"start": 5, "end": 11, "label": ""}], "is not {start, end, label}"),
        ([{"start": 5, "end": 30, "label": "city"}], r"5 to 30 .* has 29 characters"),
        ([{"start": -5, "end": 3, "label": "city"}], "-5 to 3"),
        ([{"start": 5, "end": 5, "label": "city"}], "5 to 5"),
    ],
)
def test_what_is_no_span_is_said_with_its_row(value: Any, says: str) -> None:
    with pytest.raises(NothingToLearn, match=says):
        read_spans("7", value, TEXT, "cities")


def test_agreement_counts_texts_and_spans() -> None:
    gold = [[LISBON, RIO], [], [Span(0, 4, "word")]]
    assert agreement(gold, gold) == {"accuracy": 1.0, "macro_f1": 1.0}
    said = [[LISBON, Span(15, 18, "city")], [], []]
    # city: one of two found, one of two right -> F1 1/2; word: 0. One text of three is all right.
    assert agreement(said, gold) == {"accuracy": 1 / 3, "macro_f1": 0.25}
    assert agreement([[LISBON]], [[]]) == {"accuracy": 0.0, "macro_f1": 0.0}
