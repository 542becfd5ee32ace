"""Teachers without a network that can really do a small world, with faults on purpose.

    teacher = open_world(SimulatedConfig(world="tickets", error_rate=0.2, seed=7))

They answer from the prompt's inputs, which never hold the gold answer. A reply is a function of
the request, the seed and the rates: the same in every run, order and process. What is measured on
them proves code, not method.

    world.py        what a world is
    tickets.py      the intent of a support message
    arithmetic.py   word problems
    facts.py        what plain sentences state
    mentions.py     the names in them, with their types
    instructions/   instructions and what belongs to them
    events.py       what people do, and what comes with it
    forms.py        what invoices say
    problems.py     small problems as hard as one likes, and more like them
    pool.py         real examples by class, handed out on demand
    judging.py      how they judge answers
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from synthkd.config import SimulatedConfig
from synthkd.errors import AttemptFailed, UserError
from synthkd.rows import canonical
from synthkd.teachers.request import Completion, Identity, Request, key_of
from synthkd.teachers.simulated.arithmetic import Arithmetic
from synthkd.teachers.simulated.events import Events
from synthkd.teachers.simulated.facts import Facts
from synthkd.teachers.simulated.forms import Forms
from synthkd.teachers.simulated.instructions import Instructions
from synthkd.teachers.simulated.mentions import Mentions
from synthkd.teachers.simulated.pool import Pool
from synthkd.teachers.simulated.problems import Problems
from synthkd.teachers.simulated.tickets import Tickets
from synthkd.teachers.simulated.world import World
from synthkd.teachers.wire import parse_reply

WORLDS: Mapping[str, Callable[[float], World]] = {
    "tickets": Tickets,
    "arithmetic": Arithmetic,
    "facts": Facts,
    "mentions": Mentions,
    "problems": Problems,
    "instructions": Instructions,
    "commonsense": Events,
    "forms": Forms,
}
"""The worlds by name; each is made with its error rate."""

RETRY_AFTER_S = 0.01
"""What a simulated 429 asks to wait: long enough to be a wait, too short to be felt."""
CHARS_PER_TOKEN = 4
"""The usual rule of thumb for English; the usage of a simulated reply is an estimate."""

REFUSAL = "I cannot help with this request."
MALFORMED = "Well, there is a lot to be said about this, and it all depends."
"""Names no label, no choice, no number and no cue of any shipped prompt."""


def open_world(config: SimulatedConfig, base: Path = Path()) -> SimulatedTeacher:
    """The simulated teacher of a pipeline's `simulated` block.

    Args:
        config: the block.
        base: the pipeline file's folder, where relative paths are looked up too.

    Raises:
        UserError: there is no such world, or its file cannot be used.
    """
    if config.pool is not None:
        return SimulatedTeacher(config, Pool(config.pool, base, config.error_rate))
    if config.world not in WORLDS:
        raise UserError(
            f"there is no simulated world {config.world!r}; there are"
            f" {', '.join(sorted([*WORLDS, 'pool']))}"
        )
    return SimulatedTeacher(config, WORLDS[config.world](config.error_rate))


class SimulatedTeacher:
    """One attempt at a time, in the shape of an OpenAI-compatible endpoint."""

    def __init__(self, config: SimulatedConfig, world: World) -> None:
        self.config = config
        self.world = world
        self.identity = Identity(served_by=_served_by(config, world), reads_inputs=True)
        self._limited: set[bytes] = set()
        """Keys, shortened, that had their 429: 8 bytes a key, and only of those that get one."""

    async def complete(self, request: Request) -> Completion:
        """Answer, or fail this attempt.

        Raises:
            AttemptFailed: a 429, once per request in this process.
            UserError: the world cannot do what the prompt asks.
        """
        key = key_of(request, self.identity)
        rng = random.Random(_seed(self.config.seed, key, "reply"))  # noqa: S311  reproducible on purpose
        if self.config.latency_s:
            await asyncio.sleep(self.config.latency_s)
        self._maybe_429(key)
        raw = request.api == "completions"
        return parse_reply("completions" if raw else "chat", self._reply(request, key, rng))

    def _maybe_429(self, key: str) -> None:
        rng = random.Random(_seed(self.config.seed, key, "429"))  # noqa: S311  reproducible on purpose
        if rng.random() >= self.config.rate_limit_rate:
            return
        short = bytes.fromhex(key[:16])
        if short not in self._limited:
            self._limited.add(short)
            raise AttemptFailed(
                f"HTTP 429 from {self.identity.served_by}: rate limit reached",
                wait_s=RETRY_AFTER_S,
                status=429,
            )

    def _reply(self, request: Request, key: str, rng: random.Random) -> bytes:
        text, refusal = self._say(request, rng)
        finish = "stop"
        if request.max_tokens is not None and _tokens(text) > request.max_tokens:
            text, finish = text[: request.max_tokens * CHARS_PER_TOKEN], "length"
        raw = request.api == "completions"
        asked = _tokens(orjson.dumps(request.body.get("prompt" if raw else "messages")).decode())
        told = _tokens(text) + _tokens(refusal or "")
        usage = {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}
        message = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
        # Raw text has no field for a refusal: there it is words like any other.
        said = {"text": refusal or text} if raw else {"message": message}
        return orjson.dumps(
            {
                "id": f"simulated-{key[:16]}",
                "object": "text_completion" if raw else "chat.completion",
                "model": f"simulated-{self.config.world}",
                "choices": [{"index": 0, **said, "finish_reason": finish}],
                "usage": usage,
            }
        )

    def _say(self, request: Request, rng: random.Random) -> tuple[str, str | None]:
        """The text, and the refusal where there is one."""
        fault, runs_on = rng.random(), rng.random() < self.config.run_on_rate
        if fault < self.config.refusal_rate:
            return "", REFUSAL
        if fault < self.config.refusal_rate + self.config.malformed_rate:
            return MALFORMED, None
        text = self.world.answer(request.prompt, request.inputs, rng)
        return (text + self.world.run_on(request.prompt, rng) if runs_on else text), None


def _served_by(config: SimulatedConfig, world: World) -> str:
    """World, version, seed and every rate that changes an answer; not 429s and latency."""
    rates = {
        "error": config.error_rate,
        "run_on": config.run_on_rate,
        "refusal": config.refusal_rate,
        "malformed": config.malformed_rate,
    }
    told = ":".join(f"{name}={rate:g}" for name, rate in rates.items())
    knows = f":{world.knows}" if world.knows else ""
    return f"simulated:{config.world}:v{world.version}{knows}:seed={config.seed}:{told}"


def _seed(seed: int, key: str, purpose: str) -> int:
    digest = hashlib.sha256(canonical([seed, key, purpose])).digest()
    return int.from_bytes(digest, "big")


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)
