"""Teacher hacking where the truth is known: when the alarm rings, and what the golden choice saves.

    python tests/bench/study_hacking.py [SEEDS] [PICTURE.svg]

An oracle gives each of ANSWERS answers a probability by a softmax of DIMENSIONS numbers of a
prompt. The teacher is the oracle with noise in its weights, so it has errors that can be learnt.
Oracle, teacher and student are of one form. The student first learns OWN answers of the oracle, as
in arXiv 2502.02671, and then answers of the teacher, by Adam with a rate that falls to 0.

offline         PROMPTS prompts, one answer each, drawn once
online          the same prompts, an answer drawn anew in each epoch
more answers    the same prompts, five answers each, drawn once
fewer prompts   a fifth of the prompts, five answers each: as many rows as offline
many prompts    ten times the prompts, one answer each, a third of the epochs: it simply learns

Every way is looked at LOOKS times: proxy = mean log-likelihood of the teacher's answers that it
learns (online: that it will learn next), golden = that of one answer of the oracle to each of
GOLDEN prompts of their own. For comparison a proxy of the teacher's answers to GOLDEN further
prompts, from which nobody learns. What a student was really worth is the exact KL divergence from
the oracle to it on 4,000 other prompts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthkd.evaluate.hacking import Alarm, Reading, alarms, best
from synthkd.evaluate.intervals import share_of
from tests.bench.curves import Curve, Panel, draw

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ANSWERS, DIMENSIONS, PROMPTS, OWN, GOLDEN, EXACT = 10, 60, 400, 200, 300, 4000
LOOKS, BATCH, RATE, SPREAD = 20, 20, 0.01, 2.0
NOISES = (0.25, 0.5, 0.75)
"""Of the teacher's weights, as a share of their spread."""
RULES = ((3, 1.0), (3, 2.0), (5, 2.0))
"""`evals` and `ses` of the alarm."""
HARM = 0.01
"""Nats: an alarm is right if the exact divergence is by more above the best before it."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the teacher's answers come."""

    name: str
    prompts: int = PROMPTS
    answers: int = 1
    epochs: int = 60
    fresh: bool = False


WAYS = (
    Way(name="offline"),
    Way(name="online", fresh=True),
    Way(name="more answers", answers=5),
    Way(name="fewer prompts", prompts=PROMPTS // 5, answers=5),
    Way(name="many prompts", prompts=10 * PROMPTS, epochs=20),
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training."""

    readings: Sequence[Reading]
    aside: Sequence[Reading]
    """The same with the proxy of prompts that nobody learns from."""
    exact: Sequence[float]
    """KL from the oracle to the student at each reading."""
    teacher: float
    """KL from the oracle to the teacher."""

    def right(self, alarm: Alarm) -> bool:
        """Whether golden had really turned."""
        place = [reading.at for reading in self.readings].index(alarm.at)
        return self.exact[place] > min(self.exact[:place]) + HARM


def main() -> None:
    """Print the tables; draw the picture."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for noise in NOISES:
        done = {way.name: [trial(way, noise, seed) for seed in range(seeds)] for way in WAYS}
        table(noise, done)
        if noise == NOISES[0] and len(sys.argv) > 2:
            Path(sys.argv[2]).write_text(draw(picture(done)), encoding="utf-8")


# --- a training


@dataclass(kw_only=True)
class Student:
    """A softmax of a prompt's numbers, learnt by Adam."""

    weights: Floats
    steps: int
    """That its training will have: the rate falls to 0 over them."""
    at: int = 0
    first: Floats | float = 0.0
    second: Floats | float = 0.0

    def learn(self, prompts: Floats, answers: Ints) -> None:
        """One step."""
        slope = chances(prompts, self.weights)
        slope[np.arange(len(answers)), answers] -= 1
        slope = prompts.T @ slope / len(answers)
        rate = RATE * (1 - self.at / self.steps)
        self.at += 1
        self.first = 0.9 * self.first + 0.1 * slope
        self.second = 0.99 * self.second + 0.01 * slope**2
        first, second = self.first / (1 - 0.9**self.at), self.second / (1 - 0.99**self.at)
        self.weights = self.weights - rate * first / (np.sqrt(second) + 1e-8)

    def likelihood(self, prompts: Floats, answers: Ints) -> Floats:
        """(n,) of each answer, as a logarithm."""
        shares: Floats = np.log(chances(prompts, self.weights))[np.arange(len(answers)), answers]
        return shares


def trial(way: Way, noise: float, seed: int) -> Trial:
    """Train a student in this way."""
    rng = np.random.default_rng(seed)
    spread = SPREAD / np.sqrt(DIMENSIONS)
    oracle = rng.normal(size=(DIMENSIONS, ANSWERS)) * spread
    teacher = oracle + noise * rng.normal(size=oracle.shape) * spread

    own = prompts_of(OWN, rng)
    student = begun(own, drawn(chances(own, oracle), rng), rng)
    learnt = np.repeat(prompts_of(way.prompts, rng), way.answers, axis=0)
    said = chances(learnt, teacher)
    answers = drawn(said, rng)
    golden = prompts_of(GOLDEN, rng)
    gold = drawn(chances(golden, oracle), rng)
    unlearnt = prompts_of(GOLDEN, rng)
    unlearnt_said = drawn(chances(unlearnt, teacher), rng)
    others = prompts_of(EXACT, rng)
    truth = chances(others, oracle)

    readings: list[Reading] = []
    aside: list[Reading] = []
    exact: list[float] = []

    def look(epoch: int) -> None:
        good = student.likelihood(golden, gold).tolist()
        near = float(student.likelihood(learnt, answers).mean())
        readings.append(Reading(at=epoch, proxy=near, golden=good))
        near = float(student.likelihood(unlearnt, unlearnt_said).mean())
        aside.append(Reading(at=epoch, proxy=near, golden=good))
        exact.append(divergence(truth, chances(others, student.weights)))

    lots = len(learnt) // BATCH
    student = Student(weights=student.weights, steps=way.epochs * lots)
    look(0)
    for epoch in range(1, way.epochs + 1):
        for lot in np.array_split(rng.permutation(len(learnt)), lots):
            student.learn(learnt[lot], answers[lot])
        if way.fresh:
            answers = drawn(said, rng)
        if epoch % (way.epochs // LOOKS) == 0:
            look(epoch)
    far = divergence(truth, chances(others, teacher))
    return Trial(readings=readings, aside=aside, exact=exact, teacher=far)


def begun(prompts: Floats, answers: Ints, rng: np.random.Generator) -> Student:
    """A student that has seen a few answers of the oracle, twice."""
    student = Student(weights=np.zeros((DIMENSIONS, ANSWERS)), steps=10**9)
    for _ in range(2):
        for lot in np.array_split(rng.permutation(len(answers)), len(answers) // BATCH):
            student.learn(prompts[lot], answers[lot])
    return student


def prompts_of(n: int, rng: np.random.Generator) -> Floats:
    """(n, DIMENSIONS)."""
    return rng.normal(size=(n, DIMENSIONS))


def chances(prompts: Floats, weights: Floats) -> Floats:
    """(n, ANSWERS) the softmax."""
    powers = prompts @ weights
    shares: Floats = np.exp(powers - powers.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def drawn(shares: Floats, rng: np.random.Generator) -> Ints:
    """One answer a row."""
    found: Ints = (shares.cumsum(axis=1) > rng.random((len(shares), 1))).argmax(axis=1)
    return found


def divergence(truth: Floats, said: Floats) -> float:
    """KL from the truth, in nats, mean over prompts."""
    return float((truth * (np.log(truth) - np.log(said))).sum(axis=1).mean())


# --- what came of it


def table(noise: float, done: Mapping[str, Sequence[Trial]]) -> None:
    """As Markdown."""
    teacher = mean([one.teacher for trials in done.values() for one in trials])
    print(f"\n## noise {noise:g}: the teacher is {teacher:.3f} nats from the oracle\n")
    rules = " | ".join(f"alarm, {evals} evals, {ses:g} SE (wrong)" for evals, ses in RULES)
    print(
        f"| way | {rules} | the second, proxy of prompts not learnt | KL at start | kept by golden"
        " | best there was | last |"
    )
    print("| --- " * (6 + len(RULES)) + "|")
    for name, trials in done.items():
        cells = [rung(trials, [one.readings for one in trials], *rule) for rule in RULES]
        cells.append(rung(trials, [one.aside for one in trials], *RULES[1]))
        kept = [one.exact[best(one.readings)] for one in trials]
        figures = [
            mean([one.exact[0] for one in trials]),
            mean(kept),
            mean([min(one.exact) for one in trials]),
            mean([one.exact[-1] for one in trials]),
        ]
        cells += [f"{figure:.3f}" for figure in figures]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def rung(
    trials: Sequence[Trial], readings: Sequence[Sequence[Reading]], evals: int, ses: float
) -> str:
    """In how many trainings of all there was an alarm, with its interval; how many were wrong."""
    found_in = [alarms(one, evals=evals, ses=ses) for one in readings]
    firsts = list(zip(trials, found_in, strict=True))
    rang = [(one, found[0]) for one, found in firsts if found]
    wrong = sum(not one.right(alarm) for one, alarm in rang)
    share = share_of(len(rang), len(trials))
    return f"{len(rang)} of {len(trials)} [{100 * share.low:.0f}, {100 * share.high:.0f}] ({wrong})"


def picture(done: Mapping[str, Sequence[Trial]]) -> list[Panel]:
    """What the proxy says, and what is so, over epochs (shares of the training)."""
    proxies, truths = [], []
    for name, trials in done.items():
        places = [place / LOOKS for place in range(LOOKS + 1)]
        near = np.mean([[-r.proxy for r in one.readings] for one in trials], axis=0)
        good = np.mean([one.exact for one in trials], axis=0)
        proxies.append(Curve(name=name, points=list(zip(places, near.tolist(), strict=True))))
        truths.append(Curve(name=name, points=list(zip(places, good.tolist(), strict=True))))
    across = "share of the training"
    return [
        Panel(
            title="Proxy: loss on the teacher's answers it learns",
            across=across,
            up="nats",
            curves=proxies,
        ),
        Panel(
            title="Golden: divergence from the oracle",
            across=across,
            up="KL, nats",
            curves=truths,
        ),
    ]


def mean(values: Sequence[float]) -> float:
    """Of numbers."""
    return float(np.mean(values))


if __name__ == "__main__":
    main()
