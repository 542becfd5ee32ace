"""`figures.collapse`: whether what a loop writes still covers what people wrote.

    - use: figures.collapse
      with: {field: instruction}

Where students learn what teachers wrote by the example of earlier rounds, texts can become ever
more alike. So the synthetic rows of a round are measured beside as many human ones:

* share_synthetic: of all that the student will learn, the rows of earlier rounds too
* distinct_1 to distinct_3: different n-grams of words over all n-grams
* spread: mean cosine distance between two texts
* recall: share of human texts that have a synthetic one as near as their third-nearest human one
  (coverage of Naeem et al., 2002.09797, section 3.3); `expected` is what rows of the very same kind
  would have

It passes every row on. A figure beyond its limit is an alarm: a warning of the run, by round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from synthkd.config import Share
from synthkd.curate.diversity import distinct_n
from synthkd.curate.embed import EmbedSettings, open_embedder
from synthkd.curate.texts import FieldOrFields, text_or_none
from synthkd.curate.tfidf import TfidfSettings
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MOST_COMPARED = 2_000
"""Texts of each kind, by chance of more: their cosines are all in memory, 3 x 16 MB."""
NEIGHBOURS = 3
"""Coverage's k; of 5 rows or fewer there is no such neighbour."""


class CollapseSettings(FieldOrFields):
    """Whether what a loop writes still covers what people wrote."""

    synthetic: str | None = None
    """The field that says that a row was made: anything but null, false, 0 and empty. null = rows
    that are no row of the source were."""
    embed: EmbedSettings = TfidfSettings()
    """Who makes the vectors. TF-IDF learns its weights from the texts that are compared."""
    least_distinct: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Alarm below this share of the human texts' distinct_2."""
    least_spread: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Alarm below this share of the human texts' spread."""
    least_recall: Share = 0.5
    """Alarm below this share of the expected recall."""
    most_synthetic: Share = 0.9
    """Alarm above this share of synthetic rows."""
    at_least: Annotated[int, Field(ge=2 * NEIGHBOURS, le=MOST_COMPARED)] = 20
    """Texts of each kind from which on they are compared; rows without text are not."""


def alarms_of(figures: Mapping[str, Json]) -> Iterator[str]:
    """The alarms among the figures, in words."""
    alarms = figures.get("alarms", ())
    yield from map(str, alarms if isinstance(alarms, Sequence) else ())


@table_step("figures.collapse", needs=lambda config: config.all_fields, warns=alarms_of)
def collapse(table: Table, kit: TableKit, config: CollapseSettings, /) -> Iterator[Row]:
    """Notes figures of collapse with alarms, and passes every row on. Memory: an id a row."""
    ours = {row.id for row in table}
    before = {row.id for row in table.kept}
    human: list[int] = []
    new: list[int] = []
    synthetic = rows = all_new = 0
    for rows, row in enumerate(_all(table, ours), 1):
        has_text = bool((text_or_none(row.fields, config.all_fields) or "").strip())
        if not _is_synthetic(row, config):
            human += [rows - 1] * has_text
            continue
        synthetic += 1
        if row.id not in before:
            all_new += 1
            new += [rows - 1] * has_text
    share = synthetic / rows if rows else 0.0
    figures: dict[str, Json] = {
        "rows": rows,
        "synthetic": synthetic,
        "new": all_new,
        "share_synthetic": round(share, 4),
    }
    alarms = []
    if share > config.most_synthetic:
        alarms.append(f"{share:.0%} of the rows to learn from are synthetic")
    if 2 * len(new) < all_new:
        alarms.append(f"{all_new - len(new)} of {all_new} new rows have no text")
    compared = min(len(human), len(new), MOST_COMPARED)
    if compared >= config.at_least:
        some = (kit.rng.sample(places, compared) for places in (human, new))
        of_human, of_new = (_texts(table, ours, places, config) for places in some)
        found, more = _compared(of_human, of_new, kit, config)
        figures |= found
        alarms += more
    kit.note({**figures, "alarms": alarms})
    yield from table


def _all(table: Table, ours: set[str]) -> Iterator[Row]:
    """All that the student will learn, if nothing more is lost."""
    return chain((row for row in table.kept if row.id not in ours), table)


def _is_synthetic(row: Row, config: CollapseSettings) -> bool:
    if config.synthetic is not None:
        return bool(row.fields.get(config.synthetic))
    return row.roots != (row.id,)


def _texts(
    table: Table, ours: set[str], places: Sequence[int], config: CollapseSettings
) -> list[str]:
    wanted = set(places)
    rows = (row for place, row in enumerate(_all(table, ours)) if place in wanted)
    return [text_or_none(row.fields, config.all_fields) or "" for row in rows]


def _compared(
    human: Sequence[str], new: Sequence[str], kit: TableKit, config: CollapseSettings
) -> tuple[dict[str, Json], list[str]]:
    """Figures of human and of new texts, as many of each, and the alarms."""
    both = [*human, *new]
    vectors = open_embedder(config.embed, kit, fit_on=both).vectors(both).values
    old, made = vectors[: len(human)], vectors[len(human) :]
    distinct = [distinct_n(texts, kit.rng) for texts in (human, new)]
    figures: dict[str, Json] = {
        "compared": len(human),
        **{
            name: {"human": distinct[0][name], "new": distinct[1][name]}
            for name in ("distinct_1", "distinct_2", "distinct_3")
        },
    }
    spreads = round(spread(old), 4), round(spread(made), 4)
    figures["spread"] = {"human": spreads[0], "new": spreads[1]}
    covered, expected = recall(old, made), expected_recall(len(human))
    figures["recall"] = {"human": round(covered, 4), "expected": round(expected, 4)}
    bigrams = distinct[0]["distinct_2"], distinct[1]["distinct_2"]
    alarms = [
        f"{name} of new rows is {new_one:g}, of human ones {human_one:g}"
        for name, (human_one, new_one), least in (
            ("distinct_2", bigrams, config.least_distinct),
            ("spread", spreads, config.least_spread),
        )
        # Texts of one word have no bigrams.
        if isinstance(human_one, float) and isinstance(new_one, float)
        if new_one < least * human_one
    ]
    if covered < config.least_recall * expected:
        alarms.append(f"new rows are near {covered:.0%} of the human ones, expected {expected:.0%}")
    return figures, alarms


def spread(vectors: Floats) -> float:
    """1 - the mean cosine of two different vectors, (n, d) of unit length or zero; n >= 2."""
    import numpy as np

    n = len(vectors)
    total = np.asarray(vectors, dtype=np.float64).sum(axis=0)
    filled = int(vectors.any(axis=1).sum())
    return 1 - (float(total @ total) - filled) / (n * (n - 1))


def recall(human: Floats, new: Floats, k: int = NEIGHBOURS) -> float:
    """Share of human vectors that have a new one as near as their k-th nearest human one.

    Args:
        human: (n, d) of unit length or zero; n > k.
        new: (m, d) as well.
        k: which neighbour.
    """
    import numpy as np

    among = human @ human.T
    np.fill_diagonal(among, -np.inf)  # nobody is his own neighbour
    radius = np.partition(among, -k, axis=1)[:, -k]
    # Cosines of equal texts differ by rounding.
    return float(((human @ new.T).max(axis=1) >= radius - 1e-6).mean())


def expected_recall(n: int, k: int = NEIGHBOURS) -> float:
    """The recall of n human rows by n others of the same kind (2002.09797, section 3.3)."""
    missed = 1.0
    for place in range(1, k + 1):
        missed *= (n - place) / (2 * n - place)
    return 1 - missed
