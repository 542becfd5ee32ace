"""A teacher that answers from a file of recorded completions.

    recorded: {parquet: answers.parquet, match: question, text: teacher_raw, where: {split: train}}

The file's rows with the same values in the `match` columns as the prompt's inputs have the answers:
sample k is the k-th of them in the order of the file. Such a teacher costs nothing, and nothing is
generated, so its replies count no tokens.

The file is read once, some rows at a time. What stays in memory is 16 bytes and the text of each
row that passes `where`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from synthkd.config import RecordedConfig
from synthkd.errors import NotRecorded, UserError
from synthkd.hints import near
from synthkd.rows import canonical, clean
from synthkd.teachers.request import Completion, Identity, Request, Usage
from synthkd.teachers.wire import chat_reply, parse_reply, raw_reply

NO_TOKENS = Usage(prompt_tokens=0, completion_tokens=0)
BATCH_ROWS = 1024
CHECKED_ROWS = 100
"""Rows that are looked at before a run begins: enough to find a wrong column."""


class RecordedTeacher:
    """Answers from a file; it is read once, when the teacher is opened.

    Args:
        config: which file, and which of its columns.
        path: the file, found.

    Raises:
        UserError: a file that cannot be read, or that lacks a column.
    """

    def __init__(self, config: RecordedConfig, path: Path) -> None:
        self.path = path
        self._match = _match(config)
        self._answers = self._read(config)
        self.identity = Identity(served_by=_served_by(config, path), reads_inputs=True)

    @property
    def questions(self) -> int:
        """How many questions the file has answers to."""
        return len(self._answers)

    @property
    def answers(self) -> int:
        """How many answers it has."""
        return sum(map(len, self._answers.values()))

    async def complete(self, request: Request) -> Completion:
        """Look the answer up.

        Raises:
            NotRecorded: the file has no such answer, or not so many.
        """
        missing = [name for name in self._match if name not in request.inputs]
        if missing:
            raise UserError(
                f"the recorded teacher of {self.path} matches by {', '.join(self._match)}, but the "
                f"prompt's inputs have no {missing[0]!r}{near(missing[0], request.inputs)}; change "
                f"`match`, or declare the input in the prompt"
            )
        texts = self._answers.get(_key(request.inputs, self._match), [])
        if request.sample >= len(texts):
            values = ", ".join(f"{name}={request.inputs[name]!r:.80}" for name in self._match)
            raise NotRecorded(
                f"{self.path} has {len(texts)} answers for {values}, sample {request.sample} "
                f"(counted from 0) was asked for"
            )
        model = request.body.get("model")
        raw = request.api == "completions"
        reply = (raw_reply if raw else chat_reply)(
            texts[request.sample],
            model=model if isinstance(model, str) else "recorded",
            usage=NO_TOKENS,
        )
        return parse_reply("completions" if raw else "chat", reply)

    def _read(self, config: RecordedConfig) -> dict[bytes, list[str]]:
        answers: dict[bytes, list[str]] = {}
        for row in _rows(config, self.path):
            if any(row[name] != value for name, value in config.where.items()):
                continue
            text = _text(config, self.path, row)
            if text is not None:
                answers.setdefault(_key(row, self._match), []).append(text)
        return answers


def check_recorded(config: RecordedConfig, path: Path) -> None:
    """Find what the first rows show of what would keep the teacher from opening.

    Raises:
        UserError: a file that cannot be read, or that lacks a column.
    """
    for row in itertools.islice(_rows(config, path), CHECKED_ROWS):
        _text(config, path, row)


def _match(config: RecordedConfig) -> list[str]:
    return [config.match] if isinstance(config.match, str) else config.match


def _key(values: Mapping[str, Any], match: Sequence[str]) -> bytes:
    """The match values in 16 bytes, so that the index does not keep long questions."""
    wanted = canonical([clean(values[name], {}) for name in match])
    return hashlib.sha256(wanted).digest()[:16]


def _text(config: RecordedConfig, path: Path, row: Mapping[str, Any]) -> str | None:
    text = row[config.text]
    if text is not None and not isinstance(text, str):
        raise UserError(
            f"the column {config.text!r} of {path} must hold text, got {type(text).__name__}: "
            f"name another column in recorded.text"
        )
    return None if text is None else str(clean(text, {}))


def _rows(config: RecordedConfig, path: Path) -> Iterator[Mapping[str, Any]]:
    """Every row of the file, with at least the columns that the teacher needs."""
    columns = list(dict.fromkeys([*_match(config), config.text, *config.where]))
    rows = _parquet(path, columns) if config.parquet is not None else _jsonl(path, columns)
    try:
        yield from rows
    except OSError as error:
        raise UserError(
            f"the recorded answers {path} cannot be read: {error.strerror or error}"
        ) from error


def _parquet(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error


def _jsonl(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UserError(f"{path}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is not a JSON object")
            _check(path, columns, row, f", line {number}")
            yield row


def _check(path: Path, columns: list[str], found: Iterable[str], place: str = "") -> None:
    names = set(found)
    for column in columns:
        if column not in names:
            raise UserError(
                f"the recorded answers {path}{place} have no column {column!r}"
                f"{near(column, names)}; there are: {', '.join(sorted(names))}"
            )


def _served_by(config: RecordedConfig, path: Path) -> str:
    """What decides an answer: the file's bytes and how they are read, not where the file lies."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    columns = canonical(config.model_dump(exclude={"parquet", "jsonl"}, mode="json"))
    return f"recorded:{hashlib.sha256(content.encode() + columns).hexdigest()}"
