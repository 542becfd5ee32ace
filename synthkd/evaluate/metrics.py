"""The metrics by name, and which gold each can be asked about.

metric = METRICS["macro_f1"]
scored = metric.score(gold, given)       # of n rows
scored.value                             # the figure
scored.at(weights)                       # the figures of rows drawn again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from synthkd.answers import AnswerSettings, canonical
from synthkd.errors import UserError
from synthkd.evaluate.classification import accuracy, macro_f1
from synthkd.evaluate.extraction import (
    mention_f1,
    mentions_of,
    span_f1,
    spans_of,
    triple_f1,
    triples_of,
)
from synthkd.evaluate.matching import (
    ANY,
    TOLERANCE,
    answer_match,
    exact_match,
    number_of,
    numeric_match,
)
from synthkd.evaluate.overlap import chrf, rouge_1, rouge_2, rouge_l
from synthkd.evaluate.records import (
    facts_of,
    gold_facts,
    record_exact,
    record_f1,
    record_precision,
    record_recall,
    record_valid,
)
from synthkd.evaluate.scored import Scored
from synthkd.records.schema import RecordSchema
from synthkd.rows import Json
from synthkd.text import answer_text


def _said(value: Json) -> str | None:
    """A text or a number; an empty one is what a CSV file has where somebody left gold out."""
    text = answer_text(value)
    return None if text is None or not text.strip() else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of answers against gold; what it gives is from 0 to 1, and more is better."""

    score: Callable[[Sequence[Json], Sequence[Json]], Scored]
    """(gold, given) of n rows; None among the given = no answer."""
    wants: str = "a text or a number"
    """What gold must be, in words."""
    reads: Callable[[Json], object] = _said
    """Gives None for what it cannot read; such gold is a fault, such an answer is wrong."""
    reads_gold: Callable[[Json], object] | None = None
    """The same of gold, where more is asked of it."""
    library: str | None = None
    """What of the extra `metrics` it needs, as it is imported."""


def _of_records(score: Callable[..., Scored]) -> Metric:
    return Metric(score=score, wants="a record", reads=facts_of, reads_gold=gold_facts)


RECORD_METRICS = {
    "record_f1": _of_records(record_f1),
    "record_precision": _of_records(record_precision),
    "record_recall": _of_records(record_recall),
    "record_exact": _of_records(record_exact),
    "record_valid": _of_records(record_valid),
}
METRICS = {
    "accuracy": Metric(score=accuracy),
    "macro_f1": Metric(score=macro_f1),
    "exact_match": Metric(score=exact_match, wants="any value", reads=lambda value: value),
    "numeric_match": Metric(score=numeric_match, wants="a number", reads=number_of),
    "answer_match": Metric(score=answer_match),
    "span_f1": Metric(score=span_f1, wants="a list of {start, end, label}", reads=spans_of),
    "triple_f1": Metric(
        score=triple_f1, wants="a list of [subject, predicate, object]", reads=triples_of
    ),
    "mention_f1": Metric(
        score=mention_f1, wants="a list of mentions, or of {type, mentions}", reads=mentions_of
    ),
    **RECORD_METRICS,
    "rouge_1": Metric(score=rouge_1, library="rouge_score"),
    "rouge_2": Metric(score=rouge_2, library="rouge_score"),
    "rouge_l": Metric(score=rouge_l, library="rouge_score"),
    "chrf": Metric(score=chrf, library="sacrebleu"),
}
"""By the names that `evaluate.metrics` takes."""


def metrics_of(
    names: Sequence[str],
    *,
    tolerance: float,
    answer: AnswerSettings = ANY,
    record: RecordSchema | None = None,
) -> dict[str, Metric]:
    """The metrics of these names.

    Args:
        names: out of METRICS.
        tolerance: of `numeric_match`.
        answer: the type of answers of `answer_match`.
        record: the fields of the records of `record_f1` and its kin; None = any.
    """
    chosen = {name: METRICS[name] for name in names}
    if numeric := chosen.get("numeric_match"):
        score = partial(numeric_match, tolerance=tolerance)
        chosen["numeric_match"] = replace(numeric, score=score)
    if typed := chosen.get("answer_match"):
        chosen["answer_match"] = replace(
            typed,
            score=partial(answer_match, config=answer),
            wants=f"an answer of evaluate.answer ({answer.type_for(answer.labels)})",
            reads=partial(canonical, config=answer),
        )
    if record is not None:
        for name in chosen.keys() & RECORD_METRICS.keys():
            chosen[name] = replace(
                chosen[name],
                score=partial(chosen[name].score, schema=record),  # type: ignore[call-arg]
                wants=f"a record of evaluate.record ({record.name})",
                reads=partial(facts_of, schema=record),
                reads_gold=partial(gold_facts, schema=record),
            )
    return chosen


def missing_libraries(names: Sequence[str]) -> list[str]:
    """What these metrics need and is not installed."""
    needed = {METRICS[name].library for name in names} - {None}
    return sorted(name for name in needed if name and find_spec(name) is None)


def check_gold(
    metrics: Sequence[str],
    value: Json,
    *,
    place: str,
    answer: AnswerSettings | None = None,
    record: RecordSchema | None = None,
) -> None:
    """Check that answers can be compared with this gold.

    Args:
        metrics: their names.
        value: of a row's gold field.
        place: the row and the field, in words.
        answer: the type of answers of `answer_match`.
        record: the fields of records.

    Raises:
        UserError: one of the metrics does not fit it.
    """
    chosen = metrics_of(metrics, tolerance=TOLERANCE, answer=answer or ANY, record=record)
    for name, metric in chosen.items():
        if (metric.reads_gold or metric.reads)(value) is None:
            raise UserError(
                f"evaluate.metrics: {name} needs {metric.wants} in gold, but {place} has"
                f" {value!r:.80}; name another metric, or leave such rows out with `source.where`"
            )
