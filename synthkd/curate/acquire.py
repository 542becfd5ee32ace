"""`acquire`: which rows the dear teachers are asked about, once a cheap one has answered all.

    - use: label                         # cheap first
      with: {teacher: small, labels: [...]}
    - use: acquire                       # dear next, where a student of the cheap one is unsure
      with: {teachers: [large, other], labels: [...], text: text, share: 0.1}
    - use: aggregate                     # what the answers add up to, row by row

The student is the linear one, learnt from the labels so far in two halves, each of which labels the
other: no row is judged by a student that has learnt it. What a row brings is its gain, 1 - margin,
where the margin is the probability of the student's first choice less that of its second.

Instead of a cheap teacher for all rows the calls can be spread: every row is asked of one teacher,
drawn by chance, and `relabel` adds up what they say of like texts.

    - use: acquire
      with: {teachers: [a, b, c, d], per_row: 1, share: 1.0, by: random, labels: [...], text: text}
    - use: relabel
      with: {text: text}

A teacher that has answered a row, in this round or before, is not asked about it again.

Which rows: `uncertainty` takes those with the largest gains; `rad` draws them as is best when the
teacher is wrong on an unknown share of rows (`synthkd.curate.robust`); `random` is the control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, field_validator

from synthkd.config import LinearConfig, Share
from synthkd.curate.clusters.balance import Size
from synthkd.curate.robust import capped, drawn, robust_shares
from synthkd.errors import RowError
from synthkd.inputs import inputs_of
from synthkd.io.spool import Table
from synthkd.recipes.label import DEFAULT_STOP_AT, read_label
from synthkd.recipes.replies import loss_of
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step
from synthkd.students.linear import unfitted
from synthkd.teachers.request import Completion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AT_ONCE = 1000
"""Rows whose answers are in memory at once."""
LEAST = 2
"""Labels that a half must have for a student to learn from it."""


class AcquireConfig(Size):
    """Which rows, and whom to ask about them."""

    teachers: list[str] = Field(min_length=1)
    """All of them are asked about every chosen row, but for those that have answered it already."""
    per_row: PositiveInt | None = None
    """Of those, only so many a row are asked, drawn by chance so that all are asked about equally
    often; null = all."""
    labels: list[str] = Field(min_length=2)
    """The labels, as `label` has them."""
    text: str
    """The field that the student sees."""
    label: str = "label"
    """The field with the label so far; a row without one is asked about first. `random` needs
    none."""
    into: str = "answers"
    """The field with the answers so far, if any; the new ones are added at the end."""
    prompt: str = "label/classify"
    """As of `label`."""
    stop_at: tuple[str, ...] = DEFAULT_STOP_AT
    """As of `label`."""
    by: Literal["uncertainty", "rad", "random"] = "uncertainty"
    """How rows are chosen; see the module."""
    wrong: Share = 0.5
    """Of `rad`: the share of rows that the teachers have wrong, such as measured on an audit."""

    @field_validator("teachers")
    @classmethod
    def _once(cls, teachers: list[str]) -> list[str]:
        if len(set(teachers)) != len(teachers):
            raise ValueError("must name each teacher once")
        return teachers


def _asks(config: AcquireConfig, rows: int) -> int:
    return config.of(rows) if rows else 0


@table_step(
    "acquire",
    needs=lambda config: [config.text, *([] if config.by == "random" else [config.label])],
    gives=lambda config: [config.into, "acquired", "gain"],
    supplies=("labels", "reason"),
    asks=_asks,
)
def acquire(table: Table, kit: TableKit, config: AcquireConfig, /) -> Iterator[Row]:
    """Ask more teachers about the rows that are worth it; all rows are handed on.

    Gives the answers with the new ones at the end, `acquired` (whether the row was chosen) and
    `gain` (0 to 1). An answer without a label stays among the answers with a null label. Memory:
    texts and labels of all rows, and the student's features.
    """
    gains = _gains(
        [str(row.fields.get(config.text) or "") for row in table],
        [_label(row, config.label) for row in table],
    )
    chosen = set(_chosen(gains, config, kit)) if len(table) else set()
    calls = lost = 0
    times = dict.fromkeys(config.teachers, 0)
    for rows in _batches(table):
        asked = [row for place, row in rows if place in chosen]
        answers = _ask(asked, kit, config, times)
        for place, row in rows:
            new = answers.get(row.id, [])
            calls += len(new)
            lost += sum(answer["label"] is None for answer in new)
            fields: dict[str, Json] = {
                config.into: [*_answers(row, config), *new],
                "acquired": place in chosen,
                "gain": float(gains[place]),
            }
            keys = [str(answer["key"]) for answer in new if answer["key"]]
            yield row.with_fields(**fields).with_made_by(*keys)
    kit.note({"rows": len(table), "acquired": len(chosen), "asked": calls, "without_label": lost})


def _chosen(gains: Floats, config: AcquireConfig, kit: TableKit) -> Sequence[int]:
    """The places of the rows to ask about."""
    import numpy as np

    n = config.of(len(gains))
    if config.by == "random":
        return kit.rng.sample(range(len(gains)), n)
    if config.by == "rad":
        wrong = min(round(config.wrong * len(gains)), len(gains) - 1)
        return drawn(capped(robust_shares(list(gains), wrong), n), kit.rng)
    return [int(place) for place in np.argsort(-gains, kind="stable")[:n]]


def _gains(texts: Sequence[str], labels: Sequence[str | None]) -> Floats:
    """(n_rows,) 1 - margin of a student that has not learnt the row; 1 where there is none."""
    import numpy as np

    gains = np.ones(len(texts))
    known = [place for place, label in enumerate(labels) if label is not None]
    for half in (0, 1):
        learnt, judged = known[half::2], known[1 - half :: 2]
        if len({labels[place] for place in learnt}) < LEAST or not judged:
            continue
        model = unfitted(LinearConfig(kind="linear", text="text", label="label"))
        model.fit([texts[place] for place in learnt], [labels[place] for place in learnt])
        probabilities = np.sort(model.predict_proba([texts[place] for place in judged]), axis=1)
        gains[judged] = 1 - (probabilities[:, -1] - probabilities[:, -2])
    return np.clip(gains, 0.0, 1.0)


def _label(row: Row, field: str) -> str | None:
    value = row.fields.get(field)
    return value if isinstance(value, str) and value.strip() else None


def _batches(table: Table) -> Iterator[list[tuple[int, Row]]]:
    batch: list[tuple[int, Row]] = []
    for place, row in enumerate(table):
        batch.append((place, row))
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    yield batch


def _answers(row: Row, config: AcquireConfig) -> Sequence[Json]:
    """Those that the row has so far."""
    answers = row.fields.get(config.into)
    return answers if isinstance(answers, list | tuple) else ()


def _whom(row: Row, kit: TableKit, config: AcquireConfig, times: dict[str, int]) -> list[str]:
    """Who is asked about a row; `times` says how often each was asked before, and is kept."""
    answered = {one.get("teacher") for one in _answers(row, config) if isinstance(one, Mapping)}
    free = [teacher for teacher in config.teachers if teacher not in answered]
    if config.per_row is not None:
        kit.rng.shuffle(free)
        free = sorted(free, key=lambda teacher: times[teacher])[: config.per_row]
    for teacher in free:
        times[teacher] += 1
    return free


def _ask(
    rows: Sequence[Row], kit: TableKit, config: AcquireConfig, times: dict[str, int]
) -> dict[str, list[dict[str, Json]]]:
    """The new answers of each row, by its id."""
    declared = kit.desk.prompts[config.prompt].inputs
    asked = {row.id: _whom(row, kit, config, times) for row in rows}
    found: dict[str, list[dict[str, Json]]] = {row.id: [] for row in rows}
    for teacher in config.teachers:
        own = [row for row in rows if teacher in asked[row.id]]
        inputs = [inputs_of(row, declared, labels=config.labels, reason=False) for row in own]
        replies = kit.ask_all(config.prompt, inputs, teacher=teacher) if own else []
        for row, reply in zip(own, replies, strict=True):
            found[row.id].append(_answer(teacher, reply, config))
    return found


def _answer(teacher: str, reply: Completion | RowError, config: AcquireConfig) -> dict[str, Json]:
    """As `label` writes it."""
    told: dict[str, Json] = {"teacher": teacher, "sample": 0, "text": None, "label": None}
    if not isinstance(reply, Completion):
        return {**told, "confidence": None, "key": None}
    usable = loss_of(reply) is None
    said = read_label(reply.text, config.labels, config.stop_at) if usable else None
    return {
        **told,
        "text": reply.text,
        "label": said.label if said else None,
        "confidence": said.confidence if said else None,
        "key": reply.key,
    }
