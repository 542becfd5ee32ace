"""What our fine-tuning costs beside a bare TRL script: speed and memory, same model and rows.

    OMP_NUM_THREADS=1 python tests/bench/bench_training.py [TURNS] [STEPS]

Each turn trains twice, in a process each, one after the other: the kind `sft` through
`synthkd.students.kinds`, and SFTTrainer with prompt-completion columns as TRL's own examples have
it. Only `Trainer.train` is timed. Prints a Markdown table of each turn and the medians. The goal:
tokens a second between 0.97 and 1.03 of the bare script's. On a busy machine read the CPU column.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))
N_ROWS, BATCH = 512, 8
SCRATCH = {"hidden_size": 192, "layers": 4, "heads": 4, "tokenizer": "characters"}
CONFIG: dict[str, Any] = {
    "kind": "sft",
    "prompt": "text",
    "completion": "label",
    "batch_size": BATCH,
    "learning_rate": 1e-3,
    "warmup": 0,
    "max_length": 256,
    "epochs": 1000,
}


def rows() -> list[dict[str, str]]:
    """Texts of 60 to 180 characters with answers of 20 to 60: nothing to learn, all to compute."""
    words = ("card", "rate", "transfer", "number", "where", "please", "account", "today")
    return [
        {
            "text": " ".join(words[(n * 7 + k * 3) % 8] for k in range(10 + n % 20)),
            "label": " ".join(words[(n * 5 + k) % 8] for k in range(4 + n % 6)),
        }
        for n in range(N_ROWS)
    ]


def timed() -> dict[str, float]:
    """Trainer.train from now on writes its wall and CPU seconds into what is returned."""
    from transformers import Trainer

    took: dict[str, float] = {}
    real = Trainer.train

    def train(self: Any, *args: Any, **named: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = real(self, *args, **named)
        took["wall_s"] = time.perf_counter() - wall
        took["cpu_s"] = time.process_time() - cpu
        took["tokens"] = self.state.log_history[-2]["num_tokens"]
        return result

    Trainer.train = train
    return took


def ours(base: Path, steps: int, folder: Path) -> dict[str, float]:
    """The kind sft."""
    from synthkd.students import kinds
    from tests.students.lessons import lesson

    took = timed()
    kinds.train(
        lesson(folder, {**CONFIG, "base": str(base), "max_steps": steps}, rows()), lambda line: None
    )
    return took


def bare(base: Path, steps: int, folder: Path) -> dict[str, float]:
    """TRL alone, with the same settings."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    took = timed()
    table = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["text"]}],
                "completion": [{"role": "assistant", "content": row["label"]}],
            }
            for row in rows()
        ]
    )
    settings = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=CONFIG["learning_rate"],
        max_length=CONFIG["max_length"],
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=20,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=settings,
        train_dataset=table,
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    trainer.train()
    return took


WAYS = {"synthkd": ours, "bare TRL": bare}


def child(way: str, base: Path, steps: int) -> None:
    """One training; its figures as JSON on the last line."""
    with tempfile.TemporaryDirectory() as folder:
        took = WAYS[way](base, steps, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + orjson.dumps({**took, "peak_mib": peak}).decode())


def main(turns: int, steps: int) -> None:
    """Print the table."""
    from synthkd.config import SftConfig
    from synthkd.students.scratch import make

    with tempfile.TemporaryDirectory() as folder:
        config = SftConfig.model_validate({**CONFIG, "scratch": SCRATCH})
        base = make(config, [t for r in rows() for t in r.values()], Path(folder) / "base").folder
        print("| turn | way | tokens/s | tokens per CPU s | peak MiB |")
        print("| --- | --- | --- | --- | --- |")
        seen: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
        for turn in range(turns):
            # Who begins changes, so that a machine that grows slower favours neither.
            for way in sorted(WAYS, reverse=bool(turn % 2)):
                command = [sys.executable, __file__, "--child", way, str(base), str(steps)]
                done = subprocess.run(
                    command, capture_output=True, check=True, env={**os.environ, "CI": "1"}
                )
                took = orjson.loads(done.stdout.splitlines()[-1])
                rates = took["tokens"] / took["wall_s"], took["tokens"] / took["cpu_s"]
                seen[way].append((*rates, took["peak_mib"]))
                print(f"| {turn + 1} | {way} | {rates[0]:,.0f} | {rates[1]:,.0f} |"
                      f" {took['peak_mib']:,.0f} |", flush=True)  # fmt: skip
    medians = {way: [statistics.median(c) for c in zip(*seen[way], strict=True)] for way in WAYS}
    shares = [a / b for a, b in zip(medians["synthkd"], medians["bare TRL"], strict=True)]
    print(f"| medians | synthkd / bare TRL | {shares[0]:.3f} | {shares[1]:.3f} | {shares[2]:.3f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*(int(word) for word in [*sys.argv[1:], *("5", "150")[len(sys.argv) - 1 :]]))
