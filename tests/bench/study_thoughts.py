"""Rejection sampling in rounds against the same calls spread evenly: share of problems solved.

    python tests/bench/study_thoughts.py [PICTURE.svg]

Simulated: 800 problems (the 200 of data/arithmetic.jsonl, at four error rates), 24 replies each of
the simulated teacher through the step `thoughts`; every policy is then counted on these replies.
Even at a number of calls that is no multiple of the problems: some get one more, by chance.
Recorded: the 660 problems of GSM8K, six teachers as six tries, over 200 orders of the teachers,
drawn anew for each problem (needs the data of SYNTHKD_DATA).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import orjson

from synthkd.config import SimulatedConfig
from synthkd.curate.thoughts.explore import ExploreSettings, thoughts
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import source_row
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.simulated import open_world
from tests.bench.curves import Curve, Panel, draw

ROOT = Path(__file__).parent.parent.parent
ERROR_RATES = (0.3, 0.6, 0.85, 0.97)
TRIES = 24
POLICIES = {"4, 4, 8": (4, 4, 8), "2, 2, 4, 8, 8": (2, 2, 4, 8, 8), "one at a time": (1,) * 16}
DRAWS = 200
Outcomes = Sequence[Sequence[bool]]
"""Of each problem, whether each try is right."""


def main() -> None:
    """Print both tables, and draw them where a file is named."""
    groups = [asyncio.run(simulated(rate)) for rate in ERROR_RATES]
    print(f"simulated, 800 problems, error rates {ERROR_RATES}, 200 problems each")
    everything = [tries for group in groups for tries in group]
    report(everything, rounds=POLICIES)
    difficulty(groups)
    panels = [panel("simulated, 800 problems", everything, POLICIES, most=16)]
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data")) / "gsm8k"
    if folder.is_dir():
        print("recorded, GSM8K, 660 problems, six teachers as six tries in any order")
        outcomes = recorded(folder)
        policies = {"2, 2, 2": (2, 2, 2), "one at a time": (1,) * 6}
        report(outcomes, rounds=policies, shuffle=True)
        rng = random.Random(1)
        orders = [rng.sample(tries, 6) for tries in outcomes for _ in range(20)]
        panels.append(panel("recorded, GSM8K, six teachers", orders, policies, most=6))
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(draw(panels), encoding="utf-8")


async def simulated(rate: float) -> Outcomes:
    """All tries of the 200 problems at an error rate; right as the step says."""
    world = open_world(SimulatedConfig(world="arithmetic", seed=round(rate * 100), error_rate=rate))
    prompt = load_prompt("thoughts/solve", folders=[shipped_folder("prompts")])
    config = ExploreSettings.model_validate(
        {"teacher": "t", "tries": [TRIES], "gold": "answer", "answer": {"type": "number"}}
    )
    who = OpenTeacher(name="t", model="m", params={}, max_tokens=None, simulated=True, stack=world)
    desk = Desk(step="thoughts", teachers={"t": who}, prompts={prompt.name: prompt})
    outcomes = []
    for line in (ROOT / "data" / "arithmetic.jsonl").read_bytes().splitlines():
        fields = orjson.loads(line)
        row = source_row("rows", [fields["id"]], ordinal=0, fields=fields)
        try:
            made = [out async for out in thoughts(row, Kit(desk, row.id), config)]
        except Rejected:
            outcomes.append([False] * TRIES)
            continue
        pool: Any = made[0].fields["candidates"]
        outcomes.append([one["right"] for one in pool])
    return outcomes


def recorded(folder: Path) -> Outcomes:
    """Whether each of the six teachers is right, problem by problem."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "teacher_outputs_first660.parquet").to_pylist()
    by_id: dict[str, list[bool]] = {}
    for row in rows:
        by_id.setdefault(row["id"], []).append(bool(row["teacher_correct"]))
    return list(by_id.values())


def report(
    outcomes: Outcomes, *, rounds: Mapping[str, Sequence[int]], shuffle: bool = False
) -> None:
    """Share solved and calls of each policy, and what even spreading solves with as many calls."""
    rng = random.Random(0)
    print("| rounds | calls a problem | solved % | evenly, as many calls: solved % | lead |")
    print("| --- | --- | --- | --- | --- |")
    for name, policy in rounds.items():
        figures = []
        for _ in range(DRAWS):
            drawn = [rng.sample(tries, len(tries)) for tries in outcomes] if shuffle else outcomes
            calls, solved = in_rounds(drawn, policy)
            figures.append((calls / len(drawn), solved, evenly(drawn, calls, rng)))
        calls_each, solved_each, even_each = (list(each) for each in zip(*figures, strict=True))
        leads = [100 * (a - b) for a, b in zip(solved_each, even_each, strict=True)]
        print(
            f"| {name} | {fmean(calls_each):.2f} | {100 * fmean(solved_each):.1f}"
            f" | {100 * fmean(even_each):.1f} | {fmean(leads):+.1f} (sd {stdev(leads):.1f}) |"
        )
    for k in (1, 2, 4, 8, 16) if not shuffle else (1, 2, 3, 6):
        share = fmean(evenly(outcomes, k * len(outcomes), rng, shuffle=shuffle) for _ in range(9))
        print(f"| evenly {k} | {k} | {100 * share:.1f} | | |")


def panel(
    title: str, outcomes: Outcomes, policies: Mapping[str, Sequence[int]], *, most: int
) -> Panel:
    """Share solved by calls a problem, of even spreading and of each policy after each round."""
    even = [(float(k), 100 * fmean(any(t[:k]) for t in outcomes)) for k in range(1, most + 1)]
    curves = [Curve(name="evenly", points=even)]
    for name, policy in policies.items():
        told = [in_rounds(outcomes, policy[: n + 1]) for n in range(len(policy))]
        points = [(calls / len(outcomes), 100 * solved) for calls, solved in told]
        curves.append(Curve(name=f"in rounds: {name}", points=points))
    return Panel(title=title, across="calls a problem", up="% solved", curves=curves)


def in_rounds(outcomes: Outcomes, policy: Sequence[int]) -> tuple[int, float]:
    """Calls in all, and the share solved."""
    calls = solved = 0
    for tries in outcomes:
        so_far = 0
        for more in policy:
            so_far += more
            if any(tries[:so_far]):
                break
        calls += so_far
        solved += any(tries[:so_far])
    return calls, solved / len(outcomes)


def evenly(outcomes: Outcomes, calls: int, rng: random.Random, *, shuffle: bool = False) -> float:
    """The share solved with so many calls in all, as many for each problem, give or take one."""
    if shuffle:
        outcomes = [rng.sample(tries, len(tries)) for tries in outcomes]
    each, left = divmod(calls, len(outcomes))
    more = set(rng.sample(range(len(outcomes)), left))
    return fmean(any(tries[: each + (n in more)]) for n, tries in enumerate(outcomes))


def difficulty(groups: Sequence[Outcomes]) -> None:
    """How near `solved_share` of stopped rows comes to the true share of right replies."""
    print(
        "| true share right | rows solved % | mean solved_share | hard / medium / easy % of them |"
    )
    print("| --- | --- | --- | --- |")
    for rate, outcomes in zip(ERROR_RATES, groups, strict=True):
        shares = []
        for tries in outcomes:
            for so_far in (4, 8, 16):
                if any(tries[:so_far]):
                    shares.append(sum(tries[:so_far]) / so_far)
                    break
        told = [sum(s <= 0.25 for s in shares), sum(0.25 < s < 0.75 for s in shares)]
        told.append(len(shares) - sum(told))
        said = " / ".join(f"{100 * n / len(shares):.0f}" for n in told)
        print(
            f"| {1 - rate:.2f} | {100 * len(shares) / len(outcomes):.0f} | {fmean(shares):.2f}"
            f" | {said} |"
        )


if __name__ == "__main__":
    main()
