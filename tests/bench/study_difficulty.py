"""MFD on RECORDED judgements: does it foretell where a third model loses, against another baseline?

    python -m tests.bench.study_difficulty [PICTURE.svg]      # one CPU minute

AlpacaEval's answers of 12 models to 616 instructions, and what GPT-4 preferred (1, the baseline, to
2, the model), against two baselines. MFD of an instruction is preference(strong) less
preference(weak), both against one baseline; it is held against the loss (2 less preference) of a
third model. Strong is whichever of two models is preferred more often; the third is another one.

Against the OTHER baseline nothing is in both numbers but the instruction and the kind of judge. No
triple has a model that is a baseline of either side: its answers would be in both numbers.
Against the SAME baseline the baseline's answer is in both: that is the fake, and it is shown.

Rank correlations, the mean over all triples; intervals are percentiles over resampled instructions.
Needs the data of SYNTHKD_DATA.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import rankdata

from tests.bench.curves import Curve, Panel, draw

DATA = Path(os.environ.get("SYNTHKD_DATA", Path(__file__).parents[3] / "shared" / "data"))
DRAWS = 2000
DRAW = 1.5
"""What 0 means: 42 of the 60 are two answers that are the same text, the others nearly so."""
BASELINES = ("text_davinci_003", "gpt4_1106_preview")
SIDES = (
    ("alpaca_eval_gpt4", "text_davinci_003"),
    ("weighted_alpaca_eval_gpt4_turbo", "gpt4_1106_preview"),
    ("alpaca_eval_cot_gpt4_turbo_fn", "gpt4_1106_preview"),
)
Floats = NDArray[np.float64]
Pair = tuple[str, str]
"""Strong, weak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one judge preferred against one baseline."""

    judge: str
    baseline: str
    preference: dict[str, Floats]
    """Model -> (n_instructions,) 1 to 2."""

    @property
    def models(self) -> list[str]:
        """Those that are no baseline of any side, the weakest first."""
        able = [name for name in self.preference if name not in BASELINES]
        return sorted(able, key=lambda name: float(self.preference[name].mean()))

    @property
    def pairs(self) -> list[Pair]:
        """Every two models, the one that is preferred more often first."""
        return [(strong, weak) for weak, strong in itertools.combinations(self.models, 2)]

    @property
    def called(self) -> str:
        """In a table."""
        return f"{self.baseline} ({self.judge})"


def sides() -> tuple[list[Side], list[str]]:
    """All sides, over the instructions that each has a preference on; and those instructions."""
    records = pq.read_table(DATA / "instr_alpaca_eval" / "gpt4_annotations.parquet").to_pylist()
    told: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for one in records:
        side = told.setdefault((one["judge"], one["generator_1"]), {})
        if one["preference"] is not None:  # the judge's answer could not be read
            value = one["preference"] or DRAW
            side.setdefault(one["generator_2"], {})[one["instruction"]] = value
    wanted = [model for key in SIDES for name, model in told[key].items() if name not in BASELINES]
    common = sorted(set.intersection(*(set(model) for model in wanted)))
    made = [
        Side(
            judge=judge,
            baseline=baseline,
            preference={
                name: np.array([model[instruction] for instruction in common])
                for name, model in told[judge, baseline].items()
                if set(common) <= set(model)
            },
        )
        for judge, baseline in SIDES
    ]
    return made, common


def ranked(columns: Floats) -> Floats:
    """(n_columns, n) -> ranks of each, centred and of length 1, so that products are Spearman's."""
    ranks = rankdata(columns, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.asarray(ranks / np.where(lengths > 0, lengths, 1))


Foretold = Callable[[Side, Pair], Floats]
"""Of a side and a pair, how hard each instruction is."""


def mfd(side: Side, pair: Pair) -> Floats:
    """Preference of the strong one less that of the weak one."""
    return side.preference[pair[0]] - side.preference[pair[1]]


def weak_alone(side: Side, pair: Pair) -> Floats:
    """The loss of the weak one, whatever the strong one does."""
    return 2 - side.preference[pair[1]]


def strong_alone(side: Side, pair: Pair) -> Floats:
    """The preference of the strong one."""
    return side.preference[pair[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Rank correlations over triples."""

    mean: float
    low: float
    high: float
    least: float
    most: float
    above: int
    """Triples whose correlation is above 0."""
    triples: int

    def __str__(self) -> str:
        return (
            f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] | {self.triples}"
            f" | {self.above} | {self.least:+.2f} to {self.most:+.2f}"
        )


def correlations(
    one: Side, other: Side, foretold: Foretold, pairs: Sequence[Pair] | None = None
) -> Told:
    """Of what `one` foretells with the losses of third models on `other`.

    Args:
        one: the side of the pairs.
        other: the side of the losses; may be the same.
        foretold: how hard each instruction is.
        pairs: which of the side's; None = all.
    """
    pairs = one.pairs if pairs is None else pairs
    thirds = other.models
    hard = np.stack([foretold(one, pair) for pair in pairs])
    loss = np.stack([2 - other.preference[third] for third in thirds])
    fits = np.array([[third not in pair for third in thirds] for pair in pairs])
    found = (ranked(hard) @ ranked(loss).T)[fits]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        at = rng.integers(hard.shape[1], size=hard.shape[1])
        means.append((ranked(hard[:, at]) @ ranked(loss[:, at]).T)[fits].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return Told(
        mean=float(found.mean()),
        low=float(low),
        high=float(high),
        least=float(found.min()),
        most=float(found.max()),
        above=int((found > 0).sum()),
        triples=int(fits.sum()),
    )


def shuffled(one: Side, other: Side) -> float:
    """The same mean where the instructions of one side are dealt anew: what chance makes."""
    order = np.random.default_rng(1).permutation(len(next(iter(one.preference.values()))))
    dealt = {name: values[order] for name, values in one.preference.items()}
    mixed = Side(judge=one.judge, baseline=one.baseline, preference=dealt)
    thirds = other.models
    hard = np.stack([mfd(mixed, pair) for pair in mixed.pairs])
    loss = np.stack([2 - other.preference[third] for third in thirds])
    fits = np.array([[third not in pair for third in thirds] for pair in mixed.pairs])
    return float((ranked(hard) @ ranked(loss).T)[fits].mean())


def itself(one: Side, other: Side) -> tuple[float, float, float, int]:
    """Of each model's losses against both baselines, with its 95 % interval, and how many models.

    What foretelling could reach: the same answers, only the baseline and the judge are others.
    """
    both = [name for name in one.models if name in other.models]
    losses = [2 - np.stack([side.preference[name] for name in both]) for side in (one, other)]

    def mean(at: NDArray[np.int64]) -> float:
        ranks = [ranked(loss[:, at]) for loss in losses]
        return float((ranks[0] * ranks[1]).sum(axis=1).mean())

    n = losses[0].shape[1]
    rng = np.random.default_rng(0)
    drawn = [mean(rng.integers(0, n, size=(n,))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return mean(np.arange(n)), float(low), float(high), len(both)


def by_length(other: Side, instructions: Sequence[str]) -> float:
    """Of the instruction's length with the losses: a difficulty that asks nobody."""
    length = np.log([len(one) for one in instructions])[None, :]
    loss = np.stack([2 - other.preference[third] for third in other.models])
    return float((ranked(length) @ ranked(loss).T).mean())


def tables(found: Sequence[Side], instructions: Sequence[str]) -> None:
    """All directions, printed."""
    print(f"{len(instructions)} instructions; {DRAWS} draws\n")
    for side in found:
        means = ", ".join(f"{name} {side.preference[name].mean() - 1:.2f}" for name in side.models)
        print(f"against {side.called}, preferred to it: {means}")
    print("\n| foretold by | losses against | mean [95 %] | triples | above 0 | least, most |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one, other in itertools.product(found, found):
        kind = "other" if one.baseline != other.baseline else "SAME"
        if kind == "SAME" and one is not other:
            kind = "SAME, another judge"
        for name, foretold in (("MFD", mfd), ("weak", weak_alone), ("strong", strong_alone)):
            told = correlations(one, other, foretold)
            print(f"| {name} on {one.called} | {kind}: {other.called} | {told} |", flush=True)
        print(f"| MFD, dealt anew | {kind}: {other.called} | {shuffled(one, other):+.3f} | | | |")
    for one, other in itertools.combinations(found, 2):
        value, low, high, n = itself(one, other)
        span = f"{value:+.3f} [{low:+.3f}, {high:+.3f}] | {n}"
        print(f"| a model's own loss on {one.called} | {other.called} | {span} | | |")
    for side in found:
        print(f"| log length | {side.called} | {by_length(side, instructions):+.3f} | | | |")


def gaps(one: Side, other: Side) -> None:
    """Whether a wider gap between strong and weak makes a better MFD."""
    pairs = sorted(one.pairs, key=lambda pair: float(mfd(one, pair).mean()))
    for name, some in (
        ("narrow", pairs[: len(pairs) // 3]),
        ("wide", pairs[-(len(pairs) // 3) :]),
    ):
        gap = float(np.mean([mfd(one, pair).mean() for pair in some]))
        told = correlations(one, other, mfd, some)
        print(f"| {name} gaps, {gap:.2f} on average | {one.called} | {other.called} | {told} |")


def loss_by_fifth(
    one: Side, other: Side, foretold: Foretold
) -> tuple[list[float], list[float], list[float]]:
    """Mean loss in per cent of third models by fifth of what is foretold, with 95 % intervals.

    Equals of a fifth's edge are shared out: the mean over all orders, as ranks with noise have it.
    """
    rng = np.random.default_rng(2)
    pairs, thirds = one.pairs, other.models
    hard = np.stack([foretold(one, pair) for pair in pairs])
    loss = np.stack([2 - other.preference[third] for third in thirds])
    fits = np.array([[third not in pair for third in thirds] for pair in pairs], dtype=float)
    of_pair = (fits @ loss) / fits.sum(axis=1, keepdims=True)  # (n_pairs, n)

    def curve(at: NDArray[np.int64]) -> Floats:
        noisy = hard[:, at] + 1e-9 * rng.random((len(pairs), len(at)))
        order = np.argsort(noisy, axis=1)
        sorted_loss = np.take_along_axis(of_pair[:, at], order, axis=1)
        return np.array([100 * part.mean() for part in np.array_split(sorted_loss, 5, axis=1)])

    n = hard.shape[1]
    whole = np.mean([curve(np.arange(n)) for _ in range(50)], axis=0)
    drawn = np.array([curve(rng.integers(0, n, size=(n,))) for _ in range(500)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return whole.tolist(), low.tolist(), high.tolist()


def picture(found: Sequence[Side], to: Path) -> None:
    """Losses of third models by fifth of MFD, against the other baseline and against the same."""
    davinci, turbo = found[0], found[1]
    panels = []
    for one, other in ((davinci, turbo), (turbo, davinci)):
        curves = []
        for name, against, foretold in (
            ("MFD, the other baseline", other, mfd),
            ("MFD, the SAME baseline (fake)", one, mfd),
            ("loss of the weak one alone, the other baseline", other, weak_alone),
            ("loss of the weak one alone, the SAME baseline (fake)", one, weak_alone),
        ):
            values, low, high = loss_by_fifth(one, against, foretold)
            points = [(float(place), value) for place, value in enumerate(values, 1)]
            curves.append(Curve(name=name, points=points, low=low, high=high))
            print(name, one.baseline, [round(value, 1) for value in values], flush=True)
        panels.append(
            Panel(
                title=f"foretold against {one.baseline}",
                across="fifth of the instructions, easiest first",
                up="loss of third models, %",
                curves=curves,
            )
        )
    to.write_text(draw(panels), encoding="utf-8")


if __name__ == "__main__":
    everything, asked = sides()
    tables(everything, asked)
    print("\n| pairs | foretold against | losses against | mean | triples | above 0 | |")
    gaps(everything[0], everything[1])
    gaps(everything[1], everything[0])
    if len(sys.argv) > 1:
        picture(everything, Path(sys.argv[1]))
