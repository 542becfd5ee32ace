"""A teacher that answers from a file of recorded completions.

    recorded: {parquet: answers.parquet, match: question, text: teacher_raw, where: {split: train}}

The file's rows with the same values in the `match` columns as the prompt's inputs have the answers:
sample k is the k-th of them in the order of the file. Such a teacher costs nothing, and nothing is
generated, so its replies count no tokens.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from synthkd.config import RecordedConfig
from synthkd.errors import NotRecorded, UserError
from synthkd.rows import canonical, clean
from synthkd.teachers.request import Completion, Identity, Request, Usage
from synthkd.teachers.wire import chat_reply, parse_chat

NO_TOKENS = Usage(prompt_tokens=0, completion_tokens=0)


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
        self._match = [config.match] if isinstance(config.match, str) else config.match
        self._answers = self._read(config)
        self.identity = Identity(served_by=_served_by(config, path), reads_inputs=True)

    async def complete(self, request: Request) -> Completion:
        """Look the answer up.

        Raises:
            NotRecorded: the file has no such answer, or not so many.
        """
        texts = self._answers.get(self._key(request.inputs, "the prompt's inputs"), [])
        if request.sample >= len(texts):
            values = ", ".join(f"{name}={request.inputs[name]!r:.80}" for name in self._match)
            raise NotRecorded(
                f"{self.path} has {len(texts)} answers for {values}, sample {request.sample} "
                f"(counted from 0) was asked for"
            )
        model = request.body.get("model")
        reply = chat_reply(
            texts[request.sample],
            model=model if isinstance(model, str) else "recorded",
            usage=NO_TOKENS,
        )
        return parse_chat(reply)

    def _key(self, values: Mapping[str, Any], of: str) -> bytes:
        """The match values in 16 bytes, so that the index does not keep long questions."""
        missing = [name for name in self._match if name not in values]
        if missing:
            raise UserError(
                f"the recorded teacher of {self.path} matches by {', '.join(self._match)}, but "
                f"{of} have no {missing[0]!r}{_near(missing[0], values)}: change `match`, or "
                f"declare the input in the prompt"
            )
        wanted = canonical([clean(values[name], {}) for name in self._match])
        return hashlib.sha256(wanted).digest()[:16]

    def _read(self, config: RecordedConfig) -> dict[bytes, list[str]]:
        answers: dict[bytes, list[str]] = {}
        columns = list(dict.fromkeys([*self._match, config.text, *config.where]))
        for row in self._rows(config, columns):
            text = row[config.text]
            if text is None or any(row[name] != value for name, value in config.where.items()):
                continue
            if not isinstance(text, str):
                raise UserError(
                    f"the column {config.text!r} of {self.path} must hold text, got "
                    f"{type(text).__name__}: name another column in recorded.text"
                )
            clean_text = str(clean(text, {}))
            answers.setdefault(self._key(row, "its rows"), []).append(clean_text)
        return answers

    def _rows(self, config: RecordedConfig, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        rows = self._parquet(columns) if config.parquet is not None else self._jsonl(columns)
        try:
            yield from rows
        except OSError as error:
            raise UserError(
                f"the recorded answers {self.path} cannot be read: {error.strerror or error}"
            ) from error

    def _parquet(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                self._check(columns, file.schema_arrow.names)
                for batch in file.iter_batches(columns=columns):
                    yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise UserError(f"{self.path} is not a readable Parquet file: {error}") from error

    def _jsonl(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.isspace():
                    continue
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise UserError(f"{self.path}, line {number} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise UserError(f"{self.path}, line {number} is not a JSON object")
                self._check(columns, row, f", line {number}")
                yield row

    def _check(self, columns: list[str], found: Iterable[str], place: str = "") -> None:
        names = set(found)
        for column in columns:
            if column not in names:
                raise UserError(
                    f"the recorded answers {self.path}{place} have no column {column!r}"
                    f"{_near(column, names)}; there are: {', '.join(sorted(names))}"
                )


def _served_by(config: RecordedConfig, path: Path) -> str:
    """What decides an answer: the file's bytes and how they are read, not where the file lies."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    columns = canonical(config.model_dump(exclude={"parquet", "jsonl"}, mode="json"))
    return f"recorded:{hashlib.sha256(content.encode() + columns).hexdigest()}"


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
