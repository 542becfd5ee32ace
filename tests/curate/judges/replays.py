"""Judges that really judged, replayed through real pipelines against what people said.

* PandaLM's 999 pairs (Apache-2.0): three people each; gpt-3.5-turbo and PandaLM-7B, one order. The
  raw texts are not published, only labels and reasons: the recorded reply is the label, and an
  empty one where there is none.
* MT-bench, FairEval and LLMEval2 as LLMBar has them (MIT): 466 pairs; GPT-4, ChatGPT, PaLM 2 and
  LLaMA 2, both orders, raw texts.

What the pipeline's rows say is compared with people here; nothing is taken from the data's own
columns of what was right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline

SIDE = {1: "first", 2: "second", 0: "tie"}
FLIP = {"first": "second", "second": "first", "tie": "tie"}


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One run of `judge.pairwise` over recorded replies."""

    pairs: Mapping[str, Mapping[str, Any]]
    """Row id of the source -> what went in, with `people`: first, second or tie."""
    judged: Mapping[str, Mapping[str, Any]]
    """Row id of the source -> the verdict, of the rows that have one."""
    manifest: Manifest

    @property
    def accuracy(self) -> float:
        """Share of all pairs with the people's outcome; one without a verdict is wrong."""
        right = sum(
            verdict["outcome"] == self.pairs[name]["people"]
            for name, verdict in self.judged.items()
        )
        return float(right / len(self.pairs))

    @property
    def single_accuracy(self) -> float:
        """Share of all single replies, each in its own order, that pick the people's side."""
        right = sum(
            answer["outcome"] == self.pairs[name]["people"]
            for name, verdict in self.judged.items()
            for answer in verdict["answers"]
        )
        return float(right / (2 * len(self.pairs)))

    @property
    def consistency(self) -> float:
        """Share of all pairs with the same verdict in both orders."""
        same = sum(verdict["consistent"] == 1 for verdict in self.judged.values())
        return float(same / len(self.pairs))

    @property
    def figures(self) -> Mapping[str, int]:
        """What the step counted."""
        return self.manifest.figures["judge.pairwise"]


def pandalm(data: Path, judge: int) -> list[dict[str, Any]]:
    """PandaLM's pairs with the replies of one of its judges (1 gpt-3.5-turbo, 2 PandaLM-7B)."""
    found = []
    for row in pq.read_table(data / "judge_pandalm" / "test999.parquet").to_pylist():
        label = row[f"judge{judge}_label"]
        task = "\n\n".join(filter(None, (row["instruction"], row["input"])))
        found.append(
            {
                "pair": row["id"],
                "question": task,
                "first": row["response1"],
                "second": row["response2"],
                "people": SIDE[row["human_majority"]],
                "models": row["models"],
                "as_is": "" if label is None else str(int(label)),
                "swapped": None,
            }
        )
    return found


def llmbar(data: Path, subset: str, judge: str, strategy: str) -> list[dict[str, Any]]:
    """Pairs of a subset (MT-Bench, FairEval, LLMEval^2) with the raw replies of a judge."""
    folder = data / "judge_llmbar_processed"
    pairs = {
        row["id"]: row
        for row in pq.read_table(folder / "pairs_mtbench_faireval_llmeval2.parquet").to_pylist()
    }
    return [
        {
            "pair": row["id"],
            "question": pairs[row["id"]]["instruction"],
            "first": pairs[row["id"]]["output_1"],
            "second": pairs[row["id"]]["output_2"],
            "people": SIDE[row["gold"]],
            "as_is": row["raw_orig"],
            "swapped": row["raw_swap"],
        }
        for row in pq.read_table(folder / "judgments.parquet").to_pylist()
        if row["subset"] == f"Processed/{subset}"
        and (row["judge"], row["strategy"]) == (judge, strategy)
    ]


def replay(pairs: Iterable[Mapping[str, Any]], folder: Path, orders: str = "both") -> Replay:
    """Run the pairs through a pipeline whose judge says what was recorded."""
    pairs = list(pairs)
    folder.mkdir(parents=True, exist_ok=True)
    # Some pairs stand twice in the data with other replies: the task says which pair it is.
    asked = [{**pair, "question": f"{pair['question']}\n[{pair['pair']}]"} for pair in pairs]
    replies = [
        {"question": pair["question"], "first": one, "second": other, "text": pair[order]}
        for pair in asked
        for order, one, other in (
            ("as_is", pair["first"], pair["second"]),
            ("swapped", pair["second"], pair["first"]),
        )
        if pair[order] is not None
    ]
    _write(folder / "pairs.jsonl", asked)
    _write(folder / "replies.jsonl", replies)
    (folder / "p.yaml").write_text(
        f"""
name: replay
teachers:
  judge:
    recorded: {{jsonl: replies.jsonl, match: [question, first, second], text: text}}
source: {{jsonl: pairs.jsonl, id: [pair]}}
steps:
  - use: judge.pairwise
    with:
      {{teacher: judge, question: question, first: first, second: second,
       structured: false, orders: {orders}}}
export: {{format: rows}}
limits: {{max_failed: 0.0, max_rejected: 1.0}}
""",
        encoding="utf-8",
    )
    pipeline = Pipeline.load(
        folder / "p.yaml", out=folder / "out", ledger=str(folder / "ledger.sqlite")
    )
    manifest = pipeline.run_sync()
    judged = {
        row["pair"]: orjson.loads(row["verdict"])
        for row in map(orjson.loads, (folder / "out/dataset/train.jsonl").read_bytes().splitlines())
    }
    return Replay(pairs={pair["pair"]: pair for pair in pairs}, judged=judged, manifest=manifest)


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
