from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.desk import Desk
from synthkd.errors import Rejected, RowError
from synthkd.graphs.ground import folded
from synthkd.graphs.spotting import apart, occurrences
from synthkd.kit import Kit
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step
from synthkd.students.spans import Span, read_spans
from synthkd.students.spans import apart as apart_for_students

WORDS = st.sampled_from(
    ["Ada", "new", "York", "Times", "e\u0301a", "Ünal", "東京", "C++", "U.S.", "😂"]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


async def ground(text: str, mentions: Json, **config: Any) -> tuple[dict[str, Any], list[str]]:
    """The fields of the row that comes out, and the reasons of what was discarded."""
    step = find_step("ner.ground")
    assert isinstance(step, Step)
    row = source_row("rows", ["1"], ordinal=0, fields={"text": text, "mentions": mentions})
    kit = Kit(Desk(step=step.name), row.id)
    (out,) = [out async for out in step.run(row, kit, step.config.model_validate(config))]
    return dict(out.fields), [reason for reason, _ in kit.discards]


def of(kind: str, *names: str) -> list[Json]:
    return [{"text": name, "type": kind} for name in names]


def places(name: str, text: str) -> list[tuple[int, int, str]]:
    return [(one.start, one.end, one.how) for one in occurrences(name, text)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Ada", "Ada and Adam, Ada's", [(0, 3, "exact"), (14, 17, "exact")]),
        ("Apple", "An apple by Apple", [(12, 17, "exact")]),
        ("LONDON", "In London, in london", [(3, 9, "spelling"), (14, 20, "spelling")]),
        ("C++", "C, C++ and C", [(3, 6, "exact")]),
        ("U.S.", "the u.s. army", [(4, 8, "spelling")]),
        ("東京", "東京都と東京", [(0, 2, "exact"), (4, 6, "exact")]),
        ("😂", "so 😂😂", [(3, 4, "exact"), (4, 5, "exact")]),
        ("cafe", "the cafe\u0301", []),
        ("㎏", "3 kg", [(2, 4, "spelling")]),
        ("Bob", "\ufeffBob", [(1, 4, "exact")]),
        (" ", "a b", []),
        ("x" * 2_000, "x" * 1_999, []),
    ],
)
def test_where_a_mention_stands(name: str, text: str, expected: list[tuple[int, int, str]]) -> None:
    assert places(name, text) == expected


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(st.text(max_size=6), max_size=4))
async def test_every_invented_mention_goes_and_every_place_is_the_mention(
    text: str, names: list[str]
) -> None:
    mentions = [*of("thing", *(name for name in names if name.strip())), *of("thing", "Zzyx")]
    fields, lost = await ground(text, mentions, overlaps="all", keep_empty=True)
    assert "not_in_text" in lost  # Zzyx
    for one in fields["mentions"]:
        assert 0 <= one["start"] < one["end"] <= len(text)
        assert one["text"] == text[one["start"] : one["end"]]
        said = [name for name in names if name.strip() == one["text"]]
        alike = [name for name in names if folded(name).letters == folded(one["text"]).letters]
        assert said if one["how"] == "exact" else alike


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12), st.data())
async def test_whatever_was_copied_out_of_the_text_is_found_where_it_was(
    words: list[str], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    name, text = " ".join(words[first : last + 1]), " ".join(words)
    start = len(" ".join(words[:first])) + (first > 0)
    found = occurrences(name, text)
    assert all(one.how == "exact" for one in found)
    # Of places over each other the left one is found: "Ada Ada" in "Ada Ada Ada".
    assert any(one.start <= start < one.end for one in found)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 8)), max_size=12))
def test_of_overlapping_ones_the_longest_stays_as_students_have_it(
    drawn: list[tuple[int, int]],
) -> None:
    spans = [(start, min(20, start + length)) for start, length in sorted(drawn)]
    kept = [spans[at] for at in apart(spans, 20)]
    student = apart_for_students(Span(*span, "x") for span in spans)
    assert sorted(kept) == [(span.start, span.end) for span in student]


async def test_spans_are_as_the_student_reads_them() -> None:
    text = "The New York Times of New York"
    mentions = [*of("paper", "New York Times"), *of("city", "New York", "Times")]
    fields, lost = await ground(text, mentions)
    assert read_spans("1", fields["spans"], text, "spans") == [
        Span(4, 18, "paper"),
        Span(22, 30, "city"),
    ]
    assert lost == ["overlap"]  # Times, which only stands within the paper's name
    fields, lost = await ground(text, mentions, overlaps="all")
    assert [(one["start"], one["type"]) for one in fields["mentions"]] == [
        (4, "paper"),
        (4, "city"),
        (13, "city"),
        (22, "city"),
    ]
    assert lost == []


async def test_of_two_types_at_one_place_the_one_of_more_replies_stays() -> None:
    mentions: list[Json] = [
        {"text": "Paris", "type": "person", "support": 0.25},
        {"text": "Paris", "type": "city", "support": 0.75},
    ]
    fields, lost = await ground("To Paris", mentions)
    assert fields["spans"] == [{"start": 3, "end": 8, "label": "city"}]
    assert lost == ["overlap"]


async def test_offsets_that_a_teacher_gives_are_not_believed() -> None:
    mentions: Json = [{"text": "Ada", "type": "person", "start": -5, "end": 900, "support": 1.0}]
    fields, _ = await ground("To Ada", mentions)
    assert fields["mentions"] == [
        {"text": "Ada", "type": "person", "start": 3, "end": 6, "support": 1.0, "how": "exact"}
    ]
    again, _ = await ground("To Ada", fields["mentions"])
    assert again == fields


async def test_settings_narrow_what_counts() -> None:
    mentions = of("person", "Ada", "ADA")
    fields, lost = await ground("Ada, Ada", mentions, every=False, exact=True)
    assert [(one["start"], one["end"]) for one in fields["mentions"]] == [(0, 3)]
    assert lost == ["not_in_text"]


async def test_a_row_of_which_nothing_is_left() -> None:
    with pytest.raises(Rejected, match="no_mentions: none of the 1 in mentions is left"):
        await ground("To Ada", of("person", "Bob"))
    fields, _ = await ground("To Ada", of("person", "Bob"), keep_empty=True)
    assert (fields["mentions"], fields["spans"]) == ([], [])
    fields, _ = await ground("It rains.", [])  # an answer: the text speaks of nothing
    assert fields["spans"] == []


@pytest.mark.parametrize(
    ("mentions", "told"),
    [
        ("Ada", "mentions must be a list of mentions, got 'Ada'"),
        (["Ada"], r"must hold mentions \(\{text, type\}\), got 'Ada'"),
        ([{"text": " ", "type": "x"}], "must hold mentions"),
    ],
)
async def test_what_is_no_list_of_mentions(mentions: Json, told: str) -> None:
    with pytest.raises(RowError, match=told):
        await ground("To Ada", mentions)
