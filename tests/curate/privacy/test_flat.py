from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.curate.privacy.flat import flatten

UNSEEN = (
    "\u200b\u200e\u200f\u202a\u2066\u2069\ufeff\u00ad"
    "\u115f\u206a\u3164\ufe0f\uffa0\U000e0031\U000e0100"
)


def test_digits_dashes_and_spaces_of_any_script() -> None:
    assert flatten("٠١٢ ۴۵ ９８ ०१").text == "012 45 98 01"
    assert flatten("a\u2011b\u00a0c\uff20d\uff0ee").text == "a-b c@d.e"
    assert flatten("\uff1a\uff0c").text == "\uff1a\uff0c"


@pytest.mark.parametrize("unseen", UNSEEN)
def test_no_number_hides_behind_signs_that_nobody_sees(unseen: str) -> None:
    assert flatten(unseen.join("4111 1111")).text == "4111 1111"


@given(st.text(st.sampled_from("ab12é٣🙂" + UNSEEN), max_size=40), st.data())
def test_every_piece_has_its_way_back(text: str, data: st.DataObject) -> None:
    flat = flatten(text)
    if not flat.text:
        return
    start = data.draw(st.integers(0, len(flat.text) - 1))
    end = data.draw(st.integers(start + 1, len(flat.text)))
    back_start, back_end = flat.back(start, end)
    piece = text[back_start:back_end]
    assert flatten(piece).text == flat.text[start:end]
    assert piece[0] not in UNSEEN
    assert piece[-1] not in UNSEEN


@given(st.text(max_size=60))
def test_any_text_keeps_its_length_but_for_unseen_signs(text: str) -> None:
    flat = flatten(text)
    assert len(flat.text) + len(flat.gone) == len(text)
