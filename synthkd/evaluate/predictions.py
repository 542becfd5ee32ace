"""What everybody answered to each held-out row: predictions.parquet, written and read back.

One line for each row, contestant and seed, row by row in the order of the source:

    id              of the row
    who, role       the contestant, as in the evaluation
    seed            of a student that was trained here; 0 for everybody else
    gold, answer    a text as it is; where any of them all is no text, JSON text in both columns
    confidence      null where the contestant gives none
    METRIC          what the row scores, 0 to 1, by each metric that is a mean over rows. Macro-F1
                    and F1 of what is found are of all rows together and have no column

What must be known to read it stands in the file's metadata under `synthkd`, as JSON (`About`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from synthkd.answers import AnswerSettings
from synthkd.errors import UserError
from synthkd.evaluate.compare import Compared
from synthkd.evaluate.matching import ANY, TOLERANCE
from synthkd.io.columns import json_text
from synthkd.io.exports import Record as Line
from synthkd.io.exports import write_records
from synthkd.manifest import Record
from synthkd.records.schema import RecordSchema
from synthkd.rows import Json

if TYPE_CHECKING:
    import pyarrow as pa

METADATA = b"synthkd"
COLUMNS = {
    **{"id": "string", "who": "string", "seed": "int64", "gold": "string", "answer": "string"},
    "confidence": "double",
}
"""What is read back, and its type in Arrow's words."""


class Who(Record):
    """A contestant of the file."""

    role: str
    simulated: bool = False
    recorded: bool = False


class About(Record):
    """What must be known to read the file."""

    values: Literal["text", "json"]
    """Whether gold and answers are texts as they are, or JSON text."""
    on: str
    """The split."""
    metrics: list[str]
    tolerance: float = TOLERANCE
    """Of `numeric_match`."""
    answer: AnswerSettings = ANY
    """Of `answer_match`."""
    record: RecordSchema | None = None
    """Of `record_f1` and its kin."""
    contamination: str
    contestants: Mapping[str, Who]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The file, read."""

    about: About
    gold: Mapping[str, Json]
    """By row, in the order of the file."""
    answers: Mapping[str, Mapping[int, Mapping[str, Json]]]
    """By contestant, seed and row."""
    confidences: Mapping[str, Mapping[str, float]]
    """By contestant and row, of its first seed; nothing for those that give none."""


def write_predictions(
    path: Path,
    ids: Sequence[str],
    gold: Sequence[Json],
    compared: Compared,
    *,
    tolerance: float = TOLERANCE,
    answer: AnswerSettings = ANY,
    record: RecordSchema | None = None,
    contamination: str = "not checked",
) -> None:
    """Write what everybody answered; the file appears whole or not at all.

    Args:
        path: the file.
        ids: of the rows, each once.
        gold: of the rows.
        compared: everybody's answers to them, and their scores.
        tolerance: of `numeric_match`.
        answer: of `answer_match`.
        record: of `record_f1` and its kin.
        contamination: as `Evaluation.contamination`.
    """
    import pyarrow as pa

    given = [answers for one in compared.everybody.values() for answers in one.by_seed.values()]
    texts = all(value is None or isinstance(value, str) for row in (gold, *given) for value in row)
    about = About(
        values="text" if texts else "json",
        on=compared.evaluation.on,
        metrics=list(compared.evaluation.contestants[0].metrics),
        tolerance=tolerance,
        answer=answer,
        record=record,
        contamination=contamination,
        contestants={
            one.name: Who(role=one.role, simulated=one.simulated, recorded=one.recorded)
            for one in compared.evaluation.contestants
        },
    )
    columns = {name: pa.string() for name in ("id", "who", "role", "gold", "answer")}
    columns |= {"seed": pa.int64(), "confidence": pa.float64()}
    columns |= dict.fromkeys(_means(compared), pa.float64())
    schema = pa.schema(columns, metadata={METADATA: about.model_dump_json().encode()})
    written = _as_text if texts else _as_json
    write_records(path, schema, _lines(ids, gold, compared, about.contestants, written))


def _means(compared: Compared) -> list[str]:
    """The metrics that score each row by itself."""
    (scored, *_) = compared.scored.values()
    return [metric for metric, (first, *_) in scored.items() if first.rows is not None]


def _lines(
    ids: Sequence[str],
    gold: Sequence[Json],
    compared: Compared,
    contestants: Mapping[str, Who],
    written: Callable[[Json], str | None],
) -> Iterator[Line]:
    means = _means(compared)
    for place, (row_id, wanted) in enumerate(zip(ids, gold, strict=True)):
        for who, about in contestants.items():
            one, scored = compared.everybody[who], compared.scored[who]
            for number, (seed, given) in enumerate(one.by_seed.items()):
                sure = None if one.confidences is None or number else one.confidences[place]
                yield {
                    "id": row_id,
                    "who": who,
                    "role": about.role,
                    "seed": seed,
                    "gold": written(wanted),
                    "answer": written(given[place]),
                    "confidence": sure,
                    **{
                        metric: None
                        if (rows := scored[metric][number].rows) is None
                        # Arrow reads a whole number as one, also where the column is of fractions.
                        else float(rows[place])
                        for metric in means
                    },
                }


def _as_text(value: Json) -> str | None:
    assert value is None or isinstance(value, str)  # noqa: S101  looked at before
    return value


def _as_json(value: Json) -> str | None:
    return None if value is None else json_text(value)


def read_predictions(path: Path) -> Predictions:
    """What `write_predictions` wrote, batch by batch.

    Raises:
        UserError: the file is missing, damaged or of something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    gold: dict[str, Json] = {}
    answers: dict[str, dict[int, dict[str, Json]]] = {}
    confidences: dict[str, dict[str, float]] = {}
    try:
        with pq.ParquetFile(path) as file:
            about = About.model_validate_json((file.schema_arrow.metadata or {})[METADATA])
            _check_columns(file.schema_arrow)
            read = _same if about.values == "text" else _from_json
            for batch in file.iter_batches(columns=list(COLUMNS)):
                for row_id, who, seed, wanted, given, sure in zip(
                    *(batch.column(name).to_pylist() for name in COLUMNS), strict=True
                ):
                    value = read(wanted)
                    said = answers.setdefault(who, {}).setdefault(seed, {})
                    if row_id in said or gold.setdefault(row_id, value) != value:
                        raise ValueError(f"two lines of {who} about row {row_id}, or two golds")
                    said[row_id] = read(given)
                    if sure is not None:
                        confidences.setdefault(who, {})[row_id] = sure
            _check_whole(about, gold, answers)
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is none: evaluate again (`synthkd eval DIR`), which asks nothing that"
            " the ledger has"
        ) from None
    # Pydantic's, orjson's and Arrow's faults are ValueErrors, but for some of Arrow's.
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: is no file of predictions, or a damaged one ({str(error)!r:.200}): evaluate"
            " again"
        ) from error
    return Predictions(about=about, gold=gold, answers=answers, confidences=confidences)


def _check_columns(schema: pa.Schema) -> None:
    """A file of another version may have other columns.

    Raises:
        ValueError: one is missing, or of another type.
    """
    for name, kind in COLUMNS.items():
        if name not in schema.names or str(schema.field(name).type) != kind:
            raise ValueError(f"the column {name!r} is missing, or not of type {kind}")


def _check_whole(
    about: About,
    gold: Mapping[str, Json],
    answers: Mapping[str, Mapping[int, Mapping[str, Json]]],
) -> None:
    """Whoever is compared must have answered every row.

    Raises:
        ValueError: a line is missing, or somebody's.
    """
    if answers.keys() != about.contestants.keys() and gold:
        raise ValueError(f"tells of {', '.join(about.contestants)}, has {', '.join(answers)}")
    for who, by_seed in answers.items():
        for seed, said in by_seed.items():
            if len(said) != len(gold):
                raise ValueError(f"{who}, seed {seed}: {len(said)} lines for {len(gold)} rows")


def _same(value: str | None) -> Json:
    return value


def _from_json(value: str | None) -> Json:
    found: Json = None if value is None else orjson.loads(value)
    return found
