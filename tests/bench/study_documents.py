"""How well words alone tell an answer that its passage bears out from one that it does not.

    python tests/bench/study_documents.py

1. False alarms of the check of answers: of texts that people wrote of the same facts (WebNLG: two
   texts of the same triples; MSRP: pairs that people call paraphrases) one is the passage and the
   other the answer. Nothing is planted.
2. Planted false answers: the same answers with one number or one name made another, with head and
   tail of a triple in each other's place, or of another passage of the same category; and sentences
   of Wikipedia (WikiText-2) and of two books, held against their own passage of 256 tokens, with
   one number or one name made another.
3. Questions: false alarms on what people asked (TREC, GSM8K), and phrases that point outside,
   planted into TREC questions; some phrases stand in our lists and some do not.
4. Simulated teachers that err on purpose (pipelines/documents_qa.yaml): how many of the pairs that
   are left are true, without the checks' judge and with it.

Parts 1 to 3 need the data of SYNTHKD_DATA (default ../shared/data); without, they say so.
Intervals: exact, 95 %.
"""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from synthkd.evaluate.intervals import share_of
from synthkd.graphs.passages import passages, sentences
from synthkd.io.rows_file import read_rows
from synthkd.manifest import Interval
from synthkd.pipeline import Pipeline
from synthkd.recipes.documents.held import hold, names_in
from synthkd.recipes.documents.languages import language_of
from synthkd.recipes.documents.pointing import points_outside
from synthkd.rows import Row
from synthkd.teachers.simulated.instructions.documents import known

DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
SHARES = (0.4, 0.5, 0.6, 0.7, 0.8)
DEFAULT = 0.6
EACH = 1000
"""Pairs of each kind, at most."""
LISTED = (
    "According to the passage, {q}",
    "{q} (as mentioned in the text)",
    "Based on this article, {q}",
    "As described above, {q}",
    "In the author's view, {q}",
    "With regard to Figure 2, {q}",
)
UNLISTED = (
    "Going by what we just read, {q}",
    "Looking at the lines quoted, {q}",
    "{q} Use the facts from before.",
    "{q} Answer from the material.",
    "In the reading, {q}",
    "Per the handout, {q}",
    "{q} (see the lesson)",
    "From what is given, {q}",
)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer and the passage that it is held against."""

    passage: str
    answer: str
    triples: tuple[tuple[str, str, str], ...] = ()
    kind: str = ""


def reason(one: Told, share: float) -> str | None:
    """What the check would say, without what it says of wording; as in `pair._not_held`."""
    held = hold(one.answer, one.passage, language="en")
    if held.numbers:
        return "number"
    if held.names:
        return "name"
    return "share" if held.share < share else None


def rate(pairs: Sequence[Told], share: float = DEFAULT) -> str:
    """The share that is refused, with its interval and what for."""
    found = Counter(reason(one, share) for one in pairs)
    refused = len(pairs) - found[None]
    told = share_of(refused, len(pairs))
    why = ", ".join(f"{name} {found[name]}" for name in ("number", "name", "share"))
    return f"{shown(told)} of {len(pairs):5}   ({why})"


def shown(told: Interval) -> str:
    """In percent."""
    return f"{100 * told.value:5.1f} % [{100 * told.low:.1f}, {100 * told.high:.1f}]"


# --- what is held


def webnlg(rng: random.Random) -> list[Told]:
    """Two texts of the same triples, two of each set of triples."""
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in pq.read_table(DATA / "kg_webnlg_train/train.parquet").to_pylist():
        groups[row["gold_triples"]].append(row)
    pairs = []
    for rows in groups.values():
        if len(rows) > 1:
            one, other = rng.sample(rows, 2)
            triples = tuple(
                (head.replace("_", " "), relation, tail.replace("_", " "))
                for head, relation, tail in json.loads(one["gold_triples"])
            )
            pairs.append(Told(one["sentence"], other["sentence"], triples, one["category"]))
    return rng.sample(pairs, EACH)


def msrp(rng: random.Random) -> list[Told]:
    """What people call paraphrases."""
    rows = pq.read_table(DATA / "dedup_msrp/train.parquet").to_pylist()
    pairs = [Told(row["text1"], row["text2"]) for row in rows if str(row["label"]) == "1"]
    return rng.sample(pairs, min(EACH, len(pairs)))


def own_sentences(texts: Iterable[str], rng: random.Random) -> list[Told]:
    """Sentences, each with the passage that it stands in."""
    pairs = []
    for text in texts:
        for start, end in passages(text, 256):
            passage = text[start:end]
            for a, b in sentences(passage):
                if 8 <= len(passage[a:b].split()) <= 40:
                    pairs.append(Told(passage, passage[a:b]))
    return rng.sample(pairs, min(4 * EACH, len(pairs)))


def wikitext() -> list[str]:
    """Articles, with the marks of their tokenisation taken out."""
    rows = pq.read_table(DATA / "docs_wikitext2/valid_articles.parquet").to_pylist()
    cleaned = (re.sub(r" @([.,-])@ ", r"\1", row["text"]).replace("<unk>", "") for row in rows)
    return [re.sub(r" ([.,;:)])", r"\1", text) for text in cleaned]


def books() -> list[str]:
    """Two books."""
    return [path.read_text("utf-8") for path in sorted((DATA / "docs_books").glob("*.txt"))]


# --- what is planted; None = there is nothing to make false


def other_number(one: Told, others: Sequence[Told], rng: random.Random) -> str | None:
    """One number made another, which the passage may have elsewhere."""
    places = list(re.finditer(r"(?<![\w.,])\d{1,4}(?![\w,]|\.\d)", one.answer))
    if not places:
        return None
    place = rng.choice(places)
    other = int(place[0]) + rng.choice((-3, -2, -1, 1, 2, 3, 10))
    return one.answer[: place.start()] + str(abs(other)) + one.answer[place.end() :]


def other_name(one: Told, others: Sequence[Told], rng: random.Random) -> str | None:
    """One name made one of another text, which the passage may have elsewhere."""
    english = language_of("en")
    mine = [word for name in names_in(one.answer, english) for word in name if len(word) > 1]
    other = rng.choice(others).answer
    theirs = [word for name in names_in(other, english) for word in name if len(word) > 1]
    if not mine or not theirs or (new := rng.choice(theirs)) in one.answer:
        return None
    return re.sub(rf"\b{re.escape(rng.choice(mine))}\b", new, one.answer, count=1)


def other_passage(one: Told, others: Sequence[Told], rng: random.Random) -> str | None:
    """The text of another passage, of the same category where there are categories."""
    return rng.choice([other for other in others if other.kind == one.kind]).answer


def turned(one: Told, others: Sequence[Told], rng: random.Random) -> str | None:
    """Head and tail of a triple in each other's place: who did what to whom."""
    for head, _, tail in one.triples:
        if head in one.answer and tail in one.answer and not set(head) <= set(tail):
            swapped = one.answer.replace(head, "\0").replace(tail, head).replace("\0", tail)
            if swapped != one.answer:
                return swapped
    return None


Plant = Callable[[Told, Sequence[Told], random.Random], str | None]


def planted(pairs: Sequence[Told], plant: Plant, rng: random.Random) -> list[Told]:
    """The pairs that pass as they are, each made false."""
    passing = [one for one in pairs if reason(one, DEFAULT) is None]
    false = [(one, plant(one, pairs, rng)) for one in passing]
    made = [Told(one.passage, said) for one, said in false if said and said != one.answer]
    return made[:EACH]


def answers() -> None:
    """Parts 1 and 2."""
    rng = random.Random(0)
    people = {"WebNLG": webnlg(rng), "MSRP": msrp(rng)}
    print("false alarms on people's paraphrases, by the least share")
    for name, pairs in people.items():
        for share in SHARES:
            print(f"  {name:10} {share:.1f} {rate(pairs, share)}")
    print(f"planted false answers that are found, least share {DEFAULT}")
    own = {
        "Wikipedia": own_sentences(wikitext(), rng),
        "books": own_sentences(books(), rng),
    }
    for name, pairs in {**people, **own}.items():
        for plant in (other_number, other_name, other_passage, turned):
            made = planted(pairs, plant, rng)
            if made:
                print(f"  {name:10} {plant.__name__:14} {rate(made)}")
    elsewhere = [planted(pairs, other_passage, rng) for pairs in people.values()]
    print("another passage's answer that is found, by the least share")
    for share in SHARES:
        print(f"  {share:.1f}", *(rate(made, share) for made in elsewhere))
    speed(own["Wikipedia"])


def speed(pairs: Sequence[Told]) -> None:
    """What a passage costs, and an answer to a passage that was read before."""
    spent = []
    for _ in range(2):
        start = time.process_time()
        for one in pairs[:32]:  # fewer than are remembered
            hold(one.answer, one.passage, language="en")
        spent.append(1000 * (time.process_time() - start) / 32)
    first, again = spent
    print(f"{first:.2f} ms of CPU a passage of 256 tokens, {again:.2f} ms an answer to one known")


def alarms(questions: Sequence[str]) -> str:
    """The share that is said to point outside, and most frequent phrases."""
    found = Counter(str(points_outside(q, "en")).lower() for q in questions)
    refused = len(questions) - found.pop("none", 0)
    told = share_of(refused, len(questions))
    common = ", ".join(f"{phrase} {times}" for phrase, times in found.most_common(8))
    return f"{shown(told)} of {len(questions)}   {common}"


def questions() -> None:
    """Part 3."""
    trec = [
        row["text"].strip() for row in pq.read_table(DATA / "cls_trec/train.parquet").to_pylist()
    ]
    gsm = [
        row["prompt"] for row in pq.read_table(DATA / "gsm8k/dev_test_first660.parquet").to_pylist()
    ]
    print("questions of people that are said to point outside")
    print("  TREC ", alarms(trec))
    print("  GSM8K", alarms(gsm))
    clean = [q for q in trec if points_outside(q, "en") is None]
    print("planted phrases that are found, in TREC questions that pass")
    for name, phrases in {"listed": LISTED, "not listed": UNLISTED}.items():
        for phrase in phrases:
            asked = [phrase.format(q=q) for q in clean[:EACH]]
            seen = sum(points_outside(q, "en") is not None for q in asked)
            print(f"  {name:10} {100 * seen / len(asked):5.1f} %  {phrase}")


def simulated() -> None:
    """Part 4."""
    no_judge = ["steps.documents.questions.with.judge=null"]
    for name, override in {"without a judge": no_judge, "with one": []}.items():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            run = Pipeline.load(
                "pipelines/documents_qa.yaml",
                overrides=override,
                out=out / "out",
                ledger=str(out / "ledger.db"),
            )
            manifest = run.run_sync()
            rows = list(read_rows(out / "out" / "rows" / "rows.parquet"))
            true = sum(row.fields["output"] in _true(row) for row in rows)
            figures = manifest.figures["documents.questions"]
            print(f"{name}: {len(rows)} pairs of {figures['questions']} questions;", end=" ")
            print(f"true: {shown(share_of(true, len(rows)))}; lost {_lost(out / 'out')}")


def _true(row: Row) -> set[str]:
    """What the document says to the question."""
    asked = row.fields["instruction"]
    return {one.answer for one in known(str(row.fields["text"])) if one.question == asked}


def _lost(out: Path) -> dict[str, int]:
    reasons = Counter(pq.read_table(out / "discarded.parquet").column("reason").to_pylist())
    return dict(reasons.most_common())


def main() -> None:
    """All of it."""
    if DATA.is_dir():
        answers()
        questions()
    else:
        print(f"parts 1 to 3 are not measured: there is no {DATA}; set SYNTHKD_DATA")
    simulated()


if __name__ == "__main__":
    main()
