"""The provider's Batch API, through the openai SDK: files up, batches made, files down.

Creating a batch is never tried twice here, because a reply that is lost may belong to a batch that
was made; whoever called looks for it by its tag.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import TeacherConfig
from synthkd.teachers.refusals import Refusals
from synthkd.teachers.request import Api
from synthkd.teachers.sdk import AbsentError, OddReplyError, Sdk, identity, open_sdk, told
from synthkd.teachers.wire import PATH

LACKS = "Write `mode: online`"
"""The way out where there is no Batch API."""
TAG = "synthkd"
"""Under this name our id is in a batch's metadata."""
ENDED = {"completed", "expired", "cancelled", "failed"}
CLOCKS_S = 86_400
"""How far a provider's clock may be behind ours when its list of batches is searched."""
CHUNK = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFault:
    """What the provider found wrong with a whole batch."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A batch, as the provider tells of it."""

    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    done: int = 0
    failed: int = 0
    faults: tuple[BatchFault, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED


class BatchProvider:
    """Files and batches at one endpoint."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    @property
    def label(self) -> str:
        """Names the endpoint in messages."""
        return self._sdk.label

    @property
    def refusals(self) -> Refusals:
        """Reads what is no answer, and cuts the API key out of it."""
        return self._sdk.refusals

    async def upload(self, path: Path, name: str) -> str:
        """Send the file of a batch; the provider's name of it.

        Raises:
            RequestRefused: it is too large, or not what the provider takes.
            TeacherRefused: the provider has no batches, or takes nothing from us.
            AttemptFailed: it did not arrive, or nobody said so.
        """
        with path.open("rb") as content:
            file = (name, content, "application/jsonl")
            return await self._sdk.upload(file, "batch", lacks=LACKS)

    async def create(self, file_id: str, api: Api, window: str, tag: str) -> BatchStatus:
        """Start a batch of an uploaded file.

        Raises:
            RequestRefused: the provider makes no batch of this.
            TeacherRefused: it has no batches, or takes nothing from us.
            AttemptFailed: it may have been made, or not.
        """
        asked: dict[str, Any] = {"endpoint": f"/v1{PATH[api]}", "completion_window": window}
        with self._sdk.explained("/batches", lacks=LACKS):
            made = await self._sdk.once.batches.with_raw_response.create(
                input_file_id=file_id,
                metadata={TAG: tag},
                extra_headers={"Idempotency-Key": tag, **self._sdk.headers},
                **asked,
            )
            return _status(told(made.content))

    async def search(self, tag: str, file_id: str | None, since_s: int) -> BatchStatus | None:
        """The batch that was made with this tag or of this file; None = there is none.

        Args:
            tag: what `create` was given.
            file_id: the file.
            since_s: seconds since 1970; older ones are not looked at.
        """
        ask = self._sdk.client.batches.with_raw_response.list
        with self._sdk.explained("/batches"):
            async for batch in self._sdk.listed("batches", ask):
                metadata, created = batch.get("metadata"), batch.get("created_at")
                tagged = isinstance(metadata, dict) and metadata.get(TAG) == tag
                if tagged or (file_id is not None and batch.get("input_file_id") == file_id):
                    return _status(batch)
                if isinstance(created, int | float) and created < since_s - CLOCKS_S:
                    break
        return None

    async def look(self, batch_id: str) -> BatchStatus | None:
        """How a batch stands; None = the provider knows none of that name."""
        try:
            with self._sdk.explained("/batches", absent=True):
                asked = self._sdk.client.batches.with_raw_response
                reply = await asked.retrieve(batch_id, extra_headers=self._sdk.headers)
                return _status(told(reply.content))
        except AbsentError:
            return None

    async def cancel(self, batch_id: str) -> BatchStatus | None:
        """Stop a batch; what is done stays. None = the provider knows none of that name."""
        try:
            with self._sdk.explained("/batches", absent=True):
                asked = self._sdk.client.batches.with_raw_response
                reply = await asked.cancel(batch_id, extra_headers=self._sdk.headers)
                return _status(told(reply.content))
        except AbsentError:
            return None

    async def download(self, file_id: str, into: Path) -> bool:
        """Fetch a file, whatever its size; False = the provider has none of that name."""
        try:
            with self._sdk.explained("/files", absent=True):
                fetch = self._sdk.client.files.with_streaming_response.content
                async with fetch(file_id, extra_headers=self._sdk.headers) as response:
                    with into.open("wb") as content:
                        async for block in response.iter_bytes(CHUNK):
                            content.write(block)
        except AbsentError:
            return False
        return True


@asynccontextmanager
async def open_provider(name: str, config: TeacherConfig) -> AsyncIterator[BatchProvider]:
    """Open the SDK's client for a teacher with one endpoint.

    Args:
        name: in the pipeline.
        config: its block.

    Raises:
        UserError: an API key that is missing or malformed.
    """
    async with open_sdk(f"teachers.{name}", config, "Batch API") as sdk:
        yield BatchProvider(sdk)


def _status(batch: Mapping[str, Any]) -> BatchStatus:
    """What was told of a batch; not every provider tells all."""
    counts, errors = batch.get("request_counts"), batch.get("errors")
    faults = errors.get("data") if isinstance(errors, dict) else None
    return BatchStatus(
        id=identity(batch),
        status=str(batch.get("status") or ""),
        output_file_id=_file(batch, "output_file_id"),
        error_file_id=_file(batch, "error_file_id"),
        done=_count(counts, "completed"),
        failed=_count(counts, "failed"),
        faults=tuple(_fault(each) for each in faults if isinstance(each, dict))
        if isinstance(faults, list)
        else (),
    )


def _file(batch: Mapping[str, Any], name: str) -> str | None:
    """Of what is misread as no file, the answers would be bought again."""
    value = batch.get(name) or None
    if value is not None and not isinstance(value, str):
        raise OddReplyError(f"its {name} is no name")
    return value


def _fault(told: Mapping[str, Any]) -> BatchFault:
    line = told.get("line")
    return BatchFault(
        code=str(told.get("code") or ""),
        message=str(told.get("message") or ""),
        line=line if isinstance(line, int) else None,
    )


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else 0
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0
