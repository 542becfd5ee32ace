"""The figures of a judge beside people: which there are, what each is of, how sure each is.

A verdict that cannot be read is wrong in the figures of `FLOORS`. In others it is missing: alpha
has no place for it, and it prefers neither answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from synthkd.evaluate.intervals import figure_of, share_of
from synthkd.evaluate.judged import Item, Pair, truth_of
from synthkd.evaluate.reliability import Scale, alpha, distances, kappa, ratio
from synthkd.manifest import Interval
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

FIGURES = {
    "accuracy": "verdicts that are what most people say; ties are labels like others",
    "accuracy_without_ties": "the same where neither the judge nor people call it a tie",
    "precision": "rows from the threshold on that people call good, where it was not chosen",
    "kappa": "Cohen's, against what most people say",
    "weighted_kappa": "the same, near misses punished less: squared distances",
    "alpha": "Krippendorff's, the judge as one rater among people",
    "people_alpha": "Krippendorff's, of people alone",
    "people_agreement": "pairs of people that give one label: what a judge could reach",
    "swap_consistency": "verdicts that stay when the answers change places",
    "prefers_longer": "decided verdicts for the longer of two answers",
    "people_prefer_longer": "the same of people, on the same items",
    "accuracy_shorter_better": "verdicts that are right where people prefer the shorter answer",
    "accuracy_longer_better": "verdicts that are right where people prefer the longer answer",
}
"""Name -> meaning, in the order in which they are shown."""
FLOORS = ("accuracy", "precision", "kappa", "weighted_kappa")
"""Those that no judge can raise by saying nothing, or a tie, so that a floor on them holds."""


class Figure(Interval):
    """A figure with its 95 % interval (`synthkd.evaluate.intervals`)."""

    n: int
    """Items that it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The items as numbers."""

    names: Sequence[str]
    values: Sequence[float]
    """Of the labels, ascending."""
    truth: Codes
    verdict: Codes
    people: Codes
    """(all items, annotators): with those that have no truth."""
    everybody: Codes
    """The same with the judge as one more."""
    swapped: Codes | None
    consistent: Floats
    """(known items,) the share of pairs that agreed both ways round; NaN = not known."""
    tie: int
    longer: Codes | None
    """The label that names the longer answer; -1 = equally long or no lengths."""

    @classmethod
    def of(
        cls, known: Sequence[Item], items: Sequence[Item], scale: Scale, pair: Pair | None
    ) -> Table:
        """Labels become places among all labels that anybody gives.

        Args:
            known: the items with a truth.
            items: all.
            scale: of the labels.
            pair: what the verdicts call two answers; None = there are no two.
        """
        import numpy as np

        said = [label for item in items for label in item.labels.values()]
        said += [one for item in items for one in (item.verdict, item.swapped) if one is not None]
        said += [] if pair is None else [pair.first, pair.second]
        names = sorted(set(map(equivalent, said)), key=None if scale == "nominal" else float)
        places = {name: place for place, name in enumerate(names)}

        def coded(labels: Sequence[str | None]) -> Codes:
            codes = [-1 if label is None else places[equivalent(label)] for label in labels]
            return np.array(codes, dtype=np.int64)

        who = sorted({name for item in items for name in item.labels})
        people = [coded([item.labels.get(name) for item in items]) for name in who]
        tie = None if pair is None or pair.tie is None else places.get(equivalent(pair.tie))
        return cls(
            names=names,
            values=list(range(len(names))) if scale == "nominal" else [float(n) for n in names],
            truth=coded([truth_of(item, scale) for item in known]),
            verdict=coded([item.verdict for item in known]),
            people=np.stack(people, axis=1),
            everybody=np.stack([*people, coded([item.verdict for item in items])], axis=1),
            swapped=coded([item.swapped for item in known])
            if any(item.swapped is not None for item in known)
            else None,
            consistent=np.array(
                [math.nan if i.consistent is None else i.consistent for i in known], dtype=float
            ),
            tie=-2 if tie is None else tie,  # no code is -2
            longer=None if pair is None else coded([_longer(item, pair) for item in known]),
        )


def _longer(item: Item, pair: Pair) -> str | None:
    if item.chars is None or item.chars[0] == item.chars[1]:
        return None
    return pair.first if item.chars[0] > item.chars[1] else pair.second


def counted(names: Sequence[str], codes: Codes) -> dict[str, int]:
    """Label -> items that have it, of those that have one."""
    return {name: n for place, name in enumerate(names) if (n := int((codes == place).sum()))}


def figures_of(table: Table, scale: Scale, resamples: int, seed: int) -> dict[str, Figure | None]:
    """Every figure by name; None = there is nothing to tell it from. `precision` is not among them.

    Args:
        table: the items, at least one of them known.
        scale: of the labels.
        resamples: draws behind each end of an interval that is not exact.
        seed: of the draws.
    """
    figures: dict[str, Figure | None] = dict.fromkeys(FIGURES)
    draw = partial(figure_of, resamples=resamples, seed=seed)
    for name, (part, whole) in _shares(table).items():
        if whole.any():
            figures[name] = _share(part, whole, draw)
    if not len(table.truth):
        return figures
    verdict, truth = _with_worst_and_best(table)
    apart = {"kappa": distances(table.values, "nominal")}
    if scale != "nominal":
        apart["weighted_kappa"] = distances(table.values, scale)
    for name, cost in apart.items():
        n = len(table.truth)
        figures[name] = _as_figure(draw(partial(kappa, verdict, truth, cost), n), n)
    for name, codes in (("alpha", table.everybody), ("people_alpha", table.people)):
        if paired := int(((codes >= 0).sum(axis=1) > 1).sum()):
            of = partial(alpha, _with_discord_and_accord(codes, table, scale), table.values, scale)
            figures[name] = _as_figure(draw(of, len(codes)), paired)
    return figures


def _as_figure(interval: Interval, n: int) -> Figure:
    return Figure(value=interval.value, low=interval.low, high=interval.high, n=n)


def _share(part: Floats, whole: Floats, draw: Callable[..., Interval]) -> Figure:
    """How much of what there is is a hit: exactly where an item is one or none."""
    import numpy as np

    n = int((whole > 0).sum())
    if np.isin(part, (0, 1)).all() and np.isin(whole, (0, 1)).all():
        return _as_figure(share_of(int(part.sum()), n), n)
    most = whole.max()
    made_up = np.append(part, [0.0, most]), np.append(whole, [most, most])
    return _as_figure(draw(partial(ratio, *made_up), len(part)), n)


def _with_worst_and_best(table: Table) -> tuple[Codes, Codes]:
    """Verdicts and truth with two items made up: no verdict on a common one, the rarest one hit."""
    import numpy as np

    labels, times = np.unique(table.truth, return_counts=True)
    common, rare = labels[times.argmax()], labels[times.argmin()]
    return np.append(table.verdict, [-1, rare]), np.append(table.truth, [common, rare])


def _with_discord_and_accord(codes: Codes, table: Table, scale: Scale) -> Codes:
    """Labels of all raters with two items made up: as far apart as may be, and the rarest one."""
    import numpy as np

    labels, times = np.unique(codes[codes >= 0], return_counts=True)
    common, rare = labels[times.argmax()], labels[times.argmin()]
    ends = (common, rare) if scale == "nominal" else (0, len(table.values) - 1)
    n_raters = codes.shape[1]
    made_up = np.array([[ends[place % 2] for place in range(n_raters)], [rare] * n_raters])
    return np.concatenate([codes, made_up])


def _shares(table: Table) -> dict[str, tuple[Floats, Floats]]:
    """The figures that are shares: of each item, how much is a hit and how much there is."""
    import numpy as np

    truth, verdict = table.truth, table.verdict
    right = verdict == truth
    everywhere = np.ones(len(truth), dtype=bool)
    shares = {"accuracy": (right, everywhere)}
    if table.tie >= 0:
        shares["accuracy_without_ties"] = (right, (truth != table.tie) & (verdict != table.tie))
    if table.swapped is not None:
        shares["swap_consistency"] = ((verdict == table.swapped) & (verdict >= 0), everywhere)
    if table.longer is not None:
        unequal = (table.longer >= 0) & (truth != table.tie)
        decided = unequal & (verdict >= 0) & (verdict != table.tie)
        shares["prefers_longer"] = (verdict == table.longer, decided)
        shares["people_prefer_longer"] = (truth == table.longer, decided)
        shares["accuracy_shorter_better"] = (right, unequal & (truth != table.longer))
        shares["accuracy_longer_better"] = (right, unequal & (truth == table.longer))
    found = {
        name: ((hits & among).astype(float), among.astype(float))
        for name, (hits, among) in shares.items()
    }
    told = ~np.isnan(table.consistent)
    if table.swapped is None and told.any():
        found["swap_consistency"] = (np.nan_to_num(table.consistent), told.astype(float))
    return {**found, "people_agreement": _pairs_that_agree(table.people)}


def _pairs_that_agree(people: Codes) -> tuple[Floats, Floats]:
    """(items,) pairs of people that give one label, and pairs that there are."""
    import numpy as np

    same, there = np.zeros(len(people)), np.zeros(len(people))
    for one in range(people.shape[1]):
        for other in range(one + 1, people.shape[1]):
            both = (people[:, one] >= 0) & (people[:, other] >= 0)
            there += both
            same += both & (people[:, one] == people[:, other])
    return same, there
