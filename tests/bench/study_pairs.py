"""Whether a second judge confirms the pairs that a judge's scores make, by their margin (recorded).

    nice -n 10 python tests/bench/study_pairs.py [SYNTHKD_DATA/instr_alpaca_eval]

Recorded judgements of AlpacaEval: the answers of models to 616 instructions, each compared
with the baseline gpt4_1106_preview by one judge (weighted_alpaca_eval_gpt4_turbo: a probability)
and with the baseline text_davinci_003 by an older one (alpaca_eval_gpt4: mostly yes or no). The
preference of one judge is the score that `pairs` goes by; a pair is confirmed if the other judge
scores the preferred answer higher. The baselines differ, so no error of one baseline's answer is
behind both. Controls on the same pools: the longer answer, and the model that is best on average.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.evaluate.intervals import share_of
from synthkd.kit import Kit
from synthkd.rows import Row, source_row
from synthkd.steps import Step, find_step

JUDGES = {
    "turbo": ("weighted_alpaca_eval_gpt4_turbo", "gpt4_1106_preview"),
    "older": ("alpaca_eval_gpt4", "text_davinci_003"),
}
POOLS = {
    "unlike": ("alpaca-7b", "claude", "phi-2", "text_davinci_001"),
    "alike": ("alpaca-7b", "phi-2", "text_davinci_001"),
}
"""All models that both judges have seen beside the baselines; and those without the strong one."""
MARGINS = {"turbo": (0.0, 0.001, 0.01, 0.1, 0.5), "older": (0.0,)}
"""The older judge says yes or no: a margin changes nothing."""


def main() -> None:
    """Print the tables."""
    data = Path(os.environ.get("SYNTHKD_DATA", "../shared/data")) / "instr_alpaca_eval"
    for name, models in POOLS.items():
        rows = list(pools(Path(sys.argv[1]) if len(sys.argv) > 1 else data, models))
        print(f"{name}: {len(rows)} instructions, {len(models)} answers each\n")
        for by, other in (("turbo", "older"), ("older", "turbo")):
            print(f"score: {by}; checked by {other}")
            print("| rejected | margin | pairs | confirmed % | reversed | equal | longer % |")
            for told, settings in ways(by):
                print(line(told, rows, settings, other), flush=True)


def ways(by: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Settings of `pairs`, and what the table calls them."""
    for margin in MARGINS[by]:
        yield f"min | {margin:g}", {"score": by, "min_margin": margin}
    for rejected in ("second", "random"):
        yield f"{rejected} | 0", {"score": by, "rejected": rejected}
    yield "min, ratio 1.25 | 0", {"score": by, "ratio": 1.25}
    for control in ("length", f"mean {by}"):
        yield f"control: {control} | 0", {"score": control}
    yield f"control: mean {by}, ratio 1.25 | 0", {"score": f"mean {by}", "ratio": 1.25}


def pools(folder: Path, models: Sequence[str]) -> Iterator[Row]:
    """A row for each instruction that both judges have seen all models' answers to."""
    import pyarrow.parquet as pq

    texts: dict[tuple[str, str], str] = {
        (one["instruction"], one["generator"]): one["output"]
        for one in pq.read_table(folder / "model_outputs.parquet").to_pylist()
    }
    scores: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for one in pq.read_table(folder / "gpt4_annotations.parquet").to_pylist():
        for name, who in JUDGES.items():
            if (one["judge"], one["generator_1"]) == who and one["preference"] is not None:
                scores[name][one["instruction"], one["generator_2"]] = one["preference"]
    means = {
        (name, model): fmean(value for (_, who), value in found.items() if who == model)
        for name, found in scores.items()
        for model in models
    }
    for place, instruction in enumerate(dict.fromkeys(asked for asked, _ in texts)):
        asked = [(instruction, model) for model in models]
        if all(one in texts and all(one in scores[name] for name in JUDGES) for one in asked):
            candidates: list[Any] = [
                {
                    **{"teacher": one[1], "sample": 0, "text": texts[one], "answer": texts[one]},
                    **{name: scores[name][one] for name in JUDGES},
                    **{f"mean {name}": means[name, one[1]] for name in JUDGES},
                    "length": len(texts[one]),
                }
                for one in asked
            ]
            fields = {"instruction": instruction, "candidates": candidates}
            yield source_row("alpaca_eval", [place], ordinal=place, fields=fields)


def line(name: str, rows: Sequence[Row], settings: Mapping[str, Any], other: str) -> str:
    """A line of the table."""
    checked = asyncio.run(outcomes(rows, settings, other))
    decided = checked["confirmed"] + checked["reversed"]
    share = share_of(checked["confirmed"], decided)
    told = f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    pairs = decided + checked["equal"]
    return (
        f"| {name} | {pairs} | {told} | {checked['reversed']} | {checked['equal']} |"
        f" {100 * checked['longer'] / pairs:.1f} |"
    )


async def outcomes(rows: Sequence[Row], settings: Mapping[str, Any], other: str) -> Counter[str]:
    """How many pairs the other judge confirms, reverses, and scores the same."""
    step = find_step("pairs")
    assert isinstance(step, Step)
    config = step.config.model_validate(settings)
    found = Counter[str]()
    for row in rows:
        candidates: Any = row.fields["candidates"]
        scored = {one["teacher"]: one[other] for one in candidates}
        try:
            (made,) = [one async for one in step.run(row, Kit(Desk(step="pairs"), row.id), config)]
        except Rejected as lost:
            found[lost.reason] += 1
            continue
        fields: Any = made.fields
        better = scored[fields["chosen_from"]["teacher"]]
        worse = scored[fields["rejected_from"]["teacher"]]
        outcome = "equal" if better == worse else "confirmed" if better > worse else "reversed"
        found[outcome] += 1
        found["longer"] += len(fields["chosen"]) > len(fields["rejected"])
    return found


if __name__ == "__main__":
    main()
