"""Thresholds: laws of the curve, and what cannot be reached."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from synthkd.evaluate.thresholds import at_precision, at_recall, curve, cut_at

SCORED = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1)


@given(SCORED)
@settings(deadline=None)
def test_the_curve_is_every_cut_there_is(scored: list[tuple[float, bool]]) -> None:
    scores, good = [s for s, _ in scored], [g for _, g in scored]
    cuts = curve(scores, good)
    assert [cut.threshold for cut in cuts] == sorted(set(scores), reverse=True)
    assert cuts == [cut_at(cut.threshold, scores, good) for cut in cuts]
    for cut in cuts:
        kept = [score >= cut.threshold for score in scores]
        assert cut.precision == precision_score(good, kept)
        assert cut.recall == (recall_score(good, kept) if any(good) else None)


@given(SCORED, st.floats(0, 1))
@settings(deadline=None)
def test_what_is_chosen_reaches_what_is_wanted(
    scored: list[tuple[float, bool]], wanted: float
) -> None:
    scores, good = [s for s, _ in scored], [g for _, g in scored]
    cuts = curve(scores, good)
    chosen = at_precision(wanted, scores, good)
    reached = [cut for cut in cuts if (cut.precision or 0) >= wanted]
    assert (chosen is None) == (not reached)
    assert chosen is None or chosen.kept == max(cut.kept for cut in reached)
    highest = at_recall(wanted, scores, good)
    if not any(good):
        assert highest is None
    else:
        assert highest is not None
        assert (highest.recall or 0) >= wanted
        assert all((c.recall or 0) < wanted for c in cuts if c.threshold > highest.threshold)


def test_nothing_is_kept_above_all_scores() -> None:
    cut = cut_at(2.0, [0.5, 1.0], [True, False])
    assert (cut.kept, cut.precision, cut.recall) == (0, None, 0.0)
