"""What the rules of `instruct.*` say of texts that people and models have written.

    python tests/bench/study_instruct_rules.py

1. False alarms: how many instructions of Alpaca (9,229, text-davinci-003) and of the 175 seeds of
   Self-Instruct the eliminations would take for leaked or empty ones.
2. The two rules for answers (`instruct.eliminate`) beside `gate.refusal`, on the answers of twelve
   models to AlpacaEval.
3. `copied_words` of `instruct.back`: how many instructions have a run of so many words in common
   with the answer that they got, though nobody copied.
4. Constraints that nobody asked for: how often answers keep to them by chance, by kind.
5. Size of covers beside the least possible (the pairs of the two longest attributes), and CPU time.
6. CPU time of drawing and of checking constraints.

Needs the data of SYNTHKD_DATA (default ../shared/data).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from synthkd.curate.gates.constraints import is_kept
from synthkd.curate.gates.refusal import refusal_in
from synthkd.recipes.instruct.back import copied
from synthkd.recipes.instruct.checkers import read_constraint
from synthkd.recipes.instruct.constraints import (
    BY_DEFAULT,
    DRAWS,
    VOCABULARY,
    ConstraintsSettings,
    Material,
    drawn,
    own_words,
)
from synthkd.recipes.instruct.cover import Cover
from synthkd.recipes.instruct.elimination import begs_off, eliminated, has_content

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(DATA / name).to_pylist()
    return found


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} % ({part} of {whole})"


def false_alarms(sets: dict[str, list[dict[str, Any]]]) -> None:
    print("\n1. instructions taken for none")
    for name, found in sets.items():
        losses = [eliminated(row["instruction"], ()) for row in found]
        reasons = Counter(loss.reason for loss in losses if loss is not None)
        print(name, {reason: percent(n, len(found)) for reason, n in reasons.items()} or "none")
        for loss in [loss for loss in losses if loss is not None][:6]:
            print("   ", loss.reason, loss.detail[:110].replace("\n", " "))


def answers(outputs: list[str]) -> None:
    print("\n2. answers")
    sorry = {n for n, text in enumerate(outputs) if begs_off(text)}
    refusing = {n for n, text in enumerate(outputs) if refusal_in(text) is not None}
    empty = {n for n, text in enumerate(outputs) if not has_content(text)}
    for name, found in (
        ("begs_off", sorry),
        ("gate.refusal", refusing),
        ("both", sorry & refusing),
        ("begs_off alone", sorry - refusing),
        ("gate.refusal alone", refusing - sorry),
        ("no_content", empty),
    ):
        print(name, percent(len(found), len(outputs)))
    for n in sorted(sorry):
        print("   begs_off:", n in refusing, outputs[n][:160].replace("\n", " "))
    for n in sorted(empty)[:5]:
        print("   no_content:", repr(outputs[n][:80]))


def copies(pairs: list[dict[str, Any]]) -> None:
    print("\n3. pairs with a run of n words in common")
    plain = [row for row in pairs if not row["input"]]
    for n in (4, 5, 6, 7, 8, 10, 12):
        found = sum(copied(row["instruction"], row["output"], n) is not None for row in plain)
        print(n, percent(found, len(plain)))


def by_chance(answered: list[dict[str, Any]]) -> None:
    print("\n4. kept by chance, % strict (loose)")
    rng = random.Random(0)
    answered = [row for row in answered if row["output"].strip()]
    for kind in BY_DEFAULT:
        kept = Counter[str]()
        tried = rng.sample(answered, 1500)
        for row in tried:
            material = Material(VOCABULARY, own_words(row["instruction"]))
            one = read_constraint({"kind": kind, **DRAWS[kind](rng, material)})
            kept["strict"] += is_kept(row["output"], one, "strict")
            kept["loose"] += is_kept(row["output"], one, "loose")
        strict, loose = (100 * kept[measure] / len(tried) for measure in ("strict", "loose"))
        print(f"{kind}: {strict:.1f} ({loose:.1f})")


def covers() -> None:
    print("\n5. combinations until all pairs, of five seeds; least possible; CPU ms a combination")
    for sizes in ([3] * 4, [3] * 13, [10] * 4, [2] * 20, [1000, 20], [200, 10, 5, 3]):
        grid = {f"a{n}": [str(k) for k in range(size)] for n, size in enumerate(sizes)}
        least = sorted(sizes)[-1] * sorted(sizes)[-2]
        needed, begin = [], time.process_time()
        for seed in range(5 if sum(sizes) < 300 else 1):
            cover = Cover(grid, random.Random(seed))
            seen: set[Any] = set()
            n = 0
            while len(seen) < cover.pairs:
                seen |= set(combinations(cover.take().items(), 2))
                n += 1
            needed.append(n)
        spent = 1000 * (time.process_time() - begin) / sum(needed)
        print(sizes, needed, least, f"{spent:.3f}")


def speed(outputs: list[str]) -> None:
    rng = random.Random(1)
    config = ConstraintsSettings(least=3, most=3)
    begin = time.process_time()
    sets = [[read_constraint(one) for one in drawn(rng, config)] for _ in range(3000)]
    middle = time.process_time()
    kept = sum(
        all(is_kept(text, one, "strict") for one in wanted)
        for text, wanted in zip(outputs, sets, strict=False)
    )
    end = time.process_time()
    print("\n6. sets of three drawn a CPU second", round(len(sets) / (middle - begin)))
    print("answers checked a CPU second", round(len(sets) / (end - middle)), "kept", kept)


def main() -> None:
    alpaca = rows("instr_alpaca9k/random_9k.parquet")
    seeds = rows("instr_alpaca9k/seed_tasks_175.parquet")
    answered = rows("instr_alpaca_eval/model_outputs.parquet")
    outputs = [row["output"] for row in answered]
    false_alarms({"Alpaca": alpaca, "seeds": seeds})
    answers(outputs)
    copies(alpaca)
    by_chance(answered)
    covers()
    speed(outputs)


if __name__ == "__main__":
    main()
