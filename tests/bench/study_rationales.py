"""What rationales buy a student that learns from nothing, taught by the SIMULATED teacher.

    python tests/bench/study_rationales.py run RESULTS.jsonl     # resumes; some 20 CPU minutes
    python tests/bench/study_rationales.py table RESULTS.jsonl
    python tests/bench/study_rationales.py picture RESULTS.jsonl PICTURE.svg

Problems in words of two or three steps ("Ada has 3 pens. She buys 4. She gives half away. How
many?"), every amount below 10, solved by the simulated world `arithmetic`. The rationale is the
teacher's, cut to its sums. Students are decoders of 0.2M parameters with random weights, trained
by the product's own `sft`: on the label alone, on rationale and label in one sequence, and on both
as two tasks; and on the label alone for as many tokens as the rationales had. All see the prompt
masked. One optimizer step is 32 rows for everybody.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from synthkd.answers import AnswerSettings, read
from synthkd.config import SimulatedConfig, StudentConfig
from synthkd.io.rows_file import open_rows
from synthkd.rows import Row
from synthkd.students import kinds
from synthkd.students.lesson import Lesson, write_held_out
from synthkd.teachers.request import Request
from synthkd.teachers.simulated import open_world

ROWS = (100, 200, 400, 800)
SEEDS = (0, 1, 2)
STEPS, BATCH = 500, 32
TESTED = 500
BELOW = 10
"""Every amount of a story is smaller."""
PEOPLE: Mapping[str, str] = {"Ada": "She", "Ola": "She", "Ben": "He", "Kim": "He"}
THINGS = ("pens", "pears", "cards", "shells")
SHORTCUTS = 0.3
"""How often a step multiplies or halves, where that stays below `BELOW`."""
BLOCK: Mapping[str, Any] = {
    "kind": "sft",
    "prompt": "question",
    "completion": "answer",
    "scratch": {
        "hidden_size": 64,
        "layers": 3,
        "heads": 2,
        "tokenizer": "bpe",
        "vocabulary": 400,
    },
    "batch_size": BATCH,
    "learning_rate": 2e-3,
    "warmup": 0.05,
    "weight_decay": 0.01,
    "max_length": 128,
    "max_new_tokens": 64,
    "save_every_steps": 10**6,
}
TARGETS: Mapping[str, Mapping[str, Any]] = {
    "label": {},
    "rationale_first": {"target": "rationale_first", "rationale": "rationale"},
    # Two exchanges a row: so many rows in a step, too.
    "two_task": {"target": "two_task", "rationale": "rationale", "batch_size": 2 * BATCH},
}
LONGER = "label, as many tokens"
"""On the label alone, for as many tokens as `rationale_first` had."""
Problem = Mapping[str, str]
WAYS = (
    *(("label", 800), ("rationale_first", 200), ("label", 400), ("rationale_first", 400)),
    *((LONGER, 400), ("two_task", 400), ("rationale_first", 100), ("label", 200)),
)
"""Target and rows."""
COMPARED = (
    (("rationale_first", 2, 400), ("label", 2, 800)),
    (("rationale_first", 2, 200), ("label", 2, 400)),
    (("rationale_first", 2, 200), (LONGER, 2, 400)),
    (("rationale_first", 2, 400), (LONGER, 2, 400)),
    (("two_task", 2, 400), ("label", 2, 400)),
    (("two_task", 2, 400), (LONGER, 2, 400)),
)
DRAWS = 2000
Name = tuple[str, int, int, int]
"""Target, steps of a problem, rows, seed."""


# --- problems


def story(rng: random.Random, steps: int) -> str:
    """A problem; the amounts after each step are uniform, so the label has no easy guess."""
    person = rng.choice(sorted(PEOPLE))
    amount = rng.randrange(1, BELOW)
    told = [f"{person} has {amount} {rng.choice(THINGS)}."]
    for _ in range(steps):
        change, amount = _step(rng, PEOPLE[person], amount)
        told.append(change)
    return f"{' '.join(told)} How many?"


def _step(rng: random.Random, who: str, amount: int) -> tuple[str, int]:
    shortcuts = {
        f"{who} gets double.": 2 * amount,
        f"{who} gets triple.": 3 * amount,
        f"{who} gives half away.": amount // 2,
    }
    able = [(said, to) for said, to in shortcuts.items() if 0 < to < BELOW]
    if able and rng.random() < SHORTCUTS:
        return rng.choice(able)
    to = rng.choice([other for other in range(1, BELOW) if other != amount])
    verb, by = ("buys", to - amount) if to > amount else ("loses", amount - to)
    return f"{who} {verb} {by}.", to


async def solved(questions: Sequence[str]) -> list[Problem]:
    """What the simulated teacher says of each, read as the recipe `rationale` reads it."""
    teacher = open_world(SimulatedConfig(world="arithmetic"))
    problems: list[Problem] = []
    for question in questions:
        request = Request(
            body={"messages": []}, prompt="rationale/question", inputs={"question": question}
        )
        reading = read((await teacher.complete(request)).text, AnswerSettings())
        assert reading.answer is not None
        sums = re.findall(r"\d+ [-+*/] \d+ = \d+", reading.rationale)
        problems.append(
            {"question": question, "rationale": "\n".join(sums), "answer": reading.answer}
        )
    return problems


def sampled(seed: int, rows: int, steps: int) -> tuple[list[Problem], list[Problem]]:
    """Different problems to learn from, and those of the test, which are the same for all."""

    def stories(rng: random.Random, but: set[str]) -> Iterator[str]:
        while True:
            if (made := story(rng, steps)) not in but:
                but.add(made)
                yield made

    told: set[str] = set()
    tested = stories(random.Random(10**6), told)
    test = [next(tested) for _ in range(TESTED)]
    learnt = stories(random.Random(seed), told)
    train = [next(learnt) for _ in range(rows)]
    return asyncio.run(solved(train)), asyncio.run(solved(test))


# --- students


def measured(target: str, rows: int, seed: int, steps: int, optimizer_steps: int) -> dict[str, Any]:
    """Train one student, and ask it the problems of the test."""
    train, test = sampled(seed, rows, steps)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with open_rows(folder / "rows.parquet") as add:
            for place, problem in enumerate(train):
                add(Row(id=f"{place:016x}", order=(place,), roots=(), fields=dict(problem)))
        write_held_out(folder / "held_out.jsonl", [])
        settings = {**BLOCK, **TARGETS[target], "max_steps": optimizer_steps, "seed": seed}
        block: TypeAdapter[StudentConfig] = TypeAdapter(StudentConfig)
        lesson = Lesson(
            config=block.validate_python(settings),
            rows=folder / "rows.parquet",
            held_out=folder / "held_out.jsonl",
            made_from={"teachers": "SIMULATED, world `arithmetic`"},
            folder=folder / "student",
            work=folder / "work",
        )
        kinds.train(lesson, lambda line: None)
        student = kinds.load(lesson.folder)
        given = student.predict([problem["question"] for problem in test])
        about = student.about
    right = [one == problem["answer"] for one, problem in zip(given, test, strict=True)]
    each = settings["batch_size"]
    return {
        "target": target,
        "rows": rows,
        "seed": seed,
        "steps": steps,
        "optimizer_steps": optimizer_steps,
        "tokens": round(about["tokens"] / about["examples"] * each * optimizer_steps),
        "loss": about["loss"],
        "accuracy": sum(right) / len(right),
        "right": "".join("01"[one] for one in right),
        "cpu_s": round(time.process_time() - began, 1),
    }


def run(file: Path) -> None:
    """Measure what the file, of JSON lines, lacks; a line for each student."""
    done = [json.loads(line) for line in file.open(encoding="utf-8")] if file.exists() else []
    by = {_name(one): one for one in done}
    for name in planned():
        if name in by:
            continue
        target, steps, rows, seed = name
        optimizer_steps = STEPS
        if target == LONGER:
            label, rationale = (by[t, *name[1:]] for t in ("label", "rationale_first"))
            optimizer_steps = round(STEPS * rationale["tokens"] / label["tokens"])
        one = measured(target.split(",")[0], rows, seed, steps, optimizer_steps)
        by[name] = one = {**one, "target": target}
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(one) + "\n")
        print({**one, "right": "..."}, flush=True)


def planned() -> Iterator[Name]:
    """What is measured, in this order: what tells most comes first."""
    for seed in SEEDS:
        for target, rows in WAYS:
            yield target, 2, rows, seed
    for target in ("label", "rationale_first", "two_task", LONGER):
        yield target, 3, max(ROWS), 0


def _name(one: Mapping[str, Any]) -> Name:
    return one["target"], one["steps"], one["rows"], one["seed"]


# --- what came of it


def accuracies(file: Path) -> dict[tuple[str, int, int], NDArray[np.float64]]:
    """(target, steps of a problem, rows) -> (seeds, problems of the test), 1 where right."""
    found: dict[tuple[str, int, int], list[list[int]]] = {}
    for line in file.open(encoding="utf-8"):
        one = json.loads(line)
        right = [int(digit) for digit in one["right"]]
        found.setdefault((one["target"], one["steps"], one["rows"]), []).append(right)
    return {name: np.array(right, dtype=np.float64) for name, right in found.items()}


def drawn(
    right: Mapping[tuple[str, int, int], NDArray[np.float64]], rng: np.random.Generator
) -> dict[tuple[str, int, int], float]:
    """Accuracies of one draw: seeds and problems with replacement, the same problems for all."""
    problems = rng.integers(TESTED, size=TESTED)
    return {
        name: float(seeds[rng.integers(len(seeds), size=len(seeds))][:, problems].mean())
        for name, seeds in right.items()
    }


def rows_needed(accuracy: Mapping[tuple[str, int, int], float], wanted: float) -> float:
    """Rows with which `rationale_first` is as good; between measured ones on a line over log(rows).

    Fewer than the fewest that were measured count as those; more than the most as infinite.
    """
    curve = sorted((n, a) for (t, k, n), a in accuracy.items() if (t, k) == ("rationale_first", 2))
    before, low = curve[0]
    for rows, high in curve:
        if high >= wanted:
            share = (wanted - low) / (high - low) if high > low else 1.0
            return float(before * (rows / before) ** max(0.0, share))
        before, low = rows, high
    return math.inf


def table(file: Path) -> None:
    """Print accuracies and the rows that a rationale saves, with 95 % intervals."""
    right = accuracies(file)
    rng = np.random.default_rng(0)
    draws = [drawn(right, rng) for _ in range(DRAWS)]
    print(
        "| steps | target | rows | seeds | accuracy | 95 % |\n| --- | --- | --- | --- | --- | --- |"
    )
    for (target, steps, rows), seeds in sorted(right.items(), key=lambda one: one[0][1:]):
        low, high = np.quantile([d[target, steps, rows] for d in draws], [0.025, 0.975])
        print(
            f"| {steps} | {target} | {rows} | {len(seeds)} | {seeds.mean():.3f} |"
            f" {low:.3f} to {high:.3f} |"
        )
    mean = {name: float(seeds.mean()) for name, seeds in right.items()}
    for target, rows in (("label", 400), ("label", 800), (LONGER, 400)):
        shares = [rows_needed(d, d[target, 2, rows]) / rows for d in draws]
        low, high = np.quantile(shares, [0.025, 0.975])
        share = rows_needed(mean, mean[target, 2, rows]) / rows
        print(f"{target} of {rows} rows: {share:.2f} of them ({low:.2f} to {high:.2f})")
    for one, other in COMPARED:
        gains = [d[one] - d[other] for d in draws]
        low, high = np.quantile(gains, [0.025, 0.975])
        print(f"{one} - {other}: {mean[one] - mean[other]:+.3f} ({low:+.3f} to {high:+.3f})")


WIDE, HIGH, LEFT, TOP = 460, 250, 46, 14
LOOKS: Mapping[str, tuple[str, str]] = {
    "rationale_first": ("#0a6640", "rationale, then label"),
    "label": ("#a03020", "label alone"),
    LONGER: ("#a03020", "label alone, as many tokens"),
    "two_task": ("#2050a0", "two tasks"),
}


def picture(file: Path) -> str:
    """Accuracy over rows, two steps, with 95 % intervals, as SVG."""
    right = accuracies(file)
    rng = np.random.default_rng(0)
    draws = [drawn(right, rng) for _ in range(DRAWS)]

    def x(rows: float) -> float:
        return LEFT + 30 + math.log2(rows / 100) / 3 * (WIDE - 60)

    def y(accuracy: float) -> float:
        return TOP + (1 - accuracy) * HIGH

    def text(at: tuple[float, float], said: str, more: str = "") -> str:
        return f'<text x="{at[0]:.0f}" y="{at[1]:.0f}" {more}>{said}</text>'

    size = f'width="{LEFT + WIDE + 220}" height="{TOP + HIGH + 44}"'
    font = 'font-family="DejaVu Sans, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        level = y(tenth / 10)
        parts.append(f'<path d="M{LEFT} {level:.1f}h{WIDE}" stroke="#ddd"/>')
        parts.append(text((LEFT - 8, level + 4), f"{tenth * 10} %", 'text-anchor="end"'))
    below = 'text-anchor="middle"'
    parts += [text((x(rows), TOP + HIGH + 18), str(rows), below) for rows in ROWS]
    middle = (LEFT + WIDE / 2, TOP + HIGH + 36)
    parts.append(text(middle, "rows to learn from", below))
    for place, (target, (colour, said)) in enumerate(LOOKS.items()):
        points = sorted((n, s.mean()) for (t, k, n), s in right.items() if (t, k) == (target, 2))
        hollow = "white" if target == LONGER else colour
        # Those of one number of rows stand beside each other.
        aside = {LONGER: -7, "two_task": 7}.get(target, 0)
        path = " ".join(f"{x(n) + aside:.1f},{y(a):.1f}" for n, a in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for n, a in points:
            low, high = np.quantile([d[target, 2, n] for d in draws], [0.025, 0.975])
            at = x(n) + aside
            parts.append(f'<path d="M{at:.1f} {y(low):.1f}V{y(high):.1f}" stroke="{colour}"/>')
            parts.append(
                f'<circle cx="{at:.1f}" cy="{y(a):.1f}" r="4" fill="{hollow}" stroke="{colour}"/>'
            )
        row = TOP + 20 + 22 * place
        parts.append(
            f'<circle cx="{LEFT + WIDE + 16}" cy="{row}" r="4" fill="{hollow}" stroke="{colour}"/>'
        )
        parts.append(text((LEFT + WIDE + 28, row + 4), said))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """See the module."""
    what, file = sys.argv[1], Path(sys.argv[2])
    match what:
        case "run":
            run(file)
        case "table":
            table(file)
        case "picture":
            Path(sys.argv[3]).write_text(picture(file), encoding="utf-8")


if __name__ == "__main__":
    main()
