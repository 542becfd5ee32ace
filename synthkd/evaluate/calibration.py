"""A judge against people: how often it is right, beyond chance, in both orders, for the longer one.

    calibration = calibrate(items, pair=Pair(first="1", second="2"), wanted=Wanted(precision=0.9))
    calibration.figures["accuracy"].value

A judge that gives scores alone has verdicts from a threshold on: the figures are then of the items
on which the threshold was not chosen.

An item that the judge has no readable verdict for counts as wrong. The truth of an item is what
most people say; items on which no label has most voices are left out and counted. On an ordinal or
interval scale it is the middle label, of an even number the lower middle one.

Calibration practice: MT-bench counts ties in one setup and leaves them out in the other (Zheng et
al., 2306.05685, section 4.2); the preference for the longer answer is AlpacaEval's `bias` figure.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from synthkd.errors import UserError
from synthkd.evaluate.metrics import drawn_weights
from synthkd.evaluate.reliability import Scale, alpha, distances, kappa, ratio
from synthkd.evaluate.thresholds import Cut, at_precision, cut_at
from synthkd.manifest import Interval, Record
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

GOOD, NOT_GOOD = "good", "not good"
"""What a score says from its threshold on, and below it."""
FEW = 100
"""Items: with fewer, an interval on a share of a half is wider than 0.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was judged."""

    id: str
    verdict: str | None
    """None = none that could be read."""
    swapped: str | None = None
    """The verdict with the two answers in the other order, in terms of the first order."""
    consistent: float | None = None
    """In place of `swapped`: the share of pairs of questions that agreed both ways round."""
    score: float | None = None
    """How sure the judge is, or how good it holds the answer to be: higher is more."""
    chars: tuple[int, int] | None = None
    """Lengths of the first and the second answer."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Annotator -> label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a verdict calls the two answers that it chose from."""

    first: str
    second: str
    tie: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A threshold on `Item.score` that is to be found."""

    precision: float
    good: tuple[str, ...] = ()
    """Labels of people that make an item good; none = it is good where the verdict is right."""
    validation: float = 0.5
    """Share of the items on which the threshold is chosen; the others test it."""


class Figure(Interval):
    """A figure with its 95 % interval, by bootstrap over items."""

    n: int
    """Items that it is of."""


class At(Record):
    """What a threshold does to one part of the items."""

    n: int
    kept: int
    precision: float | None
    """None = none is kept."""
    recall: float | None
    """None = none is good."""


class Threshold(Record):
    """A threshold for a wanted precision: chosen on validation, shown on test."""

    wanted: float
    """The precision."""
    threshold: float | None
    """Scores of at least this are believed; None = no threshold reaches what is wanted."""
    validation: At
    test: At | None
    without_score: int
    """Items that have no score: never believed."""


class JudgeRecord(Record):
    """Which judge it is: another teacher, prompt or rubric is another judge."""

    step: str
    sha256: str
    """Over all that decides what it says."""
    about: Mapping[str, object]
    """The same for people: who is asked, with which prompts and settings."""


class Calibration(Record):
    """calibration.json: how far a judge is to be believed, and on what evidence."""

    judge: JudgeRecord | None
    """None = the verdicts came in a file, which does not say whose they are."""
    simulated: bool
    """Whether a simulated teacher judged: the figures then prove code, not judgement."""
    scale: Scale
    n: int
    """Items with a verdict or without, and with a truth."""
    unreadable: int
    """... of which have no verdict that could be read."""
    no_majority: int
    """Items left out because people disagree without a majority."""
    unlabelled: int
    """Verdicts on which nobody gave a label: left out."""
    unknown: int
    """Labels of ids without a verdict: left out."""
    annotators: Mapping[str, int]
    """Annotator -> labels given."""
    labels: Mapping[str, int]
    """What people say: label -> items."""
    verdicts: Mapping[str, int]
    """What the judge says: label -> items."""
    figures: Mapping[str, Figure | None]
    """None = there is nothing to tell it from."""
    threshold: Threshold | None
    notes: list[str]
    """What a reader must know before believing a figure."""


FIGURES = {
    "accuracy": "verdicts that are what most people say; ties are labels like others",
    "accuracy_without_ties": "the same where neither the judge nor people call it a tie",
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


def calibrate(
    items: Sequence[Item],
    *,
    scale: Scale = "nominal",
    pair: Pair | None = None,
    wanted: Wanted | None = None,
    judge: JudgeRecord | None = None,
    simulated: bool = False,
    unlabelled: int = 0,
    unknown: int = 0,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """All figures of a judge, with intervals.

    Args:
        items: those that people labelled, at least one.
        scale: of the labels; on all but a nominal one labels are numbers.
        pair: what the verdicts call two answers; None = there are no two.
        wanted: a threshold to be found.
        judge: whose verdicts these are.
        simulated: whether a simulated teacher gave them.
        unlabelled: as in `Calibration`.
        unknown: as in `Calibration`.
        resamples: draws behind each interval.
        seed: of the draws, and of the split for the threshold.

    Raises:
        UserError: there is no item, or none is left beside those that chose the threshold.
    """
    threshold = None if wanted is None else _threshold(items, wanted, scale, seed)
    if wanted is not None and threshold is not None and _only_scores(items):
        items = _decided(items, wanted, threshold, seed)
        scale = "nominal"
    if not items:
        raise UserError("people labelled nothing that a judge could be compared with: label more")
    known = [item for item in items if _truth(item, scale) is not None]
    table = _Table.of(known, items, scale, pair)
    return Calibration(
        judge=judge,
        simulated=simulated,
        scale=scale,
        n=len(known),
        unreadable=sum(item.verdict is None for item in known),
        no_majority=len(items) - len(known),
        unlabelled=unlabelled,
        unknown=unknown,
        annotators=dict(sorted(Counter(who for item in items for who in item.labels).items())),
        labels=_counted(table.names, table.truth),
        verdicts=_counted(table.names, table.verdict),
        figures=_figures(table, scale, resamples, seed),
        threshold=threshold,
        notes=_notes(table, known, simulated),
    )


def _truth(item: Item, scale: Scale) -> str | None:
    """What most people say; None = no label has most voices."""
    labels = [equivalent(label) for label in item.labels.values()]
    if scale != "nominal":
        ordered = sorted(labels, key=float)
        return ordered[(len(ordered) - 1) // 2] if ordered else None
    counted = Counter(labels).most_common(2)
    if not counted or (len(counted) == 2 and counted[0][1] == counted[1][1]):
        return None
    return counted[0][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
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
    ) -> _Table:
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
            truth=coded([_truth(item, scale) for item in known]),
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


def _counted(names: Sequence[str], codes: Codes) -> dict[str, int]:
    return {name: n for place, name in enumerate(names) if (n := int((codes == place).sum()))}


def _figures(table: _Table, scale: Scale, resamples: int, seed: int) -> dict[str, Figure | None]:
    """Every figure by name; the bootstrap draws the same items for all of them."""
    figures: dict[str, Figure | None] = dict.fromkeys(FIGURES)
    n = len(table.truth)
    draw = partial(_figure, resamples=resamples, seed=seed)
    for name, (part, whole) in _shares(table).items():
        if whole.any():
            figures[name] = draw(partial(ratio, part, whole), len(part), int((whole > 0).sum()))
    apart = {"kappa": distances(table.values, "nominal")}
    if scale != "nominal":
        apart["weighted_kappa"] = distances(table.values, scale)
    for name, cost in apart.items():
        if n:
            figures[name] = draw(partial(kappa, table.verdict, table.truth, cost), n, n)
    for name, codes in (("alpha", table.everybody), ("people_alpha", table.people)):
        if paired := int(((codes >= 0).sum(axis=1) > 1).sum()):
            figures[name] = draw(partial(alpha, codes, table.values, scale), len(codes), paired)
    return figures


def _shares(table: _Table) -> dict[str, tuple[Floats, Floats]]:
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


def _figure(
    of: Callable[[Floats], Floats], n_items: int, n: int, resamples: int, seed: int
) -> Figure:
    import numpy as np

    (value,) = of(np.ones((1, n_items)))
    drawn = np.concatenate([of(weights) for weights in drawn_weights(n_items, resamples, seed)])
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (value, value)
    return Figure(value=float(value), low=float(low), high=float(high), n=n)


def _threshold(items: Sequence[Item], wanted: Wanted, scale: Scale, seed: int) -> Threshold:
    good_labels = set(map(equivalent, wanted.good))
    sides: tuple[list[tuple[float, bool]], list[tuple[float, bool]]] = ([], [])
    for item in items:
        truth = _truth(item, scale)
        if item.score is None or truth is None:
            continue
        right = item.verdict is not None and equivalent(item.verdict) == truth
        good = truth in good_labels if good_labels else right
        sides[_part(item.id, seed) >= wanted.validation].append((item.score, good))
    validation, test = ([[*side] for side in zip(*part, strict=True)] or [[], []] for part in sides)
    chosen = at_precision(wanted.precision, *validation)
    none = Cut(threshold=0.0, kept=0, n=len(validation[0]), precision=None, recall=None)
    return Threshold(
        wanted=wanted.precision,
        threshold=None if chosen is None else chosen.threshold,
        validation=_at(chosen or none),
        test=None if chosen is None else _at(cut_at(chosen.threshold, *test)),
        without_score=sum(item.score is None for item in items),
    )


def _only_scores(items: Sequence[Item]) -> bool:
    return all(item.verdict is None for item in items) and any(
        item.score is not None for item in items
    )


def _decided(items: Sequence[Item], wanted: Wanted, threshold: Threshold, seed: int) -> list[Item]:
    """Scores as verdicts: good from the threshold on. Only the items that did not choose it."""
    good = set(map(equivalent, wanted.good))
    cut = math.inf if threshold.threshold is None else threshold.threshold
    return [
        replace(
            item,
            verdict=None if item.score is None else GOOD if item.score >= cut else NOT_GOOD,
            labels={
                who: GOOD if equivalent(label) in good else NOT_GOOD
                for who, label in item.labels.items()
            },
        )
        for item in items
        if _part(item.id, seed) >= wanted.validation
    ]


def _part(item_id: str, seed: int) -> float:
    """Where in [0, 1) an item falls: a function of its id, so that it stays on its side."""
    hashed = hashlib.sha256(f"{seed}:{item_id}".encode()).digest()
    return int.from_bytes(hashed[:8]) / 2**64


def _at(cut: Cut) -> At:
    return At(n=cut.n, kept=cut.kept, precision=cut.precision, recall=cut.recall)


def _notes(table: _Table, known: Sequence[Item], simulated: bool) -> list[str]:
    notes = []
    if simulated:
        notes.append("a SIMULATED teacher judged: the figures prove code, not judgement")
    if not known:
        notes.append("people have no majority on any item: nothing can be said of the judge")
        return notes
    if len(known) < FEW:
        notes.append(f"only {len(known)} items: the intervals say how little that tells")
    if len(_counted(table.names, table.truth)) == 1:
        notes.append("people gave one label only: accuracy says nothing, kappa is 0")
    said = _counted(table.names, table.verdict)
    if len(said) == 1:
        notes.append(f"the judge always says {next(iter(said))!r}: kappa is 0")
    if table.tie >= 0 and set(said) == {table.names[table.tie]}:
        notes.append("the judge calls everything a tie: it decides nothing")
    return notes
