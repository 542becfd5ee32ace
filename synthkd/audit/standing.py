"""What an audit has shown so far: the precision of the dataset, good rows thrown away, agreement.

A row is good if everybody who labelled it says so; one that was edited is not. What a skipped row
is nobody knows: it is not good where the least is told, and good where the most is. So both hold
whatever it would turn out to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from typing import Literal

from synthkd.audit.labels import About, Labels, Said, Side
from synthkd.evaluate.reliability import distances, kappa
from synthkd.evaluate.sequential import Bounds, Prior, bounds_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of one side."""

    labelled: int
    good: int
    edited: int
    skipped: int
    share: Bounds
    """How many of all rows of this side are good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two reviewers on the rows that both labelled."""

    names: tuple[str, str]
    rows: int
    same: int
    kappa: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known now."""

    about: About
    kept: Part
    rejected: Part
    reviewers: Mapping[str, int]
    """Name -> rows labelled."""
    agreement: Sequence[Agreement]

    @property
    def verdict(self) -> Literal["shown", "refuted", "open"]:
        """Whether the wanted precision is shown, cannot be reached, or needs more labels."""
        if self.kept.share.low >= self.about.precision:
            return "shown"
        return "refuted" if self.kept.share.high < self.about.precision else "open"


def standing_of(
    about: About,
    kept: Sequence[str],
    rejected: Sequence[str],
    reviewers: Mapping[str, Labels],
) -> Standing:
    """What all reviewers' labels show.

    Args:
        about: what is to be shown.
        kept: ids of the kept rows in the order in which they are drawn.
        rejected: keys of the rejected ones.
        reviewers: name -> labels.
    """
    return Standing(
        about=about,
        kept=_part("kept", kept, reviewers, about.risk, Prior.above(about.precision)),
        rejected=_part("rejected", rejected, reviewers, about.risk, Prior()),
        reviewers={name: len(labels) for name, labels in reviewers.items() if labels},
        agreement=[
            found
            for pair in combinations(sorted(reviewers), 2)
            if (found := _agreement(pair, reviewers)) is not None
        ],
    )


def _part(
    side: Side,
    drawn: Sequence[str],
    reviewers: Mapping[str, Labels],
    risk: float,
    prior: Prior,
) -> Part:
    def said(key: str) -> list[Said]:
        return [labels[side, key] for labels in reviewers.values() if (side, key) in labels]

    # Only as far as there is no gap: what comes behind one was not drawn, it was picked.
    labels = list(takewhile(bool, map(said, drawn)))
    good = [all(one == "good" for one in given) for given in labels]
    # More good labels never lower a bound, so these two enclose that of any label of the skipped.
    at_most = [all(one in ("good", "skipped") for one in given) for given in labels]
    low, high = (
        bounds_after(row, n_all=len(drawn), risk=risk, prior=prior) for row in (good, at_most)
    )
    return Part(
        labelled=len(labels),
        good=sum(good),
        edited=sum("edited" in given for given in labels),
        skipped=sum("skipped" in given for given in labels),
        share=Bounds(n_all=len(drawn), least=low.least, most=high.most),
    )


def _agreement(pair: tuple[str, str], reviewers: Mapping[str, Labels]) -> Agreement | None:
    import numpy as np

    one, other = (
        {key: said for key, said in reviewers[name].items() if said != "skipped"} for name in pair
    )
    both = [key for key in one if key in other]
    if not both:
        return None
    codes = [
        np.array([labels[key] == "good" for key in both], dtype=np.int64) for labels in (one, other)
    ]
    (beyond,) = kappa(codes[0], codes[1], distances([0, 1], "nominal"), np.ones((1, len(both))))
    same = int((codes[0] == codes[1]).sum())
    return Agreement(names=pair, rows=len(both), same=same, kappa=float(beyond))


def in_words(standing: Standing) -> list[str]:
    """The standing as lines for people and for the card."""
    about, kept = standing.about, standing.kept
    sure = f"{100 * (1 - about.risk):g} %"
    found = {
        "shown": f"precision >= {about.precision:g} at {sure}",
        "refuted": f"precision < {about.precision:g} at {sure}",
        "open": f"precision >= {about.precision:g} is not shown at {sure}",
    }[standing.verdict]
    share = f"{kept.share.low:.1%} to {kept.share.high:.1%}"
    counted = f"of these {kept.good} good, {kept.edited} edited, {kept.skipped} skipped (not good)"
    lost = standing.rejected
    who = ", ".join(f"{name} {n}" for name, n in standing.reviewers.items())
    told = f"{lost.good} of {lost.labelled} rejected rows labelled; of all {lost.share.n_all}"
    lost_share = f"{lost.share.low:.1%} to {lost.share.high:.1%} at {sure}"
    return [
        f"{found}, {kept.labelled} labelled",
        f"{counted}; of all {kept.share.n_all} rows {share} are good",
        *([f"thrown away although good: {told} {lost_share}"] if lost.labelled else []),
        f"reviewers: {who or 'none'}",
        *map(_in_words, standing.agreement),
    ]


def _in_words(pair: Agreement) -> str:
    one, other = pair.names
    return f"{one} and {other} agree on {pair.same} of {pair.rows} rows, kappa {pair.kappa:.2f}"
