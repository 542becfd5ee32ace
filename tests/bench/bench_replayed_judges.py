"""Judges beside people: how often right, how steady, drawn by place and length, and what helps.

    python tests/bench/bench_replayed_judges.py

Replays what real judges wrote, through judge.pairwise, and prints Markdown tables. Needs the data
of SYNTHKD_DATA (default ../shared/data); says so and ends well without.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.curate.judges.replays import Replay, llmbar, pandalm, replay  # noqa: E402

DATA = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
JUDGES = ("GPT-4", "ChatGPT", "PaLM2", "LLaMA2")
SUBSETS = ("MT-Bench", "FairEval", "LLMEval^2")


def main() -> None:
    """Print the tables."""
    if not (DATA / "judge_llmbar_processed").is_dir():
        print(f"judges: skipped, there is no {DATA / 'judge_llmbar_processed'}: set SYNTHKD_DATA")
        return
    with tempfile.TemporaryDirectory() as folder:
        both_orders(Path(folder))
        one_order(Path(folder))


def both_orders(folder: Path) -> None:
    """466 pairs of three sets, each judged in both orders."""
    print("| judge | pairs | one order right | steady | right where steady | unread", end="")
    print(" | picks the first shown | picks the longer (people) |")
    print("|---" * 8 + "|")
    outcomes: dict[str, dict[str, str]] = {}
    people: dict[str, str] = {}
    for judge in JUDGES:
        found = [
            replay(llmbar(DATA, subset, judge, "Vanilla_NoRules"), folder / judge / subset)
            for subset in SUBSETS
        ]
        for one in found:
            people |= {name: str(pair["people"]) for name, pair in one.pairs.items()}
            outcomes.setdefault(judge, {}).update(
                {name: str(verdict["outcome"]) for name, verdict in one.judged.items()}
            )
        print(line(judge, found), flush=True)
    print("\n| who decides | decided | right where decided |")
    print("|---|---|---|")
    for judge in JUDGES:
        print(decided(judge, outcomes[judge], people))
    weak = JUDGES[1:]
    print(decided(f"more than half of {', '.join(weak)}", majority(outcomes, weak), people))
    print(decided("more than half of all four", majority(outcomes, JUDGES), people))


def line(judge: str, found: list[Replay]) -> str:
    """One judge over all sets."""
    pairs = sum(len(one.pairs) for one in found)
    figures: Counter[str] = Counter()
    for one in found:
        figures.update({name: n for name, n in one.figures.items() if isinstance(n, int)})
    single = sum(one.single_accuracy * len(one.pairs) for one in found) / pairs
    steady = sum(one.consistency * len(one.pairs) for one in found) / pairs
    both: list[bool] = [
        verdict["outcome"] == one.pairs[name]["people"]
        for one in found
        for name, verdict in one.judged.items()
        if verdict["consistent"] == 1
    ]
    read = sum(len(one.judged) for one in found)
    first = figures["picks the one shown first"] / figures["picks"]
    longer = figures["the longer wins"] / figures["decided between unequal lengths"]
    wanted = [longer_wanted(pair) for one in found for pair in one.pairs.values()]
    known = [each for each in wanted if each is not None]
    return (
        f"| {judge} | {pairs} | {single:.1%} | {steady:.1%} | {sum(both) / len(both):.1%} |"
        f" {pairs - read} | {first:.1%} | {longer:.1%} ({sum(known) / len(known):.1%}) |"
    )


def longer_wanted(pair: Any) -> bool | None:
    """Whether people prefer the longer one; None = a tie, or equal lengths."""
    gap = len(pair["first"]) - len(pair["second"])
    if not gap or pair["people"] == "tie":
        return None
    return bool((gap > 0) == (pair["people"] == "first"))


def majority(outcomes: dict[str, dict[str, str]], judges: tuple[str, ...]) -> dict[str, str]:
    """What more than half of the judges that have an outcome say, as judge.pairwise has it."""
    names = {name for judge in judges for name in outcomes[judge]}
    together = {}
    for name in names:
        votes = Counter(outcomes[judge][name] for judge in judges if name in outcomes[judge])
        side, count = votes.most_common(1)[0]
        together[name] = side if 2 * count > votes.total() else "tie"
    return together


def decided(who: str, outcomes: dict[str, str], people: dict[str, str]) -> str:
    """How many pairs somebody decides, and how often rightly."""
    wins = [name for name, outcome in outcomes.items() if outcome != "tie"]
    right = sum(outcomes[name] == people[name] for name in wins)
    return f"| {who} | {len(wins)} of {len(people)} | {right / len(wins):.1%} |"


def one_order(folder: Path) -> None:
    """PandaLM's 999 pairs, judged in one order; and what its judges make of llama-7b's answers."""
    print(
        "\n| judge | pairs | right | unread | picks the longer (people) | llama-7b wins (people) |"
    )
    print("|---" * 6 + "|")
    for number, judge in ((1, "gpt-3.5-turbo"), (2, "PandaLM-7B, a LLaMA")):
        found = replay(pandalm(DATA, number), folder / judge, orders="as_is")
        figures = found.figures
        longer = figures["the longer wins"] / figures["decided between unequal lengths"]
        known = [e for pair in found.pairs.values() if (e := longer_wanted(pair)) is not None]
        own, theirs = wins_of("llama-7b", found)
        print(
            f"| {judge} | {len(found.pairs)} | {found.accuracy:.1%} |"
            f" {len(found.pairs) - len(found.judged)} |"
            f" {longer:.1%} ({sum(known) / len(known):.1%}) | {own:.1%} ({theirs:.1%}) |"
        )


def wins_of(model: str, found: Replay) -> tuple[float, float]:
    """The model's share of wins by the judge, and by people, on the pairs that it is in."""
    judged, people, n = 0.0, 0.0, 0
    for name, verdict in found.judged.items():
        pair = found.pairs[name]
        models = str(pair["models"]).split("_")
        if model not in models or len(models) != 2:
            continue
        side = "first" if models[0] == model else "second"
        n += 1
        judged += 0.5 if verdict["outcome"] == "tie" else verdict["outcome"] == side
        people += 0.5 if pair["people"] == "tie" else pair["people"] == side
    return judged / n, people / n


if __name__ == "__main__":
    main()
