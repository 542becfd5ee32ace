"""Whether mentions without offsets find back to their places, on gold of four data sets.

    python tests/bench/study_ner.py

1. Gold mentions as (text, type) alone, placed in their text by what `ner.ground` does, against the
   spans of gold: strict precision, recall and F1, by setting and data set.
2. A teacher with known noise: each gold mention is dropped, shifted (a token less or more),
   mistyped or invented (taken from another row; its letters do not stand in this one) with a
   probability of 5 % each: how many go, precision of (mention, type) before and after, and strict
   figures of the spans.
3. Negatives: the share of questions without an answer by type, drawn by frequency and all alike.
4. Speed.

Needs the data of SYNTHKD_DATA (default ../shared/data); says so and ends well without. Intervals:
`synthkd.evaluate.paired.figure`, over rows.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from synthkd.curate.ner.conversation import Drawing
from synthkd.evaluate.extraction import span_f1
from synthkd.evaluate.paired import figure
from synthkd.graphs.ground import stands_in
from synthkd.graphs.spotting import apart, occurrences
from synthkd.rows import Json

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
FILES = {
    "CrossNER ai": ("ner_crossner/ai_train", "ner_crossner/ai_dev"),
    "CrossNER music": ("ner_crossner/music_train", "ner_crossner/music_dev"),
    "CrossNER science": ("ner_crossner/science_train", "ner_crossner/science_dev"),
    "WNUT17": ("ner_wnut17/train", "ner_wnut17/dev"),
    "NCBI disease": ("ner_ncbi_disease/train", "ner_ncbi_disease/devel"),
    "Restaurant8k": ("ner_restaurant8k/train",),
}
WAYS: Mapping[str, tuple[bool, bool]] = {
    "every place, longest": (True, True),
    "first place, longest": (False, True),
    "every place, all": (True, False),
}
MISTAKES = ("dropped", "shifted", "mistyped", "invented")
EACH = 0.05
"""The probability of each mistake."""

Span = tuple[int, int, str]
Said = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A row of a data set."""

    text: str
    gold: Sequence[Span]
    tokens: Sequence[tuple[int, int]]
    """Start and end of each."""

    @property
    def said(self) -> list[Said]:
        """The mentions as a teacher would say them: each once, without offsets."""
        return list(dict.fromkeys((self.text[start:end], kind) for start, end, kind in self.gold))


def load(files: Sequence[str]) -> list[Text]:
    """The rows of a data set, with spans in characters."""
    texts: list[Text] = []
    for file in files:
        for row in pq.read_table(DATA / f"{file}.parquet").to_pylist():
            tokens = _tokens(row["text"], row.get("tokens") or row["text"].split())
            gold: list[Span] = []
            for one in json.loads(row["entities"]):
                start, end = one["start"], one["end"]
                if "tokens" in row:  # offsets of tokens
                    start, end = tokens[start][0], tokens[end - 1][1]
                gold.append((start, end, one.get("type") or one["slot"]))
            texts.append(Text(text=row["text"], gold=gold, tokens=tokens))
    return texts


def _tokens(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    for word in words:
        start = text.index(word, at)
        at = start + len(word)
        found.append((start, at))
    return found


def ground(said: Sequence[Said], text: str, *, every: bool, longest: bool) -> list[Span]:
    """What `ner.ground` does."""
    spans: dict[Span, None] = {}
    for name, kind in said:
        found = occurrences(name, text)
        for place in found if every else found[:1]:
            spans.setdefault((place.start, place.end, kind))
    listed = list(spans)
    if longest:
        listed = [listed[at] for at in apart([(s, e) for s, e, _ in listed], len(text))]
    return listed


def shown(gold: Sequence[Sequence[Span]], given: Sequence[Sequence[Span]]) -> str:
    """Precision, recall, F1 with its interval, in percent."""
    hits = sum(len(set(g) & set(s)) for g, s in zip(gold, given, strict=True))
    named, wanted = sum(map(len, given)), sum(len(set(one)) for one in gold)
    told = figure([span_f1(_json(gold), _json(given))], resamples=500, seed=0)
    ends = f"[{100 * told.low:.1f}, {100 * told.high:.1f}]"
    precision, recall = 100 * hits / max(1, named), 100 * hits / wanted
    return f"{precision:6.2f} {recall:6.2f} {100 * told.value:6.2f} {ends}"


def _json(rows: Sequence[Sequence[Span]]) -> list[Json]:
    return [[{"start": s, "end": e, "label": k} for s, e, k in row] for row in rows]


def recovered(name: str, texts: Sequence[Text]) -> None:
    """Part 1."""
    gold = [one.gold for one in texts]
    for way, (every, longest) in WAYS.items():
        given = [ground(one.said, one.text, every=every, longest=longest) for one in texts]
        print(f"{name:17} {way:21} {shown(gold, given)}")
    spans = sum(map(len, gold))
    print(f"{name:17} {len(texts)} texts, {spans} spans; of gold not found: {lost(texts)}")


def lost(texts: Sequence[Text]) -> dict[str, int]:
    """Why spans of gold are not found by every place, longest first."""
    why: Counter[str] = Counter()
    for one in texts:
        given = set(ground(one.said, one.text, every=True, longest=True))
        for start, end, _ in set(one.gold) - given:
            places = {(p.start, p.end) for p in occurrences(one.text[start:end], one.text)}
            if (start, end) not in places:
                why["not at the edges of words"] += 1
            elif any((s, e) == (start, end) for s, e, _ in given):
                why["another type there"] += 1
            else:
                why["within a longer one"] += 1
    return dict(why)


def noised(texts: Sequence[Text], rng: random.Random) -> tuple[list[list[Said]], Counter[str]]:
    """What a teacher says with known noise, and how often each kind is."""
    pool = [said for one in texts for said in one.said]
    kinds = sorted({kind for _, kind in pool})
    told: list[list[Said]] = []
    counts: Counter[str] = Counter()
    for one in texts:
        names: list[Said] = []
        for said in one.said:
            name, kind = said
            mistake = (*MISTAKES, "as gold")[min(len(MISTAKES), int(rng.random() / EACH))]
            if mistake == "mistyped" and len(kinds) == 1:
                mistake = "as gold"
            counts[mistake] += 1
            if mistake == "shifted":
                names.append((_shifted(name, one, rng), kind))
            elif mistake == "mistyped":
                names.append((name, rng.choice([other for other in kinds if other != kind])))
            elif mistake == "invented":
                names.append(_invented(pool, one.text, rng))
            elif mistake != "dropped":
                names.append(said)
        told.append(names)
    return told, counts


def _shifted(name: str, one: Text, rng: random.Random) -> str:
    """A token less at one end, or one more before it, as it stands in the text."""
    start = next(s for s, e, _ in one.gold if one.text[s:e] == name)
    end = start + len(name)
    within = [span for span in one.tokens if span[0] >= start and span[1] <= end]
    if len(within) > 1:
        first, last = within[1][0], within[-2][1]
        return one.text[first:end] if rng.random() < 1 / 2 else one.text[start:last]
    before = [span for span in one.tokens if span[1] <= start]
    return one.text[before[-1][0] : end] if before else name


def _invented(pool: Sequence[Said], text: str, rng: random.Random) -> Said:
    while stands_in((said := rng.choice(pool))[0], text):
        pass
    return said


def noise(name: str, texts: Sequence[Text]) -> None:
    """Part 2."""
    told, counts = noised(texts, random.Random(11))
    gold = [one.gold for one in texts]
    pairs = list(zip(told, texts, strict=True))
    given = [ground(said, one.text, every=True, longest=True) for said, one in pairs]
    said = [(one, mention) for names, one in pairs for mention in names]
    left = [(one, mention) for one, mention in said if occurrences(mention[0], one.text)]
    right = sum(mention in one.said for one, mention in said)
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    before, after = 100 * right / len(said), 100 * right / len(left)
    print(f"{name:17} {kinds}; {len(said) - len(left)} not in the text")
    print(f"{name:17} mentions {before:.1f} -> {after:.1f}; spans {shown(gold, given)}")


def negatives(name: str, texts: Sequence[Text]) -> None:
    """Part 3."""
    counts = Counter(kind for one in texts for _, kind in one.said)
    rng = random.Random(11)
    for uniform in (False, True):
        drawing, drawn = Drawing(counts, uniform=uniform), Counter[str]()
        for one in texts:
            present = {kind for _, kind in one.said}
            drawn.update(drawing.draw(rng, present, max(1, len(present))))
        total, way = drawn.total(), "uniform" if uniform else "frequency"
        top = ", ".join(f"{kind} {100 * n / total:.0f}" for kind, n in drawn.most_common(3))
        print(f"{name:17} {way:9} {total} questions, %: {top}")


def main() -> None:
    """All four."""
    if not (DATA / "ner_crossner").is_dir():
        print(f"no data at {DATA}: set SYNTHKD_DATA")
        return
    sets = {name: load(files) for name, files in FILES.items()}
    print("1. gold without offsets, placed: precision recall F1, %")
    for name, texts in sets.items():
        recovered(name, texts)
    print("2. known noise")
    for name, texts in sets.items():
        noise(name, texts)
    print("3. questions without an answer")
    for name, texts in sets.items():
        negatives(name, texts)
    start, words = time.process_time(), 0
    for texts in sets.values():
        for one in texts:
            ground(one.said, one.text, every=True, longest=True)
            words += len(one.tokens)
    print(f"4. {words} words placed in {time.process_time() - start:.2f} s of CPU")


if __name__ == "__main__":
    main()
