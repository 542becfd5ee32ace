"""The plan against its source: fields that nobody gives, sides without rows, rows without gold.

Asked once the source is surveyed, still before anything is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synthkd.config import PipelineConfig
from synthkd.errors import ConfigError, UserError
from synthkd.evaluate.metrics import check_gold
from synthkd.hints import near
from synthkd.plan import Plan, asked_step, gold_field
from synthkd.records.loading import schema_or_none
from synthkd.rows import Row


def check_wiring(plan: Plan, columns: Iterable[str]) -> None:
    """Compare what every part needs with what the source has and earlier steps give.

    Args:
        plan: the compiled plan.
        columns: every field that some row of the source has.

    Raises:
        ConfigError: with every fault.
    """
    source = dict.fromkeys(columns)
    known = dict(source)
    faults = []

    def need(where: str, name: str, among: Iterable[str]) -> None:
        if name in among:
            return
        hint = near(name, among) or f"; there are: {', '.join(among)}"
        faults.append(f"{plan.place}: {where} needs the field {name!r}{hint}")

    for bound in plan.steps:
        for name in bound.needs:
            need(f"steps[{bound.rank}] ({bound.label})", name, known)
        known |= dict.fromkeys(bound.gives)
    for where, name in _fields_of_results(plan.config):
        need(where, name, known)
    for where, name in [*fields_of_evaluation(plan), *_fields_of_rounds(plan.config)]:
        need(where, name, source)
    evaluate = plan.config.evaluate
    if evaluate is not None and evaluate.ask is not None:
        seen = [name for name in source if name != gold_field(plan)]
        for name in asked_step(plan, evaluate.ask).needs:
            need(
                f"evaluate.ask ({evaluate.ask}), which sees the fields of the source without gold,",
                name,
                seen,
            )
    if faults:
        raise ConfigError(faults)


def check_sides(plan: Plan, sides: Mapping[str, int], unreadable: int) -> None:
    """Check that there are rows to read, and rows to evaluate on.

    Args:
        plan: the compiled plan.
        sides: rows by side: train, dev, test.
        unreadable: records that are no rows.

    Raises:
        ConfigError: there are none.
    """
    if not sides.get("train"):
        there = [f"{n} are held out for {side}" for side, n in sorted(sides.items()) if n]
        there += [f"{unreadable} records cannot be read"] if unreadable else []
        why = ", ".join(there) or "the source is empty, or source.where leaves nothing"
        raise ConfigError([f"{plan.place}: source: no row is left to read: {why}"])
    evaluate = plan.config.evaluate
    if evaluate is not None and not sides.get(evaluate.on):
        fault = (
            f"{plan.place}: evaluate.on: no row is held out for {evaluate.on}, of"
            f" {sum(sides.values())}: raise source.holdout.{evaluate.on}"
        )
        raise ConfigError([fault])
    if plan.config.rounds.count > 1 and not sides.get("dev"):
        raise ConfigError(
            [f"{plan.place}: rounds: no row is held out as dev: raise source.holdout.dev"]
        )


def check_held_out(plan: Plan, row: Row, side: str) -> None:
    """Check that the evaluation can use this row of the source.

    Raises:
        UserError: it is held out for the evaluation and lacks gold, or text for the student.
    """
    evaluate, metrics = plan.config.evaluate, list[str]()
    if evaluate is not None and side == evaluate.on:
        metrics += evaluate.metrics
    if plan.config.rounds.count > 1 and side == "dev":
        metrics.append("accuracy")  # what the student gets wrong there decides what is asked next
    if not metrics:
        return
    for setting, name in fields_of_evaluation(plan):
        value = row.fields.get(name)
        if setting == "evaluate.gold" and value is not None:
            place = f"{name!r} of held-out row {row.order[0] + 1} (counted from 1)"
            told: dict[str, Any] = {}
            if evaluate is not None:
                told = {"answer": evaluate.answer, "record": schema_or_none(evaluate.record)}
            check_gold(metrics, value, place=place, **told)
        elif not isinstance(value, str):
            raise UserError(
                f"{setting}: held-out row {row.order[0] + 1} (counted from 1) has no text in"
                f" {name!r}, got {value!r:.80}; leave such rows out with `source.where`"
            )


def _fields_of_results(config: PipelineConfig) -> Iterable[tuple[str, str]]:
    """What export and student read from the final rows, and which setting says so."""
    if config.export.format != "rows":
        texts = ("prompt", "completion", "system", "chosen", "rejected")
        for setting in (*texts, "input", "messages", "tools"):
            name = getattr(config.export, setting)
            if name is not None:
                yield f"export.{setting}", name
    for name in config.export.keep:
        yield "export.keep", name
    if config.student is not None:
        yield from config.student.fields()


def _fields_of_rounds(config: PipelineConfig) -> Iterable[tuple[str, str]]:
    """What feedback reads from dev rows, which no step has touched."""
    if config.rounds.domain is not None:
        yield "rounds.domain", config.rounds.domain


def fields_of_evaluation(plan: Plan) -> Iterable[tuple[str, str]]:
    """What evaluation reads from held-out rows, which no step has touched."""
    gold = gold_field(plan)
    if gold is not None:
        yield "evaluate.gold", gold
        if plan.config.student is not None:
            yield plan.config.student.asked_with
