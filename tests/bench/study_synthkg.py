"""What rewriting passages is worth to `synthkg`, what reading costs, and how big a graph may be.

    python tests/bench/study_synthkg.py [triples]

1. Precision and recall of the graph of each document in data/fact_documents.jsonl, with passages
   rewritten and not, on a SIMULATED teacher that knows whom "she" means only within a passage.
2. CPU time of what is ours, without any teacher: dividing documents of 1,000 words, reading
   replies, finding evidence, merging, grounding.
3. A graph of so many triples (default 1,000,000): deduplicated and written; peak memory.
4. Names that `triples.resolve` calls one, by rule, against the mentions of gold entities (Re-DocRED
   dev). Needs the data of SYNTHKD_DATA (default ../shared/data); says so and goes on without.
5. The picture docs/recipes/synthkg.svg: the graph of one document.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import yaml

from synthkd.graphs.entities import Entity, read_entities
from synthkd.graphs.export import write_graphml, write_ntriples, write_parquet
from synthkd.graphs.ground import find
from synthkd.graphs.notation import read_triples
from synthkd.graphs.passages import evidence_of, passages
from synthkd.graphs.picture import picture
from synthkd.graphs.resolve import RULES, same_names
from synthkd.graphs.stated import Origin, Stated, merged
from synthkd.graphs.triple import Triple, spelling
from synthkd.graphs.whole import WholeGraph
from synthkd.io.rows_file import ROWS, read_rows
from synthkd.pipeline import Pipeline
from synthkd.teachers.simulated.facts import facts_of

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SYNTHKD_DATA", "../shared/data"))
DOCUMENTS = ROOT / "data" / "fact_documents.jsonl"
WORDS = 1_000
DUPLICATES = 4
"""One triple in so many is there already."""


async def rewriting(error_rate: float, rewritten: bool) -> str:
    """One teacher alone, nothing taken out afterwards."""
    pipeline = yaml.safe_load((ROOT / "pipelines" / "synthkg.yaml").read_text(encoding="utf-8"))
    world = {"world": "facts", "seed": 1, "error_rate": error_rate}
    settings: dict[str, Any] = {"teachers": ["large"], "tokens": 64}
    if not rewritten:
        settings["decontextualise_prompt"] = None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        file = place / "pipeline.yaml"
        pipeline |= {
            "teachers": {"large": {"simulated": world}},
            "source": {"jsonl": str(DOCUMENTS), "id": ["id"]},
            "steps": [{"use": "synthkg", "with": settings}],
            "export": {"format": "rows", "keep": ["graph"]},
        }
        file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
        await Pipeline.load(file, out=place / "out").run()
        rows: list[dict[str, Any]] = [dict(row.fields) for row in read_rows(place / "out" / ROWS)]
    right = said = gold = 0
    for row in rows:
        wanted = {tuple(one) for one in row["triples"]}
        given = {(one["head"], one["relation"], one["tail"]) for one in row["graph"]}
        right, said, gold = right + len(wanted & given), said + len(given), gold + len(wanted)
    return f"P {100 * right / said:.1f} R {100 * right / gold:.1f} % of {gold} triples"


def reading(documents: int) -> float:
    """Seconds of CPU for each document of 1,000 words, all replies at hand."""
    texts = [orjson.loads(line)["text"] for line in DOCUMENTS.read_bytes().splitlines()]
    rng = random.Random(0)
    spent = 0.0
    for _ in range(documents):
        words = " ".join(rng.sample(texts, len(texts))).split()[:WORDS]
        text = " ".join(words)
        facts = list(facts_of(text))
        names = sorted({name for _, (head, _, tail) in facts for name in (head, tail)})
        entities = json.dumps([{"name": name, "type": "thing"} for name in names])
        said = [{"proposition": sentence, "triples": [fact]} for sentence, fact in facts]
        started = time.process_time()
        spans = passages(text, 256)
        share = -(-len(said) // len(spans))
        stated: list[Stated] = []
        for chunk, span in enumerate(spans):
            reply = json.dumps(said[chunk * share : (chunk + 1) * share])
            read_entities(entities)
            written = read_triples(reply, source=text[slice(*span)])
            pairs = zip(written.triples, written.propositions, strict=True)
            for number, (triple, proposition) in enumerate(pairs):
                place = evidence_of(proposition or "", text, span)
                origin = Origin(chunk, 0, 0, number)
                stated.append(Stated(triple=triple, proposition="", origin=origin, evidence=place))
        for one in merged(stated):
            find(one.first.triple.head, text)
            find(one.first.triple.tail, text)
        spent += time.process_time() - started
    return spent / documents


def big(triples: int) -> None:
    """Names, propositions and ids of usual length; one in `DUPLICATES` is a repetition."""
    rng = random.Random(0)
    whole = WholeGraph()
    started = time.process_time()
    distinct = triples - triples // DUPLICATES
    names = distinct // 3
    for document in range(triples // 25):
        said: list[tuple[Triple, str | None]] = []
        for _ in range(25):
            head, tail = rng.randrange(names), rng.randrange(names)
            triple = Triple(f"Entity of number {head}", f"relation {head % 40}", f"Thing {tail}")
            said.append((triple, f"Entity of number {head} is said to be near Thing {tail}."))
            if rng.random() < 1 / DUPLICATES:
                said[-1] = said[rng.randrange(len(said))]
        whole.add(f"document-{document}", said, types={}, words=500)
    print(f"   {triples} stated, {len(whole.edges)} edges, {len(whole.nodes)} nodes:", end=" ")
    print(f"{time.process_time() - started:.0f} s of CPU, {_peak():.2f} GB at most", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for write in (write_parquet, write_ntriples, write_graphml):
            started = time.process_time()
            size = sum(file.stat().st_size for file in write(whole, Path(folder))) / 1e6
            print(f"   {write.__name__}: {time.process_time() - started:.0f} s of CPU,", end=" ")
            print(f"{size:.0f} MB, {_peak():.2f} GB at most", flush=True)
    started = time.process_time()
    whole.figures()
    print(f"   figures: {time.process_time() - started:.0f} s of CPU, {_peak():.2f} GB at most")


def names() -> None:
    """A finding is right if some gold entity has both names; entities of one name need none."""
    file = DATA / "kg_redocred" / "dev.parquet"
    if not file.exists():
        print(f"4. skipped: no {file}; set SYNTHKD_DATA to the folder of the data")
        return
    said: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wanted = 0
    for row in pq.read_table(file).to_pylist():
        owners: defaultdict[str, set[int]] = defaultdict(set)
        mentions: dict[str, Entity] = {}
        for number, entity in enumerate(json.loads(row["entities"])):
            spelled = {spelling(name): name for name in entity["mentions"]}
            wanted += len(spelled) - 1
            for key, name in spelled.items():
                owners[key].add(number)
                mentions.setdefault(key, Entity(name, entity["type"]))
        for one in same_names(list(mentions.values())):
            kind = mentions[spelling(one.name)].type if one.why == "part" else None
            said.update({one.why: 1, **({f"part {kind}": 1} if kind else {})})
            if owners[spelling(one.name)] & owners[spelling(one.into)]:
                right.update({one.why: 1, **({f"part {kind}": 1} if kind else {})})
    for rule, times in sorted(said.items()):
        print(f"4. {rule}: {right[rule]} of {times} right")
    print(f"   {sum(right[rule] for rule in RULES)} of {wanted} names that have a fuller one")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def drawn(document: int) -> str:
    """What the first paragraph of a document states."""
    row = orjson.loads(DOCUMENTS.read_bytes().splitlines()[document])
    stated = [(Triple(*fact), None) for _, fact in facts_of(row["text"].partition("\n")[0])]
    whole = WholeGraph()
    whole.add(row["id"], stated, types={}, words=0)
    return picture(whole)


def main() -> None:
    """All parts, one after the other."""
    print("1. one simulated teacher, nothing taken out afterwards")
    for error_rate in (0.0, 0.1):
        for rewritten in (True, False):
            found = asyncio.run(rewriting(error_rate, rewritten))
            print(f"   error rate {error_rate}, rewritten {rewritten}: {found}", flush=True)
    each = reading(100)
    print(f"2. {1000 * each:.1f} ms of CPU a document of {WORDS} words, {60 / each:.0f} a minute")
    print("3. a whole graph")
    big(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    names()
    target = ROOT / "docs" / "recipes" / "synthkg.svg"
    target.write_text(drawn(0), encoding="utf-8")
    print(f"5. {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
