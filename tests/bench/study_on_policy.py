"""On-policy at equal cost: does it pay to have a teacher edit or rank what the student says?

    python tests/bench/study_on_policy.py [SEEDS]        # two CPU minutes

Support messages (data/tickets.jsonl, ten intents). The teacher is SIMULATED (`world: tickets`, one
answer in ten wrong); it is asked by the product's step `on_policy` with its own prompts, and what
is counted is the tokens of those questions and answers. The student is the linear one.

A trial, with a seed, has FIRST rows an intent with gold, and a pool without; the test rows are the
same for all. In each of two rounds a way asks about rows of the pool, in one order for all ways,
until it has spent half of the budget; then the student is trained on all it has.

    off-policy   the teacher answers itself
    edit         it puts right the student's likeliest answer; the edit is learnt
    rank         it ranks the different ones of SAMPLES answers drawn from the student; the best is
                 learnt. Where all are the same nobody is asked, and the student's answer is learnt
    rank, asked  the same without those rows

Intervals: `synthkd.evaluate.paired.lead_by_seed`, over seeds and test rows.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from synthkd.config import BudgetConfig, LinearConfig, LocalConfig, TeacherConfig
from synthkd.desk import Desk
from synthkd.errors import RowError
from synthkd.evaluate.classification import accuracy
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.kit import Kit
from synthkd.ledger.sqlite import open_ledger
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.on_policy import OnPolicySettings, on_policy
from synthkd.rows import source_row
from synthkd.students.linear import LinearStudent, train_linear
from synthkd.students.local import open_student
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.text import equivalent

ROOT = Path(__file__).parent.parent.parent
FIRST, TEST, ROUNDS, SAMPLES, TEMPERATURE = 5, 300, 2, 6, 0.5
BUDGETS = (8_000, 32_000)
"""Tokens of the teacher, prompt and completion."""
ERROR_RATE = 0.1
CONFIG = LinearConfig(kind="linear", text="text", label="label")
WAYS: Mapping[str, Mapping[str, Any] | None] = {
    "off-policy": None,
    "edit": {"way": "edit"},
    "rank": {"way": "rank", "samples": SAMPLES},
    "rank, asked": {"way": "rank", "samples": SAMPLES},
}
Row = tuple[str, str]
"""Text and intent."""


@dataclass(kw_only=True)
class Done:
    """What a way came to in one trial."""

    said: list[str]
    rows: int
    right: int
    """Of the rows, those whose label is gold."""
    tokens: int
    requests: int


def main() -> None:
    """Print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    lines = (ROOT / "data" / "tickets.jsonl").read_bytes().splitlines()
    told = {one["text"]: one["intent"] for one in map(orjson.loads, lines)}
    rows: list[Row] = list(told.items())
    random.Random(0).shuffle(rows)
    test, rest = rows[:TEST], rows[TEST:]
    gold = [intent for _, intent in test]
    for budget in BUDGETS:
        done: dict[str, list[Done]] = defaultdict(list)
        for seed in range(seeds):
            for way, result in asyncio.run(trial(seed, rest, test, budget)).items():
                done[way].append(result)
        table(budget, gold, done)


async def trial(
    seed: int, rest: Sequence[Row], test: Sequence[Row], budget: int
) -> dict[str, Done]:
    """Every way, and nobody asked."""
    order = list(rest)
    random.Random(1000 + seed).shuffle(order)
    first: list[Row] = []
    for intent in sorted({intent for _, intent in rest}):
        first += [row for row in order if row[1] == intent][:FIRST]
    pool = [row for row in order if row not in set(first)]
    with tempfile.TemporaryDirectory() as scratch:
        student = learn(first, Path(scratch))
    nobody = Done(said=answers(student, test), rows=0, right=0, tokens=0, requests=0)
    done = {"nobody asked": nobody}
    for way in WAYS:
        done[way] = await carry_out(way, seed, first, pool, test, budget)
    return done


@dataclass(kw_only=True)
class Class:
    """What is being learnt."""

    rows: list[Row] = field(default_factory=list)
    """Text and the label that it was given."""
    right: int = 0
    turn: int = 0


async def carry_out(
    way: str,
    seed: int,
    first: Sequence[Row],
    pool: Sequence[Row],
    test: Sequence[Row],
    budget: int,
) -> Done:
    """One way, to the end of its budget."""
    labels = sorted({intent for _, intent in first})
    settings = OnPolicySettings.model_validate(
        {"student": "own", "teacher": "main", "question": "text", "labels": labels}
        | dict(WAYS[way] or {})
    )
    config = TeacherConfig.model_validate(
        {"simulated": {"world": "tickets", "seed": seed, "error_rate": ERROR_RATE}}
    )
    learnt = Class()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        student = learn(first, base / "0")
        ledger = open_ledger(str(base / "ledger.sqlite"))
        try:
            async with open_teachers(
                {"main": config}, base=base, ledger=ledger, run_id="study", budget=BudgetConfig()
            ) as gateway:
                main = gateway.teachers["main"]
                for number in range(ROUNDS):
                    own = asked_as(student, there=WAYS[way] is not None)
                    desk = desk_of(settings, {"main": main, "own": own}, seed, number)
                    most = budget * (number + 1) // ROUNDS
                    await gather(way, settings, desk, pool, learnt, most)
                    student = learn([*first, *learnt.rows], base / str(number + 1))
                requests, tokens = main.stats.attempts, tokens_of(main)
        finally:
            await ledger.close()
        said = answers(student, test)
    return Done(
        said=said, rows=len(learnt.rows), right=learnt.right, tokens=tokens, requests=requests
    )


async def gather(
    way: str,
    settings: OnPolicySettings,
    desk: Desk,
    pool: Sequence[Row],
    learnt: Class,
    most: int,
) -> None:
    """Row after row of the pool, until so many tokens are spent or the pool is at its end."""
    main = desk.teachers["main"]
    while tokens_of(main) < most and learnt.turn < len(pool):
        text, intent = pool[learnt.turn]
        learnt.turn += 1
        row = source_row("study", [text], ordinal=learnt.turn, fields={"text": text})
        kit = Kit(desk, row.id)
        try:
            (made,) = [one async for one in on_policy(row, kit, settings)]
        except RowError:
            continue
        if way == "rank, asked" and ("ranked", 1) not in kit.counts:
            continue
        label = str(made.fields["response"])
        learnt.rows.append((text, label))
        learnt.right += equivalent(label) == equivalent(intent)


def desk_of(
    settings: OnPolicySettings, teachers: Mapping[str, OpenTeacher], seed: int, number: int
) -> Desk:
    """As the engine makes it."""
    names = (settings.prompt, settings.edit_prompt, settings.rank_prompt)
    prompts = [load_prompt(name, folders=[shipped_folder("prompts")]) for name in names]
    return Desk(
        step="on_policy",
        seed=seed,
        round=number,
        teachers=teachers,
        prompts={prompt.name: prompt for prompt in prompts},
    )


def asked_as(student: LinearStudent, *, there: bool) -> OpenTeacher:
    """The student as a teacher; it draws where it is asked several times."""
    return OpenTeacher(
        name="own",
        model="student",
        params={"temperature": TEMPERATURE},
        max_tokens=None,
        simulated=True,
        stack=open_student(LocalConfig(folder=str(student.folder)), student.folder),
        is_there=there,
    )


def learn(rows: Sequence[Row], folder: Path) -> LinearStudent:
    """A student of these rows."""
    texts, labels = zip(*rows, strict=True)
    return train_linear(texts, labels, CONFIG, folder, {"source": "a study"})


def answers(student: LinearStudent, test: Sequence[Row]) -> list[str]:
    """To the test rows."""
    return student.predict([text for text, _ in test])


def tokens_of(teacher: OpenTeacher) -> int:
    """What was spent."""
    return teacher.stats.prompt_tokens + teacher.stats.completion_tokens


def table(budget: int, gold: Sequence[str], done: Mapping[str, Sequence[Done]]) -> None:
    """The figures as Markdown."""
    scored = {name: [accuracy(gold, one.said) for one in ways] for name, ways in done.items()}
    print(f"\n## {budget:,} tokens, {len(done['edit'])} seeds\n")
    print(
        "| way | requests | tokens | new rows | of them right % | accuracy % | off-policy ahead |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, ways in done.items():
        rows, right = sum(one.rows for one in ways), sum(one.right for one in ways)
        share = f"{100 * right / rows:.1f}" if rows else ""
        ahead = ""
        if name != "off-policy":
            both = scored["off-policy"], scored[name]
            ahead = interval(lead_by_seed(*both, resamples=300, seed=0), "+")
        n = len(ways)
        print(
            f"| {name} | {sum(o.requests for o in ways) / n:.0f} |"
            f" {sum(o.tokens for o in ways) / n:,.0f} | {rows / n:.0f} | {share} |"
            f" {interval(figure(scored[name], resamples=300, seed=0))} | {ahead} |",
            flush=True,
        )


def interval(one: Any, sign: str = "") -> str:
    """In per cent."""
    return f"{100 * one.value:{sign}.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


if __name__ == "__main__":
    main()
