"""A judge against people: how often it is right, beyond chance, in both orders, for the longer one.

    calibration = calibrate(items, pair=Pair(first="1", second="2"), wanted=Wanted(precision=0.9))
    calibration.figures["accuracy"].value

A judge that gives scores alone has verdicts from a threshold on: the figures are then of the items
on which the threshold was not chosen.

An item that the judge has no readable verdict for counts as wrong. The truth of an item is what
most people say; items on which no label has most voices are left out and counted.

Calibration practice: MT-bench counts ties in one setup and leaves them out in the other (Zheng et
al., 2306.05685, section 4.2); the preference for the longer answer is AlpacaEval's `bias` figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthkd.errors import UserError
from synthkd.evaluate.figures import Figure, Table, counted, figures_of
from synthkd.evaluate.intervals import share_of
from synthkd.evaluate.judged import Item, Pair, truth_of
from synthkd.evaluate.reliability import Scale
from synthkd.evaluate.thresholds import Threshold, Wanted, decided, threshold_for
from synthkd.manifest import Record

FEW = 100
"""Items: with fewer, an interval on a share of a half is wider than 0.2."""
CHANCE = 0.01
"""Of a random sample with so few unreadable verdicts: below it, the sample was not random."""


class JudgeRecord(Record):
    """Which judge it is: another teacher, prompt or rubric is another judge."""

    step: str
    sha256: str
    """Over all that decides what it says."""
    about: Mapping[str, object]
    """The same in full: who is asked, the prompts' hashes and the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What no figure is of."""

    unlabelled: int = 0
    """Verdicts that nobody labelled."""
    unlabelled_unreadable: int = 0
    """... of which cannot be read."""
    unknown: int = 0
    """Ids that were labelled and have no verdict."""
    unasked: int = 0
    """Labelled verdicts by definition, such as on an answer that is its reference."""


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
    unasked: int
    """Labelled verdicts that are so by definition, and that no judge gave: left out."""
    hides_unreadable: bool
    """Whether people labelled so few of the rows without a readable verdict that the labelled rows
    are those that the judge finds easy."""
    annotators: Mapping[str, int]
    """Annotator -> labels given."""
    labels: Mapping[str, int]
    """What people say: label -> items."""
    verdicts: Mapping[str, int]
    """What the judge says: label -> items."""
    figures: Mapping[str, Figure | None]
    """None = there is nothing to tell it from."""
    threshold: Threshold | None
    by_threshold: bool
    """Whether the verdicts are scores from the threshold on."""
    notes: list[str]
    """What a reader must know before believing a figure."""


def calibrate(
    items: Sequence[Item],
    *,
    scale: Scale = "nominal",
    pair: Pair | None = None,
    wanted: Wanted | None = None,
    judge: JudgeRecord | None = None,
    simulated: bool = False,
    left_out: LeftOut | None = None,
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
        left_out: what was found beside them.
        resamples: draws behind each end of an interval that is not exact.
        seed: of the draws.

    Raises:
        UserError: there is no item, or none is left beside those that chose the threshold.
    """
    left_out = left_out or LeftOut()
    hides = _hides_unreadable(items, left_out)
    threshold = None if wanted is None else threshold_for(items, wanted, scale)
    by_threshold = wanted is not None and _only_scores(items)
    if wanted is not None and threshold is not None and by_threshold:
        items, scale = decided(items, wanted, threshold), "nominal"
    if not items:
        raise UserError(_nothing(left_out))
    known = [item for item in items if truth_of(item, scale) is not None]
    table = Table.of(known, items, scale, pair)
    return Calibration(
        judge=judge,
        simulated=simulated,
        scale=scale,
        n=len(known),
        unreadable=sum(item.verdict is None for item in known),
        no_majority=len(items) - len(known),
        unlabelled=left_out.unlabelled,
        unknown=left_out.unknown,
        unasked=left_out.unasked,
        hides_unreadable=hides,
        annotators=dict(sorted(Counter(who for item in items for who in item.labels).items())),
        labels=counted(table.names, table.truth),
        verdicts=counted(table.names, table.verdict),
        figures={**figures_of(table, scale, resamples, seed), "precision": _precision(threshold)},
        threshold=threshold,
        by_threshold=by_threshold,
        notes=[*_notes(table, known, simulated), *_notes_on_left_out(left_out, hides)],
    )


def _only_scores(items: Sequence[Item]) -> bool:
    return all(item.verdict is None for item in items) and any(
        item.score is not None for item in items
    )


def _hides_unreadable(items: Sequence[Item], left_out: LeftOut) -> bool:
    """Whether a random choice of rows to label would hardly miss as many unreadable verdicts."""
    from scipy.stats import hypergeom

    n_all = len(items) + left_out.unlabelled
    chosen = sum(item.verdict is None and item.score is None for item in items)
    unreadable = chosen + left_out.unlabelled_unreadable
    return bool(hypergeom.cdf(chosen, n_all, unreadable, len(items)) < CHANCE)


def _precision(threshold: Threshold | None) -> Figure | None:
    """What the threshold keeps where it was not chosen; None = nothing."""
    at = None if threshold is None else threshold.test
    if at is None or at.precision is None:
        return None
    known = share_of(round(at.precision * at.kept), at.kept)
    return Figure(value=known.value, low=known.low, high=known.high, n=at.kept)


def _nothing(left_out: LeftOut) -> str:
    if left_out.unasked:
        return (
            f"all {left_out.unasked} verdicts that people labelled are by definition (the answer is"
            " the reference, or both answers are the same): no judge was asked, and there is"
            " nothing to compare. Label other rows, and check that no prompt shows the reference"
        )
    return "people labelled nothing that a judge could be compared with: label more"


def _notes(table: Table, known: Sequence[Item], simulated: bool) -> list[str]:
    notes = []
    if simulated:
        notes.append("a SIMULATED teacher judged: the figures prove code, not judgement")
    if not known:
        notes.append("people have no majority on any item: nothing can be said of the judge")
        return notes
    if len(known) < FEW:
        notes.append(
            f"only {len(known)} items: the intervals say how little that tells, and no floor is"
            f" taken below {FEW}"
        )
    if len(counted(table.names, table.truth)) == 1:
        notes.append("people gave one label only: accuracy says nothing, kappa is 0")
    said = counted(table.names, table.verdict)
    if len(said) == 1:
        silent = any(item.verdict is None for item in known)
        rest = " where it can be read: it tells nothing" if silent else ": kappa is 0"
        notes.append(f"the judge always says {next(iter(said))!r}{rest}")
    if not said:
        notes.append("no verdict of the judge can be read: all of them are wrong")
    if table.tie >= 0 and set(said) == {table.names[table.tie]}:
        notes.append("the judge calls everything a tie: it decides nothing")
    return notes


def _notes_on_left_out(left_out: LeftOut, hides: bool) -> list[str]:
    notes = []
    if left_out.unasked:
        notes.append(
            f"{left_out.unasked} labelled verdicts are by definition (the answer is the reference,"
            " or both answers are the same): no judge gave them, and they are left out"
        )
    if hides:
        notes.append(
            f"{left_out.unlabelled_unreadable} rows without a readable verdict have no label, far"
            " more of them than of the others: the figures are of what the judge finds easy, and"
            " no floor is taken. Label such rows too"
        )
    return notes
