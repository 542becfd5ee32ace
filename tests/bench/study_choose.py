"""Which of several answers is worth learning: choices from ONE pool, SIMULATED teachers.

    python -m tests.bench.study_choose run RESULTS.jsonl     # resumes; some 15 CPU minutes
    python -m tests.bench.study_choose table RESULTS.jsonl

Problems in words of two steps (`study_rationales`), amounts below 10, solved by three simulated
teachers of the world `arithmetic` that write in manners of their own: two answers each, so six
candidates a problem, paid for once.

    wordy   errs in  5 %   each sentence of the story, with its sum
    plain   errs in 15 %   the sums, a line each
    terse   errs in 30 %   the amounts alone

The student is a decoder of 0.2M parameters that has seen 100 other problems solved rightly in one
manner, `plain` or `wordy`: that is what it would say itself. From there it learns, by the product's
own `sft`, rationale and answer in one sequence, one answer to each of the same problems, in as many
steps, chosen by each of the ways. Only the judge asks more: one call a candidate.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter

from synthkd.answers import AnswerSettings, read
from synthkd.config import LocalConfig, SimulatedConfig, StudentConfig
from synthkd.desk import Desk
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.scored import Scored, share_right
from synthkd.io.rows_file import open_rows
from synthkd.kit import Kit
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Row, source_row
from synthkd.steps import Step, find_step
from synthkd.students import kinds
from synthkd.students.lesson import Lesson, write_held_out
from synthkd.students.local import open_student
from synthkd.teachers.open import OpenTeacher
from synthkd.teachers.request import Request, Teacher
from synthkd.teachers.simulated import open_world
from synthkd.text import same_answer
from tests.bench.study_rationales import sampled

SEEDS = (0, 1, 2)
ANSWER = AnswerSettings()
WARM, ROWS = 100, 150
WARM_STEPS, STEPS, BATCH = 300, 300, 32
TEACHERS: Mapping[str, float] = {"wordy": 0.05, "plain": 0.15, "terse": 0.30}
"""The strongest first -> how often it errs."""
SAMPLES = 2
JUDGE_ERRS = 0.15
WAYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "strongest": ("choose.strongest", {"order": [*TEACHERS]}),
    "random": ("choose.random", {}),
    "vote, then strongest": ("choose.strongest", {"order": [*TEACHERS], "agreeing": True}),
    "vote, then random": ("choose.random", {"agreeing": True}),
    "vote, then grape": ("choose.grape", {"agreeing": True}),
    "vote, then least likely": ("choose.grape", {"agreeing": True, "take": "least"}),
    "grape": ("choose.grape", {}),
    "least likely": ("choose.grape", {"take": "least"}),
    "judge": ("choose.judged", {"rubric": "judges/rationale", "structured": False}),
}
WARM_WITH: Mapping[str, Sequence[str]] = {
    "plain": [*WAYS],
    "wordy": [
        *("strongest", "vote, then random", "vote, then grape", "vote, then least likely"),
    ],
}
"""The manner that the student has seen -> what is learnt from there."""
GRAPE = {"teacher": "student", "prompt": "generate/respond", "scored": "rationale_first"}
BLOCK: Mapping[str, Any] = {
    "kind": "sft",
    "prompt": "instruction",
    "completion": "answer",
    "target": "rationale_first",
    "rationale": "rationale",
    "batch_size": BATCH,
    "learning_rate": 2e-3,
    "warmup": 0.05,
    "weight_decay": 0.01,
    "max_length": 192,
    "max_new_tokens": 96,
    "save_every_steps": 10**6,
}
SCRATCH = {"hidden_size": 64, "layers": 3, "heads": 2, "tokenizer": "bpe", "vocabulary": 400}
Name = tuple[str, str, int]
"""The manner that the student has seen, the way, the seed."""
COMPARED = (
    *(("grape", other) for other in ("random", "least likely", "strongest")),
    *(
        ("vote, then grape", other)
        for other in ("vote, then random", "vote, then least likely", "vote, then strongest")
    ),
    ("vote, then strongest", "strongest"),
    ("vote, then random", "random"),
    ("judge", "vote, then strongest"),
    ("judge", "random"),
)


# --- the pool


def in_manner(manner: str, rationale: str) -> str:
    """The same reasoning as that teacher writes it."""
    if manner == "wordy":
        return rationale
    sums = re.findall(r"\d+ [-+*/] \d+ = \d+", rationale)
    if manner == "plain":
        return "\n".join(sums)
    return ", ".join(one.rpartition(" ")[2] for one in sums)


async def warm_row(problem: Mapping[str, str], manner: str) -> dict[str, str]:
    """A problem solved rightly in a manner."""
    world = open_world(SimulatedConfig(world="arithmetic"))
    request = asked_about(problem["question"], 0)
    rationale = read((await world.complete(request)).text, ANSWER).rationale
    return {
        "instruction": problem["question"],
        "rationale": in_manner(manner, rationale),
        "answer": problem["answer"],
    }


def asked_about(question: str, sample: int) -> Request:
    """A question to a simulated teacher."""
    return Request(
        body={"messages": []},
        prompt="rationale/question",
        inputs={"question": question},
        sample=sample,
    )


async def pool(question: str, seed: int) -> list[dict[str, Any]]:
    """What the three teachers say, twice each."""
    found = []
    for place, (manner, errs) in enumerate(TEACHERS.items()):
        world = open_world(
            SimulatedConfig(world="arithmetic", seed=10 * seed + place, error_rate=errs)
        )
        for sample in range(SAMPLES):
            reading = read((await world.complete(asked_about(question, sample))).text, ANSWER)
            rationale = in_manner(manner, reading.rationale)
            found.append(
                {
                    "teacher": manner,
                    "sample": sample,
                    "text": f"{rationale}\nThe answer is {reading.answer}",
                    "rationale": rationale,
                    "answer": reading.answer,
                    "status": "ok",
                    "finish": "stop",
                }
            )
    return found


def opened(name: str, stack: Teacher) -> OpenTeacher:
    """A teacher without layers: nothing is paid for here."""
    return OpenTeacher(
        name=name, model=name, params={}, max_tokens=None, simulated=True, stack=stack
    )


async def chosen(way: str, rows: Sequence[Row], base: Path, seed: int) -> list[Row]:
    """One row for each problem, with the answer that this way takes."""
    use, settings = WAYS[way]
    step = find_step(use)
    assert isinstance(step, Step)
    student = open_student(LocalConfig(folder=str(base)), base)
    judge = open_world(SimulatedConfig(world="arithmetic", seed=77 + seed, error_rate=JUDGE_ERRS))
    more = {
        "choose.grape": GRAPE,
        "choose.judged": {"teacher": "judge"},
    }.get(use, {})
    config = step.config.model_validate({**settings, **more})
    names = {"generate/respond", "judges/rubric"}
    desk = Desk(
        step=way,
        seed=seed,
        teachers={"student": opened("student", student), "judge": opened("judge", judge)},
        prompts={n: load_prompt(n, folders=[shipped_folder("prompts")]) for n in names},
    )

    async def one(row: Row) -> Row:
        (made,) = [made async for made in step.run(row, Kit(desk, row.id), config)]
        return made

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    await student.free()
    return [task.result() for task in tasks]


# --- students


def trained(folder: Path, rows: Sequence[Mapping[str, Any]], block: Mapping[str, Any]) -> Any:
    """A student in the folder, by the product's own training."""
    folder.mkdir(parents=True)
    with open_rows(folder / "rows.parquet") as add:
        for place, fields in enumerate(rows):
            add(Row(id=f"{place:016x}", order=(place,), roots=(), fields=fields))
    write_held_out(folder / "held_out.jsonl", [])
    config: TypeAdapter[StudentConfig] = TypeAdapter(StudentConfig)
    lesson = Lesson(
        config=config.validate_python({**BLOCK, **block}),
        rows=folder / "rows.parquet",
        held_out=folder / "held_out.jsonl",
        made_from={"teachers": "SIMULATED, world `arithmetic`"},
        folder=folder / "student",
        work=folder / "work",
    )
    kinds.train(lesson, lambda line: None)
    return kinds.load(lesson.folder)


def measured(manner: str, seed: int, missing: Sequence[str], file: Path) -> None:
    """One warm student, one pool; a student for each way that the file lacks."""
    train, test = sampled(seed, WARM + ROWS, 2)
    asked, gold = [one["question"] for one in test], [one["answer"] for one in test]
    warm = [asyncio.run(warm_row(one, manner)) for one in train[:WARM]]
    with tempfile.TemporaryDirectory() as scratch:
        base = trained(
            Path(scratch, "base"), warm, {"scratch": SCRATCH, "max_steps": WARM_STEPS, "seed": seed}
        )
        add(file, (manner, "before", seed), base.predict(asked), gold, {})
        pools = [asyncio.run(pool(one["question"], seed)) for one in train[WARM:]]
        rows = [
            source_row(
                "study",
                [str(place)],
                ordinal=place,
                fields={"instruction": one["question"], "gold": one["answer"], "candidates": known},
            )
            for place, (one, known) in enumerate(zip(train[WARM:], pools, strict=True))
        ]
        folder = Path(scratch, "base", "student")
        for number, way in enumerate(missing):
            began = time.process_time()
            made = asyncio.run(chosen(way, rows, folder, seed))
            lines = [
                {name: row.fields[name] for name in ("instruction", "rationale", "answer")}
                for row in made
            ]
            student = trained(
                Path(scratch, str(number)),
                lines,
                {"base": str(folder), "max_steps": STEPS, "seed": seed},
            )
            whose = Counter(row.fields["chosen"]["teacher"] for row in made)  # type: ignore[call-overload,index]
            about = {
                "targets_right": fmean(
                    same_answer(row.fields["answer"], row.fields["gold"]) for row in made
                ),
                "whose": {name: whose[name] / len(made) for name in TEACHERS},
                "characters": fmean(len(str(line["rationale"])) for line in lines),
                "loss": student.about["loss"],
            }
            add(file, (manner, way, seed), student.predict(asked), gold, about)
            print(
                f"{manner}, seed {seed}: {way}, {time.process_time() - began:.0f} CPU s", flush=True
            )


def add(
    file: Path,
    name: Name,
    given: Sequence[str | None],
    gold: Sequence[str],
    about: Mapping[str, Any],
) -> None:
    """A line of results."""
    right = "".join("01"[one == other] for one, other in zip(given, gold, strict=True))
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"name": name, **about, "right": right}) + "\n")


def results(file: Path) -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """(manner, way) -> seed -> its line; of the same the last."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for line in file.open(encoding="utf-8") if file.exists() else ():
        one = json.loads(line)
        manner, way, seed = one["name"]
        found.setdefault((manner, way), {})[seed] = one
    return found


def run(file: Path) -> None:
    """Measure what the file, of JSON lines, lacks."""
    for manner, ways in WARM_WITH.items():
        for seed in SEEDS:
            known = results(file)
            if missing := [way for way in ways if seed not in known.get((manner, way), {})]:
                measured(manner, seed, missing, file)


def table(file: Path) -> None:
    """Print accuracies and leads with 95 % intervals."""
    known = results(file)

    def scored(manner: str, way: str, other: str | None = None) -> list[Scored]:
        seeds = known[manner, way].keys() & known[manner, other or way].keys()
        lines = [known[manner, way][seed]["right"] for seed in sorted(seeds)]
        return [share_right([*map(int, line)]) for line in lines]

    print("| seen | way | seeds | targets right | whose | signs | student | 95 % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for manner, way in known:
        seeds = known[manner, way].values()
        shares = whose = signs = ""
        if way != "before":
            shares = f"{fmean(one['targets_right'] for one in seeds):.1%}"
            signs = f"{fmean(one['characters'] for one in seeds):.0f}"
            means = {name: fmean(one["whose"][name] for one in seeds) for name in TEACHERS}
            whose = "; ".join(f"{name} {share:.0%}" for name, share in means.items())
        found = figure(scored(manner, way), resamples=1000, seed=0)
        print(
            f"| {manner} | {way} | {len(seeds)} | {shares} | {whose} | {signs} |"
            f" {found.value:.1%} | {found.low:.1%} to {found.high:.1%} |"
        )
    for manner in WARM_WITH:
        for one, other in COMPARED:
            if (manner, one) in known and (manner, other) in known:
                pair = scored(manner, one, other), scored(manner, other, one)
                led = lead_by_seed(*pair, resamples=1000, seed=0)
                ends = f"({led.low:+.3f} to {led.high:+.3f})"
                print(f"{manner}: {one} - {other}: {led.value:+.3f} {ends}, {len(pair[0])} seeds")


def main() -> None:
    """See the module."""
    {"run": run, "table": table}[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
