"""What the rules of the card adverse_events find of faults made on purpose (simulated).

    python tests/bench/study_cards.py

1,000 invented reports of one or two drugs, answered by the simulated teacher with faults at two
rates; the same answers with the events of two drugs exchanged, which no rule about words can see.
Pairs of (drug, event) against what the report states: precision and recall before the rules and
after them, and what each rule took out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from synthkd.evaluate.intervals import share_of
from synthkd.prompts import shipped_folder
from synthkd.recipes.cards.card import load_card
from synthkd.recipes.cards.made import checked
from synthkd.recipes.replies import Loss
from synthkd.teachers.simulated.instructions import cards

REPORTS = 1000
Pair = tuple[str, str]


def pairs(output: Any) -> set[Pair]:
    """The pairs of an output; of one that is out of shape, those that can be read."""
    listed = output.get("events", []) if isinstance(output, Mapping) else []
    return {(one["drug"], one["event"]) for one in listed if {"drug", "event"} <= one.keys()}


def exchanged(output: Any) -> Any:
    """Two events, each with the other one's drug."""
    first, second = output["events"][:2]
    return {
        "events": [
            {"drug": second["drug"], "event": first["event"]},
            {"drug": first["drug"], "event": second["event"]},
        ]
    }


def shown(said: Iterable[set[Pair]], gold: Iterable[set[Pair]]) -> str:
    """Precision and recall in percent, exact intervals."""
    both = list(zip(said, gold, strict=True))
    hits = sum(len(one & other) for one, other in both)
    told = sum(len(one) for one, _ in both)
    wanted = sum(len(other) for _, other in both)
    figures = (share_of(hits, max(1, told)), share_of(hits, max(1, wanted)))
    return ", ".join(
        f"{name} {100 * one.value:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]"
        for name, one in zip(("precision", "recall"), figures, strict=True)
    )


def main() -> None:
    """All of it."""
    card = load_card("cards/adverse_events", [shipped_folder("prompts")])
    task = cards.TASKS["events"]
    rng = random.Random(0)
    reports = [task.write(rng) for _ in range(REPORTS)]
    gold = [task.answer(report) for report in reports]
    for rate in (0.2, 0.5):
        said = [task.spoil(right, rng) if rng.random() < rate else right for right in gold]
        reasons: Counter[str] = Counter()
        after: list[set[Pair]] = []
        for report, output in zip(reports, said, strict=True):
            made = checked(card, orjson.loads(orjson.dumps({"inputs": report, "output": output})))
            if isinstance(made, Loss):
                reasons[f"row: {made.reason}"] += 1
                after.append(set())
            else:
                reasons.update(loss.reason for loss in made.dropped)
                after.append(pairs(made.output))
        print(f"faults in {rate:.0%} of the answers")
        print("  before", shown(map(pairs, said), map(pairs, gold)))
        print("  after ", shown(after, map(pairs, gold)), dict(sorted(reasons.items())))
    two = [
        (report, exchanged(right))
        for report, right in zip(reports, gold, strict=True)
        if len({one["event"] for one in right["events"]}) > 1
    ]
    found = sum(
        isinstance(made := checked(card, {"inputs": report, "output": output}), Loss)
        or bool(made.dropped)
        for report, output in two
    )
    print(f"events exchanged between two drugs: {found} of {len(two)} found")


if __name__ == "__main__":
    main()
