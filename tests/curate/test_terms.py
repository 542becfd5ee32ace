"""The nearest item by words: what it says is what all products in full would say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from synthkd.curate.shingles import words_of
from synthkd.curate.terms import TermIndex
from synthkd.curate.tfidf import sample_of

words = st.sampled_from(["a", "b", "c", "duck", "eggs", "\ud800", "鴨", "Ω"])
texts = st.lists(st.lists(words, max_size=8).map(" ".join), max_size=12)


@given(items=texts.filter(len), sample=texts, rows=texts, at_least=st.floats(0.05, 1))
def test_no_pair_is_missed(
    items: list[str], sample: list[str], rows: list[str], at_least: float
) -> None:
    place, cosine = TermIndex(items, sample).nearest(rows, at_least)
    if any(words_of(text) for text in [*items, *sample]):
        fit = TfidfVectorizer(analyzer=words_of, sublinear_tf=True).fit([*items, *sample, *rows])
        # scikit-learn's idf of the same texts; a word of the rows alone stands in none of them
        n = len(items) + len(sample)
        seen = [set(words_of(text)) for text in [*items, *sample]]
        said = fit.get_feature_names_out()
        fit.idf_ = np.array(
            [np.log((1 + n) / (1 + sum(word in one for one in seen))) + 1 for word in said]
        )
        full = (
            (fit.transform(rows) @ fit.transform(items).T).toarray() if rows else np.zeros((0, 1))
        )
    else:
        full = np.zeros((len(rows), len(items)))
    for row, cosines in enumerate(full):
        best = cosines.max()
        if best >= at_least + 1e-4:
            assert abs(cosine[row] - best) < 1e-4
            assert abs(cosines[place[row]] - best) < 1e-4
        elif best < at_least - 1e-4:
            assert cosine[row] == -1
            assert place[row] == 0


def test_the_first_of_equal_items_is_named() -> None:
    items = ["one two three", "four five six", "Four, five: six!"]
    place, cosine = TermIndex(items, []).nearest(["six five four", "seven", ""], 0.9)
    assert place.tolist() == [1, 0, 0]
    assert np.round(cosine, 4).tolist() == [1, -1, -1]


def test_a_word_that_no_item_has_makes_a_row_less_alike() -> None:
    index = TermIndex(["ducks lay eggs"], [])
    _, cosine = index.nearest(["ducks lay eggs", "ducks lay eggs yesterday"], 0.1)
    assert cosine[0] > cosine[1]


@given(said=texts, seed=st.integers(0, 5))
def test_a_sample_is_one_of_the_set_of_texts(said: list[str], seed: int) -> None:
    sample = sample_of(said, 3, seed)
    assert sample == sample_of([*reversed(said), *said], 3, seed)
    assert len(sample) == min(3, len({text for text in said if text.strip()}))
    assert set(sample) <= set(said)
