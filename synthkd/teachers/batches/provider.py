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
            asked = self._client.files.with_raw_response
            made = await asked.create(file=file, purpose="batch", extra_headers=more)
            return _id(_told(made.content))

    async def create(self, file_id: str, api: Api, window: str, tag: str) -> BatchStatus:
        """Start a batch of an uploaded file.

        Raises:
            RequestRefused: the provider makes no batch of this.
            TeacherRefused: it has no batches, or takes nothing from us.
            AttemptFailed: it may have been made, or not.
        """
        asked: dict[str, Any] = {"endpoint": f"/v1{PATH[api]}", "completion_window": window}
        with self._explained("/batches", may_lack=True):
            made = await self._once.batches.with_raw_response.create(
                input_file_id=file_id,
                metadata={TAG: tag},
                extra_headers={"Idempotency-Key": tag, **self._headers},
                **asked,
            )
            return _status(_told(made.content))

    async def search(self, tag: str, file_id: str | None, since_s: int) -> BatchStatus | None:
        """The batch that was made with this tag or of this file; None = there is none.

        Args:
            tag: what `create` was given.
            file_id: the file.
            since_s: seconds since 1970; older ones are not looked at.
        """
        with self._explained("/batches"):
            async for batch in self._listed():
                metadata, created = batch.get("metadata"), batch.get("created_at")
                tagged = isinstance(metadata, dict) and metadata.get(TAG) == tag
                if tagged or (file_id is not None and batch.get("input_file_id") == file_id):
                    return _status(batch)
                if isinstance(created, int | float) and created < since_s - CLOCKS_S:
                    break
        return None

    async def _listed(self) -> AsyncIterator[dict[str, Any]]:
        """All batches of the account, newest first.

        Raises:
            _OddReplyError: a page is none, or the pages go round in a circle.
        """
        cursors: list[str] = []
        while True:
            after: dict[str, Any] = {"after": cursors[-1]} if cursors else {}
            asked = self._client.batches.with_raw_response
            reply = await asked.list(limit=PAGE, extra_headers=self._headers, **after)
            page = _told(reply.content)
            batches = page.get("data")
            if not (isinstance(batches, list) and all(isinstance(one, dict) for one in batches)):
                raise _OddReplyError("it has no list of batches")
            for batch in batches:
                yield batch
            if not batches or page.get("has_more") is False:
                return
            cursor = _id(batches[-1])
            if cursor in cursors:
                if page.get("has_more") is None:
                    return  # a provider without pages
                raise _OddReplyError("its pages go round in a circle")
            cursors.append(cursor)

    async def look(self, batch_id: str) -> BatchStatus | None:
        """How a batch stands; None = the provider knows none of that name."""
        try:
            with self._explained("/batches", absent=True):
                asked = self._client.batches.with_raw_response
                told = await asked.retrieve(batch_id, extra_headers=self._headers)
                return _status(_told(told.content))
        except _AbsentError:
            return None

    async def cancel(self, batch_id: str) -> BatchStatus | None:
        """Stop a batch; what is done stays. None = the provider knows none of that name."""
        try:
            with self._explained("/batches", absent=True):
                asked = self._client.batches.with_raw_response
                told = await asked.cancel(batch_id, extra_headers=self._headers)
                return _status(_told(told.content))
        except _AbsentError:
            return None

    async def download(self, file_id: str, into: Path) -> bool:
        """Fetch a file, whatever its size; False = the provider has none of that name."""
        try:
            with self._explained("/files", absent=True):
                fetch = self._client.files.with_streaming_response.content
                async with fetch(file_id, extra_headers=self._headers) as response:
                    with into.open("wb") as content:
                        async for block in response.iter_bytes(CHUNK):
                            content.write(block)
        except _AbsentError:
            return False
        return True

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
        except _OddReplyError as error:
            failed = AttemptFailed(f"{label} answers what is no reply of a Batch API: {error}")
        raise failed from None


class _AbsentError(SynthkdError):
    """The provider knows nothing of that name."""


class _OddReplyError(SynthkdError):
    """HTTP 200, and no reply of a Batch API."""


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


def _told(reply: bytes) -> dict[str, Any]:
    """The JSON object of a reply. Not by the SDK's models, which take whatever comes.

    Raises:
        _OddReplyError: it is none.
    """
    try:
        told = orjson.loads(reply)
    except orjson.JSONDecodeError:
        raise _OddReplyError("it is no JSON") from None
    if not isinstance(told, dict):
        raise _OddReplyError("it is no JSON object")
    return told


def _id(told: Mapping[str, Any]) -> str:
    identity = told.get("id")
    if not isinstance(identity, str) or not identity:
        raise _OddReplyError("it has no id")
    return identity


def _status(batch: Mapping[str, Any]) -> BatchStatus:
    """What was told of a batch; not every provider tells all."""
    counts, errors = batch.get("request_counts"), batch.get("errors")
    faults = errors.get("data") if isinstance(errors, dict) else None
    return BatchStatus(
        id=_id(batch),
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
        raise _OddReplyError(f"its {name} is no name")
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
