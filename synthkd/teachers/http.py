"""One attempt over an OpenAI-compatible endpoint: the hot path, so aiohttp and orjson, no SDK.

Measured per request: openai SDK 3.0 ms CPU, the SDK over aiohttp 1.5 ms, aiohttp 0.13 to 0.2 ms.

What a reply means is told by its status and the error code in its body, never by its text:

    2xx with an answer                       Completion
    400, 413, 422                            RequestRefused: this request, for good
    401, 402, 403, 404, a redirect,          TeacherRefused: every request, the run stops
      insufficient_quota, model_not_found
    anything else, and no or half a reply    AttemptFailed: worth another attempt

The API key is in the session's headers and in `_Secret`, which shows itself to nobody; it is cut
out of what goes into an error. An answer is left as it is: local servers have keys such as `none`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import orjson
from yarl import URL

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, RequestRefused, SynthkdError, TeacherRefused, UserError
from synthkd.teachers.endpoint import api_key, chat_urls
from synthkd.teachers.request import Completion, Request
from synthkd.teachers.wire import chat_body, parse_chat

CONNECT_TIMEOUT_S = 30.0
"""A server that takes no connection in this time is down; nothing was sent, so nothing billed."""

LARGEST_REPLY = 64 * 2**20
"""Bytes: no answer is that long, but a broken server may send without end."""

LONGEST_MESSAGE = 500
"""Characters of a provider's error message that are kept: some echo the whole prompt."""

REFUSED_REQUEST = {400, 413, 422}
REFUSED_TEACHER = {401, 402, 403, 404, 405, 410}

WAY_OUT = {
    401: "Check the API key",
    402: "Add credit at the provider, then run again",
    403: "Check what the API key may use",
    404: "Check `endpoint` (a base URL usually ends in /v1) and `model`",
}
CODE_WAY_OUT = {
    "insufficient_quota": "Add credit at the provider, then run again",
    "model_not_found": "Check `model`",
}


class _Secret:
    """An API key that no repr, log or traceback shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def cut_from(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._value, "[API key]")


@dataclass(slots=True)
class _Endpoint:
    """One base URL and how busy we keep it."""

    url: URL
    in_flight: int = 0

    @property
    def label(self) -> str:
        """For messages: without the query, which may hold a key."""
        return str(self.url.with_query(None))


class HttpTeacher:
    """An OpenAI-compatible endpoint, or several that serve the same model.

    Made by `open_http`, which owns the session.
    """

    def __init__(
        self,
        config: TeacherConfig,
        endpoints: Sequence[URL],
        session: aiohttp.ClientSession,
        secret: _Secret | None,
    ) -> None:
        self._config = config
        self._endpoints = [_Endpoint(url) for url in endpoints]
        self._session = session
        self._secret = secret

    async def complete(self, request: Request) -> Completion:
        """Make one attempt.

        Raises:
            RequestRefused: this request will never be answered.
            TeacherRefused: no request will.
            AttemptFailed: another attempt may succeed.
        """
        if request.api != "chat":
            raise UserError(f"the API {request.api!r} is not in this version: use a chat model")
        endpoint = min(self._endpoints, key=lambda endpoint: endpoint.in_flight)
        endpoint.in_flight += 1
        try:
            status, headers, reply = await self._post(endpoint, chat_body(request))
        finally:
            endpoint.in_flight -= 1
        if not 200 <= status < 300:
            raise self._refusal(endpoint, status, headers, reply)
        try:
            return parse_chat(reply)
        except AttemptFailed as error:
            raise AttemptFailed(
                f"{endpoint.label} answers HTTP {status}, but without an answer: "
                f"{self._quoted(reply.decode(errors='replace'))}",
                maybe_billed=error.maybe_billed,
                status=status,
            ) from None  # it quotes the reply too

    async def _post(self, endpoint: _Endpoint, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        # The causes are not chained: an aiohttp error may carry the request with all its headers.
        try:
            # A redirect could carry the key to another host.
            async with self._session.post(
                endpoint.url, data=body, allow_redirects=False
            ) as response:
                return response.status, response.headers, await _read(response)
        except aiohttp.ConnectionTimeoutError:
            raise AttemptFailed(
                f"{endpoint.label} took no connection in {CONNECT_TIMEOUT_S:g} s"
            ) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise TeacherRefused(
                f"{endpoint.label} shows a certificate that is not trusted "
                f"({error.certificate_error}): check `endpoint`, or name the file of the authority "
                f"that signed it in the environment variable SSL_CERT_FILE"
            ) from None
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise AttemptFailed(f"no connection to {endpoint.label}: {reason}") from None
        except TimeoutError:
            raise AttemptFailed(
                f"{endpoint.label} gave no whole answer in {self._config.timeout_s:g} s "
                f"(timeout_s)",
                maybe_billed=True,
            ) from None
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise AttemptFailed(
                f"{endpoint.label} broke off ({type(error).__name__})", maybe_billed=True
            ) from None

    def _quoted(self, text: str) -> str:
        """What a provider said, fit for an error: without the key, in one line, not too long."""
        if self._secret is not None:
            text = self._secret.cut_from(text)
        text = " ".join(text.split()) or "(nothing)"
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "..."

    def _refusal(
        self, endpoint: _Endpoint, status: int, headers: Mapping[str, str], reply: bytes
    ) -> SynthkdError:
        """The error that a status other than 2xx means."""
        codes, said = _error_of(reply)
        message = self._quoted(said)
        where = f"{endpoint.label} answers HTTP {status}"
        if 300 <= status < 400:
            target = self._quoted(_host_of(headers.get("Location", "")) or "another path")
            return TeacherRefused(
                f"{where}, a redirect to {target}, which is not followed because of the API key: "
                f"write the final address into `endpoint`"
            )
        for code in CODE_WAY_OUT.keys() & codes:
            return TeacherRefused(f"{where} ({code}): {message}. {CODE_WAY_OUT[code]}")
        if status in REFUSED_TEACHER:
            way_out = WAY_OUT.get(status, WAY_OUT[404])
            return TeacherRefused(f"{where}: {message}. {way_out}{self._key_hint(status)}")
        if status in REFUSED_REQUEST:
            return RequestRefused(status, message)
        wait_s = retry_after_s(headers)
        asked = "" if wait_s is None else f", asks to wait {wait_s:g} s"
        return AttemptFailed(f"{where}{asked}: {message}", wait_s=wait_s, status=status)

    def _key_hint(self, status: int) -> str:
        if status not in {401, 403}:
            return ""
        name = self._config.api_key_env
        if name is None:
            return ": none was sent, name its environment variable in `api_key_env`"
        return f": it came from the environment variable {name}"


@asynccontextmanager
async def open_http(name: str, config: TeacherConfig) -> AsyncIterator[HttpTeacher]:
    """Open the session of one teacher.

    Raises:
        UserError: an endpoint that is no URL, or an API key that is missing or malformed.
    """
    endpoints = [URL(url) for url in chat_urls(name, config)]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "synthkd",
        **config.headers,
    }
    key = api_key(name, config)
    if key is not None:
        bearer = config.api_key_header == "Authorization"
        headers[config.api_key_header] = f"Bearer {key}" if bearer else key
    session = aiohttp.ClientSession(
        # The Limited layer decides how many are in the air.
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(
            total=config.timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, config.timeout_s)
        ),
    )
    async with session:
        yield HttpTeacher(config, endpoints, session, None if key is None else _Secret(key))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    blocks = []
    size = 0
    async for block in response.content.iter_any():
        size += len(block)
        if size > LARGEST_REPLY:
            raise AttemptFailed(
                f"the reply of {response.url.host} is longer than {LARGEST_REPLY >> 20} MiB",
                maybe_billed=True,
                status=response.status,
            )
        blocks.append(block)
    return b"".join(blocks)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait; None = it does not say, or not legibly."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= wait_s < float("inf"):
            return wait_s
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _host_of(location: str) -> str | None:
    try:
        return URL(location).host
    except ValueError:
        return location[:100]


def _error_of(reply: bytes) -> tuple[set[str], str]:
    """The error codes in a body and the message for people, in any of the shapes in use."""
    try:
        body = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return set(), reply.decode("utf-8", "replace")
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return set(), str(error)
    codes = {error[name] for name in ("code", "type") if isinstance(error.get(name), str)}
    message = error.get("message") or error.get("detail") or reply.decode("utf-8", "replace")
    return codes, str(message)
