from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.privacy.find import find
from synthkd.curate.privacy.mask import MaskConfig, texts_in, without_personal_data
from synthkd.curate.privacy.patterns import KINDS, recognisers
from synthkd.curate.privacy.replace import Placeholders, Pseudonyms
from synthkd.desk import Desk
from synthkd.errors import MissingField, Rejected, UserError
from synthkd.kit import Kit
from synthkd.rows import Json, Row, source_row
from synthkd.steps import Step, find_step
from tests.curate.privacy.planted import MAKERS, planted

ALL = recognisers(KINDS)
KEY = "a key of more than sixteen bytes"


async def masked(settings_: dict[str, Any], **fields: Json) -> tuple[Row, Counter[str]]:
    row = source_row("rows", ["1"], ordinal=0, fields=fields)
    step = find_step("privacy.mask")
    assert isinstance(step, Step)
    kit = Kit(Desk(step="privacy.mask"), row.id)
    (out,) = [out async for out in step.run(row, kit, step.config.model_validate(settings_))]
    counts: Counter[str] = Counter()
    for what, times in kit.counts:
        counts[what] += times
    return out, counts


def text_masked(text: str, pseudonym: bool = False) -> str:
    replace = Pseudonyms(KEY.encode()) if pseudonym else Placeholders({})
    return without_personal_data(text, ALL, replace, Counter())


async def test_placeholders_are_the_same_for_the_same_value_within_the_row() -> None:
    row, counts = await masked(
        {"fields": ["q", "a"]},
        q="Ana@example.com or bob@example.com?",
        a="Write to ana@example.com, phone +49 30 1234567 (+49-30-1234567).",
        other="carl@example.com",
    )
    assert row.fields["q"] == "<EMAIL_1> or <EMAIL_2>?"
    assert row.fields["a"] == "Write to <EMAIL_1>, phone <PHONE_1> (<PHONE_1>)."
    assert row.fields["other"] == "carl@example.com"
    assert counts == {"masked_email": 3, "masked_phone": 2}


async def test_numbers_that_the_row_has_are_not_given_again() -> None:
    row, _ = await masked({"fields": ["a"]}, q=["<EMAIL_3>"], a="bob@example.com")
    assert row.fields["a"] == "<EMAIL_4>"


async def test_texts_inside_lists_and_objects() -> None:
    messages: Json = [
        {"role": "user", "content": [{"type": "text", "text": "I am ana@example.com"}]},
        {"role": "user", "content": "ana@example.com again", "n": 49301234567, "ok": None},
    ]
    row, _ = await masked({"fields": ["messages"]}, messages=messages)
    assert list(texts_in(row.fields["messages"])) == [
        "user", "text", "I am <EMAIL_1>", "user", "<EMAIL_1> again",
    ]  # fmt: skip
    assert row.fields["messages"][1]["n"] == 49301234567  # type: ignore[index,call-overload]


@pytest.mark.parametrize("value", ["", "nothing here", None, 7, [], {}, "\ud800", "שלום", "你好"])
async def test_what_has_no_personal_data_stays(value: Json) -> None:
    row, counts = await masked({"fields": ["q"]}, q=value)
    assert row.fields["q"] == value
    assert not counts


async def test_a_missing_field_fails_the_row() -> None:
    with pytest.raises(MissingField, match="no field 'q'; it has a"):
        await masked({"fields": ["q"]}, a="x")


async def test_a_row_is_dropped_without_telling_the_value() -> None:
    with pytest.raises(Rejected) as caught:
        await masked({"fields": ["q"], "action": "drop"}, q="ana@example.com bob@example.com")
    assert str(caught.value) == "personal_data: q: 2 email"
    row, _ = await masked({"fields": ["q"], "action": "drop"}, q="nothing")
    assert row.fields["q"] == "nothing"


async def test_only_the_kinds_that_are_asked_for() -> None:
    row, _ = await masked({"fields": ["q"], "kinds": ["phone"]}, q="a@example.com, +49 30 1234567")
    assert row.fields["q"] == "a@example.com, <PHONE_1>"


async def test_pseudonyms_are_the_same_in_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"fields": ["q"], "action": "pseudonym", "key_env": "THE_KEY"}
    monkeypatch.setenv("THE_KEY", KEY)
    one, _ = await masked(wanted, q="Mail ana@example.com, card 4111 1111 1111 1111")
    two, _ = await masked(wanted, q="ANA@example.com has 4111-1111-1111-1111")
    mail, card = str(one.fields["q"]).removeprefix("Mail ").split(", card ")
    assert two.fields["q"] == f"{mail} has {card.replace(' ', '-')}"
    assert mail.endswith(".invalid")
    assert [len(four) for four in card.split()] == [4, 4, 4, 4]
    monkeypatch.setenv("THE_KEY", KEY + "2")
    three, _ = await masked(wanted, q="Mail ana@example.com, card 4111 1111 1111 1111")
    assert three.fields["q"] != one.fields["q"]


@pytest.mark.parametrize(("key", "message"), [(None, "not set"), ("short", "has 5 bytes")])
async def test_a_key_that_is_none(
    key: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key is not None:
        monkeypatch.setenv("THE_KEY", key)
    with pytest.raises(UserError, match=message) as caught:
        await masked({"fields": ["q"], "action": "pseudonym", "key_env": "THE_KEY"}, q="x")
    assert key is None or key not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ["emial"]}, "no kind 'emial'; did you mean email"),
        ({"kinds": []}, "would mask nothing"),
        ({"action": "pseudonym"}, "key_env goes with action pseudonym"),
        ({"key_env": "K"}, "key_env goes with action pseudonym"),
        ({"kinds": ["person"]}, "needs spacy_model"),
        ({"fields": []}, "exactly one of field, fields"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaskConfig.model_validate({"fields": ["q"], **wrong})


PLANTED = [text.text for text in planted(seed=7, each=3)]
mixtures = st.lists(
    st.one_of(
        st.sampled_from(PLANTED), st.text(max_size=20), st.sampled_from([" ", "-", ".", "", "1"])
    ),
    max_size=6,
).map("".join)


@given(mixtures)
@settings(deadline=None)
def test_masking_is_idempotent_and_leaves_nothing(text: str) -> None:
    once = text_masked(text)
    assert find(once, ALL) == []
    assert text_masked(once) == once


@given(mixtures)
@settings(deadline=None)
def test_pseudonyms_are_known_again_wherever_they_stand(text: str) -> None:
    once = text_masked(text, pseudonym=True)
    assert text_masked(once, pseudonym=True) == once


@given(mixtures)
@settings(deadline=None)
def test_text_outside_of_spans_is_unchanged(text: str) -> None:
    spans = find(text, ALL)
    begins = [0, *(span.end for span in spans)]
    ends = [*(span.start for span in spans), len(text)]
    outside = [text[a:b] for a, b in zip(begins, ends, strict=True)]
    marks = iter(range(10**6))

    class Numbered:
        def __call__(self, span: object, written: str) -> str:
            return f"<X_{next(marks)}>"

    once = without_personal_data(text, ALL, Numbered(), Counter())
    place = 0
    for nth, piece in enumerate(outside):
        # A second pass may find more inside a piece; what is left of it stands in order.
        if find(piece, ALL) == [] and f"<X_{len(spans)}>" not in once:
            assert once.startswith(piece, place)
        if nth < len(spans):
            place = once.find(f"<X_{nth}>", place) + len(f"<X_{nth}>")


@pytest.mark.parametrize("kind", MAKERS)
def test_pseudonyms_are_a_function_never_shared_and_known_again(kind: str) -> None:
    texts = planted(seed=3, each=25, kinds=[kind])
    given_to: dict[str, str] = {}
    replace = Pseudonyms(KEY.encode())
    for text in texts:
        (start, end, _), *_ = text.spans
        value = text.text[start:end]
        (span,) = [s for s in find(text.text, ALL) if (s.start, s.end) == (start, end)]
        pseudonym = replace(span, value)
        assert pseudonym == Pseudonyms(KEY.encode())(span, value)
        assert value not in pseudonym
        said = "".join(c for c in pseudonym if c.isalnum())
        assert given_to.setdefault(said, span.value) == span.value
        once = text_masked(text.text, pseudonym=True)
        assert value not in once
        assert text_masked(once, pseudonym=True) == once


@given(st.text("0123456789", min_size=1, max_size=4), st.binary(min_size=16, max_size=16))
@settings(max_examples=20, deadline=None)
def test_digits_go_through_a_permutation(text: str, key: bytes) -> None:
    names = Pseudonyms(key)
    length = min(len(text), 3)
    images = {names.permuted("k", f"{n:0{length}}") for n in range(10**length)}
    assert len(images) == 10**length


def test_a_text_of_five_megabytes() -> None:
    text = ("Nothing to see here, but for one. " * 150_000) + "ana@example.com"
    assert text_masked(text).endswith("<EMAIL_1>")


def test_a_replacement_that_is_itself_personal_data_does_not_go_on_for_ever() -> None:
    def stubborn(span: object, written: str) -> str:
        return "bob@example.com"

    with pytest.raises(Rejected, match="still found after 20 passes: 20 email"):
        without_personal_data("ana@example.com", ALL, stubborn, Counter())
