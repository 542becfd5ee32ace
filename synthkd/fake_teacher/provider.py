"""The fake provider itself: a server on loopback that lets requests in, and answers or errs."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import ipaddress
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import orjson
from aiohttp import web

from synthkd.errors import UserError
from synthkd.fake_teacher.admission import Allowance, RetryAfter, Slots, wait_headers
from synthkd.fake_teacher.answers import ANSWERS, IN_BATCHES, WHOLE, reply_to
from synthkd.fake_teacher.batch_api import BatchApi
from synthkd.fake_teacher.batches import Batches
from synthkd.fake_teacher.books import Books
from synthkd.fake_teacher.calls import Calls
from synthkd.fake_teacher.chat import Body, Prefixes, Voice
from synthkd.fake_teacher.faults import BROKEN, ERRORS, Faults, Refusal, drawn
from synthkd.fake_teacher.fine_tuning import FineTuning
from synthkd.fake_teacher.fine_tuning_api import FineTuningApi
from synthkd.fake_teacher.wire import (
    ELSEWHERE,
    drip,
    json_response,
    refused,
    reset,
    send,
    silence,
    stream,
)

NEED_THE_KEY = ("/v1/models", "/v1/files", "/v1/batches", "/v1/fine_tuning")
"""Beside the answers; /health, /metrics and /stats are open, as they are with vLLM."""

LARGEST_BODY = 2**29
"""Bytes: more than any client sends, less than a test machine has."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeTeacher(Books):
    """See the package; its books are its attributes.

    Args:
        answer: the words of an answer to a body, in place of the echo; `seed` in the body tells the
            choices of `n` apart.
        models: those that exist; another is answered 404. () = any.
        served_model: what replies name as their model; None = the one asked for, with `-served`.
        fingerprint: the `system_fingerprint` of replies.
        fingerprint_changes_after: requests after which it is another; None = never.
        reasoning_tokens: before each answer, where the body does not say (`reasoning_effort`).
        reasoning_field: where they stand; newer servers call it `reasoning`.
        tells_usage: whether replies say how many tokens they cost.
        prefix_cache: whether messages that were asked before count as `cached_tokens`.
        latency_s: seconds before each answer; a pair = anything between, drawn by body and attempt.
        token_s: seconds for each token of an answer; between the events of a stream.
        requests_per_minute: more are answered 429; None = no limit.
        tokens_per_minute: the same for tokens of prompt and answer.
        burst_s: so many seconds' allowance may be used at once.
        retry_after_as: how such a 429 tells how long to wait.
        concurrency: requests that are worked on at once; None = any number.
        queues: whether the others wait in line, as with vLLM; else they are answered 429.
        metrics: whether /metrics tells running and waiting requests; None = when they wait in line.
        cache_for: requests that fill its KV cache, as far as /metrics says; None = it stays empty.
        api_key: what clients must send; None = anything.
        rates: fault -> share of the attempts, `poison` -> share of the bodies; see `faults.py`.
        script: faults of the next attempts in order, None = answer; taken before `rates` count.
        retry_after: extra headers of a 429 or 503 that is a fault.
        drip_s: seconds between the bytes of the fault `drip`.
        batch_delay_s: seconds that a batch takes; 0 = it is complete when first looked at.
        batch_script: faults of the next batches, None = it goes well; see `batches.py`.
        batch_call_script: faults of the next calls to files, batches and jobs; see `calls.py`.
        batch_bytes: of a file; a larger one is answered 413. None = no limit.
        has_batches: whether there are files and batches at all.
        job_delay_s: seconds that a fine-tuning job takes; 0 = it is over when first looked at.
        job_script: faults of the next jobs, None = it goes well; see `fine_tuning.py`.
        has_fine_tuning: whether there are fine-tuning jobs at all.
        seed: of the faults by rate and of the latency.
        clock: seconds, for limits, batches and jobs.

    Raises:
        UserError: an unknown fault, or a number out of its range.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Body], str] | None = None,
        models: Sequence[str] = (),
        served_model: str | None = None,
        fingerprint: str = "fp_fake",
        fingerprint_changes_after: int | None = None,
        reasoning_tokens: int = 0,
        reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content",
        tells_usage: bool = True,
        prefix_cache: bool = False,
        latency_s: float | tuple[float, float] = 0.0,
        token_s: float = 0.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst_s: float = 60.0,
        retry_after_as: RetryAfter = "seconds",
        concurrency: int | None = None,
        queues: bool = True,
        metrics: bool | None = None,
        cache_for: int | None = None,
        api_key: str | None = None,
        rates: Mapping[str, float] | None = None,
        script: Iterable[str | None] = (),
        retry_after: Mapping[str, str] | None = None,
        drip_s: float = 0.1,
        batch_delay_s: float = 0.0,
        batch_script: Iterable[str | None] = (),
        batch_call_script: Iterable[str | None] = (),
        batch_bytes: int | None = None,
        has_batches: bool = True,
        job_delay_s: float = 0.0,
        job_script: Iterable[str | None] = (),
        has_fine_tuning: bool = True,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        epoch_s = time.time() - clock()

        def wall_clock() -> float:
            return epoch_s + clock()

        self.url = ""
        self.models = list(models)
        self.fingerprint = fingerprint
        self.fingerprint_changes_after = fingerprint_changes_after
        self.tells_usage = tells_usage
        self.latency_s = latency_s
        self.token_s = token_s
        self.api_key = api_key
        self.retry_after = retry_after or {}
        self.drip_s = drip_s
        self.voice = Voice(
            answer=answer,
            served_model=served_model,
            reasoning_tokens=reasoning_tokens,
            reasoning_field=reasoning_field,
        )
        self._faults = Faults(rates or {}, script, seed)
        self._prefixes = Prefixes() if prefix_cache else None
        self._allowance = Allowance(
            requests_per_minute, tokens_per_minute, burst_s, retry_after_as, clock, wall_clock
        )
        wait = wait_headers(1.0, retry_after_as, wall_clock)
        self._slots = Slots(concurrency, queues=queues, refused=wait)
        self._tells_metrics = queues and concurrency is not None if metrics is None else metrics
        self._cache_for = cache_for
        self._batches = Batches(
            self._line, delay_s=batch_delay_s, script=batch_script, wall_clock=wall_clock
        )
        self._calls = Calls(batch_call_script, self)
        self._batch_api = BatchApi(
            self._batches,
            IN_BATCHES,
            self._calls,
            most_bytes=batch_bytes,
            is_there=has_batches,
        )
        self._fine_tuning = FineTuning(
            self._batches.files,
            self.models,
            delay_s=job_delay_s,
            script=job_script,
            wall_clock=wall_clock,
        )
        self._fine_tuning_api = FineTuningApi(
            self._fine_tuning, self._calls, is_there=has_fine_tuning
        )

    @property
    def rates(self) -> dict[str, float]:
        """Fault -> share of the attempts; may be changed at any time."""
        return self._faults.rates

    @property
    def script(self) -> deque[str | None]:
        """The faults of the next attempts; may be changed at any time."""
        return self._faults.script

    @property
    def batch_script(self) -> deque[str | None]:
        """The faults of the next batches; may be changed at any time."""
        return self._batches.script

    @property
    def batch_call_script(self) -> deque[str | None]:
        """The faults of the next calls to files, batches and jobs; may be changed at any time."""
        return self._calls.script

    @property
    def batches(self) -> Batches:
        """Files and batches, for tests to look at."""
        return self._batches

    @property
    def fine_tuning(self) -> FineTuning:
        """Jobs and the faults of the next ones, for tests to look at."""
        return self._fine_tuning

    @asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[FakeTeacher]:
        """Listen while the block runs; `url` is the base URL. Port 0 = any that is free.

        Raises:
            UserError: the host is not loopback, or the port is taken.
        """
        _check_loopback(host)
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._guarded])
        for path in ANSWERS:
            asked = functools.partial(self._asked, path)
            app.router.add_post(path, asked)
            # As Azure has it: the deployment in the path is the model.
            app.router.add_post(f"/openai/deployments/{{model}}{path.removeprefix('/v1')}", asked)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{model}", self._model)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/metrics", self._metrics)
        self._batch_api.add_to(app.router)
        self._fine_tuning_api.add_to(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port, backlog=2048).start()
            except OSError as error:
                raise UserError(
                    f"cannot listen on {host}:{port}: {error.strerror}; port 0 takes a free one"
                ) from None
            address = f"[{host}]" if ":" in host else host
            self.url = f"http://{address}:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    # ------------------------------------------------------------------------------------ answers

    async def _asked(self, path: str, http: web.Request) -> web.StreamResponse:
        """One request for answers, from its arrival to its entry in the books."""
        raw = await http.read()
        digest = hashlib.sha256(raw).digest()
        before = self.arrived(digest, http.headers)
        status = "none"
        try:
            self._check_key(http)
            body = self._parsed(http, raw)
            self.seen.append(body)
            if self._allowance:
                self._allowance.admit(self._cost(path, body, digest))
            fault = self._faults.next(digest, before)
            if fault is not None:
                self.faults[fault] += 1
            async with self._slots:
                if self.latency_s:
                    await asyncio.sleep(self._latency_s(digest, before))
                response = await self._answer(path, http, body, digest, fault)
            if fault not in BROKEN:
                status = str(response.status)
        except Refusal as refusal:
            response = refused(refusal)
            response.headers.update(self._allowance.headers())
            status = str(refusal.status)
        except ConnectionError:  # the client went away
            return web.Response()
        finally:
            self.left(status)
        return response

    async def _answer(
        self, path: str, http: web.Request, body: Body, digest: bytes, fault: str | None
    ) -> web.StreamResponse:
        """Answer, or do what the fault says."""
        if fault in ERRORS:
            raise self._error(fault, http.headers)
        if fault == "redirect":
            raise Refusal(307, "elsewhere", None, {"Location": ELSEWHERE})
        if fault == "reset":
            return reset(http)
        reply = self._reply(path, body, digest, fault)
        usage, told = reply["usage"], self._told(reply, fault)
        streams = bool(body.get("stream")) and path not in WHOLE
        if fault in {"lost", "stall", "drip"}:
            self.bill(usage)
            if fault == "drip":
                return await drip(http, streams=streams, pause_s=self.drip_s)
            return reset(http) if fault == "lost" else await silence(http)
        if streams:
            return await self._stream(http, body, told, usage, fault)
        if self.token_s:
            await asyncio.sleep(self.token_s * usage.get("completion_tokens", 0))
        self.bill(usage)
        return await send(http, told, fault, self._allowance.headers())

    async def _stream(
        self,
        http: web.Request,
        body: Body,
        told: Mapping[str, Any],
        usage: Mapping[str, Any],
        fault: str | None,
    ) -> web.StreamResponse:
        """Send a stream; one that ends early is billed as far as it came."""
        options = body.get("stream_options") or {}
        streamed = await stream(
            http,
            told,
            fault,
            headers=self._allowance.headers(),
            token_s=self.token_s,
            include_usage=bool(options.get("include_usage")),
        )
        if not streamed.whole:
            tokens = min(streamed.events, usage["completion_tokens"])
            usage = {**usage, "completion_tokens": tokens}
        self.bill(usage)
        if fault == "cut":
            return reset(http)
        return await silence(http) if fault == "hang" else streamed.response

    def _reply(self, path: str, body: Body, digest: bytes, fault: str | None) -> dict[str, Any]:
        """The whole reply, with its usage."""
        cached = self._prefixes.cached(body) if self._prefixes and "messages" in body else 0
        voice, learnt = self.voice, self._fine_tuning.voice_of(body["model"])
        if learnt is not None:
            voice = replace(voice, answer=learnt)
        reply = reply_to(path, body, digest, voice, fault, cached)
        if "choices" in reply:
            last = self.fingerprint_changes_after
            changed = last is not None and self.requests + self.batched > last
            reply["system_fingerprint"] = self.fingerprint + ("_2" if changed else "")
        return reply

    def _told(self, reply: dict[str, Any], fault: str | None) -> dict[str, Any]:
        """What of a reply is told."""
        if not self.tells_usage:
            reply = {**reply, "usage": None}
        if fault == "empty":
            reply = {**reply, "choices" if "choices" in reply else "data": []}
        return reply

    def _line(self, path: str, body: dict[str, Any], broken: str | None) -> tuple[int, Any]:
        """Answer one line of a batch; what breaks a connection is a 500 here."""
        digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
        before = self.bodies[digest]
        self.bodies[digest] = before + 1
        self.batched += 1
        fault = broken or self._faults.next(digest, before)
        if fault is not None:
            self.faults[fault] += 1
        if fault in BROKEN or fault == "redirect":
            fault = "500"
        try:
            self._check_model(body)
            if fault in ERRORS:
                raise self._error(fault, {})
            reply = self._reply(path, body, digest, fault)
        except Refusal as refusal:
            return refusal.status, refusal.body
        self.bill(reply["usage"])
        return 200, self._told(reply, fault)

    # ---------------------------------------------------------------------------------- admission

    def _parsed(self, http: web.Request, raw: bytes) -> Body:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refusal(400, "the body is not a JSON object")
        if "model" in http.match_info:
            body.setdefault("model", http.match_info["model"])
        self._check_model(body)
        return body

    def _check_model(self, body: Body) -> None:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Refusal(400, "you must provide a model parameter")
        if model.startswith("ft:"):
            exists = self._fine_tuning.voice_of(model) is not None
        else:
            exists = not self.models or model in self.models
        if not exists:
            raise Refusal(404, f"The model `{model}` does not exist", "model_not_found")

    def _check_key(self, http: web.Request) -> None:
        if self.api_key is None:
            return
        sent = http.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.api_key not in {sent, http.headers.get("api-key")}:
            # Some providers echo what they were sent.
            raise Refusal(401, f"Incorrect API key provided: {sent}", "invalid_api_key")

    def _cost(self, path: str, body: Body, digest: bytes) -> int:
        """Tokens that a request takes from the allowance."""
        if not self._allowance.counts_tokens:
            return 0
        tokens: int = reply_to(path, body, digest, self.voice)["usage"]["total_tokens"]
        return tokens

    def _latency_s(self, digest: bytes, before: int) -> float:
        if not isinstance(self.latency_s, tuple):
            return self.latency_s
        low, high = self.latency_s
        return low + (high - low) * drawn(digest, f"latency {self._faults.seed} {before}")

    def _error(self, fault: str | None, headers: Mapping[str, str]) -> Refusal:
        status, code = ERRORS[str(fault)]
        # Some providers echo the key in what they say.
        said = f"scripted {fault}, you sent {headers.get('Authorization', 'no key')}"
        return Refusal(status, said, code, self.retry_after if status in {429, 503} else {})

    # ------------------------------------------------------------------------- what else is there

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path.startswith(NEED_THE_KEY):
                self._check_key(request)
            return await handler(request)
        except Refusal as refusal:
            return refused(refusal)

    async def _models(self, _: web.Request) -> web.Response:
        data = [_described(model) for model in self.models or ["fake"]]
        return json_response({"object": "list", "data": data})

    async def _model(self, http: web.Request) -> web.Response:
        model = http.match_info["model"]
        self._check_model({"model": model})
        return json_response(_described(model))

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _stats(self, _: web.Request) -> web.Response:
        jobs = self._fine_tuning
        told = {"jobs": len(jobs.jobs), "trained_tokens": jobs.trained_tokens}
        return json_response({**self.stats, **told})

    async def _metrics(self, _: web.Request) -> web.Response:
        if not self._tells_metrics:
            raise Refusal(404, "this teacher tells no metrics", "not_found")
        model = (self.models or ["fake"])[0]
        running = self._slots.running
        told: dict[str, float] = {
            "num_requests_running": running,
            "num_requests_waiting": self._slots.waiting,
            "kv_cache_usage_perc": min(1.0, running / self._cache_for) if self._cache_for else 0.0,
            "num_preemptions_total": 0,  # what it has begun it ends
        }
        lines = [
            f"# TYPE vllm:{name} {'counter' if name.endswith('_total') else 'gauge'}\n"
            f'vllm:{name}{{engine="0",model_name="{model}"}} {float(value)}\n'
            for name, value in told.items()
        ]
        return web.Response(text="".join(lines), content_type="text/plain")


def _described(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "fake-teacher"}


def _check_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UserError(
            f"the fake teacher listens on loopback only, got {host!r}: it asks nobody for a"
            f" password. Use 127.0.0.1, ::1 or localhost"
        )
