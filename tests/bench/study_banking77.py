"""BANKING77 with little: 5 gold labels a class, or 30 % of the calls.

    python tests/bench/study_banking77.py few [SEEDS] [FIRST_SEED]

Five recorded small LLMs labelled 10,003 messages, 31 to 51 % right; 19 of the 77 intents were never
offered to them. 2,003 messages drawn once are the test, and the others the table.

few: 385 gold labels and all votes. A seed draws 5 rows a class, or k-means over all rows (which
sees no gold) names the 385 rows nearest to its centres. Told are the labels of the table that no
seed has as gold, and the shipped linear student that learns the labels of all 8,000 rows.

Intervals: `synthkd.evaluate.paired`, over seeds and rows. Needs the data of SYNTHKD_DATA (default
../shared/data); says so and ends well without.
"""

from __future__ import annotations

import os
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from synthkd.config import LinearConfig
from synthkd.curate.agreement import AggregateConfig, Votes, expectation
from synthkd.curate.relabel import relabelled, three_sides
from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.scored import Scored, share_right
from synthkd.students.linear import unfitted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.intp]

ROOT = Path(__file__).parent.parent.parent
PANEL = ["qwen3-8b", "gemma3-4b-it-qat", "mistral-7b", "tulu3-8b", "deepseek-r1-7b"]
TABLE, PER_LABEL, DRAWS = 8_000, 5, 300
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
    import numpy as np

    found = TfidfModel(TfidfSettings(dimensions=512), texts).compute(texts)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: NDArray[np.float32] = found / np.maximum(lengths, 1e-9)
    return unit


def on_test(data: Data, rows: Places, labels: Places) -> Scored:
    """The shipped linear student that has learnt these rows with these labels."""
    model: Any = unfitted(CONFIG)
    model.fit([data.texts[row] for row in rows], labels)
    said = model.predict([data.texts[row] for row in data.test])
    return share_right(said == data.gold[data.test])


def few(data: Data, seeds: Sequence[int]) -> None:
    """5 gold labels a class."""
    import numpy as np

    votes = Votes(
        codes=data.votes.codes[data.table],
        teacher_of=data.votes.teacher_of,
        labels=data.votes.labels,
    )
    sides = three_sides(vectors([data.texts[row] for row in data.table]), votes)
    truth = data.gold[data.table]
    labels: dict[str, list[Places]] = defaultdict(list)
    students: dict[str, list[Scored]] = defaultdict(list)
    is_gold = np.zeros(len(truth), bool)
    for seed in seeds:
        drawn, named = _drawn(truth, seed), _central(sides, seed)
        for name, gold, grow in (
            ("chosen by k-means", named, (20, 40)),
            ("by chance", drawn, (20, 40)),
            ("by chance, gold rows alone teach", drawn, ()),
        ):
            is_gold[gold] = True
            own = dict(zip(gold.tolist(), truth[gold].tolist(), strict=True))
            found = relabelled(sides, own, len(data.labels), grow)
            labels[name].append(found.winners)
            right = found.winners[~is_gold] == truth[~is_gold]
            print(
                f"seed {seed}, {name}: {len({*own.values()})} classes, {len(own)} gold rows;"
                f" {right.mean():.4f} right, told {found.confidence[~is_gold].mean():.4f}",
                flush=True,
            )
            if grow:
                students[name].append(on_test(data, data.table, found.winners))
        students["gold rows alone"].append(on_test(data, data.table[drawn], truth[drawn]))
    settings = AggregateConfig(method="dawid_skene", class_prior="uniform", smoothing=0.1)
    counted = data.offered[expectation(votes, settings).winners]
    labels["Dawid-Skene, no gold"] = [counted] * len(seeds)
    students["Dawid-Skene, no gold"] = [on_test(data, data.table, counted)] * len(seeds)
    print(
        f"\nlabels of the {(~is_gold).sum()} rows that no seed has as gold; student on the test\n"
    )
    print("| gold | labels right % | student % | student over gold rows alone |")
    print("| --- | --- | --- | --- |")
    for name in {**labels, **students}:
        right = [share_right(one[~is_gold] == truth[~is_gold]) for one in labels[name]]
        cells = [_percent(right), _percent(students[name])]
        if students[name]:
            ahead = lead_by_seed(
                students[name], students["gold rows alone"], resamples=DRAWS, seed=0
            )
            cells.append(f"{ahead.value:+.1%} [{ahead.low:+.1%}, {ahead.high:+.1%}]")
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


def _drawn(truth: Places, seed: int) -> Places:
    """5 rows a class by chance."""
    import numpy as np

    rng = random.Random(seed)
    rows = [rng.sample(np.nonzero(truth == label)[0].tolist(), PER_LABEL) for label in {*truth}]
    return np.array(rows).ravel()


def _central(sides: NDArray[np.float32], seed: int) -> Places:
    """As many rows, each the nearest to a centre of k-means; some classes may have none."""
    import numpy as np
    from sklearn.cluster import KMeans

    means = KMeans(77 * PER_LABEL, n_init=1, random_state=seed, max_iter=20).fit(sides)
    nearest: Places = np.unique(means.transform(sides).argmin(axis=0))
    return nearest


def _percent(scored: Sequence[Scored]) -> str:
    if not scored:
        return ""
    found = figure(scored, resamples=DRAWS, seed=0)
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    """Print what was asked for."""
    folder = Path(os.environ.get("SYNTHKD_DATA", str(ROOT / ".." / "shared" / "data")))
    if not (folder / "cls_banking77").is_dir():
        print(f"banking77: skipped, there is no {folder / 'cls_banking77'}: set SYNTHKD_DATA")
        return
    (part, *rest) = sys.argv[1:] or ["few"]
    count, first = (*map(int, rest[:2]), *(5, 100)[len(rest) :])
    data = read(folder / "cls_banking77")
    {"few": few}[part](data, range(first, first + count))


if __name__ == "__main__":
    main()
