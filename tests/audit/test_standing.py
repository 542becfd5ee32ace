"""What labels show, and how often it is wrong: laws of the audit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.audit.labels import About, Labels, Said
from synthkd.audit.standing import Standing, standing_of

ABOUT = About(precision=0.9, risk=0.1, seed=0, rows_sha256="", kept=40, rejected=0)
KEYS = [str(n) for n in range(ABOUT.kept)]


def standing(*said: Said) -> Standing:
    """After these labels of the kept rows, in the order in which they are drawn."""
    labels: Labels = {("kept", key): label for key, label in zip(KEYS, said, strict=False)}
    return standing_of(ABOUT, KEYS, [], {"ann": labels})


def ends(n_good: int) -> dict[str, float]:
    """How likely an audit of 40 rows ends in which way; exact, over all orders of drawing."""
    ended = {"shown": 0.0, "refuted": 0.0}
    # Audits that are open differ in nothing but how many were good: one way there stands for all.
    still_open: dict[int, tuple[float, tuple[Said, ...]]] = {0: (1.0, ())}
    for seen in range(len(KEYS)):
        after: dict[int, tuple[float, tuple[Said, ...]]] = {}
        for good, (likely, said) in still_open.items():
            share = (n_good - good) / (len(KEYS) - seen)
            nexts: list[tuple[Said, float]] = [("good", share), ("bad", 1 - share)]
            for label, chance in nexts:
                if not chance:
                    continue
                way = (*said, label)
                verdict = standing(*way).verdict
                if verdict != "open":
                    ended[verdict] += likely * chance
                else:
                    now = good + (label == "good")
                    after[now] = (after.get(now, (0.0,))[0] + likely * chance, way)
        still_open = after
    return ended


def test_what_an_audit_says_is_wrong_no_more_often_than_its_risk() -> None:
    too_few, enough = ends(35), ends(36)  # 36 of 40 are 0.9
    assert 0 < too_few["shown"] <= ABOUT.risk
    assert enough["refuted"] <= ABOUT.risk
    # Who looks to the end knows: all rows are labelled then.
    assert sum(too_few.values()) == pytest.approx(1)
    assert sum(enough.values()) == pytest.approx(1)


@given(
    said=st.lists(st.sampled_from(["good", "good", "bad", "skipped"]), max_size=len(KEYS)),
    truly=st.lists(st.sampled_from(["good", "bad"]), min_size=len(KEYS), max_size=len(KEYS)),
)
@settings(deadline=None)
def test_whatever_the_skipped_rows_are_the_bounds_enclose_what_would_be_said(
    said: list[Said], truly: list[Said]
) -> None:
    told = standing(*said)
    known = standing(
        *(true if one == "skipped" else one for one, true in zip(said, truly, strict=False))
    )
    assert told.kept.share.least <= known.kept.share.least
    assert known.kept.share.most <= told.kept.share.most
    assert told.verdict in ("open", known.verdict)
    assert told.kept.labelled + told.kept.skipped == len(said)


def test_rows_behind_a_gap_do_not_count() -> None:
    picked: Labels = {("kept", key): "good" for key in KEYS if key != "1"}
    assert standing_of(ABOUT, KEYS, [], {"ann": picked}).kept.labelled == 1


def test_one_who_finds_fault_is_enough_and_one_who_skips_leaves_it_open() -> None:
    said: dict[str, list[Said]] = {
        "ann": ["good", "good", "good", "skipped", "good"],
        "bob": ["good", "bad", "edited", "bad", "skipped"],
    }
    everybody: dict[str, Labels] = {
        name: {("kept", key): one for key, one in zip(KEYS, labels, strict=False)}
        for name, labels in said.items()
    }
    part = standing_of(ABOUT, KEYS, [], everybody).kept
    assert (part.labelled, part.good, part.edited, part.skipped) == (4, 1, 1, 1)


def test_one_label_shows_no_precision_near_one() -> None:
    for precision in (1 - 1e-9, 1 - 1e-15):
        about = ABOUT.model_copy(update={"precision": precision})
        labels: Labels = {("kept", "0"): "good"}
        assert standing_of(about, [*"0123456789"], [], {"ann": labels}).verdict == "open"
