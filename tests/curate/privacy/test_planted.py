"""Floors for what is found of planted personal data; figures in docs/curation/privacy.md."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from synthkd.curate.privacy.find import find
from synthkd.curate.privacy.patterns import KINDS, recognisers
from tests.curate.privacy.planted import LANGUAGES, MAKERS, innocent, planted


@pytest.fixture(scope="module")
def counted() -> tuple[Counter[str], Counter[str], Counter[str]]:
    """By kind: planted, found exactly, found where there is none."""
    there: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    looked_for = recognisers(KINDS)
    for text in chain(planted(seed=11, each=15), innocent(seed=11, count=1500)):
        found = {(span.start, span.end, span.kind) for span in find(text.text, looked_for)}
        there.update(kind for _, _, kind in text.spans)
        right.update(kind for *_, kind in found & set(text.spans))
        wrong.update(kind for *_, kind in found - set(text.spans))
    return there, right, wrong


def test_twelve_kinds_and_more_in_five_languages_and_more() -> None:
    assert set(MAKERS) == set(KINDS)
    assert len(KINDS) >= 12
    assert len(LANGUAGES) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_recall(kind: str, counted: tuple[Counter[str], ...]) -> None:
    there, right, _ = counted
    assert right[kind] >= 0.97 * there[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_precision(kind: str, counted: tuple[Counter[str], ...]) -> None:
    _, right, wrong = counted
    assert right[kind] >= 0.93 * (right[kind] + wrong[kind])
