"""What each way to choose picks from the RECORDED pools of GSM8K: six teachers, 660 problems.

    python -m tests.bench.bench_choose            # strongest, chance, vote
    python -m tests.bench.bench_choose --grape    # GRAPE too: trains a small model, 3 CPU minutes

GPT-3 6B and 175B, fine-tuned and with a verifier, and code-davinci-002's programs of thought, zero-
and few-shot, one answer each. Nobody recorded how likely a base model is to give them, so with
`--grape` a decoder of 0.2M parameters is made here, trained on 2,400 solutions of the training
split by the product's `sft`, and asked. Needs the data of SYNTHKD_DATA.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthkd.config import LocalConfig
from synthkd.desk import Desk
from synthkd.errors import RowError
from synthkd.evaluate.intervals import share_of
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Json, Row, source_row
from synthkd.steps import Step, find_step
from synthkd.students.local import open_student
from tests.bench.study_choose import opened, trained

ROOT = Path(__file__).parent.parent.parent
ORDER = (
    "code-davinci-002-PoT-fewshot",
    "code-davinci-002-PoT-zeroshot",
    "GPT-3-175b-verification",
    "GPT-3-6b-verification",
    "GPT-3-175b-finetuning",
    "GPT-3-6b-finetuning",
)
"""The strongest first, by their published accuracy."""
WAYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "strongest": ("choose.strongest", {"order": [*ORDER]}),
    "random": ("choose.random", {}),
    "vote, then strongest": ("choose.strongest", {"order": [*ORDER], "agreeing": True}),
    "strongest that is right (gold)": (
        "choose.strongest",
        {"order": [*ORDER], "gold": "gold"},
    ),
}
ASKED = {"teacher": "student", "prompt": "choose/question"}
GRAPE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "grape": ("choose.grape", ASKED),
    "least likely": ("choose.grape", ASKED | {"take": "least"}),
    "grape, sum": ("choose.grape", ASKED | {"measure": "sum"}),
    "vote, then grape": ("choose.grape", ASKED | {"agreeing": True}),
}
MODEL: Mapping[str, Any] = {
    "scratch": {"hidden_size": 64, "layers": 2, "heads": 2, "vocabulary": 1000},
    "max_length": 1200,  # programs are long in words of solutions
    "max_steps": 150,
    "batch_size": 16,
    "learning_rate": 4e-3,
    "seed": 0,
}
LEARNT = 2400


def main() -> None:
    """Print the table."""
    folder = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data")) / "gsm8k"
    if not folder.is_dir():
        print(f"choose: skipped, there is no {folder}: set SYNTHKD_DATA")
        return
    rows = pools(folder / "teacher_outputs_first660.parquet")
    print("| way | chosen | right, of all rows | 95 % | right, of the chosen | whose |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (use, settings) in WAYS.items():
        told(name, rows, asyncio.run(chosen(rows, use, settings, None)))
    if "--grape" in sys.argv:
        with tempfile.TemporaryDirectory() as scratch:
            student = trained(Path(scratch, "base"), solutions(folder), MODEL)
            print(f"the student's loss at the end: {student.about['loss']:.2f}", file=sys.stderr)
            base = Path(scratch, "base", "student")
            for name, (use, settings) in GRAPE.items():
                told(name, rows, asyncio.run(chosen(rows, use, settings, base)))


def pools(file: Path) -> list[Row]:
    """A row for each problem, with what the teachers answered."""
    import pyarrow.parquet as pq

    known: dict[str, dict[str, Any]] = {}
    for record in pq.read_table(file).to_pylist():
        label = record["teacher_label"]
        known.setdefault(record["id"], {"row": record, "said": {}})["said"][record["teacher"]] = {
            "teacher": record["teacher"],
            "sample": 0,
            "text": record["teacher_raw"],
            "rationale": record["teacher_raw"] or "",
            "answer": None if label is None else str(label),
            "status": "no_cue" if label is None else "ok",
            "right": bool(record["teacher_correct"]),
        }
    rows = []
    for place, (name, one) in enumerate(sorted(known.items())):
        candidates: list[Json] = [one["said"][who] for who in ORDER if who in one["said"]]
        fields: dict[str, Json] = {
            "question": one["row"]["prompt"],
            "gold": str(one["row"]["gold"]),
            "candidates": candidates,
        }
        rows.append(source_row("gsm8k", [name], ordinal=place, fields=fields))
    return rows


def solutions(folder: Path) -> list[Mapping[str, Any]]:
    """Gold solutions to other problems, which the student has read."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "train.parquet").slice(0, LEARNT).to_pylist()
    return [
        {
            "instruction": one["prompt"],
            "rationale": one["gold_solution"],
            "answer": str(one["gold"]),
        }
        for one in table
    ]


async def chosen(
    rows: Sequence[Row], use: str, settings: Mapping[str, Any], base: Path | None
) -> list[Row]:
    """The rows that have a choice, with it."""
    step = find_step(use)
    assert isinstance(step, Step)
    config = step.config.model_validate(settings)
    student = None if base is None else open_student(LocalConfig(folder=str(base)), base)
    prompt = load_prompt("choose/question", folders=[shipped_folder("prompts")])
    desk = Desk(
        step=use,
        teachers={} if student is None else {"student": opened("student", student)},
        prompts={prompt.name: prompt},
    )

    async def one(row: Row) -> Row | None:
        try:
            (made,) = [made async for made in step.run(row, Kit(desk, row.id), config)]
        except RowError:
            return None
        return made

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    if student is not None:
        await student.free()
    return [made for task in tasks if (made := task.result()) is not None]


def told(name: str, rows: Sequence[Row], made: Sequence[Row]) -> None:
    """One line of the table."""
    right, whose = 0, Counter[str]()
    for row in made:
        pool: Any = row.fields["candidates"]
        who: Any = row.fields["chosen"]
        whose[who["teacher"]] += 1
        right += next(one["right"] for one in pool if one["teacher"] == who["teacher"])
    found = share_of(right, len(rows))
    short = "; ".join(f"{who} {times / len(made):.0%}" for who, times in whose.most_common(3))
    print(
        f"| {name} | {len(made)} | {found.value:.1%} | {found.low:.1%} to {found.high:.1%} |"
        f" {right / len(made):.1%} | {short} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
