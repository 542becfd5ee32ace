"""The Batch API behind its HTTP: files, batches, and the course that a batch takes with the clock.

Nothing runs in the background: whoever looks at a batch moves it to where it is by now. Its lines
are answered one after the other as its time goes by, so a batch that is cancelled half way was
answered, and billed, half.

    validating -> in_progress -> finalizing -> completed
        failed       expired
             cancelling -> cancelled
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from synthkd.errors import UserError
from synthkd.fake_teacher.faults import Refusal

BatchFault = Literal[
    "invalid",
    "enqueued",
    "expired",
    "partial",
    "missing",
    "doubled",
    "unknown",
    "garbled",
    "broken_line",
]

BATCH_FAULTS: Mapping[str, str] = {
    "invalid": "its validation fails",
    "enqueued": "it fails because too many tokens are enqueued",
    "expired": "it expires when half of it is done",
    "partial": "every other line fails with 500",
    "missing": "every other line is answered, and told nowhere",
    "doubled": "every line of its output is there twice",
    "unknown": "its output has one line more, of a request that nobody made",
    "garbled": "the first line of its output is no JSON",
    "broken_line": "the last line of its output breaks off",
}

VALIDATED, DONE = 0.1, 0.9
"""Shares of a batch's time at which its validation and its last line are over."""

CANCELLED = 0.1
"""Share of a batch's time that its cancelling takes."""

MOST_LINES = 50_000

ENDED = {"completed", "failed", "expired", "cancelled"}

Answering = Callable[[str, dict[str, Any], str | None], tuple[int, Any]]
"""(path, body, fault or None) -> status and reply of one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that was uploaded, or that a batch wrote."""

    id: str
    name: str
    purpose: str
    content: bytes
    created_at: int

    @property
    def as_json(self) -> dict[str, Any]:
        """What the API tells of it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch; times are seconds since 1970."""

    id: str
    endpoint: str
    input_file_id: str
    metadata: Any
    created_s: float
    fault: str | None
    lines: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    """What the validation found."""
    status: str = "validating"
    cancelled_s: float | None = None
    entered_s: dict[str, float] = field(default_factory=dict)
    """Status -> when the batch came to it."""
    done: int = 0
    results: list[tuple[str, int, Any]] = field(default_factory=list)
    """Custom id, status and reply of each line that is done."""
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def as_json(self) -> dict[str, Any]:
        """What the API tells of it."""
        good = sum(status == 200 for _, status, _ in self.results)
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "errors": {"object": "list", "data": self.faults} if self.status == "failed" else None,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created_s),
            "expires_at": int(self.created_s) + 24 * 3600,
            **{
                f"{status}_at": int(self.entered_s[status]) if status in self.entered_s else None
                for status in ("in_progress", "finalizing", *sorted(ENDED), "cancelling")
            },
            "request_counts": {
                "total": 0 if self.faults else len(self.lines),
                "completed": good,
                "failed": len(self.results) - good,
            },
            "metadata": self.metadata,
        }


class Batches:
    """All files and batches of a provider.

    Args:
        answering: answers one line.
        delay_s: seconds from the start of a batch to its end; 0 = it is complete when first looked
            at.
        script: faults of the next batches in order, None = it goes well.
        wall_clock: seconds since 1970.

    Raises:
        UserError: a fault that does not exist.
    """

    def __init__(
        self,
        answering: Answering,
        *,
        delay_s: float,
        script: Iterable[str | None],
        wall_clock: Callable[[], float],
    ) -> None:
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.script = deque(script)
        for fault in self.script:
            if fault is not None and fault not in BATCH_FAULTS:
                raise UserError(f"no batch fault {fault!r}; there are {' '.join(BATCH_FAULTS)}")
        self._answering = answering
        self._delay_s = delay_s
        self._now = wall_clock

    def add_file(self, name: str, purpose: str, content: bytes) -> File:
        """Keep a file."""
        number = f"{len(self.files)} {name}".encode()
        identity = f"file-{hashlib.sha256(number + content).hexdigest()[:24]}"
        self.files[identity] = File(
            id=identity,
            name=name,
            purpose=purpose,
            content=content,
            created_at=int(self._now()),
        )
        return self.files[identity]

    def create(self, asked: Mapping[str, Any], endpoints: Sequence[str]) -> Batch:
        """Start a batch.

        Raises:
            Refusal: 400, what is asked makes no batch.
        """
        file = self.files.get(str(asked.get("input_file_id")))
        if file is None or file.purpose != "batch":
            raise Refusal(400, "'input_file_id' must name a file of purpose 'batch'")
        if asked.get("completion_window") != "24h":
            raise Refusal(400, "'completion_window' must be '24h'")
        endpoint = str(asked.get("endpoint"))
        if endpoint not in endpoints:
            raise Refusal(400, f"'endpoint' must be one of {', '.join(endpoints)}")
        fault = self.script.popleft() if self.script else None
        lines, faults = _read(file.content, endpoint)
        if fault == "invalid":
            faults.append(_fault("invalid_request", "the validation fails on purpose", 2))
        if fault == "enqueued":
            message = "Enqueued token limit reached. Please try again once others have completed."
            faults.append(_fault("token_limit_exceeded", message, None))
        number = f"{len(self.batches)} {file.id}".encode()
        batch = Batch(
            id=f"batch_{hashlib.sha256(number).hexdigest()[:24]}",
            endpoint=endpoint,
            input_file_id=file.id,
            metadata=asked.get("metadata"),
            created_s=self._now(),
            fault=fault,
            lines=lines,
            faults=faults,
        )
        self.batches[batch.id] = batch
        return batch

    def look(self, identity: str) -> Batch:
        """The batch as it is by now.

        Raises:
            Refusal: 404, there is none.
        """
        batch = self.batches.get(identity)
        if batch is None:
            raise Refusal(404, f"No batch found with id '{identity}'.", "not_found")
        self._advance(batch)
        return batch

    def cancel(self, identity: str) -> Batch:
        """Stop a batch; what is done by now stays.

        Raises:
            Refusal: 404, there is none; 400, it has ended.
        """
        batch = self.look(identity)
        if batch.status in ENDED:
            raise Refusal(400, f"Cannot cancel a batch with status '{batch.status}'.")
        if batch.cancelled_s is None:
            batch.cancelled_s = self._now()
            self._enter(batch, "cancelling")
        return batch

    def _advance(self, batch: Batch) -> None:
        """Answer the lines that are due, and move the batch to its status."""
        if batch.status in ENDED:
            return
        now_s = self._now()
        at_s = now_s if batch.cancelled_s is None else batch.cancelled_s
        passed = (at_s - batch.created_s) / self._delay_s if self._delay_s else 1.0
        status, share = _course(passed, batch)
        if batch.cancelled_s is not None:
            over = now_s - batch.cancelled_s >= CANCELLED * self._delay_s
            status = "cancelled" if over else "cancelling"
        for line in batch.lines[batch.done : int(share * len(batch.lines))]:
            broken = "500" if batch.fault == "partial" and batch.done % 2 else None
            answered, reply = self._answering(batch.endpoint, line["body"], broken)
            batch.results.append((line["custom_id"], answered, reply))
            batch.done += 1
        self._enter(batch, status)
        if status in ENDED - {"failed"}:
            self._write(batch)

    def _enter(self, batch: Batch, status: str) -> None:
        batch.status = status
        batch.entered_s.setdefault(status, self._now())

    def _write(self, batch: Batch) -> None:
        """Write the two files of a batch that has ended; their lines are in no order."""
        results = sorted(batch.results, key=lambda result: _shuffled(result[0]))
        good = [_line(batch, *result) for result in results if result[1] == 200]
        good = _spoilt(good, batch)
        bad = [_line(batch, *result) for result in results if result[1] != 200]
        if batch.status == "expired":
            for line in batch.lines[batch.done :]:
                message = "This request could not be executed before the completion window expired."
                error = {"code": "batch_expired", "message": message}
                bad.append(_line(batch, line["custom_id"], None, None, error))
        if good:
            name = f"{batch.id}_output.jsonl"
            batch.output_file_id = self.add_file(name, "batch_output", b"".join(good)).id
        if bad:
            name = f"{batch.id}_error.jsonl"
            batch.error_file_id = self.add_file(name, "batch_output", b"".join(bad)).id


def _spoilt(good: list[bytes], batch: Batch) -> list[bytes]:
    """The lines of an output file, as the fault has them."""
    fault = batch.fault
    if fault == "missing":
        return good[::2]
    if fault == "doubled":
        return [line for line in good for _ in range(2)]
    if fault == "unknown":
        return [*good, _line(batch, "nobody-made-this", 200, {})]
    if fault == "garbled" and good:
        return [good[0].replace(b'"response":', b'"response"', 1), *good[1:]]
    if fault == "broken_line" and good:
        return [*good[:-1], good[-1][: len(good[-1]) // 2]]
    return good


def _shuffled(custom_id: str) -> bytes:
    """Sorts as by chance, and always alike."""
    return hashlib.sha256(custom_id.encode()).digest()


def _course(passed: float, batch: Batch) -> tuple[str, float]:
    """The status after this share of a batch's time, and the share of lines that are done."""
    if passed < VALIDATED:
        return "validating", 0.0
    if batch.faults:
        return "failed", 0.0
    share = min(1.0, (passed - VALIDATED) / (DONE - VALIDATED))
    if batch.fault == "expired" and share >= 0.5:
        return "expired", 0.5
    if share < 1.0:
        return "in_progress", share
    return ("finalizing" if passed < 1.0 else "completed"), 1.0


def _line(batch: Batch, custom_id: str, status: int | None, reply: Any, error: Any = None) -> bytes:
    """One line of an output or error file."""
    identity = hashlib.sha256(f"{batch.id} {custom_id}".encode()).hexdigest()[:24]
    response = {"status_code": status, "request_id": f"req_{identity}", "body": reply}
    return orjson.dumps(
        {
            "id": f"batch_req_{identity}",
            "custom_id": custom_id,
            "response": None if status is None else response,
            "error": error,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _read(content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of an input file, and what is wrong with them."""
    lines: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, raw in enumerate(content.splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            line = orjson.loads(raw)
            custom_id, body = line["custom_id"], line["body"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            faults.append(_fault("invalid_json_line", "This line is not a request.", number))
            continue
        if not isinstance(custom_id, str) or not isinstance(body, dict):
            faults.append(_fault("invalid_request", "'custom_id' or 'body' is missing.", number))
        elif custom_id in seen:
            faults.append(_fault("duplicate_custom_id", f"'{custom_id}' is used twice.", number))
        elif line.get("url") != endpoint or line.get("method") != "POST":
            message = f"'method' must be POST and 'url' {endpoint}."
            faults.append(_fault("invalid_url", message, number))
        elif lines and body.get("model") != lines[0]["body"].get("model"):
            faults.append(_fault("mismatched_model", "A batch has one model.", number))
        else:
            seen.add(custom_id)
            lines.append(line)
    if not lines and not faults:
        faults.append(_fault("empty_file", "The file has no requests.", None))
    if len(lines) > MOST_LINES:
        faults.append(_fault("too_many_requests", f"At most {MOST_LINES} lines.", None))
    return lines, faults


def _fault(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}
