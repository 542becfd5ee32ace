"""PGKD from five rows a class: does it pay to tell the teacher what the student gets wrong?

    python tests/bench/study_pgkd.py [SEEDS] [FIRST_SEED] [PICTURE.svg]

Snips (7 intents) and TREC (6 kinds of question). The teacher is simulated (`world: pool`): asked
for examples of a class like a text, it hands out real ones that no student, dev or test row is. So
what is compared is the way of asking, not how well a model writes, and every new label is right.

A trial, with a seed, has 5 rows a class to learn from, DEV rows a class with gold for feedback, the
same 1,000 test rows as every other, and a pool of 3,000 of the rest. ROUNDS times the step `pgkd`
itself asks, in its prompt, until 5 rows a class are new (distinct and seen in no round before); the
student (linear, as shipped) is trained on all so far. Ways that do not ask draw from the same pool.
Equal cost: a way goes on until it has spent the tokens that `pgkd` had spent at its last round,
with the feedback of the last student; its last question may go beyond that, by one answer at most.

Intervals: `synthkd.evaluate.paired.lead_by_seed`, over seeds and test rows. Needs the data of
SYNTHKD_DATA (default ../shared/data); says so and ends well without.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow.parquet as pq

from synthkd.config import BudgetConfig, LinearConfig, TeacherConfig
from synthkd.desk import Desk
from synthkd.evaluate.classification import accuracy, macro_f1
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.scored import Scored
from synthkd.feedback import Feedback
from synthkd.kit import Kit
from synthkd.ledger.sqlite import open_ledger
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.recipes.pgkd import PgkdSettings, pgkd
from synthkd.rounds import look
from synthkd.rows import source_row
from synthkd.students.lesson import HeldOutRow
from synthkd.students.linear import LinearStudent, unfitted
from synthkd.teachers.open import OpenTeacher, open_teachers
from synthkd.text import normalised
from tests.bench.curves import Curve, Panel, draw

ROOT = Path(__file__).parent.parent.parent
SETS = ("snips", "trec")
FIRST, NEW, ROUNDS, DEV = 5, 5, 4, 10
"""Rows a class: to begin with, new in each round, and in dev."""
TEST, POOL = 1000, 3000
PER_QUESTION = 5
DRAWS = 300
CONFIG = LinearConfig(kind="linear", text="text", label="label")


class Example(NamedTuple):
    """A text and its label."""

    text: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Who sees which rows."""

    seed: int
    first: list[Example]
    """Class by class in turn, so that any stretch has about as many of each."""
    dev: list[Example]
    pool: list[Example]
    test: list[Example]

    @property
    def labels(self) -> list[str]:
        """All of them."""
        return sorted({one.label for one in self.first})


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to come by new rows."""

    name: str
    asks: Mapping[str, Any] | None = None
    """Settings of `pgkd`; None = rows are drawn."""
    draws: str = ""
    """as they come, balanced, or as `pgkd` (as many of each label as that has)."""
    learns_dev: bool = False
    is_cheaper: bool = False
    """Whether it is `pgkd` with less shown: in the tables, not in the picture."""


WAYS = (
    Way(name="pgkd", asks={}),
    Way(name="no hard negatives", asks={"hard": False}),
    Way(name="no report", asks={"shows": ("right", "wrong")}, is_cheaper=True),
    Way(name="no examples shown", asks={"shows": ("report",)}, is_cheaper=True),
    Way(name="mistakes, nothing shown", asks={"shows": ()}, is_cheaper=True),
    Way(name="any mistakes", asks={"like": "any_wrong"}),
    Way(name="no feedback", asks={"like": "own", "shows": ()}),
    Way(name="random", draws="as they come"),
    Way(name="random, balanced", draws="balanced"),
    Way(name="random, labels as pgkd", draws="as pgkd"),
    Way(name="pgkd, dev learnt too", asks={}, learns_dev=True),
    Way(name="random, balanced, dev learnt too", draws="balanced", learns_dev=True),
)


@dataclass(kw_only=True)
class Done:
    """What a way came to in one trial."""

    said: list[list[str]] = field(default_factory=list)
    """On the test rows, after each round; first before any."""
    rows: list[Example] = field(default_factory=list)
    requests: list[int] = field(default_factory=lambda: [0])
    tokens: list[int] = field(default_factory=lambda: [0])
    """Spent up to each round."""
    given: int = 0
    """Examples that the teacher gave."""
    at_cost: tuple[int, list[str]] | None = None
    """At the tokens that `pgkd` spent: new rows, and what the student says to the test rows."""


def main() -> None:
    """Print the tables; draw the picture."""
    data = Path(os.environ.get("SYNTHKD_DATA", str(ROOT / ".." / "shared" / "data")))
    if not (data / "cls_snips").is_dir():
        print(f"pgkd: skipped, there is no {data / 'cls_snips'}: set SYNTHKD_DATA")
        return
    seeds, first = (int(given) for given in (*sys.argv[1:3], *("5", "0")[len(sys.argv[1:3]) :]))
    panels = []
    for name in SETS:
        file = data / f"cls_{name}" / "train.parquet"
        trials = [trial_of(file, first, first + n) for n in range(seeds)]
        done: dict[str, list[Done]] = defaultdict(list)
        for trial in trials:
            for way, result in asyncio.run(carry_out(trial)).items():
                done[way].append(result)
        print(f"\n## {name}: {len(trials[0].labels)} labels, {seeds} seeds\n", flush=True)
        table(trials[0].test, done)
        panels.append(panel(name, trials[0], done))
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text(draw(panels), encoding="utf-8")


def trial_of(file: Path, test: int, seed: int) -> Trial:
    """The rows of a trial; its test rows are those of `test`, the same for every seed."""
    table = pq.read_table(file, columns=["text", "label"]).to_pylist()
    distinct = {normalised(row["text"]): Example(row["text"], row["label"]) for row in table}
    rows = list(distinct.values())
    random.Random(test).shuffle(rows)
    tested, rest = rows[:TEST], rows[TEST:]
    random.Random(1000 + seed).shuffle(rest)
    by_label: dict[str, list[Example]] = defaultdict(list)
    for row in rest:
        by_label[row.label].append(row)
    lots = [by_label[label] for label in sorted(by_label)]
    chosen = [[lot.pop() for lot in lots] for _ in range(FIRST + DEV)]
    used = {row for turn in chosen for row in turn}
    return Trial(
        seed=seed,
        first=[row for turn in chosen[:FIRST] for row in turn],
        dev=[row for turn in chosen[FIRST:] for row in turn],
        pool=[row for row in rest if row not in used][:POOL],
        test=tested,
    )


async def carry_out(trial: Trial) -> dict[str, Done]:
    """Every way, `pgkd` first: others are given what it spent."""
    done: dict[str, Done] = {}
    for way in WAYS:
        if way.asks is None:
            done[way.name] = drawn(trial, way, done)
        else:
            async with teacher_of(trial) as teacher:
                done[way.name] = await asked(trial, way, teacher, done.get("pgkd"))
    return done


@asynccontextmanager
async def teacher_of(trial: Trial) -> AsyncIterator[OpenTeacher]:
    """The simulated teacher with the trial's pool, and a ledger of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        (base / "pool.jsonl").write_bytes(b"\n".join(orjson.dumps(x._asdict()) for x in trial.pool))
        block = {"jsonl": "pool.jsonl", "text": "text", "label": "label"}
        config = TeacherConfig.model_validate(
            {"simulated": {"world": "pool", "pool": block, "seed": trial.seed}}
        )
        ledger = open_ledger(str(base / "ledger.sqlite"))
        try:
            async with open_teachers(
                {"main": config}, base=base, ledger=ledger, run_id="study", budget=BudgetConfig()
            ) as gateway:
                yield gateway.teachers["main"]
        finally:
            await ledger.close()


async def asked(trial: Trial, way: Way, teacher: OpenTeacher, pgkd_was: Done | None) -> Done:
    """A way that asks the teacher, round by round."""
    done = Done()
    settings = PgkdSettings.model_validate(
        {
            "teacher": "main",
            "text": "text",
            "label": "label",
            "per_row": PER_QUESTION,
            **(way.asks or {}),
        }
    )
    known = {normalised(row.text) for row in trial.first}
    student = learn(trial.first)
    done.said.append(answers(trial, way, done.rows, student))
    last = feedback = look(0, student, held_out(trial.dev))
    for number in range(1, ROUNDS + 1):
        wanted = number * NEW * len(trial.labels)
        await gather(trial, settings, teacher, feedback, done, known, wanted)
        student = learn([*trial.first, *done.rows])
        last, feedback = feedback, look(number, student, held_out(trial.dev))
        done.said.append(answers(trial, way, done.rows, student))
        done.requests.append(teacher.stats.attempts)
        done.tokens.append(tokens_of(teacher))
    if pgkd_was is not None and not way.learns_dev:
        rows = list(done.rows)
        more = Done(rows=rows, given=done.given)
        await gather(trial, settings, teacher, last, more, known, POOL, most=pgkd_was.tokens[-1])
        done.at_cost = len(rows), answers(trial, way, rows)
    return done


async def gather(
    trial: Trial,
    settings: PgkdSettings,
    teacher: OpenTeacher,
    feedback: Feedback,
    done: Done,
    known: set[str],
    wanted: int,
    most: int = 10**9,
) -> None:
    """Ask row after row until there are `wanted` new rows in all, or `most` tokens are spent."""
    prompt = load_prompt(settings.prompt, folders=[shipped_folder("prompts")])
    desk = Desk(
        step="pgkd",
        seed=trial.seed,
        round=feedback.round + 1,
        feedback=feedback,
        teachers={"main": teacher},
        prompts={prompt.name: prompt},
    )
    while len(done.rows) < wanted and tokens_of(teacher) < most:
        turn = teacher.stats.asked
        fields = trial.first[turn % len(trial.first)]._asdict()
        row = source_row("study", [str(turn)], ordinal=turn, fields=fields)
        async for made in pgkd(row, Kit(desk, row.id), settings):
            done.given += 1
            one = Example(str(made.fields["text"]), str(made.fields["label"]))
            if normalised(one.text) not in known and len(done.rows) < wanted:
                known.add(normalised(one.text))
                done.rows.append(one)
        if turn > 50 * wanted:
            raise RuntimeError(f"{settings}: the pool has no more new rows after {turn} questions")


def tokens_of(teacher: OpenTeacher) -> int:
    """What was spent."""
    return teacher.stats.prompt_tokens + teacher.stats.completion_tokens


def drawn(trial: Trial, way: Way, done: Mapping[str, Done]) -> Done:
    """A way that draws from the pool; a row costs what one of a question without feedback does."""
    plain = done["no feedback"]
    per_row = plain.tokens[-1] / (PER_QUESTION * plain.requests[-1])
    at_cost = int(done["pgkd"].tokens[-1] / per_row)
    order = ordered(trial, way, done["pgkd"].rows)
    result = Done(said=[answers(trial, way, [])])
    for number in range(1, ROUNDS + 1):
        result.rows = order[: number * NEW * len(trial.labels)]
        result.said.append(answers(trial, way, result.rows))
        result.requests.append(-(-len(result.rows) // PER_QUESTION))
        result.tokens.append(round(per_row * len(result.rows)))
    result.given = len(result.rows)
    if way.draws != "as pgkd":
        result.at_cost = at_cost, answers(trial, way, order[:at_cost])
    return result


def ordered(trial: Trial, way: Way, like: Sequence[Example]) -> list[Example]:
    """The pool in the order in which a way draws from it."""
    pool = list(trial.pool)
    random.Random(trial.seed + 100).shuffle(pool)
    if way.draws == "as they come":
        return pool
    lots = {label: [row for row in pool if row.label == label] for label in trial.labels}
    if way.draws == "as pgkd":
        return [lots[one.label].pop() for one in like]
    turns = max(map(len, lots.values()))
    return [lot[turn] for turn in range(turns) for lot in lots.values() if turn < len(lot)]


def learn(rows: Sequence[Example]) -> LinearStudent:
    """A student of these rows."""
    model = unfitted(CONFIG)
    model.fit([row.text for row in rows], [row.label for row in rows])
    labels = tuple(map(str, model.classes_))
    return LinearStudent(folder=Path(), fingerprint="", labels=labels, about={}, model=model)


def answers(
    trial: Trial, way: Way, new: Sequence[Example], student: LinearStudent | None = None
) -> list[str]:
    """What the way's student says to the test rows."""
    if way.learns_dev or student is None:
        student = learn([*trial.first, *(trial.dev if way.learns_dev else ()), *new])
    return student.predict([row.text for row in trial.test])


def held_out(rows: Sequence[Example]) -> list[HeldOutRow]:
    """As the product's rounds want them."""
    return [
        HeldOutRow(id=str(place), side="dev", text=row.text, gold=row.label)
        for place, row in enumerate(rows)
    ]


def table(test: Sequence[Example], done: Mapping[str, Sequence[Done]]) -> None:
    """The figures as Markdown."""
    gold = [row.label for row in test]
    last = {name: [one.said[-1] for one in ways] for name, ways in done.items()}
    print(f"nobody asked: {percent(gold, [one.said[0] for one in done['pgkd']])}")
    print(f"nobody asked, dev learnt: {percent(gold, [o.said[0] for o in done[WAYS[-1].name]])}\n")
    print(
        "| way | new rows | requests | tokens | given twice % | accuracy | macro-F1 |"
        " pgkd ahead, accuracy | macro-F1 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, ways in done.items():
        against = "pgkd, dev learnt too" if "dev learnt" in name else "pgkd"
        ahead = "| |" if name == against else leads(gold, last[against], last[name])
        twice = 100 * (1 - sum(len(one.rows) for one in ways) / sum(one.given for one in ways))
        means = [mean(len(o.rows) for o in ways), mean(o.requests[-1] for o in ways)]
        tokens = mean(one.tokens[-1] for one in ways)
        print(
            f"| {name} | {means[0]:.0f} | {means[1]:.0f} | {tokens:,.0f} | {twice:.0f} |"
            f" {percent(gold, last[name])} {ahead}"
        )
    print("\n| at the tokens of pgkd | new rows | accuracy | macro-F1 | pgkd ahead | |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, ways in done.items():
        costs = [one.at_cost for one in ways if one.at_cost is not None]
        if costs:
            against = "pgkd, dev learnt too" if "dev learnt" in name else "pgkd"
            said = [cost[1] for cost in costs]
            print(
                f"| {name} | {mean(cost[0] for cost in costs):.0f} | {percent(gold, said)}"
                f" {leads(gold, last[against], said)}"
            )
    print("\n| way | macro-F1 points over no new rows | tokens for a point |")
    print("| --- | --- | --- |")
    for name, ways in done.items():
        gains = [[macro_f1(gold, one.said[place]) for one in ways] for place in (-1, 0)]
        gain = lead_by_seed(*gains, resamples=DRAWS, seed=0)
        tokens = mean(one.tokens[-1] for one in ways)
        price = f"{tokens / (100 * gain.value):,.0f}" if gain.low > 0 else "the gain may be none"
        print(f"| {name} | {interval(gain, '+')} | {price} |")
    for name in ("pgkd", "any mistakes"):
        counts = Counter(row.label for one in done[name] for row in one.rows)
        print(f"\nnew rows of {name} by label, all seeds:", dict(counts.most_common()), flush=True)


def percent(gold: Sequence[str], said: Sequence[Sequence[str]]) -> str:
    """Accuracy and macro-F1 in per cent with their intervals, as cells."""
    return " | ".join(
        interval(figure([scored(gold, one) for one in said], resamples=DRAWS, seed=0))
        for scored in (accuracy, macro_f1)
    )


def leads(gold: Sequence[str], ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """How far ahead in accuracy and macro-F1, in points, as cells."""
    cells = []
    for metric in (accuracy, macro_f1):
        pair: list[list[Scored]] = [[metric(gold, one) for one in side] for side in (ours, theirs)]
        cells.append(interval(lead_by_seed(*pair, resamples=DRAWS, seed=0), "+"))
    return "| " + " | ".join(cells) + " |"


def interval(one: Any, sign: str = "") -> str:
    """In per cent."""
    return f"{100 * one.value:{sign}.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def mean(values: Any) -> float:
    """Of numbers."""
    numbers = list(values)
    return float(sum(numbers)) / len(numbers)


def panel(name: str, trial: Trial, done: Mapping[str, Sequence[Done]]) -> Panel:
    """Macro-F1 over rows to learn from, a line for each way."""
    gold = [row.label for row in trial.test]
    step = NEW * len(trial.labels)
    curves = [
        Curve(
            name=way.name,
            points=[
                (
                    FIRST * len(trial.labels) + number * step,
                    mean(100 * macro_f1(gold, one.said[number]).value for one in done[way.name]),
                )
                for number in range(ROUNDS + 1)
            ],
        )
        for way in WAYS
        if not way.learns_dev and not way.is_cheaper
    ]
    return Panel(title=name, across="rows to learn from", up="macro-F1 on test, %", curves=curves)


if __name__ == "__main__":
    main()
