"""`curriculum.domains`: more of the domains in which the student is far behind its teacher (DDK).

    - use: curriculum.domains
      with: {field: topic}
    rounds: {count: 3, domain: topic}

DDK (arXiv 2407.16154) shares data out by the ratio of the perplexities of student and teacher. A
teacher that can only be talked to tells none, so errors stand for them: the student's on the dev
rows of each domain (`kit.feedback.domains`) or as the settings say, the teacher's as they say. Its
recursion over the shares of the step before is left out: a round knows the last student alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from synthkd.config import Share
from synthkd.curate.curriculum.rows import Places, copies, times_each
from synthkd.curate.curriculum.shares import domain_weights, gap
from synthkd.io.spool import Table
from synthkd.recipes.quotas import largest_remainder
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step


class DomainsSettings(StepSettings):
    """Settings of `curriculum.domains`."""

    field: str = "domain"
    """The field with the domain."""
    give: Literal["weight", "quotas"] = "weight"
    """`weight`: rows stay, and the loss of a domain counts as much as its share. `quotas`: so many
    rows of each are kept or copied."""
    rows: PositiveInt | None = None
    """Of `quotas`: rows that shall come of it; null = as many as come in."""
    student_accuracy: Mapping[str, Share] | None = None
    """Domain -> the student's accuracy; null = on the dev rows, of the round before."""
    teacher_accuracy: Mapping[str, Share] = {}
    """Domain -> the teacher's accuracy; one that is not named errs never."""
    alpha: Share = 0.5
    """How much the gaps count; the rest is shared out evenly, so that each of N domains has at
    least (1 - alpha)/N."""
    cap: Annotated[float, Field(gt=0, le=100)] = 5.0
    """Of the exponent: a teacher that errs never makes the ratio large."""
    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Added to both errors, so that none is 0."""

    @model_validator(mode="after")
    def _rows_of_quotas(self) -> DomainsSettings:
        if self.rows is not None and self.give != "quotas":
            raise ValueError("rows goes with give: quotas")
        return self


ABSENT = "named, but of no row"


def _warns(figures: Mapping[str, Json]) -> Iterator[str]:
    if absent := figures.get(ABSENT):
        yield f"accuracies are given for domains that no row has: {absent}"


@table_step(
    "curriculum.domains",
    needs=lambda config: [config.field],
    gives=lambda config: ["weight"] * (config.give == "weight"),
    makes=lambda config, rows: max(0, (config.rows or rows) - rows),
    warns=_warns,
)
def domains(table: Table, kit: TableKit, config: DomainsSettings, /) -> Iterator[Row]:
    """Weigh the domains, or share rows out among them, by how far the student is behind.

    A domain that nobody has measured counts as one without a gap; where none is, as in round 0, all
    are alike. Rejects `no_domain`, `over_quota`. Figures: gap, share and rows of each domain.
    """
    found = Places(table, config.field).of
    named = {name: places for name, places in found.items() if name is not None}
    gaps = _gaps(list(named), kit, config)
    shares = domain_weights(gaps, alpha=config.alpha, cap=config.cap) if named else []
    n = sum(map(len, named.values()))
    rows = n if config.rows is None else config.rows
    given = largest_remainder(rows, shares, [rows] * len(shares))
    told: dict[str, Json] = {}
    weight_of: dict[int, float] = {}
    times: dict[int, int] = {}
    for (name, places), gap_of, share, quota in zip(
        named.items(), gaps, shares, given, strict=True
    ):
        figures: dict[str, Json] = {"gap": round(gap_of, 4), "share": round(share, 6)}
        told[name] = {**figures, "rows": len(places)}
        if config.give == "quotas":
            told[name] = {**figures, "rows": len(places), "quota": quota}
            times |= times_each(places, quota, kit.rng)
        weight_of.update(dict.fromkeys(places, share * n / len(places)))
    accuracies = {**(config.student_accuracy or {}), **config.teacher_accuracy}
    if absent := sorted(accuracies.keys() - named.keys()):
        told[ABSENT] = ", ".join(absent)
    kit.note(told)
    for place, row in enumerate(table):
        if place not in weight_of:
            value = row.fields.get(config.field)
            kit.reject(row, "no_domain", f"{config.field} names none: {value!r:.80}")
        elif config.give == "weight":
            yield row.with_fields(weight=weight_of[place])
        elif count := times.get(place, 0):
            yield row
            yield from copies(row, count - 1, kit)
        else:
            kit.reject(row, "over_quota", f"more rows of its domain than its share of {rows}")


def _gaps(names: list[str], kit: TableKit, config: DomainsSettings) -> list[float]:
    """The gap of each domain."""
    feedback = kit.desk.feedback
    if config.student_accuracy is not None:
        student: Mapping[str, float] = config.student_accuracy
    elif feedback is not None:
        student = {name: domain.accuracy for name, domain in feedback.domains.items()}
    else:
        student = {}
    return [
        gap(student[name], config.teacher_accuracy.get(name, 1.0), config.epsilon)
        if name in student
        else 1.0
        for name in names
    ]
