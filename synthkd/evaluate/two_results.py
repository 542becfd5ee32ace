"""Two results side by side, on the rows that both have: `synthkd compare A B`.

comparison = compare_results(read_predictions(a), read_predictions(b), ...)
console.print(comparison_view(comparison))      # of synthkd.scoreboard

Rows are matched by their ids, and nothing is asked: each side's figures are made anew of the
answers that were kept, on the rows in both. One seed against one is compared row by row, with
McNemar's test; the same seeds on both sides seed by seed; other seeds mean against mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synthkd.errors import UserError
from synthkd.evaluate.compare import few_rows, key_of
from synthkd.evaluate.metrics import metrics_of
from synthkd.evaluate.paired import figure, lead, lead_by_seed, lead_of_means
from synthkd.evaluate.predictions import Predictions
from synthkd.evaluate.scored import Scored
from synthkd.hints import near
from synthkd.manifest import Difference, Interval, Record
from synthkd.rows import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One of the two that are compared."""

    place: str
    """The file, for messages."""
    found: Predictions
    who: str | None = None
    """The contestant; None = the student, or whoever is there beside base."""


class Side(Record):
    """One of the two: who it is, and how it does on the rows in both."""

    place: str
    who: str
    role: str
    simulated: bool
    recorded: bool
    seeds: list[int]
    on: str
    rows: int
    """In its file."""
    contamination: str
    """As `Evaluation.contamination`."""
    metrics: Mapping[str, Interval]


class Comparison(Record):
    """Two results on the rows that both have."""

    rows: int
    a: Side
    b: Side
    leads: Mapping[str, Difference]
    """a minus b, by metric; `only_student` are rows that a alone has right, `only_other` b."""
    notes: list[str]


def compare_results(
    a: Entry,
    b: Entry,
    *,
    metrics: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two results on the rows that both have.

    Args:
        a: the one whose lead is told.
        b: the other.
        metrics: by which; None = all that both were scored by.
        resamples: draws behind each end of a 95 % interval.
        seed: of the draws.

    Raises:
        UserError: a contestant or a metric that one of them does not have, no row in both, or rows
            of one id whose gold differs.
    """
    names = _who(a), _who(b)
    ids = _in_both(a, b)
    chosen = _metrics(a, b, metrics)
    gold = [a.found.gold[row] for row in ids]
    tolerance = a.found.about.tolerance
    scored = [
        {
            metric: [by.score(gold, [given[row] for row in ids]) for given in answers.values()]
            for metric, by in metrics_of(
                chosen,
                tolerance=tolerance,
                answer=a.found.about.answer,
                record=a.found.about.record,
            ).items()
        }
        for answers in (_answers(a, names[0]), _answers(b, names[1]))
    ]
    sides = [
        _side(entry, who, {m: figure(s, resamples=resamples, seed=seed) for m, s in of.items()})
        for entry, who, of in zip((a, b), names, scored, strict=True)
    ]
    same_seeds = sides[0].seeds == sides[1].seeds

    def ahead(ours: Sequence[Scored], theirs: Sequence[Scored]) -> Difference:
        if len(ours) == len(theirs) == 1:
            return lead(ours, theirs[0], resamples=resamples, seed=seed)
        by = lead_by_seed if same_seeds else lead_of_means
        return by(ours, theirs, resamples=resamples, seed=seed)

    leads = {metric: ahead(scored[0][metric], scored[1][metric]) for metric in chosen}
    notes = [*_notes(len(ids), sides, a, b, metrics is None)]
    return Comparison(rows=len(ids), a=sides[0], b=sides[1], leads=leads, notes=notes)


def _who(entry: Entry) -> str:
    contestants = entry.found.about.contestants
    if entry.who is not None:
        if entry.who not in contestants:
            hint = near(entry.who, contestants) or f"; there are: {', '.join(contestants)}"
            raise UserError(f"{entry.place}: nobody there is called {entry.who!r}{hint}")
        return entry.who
    others = [name for name, one in contestants.items() if one.role != "base"]
    students = [name for name in others if contestants[name].role == "student"]
    match students or others:
        case [one]:
            return one
        case _:
            raise UserError(
                f"{entry.place}: has several to choose from: say with --a or --b which one:"
                f" {', '.join(contestants)}"
            )


def _answers(entry: Entry, who: str) -> Mapping[int, Mapping[str, Json]]:
    return entry.found.answers[who]


def _in_both(a: Entry, b: Entry) -> list[str]:
    """The ids in both, in a's order.

    Raises:
        UserError: there are none, or their gold differs.
    """
    ours, theirs = a.found.gold, b.found.gold
    ids = [row for row in ours if row in theirs]
    if not ids:
        raise UserError(
            f"{a.place} ({len(ours):,} rows) and {b.place} ({len(theirs):,} rows) have no row in"
            " common: a row's id is made of `source.name` (by default the file's name) and"
            " `source.id`: evaluate both on the same file, with the same two settings"
        )
    differ = [row for row in ids if key_of(ours[row]) != key_of(theirs[row])]
    if differ:
        row = differ[0]
        raise UserError(
            f"{len(differ):,} of {len(ids):,} rows in both have another gold in {b.place} than in"
            f" {a.place}: row {row} has {ours[row]!r:.80} there and {theirs[row]!r:.80} here. These"
            " are not the same questions: evaluate both with the same file and `evaluate.gold`"
        )
    return ids


def _metrics(a: Entry, b: Entry, asked: Sequence[str] | None) -> list[str]:
    """By which metrics.

    Raises:
        UserError: one of them was not scored on both sides, or `numeric_match` not alike.
    """
    ours, theirs = a.found.about, b.found.about
    for name in asked or ():
        for entry in (a, b):
            if name not in (there := entry.found.about.metrics):
                raise UserError(
                    f"{entry.place}: was not scored by {name!r}, only by {', '.join(there)}:"
                    f" evaluate it again with --set 'evaluate.metrics=[{name}]', which asks nothing"
                    " that the ledger has"
                )
    chosen = [name for name in asked or ours.metrics if name in theirs.metrics]
    if not chosen:
        raise UserError(
            f"{a.place} was scored by {', '.join(ours.metrics)} and {b.place} by"
            f" {', '.join(theirs.metrics)}: they have no metric in common: evaluate one of them"
            " again with the other's `evaluate.metrics`"
        )
    if "numeric_match" in chosen and ours.tolerance != theirs.tolerance:
        raise UserError(
            f"numeric_match: {a.place} has the tolerance {ours.tolerance:g} and {b.place}"
            f" {theirs.tolerance:g}: evaluate one again with the other's `evaluate.tolerance`"
        )
    if "answer_match" in chosen and ours.answer != theirs.answer:
        raise UserError(
            f"answer_match: {a.place} and {b.place} have other types of answers: evaluate one again"
            " with the other's `evaluate.answer`"
        )
    return chosen


def _side(entry: Entry, who: str, metrics: Mapping[str, Interval]) -> Side:
    about = entry.found.about
    one = about.contestants[who]
    return Side(
        place=entry.place,
        who=who,
        role=one.role,
        simulated=one.simulated,
        recorded=one.recorded,
        seeds=[*_answers(entry, who)],
        on=about.on,
        rows=len(entry.found.gold),
        contamination=about.contamination,
        metrics=metrics,
    )


def _notes(
    rows: int, sides: Sequence[Side], a: Entry, b: Entry, all_metrics: bool
) -> Iterator[str]:
    """What to bear in mind."""
    if (sides[0].place, sides[0].who) == (sides[1].place, sides[1].who):
        yield f"A and B are both {sides[0].who} of one result: name another with --a or --b"
    for side in sides:
        if left := side.rows - rows:
            yield f"{left:,} of {side.rows:,} rows of {side.place} are not in the other: left out"
    yield from few_rows(rows)
    ours, theirs = a.found.about.metrics, b.found.about.metrics
    if all_metrics and (alone := sorted({*ours} ^ {*theirs})):
        yield f"only one of them was scored by {', '.join(alone)}: left out"
    if any(side.role == "student" and len(side.seeds) == 1 for side in sides):
        yield "one seed of a student is one throw of the dice: the next seed may differ by more"
    if all(len(side.seeds) == 1 for side in sides):
        return
    how = "other seeds on both sides: mean against mean"
    if sides[0].seeds == sides[1].seeds:
        how = f"compared seed by seed, over {len(sides[0].seeds)} seeds"
    yield f"{how}; there is no McNemar's test of several"
