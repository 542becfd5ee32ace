"""The openai SDK at one endpoint: few calls and none of them hot, for files, batches and jobs.

It is imported by the first call that is made: it takes over two seconds. What it raises becomes our
errors, and replies are read as JSON objects, not by its models, which take whatever comes. What
makes something at the provider is never tried twice here (`once`), because a reply that is lost may
belong to something that was made; whoever called looks for it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, SynthkdError, TeacherRefused
from synthkd.teachers.endpoint import headers_with, key_from
from synthkd.teachers.refusals import Refusals

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRIES = 2
"""Of calls that may be made twice; the SDK waits half a second, then longer."""
NONE_THERE = {404, 405, 501}
"""What a provider answers that does not have this API."""
PAGE = 100


class AbsentError(SynthkdError):
    """The provider knows nothing of that name."""


class OddReplyError(SynthkdError):
    """HTTP 200, and no reply of this API."""


class Sdk:
    """An open client. Made by `open_sdk`.

    Args:
        client: the SDK's.
        label: names the endpoint in messages.
        api: names the API in messages, such as `Batch API`.
        refusals: reads what is no answer, and cuts the API key out of it.
        headers: of every call; the SDK lets a call alone leave its `Authorization` out.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        label: str,
        api: str,
        refusals: Refusals,
        headers: dict[str, Any],
    ) -> None:
        self.client = client
        self.once = client.with_options(max_retries=0)
        self.label = label
        self.refusals = refusals
        self.headers = headers
        self._api = api

    async def upload(self, file: tuple[str, Any, str], purpose: Any, *, lacks: str) -> str:
        """Send a file; the provider's name of it.

        Args:
            file: its name, content and type.
            purpose: what it is for, as the API has it.
            lacks: the way out where the provider has no files.

        Raises:
            RequestRefused: it is too large, or not what the provider takes.
            TeacherRefused: the provider has no files, or takes nothing from us.
            AttemptFailed: it did not arrive, or nobody said so.
        """
        with self.explained("/files", lacks=lacks):
            asked = self.client.files.with_raw_response
            made = await asked.create(file=file, purpose=purpose, extra_headers=self.headers)
            return identity(told(made.content))

    async def listed(
        self, what: str, ask: Callable[..., Awaitable[Any]], **wanted: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """All of a list, newest first.

        Args:
            what: they are, in the plural.
            ask: the raw call of the SDK.
            wanted: further arguments of each call.

        Raises:
            OddReplyError: a page is none, or the pages go round in a circle.
        """
        cursors: list[str] = []
        while True:
            after: dict[str, Any] = {"after": cursors[-1]} if cursors else {}
            reply = await ask(limit=PAGE, extra_headers=self.headers, **wanted, **after)
            page = told(reply.content)
            found = page.get("data")
            if not (isinstance(found, list) and all(isinstance(one, dict) for one in found)):
                raise OddReplyError(f"it has no list of {what}")
            for one in found:
                yield one
            if not found or page.get("has_more") is False:
                return
            cursor = identity(found[-1])
            if cursor in cursors:
                if page.get("has_more") is None:
                    return  # a provider without pages
                raise OddReplyError("its pages go round in a circle")
            cursors.append(cursor)

    @contextmanager
    def explained(
        self, path: str, *, lacks: str | None = None, absent: bool = False
    ) -> Iterator[None]:
        """Turn what the SDK raises into our errors; the causes, which may quote keys, are cut.

        Args:
            path: of the call, below the base URL.
            lacks: the way out where the provider does not have this API; None = it has.
            absent: whether 404 is the answer that there is nothing of that name.

        Raises:
            AbsentError: so it is.
            RequestRefused, TeacherRefused, AttemptFailed: as `Refusals` reads it.
        """
        import openai

        label = self.label + path
        try:
            yield
            return
        except openai.APIStatusError as error:
            status = error.status_code
            failed = self.refusals.of(label, status, error.response.headers, _body(error))
            if absent and status == 404:
                failed = AbsentError()
            elif lacks and status in NONE_THERE and "model_not_found" not in str(failed):
                failed = TeacherRefused(
                    f"{label} answers HTTP {status}: this provider has no {self._api} there."
                    f" {lacks}, or check `endpoint` (a base URL usually ends in /v1)"
                )
        except (openai.APIConnectionError, _http_error()) as error:
            why = error.__cause__ or error
            failed = AttemptFailed(
                f"no whole reply from {label} ({type(why).__name__})", unreachable=True
            )
        except OddReplyError as error:
            failed = AttemptFailed(f"{label} answers what is no reply of a {self._api}: {error}")
        raise failed from None


@asynccontextmanager
async def open_sdk(place: str, config: TeacherConfig, api: str) -> AsyncIterator[Sdk]:
    """Open the SDK's client for one endpoint.

    Args:
        place: of the block in the pipeline file, for messages.
        config: the block, with one endpoint.
        api: names the API in messages.

    Raises:
        UserError: an API key that is missing or malformed.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Omit, Timeout

    assert isinstance(config.endpoint, str)  # noqa: S101  the block was checked
    url = urlsplit(config.endpoint)
    key = key_from(config.api_key_env, place)
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
        yield Sdk(client, label, api, Refusals(config.api_key_env, key), omitted)


def told(reply: bytes) -> dict[str, Any]:
    """The JSON object of a reply.

    Raises:
        OddReplyError: it is none.
    """
    try:
        content = orjson.loads(reply)
    except orjson.JSONDecodeError:
        raise OddReplyError("it is no JSON") from None
    if not isinstance(content, dict):
        raise OddReplyError("it is no JSON object")
    return content


def identity(content: Mapping[str, Any]) -> str:
    """The provider's name of what it tells of.

    Raises:
        OddReplyError: it has none.
    """
    name = content.get("id")
    if not isinstance(name, str) or not name:
        raise OddReplyError("it has no id")
    return name


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
