"""How often `import.audit` is right about a dump, by its size; and how often a floor stops a run.

    python tests/bench/study_imports.py

Simulated dumps: a teacher of known accuracy on balanced labels, aligned, shuffled, or told the
gold; 100 of each kind, as the step judges them by default. The floor: 1,000 runs of 1,000 rows
whose answers are usable with a known probability, looked at after each loss from row 100 on.
"""

from __future__ import annotations

import random
from collections import Counter

from synthkd.curate.imports.alignment import alignment
from synthkd.curate.imports.audit import AuditConfig, Compared, verdict_on
from synthkd.evaluate.sequential import surely_above

DUMPS, RUNS = 100, 1000
TEACHERS = ((2, 0.6), (2, 0.75), (3, 0.45), (3, 0.7), (5, 0.3), (5, 0.75), (77, 0.5))
"""Labels and accuracy."""
SIZES = (50, 100, 200, 500, 1000)


def main() -> None:
    """Print the tables."""
    rng = random.Random(0)
    print("% of aligned dumps told aligned / alarmed; of shuffled ones alarmed / told aligned")
    print("| labels, accuracy | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    for labels, accuracy in TEACHERS:
        cells = []
        for n in SIZES:
            dumps = [dump(n, labels, accuracy, rng) for _ in range(DUMPS)]
            aligned = Counter(judged(one, rng) for one in dumps)
            mixed = Counter(judged(shuffled(one, rng), rng) for one in dumps)
            alarms = aligned["misaligned"] + aligned["leaked"]
            told = (aligned["aligned"], alarms, mixed["misaligned"], mixed["aligned"])
            cells.append(" / ".join(map(percent, told)))
        print(f"| {labels}, {accuracy:.0%} | " + " | ".join(cells) + " |", flush=True)
    print("leaked: share of alarms, by true accuracy")
    for accuracy in (1.0, 0.995, 0.99, 0.97):
        leaks = [
            percent(Counter(judged(dump(n, 5, accuracy, rng), rng) for _ in range(DUMPS))["leaked"])
            for n in (200, 459, 800, 2000)
        ]
        print(f"| {accuracy:.1%} | " + " | ".join(leaks) + " |", flush=True)
    print("one block of 500 in 3,000 shuffled: share told as misaligned in part")
    for labels, accuracy in TEACHERS:
        told_apart = Counter(judged(in_part(labels, accuracy, rng), rng) for _ in range(25))
        print(f"| {labels}, {accuracy:.0%} | {dict(told_apart)} |")
    print("% of runs stopped by a floor of 0.7, by the true share of usable answers")
    for usable in (0.6, 0.65, 0.68, 0.7, 0.72, 0.75, 0.8):
        print(f"| {usable:.0%} | {100 * sum(stops(usable, rng) for _ in range(RUNS)) / RUNS:.1f} |")


def percent(times: int) -> str:
    return f"{100 * times / DUMPS:g}"


def dump(n: int, labels: int, accuracy: float, rng: random.Random) -> list[Compared]:
    """Answers of a teacher of this accuracy; its errors fall on the other labels evenly."""
    rows = []
    for _ in range(n):
        gold = rng.randrange(labels)
        wrong = (gold + rng.randrange(1, labels)) % labels
        rows.append(Compared(str(gold if rng.random() < accuracy else wrong), str(gold)))
    return rows


def shuffled(rows: list[Compared], rng: random.Random) -> list[Compared]:
    said = [row.answer for row in rows]
    rng.shuffle(said)
    return [Compared(one, row.gold) for one, row in zip(said, rows, strict=True)]


def in_part(labels: int, accuracy: float, rng: random.Random) -> list[Compared]:
    rows = dump(3000, labels, accuracy, rng)
    return [*rows[:1000], *shuffled(rows[1000:1500], rng), *rows[1500:]]


def judged(rows: list[Compared], rng: random.Random) -> str:
    """The verdict of the step."""
    found = alignment([row.answer for row in rows], [row.gold for row in rows], rng)
    return verdict_on(found, rows, AuditConfig(gold="gold"))[0].partition(":")[0]


def stops(usable: float, rng: random.Random) -> bool:
    """Whether a run of 1,000 rows is stopped."""
    lost = 0
    for came in range(1, 1001):
        lost += rng.random() >= usable
        if came >= 100 and surely_above(lost, came, 0.3):
            return True
    return lost > 300


if __name__ == "__main__":
    main()
