from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.evaluate import metrics
from synthkd.evaluate.metrics import accuracy, bootstrap, interval, macro_f1, scores_of

labels = st.sampled_from(["a", "b", "c"])
answers = st.one_of(st.none(), labels, st.just("never in gold"))
pairs = st.lists(st.tuples(labels, answers), min_size=1, max_size=30)


@given(pairs)
def test_same_as_scikit_learn(rows: list[tuple[str, str | None]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    gold, given_answers = [g for g, _ in rows], [a for _, a in rows]
    stated = [a or "no answer" for a in given_answers]
    expected = f1_score(gold, stated, labels=sorted(set(gold)), average="macro", zero_division=0)
    assert accuracy(gold, given_answers) == pytest.approx(accuracy_score(gold, stated))
    assert macro_f1(gold, given_answers) == pytest.approx(expected)


def test_no_answer_is_wrong_even_where_gold_is_empty_text() -> None:
    assert accuracy(["", "x"], [None, "x"]) == 0.5


@given(pairs, st.integers(0, 100))
def test_a_draw_is_the_metric_of_the_drawn_rows(
    rows: list[tuple[str, str | None]], seed: int
) -> None:
    gold, given_answers = [g for g, _ in rows], [a for _, a in rows]
    drawn = np.random.default_rng(seed).integers(0, len(rows), len(rows))
    weights = np.bincount(drawn, minlength=len(rows))[None, :].astype(float)
    scores = scores_of(gold, given_answers, weights)
    again = [gold[i] for i in drawn], [given_answers[i] for i in drawn]
    assert scores["accuracy"][0] == pytest.approx(accuracy(*again))
    assert scores["macro_f1"][0] == pytest.approx(macro_f1(*again))


def test_draws_are_paired_and_do_not_depend_on_the_piece_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gold = ["a", "b", "c"] * 10
    contestants = {"one": ["a"] * 30, "other": ["a"] * 30}
    whole = bootstrap(gold, contestants, resamples=50, seed=3)
    monkeypatch.setattr(metrics, "CELLS", 70)
    cut = bootstrap(gold, contestants, resamples=50, seed=3)
    for metric in metrics.METRICS:
        assert np.array_equal(whole["one"][metric], whole["other"][metric])
        assert np.array_equal(whole["one"][metric], cut["one"][metric])
    other_seed = bootstrap(gold, contestants, resamples=50, seed=4)
    assert not np.array_equal(whole["one"]["accuracy"], other_seed["one"]["accuracy"])


def test_the_interval_of_an_accuracy_is_about_two_standard_errors() -> None:
    gold = ["a", "b"] * 200
    said = ["a"] * 400  # half of them right: standard error 0.025
    draws = bootstrap(gold, {"x": said}, resamples=2000, seed=0)["x"]["accuracy"]
    found = interval(0.5, draws)
    assert found.low == pytest.approx(0.451, abs=0.006)
    assert found.high == pytest.approx(0.549, abs=0.006)
