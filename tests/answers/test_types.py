from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.answers import (
    AnswerSettings,
    AnswerType,
    canonical,
    choices_of,
    grouped,
    read,
    same,
)
from synthkd.answers.reading import READ
from synthkd.errors import MissingField
from synthkd.rows import Json

FIVE = ["park", "sea", "sea world", "math problem", "gravity"]


def typed(type: AnswerType, **more: object) -> AnswerSettings:
    return AnswerSettings.model_validate({"type": type, **more})


CONFIGS = [
    typed("number"),
    typed("choice"),
    typed("choice", labels=FIVE),
    typed("label", labels=FIVE),
    typed("equation"),
    typed("set"),
    typed("list", items="number"),
    typed("list", separator=" "),
    typed("text"),
    typed("number", take="last", decimal=",", percent="hundredths"),
    typed("set", items="equation", decimal=","),
]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("(B)", "B"),
        ("b)", "B"),
        ("B. the sea", "B"),
        (r"$\boxed{b}$", "B"),
        ("option B.", "B"),
        (r"\text{B}", "B"),
    ],
)
def test_a_choice_whose_texts_are_not_known_is_its_letter(said: str, answer: str) -> None:
    reading = read(f"So the answer is {said}", typed("choice"))
    assert (reading.status, reading.answer) == ("ok", answer)


def test_without_its_text_or_letter_no_choice_is_named() -> None:
    assert read("The answer is the sea.", typed("choice")).status == "bad_label"
    for hedged in ("(a) or (b)", "either (a) or (b)", "A. or rather (b)"):
        assert read(f"The answer is {hedged}.", typed("choice")).status == "several_answers"


def test_gold_may_be_the_letter_the_text_or_both() -> None:
    for gold in ("b", "(B)", "B. sea", "Sea", "(b) sea"):
        assert canonical(gold, typed("choice"), FIVE) == "sea"
    nothing: list[Json] = ["z", "lake", "(f)", None, ["sea"]]
    assert {canonical(gold, typed("choice"), FIVE) for gold in nothing} == {None}


def test_choices_may_begin_with_their_own_letters() -> None:
    options = ["A)5(√3 + 1)", "B)6", "C)$7.50", "D) 8", "E)None of these"]
    for said in ("(C)", "C", "$7.50", "7.5", "C) something else", "C)$7.50"):
        assert read(f"Answer: {said}", typed("choice"), choices=options).answer == "C)$7.50"
    assert canonical("C", typed("choice"), options) == "C)$7.50"


def test_a_label_has_no_letter() -> None:
    config = typed("label", labels=["A", "NOT_A", "b"])
    assert read("Answer: not a", config).answer == "NOT_A"
    assert read("Answer: (a)", config).answer == "A"  # its text, in parentheses
    assert read("Answer: (c)", config).status == "bad_label"
    assert read("Answer: non-positive", typed("label", labels=["positive"])).status == "bad_label"


@pytest.mark.parametrize(
    ("said", "items"),
    [
        ("red, green and blue.", '["blue", "green", "red"]'),
        ("{blue, red, green, red}", '["blue", "green", "red"]'),
        (r"\{blue, red, green\}", '["blue", "green", "red"]'),
        ('["Red", "green, dark"]', '["green, dark", "Red"]'),
        ("\n- red\n- blue\n\nThose are all.", '["blue", "red"]'),
        ("\n1. red\n2) blue\nThose are all.", '["blue", "red"]'),
        ("red; salt and pepper", '["red", "salt and pepper"]'),
        ("f(a, b), (1, 2)", '["f(a, b)", "(1, 2)"]'),
        ("[]", "[]"),
        ("- red", '["red"]'),
        (r"\boxed{\text{red}, \text{blue}}", '["blue", "red"]'),
    ],
)
def test_sets(said: str, items: str) -> None:
    reading = read(f"So the answer is {said}", typed("set"))
    assert reading.answer is not None
    assert (reading.status, same(reading.answer, items, typed("set"))) == ("ok", True)
    assert canonical(items, typed("set")) == reading.answer


def test_items_have_a_type() -> None:
    config = typed("set", items="number")
    assert canonical("1,200, 3 and 0.50", config) == '["0.5", "3", "1200"]'
    assert canonical("1,2,3", config) == '["1", "2", "3"]'
    assert canonical("-5", config) == '["-5"]'
    assert canonical(", ,", config) is None
    assert canonical("(1, 2)", config) == '["1", "2"]'
    assert canonical([2, "1.0"], config) == '["1", "2"]'
    assert canonical("1, many", config) is None
    assert same("1/3, 2", "0.33333333, 2", config)
    assert not same("1, 2", "1, 2, 3", config)


def test_the_order_counts_in_a_list_and_not_in_a_set() -> None:
    assert same("a, b", "b, a", typed("set"))
    assert not same("a, b", "b, a", typed("list"))
    words = typed("list", separator=" ")
    assert canonical("syndrome  therefrom", words) == '["syndrome", "therefrom"]'
    assert canonical("a | b c", typed("list", separator="|")) == '["a", "b c"]'


def test_a_box_counts_where_no_cue_has_anything_behind_it() -> None:
    config = typed("number")
    assert read(r"So $x = \boxed{42}$.", config).answer == "42"
    assert read(r"Thus \boxed{\frac{1}{2}}", config).answer == "0.5"
    assert read(r"\boxed{1} The answer is 2.", config).answer == "2"
    assert read(r"The answer is $\boxed{12}$ in 3 days.", config).answer == "12"
    assert read(r"Thus $\boxed{1}$ or $\boxed{2}$", config).status == "several_cues"
    assert read(r"Thus \boxed{\fbox{7}}", config).status == "ok"
    assert read(r"Thus \boxed{42", config).status == "no_cue"
    assert read(r"One. \boxed{42}", config).rationale == "One."


def test_without_any_cue_the_whole_reply_is_the_answer() -> None:
    config = typed("number", cue=[])
    assert read(" $18.0\nThat is all.", config).answer == "18"
    assert read("I think it is \\boxed{18}, or 3 and 4", config).answer == "18"
    assert read(" \n", config).status == "no_cue"
    assert read("18", config, cut_short=True).status == "truncated"


def test_which_of_several_cues_counts() -> None:
    text = "The answer is 5? No. The answer is 6."
    statuses = [read(text, typed("number", take=take)) for take in ("only", "first", "last")]
    assert [each.status for each in statuses] == ["several_cues", "ok", "ok"]
    assert [each.answer for each in statuses] == [None, "5", "6"]
    assert {each.rationale for each in statuses} == {""}


def test_what_is_no_answer_does_not_count_beside_one() -> None:
    text = "The answer is not obvious. Add them. The answer is 6."
    assert read(text, typed("number")).answer == "6"


def test_an_answer_that_may_lack_its_end_is_truncated() -> None:
    config = typed("number")
    assert read("The answer is 12", config, cut_short=True).status == "truncated"
    assert read("The answer is 12\n", config, cut_short=True).answer == "12"
    assert read(r"\boxed{12}", config, cut_short=True).answer == "12"
    assert read(r"The answer is \boxed{12", config, cut_short=True).status == "truncated"
    assert read("The answer is 12\nQ: And", config, cut_short=True).status == "run_on_cut"
    assert read("Let me see", config, cut_short=True).status == "truncated"
    assert read("The answer is", config, cut_short=True).status == "truncated"


def test_canonical_spellings_can_be_read_however_long_the_fraction() -> None:
    config = typed("equation")
    for words in (
        "+".join(f"1/{n}" for n in range(101, 250)),
        "1.23456789^150 * 1.2345^150",
        "2^0.5",
    ):
        spelling = canonical(words, config)
        assert spelling is not None
        assert canonical(spelling, config) == spelling
        assert same(words, spelling, config)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({"type": "nummer"}, "number"),
        ({"tolerance": -1}, "greater than or equal to 0"),
        ({"choices": "a", "labels": ["b"]}, "at most one of choices"),
        ({"type": "label"}, "type label needs labels"),
        ({"cue": ["A:", ""]}, "cue must name"),
        ({"separator": ""}, "at least 1 character"),
    ],
)
def test_settings_that_make_no_sense(block: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        AnswerSettings.model_validate(block)


LONG = 200_000
"""Characters of a rationale that never ends."""


@pytest.mark.parametrize(
    ("text", "type", "status"),
    [
        ("so much to say, 12 times over, " * (LONG // 31) + "The answer is 5.", "number", "ok"),
        ("The answer is 5\n" * (LONG // 16), "number", "ok"),
        ("The answer is " * (LONG // 14), "number", "no_cue"),
        (r"\boxed{5}" * (LONG // 9), "number", "ok"),
        (r"\boxed{" * (LONG // 7), "number", "no_cue"),
        (r"\boxed{" * (LONG // 8) + "5" + "}" * (LONG // 8), "number", "ok"),
        ("The answer is " + " " * LONG + "5", "number", "ok"),
        ("The answer is " + "1," * (LONG // 2), "number", "bad_label"),
        ("The answer is " + "(" * LONG, "equation", "bad_label"),
        ("The answer is " + "(9^999)*" * 120 + "1", "equation", "bad_label"),
        ("The answer is " + "[" * 19_000, "set", "ok"),
        ("The answer is " + "a, " * 6_000, "list", "ok"),
        ("The answer is\n" + "- a\n" * (LONG // 4), "list", "bad_label"),
        ("The answer is " + "(a" * 9_000, "choice", "bad_label"),
        ("\nQ" * (LONG // 2) + "The answer is 5", "text", "ok"),
    ],
)
def test_reading_is_linear(text: str, type: AnswerType, status: str) -> None:
    started = time.process_time()
    assert read(text, typed(type)).status == status
    assert time.process_time() - started < 2  # most take 0.03 s; a square of the length, minutes


PIECES = st.sampled_from(
    [
        *(*FIVE, "The answer is", "Answer:", r"\boxed{", "}", "{", "(a)", "B.", "12", "1e400", "٣"),
        *("\u202f", '"', "İ", "ß", "1,200", "0.", "^.5", "√", "option ", r"\text{", "-", "("),
        *("\n\nQ:", "\n", " ", "- ", ",", " and ", "[", "]", "½", "10^", r"\frac{1}{2}", "%", "="),
        *("²", "/0"),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


@settings(max_examples=100)
@given(TEXTS, st.sampled_from(CONFIGS), st.booleans())
def test_every_reply_has_an_answer_or_a_reason(
    text: str, config: AnswerSettings, cut_short: bool
) -> None:
    reading = read(text, config, cut_short=cut_short)
    assert (reading.answer is not None) == (reading.status in READ)
    assert (reading.answer is None) <= bool(reading.detail or not text)
    if reading.answer is not None:
        assert canonical(reading.answer, config) == reading.answer
        assert same(reading.answer, reading.said, config)


@settings(max_examples=50)
@given(st.lists(TEXTS, max_size=6), st.sampled_from(CONFIGS))
def test_groups_hold_what_is_the_same(texts: list[str], config: AnswerSettings) -> None:
    groups = grouped(texts, config)
    for text, group in zip(texts, groups, strict=True):
        assert (group is None) == (canonical(text, config) is None)
        if group is not None:
            assert same(text, texts[groups.index(group)], config)
    numbers = [group for group in groups if group is not None]
    assert list(dict.fromkeys(numbers)) == list(range(len({*numbers})))


@pytest.mark.parametrize(
    "labels", [[], [""], ["a", " "], ["yes", "Yes"], ["card lost", "card_lost"]]
)
def test_labels_that_nobody_could_tell_apart(labels: list[str]) -> None:
    with pytest.raises(ValidationError, match="labels must"):
        AnswerSettings(labels=labels)


@pytest.mark.parametrize("choices", [["a", None], [{"a": 1}], [["a"]]])
def test_choices_that_are_no_texts(choices: list[Json]) -> None:
    with pytest.raises(MissingField, match="texts or numbers"):
        choices_of({"c": choices}, AnswerSettings(choices="c"))
    assert choices_of({"c": [1, "b", 0.5]}, AnswerSettings(choices="c")) == ["1", "b", "0.5"]
