"""One endpoint, asked with a few tiny requests: who it is, what it can do, how quick it is.

Through a session of its own, because what matters here is what a run does not keep: headers, the
status of a refusal of one parameter, the list of models. A refusal says what the provider says,
with the API key cut out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from yarl import URL

from synthkd.config import TeacherConfig
from synthkd.errors import AttemptFailed
from synthkd.rows import Json
from synthkd.teachers.endpoint import api_key, api_urls, headers_with
from synthkd.teachers.refusals import CODE_WAY_OUT, REFUSED_TEACHER, WAY_OUT
from synthkd.teachers.request import Completion
from synthkd.teachers.wire import parse_chat

MAX_TOKENS = 16
"""Of an answer: enough to see that it is cut there."""
PATIENCE_S = 60.0
"""For one request: a model may have to be loaded first."""
LARGEST_REPLY = 2**22
"""Bytes; a list of models has some hundred kB at most."""
LONGEST_QUOTE = 300

LENGTH_NAMES = ("max_tokens", "max_completion_tokens")
"""Reasoning models of OpenAI refuse the first."""

QUESTION = (
    "Count from one to fifty in words, separated by single spaces, and write nothing else at all."
)
"""Nobody answers it in `MAX_TOKENS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, whatever it was."""

    status: int
    """0 = nothing did."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    latency_s: float = 0.0
    fault: str = ""
    """Why nothing came back."""
    untrusted: bool = False
    """Whether that was a certificate that is not trusted."""

    @property
    def ok(self) -> bool:
        """Whether it is an answer."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def completion(self) -> Completion | None:
        """The answer that a run would read, or None where there is none."""
        try:
            return parse_chat(self.body) if self.ok else None
        except AttemptFailed:
            return None


class Endpoint:
    """One base URL of a teacher; `open_endpoints` makes it."""

    def __init__(
        self, chat: URL, config: TeacherConfig, session: aiohttp.ClientSession, key: str | None
    ) -> None:
        self.chat = chat
        self._config = config
        self._session = session
        self._key = key
        self.sent = 0
        """Questions, each of which costs a few tokens."""
        self.tokens = 0
        """What the provider says they used."""
        self.length_name = config.length_param
        """The parameter that bounds an answer."""

    @property
    def label(self) -> str:
        """For people: the base URL without its query, which may hold a key."""
        return str(self.chat.with_query(None)).removesuffix("/chat/completions")

    async def models(self) -> Reply:
        """The list of models, which costs nothing."""
        path = self.chat.path.removesuffix("/chat/completions") + "/models"
        return await self._send("GET", self.chat.with_path(path, keep_query=True))

    async def ask(self, *, most: int = MAX_TOKENS, **changes: Json) -> Reply:
        """One tiny question, with the teacher's own parameters and these changes."""
        body: dict[str, Json] = {
            "model": self._config.model,
            "messages": question(QUESTION),
            **self._config.sampling,
            self.length_name: most,
            **changes,
        }
        self.sent += 1
        reply = await self._send("POST", self.chat, orjson.dumps(body))
        answer = reply.completion()
        if answer is not None:
            self.tokens += answer.usage.prompt_tokens or 0
            self.tokens += answer.usage.completion_tokens or 0
        return reply

    def said(self, reply: Reply) -> str:
        """What the provider says about a refusal: without the key, in one line, not too long."""
        if reply.fault:
            return reply.fault
        body = reply.json()
        error = body.get("error", body) if isinstance(body, dict) else body
        text = error.get("message") if isinstance(error, dict) else None
        if not isinstance(text, str):
            text = reply.body[: 4 * LONGEST_QUOTE].decode(errors="replace")
        text = text if self._key is None else text.replace(self._key, "[API key]")
        text = " ".join(text.split())
        cut = text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."
        return f"HTTP {reply.status}: {cut}" if cut else f"HTTP {reply.status}"

    async def _send(self, method: str, url: URL, body: bytes | None = None) -> Reply:
        started = time.perf_counter()
        try:
            # As in a run: a redirect could carry the key to another host.
            async with self._session.request(
                method, url, data=body, allow_redirects=False
            ) as response:
                content = await _read(response)
        except aiohttp.ClientConnectorCertificateError as error:
            return Reply(
                status=0,
                untrusted=True,
                fault=f"its certificate is not trusted ({error.certificate_error})",
            )
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            return Reply(status=0, fault=f"no connection: {reason}")
        except TimeoutError:
            return Reply(status=0, fault=f"no answer in {patience_s(self._config):g} s")
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError) as error:
            return Reply(status=0, fault=f"it broke off ({type(error).__name__})")
        return Reply(
            status=response.status,
            headers=response.headers,
            body=content,
            latency_s=time.perf_counter() - started,
        )


def question(text: str) -> Json:
    """The messages of a question."""
    return [{"role": "user", "content": text}]


def patience_s(config: TeacherConfig) -> float:
    """Seconds that one tiny request may take."""
    return min(config.timeout_s, PATIENCE_S)


@asynccontextmanager
async def open_endpoints(name: str, config: TeacherConfig) -> AsyncIterator[Sequence[Endpoint]]:
    """A teacher's endpoints, with one session for all of them.

    Raises:
        UserError: an endpoint that is no URL, or an API key that is missing or malformed.
    """
    key = api_key(name, config)
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers_with(config, key),
        timeout=aiohttp.ClientTimeout(total=patience_s(config)),
    )
    async with session:
        yield [Endpoint(URL(urls["chat"]), config, session, key) for urls in api_urls(name, config)]


def refusal(reply: Reply) -> str | None:
    """How to mend a reply that stops every run, or None where it is none of those."""
    body = reply.json()
    error = body.get("error") if isinstance(body, dict) else None
    codes = {error.get("code"), error.get("type")} if isinstance(error, dict) else set()
    for code, way_out in CODE_WAY_OUT.items():
        if code in codes:
            return way_out
    if 300 <= reply.status < 400:
        return "A redirect is not followed because of the API key: write the final address"
    if reply.status in REFUSED_TEACHER:
        return WAY_OUT.get(reply.status, WAY_OUT[404])
    return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    blocks = []
    size = 0
    async for block in response.content.iter_any():
        blocks.append(block)
        size += len(block)
        if size > LARGEST_REPLY:
            break
    return b"".join(blocks)
