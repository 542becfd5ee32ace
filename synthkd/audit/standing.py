"""What an audit has shown so far: the precision of the dataset, good rows thrown away, agreement.

A row is good if everybody who saw it says so; one that was edited is not. What a skipped row is
nobody knows: it is not good where the least is told, and good where the most is. So both hold
whatever it would turn out to be.
"""

from __future__ import annotations

from collections import Counter
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
    """Rows of which it is known whether they are good."""
    good: int
    edited: int
    skipped: int
    """Rows that were seen too, and of which it is not known."""
    share: Bounds
    """How many of all rows of this side are good."""

    def counted(self, rows: str = "") -> str:
        """How many were labelled, and how many skipped if any were: `38 labelled, 2 skipped`."""
        return f"{self.labelled}{rows} labelled" + f", {self.skipped} skipped" * bool(self.skipped)


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
    """Name -> rows labelled, without those skipped."""
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
        reviewers={
            name: sum(said != "skipped" for said in labels.values())
            for name, labels in reviewers.items()
            if labels
        },
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
    labels = [_together(given) for given in takewhile(bool, map(said, drawn))]
    # More good labels never lower a bound, so these two enclose that of any label of the skipped.
    low, high = (
        bounds_after([label in good for label in labels], n_all=len(drawn), risk=risk, prior=prior)
        for good in ({"good"}, {"good", "skipped"})
    )
    times = Counter(labels)
    return Part(
        labelled=len(labels) - times["skipped"],
        good=times["good"],
        edited=times["edited"],
        skipped=times["skipped"],
        share=Bounds(n_all=len(drawn), least=low.least, most=high.most),
    )


def _together(given: Sequence[Said]) -> Said:
    """What those who saw a row say of it: one who finds fault with it is enough."""
    for said in ("edited", "bad", "skipped"):
        if said in given:
            return said
    return "good"


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
    share = f"of all {kept.share.n_all} rows {kept.share.low:.1%} to {kept.share.high:.1%} are good"
    lost = standing.rejected
    who = ", ".join(f"{name} {n}" for name, n in standing.reviewers.items())
    told = f"{lost.good} of {lost.counted(' rejected rows')}; of all {lost.share.n_all}"
    lost_share = f"{lost.share.low:.1%} to {lost.share.high:.1%} at {sure}"
    return [
        f"{found}, {kept.counted()}",
        f"of those labelled {kept.good} good, {kept.edited} edited; {share}",
        *([f"thrown away although good: {told} {lost_share}"] if lost.labelled else []),
        f"reviewers: {who or 'none'}",
        *map(_in_words, standing.agreement),
    ]


def _in_words(pair: Agreement) -> str:
    one, other = pair.names
    return f"{one} and {other} agree on {pair.same} of {pair.rows} rows, kappa {pair.kappa:.2f}"
