from __future__ import annotations

import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.answers import (
    AnswerSettings,
    AnswerType,
    Reading,
    before,
    canonical,
    named_choices,
    read,
)
from synthkd.answers.reading import READ
from synthkd.answers.settings import DEFAULT_CUES
from synthkd.text import equivalent

FIVE = ["park", "sea", "sea world", "math problem", "gravity"]


PLAIN = AnswerSettings(stop_at=())


def reading_of(text: str, choices: list[str] | None = FIVE) -> Reading:
    return read(text, PLAIN, choices=choices)


@pytest.mark.parametrize(
    "behind",
    [
        "(d) math problem.",
        "(d)",
        "(d) something else entirely.",
        "(D).",
        "d) math problem",
        "D. math problem",
        "d",
        "**(d)** math problem",
        "math problem.",
        'a "Math  Problem", as I said.',
        "the one called math_problem",
        "\n\n(d) math problem\nWhich was easy, unlike (a).",
        "surely (d)",
    ],
)
def test_one_choice_is_named(behind: str) -> None:
    reading = reading_of(f"Because of that. So the answer is {behind}")
    assert (reading.status, reading.answer) == ("ok", "math problem")
    assert reading.rationale == "Because of that."


@pytest.mark.parametrize(
    ("behind", "fault"),
    [
        ("either (a) park or (e) gravity.", "several_answers"),
        ("park, or perhaps gravity", "several_answers"),
        ("(a) park. Or rather: So the answer is (b) sea.", "several_cues"),
        ("one of these four.", "bad_label"),
        ("(f) a lake.", "bad_label"),
        ("", "no_cue"),
        ("  \n ", "no_cue"),
    ],
)
def test_faults_of_what_stands_behind_the_cue(behind: str, fault: str) -> None:
    reading = reading_of(f"So the answer is {behind}")
    assert (reading.answer, reading.status) == (None, fault)


def test_a_letter_right_behind_the_cue_decides_even_if_another_follows() -> None:
    assert reading_of("So the answer is (a) park or (b) sea.").answer == "park"


@pytest.mark.parametrize("kind", ["number", "equation", "text", "choice"])
@pytest.mark.parametrize(
    "reply",
    [
        "The answer is:\n5",
        "**Answer:**\n\n5\nAs I said.",
        "The answer is:\n\n$$\n5\n$$",
        "The answer is:\n\\[\n5\n\\]",
        "Answer:\n```text\n5\n```",
    ],
)
def test_a_line_that_says_nothing_is_not_the_answer(reply: str, kind: AnswerType) -> None:
    config = AnswerSettings(type=kind)
    reading = read(reply, config, choices=["4", "5"] if kind == "choice" else None)
    assert (reading.status, reading.answer) == ("ok", "5")


@pytest.mark.parametrize("sign", [":", "**", "$$", "#"])
def test_a_sign_may_be_all_that_is_answered(sign: str) -> None:
    assert reading_of(f"The answer is {sign}", None).answer is not None
    assert reading_of(f"The answer is {sign}\n", None).answer is not None


def test_a_letter_that_is_also_a_choice_is_two_answers() -> None:
    assert reading_of("So the answer is (b).", ["B", "A"]).status == "several_answers"
    assert reading_of("So the answer is (b) A.", ["B", "A"]).answer == "A"
    assert reading_of("So the answer is B.", ["B", "A"]).answer == "B"
    assert reading_of("So the answer is (b).", ["A", "B"]).answer == "B"
    assert reading_of("So the answer is f(a) > 0.", ["0", "f(a) > 0"]).answer == "f(a) > 0"
    assert canonical("(B)", PLAIN, ["(B)", "(A)"]) == "(B)"


def test_without_a_cue_there_is_no_answer() -> None:
    assert reading_of("It is the sea.").status == "no_cue"
    assert read("It is the", PLAIN, choices=FIVE, cut_short=True).status == "truncated"


def test_an_answer_that_was_given_before_the_cut_counts() -> None:
    assert read("Answer: (b) se", PLAIN, choices=FIVE, cut_short=True).answer == "sea"


def test_the_reply_ends_where_the_model_invents_a_question() -> None:
    text = "So the answer is (a) park.\n\nQ: And now?\nA: So the answer is (b) sea."
    assert read(text, AnswerSettings(), choices=FIVE).answer == "park"
    assert read(text, AnswerSettings(), choices=FIVE).status == "run_on_cut"
    assert reading_of(text).status == "several_cues"


def test_the_same_answer_twice_is_one() -> None:
    assert reading_of("The answer is (d). I repeat: so the answer is math problem.").answer == (
        "math problem"
    )


def test_two_letters_of_one_text_are_one_answer() -> None:
    assert (
        reading_of("So the answer is either (a) or (b).", ["bridge", "Bridge"]).answer is not None
    )


def test_a_longer_choice_hides_the_shorter_one_in_it() -> None:
    assert named_choices("We saw Sea World", FIVE) == ["sea world"]
    assert named_choices("the sea, not sea world", FIVE) == ["sea world", "sea"]
    assert named_choices("overseas", FIVE) == []
    assert named_choices("I use C++, not C", ["C", "C++"]) == ["C++", "C"]


def test_any_text_without_choices() -> None:
    assert reading_of("Add them. The answer is 12 apples.\nDone.", None).answer == "12 apples"
    assert reading_of("Answer: **42**", None).answer == "42"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("card_arrival", "Card  Arrival."),
        ("1,200", "$1200.00"),
        ("0.50", ".5"),
        ("-.5", "-0.5."),
        ("007", "7.0"),
        ("-0", "0"),
        ('"Yes"', "yes"),
    ],
)
def test_equivalent_answers(one: str, other: str) -> None:
    assert equivalent(one) == equivalent(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12", "1.2"),
        ("a b", "ab"),
        ("3.5", "35"),
        (".5", "5"),
        ("12,5", "125"),
        ("50%", "50"),
        ("9" * 40, "9" * 39 + "8"),
    ],
)
def test_different_answers(one: str, other: str) -> None:
    assert equivalent(one) != equivalent(other)


PIECES = st.sampled_from(
    [*FIVE, *DEFAULT_CUES, "(a)", "(z)", "B.", "\n\nQ:", "\n", " ", "not", "_", "İ", "ﬁ", "9" * 40]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map(" ".join))
CHOICES = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(FIVE)), max_size=6)


@given(TEXTS, st.none() | CHOICES, st.lists(st.text(max_size=5), max_size=3), st.booleans())
def test_never_raises_and_gives_an_answer_or_a_fault(
    text: str, choices: list[str] | None, stop_at: list[str], cut_short: bool
) -> None:
    config = AnswerSettings(stop_at=tuple(stop_at))
    reading = read(text, config, choices=choices, cut_short=cut_short)
    assert (reading.answer is not None) == (reading.status in READ)
    assert reading.answer is None or choices is None or reading.answer in choices


@given(TEXTS, CHOICES.filter(lambda choices: not any(len(c.strip()) < 2 for c in choices)))
def test_invents_no_choice(text: str, choices: list[str]) -> None:
    """A choice is only answered if its text, or its letter, stands in the reply."""
    answer = reading_of(text, choices).answer
    if answer is not None:
        letters = {string.ascii_lowercase[i] for i, c in enumerate(choices) if c == answer}
        folded = equivalent(text)
        lone = {word.strip("().:") for word in text.lower().split()}
        assert equivalent(answer) in folded or letters & lone or answer.lower() in text.lower()


@given(TEXTS, CHOICES)
def test_named_choices_stand_in_the_text(text: str, choices: list[str]) -> None:
    named = named_choices(text, choices)
    assert set(named) <= set(choices)
    assert len(named) == len(set(named))


@given(TEXTS, st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_before_cuts_at_the_first_marker(text: str, markers: list[str]) -> None:
    kept = before(text, markers)
    assert text.startswith(kept)
    assert not any(marker in kept for marker in markers)
    assert kept == text or any(text[len(kept) :].startswith(marker) for marker in markers)


@given(st.text())
def test_equivalent_is_settled_after_one_pass(text: str) -> None:
    once = equivalent(text)
    assert equivalent(once) == once


class TestRealAnswers:
    """Figures of ../docs/recipes/rationale.md on untrimmed PaLM-540B completions."""

    @staticmethod
    def readings(file: Path, stop_at: str) -> list[tuple[Reading, str, str]]:
        from pyarrow import parquet

        config = AnswerSettings(cue=("So the answer is",), stop_at=(stop_at,))
        columns = ["teacher_raw", "choices", "gold"]
        return [
            (
                read(row["teacher_raw"], config, choices=row["choices"]),
                row["gold"],
                row["teacher_raw"],
            )
            for row in parquet.read_table(file, columns=columns).to_pylist()
        ]

    def test_commonsense_qa(self, recorded_data: Path) -> None:
        found = self.readings(recorded_data / "dss_cqa" / "train.parquet", "\n\nQ:")
        faults = Counter(reading.status for reading, _, _ in found)
        assert faults == {"run_on_cut": 9_559, "several_answers": 179, "bad_label": 3}
        right = sum(
            r.answer is not None and equivalent(r.answer) == equivalent(gold)
            for r, gold, _ in found
        )
        assert right == 7_388
        assert f"{right / len(found):.2%}" == "75.84%"

    def test_the_price_of_letting_the_first_letter_decide(self, recorded_data: Path) -> None:
        """105 replies name a second choice after the first; 44 of them are right."""
        found = self.readings(recorded_data / "dss_cqa" / "train.parquet", "\n\nQ:")
        hedged = []
        for reading, gold, raw in found:
            behind = before(raw, ["\n\nQ:"]).rpartition("So the answer is")[2]
            if reading.answer is not None and behind.count("(") > 1:
                hedged.append(reading.answer == gold)
        assert (len(hedged), sum(hedged)) == (105, 44)

    def test_anli(self, recorded_data: Path) -> None:
        found = self.readings(recorded_data / "dss_anli1" / "valid.parquet", "\nPremise:")
        assert Counter(reading.status for reading, _, _ in found) == {
            "run_on_cut": 998,
            "no_cue": 2,
        }
        assert sum(reading.answer == gold for reading, gold, _ in found) == 674
