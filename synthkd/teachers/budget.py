"""Money: `Budget` is the hard stop of a run, `Budgeted` the layer that holds and settles attempts.

An attempt is held at its worst cost before it leaves and settled at what it cost; what a killed
process held counts as spent. Both wait on each other's release, never on a poll.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

from synthkd.config import BudgetConfig, Price
from synthkd.errors import (
    AttemptFailed,
    BudgetReached,
    RunStopped,
    TeacherError,
    TeacherRefused,
    UserError,
    WaitingForBatch,
)
from synthkd.ledger import Cost, Ledger
from synthkd.rows import Json, canonical
from synthkd.teachers.prices import nano_usd
from synthkd.teachers.request import Completion, Request, Teacher, Usage
from synthkd.teachers.stats import TeacherStats

NOTHING = Cost()


class Budget:
    """The hard stop of one run, shared by all its teachers.

    Every attempt is held at its worst cost before it leaves. One that does not fit waits while
    others are in the air, because they may cost less than was held.

    Args:
        config: the limits.
        spent: what the run spent before it was resumed.
    """

    def __init__(self, config: BudgetConfig, spent: Cost) -> None:
        self.config = config
        self.spent = spent
        self.held = NOTHING
        self.batched = NOTHING
        """Held for questions in batches, which may take a day."""
        self._in_air = 0
        self._queue: deque[tuple[Cost, asyncio.Future[None]]] = deque()
        self._limit_nano_usd = None if config.usd is None else int(config.usd * 1e9)

    async def hold(self, worst: Cost) -> None:
        """Set `worst` aside; `settle` must follow.

        Raises:
            BudgetReached: it does not fit, and nothing is in the air that could free any.
            WaitingForBatch: nothing is in the air, but questions are under way in batches.
        """
        if not self._queue and self._short(worst) is None:
            self._take(worst)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((worst, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.settle(worst, NOTHING)  # it was taken in the same moment
            raise

    def hold_batched(self, worst: Cost) -> str | None:
        """Set `worst` aside for a question in a batch; why it does not fit, or None."""
        short = self._short(worst)
        if short is None:
            self.batched = self.batched + worst
        return short

    def recall(self, spent: Cost, batched: Cost) -> None:
        """Take the ledger's word for it, while nothing is in the air: batches were collected."""
        self.spent, self.batched = spent, batched

    def settle(self, worst: Cost, cost: Cost) -> None:
        """Release what was held and spend what it cost in the end."""
        self._in_air -= 1
        self.held = self.held - worst
        self.spent = self.spent + cost
        self._serve()

    def _take(self, worst: Cost) -> None:
        self._in_air += 1
        self.held = self.held + worst

    def _serve(self) -> None:
        while self._queue:
            worst, turn = self._queue[0]
            if not turn.cancelled():
                short = self._short(worst)
                if short is None:
                    self._take(worst)
                    turn.set_result(None)
                elif self._in_air:
                    return
                else:
                    turn.set_exception(self._stop(short))
            self._queue.popleft()

    def _stop(self, short: str) -> RunStopped:
        """What ends the run; batches that are under way may cost less than is held for them."""
        if not self.batched.requests:
            return BudgetReached(short)
        return WaitingForBatch(
            f"{short}.\n{self.batched.requests:,} questions are under way in batches, for which"
            f" {self.batched.usd:.4f} USD and {self.batched.tokens:,} tokens are held: run again"
            " to collect them, or with --wait to wait here"
        )

    def _short(self, worst: Cost) -> str | None:
        """Why `worst` does not fit, or None when it does."""
        config, spent, held = self.config, self.spent, self.held + self.batched
        if config.requests is not None:
            needed = spent.requests + held.requests + worst.requests
            if needed > config.requests:
                return _reached("requests", config.requests, spent.requests, worst.requests)
        if config.tokens is not None:
            needed = spent.tokens + held.tokens + worst.tokens
            if needed > config.tokens:
                return _reached("tokens", config.tokens, spent.tokens, worst.tokens)
        if self._limit_nano_usd is not None:
            needed = spent.nano_usd + held.nano_usd + worst.nano_usd
            if needed > self._limit_nano_usd:
                return _reached("usd", config.usd, round(spent.usd, 6), round(worst.usd, 6))
        return None


def _reached(name: str, limit: float | None, spent: float, worst: float) -> str:
    return (
        f"the budget is reached: budget.{name} is {limit}, the run has spent {spent} and the next "
        f"request may cost {worst}. Raise budget.{name} and run again: everything bought is kept"
    )


class Purse:
    """What of a run's budget is spent on something that is no request to a teacher.

    Args:
        budget: shared by all teachers of the run.
        ledger: where costs are kept.
        run_id: the run that pays.
    """

    def __init__(self, budget: Budget, ledger: Ledger, run_id: str) -> None:
        self._budget = budget
        self._ledger = ledger
        self._run_id = run_id

    async def spend(self, most: Cost) -> None:
        """Spend the most that something can cost, before it is bought: a kill loses none of it.

        Raises:
            BudgetReached: it does not fit into what is left; nothing is spent.
        """
        await self._budget.hold(most)
        try:
            await self._ledger.hold(self._run_id, most)
        except BaseException:
            self._budget.settle(most, NOTHING)
            raise
        self._budget.settle(most, most)
        self._ledger.settle(self._run_id, most, most)

    def give_back(self, rest: Cost) -> None:
        """It cost so much less than was spent on it."""
        self._budget.spent = self._budget.spent - rest
        self._ledger.settle(self._run_id, NOTHING, NOTHING - rest)


class Budgeted:
    """Hold an attempt at its worst cost before it leaves, settle at what it cost.

    The hold is durable before the attempt leaves, so that a kill at any moment leaves at least as
    much recorded as the provider billed, and a budget that is set later knows of it. Only without
    `max_tokens`, which no budget of dollars or tokens allows, the length of the answer is not in
    the hold: it may be any.

    Args:
        inner: makes one attempt.
        budget: shared by all teachers of the run.
        price: None = unknown, which `budget.usd` does not allow.
        ledger: where holds and costs are kept.
        run_id: the run that pays.
        stats: counts attempts, tokens and latency.
    """

    def __init__(
        self,
        inner: Teacher,
        *,
        budget: Budget,
        price: Price | None,
        ledger: Ledger,
        run_id: str,
        stats: TeacherStats,
    ) -> None:
        self.inner = inner
        self.budget = budget
        self.price = price
        self.ledger = ledger
        self.run_id = run_id
        self.stats = stats

    async def complete(self, request: Request) -> Completion:
        """Make one attempt.

        Raises:
            BudgetReached: it does not fit into what is left.
        """
        worst = worst_cost(request, self.price)
        await self.budget.hold(worst)
        try:
            await self.ledger.hold(self.run_id, worst)
        except BaseException:
            self.budget.settle(worst, NOTHING)  # it never left
            raise
        cost = worst  # cancelled or ended by a fault of ours: it may have been billed
        try:
            completion = await self._attempt(request)
            cost = self._settled(completion.usage, worst)
            return completion
        except AttemptFailed as error:
            cost = worst if error.maybe_billed else NOTHING
            raise
        except (TeacherError, TeacherRefused, UserError):
            cost = NOTHING
            raise
        finally:
            self.budget.settle(worst, cost)
            self.ledger.settle(self.run_id, worst, cost)

    async def _attempt(self, request: Request) -> Completion:
        stats = self.stats
        stats.attempts += 1
        stats.in_flight += 1
        started = time.perf_counter()
        try:
            completion = await self.inner.complete(request)
        except AttemptFailed as error:
            stats.rate_limited += error.status == 429
            raise
        finally:
            stats.in_flight -= 1
        stats.latencies_s.append(time.perf_counter() - started)
        return completion

    def _settled(self, usage: Usage, worst: Cost) -> Cost:
        """What the provider says it used; where it does not say, what was held."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        cost = cost_of(usage, worst, self.price)
        self.stats.prompt_tokens += prompt or 0
        self.stats.completion_tokens += completion or 0
        self.stats.cached_prompt_tokens += usage.cached_prompt_tokens or 0
        self.stats.reasoning_tokens += usage.reasoning_tokens or 0
        if self.stats.nano_usd is not None:
            self.stats.nano_usd += cost.nano_usd
        return cost


def worst_cost(request: Request, price: Price | None, *, batch: bool = False) -> Cost:
    """The most that one attempt can cost."""
    return _cost(price, prompt_bound(request.body), request.max_tokens or 0, batch=batch)


def cost_of(usage: Usage, worst: Cost, price: Price | None, *, batch: bool = False) -> Cost:
    """What the provider says it used; where it does not say, what was held."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return _cost(
        price,
        worst.prompt_tokens if prompt is None else prompt,
        worst.completion_tokens if completion is None else completion,
        usage.cached_prompt_tokens or 0,
        batch=batch,
    )


def _cost(
    price: Price | None,
    prompt_tokens: int,
    completion_tokens: int,
    cached_prompt_tokens: int = 0,
    *,
    batch: bool,
) -> Cost:
    charged = 0
    if price is not None:
        charged = nano_usd(
            price,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_prompt_tokens=cached_prompt_tokens,
            batch=batch,
        )
    return Cost(
        requests=1,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        nano_usd=charged,
    )


BYTES_A_TOKEN = 4
"""An estimate, right for English text; what the provider counts is what counts."""

MESSAGE_TOKENS = 16
"""What a chat template puts around one message, at most, in the templates that are in use."""

IMAGE_TOKENS = 16_384
"""The most that one image is: what Qwen2-VL makes of the largest by default, and it makes most."""


def prompt_bound(body: Mapping[str, Json]) -> int:
    """The most tokens that the prompt can be: no tokenizer makes more tokens than UTF-8 bytes."""
    bound = 0
    for name, value in body.items():
        # Exact types first: abstract ones take 0.3 microseconds each to look at.
        if type(value) is str:
            if name in {"prompt", "input"}:
                bound += MESSAGE_TOKENS + len(value.encode())
        elif isinstance(value, list | tuple) and name == "messages":
            for message in value:
                bound += _message_bound(message)
        elif isinstance(value, list | tuple | Mapping):  # tools, a schema: part of the prompt too
            bound += len(canonical(value))
    return bound


def _message_bound(message: Json) -> int:
    if type(message) is dict and len(message) == 2 and "role" in message:
        content = message.get("content")
        if type(content) is str:
            return MESSAGE_TOKENS + (len(content) if content.isascii() else len(content.encode()))
    spelled = canonical(message)
    return MESSAGE_TOKENS + len(spelled) + IMAGE_TOKENS * spelled.count(b'"type":"image_url"')
