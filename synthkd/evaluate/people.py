"""What people said of what was judged: the annotators' file, and the verdicts that it belongs to.

Long, one label a line, or wide, a column for each annotator (`labels=("human1", "human2")`):

    {"id": "a1", "annotator": "ann", "label": "2"}
    {"id": "a1", "human1": 2, "human2": 2}

JSONL, CSV and Parquet. Labels are text, numbers or true/false; null and "" are no label.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from synthkd.errors import UserError
from synthkd.evaluate.calibration import LeftOut
from synthkd.evaluate.judged import Item, Pair
from synthkd.evaluate.reliability import Scale
from synthkd.hints import near
from synthkd.io.formats import csv_reader, jsonl_reader, parquet_reader
from synthkd.io.rows_file import REJECTED, ROWS, read_losses, read_rows
from synthkd.rows import Fields, Json
from synthkd.text import answer_text, equivalent

GATES = {"low_score": "keep_at_least", "undecided": "ties: reject"}
"""Why a judge rejects a row whose verdict it has, and the setting that makes it do so."""
NOBODY_ASKED = "nothing_to_judge"
ALONE = "annotator"
"""What the only annotator is called where the file names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """In which fields of the verdicts' records what stands; `a.b` is b in the object a."""

    id: str = "id"
    verdict: str | None = None
    """None = there are only scores."""
    swapped: str | None = None
    consistent: str | None = None
    score: str | None = None
    first: str | None = None
    """The text of the first answer, for its length."""
    second: str | None = None
    answers: str | None = None
    """What the judge said, a list; an empty one = nobody was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgements:
    """Verdicts with the labels of people."""

    items: Sequence[Item]
    left_out: LeftOut


def records_of(path: Path) -> Iterator[Fields]:
    """The records of a run's rows, with their ids, or of a file.

    Raises:
        UserError: there is no such file, or a record of it cannot be read.
    """
    if path.is_dir():
        for row in read_rows(path / ROWS):
            own = {"source_id": row.fields["id"]} if "id" in row.fields else {}
            yield {**row.fields, **own, "id": row.id}  # as the dataset has them
        return
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    readers = {".csv": csv_reader, ".tsv": csv_reader, ".parquet": parquet_reader}
    reader = readers.get(path.suffix.lower(), jsonl_reader)(path)
    for number, record in reader.records({}):
        if isinstance(record, str):
            raise UserError(f"{path} {reader.unit} {number}: {record}")
        yield record


def fields_of_verdict(run: Path, into: str) -> dict[str, str | None]:
    """Where a run's verdicts stand, by the names of `Where`: see `synthkd.curate.judges.verdict`.

    Raises:
        UserError: no row has one.
    """
    for record in records_of(run):
        verdict = _object(record.get(into))
        if isinstance(verdict, Mapping):
            # Of two answers the judge names one; the score of a single answer is no label yet.
            of_two = "outcome" in verdict
            names = {"verdict": "outcome", "consistent": "consistent"} if of_two else {}
            names |= {"answers": "answers"} if of_two else {"score": "score", "answers": "answers"}
            return {name: f"{into}.{key}" for name, key in names.items() if key in verdict}
    raise UserError(f"{run}: no row has a verdict in {into!r}: name its field with --verdict")


def unreadable_rows(run: Path, step: str) -> list[str]:
    """The ids of a run's rows on which its judge has no readable verdict: no row keeps them.

    Args:
        run: its folder.
        step: the judge's name in it.

    Raises:
        UserError: the judge rejected rows for what it thinks of them.
    """
    lost = [loss for loss in read_losses(run / REJECTED) if loss["step"] == step]
    for reason, setting in GATES.items():
        if gone := sum(loss["reason"] == reason for loss in lost):
            raise UserError(
                f"{run}: {step} rejected {gone} rows as {reason}, so that the rows that are left"
                f" flatter it: run it again without `{setting}` and with another --out (the answers"
                " are in the ledger and cost nothing), and calibrate that"
            )
    return [loss["row_id"] for loss in lost if loss["reason"] != NOBODY_ASKED]


def read_labels(
    path: Path, *, id_field: str = "id", labels: Sequence[str] = ("label",)
) -> dict[str, dict[str, str]]:
    """Id -> annotator -> label.

    Raises:
        UserError: a record without an id or a label field, two labels of one annotator for one id,
            or no label at all.
    """
    found: dict[str, dict[str, str]] = {}
    for number, record in enumerate(records_of(path), start=1):
        where = f"{path} record {number}"
        item = _text(record, id_field, where)
        if item is None:
            raise UserError(f"{where}: {id_field!r} is null, and nothing tells what was labelled")
        for name in labels:
            label = _text(record, name, where)
            if not label:
                continue
            who = name if len(labels) > 1 else str(record.get("annotator") or ALONE)
            if who in found.setdefault(item, {}):
                raise UserError(
                    f"{where}: a second label of {who!r} for the id {item!r} ({label!r} after"
                    f" {found[item][who]!r}): keep one, or name each annotator in a field"
                    " `annotator`"
                )
            found[item][who] = label
    found = {item: given for item, given in found.items() if given}
    if not found:
        raise UserError(f"{path}: holds no label in {', '.join(map(repr, labels))}")
    return found


def read_judgements(
    path: Path,
    where: Where,
    people: Mapping[str, Mapping[str, str]],
    *,
    people_path: Path,
    unreadable: Collection[str] = (),
    skip_unknown: bool = False,
) -> Judgements:
    """The verdicts on what people labelled.

    Args:
        path: a run's folder, or a file.
        where: what stands where in its records.
        people: id -> annotator -> label.
        people_path: where these are from, for messages.
        unreadable: ids of further rows, on which there is no readable verdict.
        skip_unknown: leave out labels of ids that have no verdict.

    Raises:
        UserError: a field is missing, an id stands twice, nothing was labelled, or people labelled
            what has no verdict and `skip_unknown` is off.
    """
    if unreadable and where.id != "id":
        raise UserError(
            f"{path}: {len(unreadable)} rows have no readable verdict, and only their `id` is"
            f" known, not {where.id!r}: give people the ids of rows, and leave --id out"
        )
    items = {
        row_id: Item(id=row_id, verdict=None, labels=people[row_id])
        for row_id in unreadable
        if row_id in people
    }
    unlabelled_unreadable = len(unreadable) - len(items)
    unlabelled, unasked = unlabelled_unreadable, 0
    seen: set[str] = set()
    for number, record in enumerate(records_of(path), start=1):
        place = f"{path} record {number}"
        item_id = _text(record, where.id, place) or ""
        if item_id in seen:
            raise UserError(
                f"{place}: the id {item_id!r} stands twice, so a label would belong to two"
                " verdicts: name a field with --id that differs"
            )
        seen.add(item_id)
        if item_id not in people:
            unlabelled += 1
            unlabelled_unreadable += not _is_readable(record, where)
        elif where.answers is not None and _value(record, where.answers, place) == []:
            unasked += 1
        else:
            items[item_id] = _item(item_id, record, where, people[item_id], place)
    unknown = [item for item in people if item not in items and item not in seen]
    if unknown and (not skip_unknown or len(unknown) == len(people)):
        shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise UserError(
            f"{people_path}: {len(unknown)} of {len(people)} ids have no verdict in {path}: {shown}"
            f". Ids of verdicts come from the field {where.id!r} (--id), such as"
            f" {next(iter(seen), 'none')!r}; --skip-unknown leaves such labels out"
        )
    left_out = LeftOut(
        unlabelled=unlabelled,
        unlabelled_unreadable=unlabelled_unreadable,
        unknown=len(unknown),
        unasked=unasked,
    )
    return Judgements(items=[*items.values()], left_out=left_out)


def check_labels(
    items: Sequence[Item], scale: Scale, pair: Pair | None, good: Collection[str] = ()
) -> None:
    """Check that labels are numbers where the scale has an order, and are named as is said.

    Raises:
        UserError: a label is no number, no verdict names one of the two answers, or nobody gave one
            of the labels that make an item good.
    """
    said = [label for item in items for label in (item.verdict, item.swapped) if label is not None]
    said += [] if pair is None else [pair.first, pair.second]
    given = [label for item in items for label in item.labels.values()]
    if good and items and {*map(equivalent, good)}.isdisjoint(map(equivalent, given)):
        raise UserError(
            f"nobody gave a label that --good names ({', '.join(map(repr, good))}), so nothing is"
            f" good: there are {', '.join(map(repr, sorted(set(given))[:5]))}"
        )
    for label in [*said, *given] if scale != "nominal" else []:
        if not _is_number(label):
            raise UserError(
                f"the label {label!r} is no number, so --scale {scale} makes no sense: leave it"
                " out, or give the labels as numbers"
            )
    verdicts = {
        equivalent(label) for item in items for label in (item.verdict, item.swapped) if label
    }
    if pair is not None and verdicts:
        names = {name: equivalent(name) for name in (pair.first, pair.second)}
        if not verdicts & {*names.values(), equivalent(pair.tie or "")}:
            there = ", ".join(map(repr, sorted(verdicts)[:5]))
            raise UserError(
                f"no verdict is {' or '.join(map(repr, names))}, as --first and --second say: there"
                f" are {there}"
            )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(equivalent(text)))
    except ValueError:
        return False


def _is_readable(record: Fields, where: Where) -> bool:
    """Whether there is a verdict; what nobody labelled may be of any shape."""
    for path in (where.verdict, where.score):
        with suppress(UserError):
            if path is not None and _value(record, path, "") not in (None, ""):
                return True
    return False


def _item(
    item_id: str, record: Fields, where: Where, labels: Mapping[str, str], place: str
) -> Item:
    chars = None
    if where.first is not None and where.second is not None:
        first, second = (_text(record, name, place) for name in (where.first, where.second))
        chars = None if first is None or second is None else (len(first), len(second))
    return Item(
        id=item_id,
        verdict=_text_at(record, where.verdict, place),
        swapped=_text_at(record, where.swapped, place),
        consistent=None if where.consistent is None else _number(record, where.consistent, place),
        score=None if where.score is None else _number(record, where.score, place),
        chars=chars,
        labels=labels,
    )


def _value(record: Fields, path: str, place: str) -> Json:
    """What stands at `a.b`; a name with a dot of its own is found first."""
    if path in record:
        return record[path]
    value: Json = record
    for name in path.split("."):
        if value is None:
            return None  # a verdict that there is none of
        value = _object(value)
        if not isinstance(value, Mapping) or name not in value:
            there = [*value] if isinstance(value, Mapping) else []
            hint = near(name, there) or f"; there are: {', '.join(there) or 'none'}"
            raise UserError(f"{place}: has no field {path!r}{hint}")
        value = value[name]
    return value


def _object(value: Json) -> Json:
    """An object that a dataset holds as JSON text."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(orjson.JSONDecodeError):
            read: Json = orjson.loads(value)
            return read
    return value


def _text(record: Fields, path: str, place: str) -> str | None:
    value = _value(record, path, place)
    text = str(value).lower() if isinstance(value, bool) else answer_text(value)
    if text is None and value is not None:
        raise UserError(f"{place}: {path!r} must be text or a number, got {value!r:.80}")
    return text


def _text_at(record: Fields, path: str | None, place: str) -> str | None:
    return None if path is None else _text(record, path, place) or None


def _number(record: Fields, path: str, place: str) -> float | None:
    value = _value(record, path, place)
    if value is None or value == "":
        return None
    with suppress(TypeError, ValueError, OverflowError):
        if math.isfinite(number := float(value)):  # type: ignore[arg-type]
            return number
    raise UserError(f"{place}: {path!r} must be a number, got {value!r:.80}")
