from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.errors import MissingField, Rejected, Unanswered
from synthkd.recipes.label import LabelSettings, read_label
from synthkd.steps import find_step, names_of

Ask = Callable[..., Any]

LABELS = ["order_status", "refund_status", "refund"]
ROW = {"text": "Where is my parcel?", "intent": "order_status"}


def told(label: str, confidence: Any = None, **more: Any) -> str:
    claim = {} if confidence is None else {"confidence": confidence}
    return orjson.dumps({"label": label} | claim | more).decode()


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("order_status", "order_status", None),
        ("It is about Order  Status.", "order_status", None),
        ("refund status", "refund_status", None),
        ("Label: refund", "refund", None),
        (told("ORDER STATUS", 0.9), "order_status", 0.9),
        (f"```json\n{told('refund', 1)}\n```", "refund", 1.0),
        (f"Sure: {told('refund', 0.5)} Next, {told('order_status')}", "refund", 0.5),
        (told("refund", 90), "refund", None),
        (told("refund", True), "refund", None),
        ('{"label": "refund", "confidence": NaN}', "refund", None),
        ('{"label": "refund", "confi', "refund", None),
        ("refund\n\nMessage: next\norder_status", "refund", None),
    ],
)
def test_replies_that_name_a_label(text: str, label: str, confidence: float | None) -> None:
    said = read_label(text, LABELS, ["\n\nMessage:"])
    assert (said.label, said.confidence, said.loss) == (label, confidence, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("order_status or refund", "several_answers"),
        (told("order_status, refund"), "several_answers"),
        (told("weather", 0.9), "bad_label"),
        ("overrefunded", "bad_label"),
        ("[[[[" * 3000, "bad_label"),
        ('{"a":' * 3000, "bad_label"),
    ],
)
def test_replies_that_do_not(text: str, reason: str) -> None:
    loss = read_label(text, LABELS).loss
    assert loss is not None
    assert loss.reason == reason


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: f'{{"label": "refund", "reason": {value!r}}}'),
    ),
    st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=5, unique=True),
)
def test_never_raises_and_gives_a_label_or_a_loss(text: str, labels: list[str]) -> None:
    said = read_label(text, labels)
    assert (said.label is None) == (said.loss is not None)
    assert said.label is None or said.label in labels


async def test_the_answers_of_several_teachers_stay_in_one_row(ask: Ask) -> None:
    replies = {
        "one": [told("refund", 0.8), "I do not know."],
        "two": [told("order_status", 0.5), told("order_status", 0.75)],
    }
    settings = {"teachers": ["one", "two"], "samples": 2, "labels": LABELS}
    done = await ask("label", settings, ROW, replies)
    assert done.fields == ROW | {
        "label": "order_status",
        "agreement": 0.5,
        "confidence": 0.625,
        "answers": [
            _answer("one", 0, replies["one"][0], "refund", 0.8),
            _answer("one", 1, "I do not know.", None, None),
            _answer("two", 0, replies["two"][0], "order_status", 0.5),
            _answer("two", 1, replies["two"][1], "order_status", 0.75),
        ],
    }
    assert done.kit.discards == [("bad_label", "I do not know.")]


def _answer(
    teacher: str, sample: int, text: str | None, label: str | None, confidence: float | None
) -> dict[str, Any]:
    return {
        "teacher": teacher,
        "sample": sample,
        "text": text,
        "label": label,
        "confidence": confidence,
        "key": None if text is None else f"{teacher}-{sample}",
    }


async def test_a_tie_goes_to_the_earlier_answer(ask: Ask) -> None:
    settings = {"samples": 2, "labels": LABELS}
    done = await ask("label", settings, ROW, ["refund", "order_status"])
    assert (done.fields["label"], done.fields["agreement"]) == ("refund", 0.5)


async def test_without_claims_the_agreement_is_the_confidence(ask: Ask) -> None:
    settings = {"samples": 3, "labels": LABELS}
    done = await ask("label", settings, ROW, ["refund", "refund", "order_status"])
    assert done.fields["confidence"] == done.fields["agreement"] == 2 / 3


async def test_an_unanswered_sample_has_a_place_among_the_answers(ask: Ask) -> None:
    settings = {"samples": 2, "labels": LABELS}
    done = await ask("label", settings, ROW, ["refund", Unanswered("503")])
    assert done.fields["answers"][1] == _answer("main", 1, None, None, None)
    assert done.kit.discards == [("unanswered", "Unanswered: 503")]


async def test_the_reason_is_asked_for_and_kept(ask: Ask) -> None:
    reply = told("refund", 0.9, reason="It names a refund.")
    done = await ask("label", {"labels": LABELS, "reason": True}, ROW, [reply])
    system = done.teachers["main"].asked[0].body["messages"][0]["content"]
    assert '"reason" is one short sentence' in system
    assert done.fields["reason"] == "It names a refund."
    assert done.fields["label"] == "refund"


async def test_a_lone_surrogate_in_a_reason_is_mended(ask: Ask) -> None:
    reply = '{"label": "refund", "reason": "cut \\ud83d"}'
    done = await ask("label", {"labels": LABELS, "reason": True}, ROW, [reply])
    assert done.fields["reason"] == "cut \N{REPLACEMENT CHARACTER}"


async def test_the_row_may_bring_its_own_labels(ask: Ask) -> None:
    done = await ask("label", {"labels": "options"}, ROW | {"options": LABELS}, ["refund"])
    assert done.fields["label"] == "refund"
    with pytest.raises(MissingField, match="'options' must hold a list of labels, got None"):
        await ask("label", {"labels": "options"}, ROW, ["refund"])


async def test_the_teacher_never_sees_the_gold_answer(ask: Ask) -> None:
    done = await ask("label", {"labels": LABELS}, ROW, ["refund"])
    assert set(done.teachers["main"].asked[0].inputs) == {"text", "labels", "reason"}


async def test_a_row_without_any_label_is_rejected(ask: Ask) -> None:
    settings = {"samples": 3, "labels": LABELS}
    with pytest.raises(Rejected) as caught:
        await ask("label", settings, ROW, ["", "Hm.", "Hm."])
    assert caught.value.reason == "bad_label"


async def test_a_row_that_nobody_answered_fails(ask: Ask) -> None:
    with pytest.raises(Unanswered):
        await ask("label", {"labels": LABELS}, ROW, [Unanswered("503")])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of teacher, teachers"),
        ({"teacher": "a", "teachers": ["b"]}, "exactly one of teacher, teachers"),
        ({"teachers": []}, "exactly one of teacher, teachers"),
        ({"teachers": ["a", "a"]}, "each teacher once"),
        ({"teacher": "a", "labels": ["x"]}, "at least two labels"),
        ({"teacher": "a", "labels": ["x y", "X_Y"]}, "differ in more than case"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LabelSettings.model_validate({"labels": LABELS} | settings)


def test_gives_what_its_settings_name() -> None:
    config = LabelSettings(teacher="a", labels=LABELS, into="topic", reason=True)
    gives = names_of(find_step("label").gives, config)
    assert gives == ("topic", "agreement", "confidence", "answers", "reason")
