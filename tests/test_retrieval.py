from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.graphs.retrieval import Propositions
from synthkd.graphs.triple import Triple
from synthkd.graphs.whole import WholeGraph

STATED = [
    ("Ada wrote Notes.", Triple("Ada", "wrote", "Notes")),
    ("Ada was born in London.", Triple("Ada", "born in", "London")),
    ("Carl was born in London.", Triple("Carl", "born in", "London")),
    ("Eva was born in Erfurt.", Triple("Eva", "born in", "Erfurt")),
    ("Carl wrote More Notes.", Triple("Carl", "wrote", "More Notes")),
    (None, Triple("Eva", "wrote", "Poems")),
    ("\u4e1c\u4eac is large.", Triple("\u4e1c\u4eac", "is", "large")),
]


@pytest.fixture
def asked() -> Propositions:
    whole = WholeGraph()
    for number, (proposition, triple) in enumerate(STATED):
        whole.add(str(number), [(triple, proposition)], types={}, words=4)
    return Propositions(whole)


def test_a_hop_leads_to_what_the_question_does_not_name(asked: Propositions) -> None:
    cosines = np.array([0.5, 0.1, 0.1, 0.2, 0.3, 0.0])
    hits = asked.best("Where was the author of Notes born?", cosines, keep=4)
    assert [(hit.document, hit.hops) for hit in hits] == [
        ("0", 1),  # names Notes
        ("1", 2),  # shares Ada with it
        ("4", None),  # "More Notes" is not named; then by cosine
        ("3", None),
    ]
    assert [hit.document for hit in asked.best("of Notes", cosines, keep=2, hops=0)] == ["0", "4"]
    near = asked.best("of Notes", cosines, keep=2, put_forward=2, among="put_forward")
    assert [(hit.document, hit.hops) for hit in near] == [("0", 1), ("4", None)]


@pytest.mark.parametrize(
    ("question", "documents"),
    [
        ("Who wrote MORE notes?", {"4"}),
        ("\u4e1c\u4eac\u5728\u54ea\u91cc\uff1f", {"6"}),
        ("Who is Eva?", {"3"}),  # what she wrote has no proposition
        ("", set()),
        ("Evangeline", set()),
    ],
)
def test_what_a_question_names(asked: Propositions, question: str, documents: set[str]) -> None:
    hits = asked.best(question, np.zeros(len(asked)), keep=10, hops=1)
    assert {hit.document for hit in hits if hit.hops == 1} == documents
    assert len(hits) == len(asked) == 6


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6),
    st.integers(1, 8),
    st.integers(0, 4),
)
def test_each_once_and_the_best_of_equals_first(cosines: list[float], keep: int, hops: int) -> None:
    whole = WholeGraph()
    for number, (proposition, triple) in enumerate(STATED):
        whole.add(str(number), [(triple, proposition)], types={}, words=4)
    hits = Propositions(whole).best("Ada?", np.array(cosines), keep=keep, hops=hops)
    assert len({hit.document for hit in hits}) == len(hits) == min(keep, 6)
    order = [(hit.hops or 9, -hit.cosine) for hit in hits]
    assert order == sorted(order)
