"""What the training of every network shares: settings, order of rows, checkpoints, failures.

    settings = arguments(SFTConfig, config, folder, examples=400, dev=40, tell=tell)
    learning = guarded(SFTTrainer)(model=model, args=settings, ...)
    trained = train(learning, config, tell, row_ids=ids)

The dataset of a guarded trainer may have a column `row`: the place of an example in `row_ids`; its
collator is then wrapped by `with_rows`, and a loss that is not finite names the rows.

A checkpoint counts as whole once the file `whole` is in it; it is written last. Training goes on
from the newest whole one, and gives on a CPU the same weights, bit by bit, as if nothing had been.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import NetworkConfig
from synthkd.errors import Interrupted, TrainingFailed
from synthkd.evaluate.classification import accuracy, macro_f1
from synthkd.students import hacking
from synthkd.students.curriculum import Course
from synthkd.students.failures import check_weights, no_loss
from synthkd.students.lesson import Tell
from synthkd.students.machine import hardware, leads, precision_of, world

WHOLE = "whole"
ROW = "row"
IGNORED = -100
"""The label of a token that is not learnt: torch's cross entropy leaves it out."""
LOGS = 25
"""Times that a training says how far it is, at least; more often where steps are slow."""
KEPT_CHECKPOINTS = 2
"""The one before stays until the next is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to."""

    steps: int
    loss: float | None
    """The last one that was logged."""
    losses: Sequence[tuple[int, float]]
    """(step, mean loss since the one before)."""
    dev: Mapping[str, float]
    """What was measured on the rows held out as dev: of the best checkpoint with `best_by`, else
    the last; {} = nothing was."""
    hacking: Mapping[str, Any] | None
    """What was seen of teacher hacking; None = it was not looked for."""
    tokens_per_s: float
    """Of all processes together, as many as this one each; padding left out."""
    peak_memory_bytes: int
    """Of the GPU where there is one, else resident memory of this process."""
    hardware: str
    precision: str

    def as_json(self) -> dict[str, Any]:
        """For student.json, with no more losses than a person reads."""
        every = max(1, math.ceil(len(self.losses) / 20))
        return {
            "steps": self.steps,
            "loss": self.loss,
            "losses": [list(pair) for pair in [*self.losses[:-1:every], *self.losses[-1:]]],
            "dev": dict(self.dev),
            **({} if self.hacking is None else {"hacking": self.hacking}),
            "tokens_per_s": round(self.tokens_per_s, 1),
            "peak_memory_bytes": self.peak_memory_bytes,
            "hardware": self.hardware,
            "precision": self.precision,
        }


# --- settings


def steps_in(config: NetworkConfig, examples: int) -> tuple[int, int]:
    """(optimizer steps of an epoch, of the whole training)."""
    batches = math.ceil(examples / (config.batch_size * world()))
    epoch = max(1, math.ceil(batches / config.gradient_accumulation))
    return epoch, config.max_steps or math.ceil(config.epochs * epoch)


def arguments(
    kind: Any,
    config: NetworkConfig,
    folder: Path,
    *,
    examples: int,
    dev: int,
    tell: Tell,
    **more: Any,
) -> Any:
    """The settings for a trainer of transformers or TRL.

    Args:
        kind: TrainingArguments or a class made from it.
        config: the student's.
        folder: for checkpoints.
        examples: to learn from; packed ones count once.
        dev: examples to measure on; 0 = nothing is measured.
        tell: told what was chosen.
        more: settings that only this kind has; they go before ours.
    """
    import torch

    # Renamed in transformers 5; where there is a new name, the old one warns.
    names = {field.name for field in dataclasses.fields(kind)}
    checkpointing = "activation_checkpointing"
    checkpointing = checkpointing if checkpointing in names else "gradient_checkpointing"
    precision, cpu = precision_of(config), not torch.cuda.is_available()
    epoch, steps = steps_in(config, examples)
    every = min(config.evaluate_every_steps or epoch, steps)
    best = dev > 0 and config.best_by is not None
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        checkpointing: config.gradient_checkpointing,
        "learning_rate": config.learning_rate,
        # Plain "constant" would leave the warm-up out.
        "lr_scheduler_type": (
            "constant_with_warmup" if config.schedule == "constant" else config.schedule
        ),
        "warmup_steps": math.ceil(config.warmup * steps),
        "weight_decay": config.weight_decay,
        "bf16": precision == "bf16",
        "use_cpu": cpu,
        "seed": config.seed,
        "data_seed": config.seed,
        "eval_strategy": "steps" if dev else "no",
        "eval_steps": every,
        # The best checkpoint must be one that was measured; others are saved by `_Watch`.
        "save_strategy": "steps" if best else "no",
        "save_steps": every,
        "save_total_limit": KEPT_CHECKPOINTS,
        "load_best_model_at_end": best,
        "metric_for_best_model": f"eval_{config.best_by}" if best else None,
        "greater_is_better": config.best_by != "loss" if best else None,
        "logging_steps": max(1, min(20, steps // LOGS)),
        "logging_nan_inf_filter": False,  # it would hide what we look for
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": not cpu,
        **({"ddp_backend": "gloo"} if cpu and world() > 1 else {}),
        **more,
    }
    together = f", {world()} processes" if world() > 1 else ""
    tell(
        f"training in {precision} on {hardware()}{together}: {examples:,} examples, {steps:,} steps"
        f" of {config.batch_size} x {config.gradient_accumulation * world()}"
    )
    return kind(**settings)


# --- the order of rows


def with_rows(collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Any:
    """The collator, with the places of the rows of a batch kept beside what the model takes."""

    def both(examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        rows = [row for e in examples for row in _listed(e[ROW])]
        batch = collate([{k: v for k, v in e.items() if k != ROW} for e in examples])
        return {**batch, ROW: torch.tensor(rows)}

    return both


def _listed(row: int | list[int]) -> list[int]:
    """A packed example has the rows of all its tokens."""
    return list(dict.fromkeys(row)) if isinstance(row, list) else [row]


# --- the trainer


def guarded(trainer: Any) -> Any:
    """The trainer class, with what all our trainings have: see the module."""

    class Guarded(trainer):
        course: Course | None = None
        row_ids: Sequence[str] = ()
        student: NetworkConfig
        proxy: Sequence[Any] = ()
        """Examples to learn from, on which the nearness to the teacher is measured."""
        tokens = 0
        """Trained on by this process so far, without padding."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if self.course is None:
                self.course = Course([0] * len(self.train_dataset), self.args.seed)
            return self.course

        def training_step(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            import torch

            rows = inputs.pop(ROW, None)
            self.tokens = self.tokens + _tokens_in(inputs)
            loss = super().training_step(model, inputs, *more, **named)
            if not torch.isfinite(loss):
                raise TrainingFailed(no_loss(self, float(loss), rows))
            return loss

        def prediction_step(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            inputs.pop(ROW, None)
            return super().prediction_step(model, inputs, *more, **named)

        def evaluation_loop(self, *args: Any, **named: Any) -> Any:
            output = super().evaluation_loop(*args, **named)
            output.metrics.update(hacking.measured(self, self.student))
            return output

        def _save_checkpoint(self, *args: Any, **named: Any) -> None:
            check_weights(self)
            super()._save_checkpoint(*args, **named)
            if self.args.should_save:
                (
                    Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / WHOLE
                ).touch()

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """None in checkpoints: the student gets one."""

    return Guarded


def _tokens_in(inputs: Mapping[str, Any]) -> Any:
    """Without padding; packed examples have neither padding nor mask."""
    mask = inputs.get("attention_mask")
    return inputs["input_ids"].numel() if mask is None else mask.sum()


def _watch(learning: Any, config: NetworkConfig, tell: Tell, stop: threading.Event) -> Any:
    """The callback that says how far training is, saves, and ends it when asked."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        since, tokens = time.monotonic(), 0

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if learning.course is not None:
                learning.course.epoch = int((state.epoch or 0) + 1e-6)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % config.save_every_steps == 0:
                control.should_save = True
            if _anywhere(stop.is_set()):
                stop.set()
                control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
            if "loss" in logs:
                now, tokens = time.monotonic(), int(learning.tokens)
                speed = (tokens - self.tokens) * world() / max(now - self.since, 1e-9)
                self.since, self.tokens = now, tokens
                tell(
                    f"step {state.global_step:,} of {state.max_steps:,}, loss {logs['loss']:.3g},"
                    f" {speed:,.0f} tokens/s"
                )

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
            said = ", ".join(f"{k} {v:.4g}" for k, v in _measured(metrics).items())
            tell(f"step {state.global_step:,}: on the dev rows {said}")
            if alarm := hacking.alarm_at(state.global_step, config, state.log_history):
                tell(alarm)
            self.since, self.tokens = time.monotonic(), int(learning.tokens)

    return Watch()


def _anywhere(asked: bool) -> bool:
    """Whether any of the processes was asked: all must end after the same step."""
    if world() == 1:
        return asked
    import torch

    flag = torch.tensor(int(asked), device="cuda" if torch.cuda.is_available() else "cpu")
    torch.distributed.all_reduce(flag)
    return bool(flag)


def _measured(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Of what an evaluation returns, what says something about the student."""
    named = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    chosen = ("loss", "accuracy", "macro_f1", "mean_token_accuracy", "rewards/accuracies")
    return {name: float(named[name]) for name in chosen if name in named}


def train(
    learning: Any, config: NetworkConfig, tell: Tell, *, row_ids: Sequence[str] = ()
) -> Trained:
    """Train to the end, from the newest whole checkpoint in the trainer's folder.

    Args:
        learning: a `guarded` trainer.
        config: the student's.
        tell: takes a line on how far it is.
        row_ids: the ids behind the column `row`.

    Raises:
        Interrupted: SIGTERM; the step was ended and its checkpoint saved.
        TrainingFailed: no finite loss.
    """
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback

    learning.row_ids, learning.student = row_ids, config
    stop = threading.Event()
    learning.remove_callback(PrinterCallback)
    learning.add_callback(_watch(learning, config, tell, stop))
    if config.patience is not None and learning.args.load_best_model_at_end:
        learning.add_callback(EarlyStoppingCallback(config.patience))
    folder = Path(learning.args.output_dir)
    newest = newest_whole(folder)
    if newest is not None:
        tell(f"going on from step {newest.name.removeprefix('checkpoint-')}")
    begun = time.monotonic()
    with _sigterm_sets(stop):
        learning.train(resume_from_checkpoint=str(newest) if newest else None)
    took_s = time.monotonic() - begun
    if stop.is_set():
        raise Interrupted(f"training was asked to end; it goes on from step {_step(learning)}")
    logged = learning.state.log_history
    losses = [(entry["step"], entry["loss"]) for entry in logged if "loss" in entry]
    peak = (
        torch.cuda.max_memory_allocated()
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return Trained(
        steps=_step(learning),
        loss=losses[-1][1] if losses else None,
        losses=losses,
        dev=_kept(learning, [entry for entry in logged if "eval_runtime" in entry]),
        hacking=hacking.report(config, logged, _best_step(learning) or _step(learning)),
        tokens_per_s=int(learning.tokens) * world() / max(took_s, 1e-9),
        peak_memory_bytes=peak,
        hardware=hardware(),
        precision=precision_of(config),
    )


def _step(learning: Any) -> int:
    return int(learning.state.global_step)


def agreement(said: Sequence[str | None], gold: Sequence[str | None]) -> dict[str, Any]:
    """eval_accuracy and eval_macro_f1 of answers, as the evaluation has them; None is wrong.

    Also which rows are right.
    """
    found = accuracy(gold, said)
    return {
        "eval_accuracy": found.value,
        "eval_macro_f1": macro_f1(gold, said).value,
        hacking.RIGHT: [] if found.right is None else found.right.tolist(),
    }


def answers_wanted(config: NetworkConfig) -> bool:
    """Whether a student that writes is let write at each evaluation."""
    asked = config.hacking is not None and config.hacking.golden == "accuracy"
    return asked or config.best_by in {"accuracy", "macro_f1"}


def _kept(learning: Any, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The evaluation of the weights that are kept."""
    best = _best_step(learning)
    chosen = [e for e in evaluations if best is None or e["step"] == best]
    return _measured(chosen[-1]) if chosen else {}


def _best_step(learning: Any) -> int | None:
    """Of the weights that are kept; None = they are the last."""
    return learning.state.best_global_step if learning.args.load_best_model_at_end else None


@contextmanager
def _sigterm_sets(stop: threading.Event) -> Iterator[None]:
    """SIGTERM is a wish to end after this step; only the main thread can be told of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint; what a kill left half-written is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [path for path in found if (path / WHOLE).exists()]
    if leads():
        for path in found:
            if path not in whole:
                shutil.rmtree(path)
    return whole[-1] if whole else None
