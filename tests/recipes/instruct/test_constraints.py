"""Constraints: each checker, that what is drawn can be kept, and what the gate says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.gates.constraints import is_kept
from synthkd.errors import Rejected, RowError
from synthkd.recipes.instruct.checkers import CLASSES, read_constraint, written
from synthkd.recipes.instruct.constraint import Constraint, loose
from synthkd.recipes.instruct.constraints import (
    DRAWS,
    ConstraintsSettings,
    clash,
    drawn,
    kind_of,
)
from synthkd.recipes.instruct.elimination import between_tags
from synthkd.rows import Json
from synthkd.steps import find_step
from tests.curate.gates.passing import passes
from tests.recipes.conftest import run_step, said

ANSWERS: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"kind": "words", "min": 2, "max": 3}, ["two words", "one, two: three"], ["one", "a b c d"]),
    ({"kind": "words", "max": 3}, ["水の中"], ["水の中に"]),
    (
        {"kind": "sentences", "min": 2},
        ["One. Two!", "Mr. Fox ran. It ate."],
        ["One, two.", "Dr. A"],
    ),
    (
        {"kind": "paragraphs", "min": 2, "max": 2},
        ["a\n\nb", "\n\na\n \nb\n\n"],
        ["a\nb", "a\n\nb\n\nc"],
    ),
    (
        {"kind": "bullets", "min": 2, "max": 2},
        ["- a\n- b", "See:\n* a\n  • b\nDone"],
        ["- a", "-a\n-b", "**bold**\n- a", "- a\n- b\n- c"],
    ),
    ({"kind": "placeholders", "min": 1}, ["Dear [name],"], ["Dear name", "[]", "[a\nb]"]),
    ({"kind": "highlights", "min": 2}, ["*a* and **b c**"], ["*a*", "* a\n* b", "2 * 3 * 4"]),
    ({"kind": "capital_words", "max": 1}, ["The NATO", "A b"], ["NATO and EU"]),
    (
        {"kind": "sections", "min": 2, "max": 2},
        ["Section 1\na\n## section 2\nb"],
        ["Section 1", "See section 1 and section 2", "Section one\nSection two"],
    ),
    (
        {"kind": "keyword", "word": "Tide", "min": 2, "max": 2},
        ["tide after TIDE", "tide, tide; tidal"],
        ["tides tide", "tide tide tide"],
    ),
    ({"kind": "keyword", "word": "水", "min": 2}, ["水の水"], ["水の中"]),
    ({"kind": "letter", "letter": "E", "min": 3}, ["eel Even"], ["eel"]),
    ({"kind": "keywords", "words": ["high tide", "moon"]}, ["Moon: HIGH  TIDE"], ["hightide moon"]),
    ({"kind": "no_keywords", "words": ["cat", "c++"]}, ["category"], ["A cat.", "in C++ only"]),
    (
        {"kind": "starts_with", "text": "In short"},
        [" in short, no", "In  short"],
        ["In shorts", "So"],
    ),
    (
        {"kind": "ends_with", "text": "That is all."},
        ["No. That is all.\n", 'He said: "That is all."'],
        ["That is all. Bye", "That is all", "xthat is all."],
    ),
    ({"kind": "title"}, ["<<A tide>>\nIt"], ["<A tide>", "<<>>", "<< >>", "<<A\nb>>"]),
    ({"kind": "postscript"}, ["a\np.s. b"], ["a P.S. b", "PS b", "P.P.S. b"]),
    ({"kind": "postscript", "marker": "P.P.S."}, ["a\n P.P.S. b"], ["P.S. b"]),
    ({"kind": "quoted"}, ['"a b"', "\u201ca\u201d\n"], ['"a" b', '""', "'a'"]),
    ({"kind": "upper"}, ["ALL 3!", "ÀÉ"], ["aLL", "3!", "ß"]),
    ({"kind": "lower"}, ["all 3!", "é ß", "茶"], ["All", "3!", "茶 X"]),
    ({"kind": "no_commas"}, ["a; b"], ["a, b", "a\uff0cb", "a\u3001b"]),
    (
        {"kind": "json"},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', "```\n{}\n```"],
        ["[1]", "'a'", 'Here: {"a": 1}', '{"a": 1', "```json\n{}\n```\nDone"],
    ),
    ({"kind": "choice", "options": ["Yes", "No"]}, ["yes.", "**No**"], ["yes, no", "maybe"]),
]


@pytest.mark.parametrize(("data", "good", "bad"), ANSWERS)
def test_each_checker(data: dict[str, Any], good: list[str], bad: list[str]) -> None:
    one = read_constraint(data)
    assert {answer: one.holds(answer) for answer in good + bad} == {
        **dict.fromkeys(good, True),
        **dict.fromkeys(bad, False),
    }
    assert read_constraint(written(one)) == one
    assert one.sentence()[0].isupper()
    assert not is_kept(" \n", one, "loose")  # a blank answer keeps to nothing


def test_every_kind_is_tried_and_can_be_drawn() -> None:
    tried = {data["kind"] for data, _, _ in ANSWERS}
    assert tried | {"language"} == CLASSES.keys() == DRAWS.keys()
    assert len(CLASSES) >= 20


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"kind": "rhyme"}, "rhyme"),
        ({"kind": "words"}, "needs min, max or both"),
        ({"kind": "words", "min": 5, "max": 3}, "min 5 is above max 3"),
        ({"kind": "words", "min": -1}, "greater than or equal to 0"),
        ({"kind": "words", "min": "many"}, "valid integer"),
        ({"kind": "keywords", "words": []}, "at least 1 item"),
        ({"kind": "letter", "letter": "ab", "min": 1}, "at most 1 character"),
        ({"kind": "title", "text": "A"}, "Extra inputs"),
        ({"min": 5}, "kind"),
        ("words", "dictionary"),
    ],
)
async def test_what_is_no_constraint_says_why(data: Any, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        read_constraint(data)
    with pytest.raises(RowError, match=r"constraints\[0\] is no constraint that can be checked"):
        await passes("gate.constraints", {}, output="a", constraints=[data])


def test_hostile_answers_are_checked_in_linear_time() -> None:
    """Quadratic, each of these would run into the time limit of a test."""
    pieces = ("*a", "* ", "[a", "<<a", "\n ", "- ", "Section ", "A ", "{", '"', "```\n", "a.b! ")
    answers = [piece * 40_000 for piece in pieces]
    for data, _, _ in ANSWERS:
        if data["kind"] in {"words", "sentences"}:
            continue  # theirs is tried where it lives
        one = read_constraint(data)
        for answer in answers:
            one.holds(answer)
    reply = said("<instruction>" * 40_000 + "</instruction" * 40_000)
    assert list(between_tags(reply.text)) == []


def test_loose_forgives_a_first_and_a_last_line_and_asterisks() -> None:
    answer = "Sure, here you are:\n**- a\n- b\nAnything else?"
    assert loose(answer)[:2] == (answer, "**- a\n- b\nAnything else?")
    bullets = read_constraint({"kind": "bullets", "min": 2, "max": 2})
    assert (is_kept(answer, bullets, "strict"), is_kept(answer, bullets, "loose")) == (False, True)
    commas = read_constraint({"kind": "no_commas"})
    assert is_kept("Sure, yes:\nNone here.", commas, "loose")
    assert not is_kept("Sure, yes:\nNone, no.\nOf, course", commas, "loose")
    assert loose("one") == ("one", "")


def witness(found: list[dict[str, Any]]) -> str:
    """An answer that keeps to all of them, built from the data alone."""
    wants = {one["kind"]: one for one in found}
    if "choice" in wants:
        return str(wants["choice"]["options"][0])
    least = {kind: one.get("min", 0) for kind, one in wants.items()}
    words = [*wants.get("keywords", {}).get("words", ())]
    words += [wants["keyword"]["word"]] * least["keyword"] if "keyword" in wants else []
    words += ["[name]"] * least.get("placeholders", 0) + ["*ok*"] * least.get("highlights", 0)
    words += ["ABC"] * least.get("capital_words", 0)
    words += [wants["letter"]["letter"] * least["letter"]] if "letter" in wants else []
    words += ["<<ok>>"] if "title" in wants else []
    begin, end = (wants.get(kind, {}).get("text", "") for kind in ("starts_with", "ends_with"))
    lines = ["- ok"] * least.get("bullets", 0)
    lines += [f"Section {n + 1}" for n in range(least.get("sections", 0))]
    lines += [f"{wants['postscript']['marker']} ok"] if "postscript" in wants else []
    sentences = ["Ok."] * max(0, least.get("sentences", 0) - 1)
    filler = ["ok"] * least.get("words", 0)
    head = " ".join([begin, *words, *filler]).strip()
    if "json" in wants:
        return orjson.dumps({"ok": head}).decode()
    parts = [head or "ok"] + ["ok"] * max(0, least.get("paragraphs", 1) - 1)
    tail = " ".join([*sentences, end]).strip()
    if sentences:
        parts[-1] += "."
    text = "\n".join(["\n\n".join(parts), *lines])
    text = f"{text}\n{tail}" if lines and tail else f"{text} {tail}".strip()
    text = text.upper() if "upper" in wants else text.lower() if "lower" in wants else text
    return f'"{text}"' if "quoted" in wants else text


def clashes(found: Sequence[Constraint]) -> list[tuple[Constraint, Constraint]]:
    """The pairs of a set that exclude each other."""
    return [pair for pair in combinations(found, 2) if clash(*pair)]


@settings(max_examples=60)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["", "Describe the harvest in a section about all letters, that is all."]),
)
def test_whatever_is_drawn_there_is_an_answer_that_keeps_to_it(
    rng: random.Random, most: int, everything: bool, instruction: str
) -> None:
    kinds = [kind for kind in DRAWS if kind != "language"]  # its check is the identifier's
    more = {"kinds": kinds} if everything else {}
    found = drawn(rng, ConstraintsSettings(most=most, **more), instruction)
    read = [read_constraint(one) for one in found]
    assert 1 <= len(read) <= most
    assert clashes(read) == []
    answer = witness(found)
    assert [kind_of(one) for one in read if not one.holds(answer)] == [], answer


def test_what_excludes_each_other_either_way_round() -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"kind": "upper"}, {"kind": "lower"}),
        ({"kind": "json"}, {"kind": "title"}),
        ({"kind": "choice", "options": ["a"]}, {"kind": "no_commas"}),
        ({"kind": "keywords", "words": ["red sun"]}, {"kind": "no_keywords", "words": ["Sun"]}),
        ({"kind": "starts_with", "text": "In short"}, {"kind": "no_keywords", "words": ["short"]}),
        ({"kind": "sections", "min": 2}, {"kind": "no_keywords", "words": ["section"]}),
        ({"kind": "ends_with", "text": "So, no."}, {"kind": "no_commas"}),
        ({"kind": "sentences", "max": 4}, {"kind": "title"}),
        ({"kind": "sentences", "max": 4}, {"kind": "words", "min": 200}),
        ({"kind": "keywords", "words": ["sun"]}, {"kind": "keyword", "word": "Sun", "min": 2}),
        ({"kind": "words", "min": 9}, {"kind": "words", "max": 3}),
        ({"kind": "language", "code": "de"}, {"kind": "keywords", "words": ["sun"]}),
    ]
    for one, other in pairs:
        assert clash(read_constraint(one), read_constraint(other)), (one, other)
        assert clash(read_constraint(other), read_constraint(one)), (one, other)
    fine = [{"kind": "sentences", "min": 4}, {"kind": "title"}, {"kind": "words", "max": 60}]
    assert clashes([read_constraint(one) for one in fine]) == []


async def test_the_step_says_in_words_what_it_says_as_data() -> None:
    done = await run_step("instruct.constraints", {"most": 5}, {"instruction": "Why tides?"}, [])
    again = await run_step("instruct.constraints", {"most": 5}, {"instruction": "Why tides?"}, [])
    assert done.rows == again.rows
    found = done.fields["constraints"]
    assert isinstance(found, list)
    sentences = [read_constraint(one).sentence() for one in found]
    assert done.fields["instruction"] == "Why tides?\n\n" + " ".join(sentences)
    assert {what for what, _ in done.kit.counts} == {f"drawn {one['kind']}" for one in found}
    for empty in (" ", None, 3):
        with pytest.raises(Rejected, match="empty_instruction"):
            await run_step("instruct.constraints", {}, {"instruction": empty}, [])


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"kinds": ["word"]}, "no kind 'word'.*words"),
        ({"kinds": []}, "at least one kind"),
        ({"least": 3, "most": 2}, "least 3 is above most 2"),
        ({"most": 6}, "less than or equal to 5"),
        ({"vocabulary": []}, "at least 1 item"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ConstraintsSettings.model_validate(given)


async def test_the_gate() -> None:
    two: list[Json] = [{"kind": "words", "max": 3, "text": None}, {"kind": "no_commas"}]
    assert await passes("gate.constraints", {}, output="Two words", constraints=two)
    assert await passes("gate.constraints", {}, output="Any, really", constraints=[])
    with pytest.raises(Rejected, match=r"constraint_broken: Use at most 3 words\. Do not use any"):
        await passes("gate.constraints", {}, output="One, two, three, four", constraints=two)
    as_text = '[{"kind": "words", "max": 3}]'
    assert await passes("gate.constraints", {}, output="Two words", constraints=as_text)
    odd: Json
    for odd in ("words", None, {"kind": "words"}):
        with pytest.raises(RowError, match="must be a list of constraints"):
            await passes("gate.constraints", {}, output="a", constraints=odd)
    language: list[Json] = [{"kind": "language", "code": "xx"}]
    with pytest.raises(RowError, match="no ISO 639 code"):
        await passes("gate.constraints", {}, output="a", constraints=language)
    assert find_step("gate.constraints").about


async def test_the_language_is_told_by_the_identifier() -> None:
    pytest.importorskip("py3langid")
    english = "The tides come and go because the moon pulls at the water of the seas."
    german = "Ebbe und Flut entstehen, weil der Mond das Wasser der Meere an sich zieht."
    wanted: dict[str, Json] = {"constraints": [{"kind": "language", "code": "de"}]}
    assert await passes("gate.constraints", {}, output=german, **wanted)
    with pytest.raises(Rejected, match="Answer in German"):
        await passes("gate.constraints", {}, output=english, **wanted)
