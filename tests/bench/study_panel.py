"""Several RECORDED teachers as a panel: what choosing from their answers is worth, without gold.

    python -m tests.bench.study_panel gsm8k [PICTURE.svg]   # some 2 CPU minutes
    python -m tests.bench.study_panel cqa [PICTURE.svg]     # some 3
    python -m tests.bench.study_panel banking77             # half of one
    python -m tests.bench.study_panel law                   # seconds

GSM8K: six teachers, one answer each, of the first 660 test problems; the programs' answers as
they were computed when they were recorded. CommonsenseQA: PaLM-540B and Llama3-ChatQA-8B, 9,741
questions. BANKING77: nine runs of small models, 10,003 messages. Needs the data of SYNTHKD_DATA.

A row's answers are ranked by what a method is sure of; precision at a yield is that of so many of
the surest rows, where equals are in random order (the mean over all orders, not a draw). Gold is
used to count, and for nothing else. Intervals: percentiles over resampled problems.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthkd.answers import AnswerSettings, canonical, read, same
from synthkd.config import SimulatedConfig
from synthkd.curate.choose.panel import PanelSettings, panel
from synthkd.curate.choose.sums import is_whole, sums_of
from synthkd.desk import Desk
from synthkd.io.spool import RowSpool, Table
from synthkd.recipes.asking import Until, settled
from synthkd.recipes.pool import Candidate, told
from synthkd.recipes.votes import clusters
from synthkd.rows import Json, source_row
from synthkd.table_kit import TableKit
from synthkd.teachers.request import Request
from synthkd.teachers.simulated import open_world
from synthkd.text import equivalent
from tests.bench.curves import Curve, Panel, draw

DATA = Path(os.environ.get("SYNTHKD_DATA", Path(__file__).parents[3] / "shared" / "data"))
YIELDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DRAWS = 2000
SLIPS = 6
"""How many wrong answers the simulated world has for each problem, all as frequent."""
REFITS = 40
NUMBER = AnswerSettings(type="number")
Choice = tuple[str | None, float]
"""An answer, and how sure: None = none."""
Pool = Sequence[Candidate]
Floats = NDArray[np.float64]


# --- precision at a yield


def precision_at(sure: Floats, right: Floats, share: float) -> float:
    """Of the surest `share` of the rows, how many are right; equals in random order."""
    wanted = share * len(sure)
    taken = good = 0.0
    for level in np.unique(sure)[::-1]:
        of_level = right[sure == level]
        take = min(len(of_level), wanted - taken)
        taken, good = taken + take, good + take * of_level.mean()
        if taken >= wanted - 1e-9:
            break
    return 100 * good / wanted


def interval(sure: Floats, right: Floats, share: float, draws: int = DRAWS) -> tuple[float, float]:
    """95 % over resampled rows; who is how sure stays as it is."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        at = rng.integers(len(sure), size=len(sure))
        found.append(precision_at(sure[at], right[at], share))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def arrays(choices: Sequence[Choice], gold: Sequence[str]) -> tuple[Floats, Floats]:
    """How sure and how right; nothing chosen is wrong, and comes last."""
    sure = [-1.0 if answer is None else level for answer, level in choices]
    right = [same(answer, g, NUMBER) for (answer, _), g in zip(choices, gold, strict=True)]
    return np.array(sure), np.array(right, dtype=float)


def line(name: str, sure: Floats, right: Floats) -> str:
    """A row of the table."""
    cells = [f"{precision_at(sure, right, share):.1f}" for share in YIELDS]
    return f"| {name} | {' | '.join(cells)} |"


# --- GSM8K


def gsm8k_pools() -> tuple[list[list[Candidate]], list[str]]:
    """The problems' pools, teachers in the order of their names, and gold."""
    by_id: dict[str, list[Candidate]] = {}
    gold: dict[str, str] = {}
    records = pq.read_table(DATA / "gsm8k" / "teacher_outputs_first660.parquet").to_pylist()
    for record in sorted(records, key=lambda record: record["teacher"]):
        answer = canonical(record["teacher_label"], NUMBER)
        one = Candidate(
            teacher=record["teacher"],
            sample=0,
            text=record["teacher_raw"],
            rationale=record["teacher_raw"] or "",
            answer=answer,
            status="ok" if answer is not None else "no_cue",
        )
        more: dict[str, Json] = {"sums": sums_of(one, 0.01), "whole": is_whole(answer)}
        by_id.setdefault(record["id"], []).append(Candidate(**{**fields_of(one), "more": more}))
        gold[record["id"]] = canonical(record["gold"], NUMBER) or ""
    names = sorted(by_id, key=lambda name: int(name.rpartition("-")[2]))
    return [by_id[name] for name in names], [gold[name] for name in names]


def fields_of(one: Candidate) -> dict[str, Any]:
    """Its own keys."""
    return {name: getattr(one, name) for name in Candidate.__slots__ if name != "more"}


def alone(pools: Sequence[Pool], teacher: str) -> list[Choice]:
    """One teacher, who does not say how sure it is."""
    own = [next((one for one in pool if one.teacher == teacher), None) for pool in pools]
    return [(None, 0.0) if one is None else (one.answer, 0.0) for one in own]


def voted(pools: Sequence[Pool], weights: Mapping[str, float] | None = None) -> list[Choice]:
    """`choose.vote`, ranked by what the answer weighs."""
    choices: list[Choice] = []
    for pool in pools:
        answers = [one.answer for one in pool]
        own = None if weights is None else [weights[one.teacher] for one in pool]
        found = clusters(answers, own, config=NUMBER)
        choices.append((answers[found[0].places[0]], found[0].weight) if found else (None, 0.0))
    return choices


def agreements(pools: Sequence[Pool]) -> dict[str, float]:
    """Of each teacher the log-odds of agreeing with the plain majority: weights without gold."""
    agreed, asked = Counter[str](), Counter[str]()
    for pool, (answer, _) in zip(pools, voted(pools), strict=True):
        for one in pool:
            asked[one.teacher] += 1
            agreed[one.teacher] += same(one.answer, answer, NUMBER)
    shares = {teacher: agreed[teacher] / asked[teacher] for teacher in asked}
    return {teacher: max(0.0, math.log(s / (1 - s))) for teacher, s in shares.items()}


def reranked(pools: Sequence[Pool], judges: Mapping[str, float], top: int) -> list[Choice]:
    """`choose.rerank` with `teacher_weights`: those who were trained to verify are the judge."""
    choices: list[Choice] = []
    for pool in pools:
        answers = [one.answer for one in pool]
        found = clusters(answers, config=NUMBER)[:top]
        if not found:
            choices.append((None, 0.0))
            continue
        scores = [max(judges.get(pool[at].teacher, 0.0) for at in each.places) for each in found]
        best = max(range(len(found)), key=lambda place: scores[place])
        sure = len(found[best].places) + scores[best] / 100
        choices.append((answers[found[best].places[0]], sure))
    return choices


def trusted(pools: Sequence[Pool], **settings: Any) -> tuple[list[Choice], Mapping[str, Any]]:
    """`choose.panel` itself, ranked by its confidence; and its figures."""
    kit = TableKit(Desk(step="choose.panel"))
    rows = [
        source_row("s", [place], ordinal=place, fields={"candidates": told(pool)})
        for place, pool in enumerate(pools)
    ]
    config = PanelSettings.model_validate({"answer": NUMBER, **settings})
    choices: list[Choice] = [(None, 0.0)] * len(rows)
    with tempfile.TemporaryDirectory() as folder, RowSpool.of(Path(folder) / "r", rows) as spool:
        for row in panel(Table(spool), kit, config):
            sure: Any = row.fields["confidence"]
            choices[row.order[0]] = (str(row.fields["answer"]), float(sure))
    return choices, kit.figures


def gsm8k(picture: Path | None) -> None:
    """The table of ways to choose, their intervals, and the picture."""
    pools, gold = gsm8k_pools()
    teachers = sorted({one.teacher for pool in pools for one in pool})
    print(f"{len(pools)} problems, {len(teachers)} teachers\n\n| teacher alone | right % | none |")
    print("| --- | --- | --- |")
    for teacher in teachers:
        choices = alone(pools, teacher)
        _, right = arrays(choices, gold)
        print(f"| {teacher} | {100 * right.mean():.1f} | {sum(a is None for a, _ in choices)} |")
    judges = {name: 2.0 if "175b" in name else 1.0 for name in teachers if "verif" in name}
    found: dict[str, tuple[Floats, Floats]] = {
        "the best teacher alone": arrays(alone(pools, "code-davinci-002-PoT-fewshot"), gold),
        "the best verified one alone": arrays(alone(pools, "GPT-3-175b-verification"), gold),
        "majority": arrays(voted(pools), gold),
        "weighted by agreement": arrays(voted(pools, agreements(pools)), gold),
        "re-ranked, top 2": arrays(reranked(pools, judges, 2), gold),
        "re-ranked, all": arrays(reranked(pools, judges, 6), gold),
        "panel": arrays(trusted(pools)[0], gold),
        "panel, by sums": arrays(trusted(pools, by=["sums"])[0], gold),
        "panel, by whole": arrays(trusted(pools, by=["whole"])[0], gold),
        "panel, by sums and whole": arrays(trusted(pools, by=["sums", "whole"])[0], gold),
    }
    heads = " | ".join(f"{share:.0%}" for share in YIELDS)
    print(f"\n| precision % at a yield of | {heads} |\n| --- |{' --- |' * len(YIELDS)}")
    for name, (sure, right) in found.items():
        print(line(name, sure, right))
    print("\n| intervals | 50 % | 70 % |\n| --- | --- | --- |")
    for name in ("majority", "weighted by agreement", "panel", "panel, by whole"):
        cells = [interval(*found[name], share) for share in (0.5, 0.7)]
        print(f"| {name} | {' | '.join(f'{low:.1f} to {high:.1f}' for low, high in cells)} |")
    for name, settings in (("panel", {}), ("panel, by whole", {"by": ["whole"]})):
        cells = [refitted(pools, gold, share, **settings) for share in (0.5, 0.7)]
        print(f"| {name}, refitted | {' | '.join(f'{a:.1f} to {b:.1f}' for a, b in cells)} |")
    sure, right = found["majority"]
    for least in (2, 3, 4, 5):
        kept = sure >= least
        share, good = 100 * kept.mean(), 100 * right[kept].mean()
        print(f"agreement >= {least}: {share:.1f} % kept, {good:.1f} % right")
    for alternatives in (2, 5, 10, 50, 1000):
        sure, right = arrays(trusted(pools, alternatives=alternatives)[0], gold)
        print(line(f"panel, alternatives {alternatives}", sure, right))
    print(told_of(pools, gold))
    print(trusted(pools, by=["whole"])[1]["accuracies"])
    if picture is not None:
        shown = [
            "majority",
            "weighted by agreement",
            "re-ranked, top 2",
            "panel",
            "panel, by whole",
        ]
        curves = [curve(name, *found[name]) for name in ["the best teacher alone", *shown]]
        across, up = "rows kept, surest first, %", "right, %"
        picture.write_text(
            draw(
                [
                    Panel(
                        title="GSM8K, 660 problems, six teachers",
                        across=across,
                        up=up,
                        curves=curves,
                    )
                ]
            ),
            encoding="utf-8",
        )


def refitted(
    pools: Sequence[Pool], gold: Sequence[str], share: float, **settings: Any
) -> tuple[float, float]:
    """95 % over resampled problems, accuracies learnt anew from each resample."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(REFITS):
        at = rng.integers(len(pools), size=len(pools))
        choices, _ = trusted([pools[place] for place in at], **settings)
        found.append(precision_at(*arrays(choices, [gold[place] for place in at]), share))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def told_of(pools: Sequence[Pool], gold: Sequence[str]) -> str:
    """How often a candidate is right, by what `candidates.sums` finds."""
    right: Counter[tuple[str, str]] = Counter()
    times: Counter[tuple[str, str]] = Counter()
    for pool, g in zip(pools, gold, strict=True):
        for one in pool:
            for name in ("sums", "whole"):
                kind = "program" if "PoT" in one.teacher else "words"
                key = (f"{kind}: {name}", str(one.more[name]))
                times[key] += 1
                right[key] += same(one.answer, g, NUMBER)
    lines = [
        f"{a} {b}: {times[a, b]}, {100 * right[a, b] / times[a, b]:.1f} % right"
        for a, b in sorted(times)
    ]
    return "\n".join(lines)


def curve(name: str, sure: Floats, right: Floats) -> Curve:
    """From a fifth of the rows to all of them."""
    shares = [share / 100 for share in range(20, 101, 5)]
    return Curve(name=name, points=[(100 * s, precision_at(sure, right, s)) for s in shares])


# --- CommonsenseQA


def cqa(picture: Path | None) -> None:
    """Two teachers: who agrees, and a critic that learns from agreement where they may be right."""
    records = pq.read_table(DATA / "dss_cqa" / "train.parquet").to_pylist()
    config = AnswerSettings(cue=("So the answer is",), stop_at=("\n\nQ:",))
    readings = [read(one["teacher_raw"], config, choices=one["choices"]) for one in records]
    palm = [None if one.answer is None else equivalent(one.answer) for one in readings]
    llama = [
        None if r["teacher2_label"] is None else equivalent(r["teacher2_label"]) for r in records
    ]
    gold = [equivalent(record["gold"]) for record in records]
    agree = np.array([a is not None and a == b for a, b in zip(palm, llama, strict=True)])
    answers = [a if a is not None else b for a, b in zip(palm, llama, strict=True)]
    right = np.array([a == g for a, g in zip(answers, gold, strict=True)], dtype=float)
    for name, said in (("PaLM", palm), ("Llama", llama)):
        good = np.mean([a == g for a, g in zip(said, gold, strict=True)])
        print(f"{name} alone: {100 * good:.2f} %")
    print(f"agree: {100 * agree.mean():.1f} % of the rows, {100 * right[agree].mean():.1f} % right")
    apart = ~agree & np.array(
        [a is not None and b is not None for a, b in zip(palm, llama, strict=True)]
    )
    told = f"PaLM right in {100 * right[apart].mean():.1f} %"
    print(f"differ: {100 * apart.mean():.1f} % of the rows, {told}")
    hedged = np.array([hedge(record["teacher_raw"]) for record in records])
    told = f"agreed {agree[hedged].sum()}, right {100 * right[hedged].mean():.1f} %"
    print(f"hedged: {hedged.sum()}, of them {told}")
    critic = crossfit(records, [one.rationale for one in readings], agree)
    ranks = {
        "PaLM, or else Llama": np.zeros(len(gold)),
        "agreement": agree.astype(float),
        "critic alone": critic,
        "then a critic": agree + critic,
        "then a critic, hedged last": agree + critic - 2.0 * hedged,
    }
    heads = " | ".join(f"{share:.0%}" for share in YIELDS)
    print(f"\n| precision % at a yield of | {heads} |\n| --- |{' --- |' * len(YIELDS)}")
    for name, sure in ranks.items():
        print(line(name, sure, right))
    for name in ("agreement", "then a critic"):
        for share in (0.3, 0.5):
            low, high = interval(ranks[name], right, share, 500)
            print(f"{name}, {share:.0%}: {low:.1f} to {high:.1f}")
    if picture is not None:
        curves = [
            curve(name, ranks[name], right)
            for name in (
                "PaLM, or else Llama",
                "agreement",
                "critic alone",
                "then a critic",
            )
        ]
        across, up = "rows kept, surest first, %", "right, %"
        picture.write_text(
            draw([Panel(title="CommonsenseQA, two teachers", across=across, up=up, curves=curves)]),
            encoding="utf-8",
        )


def hedge(reply: str) -> bool:
    """Whether the reply names two letters behind its cue."""
    tail = reply.partition("\n\nQ:")[0].lower().rpartition("so the answer is")[2]
    return len({letter for letter in "abcde" if f"({letter})" in tail}) > 1


def crossfit(
    records: Sequence[Mapping[str, Any]], rationales: Sequence[str], agree: NDArray[np.bool_]
) -> Floats:
    """How probably the teachers agree, told from question and rationale by a critic that has not
    seen the row: five parts, each judged by what was learnt from the others. No gold."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_predict

    questions = [f"{record['question']} {' '.join(record['choices'])}" for record in records]
    texts = [
        TfidfVectorizer(min_df=3, ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
        for texts in (questions, rationales)
    ]
    parts = KFold(5, shuffle=True, random_state=0)
    told = cross_val_predict(
        LogisticRegression(C=0.3, max_iter=300),
        hstack(texts).tocsr(),
        agree,
        cv=parts,
        method="predict_proba",
    )
    found: Floats = told[:, 1]
    return found


# --- BANKING77


def banking77() -> None:
    """Calls saved by stopping early, over nine runs; in three orders."""
    rows: dict[int, dict[str, str]] = {}
    gold: dict[int, str] = {}
    for record in pq.read_table(
        DATA / "cls_banking77" / "teacher_labels_traindev.parquet"
    ).to_pylist():
        rows.setdefault(record["row"], {})[record["teacher"]] = record["teacher_label"]
        gold[record["row"]] = record["gold"]
    teachers = list(next(iter(rows.values())))
    share = {t: np.mean([rows[row].get(t) == gold[row] for row in rows]) for t in teachers}
    best = sorted(teachers, key=lambda teacher: -share[teacher])

    def shuffled(row: int) -> list[str]:
        return random.Random(row).sample(teachers, len(teachers))

    orders: dict[str, Callable[[int], list[str]]] = {
        "as in the file": lambda row: teachers,
        "drawn for each message": shuffled,
        "the best first (by gold)": lambda row: best,
    }
    print(
        "| order | until | right % | calls a message | saved % |\n| --- | --- | --- | --- | --- |"
    )
    for name, order in orders.items():
        for sure in (None, 1.0, 0.99, 0.95, 0.9, 0.8):
            until = None if sure is None else Until(sure=sure, first=3)
            right = calls = 0
            for row in rows:
                votes = [rows[row].get(teacher) for teacher in order(row)]
                said = [None if vote in (None, "oos") else vote for vote in votes]
                needed = stopped(said, until)
                winner = clusters(said[:needed])
                right += bool(winner) and said[winner[0].places[0]] == gold[row]
                calls += needed
            n = len(rows)
            told = "all nine" if sure is None else f"sure {sure:g}"
            saved = 100 - 100 * calls / n / len(teachers)
            print(f"| {name} | {told} | {100 * right / n:.2f} | {calls / n:.2f} | {saved:.1f} |")


def stopped(votes: Sequence[str | None], until: Until | None) -> int:
    """After how many votes no more is asked, as `ask_panel` decides it."""
    if until is None:
        return len(votes)
    heard = min(until.first, len(votes))
    while heard < len(votes) and not settled(votes[:heard], len(votes) - heard, until):
        heard += 1
    return heard


# --- a teacher of known error rate


def law() -> None:
    """Yield and precision of a vote of k against the formula, for the SIMULATED teacher."""
    print("| right | k | at least | yield % | formula | precision % | formula |")
    print("| --- |" + " --- |" * 6)
    rows = 2000
    for error in (0.5, 0.3):
        for k in (3, 5, 9):
            pools = asyncio.run(solved(rows, k, error))
            for least in (k // 2 + 1, k):
                kept = right = 0
                for truth, answers in pools:
                    top = clusters(answers)[0].places
                    kept += len(top) >= least
                    right += len(top) >= least and answers[top[0]] == truth
                good = tail(1 - error, k, least)
                # It slips by one of six amounts, each as often: no two can both have most votes.
                every = good + SLIPS * tail(error / SLIPS, k, least)
                cells = (kept / rows, every, right / max(1, kept), good / every)
                told = " | ".join(f"{100 * cell:.1f}" for cell in cells)
                print(f"| {1 - error:g} | {k} | {least} | {told} |")


async def solved(rows: int, k: int, error: float) -> list[tuple[str, list[str | None]]]:
    """The truth of each small problem, and what the simulated teacher answers k times."""
    teacher = open_world(SimulatedConfig(world="arithmetic", error_rate=error))
    found = []
    for row in range(rows):
        question = f"Ada has {20 + row} pens. She buys {row % 7 + 2}. How many?"
        replies = [
            await teacher.complete(
                Request(
                    body={}, prompt="rationale/question", inputs={"question": question}, sample=n
                )
            )
            for n in range(k)
        ]
        answers = [read(reply.text, NUMBER).answer for reply in replies]
        found.append((str(20 + row + row % 7 + 2), answers))
    return found


def tail(share: float, k: int, least: int) -> float:
    """P(at least so many of k), each with probability `share`."""
    return sum(math.comb(k, n) * share**n * (1 - share) ** (k - n) for n in range(least, k + 1))


def main(part: str, picture: Path | None = None) -> None:
    """One part of the study."""
    if part in ("gsm8k", "cqa"):
        (gsm8k if part == "gsm8k" else cqa)(picture)
    else:
        {"banking77": banking77, "law": law}[part]()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
