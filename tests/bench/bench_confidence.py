"""CLEAR on injected noise: a fifth of the targets swapped, real recorded answers replayed.

    python tests/bench/bench_confidence.py

GSM8K, 660 questions. The target is gold, or for 20 % of the questions another question's gold. The
"own answers" are those of five recorded teachers (GPT-3 and code-davinci-002, one answer each), so
they differ more than five samples of one would. Nobody recorded what they say of a target, so beta
is 1: only the observed consistency is measured, not the reflection. The candidates are the answers
of a sixth teacher; the judge prefers one as often as own answers are the candidate, and replaces a
target by the rule of `confidence.correct`. Needs the data of SYNTHKD_DATA.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

from synthkd.curate.confidence import alike, consistency_of
from synthkd.curate.correct import confidence_in
from synthkd.text import same_answer

ROOT = Path(__file__).parent.parent.parent
CANDIDATE = "code-davinci-002-PoT-fewshot"
NOISE, ALPHA, SEEDS = 0.2, 0.8, range(20)
ETAS = (0.5, 0.6, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with what was recorded of it."""

    gold: str
    own: Sequence[str]
    candidate: str


def main() -> None:
    """Print the tables."""
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
    file = folder / "gsm8k" / "teacher_outputs_first660.parquet"
    if not file.is_file():
        print(f"confidence: skipped, there is no {file}: set SYNTHKD_DATA")
        return
    questions = read(file)
    right = mean(same_answer(own, q.gold) for q in questions for own in q.own)
    can = mean(same_answer(q.candidate, q.gold) for q in questions)
    print(f"{len(questions)} questions; own answers {right:.1%} right, candidates {can:.1%}\n")
    runs = [measured(questions, seed) for seed in SEEDS]
    print("| figure | mean of 20 noises | sd |\n| --- | --- | --- |")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"| {name} | {mean(values):.3f} | {stdev(values):.3f} |")


def read(file: Path) -> list[Question]:
    """The questions that every teacher answered in some way; no answer is an empty one."""
    import pyarrow.parquet as pq

    by_id: dict[str, dict[str, str]] = {}
    gold: dict[str, str] = {}
    for record in pq.read_table(file).to_pylist():
        label = record["teacher_label"]
        by_id.setdefault(record["id"], {})[record["teacher"]] = "" if label is None else str(label)
        gold[record["id"]] = str(record["gold"])
    return [
        Question(
            gold=gold[name],
            own=[said for who, said in sorted(answers.items()) if who != CANDIDATE],
            candidate=answers.get(CANDIDATE, ""),
        )
        for name, answers in sorted(by_id.items())
    ]


def measured(questions: Sequence[Question], seed: int) -> Mapping[str, float]:
    """One noise: how well it is found, what the filter keeps, what corrections do."""
    from sklearn.metrics import roc_auc_score

    rng = random.Random(seed)
    targets = [question.gold for question in questions]
    noisy = rng.sample(range(len(questions)), round(NOISE * len(questions)))
    for place in noisy:
        others = [q.gold for q in questions if not same_answer(q.gold, questions[place].gold)]
        targets[place] = rng.choice(others)
    good = [same_answer(t, q.gold) for t, q in zip(targets, questions, strict=True)]
    sure = [confidence(target, q) for target, q in zip(targets, questions, strict=True)]
    middle = median(sure)
    passed = [value > middle for value in sure]
    kept = [value > 0 for value in sure]
    found = {
        "AUROC of confidence for a right target": float(roc_auc_score(good, sure)),
        "targets right, all": mean(good),
        "share kept by the filter at the median": mean(passed),
        "targets right, kept by the filter": precision(good, passed),
        "share kept by confidence > 0": mean(kept),
        "targets right, kept by confidence > 0": precision(good, kept),
    }
    for eta in ETAS:
        found |= corrected(questions, targets, good, passed, eta)
    return found


def precision(good: Sequence[bool], kept: Sequence[bool]) -> float:
    """The share of right targets among the kept."""
    return mean(g for g, k in zip(good, kept, strict=True) if k)


def confidence(target: str, question: Question) -> float:
    """C with beta = 1."""
    together = [alike(own, target) for own in question.own]
    return consistency_of(question.own, target, together, ALPHA)


def share_of(answer: str, own: Sequence[str]) -> float:
    """The share of own answers that are this one."""
    return mean(same_answer(one, answer) for one in own)


def corrected(
    questions: Sequence[Question],
    targets: Sequence[str],
    good: Sequence[bool],
    passed: Sequence[bool],
    eta: float,
) -> dict[str, float]:
    """What auto-correct does: precision of the corrections, harm among targets that were right."""
    replaced = [
        bool(q.candidate)
        and not same_answer(q.candidate, target)
        and confidence_in(share_of(q.candidate, q.own), reflection=0.0, beta=1.0) > eta
        for q, target in zip(questions, targets, strict=True)
    ]
    right = [same_answer(q.candidate, q.gold) for q in questions]
    final = [
        r if swap else g
        for swap, r, g, p in zip(replaced, right, good, passed, strict=True)
        if swap or p
    ]
    changed = [r for r, swap in zip(right, replaced, strict=True) if swap]
    harmed = [swap and not r for swap, r, g in zip(replaced, right, good, strict=True) if g]
    name = f"eta {eta:g}"
    return {
        f"{name}: share corrected": mean(replaced),
        f"{name}: corrections that are right": mean(changed) if changed else float("nan"),
        f"{name}: right targets made wrong (harm)": mean(harmed),
        f"{name}: rows kept in the end": len(final) / len(good),
        f"{name}: targets right in the end": mean(final),
    }


if __name__ == "__main__":
    main()
