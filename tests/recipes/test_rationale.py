from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import MissingField, Rejected, Unanswered
from synthkd.recipes.rationale import RationaleSettings
from synthkd.recipes.replies import Loss, give_up
from synthkd.steps import find_step, names_of

Ask = Callable[..., Any]

ROW = {"question": "Where do fish live?", "choices": ["park", "sea", "sky"], "gold": "Sea"}
WITH_CHOICES = {"prompt": "rationale/choices", "choices": "choices"}


def votes(answers: str) -> list[str]:
    """One reply per letter; ? is one that cannot be parsed."""
    return [
        "I do not know." if letter == "?" else f"Thought {place}. So the answer is ({letter})."
        for place, letter in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("answers", "answer", "agreement", "rationale"),
    [
        ("b", "sea", 1.0, "Thought 0."),
        ("abb", "sea", 2 / 3, "Thought 1."),
        ("ab", "park", 0.5, "Thought 0."),
        ("?ba?", "sea", 0.25, "Thought 1."),
    ],
)
async def test_the_vote(
    ask: Ask, answers: str, answer: str, agreement: float, rationale: str
) -> None:
    settings = WITH_CHOICES | {"samples": len(answers)}
    done = await ask("rationale", settings, ROW, votes(answers))
    made = {"answer": answer, "agreement": agreement, "rationale": rationale, "finish": "stop"}
    assert done.fields == ROW | made
    assert [reason for reason, _ in done.kit.discards] == ["no_cue"] * answers.count("?")


async def test_equivalent_answers_vote_together(ask: Ask) -> None:
    replies = ["A. The answer is 7.", "B. The answer is 1,200.", "C. Answer: $1200.00"]
    done = await ask("rationale", {"samples": 3}, {"question": "?"}, replies)
    assert (done.fields["answer"], done.fields["rationale"]) == ("1,200", "B.")


async def test_the_teacher_sees_choices_but_never_gold(ask: Ask) -> None:
    done = await ask("rationale", WITH_CHOICES | {"gold": "gold"}, ROW, votes("b"))
    (request,) = done.teachers["main"].asked
    assert set(request.inputs) == {"question", "choices"}
    assert request.body["messages"][1]["content"] == (
        "Q: Where do fish live?\nAnswer Choices:\n(a) park\n(b) sea\n(c) sky"
    )


async def test_gold_is_compared_without_case(ask: Ask) -> None:
    done = await ask("rationale", WITH_CHOICES | {"gold": "gold"}, ROW, votes("b"))
    assert done.fields["answer"] == "sea"


async def test_an_answer_that_is_not_gold_is_rejected(ask: Ask) -> None:
    with pytest.raises(Rejected) as caught:
        await ask("rationale", WITH_CHOICES | {"gold": "gold"}, ROW, votes("a"))
    assert (caught.value.reason, caught.value.detail) == ("wrong_answer", "answered park, gold Sea")


async def test_a_row_without_gold_is_not_checked(ask: Ask) -> None:
    done = await ask("rationale", WITH_CHOICES | {"gold": "gold"}, ROW | {"gold": None}, votes("a"))
    assert done.fields["answer"] == "park"


async def test_labels_are_choices_for_all_rows(ask: Ask) -> None:
    settings = {"prompt": "rationale/classify", "labels": ["good_news", "bad_news"]}
    done = await ask("rationale", settings, {"text": "Hm."}, ["So the answer is Bad news."])
    assert done.fields["answer"] == "bad_news"
    assert "- good_news" in done.teachers["main"].asked[0].body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("So the answer is either (a) or (b).", "several_answers"),
        ("So the answer is (z).", "bad_label"),
        ("I do not know.", "no_cue"),
        ("", "empty_answer"),
    ],
)
async def test_why_a_row_is_rejected(ask: Ask, reply: str, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        await ask("rationale", WITH_CHOICES, ROW, [reply])
    assert caught.value.reason == reason


async def test_the_most_frequent_reason_is_told(ask: Ask) -> None:
    replies = ["", "I do not know.", "Nor do I.", Unanswered("503")]
    with pytest.raises(Rejected) as caught:
        await ask("rationale", {"samples": 4}, ROW, replies)
    assert caught.value.reason == "no_cue"


async def test_choices_must_be_a_list(ask: Ask) -> None:
    with pytest.raises(MissingField, match=r"'choices' must hold a list of choices, got 'sea'"):
        await ask("rationale", WITH_CHOICES, ROW | {"choices": "sea"}, votes("b"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choices": "choices", "labels": ["a", "b"]}, "at most one of choices"),
        ({"cue": [""]}, "cue must name"),
        ({"samples": 0}, "greater than or equal to 1"),
        ({"smaples": 2}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RationaleSettings.model_validate({"teacher": "main"} | settings)


def test_needs_what_its_settings_name() -> None:
    config = RationaleSettings(teacher="main", gold="gold", choices="options")
    assert set(names_of(find_step("rationale").needs, config)) == {"gold", "options"}


@given(
    st.lists(
        st.one_of(
            st.just(Loss("unanswered", "x")), st.builds(Loss, st.sampled_from("ab"), st.text())
        ),
        min_size=1,
    )
)
def test_giving_up_always_ends_the_row(losses: Sequence[Loss]) -> None:
    replies: list[Any] = [
        Unanswered("503") if loss.reason == "unanswered" else None for loss in losses
    ]
    nobody = all(loss.reason == "unanswered" for loss in losses)
    with pytest.raises(Unanswered if nobody else Rejected):
        give_up(replies, losses)
