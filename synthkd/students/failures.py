"""What ends a training early, in words for a person: no finite loss, no memory, no disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthkd.errors import DiskFailed, TrainingFailed

NO_MEMORY = ("out of memory", "can't allocate memory", "alloc_cpu", "not enough memory")
NO_DISK = ("No space left", "os error 28", "File too large", "os error 27", "quota exceeded",
           "PytorchStreamWriter failed", "unexpected pos")  # fmt: skip
"""How torch and safetensors word it: neither raises OSError."""


def no_loss(learning: Any, loss: float, rows: Any) -> str:
    """What to say of a loss that is not finite; `rows` are places in the trainer's `row_ids`."""
    ids = [learning.row_ids[row] for row in rows.tolist()] if rows is not None else []
    of = f" on rows {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}" if ids else ""
    step, rate = learning.state.global_step + 1, learning.args.learning_rate
    return (
        f"the loss is {loss} in step {step}{of}: lower learning_rate (now {rate:g}), raise warmup,"
        " try precision: fp32, or look whether one of these rows is broken. The last checkpoint is"
        " from before it"
    )


def check_weights(learning: Any) -> None:
    """A checkpoint is never written with what cannot be trained on from there."""
    import torch

    if not all(torch.isfinite(weights).all() for weights in learning.model.parameters()):
        step, rate = learning.state.global_step, learning.args.learning_rate
        raise TrainingFailed(
            f"weights are no longer finite after step {step}: lower learning_rate (now {rate:g}) or"
            " try precision: fp32"
        )


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """No memory and no disk are said as such, with the way out.

    Raises:
        TrainingFailed: memory ran out.
        DiskFailed: the disk did.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, MemoryError, SafetensorError) as error:
        said = str(error)
        if isinstance(error, MemoryError) or any(word in said for word in NO_MEMORY):
            raise TrainingFailed(
                f"memory ran out: {said.splitlines()[0] if said else 'MemoryError'}. Lower"
                " batch_size and raise gradient_accumulation by as much, lower max_length, set"
                " gradient_checkpointing: true, or train adapters only (lora). Training goes on"
                " from its last checkpoint only with the same settings"
            ) from error
        if any(word in said for word in NO_DISK):
            raise DiskFailed(
                f"cannot write to {folder}: {said.splitlines()[0]}; free some space"
                " there, or write to another folder (--out). What was paid for is kept"
            ) from error
        raise
