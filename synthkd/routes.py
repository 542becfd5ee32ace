"""Three routes to the same answers: online, in batches, from a server of one's own (`Route`).

Each has its price and its time. A time comes from limits that the pipeline file states, from the
window of a batch, or from what an earlier run measured; nothing else is known before a run, and
what is not known is said. Answers are the same questions either way, so the ledger's serve all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from synthkd.config import TeacherConfig
from synthkd.manifest import Manifest, TeacherCounts
from synthkd.teachers.prices import price_for

Way = Literal["online", "batch", "local"]
Bound = Literal["at least", "about", "at most"]

WHO = ("endpoint", "vllm", "model", "concurrency")
"""Settings that must be as they were for an earlier run's speed to say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How fast a teacher was in an earlier run."""

    latency_s: float
    """Median seconds of an answer."""
    in_flight: int
    """Requests in the air at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a pipeline asks of one teacher, over all its steps."""

    name: str
    config: TeacherConfig
    calls: int
    tokens: int | None
    """Prompts and answers as they are estimated; None = a length is unknown."""
    prompt_tokens: Mapping[str, int | None]
    """Step that asks it -> what its prompts are estimated at."""
    usd: float | None
    """At the price of asking online; None = unknown."""
    measured: Measured | None = None

    @property
    def way(self) -> Way | None:
        """How the pipeline file has it; None = it is recorded, simulated or a student."""
        if self.config.kind == "vllm":
            return "local"
        if self.config.kind != "http":
            return None
        return self.config.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to have every question of the pipeline answered."""

    way: Way
    chosen: bool
    """Whether the pipeline file has it so, for all teachers that can be asked in several ways."""
    usd: float | None
    """None = unknown. 0 for a server of one's own: what it costs to run is not counted."""
    wall_s: float | None
    """Seconds of asking; None = unknown."""
    bound: Bound
    """What `wall_s` is."""
    because: Sequence[str]
    """What the time comes from, in words."""
    unknown: Sequence[str]
    """What could not be told, in words."""

    def in_words(self) -> str:
        """One line for people."""
        chosen = ", as the file has it" if self.chosen else ""
        usd = "an unknown cost" if self.usd is None else f"about {self.usd:.2f} USD"
        if self.way == "local" and self.usd == 0:
            usd = "0 USD for tokens"
        time = "an unknown time"
        if self.wall_s is not None:
            time = f"{self.bound} {span(self.wall_s)} ({'; '.join(self.because)})"
        unknown = f"; unknown: {'; '.join(self.unknown)}" if self.unknown else ""
        return f"{self.way}{chosen}: {usd}, {time}{unknown}"


@dataclass(slots=True)
class _Part:
    """One teacher's share of a route."""

    usd: float | None = None
    wall_s: float | None = None
    because: str = ""
    measured: bool = False
    unknown: list[str] = field(default_factory=list)


def measured(before: Manifest, teachers: Mapping[str, TeacherConfig]) -> dict[str, Measured]:
    """How fast those teachers were in an earlier run that are still the same."""
    found = {}
    for name, config in teachers.items():
        counts, was = before.teachers.get(name), before.config.get("teachers", {}).get(name)
        if counts is None or not isinstance(was, dict) or not _same(config, was):
            continue
        in_flight = counts.concurrency if config.concurrency == "auto" else config.concurrency
        if counts.latency_s and in_flight:
            found[name] = Measured(latency_s=counts.latency_s, in_flight=_used(counts, in_flight))
    return found


def _used(counts: TeacherCounts, in_flight: int) -> int:
    # A run of ten questions has never had a hundred in the air.
    return max(1, min(in_flight, counts.attempts))


def _same(config: TeacherConfig, was: Mapping[str, Any]) -> bool:
    try:
        before = TeacherConfig.model_validate(was)
    except ValidationError:  # another version wrote it
        return False
    return all(getattr(config, name) == getattr(before, name) for name in WHO)


def compare(asked: Sequence[Asked]) -> list[Route]:
    """The three routes; none where every teacher is recorded or simulated."""
    real = [each for each in asked if each.way is not None and each.calls]
    if not real:
        return []
    return [_all_online(real), _all_in_batches(real), _all_local(real)]


def _all_online(asked: Sequence[Asked]) -> Route:
    """Teachers are asked side by side, so it takes as long as the slowest."""
    parts = [_online(each) for each in asked]
    known = [part for part in parts if part.wall_s is not None]
    longest = max(known, key=lambda part: part.wall_s or 0.0, default=_Part())
    # What nobody measured may take longer than the limits make it.
    all_measured = all(part.measured for part in parts)
    return _route("online", asked, parts, longest, "about" if all_measured else "at least")


def _all_in_batches(asked: Sequence[Asked]) -> Route:
    """A window for each step: how much sooner it is done nobody says."""
    parts = [_batch(each) for each in asked]
    batched = [each for each in asked if each.way != "local"]
    steps = list(dict.fromkeys(step for each in batched for step in each.prompt_tokens))
    # The teachers of one step are asked side by side.
    spans_s = [[_step_s(each, step) for each in batched] for step in steps]
    known = [[span_s for span_s in of_step if span_s is not None] for of_step in spans_s]
    whole = _Part()
    if steps and known == spans_s:
        windows = " or ".join(sorted({each.config.batch.window for each in batched}))
        several = f"{len(steps)} steps, one after the other: " if len(steps) > 1 else ""
        whole.wall_s = sum(max(of_step) for of_step in known)
        whole.because = f"{several}a window of {windows} for each step"
        if any(_rounds(each, step) != 1 for each in batched for step in each.prompt_tokens):
            whole.because += " and for what max_enqueued_tokens holds back"
        whole.because += "; one more for what is asked again"
    return _route("batch", asked, parts, whole, "at most")


def _step_s(asked: Asked, step: str) -> float | None:
    """What the batches of a step may take; None = unknown."""
    if step not in asked.prompt_tokens:
        return 0.0
    window, rounds = asked.config.batch.window, _rounds(asked, step)
    hours = int(window[:-1]) * (24 if window[-1] == "d" else 1)
    return None if rounds is None else 3600.0 * hours * rounds


def _rounds(asked: Asked, step: str) -> int | None:
    """How often the provider's queue must be emptied for a step; None = unknown."""
    most, tokens = asked.config.batch.max_enqueued_tokens, asked.prompt_tokens[step]
    if most is None:
        return 1
    return None if tokens is None else max(1, -(-tokens // most))


def _all_local(asked: Sequence[Asked]) -> Route:
    """They share the machine, so it takes as long as all together."""
    parts = [_local(each) for each in asked]
    spans_s = [part.wall_s for part in parts if part.wall_s is not None]
    whole = _Part()
    if len(spans_s) == len(parts):
        because = "; ".join(part.because for part in parts)
        whole = _Part(wall_s=sum(spans_s), because=because)
    return _route("local", asked, parts, whole, "about")


def _route(
    way: Way, asked: Sequence[Asked], parts: Sequence[_Part], longest: _Part, bound: Bound
) -> Route:
    costs = [part.usd for part in parts]
    return Route(
        way=way,
        chosen=all(each.way == way for each in asked),
        usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        wall_s=longest.wall_s,
        bound=bound,
        because=[longest.because] if longest.because else [],
        unknown=list(dict.fromkeys(text for part in parts for text in part.unknown)),
    )


def _online(asked: Asked) -> _Part:
    """As fast as the limits allow, and as the server was."""
    part, config, name = _Part(usd=asked.usd), asked.config, asked.name
    if asked.way == "local":
        part.usd = None
        part.unknown.append(f"what a provider asks for the model of {name}")
        part.unknown.append(f"how fast a provider answers for {name}")
        return part
    if asked.usd is None:
        part.unknown.append(f"what {name} costs")
    found: list[tuple[float, str, bool]] = []
    if config.requests_per_minute is not None:
        per_minute = config.requests_per_minute
        limit = f"{name}: {asked.calls:,} requests at {per_minute:g} a minute"
        found.append((60 * asked.calls / per_minute, limit, False))
    if config.tokens_per_minute is not None:
        per_minute = config.tokens_per_minute
        if asked.tokens is None:
            part.unknown.append(f"how long {per_minute:g} tokens a minute of {name} take")
        else:
            limit = f"{name}: about {asked.tokens:,} tokens at {per_minute:g} a minute"
            found.append((60 * asked.tokens / per_minute, limit, False))
    if asked.measured is not None:
        found.append((*_as_before(asked, asked.measured), True))
    else:
        part.unknown.append(f"how fast {name} answers: no earlier run in this folder measured it")
    if found:
        part.wall_s, part.because, _ = max(found)
        part.measured = any(is_measured for *_, is_measured in found)
    return part


def _batch(asked: Asked) -> _Part:
    """What the discount leaves of the price; the time is that of the steps together."""
    part, name = _Part(), asked.name
    if asked.way == "local":
        part.unknown.append(f"which provider has batches for the model of {name}, at what price")
        return part
    price = price_for(asked.config)
    discount = None if price is None else price.batch_discount
    for step in asked.prompt_tokens:
        if _rounds(asked, step) is None:
            part.unknown.append(f"how many batches of {name} {step} needs: its prompts are unknown")
    if asked.usd == 0:
        part.usd = 0.0
    elif asked.usd is None:
        part.unknown.append(f"what {name} costs")
    elif discount is None:
        part.unknown.append(
            f"what {name} costs in batches: set teachers.{name}.price.batch_discount"
        )
    else:
        part.usd = asked.usd * (1 - discount)
    return part


def _local(asked: Asked) -> _Part:
    """No tokens to pay; as fast as it was measured, and by nothing else."""
    part = _Part(usd=0.0)
    if asked.way == "local" and asked.measured is not None:
        part.wall_s, part.because = _as_before(asked, asked.measured)
        part.measured = True
    elif asked.way == "local":
        part.unknown.append(
            f"how fast {asked.name} answers: no earlier run in this folder measured it"
        )
    else:
        part.unknown.append(
            f"how fast a server of your own would answer for {asked.name}: a run on a few rows"
            " (--limit) measures it"
        )
    return part


def _as_before(asked: Asked, speed: Measured) -> tuple[float, str]:
    seconds = asked.calls * speed.latency_s / speed.in_flight
    return seconds, (
        f"{asked.name}: {speed.latency_s:.3g} s an answer and {speed.in_flight:,} at once, as an"
        " earlier run measured"
    )


def span(seconds: float) -> str:
    """A length of time for people: `40 s`, `12 min`, `36 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"
