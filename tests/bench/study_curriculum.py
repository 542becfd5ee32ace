"""In which order a student learns, and whether it says itself what is hard; SIMULATED teacher.

    python tests/bench/study_curriculum.py run RESULTS.jsonl [SEED ...]    # resumes; CPU minutes
    python tests/bench/study_curriculum.py table RESULTS.jsonl
    python tests/bench/study_curriculum.py picture RESULTS.jsonl PICTURE.svg

The simulated teacher writes three to nine letters, and tells how many are vowels: the more letters,
the harder. Students are decoders of one layer with random weights, trained by the product's own
`sft` on the number alone; they obey the columns that the product's own arithmetic writes.

    random      rows in random order
    easy        four stages by length, the shortest first, in each epoch
    hard        the same, the longest first
    tapir       half of the rows as seeds; a student of them says which it has wrong, and more like
                these are written (as long, or by a letter longer): 0.3 of the mixture, then 0.5
    as hard     as many rows of each length as tapir ended with, written by chance

All are trained for as many tokens, to half a step. The two students that tapir asks on the way come
on top, with three quarters of that each. A row costs the teacher one answer in every way.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from synthkd.config import StudentConfig
from synthkd.curate.curriculum.shares import equal_stages, mixture
from synthkd.io.rows_file import open_rows
from synthkd.rows import Json, Row
from synthkd.students import kinds
from synthkd.students.artefact import Student
from synthkd.students.lesson import Lesson, write_held_out

SEEDS = (0, 1, 2, 3, 4)
WAYS = ("random", "easy", "hard", "tapir", "as hard")
LEVELS = (3, 5, 7, 9)
ROWS, STEPS, WARM_STEPS, BATCH = 1280, 120, 90, 128
TESTED = 100
"""Problems of each level, the same for all."""
BLOCK: Mapping[str, Any] = {
    "kind": "sft",
    "prompt": "instruction",
    "completion": "answer",
    "scratch": {
        "hidden_size": 32,
        "layers": 1,
        "heads": 2,
        "tokenizer": "characters",
    },
    "batch_size": BATCH,
    "learning_rate": 1e-2,
    "warmup": 0.05,
    "weight_decay": 0.01,
    "max_length": 32,
    "max_new_tokens": 8,
    "save_every_steps": 10**6,
}
DRAWS = 2000
VOWELS, OTHERS = "aeiou", "bcdfghklmnprst"
HARDER = 0.4
"""How often a new problem is one letter longer than the one it is like."""


# --- problems


def problem(rng: random.Random, level: int) -> str:
    """Letters of which some are vowels; how many is the question."""
    return "".join(rng.choice(VOWELS if rng.random() < 0.5 else OTHERS) for _ in range(level))


def gold_of(text: str) -> str:
    return str(sum(letter in VOWELS for letter in text))


def written(rng: random.Random, levels: Sequence[int], but: Sequence[str]) -> list[str]:
    """A new problem of each level, none of those and none twice."""
    never = set(but)
    told: list[str] = []
    for level in levels:
        while (text := problem(rng, level)) in never:
            pass
        never.add(text)
        told.append(text)
    return told


def drawn_levels(rng: random.Random, count: int) -> list[int]:
    return [rng.choice(LEVELS) for _ in range(count)]


def test_set() -> list[str]:
    return written(random.Random(10**6), [n for n in LEVELS for _ in range(TESTED)], ())


# --- students


def trained(
    texts: Sequence[str],
    columns: Sequence[Mapping[str, int]],
    seed: int,
    steps: int,
    folder: Path,
) -> Student:
    """A student of these problems; `columns` of each row are what training obeys."""
    with open_rows(folder / "rows.parquet") as add:
        for place, text in enumerate(texts):
            fields: dict[str, Json] = {
                "instruction": text,
                "answer": gold_of(text),
                **columns[place],
            }
            add(Row(id=f"{place:016x}", order=(place,), roots=(), fields=fields))
    write_held_out(folder / "held_out.jsonl", [])
    settings = {**BLOCK, "max_steps": steps, "seed": seed}
    block: TypeAdapter[StudentConfig] = TypeAdapter(StudentConfig)
    lesson = Lesson(
        config=block.validate_python(settings),
        rows=folder / "rows.parquet",
        held_out=folder / "held_out.jsonl",
        made_from={"teachers": "SIMULATED, world `problems`"},
        folder=folder / f"student-{len(texts)}-{steps}",
        work=folder / "work",
    )
    kinds.train(lesson, lambda line: None)
    return kinds.load(lesson.folder)


def tokens_of(texts: Sequence[str]) -> int:
    """Letters, and of each row an answer and what stands around both."""
    return sum(len(text) + 5 for text in texts)


def columns_of(texts: Sequence[str], way: str) -> list[dict[str, int]]:
    """The columns of each row."""
    levels = [float(len(text)) for text in texts]
    if way in ("easy", "hard"):
        stages = equal_stages(levels, len(LEVELS), descending=way == "hard")
        return [{"stage": stage} for stage in stages]
    return [{} for _ in texts]


@cache
def tapir_rows(seed: int) -> list[str]:
    """Seeds, and what is written like those that the student of each round has wrong."""
    test = test_set()
    rng = random.Random(seed)
    seeds = written(rng, drawn_levels(rng, ROWS // 2), test)
    made: list[str] = []
    for share in (0.3, 0.5):
        rows = [*seeds, *made]
        with tempfile.TemporaryDirectory() as scratch:
            student = trained(rows, [{} for _ in rows], seed, WARM_STEPS, Path(scratch))
            said = student.predict(seeds)
        hard = [text for text, one in zip(seeds, said, strict=True) if one != gold_of(text)]
        taken = mixture(share, hard=ROWS, seeds=0, fixed_hard=len(made), fixed_seeds=len(seeds))
        like = [len(rng.choice(hard)) for _ in range(taken.hard)]
        harder = [min(max(LEVELS), level + (rng.random() < HARDER)) for level in like]
        made += written(rng, harder, [*test, *seeds, *made])
    return [*seeds, *made]


def rows_of(way: str, seed: int, test: Sequence[str]) -> list[str]:
    rng = random.Random(seed)
    if way == "tapir":
        return tapir_rows(seed)
    if way == "as hard":
        like = [len(text) for text in tapir_rows(seed)]
        return written(random.Random(seed + 10**4), like, test)
    return written(rng, drawn_levels(rng, ROWS), test)


def measured(way: str, seed: int) -> dict[str, Any]:
    """Train one student, and ask it the problems of the test."""
    test = test_set()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = rows_of(way, seed, test)
        # The same tokens for all: rows of other lengths get other numbers of steps.
        usual = written(random.Random(seed), drawn_levels(random.Random(seed), ROWS), test)
        steps = round(STEPS * tokens_of(usual) / tokens_of(texts))
        student = trained(texts, columns_of(texts, way), seed, steps, folder)
        given = student.predict(test)
        about = student.about
    right = [one == gold_of(text) for one, text in zip(given, test, strict=True)]
    return {
        "way": way,
        "seed": seed,
        "levels": dict(sorted(Counter(len(text) for text in texts).items())),
        "steps": steps,
        "tokens": round(about["tokens"] / about["examples"] * BATCH * steps),
        "loss": about["loss"],
        "right": "".join("01"[one] for one in right),
        "cpu_s": round(time.process_time() - began, 1),
    }


def run(file: Path, seeds: Sequence[int]) -> None:
    """Measure what the file, of JSON lines, lacks; a line for each student."""
    import torch

    torch.set_num_threads(1)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {(one["way"], one["seed"]) for one in map(json.loads, lines)}
    for seed in seeds or SEEDS:
        for way in WAYS:
            if (way, seed) in done:
                continue
            one = measured(way, seed)
            with file.open("a", encoding="utf-8") as add:
                add.write(json.dumps(one) + "\n")
            share = one["right"].count("1") / len(one["right"])
            print({**one, "right": round(share, 3)}, flush=True)


# --- what came of it


def found(file: Path) -> dict[str, NDArray[np.float64]]:
    """Way -> (seeds, levels, problems), 1 where right."""
    right: dict[str, list[list[int]]] = {}
    for line in file.open(encoding="utf-8"):
        one = json.loads(line)
        right.setdefault(one["way"], []).append([int(digit) for digit in one["right"]])
    return {
        way: np.array(right[way], dtype=np.float64).reshape(-1, len(LEVELS), TESTED)
        for way in WAYS
        if way in right
    }


def draws(right: Mapping[str, NDArray[np.float64]]) -> Iterator[dict[str, NDArray[np.float64]]]:
    """Accuracies by level: seeds and problems with replacement, the same ones for all ways."""
    rng = np.random.default_rng(0)
    seeds = min(len(each) for each in right.values())
    for _ in range(DRAWS):
        which, tested = rng.integers(seeds, size=seeds), rng.integers(TESTED, size=TESTED)
        yield {way: each[which][:, :, tested].mean(axis=(0, 2)) for way, each in right.items()}


def table(file: Path) -> None:
    """Print accuracies by level, and differences from random, with 95 % intervals."""
    right = found(file)
    sampled = list(draws(right))
    print(
        f"| way | seeds | all | {' | '.join(f'{n} letters' for n in LEVELS)} | all, less random |"
    )
    for way, each in right.items():
        means = each.mean(axis=(0, 2))
        of = np.array([one[way] for one in sampled])
        gain = np.array([one[way].mean() - one["random"].mean() for one in sampled])
        cells = [f"{means.mean():.3f} {_interval(of.mean(axis=1))}"]
        cells += [f"{means[n]:.3f} {_interval(of[:, n])}" for n in range(len(LEVELS))]
        lead = means.mean() - right["random"].mean()
        print(f"| {way} | {len(each)} | {' | '.join(cells)} | {lead:+.3f} {_interval(gain)} |")
    if {"tapir", "as hard"} <= right.keys():
        gain = np.array([one["tapir"].mean() - one["as hard"].mean() for one in sampled])
        lead = right["tapir"].mean() - right["as hard"].mean()
        print(f"tapir less as hard: {lead:+.3f} {_interval(gain)}")


def _interval(values: NDArray[np.float64]) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"[{low:.3f}, {high:.3f}]"


WIDE, HIGH, LEFT, TOP = 420, 250, 60, 14
COLOURS = ("#404040", "#0a6640", "#a03020", "#2050a0", "#8090c0")


def picture(file: Path) -> str:
    """Accuracy by steps, with 95 % intervals, as SVG."""
    right = found(file)
    sampled = list(draws(right))

    def y(accuracy: float) -> float:
        return TOP + (1 - accuracy) * HIGH

    def text(at: tuple[float, float], said: str, more: str = "") -> str:
        return f'<text x="{at[0]:.0f}" y="{at[1]:.0f}" {more}>{said}</text>'

    font = 'font-family="DejaVu Sans, sans-serif" font-size="12"'
    size = f'width="{LEFT + WIDE + 130}" height="{TOP + HIGH + 44}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        level = y(tenth / 10)
        parts.append(f'<path d="M{LEFT} {level:.1f}h{WIDE}" stroke="#ddd"/>')
        parts.append(text((LEFT - 8, level + 4), f"{tenth * 10} %", 'text-anchor="end"'))
    step, below = WIDE / len(LEVELS), 'text-anchor="middle"'
    for n, level_of in enumerate(LEVELS):
        at = LEFT + (n + 0.5) * step
        parts.append(text((at, TOP + HIGH + 18), str(level_of), below))
    parts.append(text((LEFT + WIDE / 2, TOP + HIGH + 36), "letters", below))
    for place, (way, each) in enumerate(right.items()):
        colour = COLOURS[place]
        means = each.mean(axis=(0, 2))
        aside = (place - (len(right) - 1) / 2) * 10
        for n in range(len(LEVELS)):
            at = LEFT + (n + 0.5) * step + aside
            low, high = np.quantile([one[way][n] for one in sampled], [0.025, 0.975])
            parts.append(f'<path d="M{at:.1f} {y(low):.1f}V{y(high):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(means[n]):.1f}" r="4" fill="{colour}"/>')
        row = TOP + 20 + 22 * place
        parts.append(f'<circle cx="{LEFT + WIDE + 16}" cy="{row}" r="4" fill="{colour}"/>')
        parts.append(text((LEFT + WIDE + 28, row + 4), way))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """See the module."""
    what, file = sys.argv[1], Path(sys.argv[2])
    match what:
        case "run":
            run(file, [int(seed) for seed in sys.argv[3:]])
        case "table":
            table(file)
        case "picture":
            Path(sys.argv[3]).write_text(picture(file), encoding="utf-8")


if __name__ == "__main__":
    main()
