"""The index says what comparing with every text would say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from synthkd.recipes.instruct.novelty import Near, Novelty, rouge_l, words_of

WORDS = st.sampled_from(["a", "a", "a", "b", "b", "c", "d", "e", "f", "g", "h"])
TEXTS = st.lists(st.lists(WORDS, max_size=14).map(" ".join), max_size=14)


class Ours:
    """Our words for `rouge-score`."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text)


SCORER: Any = RougeScorer(["rougeL"], tokenizer=Ours())


def by_hand(known: Sequence[str], text: str) -> list[float]:
    return [float(SCORER.score(one, text)["rougeL"].fmeasure) for one in known]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(WORDS, max_size=14).map(" ".join), st.sampled_from([0.0, 0.3, 0.7, 0.9, 1]))
def test_the_nearest_is_that_of_a_comparison_with_all(
    known: list[str], text: str, threshold: float
) -> None:
    index = Novelty(threshold)
    for one in known:
        index.add(one)
    assert len(index) == len(known)
    scores = by_hand(known, text)
    best = max(scores, default=0.0)
    near, nearest = index.near(text), index.nearest(text)
    assert (nearest.score if nearest else 0.0) == pytest.approx(best, abs=1e-12)
    if nearest is not None:
        assert nearest.place == min(
            place for place, score in enumerate(scores) if score == pytest.approx(best, abs=1e-12)
        )
        assert nearest.score == pytest.approx(
            rouge_l(words_of(known[nearest.place]), words_of(text))
        )
    if abs(best - threshold) > 1e-9:
        assert (near is not None) == (best > threshold)
    assert near is None or near == nearest


@pytest.mark.parametrize("words", [10, 20, 30, 90, 100])
def test_seven_tenths_is_not_above_seven_tenths(words: int) -> None:
    """As floats 0.7 * 90 is less than 63; and 0.7 is what nobody shares more of."""
    common = words * 7 // 10
    index = Novelty(0.7)
    index.add(" ".join(f"w{n}" for n in range(words)))
    text = [f"w{n}" for n in range(common)] + [f"x{n}" for n in range(words - common)]
    assert index.near(" ".join(text)) is None
    assert index.near(" ".join([*text[:-1], f"w{words - 1}"])) == Near(0, (common + 1) / words)


def test_words_are_those_of_any_script() -> None:
    assert words_of("It's 9 Übungen_zu x²") == ["it", "s", "9", "übungen", "zu", "x²"]
    assert words_of("写一首诗 about 茶") == [*"写一首诗", "about", "茶"]
    index = Novelty(0.7)
    index.add("写一首关于茶的诗")
    assert index.near("写一首关于茶的长诗") is not None
    assert index.near("解释为什么天空是蓝色的") is None
    assert index.near("...") is None
    index.add("...")
    assert index.nearest("...") is None
    with pytest.raises(ValueError, match="from 0 to 1"):
        Novelty(1.1)
