from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.hints import near


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("gate.gld", ["gate.gold", "label", "generate"], "; did you mean gate.gold?"),
        ("text", ["texts", "tex"], "; did you mean texts or tex?"),
        ("text", ["question", "gold"], ""),
        ("text", [], ""),
    ],
)
def test_it_names_the_near_ones_or_nothing(name: str, known: list[str], hint: str) -> None:
    assert near(name, known) == hint


@given(st.text(), st.lists(st.text(max_size=5)))
def test_the_order_of_what_is_known_does_not_matter(name: str, known: list[str]) -> None:
    assert near(name, known) == near(name, [*reversed(known), *known])
