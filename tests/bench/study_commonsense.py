"""A critic of a recorded teacher's commonsense: precision against the size of the corpus.

    python -m tests.bench.study_commonsense [PICTURE.svg]

The teacher is COMET-BART, recorded: nine beams for each of 3,000 (head, relation) of ATOMIC 2020's
test file, with gold tails. A tail is right if gold has it, letters and digits alone. Gold is a few
tails that people happened to write, so nearly all right ones count as wrong: every precision here
is far too low, and only their order says something.

Heads are divided into four parts by their hash. Each part is tested once: the critic (the product's
step) learns on two others, and its thresholds come from the last. Intervals: Bayesian bootstrap
over heads, 500 draws. Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends
well without.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthkd.curate.critic import CriticSettings, critic
from synthkd.desk import Desk
from synthkd.graphs.relations import head_key, known_relations, share_of
from synthkd.io.spool import RowSpool, Table
from synthkd.rows import source_row
from synthkd.table_kit import TableKit
from tests.bench.curves import Curve, Panel, draw

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
PARTS = 4
RECALLS = (0.9, 0.8, 0.7, 0.6, 0.5)
DRAWS = 500
CRITICS: Mapping[str, Sequence[str]] = {
    "critic": ("head", "relation", "tail"),
    "critic, tail alone": ("tail",),
    "critic, head alone": ("head",),
    "critic, relation alone": ("relation",),
    "critic and beam": ("head", "relation", "tail", "beam"),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A tail that the teacher gave."""

    head: str
    relation: str
    tail: str
    beam: int
    part: int
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a critic says of all tails, each from a fit that has not seen its head."""

    scores: Floats
    """(n_tails,) probabilities."""
    kept: NDArray[np.bool_]
    """(n_recalls, n_tails) whether each is above the threshold for each recall."""


def load(relations: Sequence[str] | None) -> tuple[list[Tail], Counter[str]]:
    """The tails, each once for its head and relation, and what was left out."""
    tails: list[Tail] = []
    out: Counter[str] = Counter()
    file = DATA / "kg_atomic2020" / "test_first60pct.parquet"
    for row in pq.read_table(file).to_pylist():
        if relations is not None and row["relation"] not in relations:
            continue
        gold = {head_key(tail) for tail in row["gold_tails"]}
        seen: set[str] = set()
        for beam, tail in enumerate(row["teacher_generations"]):
            key = head_key(tail)
            if key in ("", "none") or key in seen:
                out["none" if key in ("", "none") else "twice"] += 1
                continue
            seen.add(key)
            part = int(share_of(row["head"], "study", 0) * PARTS)
            tails.append(
                Tail(head=row["head"], relation=row["relation"], tail=tail.strip(), beam=beam,
                     part=part, right=key in gold)
            )  # fmt: skip
    return tails, out


def judged(tails: Sequence[Tail], fields: Sequence[str]) -> Scored:
    """All tails, part by part, by the product's critic."""
    scores = np.zeros(len(tails))
    kept = np.zeros((len(RECALLS), len(tails)), dtype=bool)
    for tested in range(PARTS):
        side = {tested: "test", (tested + 1) % PARTS: "dev"}
        rows = [
            source_row(
                "study",
                [place],
                ordinal=place,
                fields={
                    "head": one.head,
                    "relation": one.relation,
                    "tail": one.tail,
                    "beam": f"beam{one.beam}",
                    "split": side.get(one.part, "train"),
                    "valid": one.right,
                },
            )
            for place, one in enumerate(tails)
        ]
        config = CriticSettings(
            fields=list(fields), label="valid", split="split", recalls=RECALLS, reject=False
        )
        kit = TableKit(Desk(step="critic"))
        with (
            tempfile.TemporaryDirectory() as scratch,
            RowSpool.of(Path(scratch) / "rows", rows) as spool,
        ):
            for place, row in enumerate(critic(Table(spool), kit, config)):
                if tails[place].part == tested:
                    scores[place] = float(str(row.fields["critic"]))
                    kept[:, place] = [bool(row.fields[config.flag(r)]) for r in RECALLS]
    return Scored(scores=scores, kept=kept)


def along(scores: Floats, right: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Share of the corpus kept and its precision, from the best on; equals in expected order.

    Args:
        scores: (n,) of the tails.
        right: (n,) 1 or 0.
        weights: (n,) how much each counts.

    Returns:
        Two arrays (n,).
    """
    order = np.argsort(-scores, kind="stable")
    _, group = np.unique(-scores[order], return_inverse=True)
    w = weights[order]
    hits = np.bincount(group, w * right[order]) / np.bincount(group, w)
    total = np.cumsum(w)
    return total / total[-1], np.cumsum(w * hits[group]) / total


def area(scores: Floats, right: Floats, weights: Floats) -> float:
    """Mean precision over all sizes of the corpus."""
    share, precision = along(scores, right, weights)
    return float(np.sum(np.diff(share, prepend=0.0) * precision))


def within(scores: Floats, tails: Sequence[Tail]) -> Floats:
    """(n_tails,) the rank of each in its relation and part, 0 to 1: all are kept alike.

    By some relations gold has far more of what a teacher says than by others, so that a critic
    gains much by the relation alone; this is what is left. By part too, since a part with few right
    tails is judged by a critic that has seen many.
    """
    ranks = np.zeros(len(scores))
    groups = [f"{one.part} {one.relation}" for one in tails]
    _, where = np.unique(groups, return_inverse=True)
    for number in range(int(where.max()) + 1):
        mine = np.flatnonzero(where == number)
        _, group, counts = np.unique(scores[mine], return_inverse=True, return_counts=True)
        ranks[mine] = (np.cumsum(counts) - counts / 2)[group] / len(mine)
    return ranks


class Heads:
    """Weights of tails by head, the same draws for everything that is compared."""

    def __init__(self, tails: Sequence[Tail]) -> None:
        keys = [head_key(one.head) for one in tails]
        _, self.head = np.unique(keys, return_inverse=True)
        self.count = int(self.head.max()) + 1

    def draws(self) -> Sequence[Floats]:
        """(n_tails,) weights, for each draw."""
        rng = np.random.default_rng(0)
        return [rng.exponential(size=self.count)[self.head] for _ in range(DRAWS)]


def ends(values: Sequence[float]) -> str:
    """A 95 % interval in per cent."""
    low, high = np.percentile(values, [2.5, 97.5])
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def report(name: str, relations: Sequence[str] | None) -> list[Curve]:
    """Everything about one choice of relations; the curves for the picture."""
    tails, out = load(relations)
    right = np.array([float(one.right) for one in tails])
    heads = Heads(tails)
    draws = heads.draws()
    print(
        f"\n{name}: {len(tails):,} tails of {heads.count:,} heads, {100 * right.mean():.2f} % right"
    )
    print(f"left out: {dict(out)}")
    orders: dict[str, Floats] = {
        "random order": np.zeros(len(tails)),
        "beam order": np.array([-float(one.beam) for one in tails]),
    }
    found: dict[str, Scored] = {}
    for called, fields in CRITICS.items():
        began = time.process_time()
        found[called] = judged(tails, fields)
        orders[called] = found[called].scores
        print(f"  {called}: {time.process_time() - began:.1f} CPU s")
    areas("area", orders, right, draws)
    areas("area within relations", {c: within(o, tails) for c, o in orders.items()}, right, draws)
    for called in ("critic", "critic and beam"):
        print(
            f"| {called}: recall on dev | kept | precision, % | recall, % |\n" + "| --- " * 4 + "|"
        )
        print(f"| all | {len(tails):,} | {100 * right.mean():.1f} | 100 |")
        for recall, kept in zip(RECALLS, found[called].kept, strict=True):
            precision = right[kept].mean()
            told = ends([float(np.average(right[kept], weights=w[kept])) for w in draws])
            print(
                f"| {recall:.0%} | {kept.sum():,} | {100 * precision:.1f} {told} |"
                f" {100 * right[kept].sum() / right.sum():.0f} |"
            )
    shown = ("critic and beam", "critic", "beam order", "random order")
    return [_curve(called, orders[called], right) for called in shown]


def areas(name: str, orders: Mapping[str, Floats], right: Floats, draws: Sequence[Floats]) -> None:
    """A table of the orders, each with its leads over the two controls."""
    drawn = {called: [area(scores, right, w) for w in draws] for called, scores in orders.items()}
    print(f"| order | {name}, % | ahead of random order | of beam order |\n" + "| --- " * 4 + "|")
    for called, scores in orders.items():
        leads = []
        for other in ("random order", "beam order"):
            pairs = zip(drawn[called], drawn[other], strict=True)
            leads.append(ends([mine - theirs for mine, theirs in pairs]))
        value = 100 * area(scores, right, np.ones(len(right)))
        print(f"| {called} | {value:.1f} {ends(drawn[called])} | {' | '.join(leads)} |", flush=True)


def _curve(name: str, scores: Floats, right: Floats) -> Curve:
    share, precision = along(scores, right, np.ones(len(right)))
    places = [int(np.searchsorted(share, x)) for x in np.linspace(0.02, 1, 50)]
    places = [min(place, len(share) - 1) for place in places]
    return Curve(name=name, points=[(100 * share[at], 100 * precision[at]) for at in places])


def main() -> None:
    """All relations, then the seven that come along."""
    if not (DATA / "kg_atomic2020").is_dir():
        print(f"no data at {DATA}: set SYNTHKD_DATA")
        return
    panels = [
        Panel(title=name, across="share of the corpus kept, %", up="in gold, %", curves=curves)
        for name, curves in (
            ("22 relations", report("22 relations", None)),
            ("seven relations", report("seven relations", [*known_relations()])),
        )
    ]
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(draw(panels), encoding="utf-8")


if __name__ == "__main__":
    main()
