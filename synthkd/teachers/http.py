"""One attempt over an OpenAI-compatible endpoint: the hot path, so aiohttp and orjson, no SDK.

Measured per request: openai SDK 3.0 ms CPU, the SDK over aiohttp 1.5 ms, aiohttp 0.13 to 0.2 ms.

What a reply other than an answer means is in `synthkd.teachers.refusals`; no or half a reply is
worth another attempt.

A long answer is streamed, because no total time tells a long one from a stalled one: there are
limits for the connection, for the first piece and between pieces. `synthkd.teachers.stream` puts
the pieces together.

The API key is in the session's headers, and is cut out of what goes into an error. An answer is
left as it is: local servers have keys such as `none`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext

import aiohttp
from yarl import URL

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed, RequestRefused, SynthkdError, TeacherRefused
from synthkd.rows import Json
from synthkd.teachers.concurrency import Load
from synthkd.teachers.endpoint import api_key, api_urls, base_urls, headers_with
from synthkd.teachers.headers import rate_limits
from synthkd.teachers.load import metrics_url, watched
from synthkd.teachers.refusals import CODE_WAY_OUT, Refusals, Unreachable, error_of
from synthkd.teachers.request import Completion, RateLimits, Request
from synthkd.teachers.servers import Server, Servers
from synthkd.teachers.stream import Assembling
from synthkd.teachers.wire import parse_reply, wire_body

LARGEST_REPLY = 64 * 2**20
"""Bytes: no answer is that long, but a broken server may send without end."""
LARGEST_STREAM = 512 * 2**20
"""Bytes: every token of a stream comes in a wrapping of some 200, with log-probabilities in 3,000;
what is kept of it is far less."""

STREAMED_FROM_TOKENS = 4096
"""`stream: auto` streams answers that may be longer: at 30 tokens/s that is over two minutes."""
LINGER_S = 1.0
"""How long a server may take to end a stream after its [DONE]; the connection serves on then."""

USAGE_OPTION: Mapping[str, Json] = {"stream_options": {"include_usage": True}}
"""Without it a server does not say what a stream cost."""
BROKEN = (aiohttp.ClientError, OSError, asyncio.IncompleteReadError)
"""What a connection may end in; a timeout is an OSError too."""


class BrokenOff(AttemptFailed):
    """The connection ended before the answer did."""


_Reply = tuple[bytes, RateLimits | None]
"""A body, and what its headers say about limits."""


class HttpTeacher:
    """An OpenAI-compatible endpoint, or several that serve the same model.

    Made by `open_http`, which owns the session.
    """

    def __init__(
        self,
        config: TeacherConfig,
        servers: Servers,
        session: aiohttp.ClientSession,
        refusals: Refusals,
    ) -> None:
        self._config = config
        self._servers = servers
        self._session = session
        self._refusals = refusals
        self._length = config.length_param
        self._untimed = aiohttp.ClientTimeout(
            total=None, sock_connect=config.connect_timeout_s
        )  # of a stream: its own limits are in `_pieces`
        self._usage_option: Mapping[str, Json] = USAGE_OPTION
        self._takes_option = False
        """Whether a stream with `stream_options` was ever answered."""

    async def complete(self, request: Request) -> Completion:
        """Make one attempt.

        Raises:
            RequestRefused: this request will never be answered.
            TeacherRefused: no request will.
            AttemptFailed: another attempt may succeed.
        """
        server = self._servers.choose(request)
        server.in_flight += 1
        try:
            ask = self._stream if self._is_streamed(request) else self._post
            reply, told = await ask(server, request)
        except Unreachable as error:
            self._servers.failed(server)
            if self._servers.another_than(server):
                error.wait_s = 0.0
            raise
        finally:
            server.in_flight -= 1
        if server.rest_s:
            self._servers.answered(server)
        try:
            completion = parse_reply(request.api, reply)
            return completion if told is None else completion._replace(rate_limits=told)
        except AttemptFailed as error:
            failed = error
        # Not raised inside: the other error quotes the reply, and a debugger would show it.
        raise AttemptFailed(
            f"{server.label(request.api)} answers HTTP 200, but without an answer: "
            f"{self._refusals.quoted(reply.decode(errors='replace'))}",
            maybe_billed=failed.maybe_billed,
            status=failed.status,
        )

    def _is_streamed(self, request: Request) -> bool:
        if request.body.get("prompt_logprobs") is not None:
            return False  # vLLM has them for whole replies only
        stream = self._config.stream
        if stream == "auto":
            stream = request.max_tokens is not None and request.max_tokens > STREAMED_FROM_TOKENS
        return stream and request.api in {"chat", "completions"}

    async def _post(self, server: Server, request: Request) -> _Reply:
        """One request, one reply."""
        # The causes are not chained: an aiohttp error may carry the request with all its headers.
        try:
            # A redirect could carry the key to another host.
            async with self._session.post(
                server.urls[request.api],
                data=wire_body(request, length=self._length),
                allow_redirects=False,
            ) as response:
                reply = await _read(response)
                if 200 <= response.status < 300:
                    return reply, rate_limits(response.headers)
                raise self._refusals.of(
                    server.label(request.api), response.status, response.headers, reply
                )
        except BROKEN as error:
            timeout_s = self._config.timeout_s
            late = f"gave no whole answer in {timeout_s:g} s (timeout_s)"
            raise self._broken(server.label(request.api), error, late) from None

    async def _stream(self, server: Server, request: Request) -> _Reply:
        """One request, the reply put together of its pieces."""
        option = self._usage_option
        try:
            reply = await self._pieces(server, request, option)
        except RequestRefused:
            # Some servers refuse `stream_options`, and no code says so: ask once without it.
            if not option or self._takes_option:
                raise
            reply = await self._pieces(server, request, {})
            self._usage_option = {}
        self._takes_option = bool(self._usage_option)
        return reply

    async def _pieces(self, server: Server, request: Request, option: Mapping[str, Json]) -> _Reply:
        label = server.label(request.api)
        told: RateLimits | None = None
        answer = Assembling("completions" if request.api == "completions" else "chat")
        body = wire_body(request, length=self._length, more={"stream": True, **option})
        try:
            async with (
                asyncio.timeout(self._config.first_token_timeout_s) as limit,
                self._session.post(
                    server.urls[request.api],
                    data=body,
                    allow_redirects=False,
                    timeout=self._untimed,
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    reply = await _read(response)
                    raise self._refusals.of(label, response.status, response.headers, reply)
                told = rate_limits(response.headers)
                if response.content_type != "text/event-stream":
                    # It does not stream, and answers all the same.
                    return await _read(response), told
                await self._follow(response, answer, limit)
        except BROKEN as error:
            if not answer.ended:  # else all of it came, and only the stream did not end
                late = f"began no answer in {self._config.first_token_timeout_s:g} s "
                late += "(first_token_timeout_s)"
                if answer.began:
                    late = f"sent nothing more of its answer for {self._config.idle_timeout_s:g} s "
                    late += "(idle_timeout_s)"
                raise self._broken(label, error, late) from None
        return self._whole(label, answer), told

    async def _follow(
        self, response: aiohttp.ClientResponse, answer: Assembling, limit: asyncio.Timeout
    ) -> None:
        """Take in the pieces; each one that is of the answer gives it time for the next."""
        now = asyncio.get_running_loop().time
        size = 0
        async for block in response.content.iter_any():
            size += len(block)
            if size > LARGEST_STREAM:
                raise _too_long(response, LARGEST_STREAM)
            if answer.feed(block):
                limit.reschedule(now() + self._config.idle_timeout_s)
            if answer.done:
                limit.reschedule(now() + LINGER_S)
            if answer.loop is not None or answer.error is not None:
                response.close()  # the server need not go on
                return

    def _whole(self, label: str, answer: Assembling) -> bytes:
        """The reply.

        Raises:
            TeacherRefused, AttemptFailed: an error came in mid-stream, or no end.
        """
        if answer.error is not None:
            codes, said = error_of(answer.error)
            for code in CODE_WAY_OUT.keys() & codes:
                raise TeacherRefused(
                    f"{label} ({code}): {self._refusals.quoted(said)}. {CODE_WAY_OUT[code]}"
                )
            raise AttemptFailed(
                f"{label} broke off its answer: {self._refusals.quoted(said)}", maybe_billed=True
            )
        if not answer.ended and answer.loop is None:
            raise AttemptFailed(f"{label} ended the stream before the answer", maybe_billed=True)
        return answer.reply()

    def _broken(self, label: str, error: Exception, late: str) -> SynthkdError:
        """The error that a connection without a whole reply means."""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            limit_s = self._untimed.sock_connect
            return Unreachable(
                f"{label} took no connection in {limit_s:g} s (connect_timeout_s)", unreachable=True
            )
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return TeacherRefused(
                f"{label} shows a certificate that is not trusted "
                f"({error.certificate_error}): check `endpoint`, or name the file of the authority "
                f"that signed it in the environment variable SSL_CERT_FILE"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or type(error.os_error).__name__
            return Unreachable(f"no connection to {label}: {reason}", unreachable=True)
        if isinstance(error, TimeoutError):
            return AttemptFailed(f"{label} {late}", maybe_billed=True)
        return BrokenOff(f"{label} broke off ({type(error).__name__})", maybe_billed=True)


@asynccontextmanager
async def open_http(
    name: str, config: TeacherConfig, tell: Callable[[Load], None] | None = None
) -> AsyncIterator[HttpTeacher]:
    """Open the session of one teacher.

    Args:
        name: in the pipeline.
        config: its block.
        tell: told how busy its servers are, where they say so (vLLM); None = they are not asked.

    Raises:
        UserError: an endpoint that is no URL, or an API key that is missing or malformed.
    """
    servers = Servers(
        [{api: URL(url) for api, url in urls.items()} for urls in api_urls(name, config)]
    )
    urls = [metrics_url(base) for base in base_urls(config)]
    async with connected(config, servers, api_key(name, config), lambda: urls, tell) as teacher:
        yield teacher


@asynccontextmanager
async def connected(
    config: TeacherConfig,
    servers: Servers,
    key: str | None,
    metrics: Callable[[], Sequence[URL]],
    tell: Callable[[Load], None] | None,
) -> AsyncIterator[HttpTeacher]:
    """Open the session with these servers.

    Args:
        config: of the teacher.
        servers: who is asked.
        key: what every request carries; None = nothing.
        metrics: where the servers tell now how busy they are.
        tell: told it; None = they are not asked.
    """
    session = aiohttp.ClientSession(
        # The Limited layer decides how many are in the air.
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers_with(config, key),
        timeout=aiohttp.ClientTimeout(
            total=config.timeout_s, sock_connect=min(config.connect_timeout_s, config.timeout_s)
        ),
    )
    watching = nullcontext() if tell is None else watched(metrics, tell)
    async with session, watching:
        yield HttpTeacher(config, servers, session, Refusals(config.api_key_env, key))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    blocks = []
    size = 0
    async for block in response.content.iter_any():
        size += len(block)
        if size > LARGEST_REPLY:
            raise _too_long(response, LARGEST_REPLY)
        blocks.append(block)
    return b"".join(blocks)


def _too_long(response: aiohttp.ClientResponse, most: int) -> AttemptFailed:
    return AttemptFailed(
        f"the reply of {response.url.host} is longer than {most >> 20} MiB",
        maybe_billed=True,
        status=response.status,
    )
