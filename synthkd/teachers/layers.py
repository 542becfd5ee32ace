"""The layers of a teacher: one class, one job, the same `complete` in and out.

    Cached( Retrying( Limited( Budgeted( attempt ))))

The order is the point. A hit takes no slot and no budget; what waits to retry holds no slot; what
waits for a slot holds no money; and money is held for each attempt, because a retry is billed too.
`synthkd.teachers.open` is the only place that stacks them. This is the only file that retries.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Container, Sequence

import tenacity

from synthkd.errors import (
    AttemptFailed,
    NotInLedger,
    RequestRefused,
    TeacherError,
    Unanswered,
)
from synthkd.ledger import Entry, Ledger, Question
from synthkd.teachers.budget import prompt_bound
from synthkd.teachers.limits import Limits
from synthkd.teachers.patience import LONGEST_WAIT_S, Patience
from synthkd.teachers.request import (
    Api,
    Completion,
    Identity,
    Request,
    Teacher,
    asked_of,
    key_of,
)
from synthkd.teachers.stats import TeacherStats
from synthkd.teachers.wire import parse_reply

Sleep = Callable[[float], Awaitable[None]]
InAir = dict[tuple[str, int | None], asyncio.Future[Completion | Exception | None]]
"""(key, max_tokens) of what is being asked -> its outcome; None = who asked was cancelled."""


class Cached:
    """Pay once: an answer in the ledger is not asked for again, equal questions are one call.

    Args:
        inner: who is asked on a miss.
        ledger: where answers are kept.
        identity: who answers, for the key.
        stats: counts questions, hits and failures.
        in_air: shared by all teachers of a run: two of them may be one and the same.
        offline: answer from the ledger alone.
        retry_failed: ask again what was refused for good.
        refused_now: keys that were asked again already: their refusals are new.
    """

    def __init__(
        self,
        inner: Teacher,
        *,
        ledger: Ledger,
        identity: Identity,
        stats: TeacherStats,
        in_air: InAir,
        offline: bool = False,
        retry_failed: bool = False,
        refused_now: Container[str] = (),
    ) -> None:
        self.inner = inner
        self.ledger = ledger
        self.identity = identity
        self.stats = stats
        self.offline = offline
        self.retry_failed = retry_failed
        self.refused_now = refused_now
        self.in_air = in_air

    async def complete(self, request: Request) -> Completion:
        """Answer from the ledger, from an equal question in the air, or by asking.

        Raises:
            RequestRefused: now or, as the ledger knows, before.
            NotInLedger: offline, and never bought.
        """
        self.stats.asked += 1
        key = key_of(request, self.identity)
        try:
            completion = self._recalled(key, request) or await self._answer(key, request)
        except TeacherError:
            self.stats.failed += 1
            raise
        self.stats.hits += completion.hit
        if completion.served_model is not None:
            self.stats.saw(completion.served_model, completion.fingerprint)
        return completion

    def _recalled(self, key: str, request: Request) -> Completion | None:
        """What the ledger has, unless the same is being asked at this moment."""
        if (key, request.max_tokens) in self.in_air:
            return None
        entry = self._stored(key, request.max_tokens)
        return None if entry is None else _replayed(entry, request.api)

    async def _answer(self, key: str, request: Request) -> Completion:
        while (leader := self.in_air.get((key, request.max_tokens))) is not None:
            outcome = await asyncio.shield(leader)
            if isinstance(outcome, Completion):
                return outcome._replace(hit=True)
            if outcome is not None:
                raise outcome
            # The one who asked was cancelled, perhaps while its answer was being stored. Then the
            # ledger has it. If not, whoever wakes first asks in its place.
            await self.ledger.flush()
            if (recalled := self._recalled(key, request)) is not None:
                return recalled
        if self.offline:
            raise NotInLedger(
                f"the run is offline and the ledger has no answer to prompt {request.prompt!r} "
                f"(sample {request.sample}, key {key[:12]}): run once without --offline to buy it"
            )
        return await self._lead(key, request)

    def _stored(self, key: str, max_tokens: int | None) -> Entry | None:
        """The oldest answer; a refusal only where there is none."""
        entries = self.ledger.find(key)
        stored = _oldest(entries, max_tokens)
        if stored is None and entries:
            # The ledger may have read these ahead: a longer answer may have come since.
            stored = _oldest(self.ledger.find(key), max_tokens)
        if self.retry_failed and stored and stored.status != 200 and key not in self.refused_now:
            return None
        return stored

    async def _lead(self, key: str, request: Request) -> Completion:
        """Ask, while equal questions wait for the outcome."""
        question = (key, request.max_tokens)
        leader = self.in_air[question] = asyncio.get_running_loop().create_future()
        outcome: Completion | Exception | None = None
        try:
            outcome = await self._buy(key, request)
            return outcome
        except Exception as error:
            outcome = error
            raise
        finally:
            del self.in_air[question]
            leader.set_result(outcome)

    async def _buy(self, key: str, request: Request) -> Completion:
        """Ask, and answer as the ledger will from now on.

        Another process may have bought an answer meanwhile. Then ours is lost money, but a replay
        gives what this run used.
        """
        try:
            completion = await self.inner.complete(request)
        except RequestRefused as refusal:
            refused = _entry_of_refusal(key, request, refusal)
            stored = await self.ledger.store(refused, self._question(request))
            if stored is refused:
                raise
        else:
            bought = _entry_of_answer(key, request, completion)
            stored = await self.ledger.store(bought, self._question(request))
            if stored is bought:
                return completion._replace(key=key)
        return _replayed(stored, request.api)._replace(hit=False)

    def _question(self, request: Request) -> Question:
        model = request.body.get("model")
        return Question(
            served_by=self.identity.served_by,
            model=model if isinstance(model, str) else "",
            asked=asked_of(request, self.identity),
        )


def _oldest(entries: Sequence[Entry], max_tokens: int | None) -> Entry | None:
    """The first that answers; a refusal only where there is no answer."""
    refusal = None
    for entry in entries:
        if entry.answers(max_tokens):
            if entry.status == 200:
                return entry
            refusal = entry
    return refusal


def _entry_of_refusal(key: str, request: Request, refusal: RequestRefused) -> Entry:
    return Entry(
        key=key,
        max_tokens=request.max_tokens,
        status=refusal.status,
        finish="",
        completion_tokens=None,
        reply=refusal.message.encode(),
    )


def _entry_of_answer(key: str, request: Request, completion: Completion) -> Entry:
    return Entry(
        key=key,
        max_tokens=request.max_tokens,
        status=200,
        finish=completion.finish,
        completion_tokens=completion.usage.completion_tokens,
        reply=completion.reply,
    )


def _replayed(entry: Entry, api: Api) -> Completion:
    if entry.status != 200:
        raise RequestRefused(entry.status, entry.reply.decode())
    return parse_reply(api, entry.reply, key=entry.key, hit=True)


BACKOFF_S = 1.0
"""The first wait of an attempt that failed without a Retry-After; doubled each time."""
LONGEST_BACKOFF_S = 60.0
LONGEST_KNOCK_S = 10.0
"""... while nothing takes a connection: a server that is back should not stand idle."""


class Retrying:
    """Ask again what failed for a passing reason, holding nothing meanwhile.

    Args:
        inner: who is asked.
        max_attempts: tries per request, the first included. One that failed while the teacher
            answered nobody at all is not counted: then the patience with the teacher decides.
        patience: knows how the teacher fares with all its requests.
        sleep: how to wait; tests give a clock of their own.
        rng: spreads retries of many requests that failed in the same moment.
    """

    def __init__(
        self,
        inner: Teacher,
        *,
        max_attempts: int,
        patience: Patience | None = None,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.inner = inner
        self.max_attempts = max_attempts
        self.patience = patience or Patience()
        self.sleep = sleep
        self.rng = rng or random.Random()  # noqa: S311  spreads load, hides nothing

    async def complete(self, request: Request) -> Completion:
        """Answer.

        Raises:
            Unanswered: every attempt failed.
            TeacherRefused: the teacher fails for everybody.
        """
        # Nearly every request succeeds at once, and tenacity costs 0.05 ms: a third of it all.
        answers = self.patience.answers
        try:
            return await self._attempt(request, new=True)
        except AttemptFailed as error:
            return await self._again(request, error, answers)

    async def _attempt(self, request: Request, *, new: bool) -> Completion:
        patience = self.patience
        answers = patience.answers
        try:
            completion = await self.inner.complete(request)
        except AttemptFailed as error:
            now = asyncio.get_running_loop().time()
            patience.failed(now, error, new=new, answers=answers)
            raise
        except RequestRefused:
            patience.answered()
            raise
        patience.answered()
        return completion

    async def _again(self, request: Request, failed: AttemptFailed, answers: int) -> Completion:
        first: list[AttemptFailed] = [failed]
        tries = _Tries(self.patience, self.max_attempts, answers)

        async def attempt() -> Completion:
            if first:
                raise first.pop()
            tries.answers = self.patience.answers
            return await self._attempt(request, new=False)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_passing),
            stop=tries.used_up,
            wait=self._wait_s,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except AttemptFailed as error:
            number = retrying.statistics["attempt_number"]
            raise Unanswered(
                f"no answer after {number} attempts; the last failed: {error}. "
                f"Running again asks again"
            ) from error

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = _failure_of(state)
        if error.wait_s is not None and state.attempt_number < self.max_attempts:
            return error.wait_s
        longest_s = LONGEST_KNOCK_S if error.unreachable else LONGEST_BACKOFF_S
        # 2 ** 1000 is no float.
        longest_s = min(longest_s, BACKOFF_S * 2 ** min(state.attempt_number - 1, 10))
        # Whoever always says "at once" and never answers is asked at our own pace in the end.
        return max(self.rng.uniform(longest_s / 2, longest_s), error.wait_s or 0.0)


class _Tries:
    """The attempts that count against one request."""

    def __init__(self, patience: Patience, most: int, answers: int) -> None:
        self.patience = patience
        self.most = most
        self.answers = answers
        """Of the teacher, before the latest attempt."""
        self.counted = 0

    def used_up(self, state: tenacity.RetryCallState) -> bool:
        """Count the attempt that failed; whether it was the last."""
        self.counted += not self.patience.excuses(_failure_of(state), self.answers)
        return self.counted >= self.most


def _failure_of(state: tenacity.RetryCallState) -> AttemptFailed:
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, AttemptFailed)  # noqa: S101  nothing else is retried
    return error


def _passing(error: BaseException) -> bool:
    return isinstance(error, AttemptFailed) and (error.wait_s or 0.0) <= LONGEST_WAIT_S


class Limited:
    """A slot and a place in the pace for each attempt; later steps are served first."""

    def __init__(self, inner: Teacher, limits: Limits) -> None:
        self.inner = inner
        self.limits = limits

    async def complete(self, request: Request) -> Completion:
        """Answer, once there is a slot."""
        limits = self.limits
        # Four bytes a token is right for English text.
        tokens = prompt_bound(request.body) / 4 + (request.max_tokens or 0)
        ticket = await limits.enter(request.rank, tokens)
        try:
            completion = await self.inner.complete(request)
        except AttemptFailed as error:
            limits.failed(ticket, error)
            raise
        except BaseException:
            limits.leave(ticket)
            raise
        limits.answered(ticket, completion)
        return completion
