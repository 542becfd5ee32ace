"""How often the checks of `dialogue` are wrong about a turn, on texts that people and models wrote.

    nice -n 10 python tests/bench/study_talk_faults.py

What people ask must not be told from a user's turn; what models answer, taken for a user's turn, is
a changed role and should be; and answers as the assistant's turns must pass. Recorded texts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from synthkd.evaluate.intervals import share_of
from synthkd.recipes.talk import turn_fault

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
SHOWN = 2
Texts = Callable[[Mapping[str, Any]], Iterable[str]]


def main() -> None:
    """Print a line for each kind of text."""
    print("| texts | taken for | n | told % | by reason | above 600, 1,000 characters % |")
    for name, role, texts in [
        (
            "asked: AlpacaEval",
            "user",
            read("instr_alpaca_eval/model_outputs", field("instruction")),
        ),
        ("asked: MT-bench, both turns", "user", read("instr_mtbench/questions", turns)),
        ("asked: Alpaca 9k", "user", read("instr_alpaca9k/*", field("instruction"))),
        (
            "answered: AlpacaEval",
            "assistant",
            read("instr_alpaca_eval/model_outputs", field("output")),
        ),
        ("answered: MT-bench", "assistant", read("instr_mtbench/answers", turns)),
        ("answered: AlpacaEval", "user", read("instr_alpaca_eval/model_outputs", field("output"))),
    ]:
        faults = [(fault, text) for text in texts if (fault := turn_fault(text, role, []))]
        share = share_of(len(faults), len(texts))
        reasons = Counter(fault.reason for fault, _ in faults)
        told = f"{100 * share.value:.2f} [{100 * share.low:.2f}, {100 * share.high:.2f}]"
        long = [100 * sum(len(text) > most for text in texts) / len(texts) for most in (600, 1000)]
        print(
            f"| {name} | {role} | {len(texts)} | {told} | {dict(reasons)} |"
            f" {long[0]:.1f}, {long[1]:.1f} |"
        )
        for fault, _ in faults[:SHOWN]:
            print(f"    {fault.detail[:150]!r}")


def read(pattern: str, texts: Texts) -> list[str]:
    """The different texts of a file, in order."""
    import pyarrow.parquet as pq

    files = sorted(DATA.glob(f"{pattern}.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return [text for text in dict.fromkeys(t for row in rows for t in texts(row)) if text.strip()]


def field(name: str) -> Texts:
    """The text of a column."""
    return lambda row: [row[name] or ""]


def turns(row: Mapping[str, Any]) -> Iterable[str]:
    """The texts of a list."""
    return list(row["turns"])


if __name__ == "__main__":
    main()
