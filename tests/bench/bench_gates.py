"""What gates throw out of good texts, and what they find: `python tests/bench/bench_gates.py`.

Where SYNTHKD_DATA has them, texts of people and of good teachers go through every gate at its
defaults: what is rejected is a false alarm, but for the answers of models, in which there are real
refusals and loops. Then what is planted: texts cut at a word, loops at the end, refusals and texts
in other languages of our own. Speed is CPU microseconds a text.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from synthkd.curate.gates.form import python_fault
from synthkd.curate.gates.language import LanguageConfig, is_other
from synthkd.curate.gates.leak import PATTERNS, leaked
from synthkd.curate.gates.refusal import refusal_in
from synthkd.curate.gates.repetition import ending_loop, repeated_share
from synthkd.curate.gates.truncated import sign_of_a_cut
from tests.curate.language_texts import TEXTS

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
MOST = 4_000
"""Texts of each set."""

SETS: Mapping[str, tuple[str, str]] = {
    "gsm8k, people's solutions": ("gsm8k/train", "gold_solution"),
    "banking77, people's questions": ("cls_banking77/train", "text"),
    "trec, people's questions": ("cls_trec/train", "text"),
    "snips, people's commands": ("cls_snips/train", "text"),
    "alpaca seeds, people's answers": ("instr_alpaca9k/seed_tasks_175", "output"),
    "alpaca, chosen by a judge": ("instr_alpaca9k/claude_t45_selected", "output"),
    "alpaca, at random": ("instr_alpaca9k/random_9k", "output"),
    "gpteacher roleplay": ("instr_gpteacher/roleplay", "response"),
    "code alpaca": ("instr_codealpaca/code_alpaca_2k", "output"),
    "alpaca_eval, 12 models": ("instr_alpaca_eval/model_outputs", "output"),
    "pandalm, small models": ("judge_pandalm/test999", "response1"),
}
ENGLISH = LanguageConfig(field="text", languages=["en"])
GATES: Mapping[str, Callable[[str], object]] = {
    "language": lambda text: is_other(text, ENGLISH),
    "refusal": refusal_in,
    "repetition": lambda text: (
        ending_loop(text) or repeated_share(text, words=8, min_words=50) > 0.4
    ),
    "truncated": sign_of_a_cut,
    "need_stop": lambda text: sign_of_a_cut(text, need_stop=True),
    "leak": lambda text: any(leaked(text, kind) for kind in PATTERNS),
}


def main() -> None:
    """Print a table of shares rejected, one of what is found, and one of speed."""
    texts = {name: _texts(*where) for name, where in SETS.items()}
    texts = {name: found for name, found in texts.items() if found}
    print("share rejected (%)" + " " * 22 + "texts " + " ".join(f"{name:>10}" for name in GATES))
    spent = dict.fromkeys(GATES, 0.0)
    for name, found in texts.items():
        shares = []
        for gate, rejects in GATES.items():
            start = time.process_time()
            shares.append(100 * sum(bool(rejects(text)) for text in found) / len(found))
            spent[gate] += time.process_time() - start
        print(f"{name:<38} {len(found):>6} " + " ".join(f"{share:10.2f}" for share in shares))
    read = sum(map(len, texts.values()))
    for gate, seconds in spent.items():
        print(f"{gate:<12} {1e6 * seconds / max(read, 1):8.1f} us a text")
    _cut(texts)
    _looped(texts)
    _languages()
    _code()


def _texts(file: str, column: str) -> Sequence[str]:
    import pyarrow.parquet

    path = DATA / f"{file}.parquet"
    if not path.is_file():
        print(f"left out: no {path}")
        return []
    values = pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()
    return [value for value in values if value][:MOST]


def _cut(texts: Mapping[str, Sequence[str]]) -> None:
    """Cut at a word, past a third of the text, as max_tokens cuts."""
    rng = random.Random(3)
    for name, found in texts.items():
        cut = [
            text[: rng.randrange(len(text) // 3, len(text))].rpartition(" ")[0]
            for text in found
            if len(text) > 60
        ]
        if cut:
            seen, stop = (
                sum(bool(GATES[gate](text)) for text in cut) / len(cut)
                for gate in ("truncated", "need_stop")
            )
            print(f"cut: {name:<38} {len(cut):>6} found {seen:.2f}, need_stop {stop:.2f}")


def _looped(texts: Mapping[str, Sequence[str]]) -> None:
    """A chunk of the text's end, repeated to 400 to 3,000 characters."""
    rng = random.Random(5)
    for name, found in texts.items():
        long = [text for text in found if len(text) > 120]
        looped = [text + text[-rng.randrange(4, 50) :] * rng.randrange(60, 90) for text in long]
        if looped:
            seen = sum(bool(GATES["repetition"](text)) for text in looped) / len(looped)
            print(f"looped: {name:<38} {len(looped):>6} found {seen:.3f}")


def _languages() -> None:
    wrong, missed, other = [], [], 0
    for code, each in TEXTS.items():
        own = LanguageConfig(field="text", languages=[code])
        wrong += [text for text in each if is_other(text, own)]
        if code != "en":
            other += len(each)
            missed += [text for text in each if not is_other(text, ENGLISH)]
    whole = sum(map(len, TEXTS.values()))
    print(f"{len(wrong)} of {whole} texts in {len(TEXTS)} languages thrown out by their own gate,")
    print(f"  {len(missed)} of {other} let through by the gate for English: {missed}")


def _code() -> None:
    import pyarrow.parquet

    path = DATA / "code_humaneval" / "problems.parquet"
    if path.is_file():
        rows = pyarrow.parquet.read_table(path).to_pylist()
        faults = [python_fault(row["prompt"] + row["canonical_solution"]) for row in rows]
        print(
            f"humaneval solutions: {sum(f is not None for f in faults)} of {len(faults)} not parsed"
        )


if __name__ == "__main__":
    main()
