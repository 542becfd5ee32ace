from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.privacy.find import Span, find, merged, without
from synthkd.curate.privacy.patterns import KINDS, recognisers

ALL = recognisers(KINDS)

spans = st.lists(
    st.builds(
        lambda start, length, kind, sure: Span(start, start + length, kind, sure, "v"),
        st.integers(0, 50),
        st.integers(1, 12),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=12,
)


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find(text, ALL)]


@given(spans)
def test_merged_spans_cover_the_same_and_do_not_overlap(given_spans: list[Span]) -> None:
    one = merged(given_spans)
    covered = {place for span in given_spans for place in range(span.start, span.end)}
    assert {place for span in one for place in range(span.start, span.end)} == covered
    assert all(a.end <= b.start for a, b in itertools.pairwise(one))
    for span in one:
        inside = [s for s in given_spans if span.start <= s.start and s.end <= span.end]
        longest = max(s.end - s.start for s in inside)
        assert span.kind in {s.kind for s in inside if s.end - s.start == longest}


def test_the_surer_of_two_that_are_equally_long() -> None:
    pair = [Span(0, 5, "phone", False, "1"), Span(0, 5, "card", True, "1")]
    assert [span.kind for span in merged(pair)] == ["card"]
    assert [span.kind for span in merged(pair[::-1])] == ["card"]


def test_places_that_are_masked_are_left_alone() -> None:
    two = [Span(0, 5, "a"), Span(10, 15, "a")]
    assert without(two, [(4, 6)]) == two[1:]
    assert without(two, [(5, 10)]) == two


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ana@example.com.", [("email", "ana@example.com")]),
        ("Call (415) 555-0132!", [("phone", "(415) 555-0132")]),
        ("٠٣٠ ١٢٣٤٥٦٧", [("phone", "٠٣٠ ١٢٣٤٥٦٧")]),
        ("\u202eهاتف: +49 30 1234567\u202c", [("phone", "+49 30 1234567")]),
        ("卡号４１１１１１１１１１１１１１１１。", [("card", "４１１１１１１１１１１１１１１１")]),
        ("我的电话是13800138000。", [("phone", "13800138000")]),
        ("4111 1111\u200b 1111 1111", [("card", "4111 1111\u200b 1111 1111")]),
        ("邮箱ａｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", [("email", "ａｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ")]),
        ("DE89 3704 0044 0532 0130 00 COBADEFF", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("[2001:4860:4860::8888]:443", [("ip", "2001:4860:4860::8888")]),
        ("https://u:secret9@h.org/x, then", [("url", "https://u:secret9@h.org/x")]),
        ("1234 5678 9012 3456 4111 1111 1111 1111", [("card", "4111 1111 1111 1111")]),
    ],
)
def test_exact_spans(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\ud800\udfff@\ud800", "@", "a@b", "::", "1.2.3", "version 1.2.3.4", "127.0.0.1",
        "<EMAIL_1> and <PHONE_12>", "2024-01-15 12:30:45", "icon@2x.png", "git@host.org:me/x",
        "a[1::2]", "password is required", "3.14159265358979323846", "ISSN 0269-9370",
    ],
)  # fmt: skip
def test_what_is_nobodys(text: str) -> None:
    assert found(text) == []


@given(st.text(st.characters(), max_size=80))
def test_spans_of_any_text_lie_in_it(text: str) -> None:
    place = 0
    for span in find(text, ALL):
        assert place <= span.start < span.end <= len(text)
        place = span.end


PIECES = {
    "signs": "a", "ats": "@", "a local part": "a.b-", "domains": "a@b.", "digits": "1", "spaced": "1 ",
    "dashes": "1-", "dots": "1.", "colons": "1:", "hex": "a:1", "slashes": "/", "urls": "a://",
    "queries": "https://a.b/?k=", "keys": "key=", "begin": "-----BEGIN PRIVATE KEY-----", "jwt": "eyJa.",
    "sk": "sk-", "ibans": "DE89", "iban words": "DE89 ab ", "plus": "+1", "zeros": "00", "brackets": "(0",
    "tel": "tel ", "names": "RSSMRA85T10A562", "arabic": "٠", "unseen": "1\u200b", "surrogates": "\ud8001",
    "token": "token:", "trunk": "01 23 ", "nir": "1 23 45 67 ", "bearer": "Bearer ", "angle": "<A_",
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_long_texts_of_anything_end(name: str) -> None:
    """Linear time is measured in tests/bench/bench_privacy.py, on 5 MB of each."""
    piece = PIECES[name]
    text = piece * (200_000 // len(piece))
    assert all(0 <= span.start < span.end <= len(text) for span in find(text, ALL))


@pytest.mark.parametrize("masked", ["000-123-45-6789", "000-123456789", "+0-49 30 1234567"])
@pytest.mark.parametrize("card", ["4111111111111111", "4111 1111 1111 1111"])
def test_a_card_behind_a_pseudonym_is_no_part_of_it(masked: str, card: str) -> None:
    text = f"{masked} {card}"
    (span,) = find(text, recognisers(KINDS))
    assert (span.kind, text[span.start : span.end]) == ("card", card)
    assert find(masked, recognisers(KINDS)) == []
