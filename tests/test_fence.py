from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.fence import fenced


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_can_close_its_fence_even_one_that_knows_the_fences_of_others(
    text: str, other: str
) -> None:
    knowing = f"{text}\n{fenced(other, 'answer')}\n{fenced(text, 'answer')}"
    for inside in (text, knowing):
        shown = fenced(inside, "answer")
        first, last = shown.split("\n", 1)[0], shown.rsplit("\n", 1)[1]
        assert shown == f"{first}\n{inside}\n{last}"
        assert last == first.replace("<", "</")
        assert re.fullmatch(r"<answer-([a-p]{8})>", first)
        assert last not in inside
        assert first[1:-1] not in inside


def test_a_text_has_the_same_fence_each_time_and_another_one_another() -> None:
    assert fenced("a", "x") == fenced("a", "x")
    assert fenced("a", "x").replace("\na\n", "\nb\n") != fenced("b", "x")
