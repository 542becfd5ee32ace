"""`relabel`: a label for every row from a few gold labels, noisy teachers' answers and the text.

    answers: [{teacher: a, sample: 0, label: card_arrival}, ...], checked: null
    ->  label: lost_card, confidence: 0.83

Teachers that confuse labels, or were never offered some, cannot be put right by counting their
votes: a label that nobody names never wins. A handful of gold labels says what a pattern of votes
means. Each row is seen from three sides, which together are one vector of unit length:

* its text, as `embed` has it;
* the votes: which teacher said what, "nothing" included;
* what the teachers say of texts like it: a ridge regression of the votes on the text, in which the
  row itself has no part (leave-one-out, in closed form). Its square roots are taken, so that two
  rows are as near as two distributions of votes are (Hellinger).

A kernel ridge regression on the gold rows labels all others. Then every label takes in the rows of
which it is surest, as many as every other label (`grow`), and learns again: being balanced is what
keeps large labels from swallowing small ones. A row that was taken in is judged by the rest alone.

Without `gold` the votes begin: what is said of the row and of texts like it, each label in
proportion to how often it is said at all. In the end each row's votes are weighed once more, by
who says what of which label. Rows may have the answers of different teachers (`acquire`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from synthkd.curate.agreement import Votes, answers_of, read_votes
from synthkd.curate.embed import EmbedSettings, TextColumn, embeddable, open_embedder
from synthkd.curate.few_labels import (
    central,
    evidence_of,
    from_votes,
    relabelled,
    three_sides,
)
from synthkd.curate.tfidf import TfidfSettings
from synthkd.errors import NothingToLearn, Rejected
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

LEAST = 2
"""Labels there must be."""


class RelabelConfig(StepSettings):
    """Few gold labels, several teachers' answers and the text, to one label."""

    text: str
    """The field with the text."""
    gold: str | None = None
    """The field with the gold label of those rows that have one; null or "" in the others. Without
    it the votes alone begin."""
    field: str = "answers"
    """The field with `[{teacher, sample, label, ...}]`; a null label is an answer without one."""
    into: str = "label"
    """Where the label goes; its probability goes into `confidence`, and whether it is gold into
    `is_gold`."""
    per_label: PositiveInt | None = None
    """Only so many gold labels of each label are used, drawn by chance: to try on a source with
    gold how few would do. null = all."""
    central: PositiveInt | None = None
    """Marks so many rows (`is_central`) that are worth a gold label: those nearest to the centres
    of a k-means over all rows. Where `gold` is given, no other row's is used, to try on a source
    with gold how few would do."""
    grow: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = (20, 40)
    """How many of its surest rows each label takes in, turn by turn; [] = gold rows alone."""
    embed: EmbedSettings = TfidfSettings(dimensions=512)
    """How texts become vectors."""


@table_step(
    "relabel",
    needs=lambda config: [config.text, config.field, *([config.gold] if config.gold else [])],
    gives=lambda config: [
        *(config.into, "confidence", "is_gold"),
        *(["is_central"] if config.central else []),
    ],
    asks=lambda config, rows: rows,
)
def relabel(table: Table, kit: TableKit, config: RelabelConfig, /) -> Iterator[Row]:
    """One label for each row, learnt from the few that have gold.

    Rejects rows without text (`no_text`) and rows whose answers cannot be read
    (`unreadable_answers`). A label of which no row has gold is given to no row; without `gold` the
    labels are those that a teacher names.
    """
    texts = TextColumn(table, (config.text,))
    vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    votes, asked = read_votes(table, config.field), _asked(table, config.field)
    evidence = evidence_of(vectors.values, votes, asked)
    sides = three_sides(vectors.values, evidence)
    useful = ~vectors.is_blank
    if config.central is not None:
        useful &= central(sides, config.central, kit.rng.randrange(2**32))
    names, gold = _known(table, kit, config, votes, useful)
    if config.gold is None:
        found = from_votes(sides, evidence, len(names), config.grow)
    else:
        found = relabelled(sides, gold, len(names), config.grow)
    kit.note({"gold_rows": len(gold), "labels": len(names), "learnt_from": found.learnt_from})
    if config.gold is not None:
        unknown = {*map(equivalent, votes.labels)} - {*map(equivalent, names)}
        kit.note({"labels_without_gold": len(unknown)})
    for place, row in embeddable(table, kit, (config.text,), vectors):
        if not str(row.fields[config.text]).strip():
            kit.reject(row, "no_text", f"{config.text} is blank")
            continue
        try:
            answers_of(row, config.field)
        except Rejected as rejected:
            kit.reject(row, rejected.reason, rejected.detail)
            continue
        label = names[int(found.winners[place])]
        sure = float(found.confidence[place])
        fields: dict[str, Json] = {
            config.into: label,
            "confidence": sure,
            "is_gold": place in gold,
            **({} if config.central is None else {"is_central": bool(useful[place])}),
        }
        yield row.with_fields(**fields).with_made_by(*vectors.made_by(place))


def _known(
    table: Table, kit: TableKit, config: RelabelConfig, votes: Votes, useful: Flags
) -> tuple[Sequence[str], Mapping[int, int]]:
    """The labels there are, and the gold rows with their label's place in them.

    Only the gold of `useful` rows, (n_rows,), is looked at.

    Raises:
        NothingToLearn: fewer than two labels.
    """
    if config.gold is None:
        if len(votes.labels) < LEAST:
            raise NothingToLearn(
                f"step {kit.desk.step!r}: the answers in {config.field!r} name"
                f" {len(votes.labels)} labels, and two are the least: ask more teachers or rows,"
                " or name a field with gold labels in `gold`"
            )
        return votes.labels, {}
    told: dict[int, str] = {}
    for place, row in enumerate(table):
        value = row.fields.get(config.gold)
        if isinstance(value, str) and value.strip() and useful[place]:
            told[place] = value
    spelled = {equivalent(label): label for label in told.values()}
    if len(spelled) < LEAST:
        raise NothingToLearn(
            f"step {kit.desk.step!r}: {len(told)} rows have text and a gold label in"
            f" {config.gold!r}, of {len(spelled)} labels, and two labels are the least:"
            " label more rows"
        )
    places = {same: place for place, same in enumerate(spelled)}
    gold = {row: places[equivalent(label)] for row, label in told.items()}
    return [*spelled.values()], _drawn(gold, kit, config)


def _asked(table: Table, field: str) -> Flags:
    """(n_rows, n_columns) who was asked about which row; the columns are those of `read_votes`."""
    import numpy as np

    columns: dict[tuple[str, int], int] = {}
    cells: list[tuple[int, int]] = []
    for place, row in enumerate(table):
        with suppress(Rejected):  # such a row is rejected with the reason when it is handed on
            whose = answers_of(row, field)
            cells += [(place, columns.setdefault(who, len(columns))) for who in whose]
    asked = np.zeros((len(table), len(columns)), bool)
    for place, column in cells:
        asked[place, column] = True
    return asked


def _drawn(gold: Mapping[int, int], kit: TableKit, config: RelabelConfig) -> dict[int, int]:
    """At most `per_label` of each label, by chance."""
    of: dict[int, list[int]] = {}
    for row, label in gold.items():
        of.setdefault(label, []).append(row)
    return {
        row: label
        for label, rows in of.items()
        for row in (rows if config.per_label is None else _some(rows, kit, config.per_label))
    }


def _some(rows: list[int], kit: TableKit, count: int) -> list[int]:
    return kit.rng.sample(rows, min(count, len(rows)))
