"""BANKING77 with little: 5 gold labels a class, or few of the calls.

    python tests/bench/study_banking77.py few [SEEDS] [FIRST_SEED]
    python tests/bench/study_banking77.py calls [SEEDS] [FIRST_SEED] [PICTURE.svg]

Five recorded small LLMs labelled 10,003 messages, 31 to 51 % right; 19 of the 77 intents were never
offered to them. 2,003 messages drawn once are the test, and the others the table.

few: 385 gold labels and all votes. A seed draws 5 rows a class, or k-means over all rows (which
sees no gold) names the 385 rows nearest to its centres. Told are the labels of the table that no
seed has as gold, and the shipped linear student that learns the labels of all 8,000 rows.

calls: no gold. `spread`: every row, or a share of them, is asked of teachers drawn by chance, and
`relabel` adds up; `unsure`: spread 20 % and the rest to the rows it is least sure of;
`aggregate`: the calls of `spread`, added up by Dawid-Skene. Compared with all five teachers on all
rows by Dawid-Skene, uniform prior. The curve has a quick student, a ridge regression on the vectors
of `relabel`; at 30 % the shipped one learns too.

Intervals: `synthkd.evaluate.paired`, over seeds and rows. Needs the data of SYNTHKD_DATA (default
../shared/data); says so and ends well without.
"""

from __future__ import annotations

import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from synthkd.config import LinearConfig
from synthkd.curate.agreement import AggregateConfig, Votes, expectation
from synthkd.curate.few_labels import (
    Relabelled,
    central,
    evidence_of,
    from_votes,
    relabelled,
    three_sides,
)
from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.scored import Scored, share_right
from synthkd.manifest import Difference
from synthkd.students.linear import unfitted
from tests.bench.curves import Curve, Panel, draw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.intp]

ROOT = Path(__file__).parent.parent.parent
PANEL = ["qwen3-8b", "gemma3-4b-it-qat", "mistral-7b", "tulu3-8b", "deepseek-r1-7b"]
TABLE, PER_LABEL, DRAWS = 8_000, 5, 200
SHARES, WAVE = (0.1, 0.2, 0.3), 0.2
DAWID_SKENE = AggregateConfig(method="dawid_skene", class_prior="uniform", smoothing=0.1)
CONFIG = LinearConfig(kind="linear", text="text", label="label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The messages, and what was said of them."""

    texts: list[str]
    gold: Places
    """(n,) places in `labels`."""
    labels: list[str]
    votes: Votes
    """Of all messages; `offered` has what their codes mean."""
    offered: Places
    """(n_offered,) the place in `labels` of each label that a teacher names."""
    table: Places
    test: Places

    def of_table(self) -> Votes:
        """The votes of the table's rows."""
        return Votes(
            codes=self.votes.codes[self.table],
            teacher_of=self.votes.teacher_of,
            labels=self.votes.labels,
        )


def read(folder: Path) -> Data:
    """All messages, and which of them are the test."""
    import numpy as np

    rows = pq.read_table(folder / "train.parquet").to_pylist()
    told = pq.read_table(folder / "teacher_labels_traindev.parquet").to_pylist()
    said = {(one["teacher"], one["text"]): one["teacher_label"] for one in told}
    labels = sorted({row["label"] for row in rows})
    places = {label: place for place, label in enumerate(labels)}
    asked = [[said[f"{who} zero-shot", row["text"]] for who in PANEL] for row in rows]
    named = sorted({label for row in asked for label in row} & {*labels})
    codes = {label: place for place, label in enumerate(named)}
    order = np.random.default_rng(2026).permutation(len(rows))
    return Data(
        texts=[row["text"] for row in rows],
        gold=np.array([places[row["label"]] for row in rows]),
        labels=labels,
        votes=Votes(
            codes=np.array([[codes.get(one, -1) for one in row] for row in asked], np.int32),
            teacher_of=range(len(PANEL)),
            labels=named,
        ),
        offered=np.array([places[label] for label in named]),
        table=order[:TABLE],
        test=order[TABLE:],
    )


def vectors(texts: list[str]) -> NDArray[np.float32]:
    """As `relabel` has them by default."""
    return unit(TfidfModel(TfidfSettings(dimensions=512), texts).compute(texts))


def unit(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1."""
    import numpy as np

    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    short: NDArray[np.float32] = found / np.maximum(lengths, 1e-9)
    return short


def on_test(data: Data, rows: Places, labels: Places) -> Scored:
    """The shipped linear student that has learnt these rows with these labels."""
    model: Any = unfitted(CONFIG)
    model.fit([data.texts[row] for row in rows], labels)
    said = model.predict([data.texts[row] for row in data.test])
    return share_right(said == data.gold[data.test])


def few(data: Data, seeds: Sequence[int]) -> None:
    """5 gold labels a class."""
    import numpy as np

    texts = vectors([data.texts[row] for row in data.table])
    votes = data.of_table()
    sides = three_sides(texts, evidence_of(texts, votes, np.ones(votes.codes.shape, bool)))
    truth, is_gold = data.gold[data.table], np.zeros(len(data.table), bool)
    labels: dict[str, list[Places]] = defaultdict(list)
    students: dict[str, list[Scored]] = defaultdict(list)
    drawn = [_drawn(truth, seed) for seed in seeds]
    ways: dict[str, Iterable[Places]] = {
        "by chance": drawn,
        "by k-means": (
            central(sides, len(data.labels) * PER_LABEL, seed).nonzero()[0] for seed in seeds
        ),
    }
    for name, chosen in ways.items():
        for gold in chosen:
            is_gold[gold] = True
            own = dict(zip(gold.tolist(), truth[gold].tolist(), strict=True))
            found = relabelled(sides, own, len(data.labels), (20, 40))
            labels[name].append(found.winners)
            rest = np.delete(np.arange(len(truth)), gold)
            right, told = (found.winners == truth)[rest].mean(), found.confidence[rest].mean()
            classes = len({*own.values()})
            print(f"{name}: {classes} classes, {right:.4f} right, told {told:.4f}", flush=True)
    for place, gold in enumerate(drawn):
        students["gold rows alone"].append(on_test(data, data.table[gold], truth[gold]))
        for name, winners in labels.items():
            students[name].append(on_test(data, data.table, winners[place]))
        print({name: round(of[-1].value, 4) for name, of in students.items()}, flush=True)
    print(f"\n{(~is_gold).sum()} rows are gold to no seed\n")
    print("| gold | labels right % | student % | over gold rows alone |\n| --- | --- | --- | --- |")
    for name in {**labels, **students}:
        scored = students[name]
        right_of = [share_right((one == truth)[~is_gold]) for one in labels[name]]
        cells = [name, percent(right_of), percent(scored)]
        if scored and labels[name]:
            gold_alone = students["gold rows alone"]
            cells.append(points(lead_by_seed(scored, gold_alone, resamples=DRAWS, seed=0)))
        print("| " + " | ".join(cells) + " |", flush=True)


def calls(data: Data, seeds: Sequence[int], picture: str) -> None:
    """Few calls and no gold."""
    import numpy as np

    model = TfidfModel(TfidfSettings(dimensions=512), [data.texts[row] for row in data.table])
    texts, tests = (
        unit(model.compute([data.texts[row] for row in rows])) for rows in (data.table, data.test)
    )
    quick, truth, votes = Quick.of(data, texts, tests), data.gold[data.table], data.of_table()
    whole = data.offered[expectation(votes, DAWID_SKENE).winners]
    whole_quick, whole_shipped = quick(whole), on_test(data, data.table, whole)
    print(
        f"all: {(whole == truth).mean():.4f} right, quick {whole_quick.value:.4f}, shipped"
        f" {whole_shipped.value:.4f}",
        flush=True,
    )
    curve: dict[tuple[str, float], list[Scored]] = defaultdict(list)
    shipped: dict[str, list[Scored]] = defaultdict(list)
    for seed in seeds:
        rng, n = np.random.default_rng(seed), len(truth)
        asked = np.zeros((n, len(PANEL)), bool)
        rank = rng.permuted(np.tile(np.arange(len(PANEL)), (n, 1)), axis=1)
        order, unsure, first = rng.permutation(n), np.zeros(n), 0
        for share in SHARES:
            want = round(share * asked.size)
            depth = np.full(n, want // n)
            depth[order[: want % n]] += 1
            asked = rank < depth[:, None]
            found = _of_votes(texts, votes, asked)
            ways = {"spread": (found.winners, asked)}
            ways["aggregate"] = (
                expectation(_only(votes, asked), DAWID_SKENE).winners.astype(np.intp),
                asked,
            )
            if share > WAVE:  # at WAVE every row had one answer
                more = (rank < 1) | ((rank < 2) & _least(unsure, want - first))
                ways["unsure"] = (_of_votes(texts, votes, more).winners, more)
            elif share == WAVE:
                unsure, first = found.confidence, want
                ways["unsure"] = ways["spread"]
            for way, (winners, whom) in ways.items():
                labels = data.offered[winners]
                scored = quick(labels, winners >= 0)
                curve[way, share].append(scored)
                print(
                    f"seed {seed} {way} {whom.mean():.4f}: {(labels == truth).mean():.4f} right,"
                    f" quick {scored.value:.4f}",
                    flush=True,
                )
                if way == "spread" and share == SHARES[-1]:
                    shipped["spread, 30 %"].append(on_test(data, data.table, labels))
                    print(f"  shipped {shipped['spread, 30 %'][-1].value:.4f}", flush=True)
    print("\n| way | calls % | quick student % | over all five on all rows |")
    print("| --- | --- | --- | --- |")
    print(f"| all five | 100 | {percent([whole_quick])} | |")
    for (way, share), by_seed in curve.items():
        ahead = lead_by_seed(by_seed, [whole_quick] * len(by_seed), resamples=DRAWS, seed=0)
        print(f"| {way} | {100 * share:g} | {percent(by_seed)} | {points(ahead)} |")
    print("\nshipped: all five", percent([whole_shipped]))
    for way, by_seed in shipped.items():
        ahead = lead_by_seed(by_seed, [whole_shipped] * len(by_seed), resamples=DRAWS, seed=0)
        print(way, percent(by_seed), points(ahead))
    if picture:
        Path(picture).write_text(draw([_panel(curve, whole_quick)]), encoding="utf-8")


def _panel(curve: dict[tuple[str, float], list[Scored]], whole: Scored) -> Panel:
    drawn = []
    for way in dict.fromkeys(way for way, _ in curve):
        shares = [share for other, share in curve if other == way]
        found = [figure(curve[way, share], resamples=DRAWS, seed=0) for share in shares]
        drawn.append(
            Curve(
                name=way,
                points=[(100 * s, 100 * one.value) for s, one in zip(shares, found, strict=True)],
                low=[100 * one.low for one in found],
                high=[100 * one.high for one in found],
            )
        )
    ends = [(100 * SHARES[0], 100 * whole.value), (100 * SHARES[-1], 100 * whole.value)]
    drawn.append(Curve(name="all five, all rows", points=ends))
    return Panel(
        title="BANKING77, five recorded teachers, no gold",
        across="calls, % of all",
        up="accuracy of a quick student, %",
        curves=drawn,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """A ridge regression of labels on vectors: a student in a second."""

    data: Data
    texts: NDArray[np.float32]
    tests: NDArray[np.float32]

    @classmethod
    def of(cls, data: Data, texts: NDArray[np.float32], tests: NDArray[np.float32]) -> Quick:
        """Of the table's vectors and the test's."""
        return cls(data=data, texts=texts, tests=tests)

    def __call__(self, labels: Places, has: NDArray[np.bool_] | None = None) -> Scored:
        """Learn the rows that have a label; be tested."""
        import numpy as np

        rows = np.ones(len(labels), bool) if has is None else has
        known = self.texts[rows]
        gram = known.T @ known + np.eye(known.shape[1], dtype=np.float32)
        targets = np.eye(len(self.data.labels), dtype=np.float32)[labels[rows]]
        said = (self.tests @ np.linalg.solve(gram, known.T @ targets)).argmax(axis=1)
        return share_right(said == self.data.gold[self.data.test])


def _of_votes(texts: NDArray[np.float32], votes: Votes, asked: NDArray[np.bool_]) -> Relabelled:
    evidence = evidence_of(texts, _only(votes, asked), asked)
    return from_votes(three_sides(texts, evidence), evidence, len(votes.labels), (20, 40))


def _only(votes: Votes, asked: NDArray[np.bool_]) -> Votes:
    """The votes of those that were asked."""
    import numpy as np

    codes = np.where(asked, votes.codes, -1).astype(np.int32)
    return Votes(codes=codes, teacher_of=votes.teacher_of, labels=votes.labels)


def _least(sure: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """(n_rows, 1) the rows of which it is least sure."""
    import numpy as np

    chosen = np.zeros((len(sure), 1), bool)
    chosen[np.argsort(sure, kind="stable")[:count]] = True
    return chosen


def _drawn(truth: Places, seed: int) -> Places:
    """5 rows a class by chance."""
    import numpy as np

    rng = random.Random(seed)
    rows = [rng.sample(np.nonzero(truth == label)[0].tolist(), PER_LABEL) for label in {*truth}]
    return np.array(rows).ravel()


def percent(scored: Sequence[Scored]) -> str:
    """Per cent with the 95 % interval."""
    if not scored:
        return ""
    found = figure(scored, resamples=DRAWS, seed=0)
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def points(ahead: Difference) -> str:
    """Points of a hundred with the 95 % interval."""
    return f"{100 * ahead.value:+.1f} [{100 * ahead.low:+.1f}, {100 * ahead.high:+.1f}]"


def main() -> None:
    """Print what was asked for."""
    folder = Path(os.environ.get("SYNTHKD_DATA", str(ROOT / ".." / "shared" / "data")))
    if not (folder / "cls_banking77").is_dir():
        print(f"banking77: skipped, there is no {folder / 'cls_banking77'}: set SYNTHKD_DATA")
        return
    (part, *rest) = sys.argv[1:] or ["few"]
    count, first, picture = (*rest, *("5", "100", "")[len(rest) :])
    data, seeds = read(folder / "cls_banking77"), range(int(first), int(first) + int(count))
    if part == "few":
        few(data, seeds)
    else:
        calls(data, seeds, picture)


if __name__ == "__main__":
    main()
