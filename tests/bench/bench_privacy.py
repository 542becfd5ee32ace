"""What is found of planted personal data, and how fast: `python tests/bench/bench_privacy.py`.

Precision and recall by kind on texts of our own in six languages, every value invented, each beside
something that looks like personal data and is none; then by language; then false alarms on real
texts where SYNTHKD_DATA has them; then speed, on ordinary texts and on 5 MB of hostile ones against
the same count of letters in 1 MB: what is linear takes five times as long.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from synthkd.curate.privacy.find import find
from synthkd.curate.privacy.patterns import KINDS, recognisers
from tests.curate.privacy.planted import LANGUAGES, Text, innocent, planted
from tests.curate.privacy.test_find import PIECES

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", ROOT / ".." / "shared" / "data"))
ALL = recognisers(KINDS)
EACH, INNOCENT = 100, 10_000
REAL = (
    ("instr_alpaca9k/random_9k", "output"),
    ("instr_alpaca_eval/model_outputs", "output"),
    ("gsm8k/train", "gold_solution"),
    ("cls_banking77/train", "text"),
    ("kg_webnlg_train/train", "sentence"),
    ("docs_wikitext2/valid_articles", "text"),
    ("instr_gpteacher/codegen", "response"),
)


def main() -> None:
    """Print the tables."""
    texts = [*planted(0, EACH), *innocent(0, INNOCENT)]
    print(
        f"{len(texts)} texts, {EACH} for each of {len(KINDS)} kinds and {len(LANGUAGES)} languages"
    )
    _table(KINDS, texts, lambda text, kind: kind)
    _table(LANGUAGES, texts, lambda text, kind: text.language)
    _real()
    _speed(texts)


def _table(names: Sequence[str], texts: Iterable[Text], by: Callable[[Text, str], str]) -> None:
    there: Counter[str] = Counter()
    right: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for text in texts:
        found = {(span.start, span.end, span.kind) for span in find(text.text, ALL)}
        for span in text.spans:
            start, end, kind = span
            there[by(text, kind)] += 1
            right[by(text, kind)] += span in found
            covered[by(text, kind)] += any(a <= start and end <= b for a, b, _ in found)
        for *_, kind in found - set(text.spans):
            wrong[by(text, kind)] += 1
    print(f"{'':<12}{'planted':>8}{'recall':>8}{'covered':>8}{'precision':>10}{'false':>6}")
    for name in names:
        n, hits, misses = there[name], right[name], wrong[name]
        print(
            f"{name:<12}{n:>8}{hits / n:>8.3f}{covered[name] / n:>8.3f}"
            f"{hits / max(hits + misses, 1):>10.3f}{misses:>6}"
        )


def _real() -> None:
    import pyarrow.parquet

    for name, column in REAL:
        path = DATA / f"{name}.parquet"
        if not path.is_file():
            print(f"left out: no {path}")
            continue
        values = pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()
        found = Counter(span.kind for text in values if text for span in find(text, ALL))
        print(f"{name:<34}{len(values):>7} texts: {dict(found)}")


def _speed(texts: Iterable[Text]) -> None:
    whole = [text.text for text in texts]
    size = sum(len(text.encode()) for text in whole)
    start = time.process_time()
    for text in whole:
        find(text, ALL)
    spent = time.process_time() - start
    print(f"texts full of numbers: {size / 1e6 / spent:.2f} MB per CPU second")
    letters = "Nothing to see here, but for a word or two, and no number at all. " * 15_000
    start = time.process_time()
    find(letters, ALL)
    print(
        f"plain prose: {len(letters) / 1e6 / (time.process_time() - start):.1f} MB per CPU second"
    )
    for name, piece in PIECES.items():
        spent_s = []
        for mega in (1, 5):
            text = piece * (mega * 1_000_000 // len(piece))
            start = time.process_time()
            find(text, ALL)
            spent_s.append(time.process_time() - start)
        ratio = spent_s[1] / max(spent_s[0], 1e-3)
        print(
            f"hostile: {name:<14} 1 MB {spent_s[0]:6.2f} s, 5 MB {spent_s[1]:6.2f} s, x{ratio:.1f}"
        )


if __name__ == "__main__":
    main()
