"""Whether forgetting is found, and what keeps it small, on a model of half a million parameters.

    python tests/bench/study_forgetting.py [SEEDS]

The base is made from nothing and learns our 199 general questions by heart; nothing of the world is
in it, so this says how the instrument reads, not how much a real model forgets. Its students learn
to sort tickets (`data/tickets.jsonl`): all weights; adapters (LoRA); all weights, with general
questions among the rows. Each is asked the questions again, and 200 other tickets.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from synthkd.evaluate.classification import accuracy
from synthkd.evaluate.intervals import share_of
from synthkd.evaluate.suite import Item, read_suite
from synthkd.forgetting import ask, compare
from synthkd.manifest import Forgetting, Interval
from synthkd.prompts import shipped_folder
from synthkd.students import kinds
from tests.students.lessons import lesson

DATA = Path(__file__).parent.parent.parent / "data"
BLOCK: dict[str, Any] = {
    "kind": "sft",
    "prompt": "text",
    "completion": "label",
    "batch_size": 16,
    "learning_rate": 3e-3,
    "max_length": 256,
    "max_new_tokens": 24,
    "schedule": "constant",
}
SCRATCH = {"hidden_size": 96, "layers": 3, "heads": 4, "tokenizer": "characters"}
LEARNT, ASKED = 320, 200
WAYS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "adapters": {"lora": {"rank": 8, "alpha": 16}},
    "all weights, general questions too": {"mixed": True},
}


def main() -> None:
    """Print the tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    suite = read_suite(shipped_folder("data") / "general.jsonl")
    general = [{"text": item.prompt, "label": written(item)} for item in suite.items]
    tickets = [orjson.loads(line) for line in (DATA / "tickets.jsonl").read_bytes().splitlines()]
    random.Random(0).shuffle(tickets)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        vocabulary = [{"text": one["text"], "label": one["intent"]} for one in tickets[:LEARNT]]
        # Tickets too, a little: a character that the base has never seen would be no forgetting.
        base = taught(folder / "base", [*general * 8, *vocabulary], epochs=8, scratch=SCRATCH)
        before = ask(base.model, base.tokenizer, suite, 48)
        print(
            "| student | seed | right before, % | change, points | likelihood of a byte, change"
            " | tickets right, % | warnings |"
        )
        print("| --- " * 7 + "|")
        for way, changes in WAYS.items():
            for seed in range(seeds):
                settings = {k: v for k, v in changes.items() if k != "mixed"}
                rows = [*vocabulary, *(general if "mixed" in changes else [])]
                place = folder / f"{way}-{seed}"
                student = taught(
                    place, rows, base=str(base.folder), epochs=3, seed=seed, **settings
                )
                after = ask(student.model, student.tokenizer, suite, 48)
                found = compare(suite, before, after, base="base", resamples=500, seed=0)
                told(way, seed, found, sorted_right(student, tickets[LEARNT : LEARNT + ASKED]))


def written(item: Item) -> str:
    """An answer as a model would write it."""
    match item.type:
        case "json":
            return orjson.dumps(item.answer).decode()
        case "list":
            return ", ".join(item.answer)
        case "lines":
            return "\n".join(item.answer)
        case _:
            return str(item.answer[0] if isinstance(item.answer, list) else item.answer)


def taught(folder: Path, rows: list[dict[str, str]], **changes: Any) -> Any:
    """A student of these rows."""
    made = lesson(folder, {**BLOCK, **changes}, rows)
    kinds.train(made, lambda _: None)
    return kinds.load(made.folder)


def sorted_right(student: Any, tickets: list[dict[str, str]]) -> Interval:
    """How many other tickets it sorts rightly."""
    said = student.predict([one["text"] for one in tickets])
    right = accuracy([one["intent"] for one in tickets], said).value
    return share_of(round(right * len(tickets)), len(tickets))


def told(way: str, seed: int, found: Forgetting, tickets: Interval) -> None:
    """One line."""
    likely = found.likelihood
    assert likely is not None
    cells = [
        way,
        f"{seed}",
        in_percent(found.overall.before),
        in_percent(found.overall.change, "+"),
        in_percent(likely.change, "+"),
        in_percent(tickets),
        "; ".join(found.warnings) or "none",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def in_percent(one: Interval, sign: str = "") -> str:
    """With its interval."""
    return f"{100 * one.value:{sign}.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


if __name__ == "__main__":
    main()
