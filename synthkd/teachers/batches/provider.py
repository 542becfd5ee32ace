"""The provider's Batch API, through the openai SDK: files up, batches made, files down.

Few calls and none of them hot, so the SDK's 3 ms each do not matter. It is imported by the first
call that is made: it takes over two seconds. Creating a batch is never tried twice here, because a
reply that is lost may belong to a batch that was made; whoever called looks for it by its tag.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, SynthkdError, TeacherRefused
from synthkd.teachers.endpoint import api_key, headers_with
from synthkd.teachers.refusals import Refusals
from synthkd.teachers.request import Api
from synthkd.teachers.wire import PATH

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRIES = 2
"""Of calls that may be made twice; the SDK waits half a second, then longer."""
NONE_THERE = {404, 405, 501}
"""What a provider without batches answers."""
TAG = "synthkd"
"""Under this name our id is in a batch's metadata."""
ENDED = {"completed", "expired", "cancelled", "failed"}
CLOCKS_S = 86_400
"""How far a provider's clock may be behind ours when its list of batches is searched."""
PAGE = 100
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
    """Files and batches at one endpoint. Made by `open_provider`.

    Args:
        client: the SDK's.
        label: names the endpoint in messages.
        refusals: reads what is no answer, and cuts the API key out of it.
        headers: of every call; the SDK lets a call alone leave its `Authorization` out.
    """

    def __init__(
        self, client: AsyncOpenAI, label: str, refusals: Refusals, headers: dict[str, Any]
    ) -> None:
        self._headers = headers
        self._client = client
        self._once = client.with_options(max_retries=0)
        self.label = label
        self.refusals = refusals

    async def upload(self, path: Path, name: str) -> str:
        """Send the file of a batch; the provider's name of it.

        Raises:
            RequestRefused: it is too large, or not what the provider takes.
            TeacherRefused: the provider has no batches, or takes nothing from us.
            AttemptFailed: it did not arrive, or nobody said so.
        """
        with self._explained("/files", may_lack=True), path.open("rb") as content:
            file = (name, content, "application/jsonl")
            more = self._headers
            made = await self._client.files.create(file=file, purpose="batch", extra_headers=more)
            return made.id

    async def create(self, file_id: str, api: Api, window: str, tag: str) -> BatchStatus:
        """Start a batch of an uploaded file.

        Raises:
            RequestRefused: the provider makes no batch of this.
            TeacherRefused: it has no batches, or takes nothing from us.
            AttemptFailed: it may have been made, or not.
        """
        asked: dict[str, Any] = {"endpoint": f"/v1{PATH[api]}", "completion_window": window}
        with self._explained("/batches", may_lack=True):
            return _status(
                await self._once.batches.create(
                    input_file_id=file_id,
                    metadata={TAG: tag},
                    extra_headers={"Idempotency-Key": tag, **self._headers},
                    **asked,
                )
            )

    async def search(self, tag: str, file_id: str | None, since_s: int) -> BatchStatus | None:
        """The batch that was made with this tag or of this file; None = there is none.

        Args:
            tag: what `create` was given.
            file_id: the file.
            since_s: seconds since 1970; older ones are not looked at.
        """
        with self._explained("/batches"):
            async for batch in self._client.batches.list(limit=PAGE, extra_headers=self._headers):
                if (batch.metadata or {}).get(TAG) == tag or batch.input_file_id == file_id:
                    return _status(batch)
                if (batch.created_at or since_s) < since_s - CLOCKS_S:
                    break
        return None

    async def look(self, batch_id: str) -> BatchStatus | None:
        """How a batch stands; None = the provider knows none of that name."""
        try:
            with self._explained("/batches", absent=True):
                asked = self._client.batches.retrieve
                return _status(await asked(batch_id, extra_headers=self._headers))
        except _AbsentError:
            return None

    async def cancel(self, batch_id: str) -> BatchStatus | None:
        """Stop a batch; what is done stays. None = the provider knows none of that name."""
        try:
            with self._explained("/batches", absent=True):
                asked = self._client.batches.cancel
                return _status(await asked(batch_id, extra_headers=self._headers))
        except _AbsentError:
            return None

    async def download(self, file_id: str, into: Path) -> None:
        """Fetch a file, whatever its size."""
        with self._explained("/files"):
            fetch = self._client.files.with_streaming_response.content
            async with fetch(file_id, extra_headers=self._headers) as response:
                with into.open("wb") as content:
                    async for block in response.iter_bytes(CHUNK):
                        content.write(block)

    @contextmanager
    def _explained(
        self, path: str, *, may_lack: bool = False, absent: bool = False
    ) -> Iterator[None]:
        """Turn what the SDK raises into our errors; the causes, which may quote keys, are cut."""
        import openai

        label = self.label + path
        try:
            yield
            return
        except openai.APIStatusError as error:
            status = error.status_code
            failed = self.refusals.of(label, status, error.response.headers, _body(error))
            if absent and status == 404:
                failed = _AbsentError()
            elif may_lack and status in NONE_THERE and "model_not_found" not in str(failed):
                failed = TeacherRefused(
                    f"{label} answers HTTP {status}: this provider has no Batch API there. Write"
                    " `mode: online`, or check `endpoint` (a base URL usually ends in /v1)"
                )
        except (openai.APIConnectionError, _http_error()) as error:
            why = error.__cause__ or error
            failed = AttemptFailed(
                f"no whole reply from {label} ({type(why).__name__})", unreachable=True
            )
        except openai.APIResponseValidationError as error:
            failed = AttemptFailed(
                f"{label} answers what is no reply of a Batch API ({type(error).__name__})"
            )
        raise failed from None


class _AbsentError(SynthkdError):
    """The provider knows nothing of that name."""


@asynccontextmanager
async def open_provider(name: str, config: TeacherConfig) -> AsyncIterator[BatchProvider]:
    """Open the SDK's client for a teacher with one endpoint.

    Args:
        name: in the pipeline.
        config: its block.

    Raises:
        UserError: an API key that is missing or malformed.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Omit, Timeout

    assert isinstance(config.endpoint, str)  # noqa: S101  the block was checked
    url = urlsplit(config.endpoint)
    key = api_key(name, config)
    headers: dict[str, Any] = dict(headers_with(config, key))
    del headers["Content-Type"]
    omitted = {} if "Authorization" in headers else {"Authorization": Omit()}
    client = AsyncOpenAI(
        api_key=key or "none",  # without one it would look for OPENAI_API_KEY itself
        base_url=url._replace(query="", fragment="", path=url.path.rstrip("/")).geturl(),
        default_query=dict(parse_qsl(url.query, keep_blank_values=True)),
        default_headers=headers,
        max_retries=RETRIES,
        # A redirect could carry the key to another host. Without one, http: needs no certificates,
        # which take 0.1 s to read.
        http_client=DefaultAsyncHttpxClient(
            follow_redirects=False, verify=url.scheme.lower() != "http"
        ),
        timeout=Timeout(config.timeout_s, connect=config.connect_timeout_s),
    )
    async with client:
        label = url._replace(query="", fragment="").geturl().rstrip("/")
        yield BatchProvider(client, label, Refusals(config.api_key_env, key), omitted)


def _http_error() -> type[Exception]:
    """What the SDK's own HTTP library raises in mid-download; the SDK does not wrap it there."""
    import openai

    client = openai.DefaultAsyncHttpxClient.__mro__[1]  # of httpx or, by now, of httpx2
    error: type[Exception] = sys.modules[client.__module__].HTTPError
    return error


def _body(error: Any) -> bytes:
    if error.body is None:
        return str(error.message).encode()
    return error.body.encode() if isinstance(error.body, str) else orjson.dumps(error.body)


def _status(batch: Any) -> BatchStatus:
    """What the SDK read; it does not check what it read, and not every provider tells all."""
    counts = batch.request_counts
    errors = batch.errors.data if batch.errors else None
    return BatchStatus(
        id=str(batch.id),
        status=str(batch.status),
        output_file_id=batch.output_file_id or None,
        error_file_id=batch.error_file_id or None,
        done=_count(counts, "completed"),
        failed=_count(counts, "failed"),
        faults=tuple(
            BatchFault(code=fault.code or "", message=fault.message or "", line=fault.line)
            for fault in errors or ()
        ),
    )


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else getattr(counts, name, 0)
    return value if isinstance(value, int) else 0
