"""Whether a student is better for questions that have no answer, and for which ones.

    python -m tests.bench.study_ner_student

The teacher is SIMULATED: gold of the train files with known noise (`study_ner`: 5 % each dropped,
shifted, mistyped, invented), grounded as `ner.ground` does it. `ner.conversation` makes the
questions, one a type: without negatives, with negatives drawn all alike or by frequency (one for
each question with an answer), or about all types that a text does not have.

The student answers one question at a time: which tokens of the text begin or go on a mention of
this type? It is a linear classifier (scikit-learn, logistic loss by SGD) of hashed features of a
token and its neighbours, each alone and together with the type asked for. A fifth of the train
texts is kept from it: how much "outside" is preferred is also chosen there, for the best F1 against
the teacher about all types ("tuned"), so that ways which differ only in how readily the student
answers can be told from those that teach more.

On the dev files every text is asked about every type: strict F1 of spans, three seeds (of noise,
negatives and student). Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends
well without.
"""

from __future__ import annotations

import random
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier

from synthkd.curate.ner.conversation import ConversationSettings, conversation
from synthkd.desk import Desk
from synthkd.evaluate.extraction import span_f1
from synthkd.evaluate.paired import figure, lead_by_seed
from synthkd.evaluate.scored import Scored
from synthkd.io.spool import RowSpool, Table
from synthkd.manifest import Difference, Interval
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit
from tests.bench.study_ner import DATA, Span, Text, ground, load, noised

SEEDS = (0, 1, 2)
FILES: Mapping[str, tuple[str, str]] = {
    "CrossNER ai": ("ner_crossner/ai_train", "ner_crossner/ai_dev"),
    "CrossNER music": ("ner_crossner/music_train", "ner_crossner/music_dev"),
    "CrossNER science": ("ner_crossner/science_train", "ner_crossner/science_dev"),
    "WNUT17": ("ner_wnut17/train", "ner_wnut17/dev"),
    "NCBI disease": ("ner_ncbi_disease/train", "ner_ncbi_disease/devel"),
}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "none": {"negatives": "none"},
    "uniform": {"negatives": "uniform"},
    "frequency": {"negatives": "frequency"},
    "all": {"negatives": "frequency", "per_question": 100, "at_most": 1000},
}
WIDTH = 2**20
"""Hashed features."""
EPOCHS = 8
OFFSETS = tuple(n / 10 for n in range(-20, 21))
"""What is added to the odds of "outside", by their spread; 0 is the student's own choice."""
FIFTH = 5
OUTSIDE, BEGINS, GOES_ON = 0, 1, 2

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question about a text, and the places of its answer."""

    text: int
    kind: str
    spans: Sequence[Span] = ()


class Tokens:
    """The features of all tokens of some texts, hashed once."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        self.features: list[Ints] = []
        for one in texts:
            words = [one.text[start:end] for start, end in one.tokens]
            rows = [_features(words, at) for at in range(len(words))]
            self.features.append(np.array(rows, dtype=np.int64).reshape(len(words), -1))

    def matrix(self, asked: Sequence[Asked], kinds: Mapping[str, int]) -> csr_matrix:
        """(n_tokens of all questions, WIDTH) ones: each feature alone, and with the type."""
        parts = []
        for one in asked:
            alone = self.features[one.text]
            with_kind = (alone * 31 + 1 + 7919 * (1 + kinds[one.kind])) * 2654435761
            parts.append(np.hstack([alone % WIDTH, (with_kind >> 7) % WIDTH]))
        indices = np.vstack(parts)
        starts = np.arange(0, indices.size + 1, indices.shape[1])
        ones = np.ones(indices.size, dtype=np.float32)
        return csr_matrix((ones, indices.ravel(), starts), shape=(len(indices), WIDTH))

    def labels(self, asked: Sequence[Asked]) -> NDArray[np.int8]:
        """What each token of each question is to be."""
        parts = []
        for one in asked:
            tokens = self.texts[one.text].tokens
            told = np.zeros(len(tokens), dtype=np.int8)
            for start, end, _ in one.spans:
                within = [at for at, (s, e) in enumerate(tokens) if s < end and e > start]
                told[within] = GOES_ON
                told[within[:1]] = BEGINS
            parts.append(told)
        return np.concatenate(parts)

    def spans(self, asked: Sequence[Asked], told: NDArray[Any]) -> list[list[dict[str, Any]]]:
        """The spans of each text, of all its questions."""
        found: list[list[dict[str, Any]]] = [[] for _ in self.texts]
        at = 0
        for one in asked:
            tokens = self.texts[one.text].tokens
            begun: int | None = None
            for place in range(len(tokens) + 1):
                mark = OUTSIDE if place == len(tokens) else told[at + place]
                if begun is not None and mark != GOES_ON:
                    start, end = tokens[begun][0], tokens[place - 1][1]
                    found[one.text].append({"start": start, "end": end, "label": one.kind})
                    begun = None
                if mark == BEGINS or (mark == GOES_ON and begun is None):
                    begun = place
            at += len(tokens)
        return found


def _features(words: Sequence[str], at: int) -> list[int]:
    """Numbers of what a token and its neighbours look like."""
    word = words[at]
    low = word.lower()
    around = {gap: _word(words, at + gap) for gap in (-2, -1, 1, 2)}
    said = [
        *(f"w{gap}={near.lower()}" for gap, near in around.items()),
        *(f"s{gap}={_shape(near)}" for gap, near in around.items()),
        *("always", f"w={low}", f"s={_shape(word)}", f"3<{low[:3]}", f"2<{low[:2]}"),
        *(f"3>{low[-3:]}", f"2>{low[-2:]}", f"4>{low[-4:]}", f"l={min(len(word), 8)}"),
        *(f"b={around[-1].lower()} {low}", f"n={low} {around[1].lower()}"),
        *(f"p3={around[-1].lower()[-3:]}", f"n3={around[1].lower()[-3:]}"),
        f"ss={_shape(around[-1])} {_shape(word)} {_shape(around[1])}",
    ]
    return [zlib.crc32(one.encode()) for one in said]


def _word(words: Sequence[str], at: int) -> str:
    return words[at] if 0 <= at < len(words) else "<>"


def _shape(word: str) -> str:
    """Capitals, small letters and digits, each run once."""
    marks = [
        "X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else c for c in word
    ]
    return "".join(m for at, m in enumerate(marks) if at == 0 or marks[at - 1] != m)[:8]


def questions(
    texts: Sequence[Text], told: Sequence[Sequence[Span]], way: str, seed: int
) -> list[Asked]:
    """What `ner.conversation` asks, with the places of the answers."""
    rows = [
        source_row(
            "study",
            [place],
            ordinal=place,
            fields={
                "text": one.text,
                "mentions": [{"text": one.text[s:e], "type": kind} for s, e, kind in spans],
            },
        )
        for place, (one, spans) in enumerate(zip(texts, told, strict=True))
    ]
    kit = TableKit(Desk(step="ner.conversation", seed=seed))
    config = ConversationSettings.model_validate(WAYS[way])
    asked: list[Asked] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        RowSpool.of(Path(scratch) / "rows", rows) as spool,
    ):
        for row in conversation(Table(spool), kit, config):
            (place,) = row.order
            for one in row.fields["questions"]:  # type: ignore[union-attr]
                kind = str(one["type"])  # type: ignore[index,call-overload]
                spans = [span for span in told[place] if span[2] == kind]
                asked.append(Asked(text=place, kind=kind, spans=spans))
    return asked


def learnt(
    train: Tokens, asked: Sequence[Asked], kinds: Mapping[str, int], seed: int
) -> SGDClassifier:
    """A student of these questions."""
    model = SGDClassifier(
        loss="log_loss", alpha=2e-6, max_iter=EPOCHS, tol=None, average=True, random_state=seed
    )
    return model.fit(train.matrix(asked, kinds), train.labels(asked))


def with_offset(odds: NDArray[np.float64], offset: float) -> NDArray[np.int64]:
    """(n_tokens,) the marks, with so many times the spread more for "outside"."""
    more = offset * float(np.std(odds[:, OUTSIDE]))
    moved: NDArray[np.int64] = np.argmax(odds + np.array([more, 0.0, 0.0]), axis=1)
    return moved


def as_json(spans: Sequence[Span]) -> Json:
    """As `span_f1` takes them."""
    return [{"start": start, "end": end, "label": kind} for start, end, kind in spans]


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of one way, by seed."""

    asked: int = 0
    plain: list[Scored] = field(default_factory=list)
    tuned: list[Scored] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)


def one_seed(
    train: Tokens, test: Tokens, kinds: Mapping[str, int], seed: int, results: dict[str, Result]
) -> None:
    """All ways from one noise."""
    said, _ = noised(train.texts, random.Random(seed))
    pairs = zip(said, train.texts, strict=True)
    told = [ground(names, one.text, every=True, longest=True) for names, one in pairs]
    kept = {at for at in range(len(told)) if at % FIFTH == seed}
    held = [at for at in range(len(told)) if at in kept]
    every = [Asked(text=at, kind=kind) for at in range(len(test.texts)) for kind in kinds]
    look = [Asked(text=at, kind=kind) for at in held for kind in kinds]
    gold = [as_json(one.gold) for one in test.texts]
    wanted = [as_json(told[at]) for at in held]
    shown, looked = test.matrix(every, kinds), train.matrix(look, kinds)
    for way, result in results.items():
        asked = [one for one in questions(train.texts, told, way, seed) if one.text not in kept]
        result.asked = len(asked)
        model = learnt(train, asked, kinds, seed)
        odds = model.decision_function(looked)

        def f1_with(offset: float, odds: NDArray[np.float64] = odds) -> float:
            spans = train.spans(look, with_offset(odds, offset))
            return span_f1(wanted, [spans[at] for at in held]).value

        best = max(OFFSETS, key=f1_with)
        odds = model.decision_function(shown)
        given = test.spans(every, with_offset(odds, 0.0))
        result.plain.append(span_f1(gold, given))
        result.tuned.append(span_f1(gold, test.spans(every, with_offset(odds, best))))
        hits = sum(
            len({*one.gold} & {(s["start"], s["end"], s["label"]) for s in spans})
            for one, spans in zip(test.texts, given, strict=True)
        )
        result.precision.append(hits / max(1, sum(map(len, given))))
        result.recall.append(hits / sum(len({*one.gold}) for one in test.texts))


def report(name: str) -> None:
    """One data set."""
    train, test = (Tokens(load([file])) for file in FILES[name])
    names = sorted({kind for one in (*train.texts, *test.texts) for _, _, kind in one.gold})
    kinds = {kind: number for number, kind in enumerate(names)}
    results = {way: Result() for way in WAYS if len(kinds) > 1 or way in ("none", "frequency")}
    for seed in SEEDS:
        one_seed(train, test, kinds, seed, results)
    for way, result in results.items():
        plain, tuned = (
            figure(scored, resamples=500, seed=0) for scored in (result.plain, result.tuned)
        )
        print(
            f"| {name} | {way} | {result.asked:,} | {100 * fmean(result.precision):.1f} |"
            f" {100 * fmean(result.recall):.1f} | {_told(plain)} | {_told(tuned)} |",
            flush=True,
        )
    for other in results:
        if other != "frequency":
            leads = [
                _lead(results["frequency"].plain, results[other].plain),
                _lead(results["frequency"].tuned, results[other].tuned),
            ]
            told = " | ".join(leads)
            print(f"| {name} | frequency ahead of {other} | | | | {told} |", flush=True)


def _lead(ours: Sequence[Scored], theirs: Sequence[Scored]) -> str:
    return _told(lead_by_seed(ours, theirs, resamples=500, seed=0))


def _told(found: Interval | Difference) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    """All data sets."""
    if not (DATA / "ner_crossner").is_dir():
        print(f"no data at {DATA}: set SYNTHKD_DATA")
        return
    heads = ["", "negatives", "questions", "precision", "recall", "F1", "F1, tuned"]
    print(f"| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    began = time.process_time()
    for name in FILES:
        report(name)
    print(f"{time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
