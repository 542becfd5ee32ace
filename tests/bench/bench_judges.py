"""Judges against people, on recorded judges: a probe, and two weak judges together.

    python tests/bench/bench_judges.py

PandaLM's test set: 999 pairs of answers, three people each, and the recorded verdicts of gpt-3.5
and PandaLM-7B. What most people say is the truth. Needs the data of SYNTHKD_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from synthkd.curate.agreement import AggregateConfig, Consensus, Votes, expectation, majority
from synthkd.evaluate.calibration import Calibration, calibrate
from synthkd.evaluate.judged import Item, Pair
from synthkd.evaluate.metrics import METRICS
from synthkd.evaluate.paired import lead
from synthkd.evaluate.people import Where, read_judgements, read_labels

ROOT = Path(__file__).parent.parent.parent
PAIR = Pair(first="1", second="2", tie="0")
JUDGES = {"gpt-3.5": "judge1", "PandaLM-7B": "judge2"}
LABELS = ("1", "2", "0")
SHOWN = (
    "accuracy",
    "kappa",
    "prefers_longer",
    "people_prefer_longer",
    "accuracy_shorter_better",
    "accuracy_longer_better",
)


def main() -> None:
    """Print the tables."""
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
    file = folder / "judge_pandalm" / "test999.parquet"
    if not file.is_file():
        print(f"judges: skipped, there is no {file}: set SYNTHKD_DATA")
        return

    people = read_labels(file, labels=["human1", "human2", "human3"])
    judged = {name: items_of(file, column, people) for name, column in JUDGES.items()}
    always = [replace(item, verdict=longer(item)) for item in judged["gpt-3.5"]]
    found = {
        name: calibrate(items, pair=PAIR) for name, items in {**judged, "longer": always}.items()
    }
    print(f"| judge | {' | '.join(SHOWN)} |\n| --- |{' --- |' * len(SHOWN)}")
    for name, calibration in found.items():
        print(f"| {name} | {' | '.join(shown(calibration, figure) for figure in SHOWN)} |")
    truth = [max(LABELS, key=[*item.labels.values()].count) for item in always]
    print("\n| verdict | decided | right of these | right of all |\n| --- | --- | --- | --- |")
    ways = together(judged)
    for way, verdicts in ways.items():
        decided = [(said, true) for said, true in zip(verdicts, truth, strict=True) if said]
        hits = sum(said == true for said, true in decided)
        print(
            f"| {way} | {len(decided) / len(truth):.1%} | {hits / len(decided):.1%} |"
            f" {hits / len(truth):.1%} |"
        )
    one, other = (METRICS["accuracy"].score(truth, ways[name]) for name in ("one_coin", "gpt-3.5"))
    gain = lead([one], other, resamples=2000, seed=0)
    between = f"{gain.low:+.1%} to {gain.high:+.1%}, McNemar's p {gain.p:.3f}"
    print(f"\none_coin minus gpt-3.5, right of all, 95 % interval: {between}")


def items_of(file: Path, column: str, people: Mapping[str, Mapping[str, str]]) -> Sequence[Item]:
    """One judge's verdicts with the labels of people."""
    where = Where(verdict=f"{column}_label", first="response1", second="response2")
    return read_judgements(file, where, people, people_path=file).items


def longer(item: Item) -> str:
    """The verdict of somebody who counts characters."""
    one, other = item.chars or (0, 0)
    return "0" if one == other else "1" if one > other else "2"


def shown(calibration: Calibration, name: str) -> str:
    """A figure with its interval."""
    figure = calibration.figures[name]
    if figure is None:
        return ""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def together(judged: Mapping[str, Sequence[Item]]) -> dict[str, list[str | None]]:
    """The verdicts of each judge, and those of both in several ways; None = it abstains."""
    import numpy as np

    said = {name: [label(item.verdict) for item in items] for name, items in judged.items()}
    one, other = said.values()
    codes = np.array([[LABELS.index(v) if v else -1 for v in side] for side in (one, other)]).T
    votes = Votes(codes=codes.astype(np.int32), teacher_of=[0, 1], labels=LABELS)
    ways: dict[str, list[str | None]] = {**said}
    ways["both, where they agree"] = [
        a if a == b else None for a, b in zip(one, other, strict=True)
    ]
    ways["both, a tie where not"] = [a if a == b else "0" for a, b in zip(one, other, strict=True)]
    ways["majority (the first breaks ties)"] = labels(majority(votes))
    for method in ("one_coin", "dawid_skene"):
        config = AggregateConfig.model_validate({"method": method})
        consensus = expectation(votes, config)
        ways[method] = labels(consensus)
        ways[f"{method}, the surer half"] = labels(consensus, half=True)
    return ways


def label(verdict: str | None) -> str | None:
    """A verdict as one of the labels."""
    return None if verdict is None else str(int(float(verdict)))


def labels(consensus: Consensus, *, half: bool = False) -> list[str | None]:
    """The winners; None where nobody has a label, or where the confidence is below the median."""
    import numpy as np

    least = float(np.median(consensus.confidence)) if half else 0.0
    return [
        LABELS[winner] if winner >= 0 and sure >= least else None
        for winner, sure in zip(consensus.winners, consensus.confidence, strict=True)
    ]


if __name__ == "__main__":
    main()
