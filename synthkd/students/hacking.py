"""Teacher hacking, looked for at each evaluation of a training.

proxy     mean log-likelihood of what the student learns, that is of the teacher's answers, on a
          sample of the rows to learn from
golden    on the dev rows, row by row: whether the answer is gold, or the log-likelihood of gold

Both stand in the trainer's log beside the other figures, and so outlive a kill with its
checkpoints. The rule is in `synthkd.evaluate.hacking`; test rows are never seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from synthkd.config import NetworkConfig
from synthkd.evaluate.hacking import Alarm, Reading, alarms, best

PROXY, RIGHT, LIKELIHOODS = "eval_proxy", "eval_right", "eval_likelihoods"
"""As they stand in the trainer's log."""
IGNORED = -100
"""The label of a token that is not learnt, as torch's cross entropy has it."""


def sample(examples: Sequence[Any], config: NetworkConfig) -> list[Any]:
    """Evenly spaced among the examples; [] = nothing is looked for."""
    if config.hacking is None:
        return []
    every = max(1, -(-len(examples) // config.hacking.rows))
    return [examples[place] for place in range(0, len(examples), every)]


def measured(learning: Any, config: NetworkConfig) -> dict[str, Any]:
    """What an evaluation measures besides.

    Args:
        learning: a guarded trainer; its `proxy` is the sample.
        config: the student's.
    """
    if config.hacking is None:
        return {}
    near = likelihoods(learning, learning.proxy)
    found: dict[str, Any] = {PROXY: sum(near) / len(near)}
    if config.hacking.golden == "likelihood":
        found[LIKELIHOODS] = likelihoods(learning, learning.eval_dataset)
    return found


def likelihoods(learning: Any, examples: Sequence[Any]) -> list[float]:
    """The mean log-likelihood of what is learnt of each example: of its label, or its tokens.

    Args:
        learning: a guarded trainer.
        examples: as its collator takes them.
    """
    import torch

    model = learning.accelerator.unwrap_model(learning.model)
    # Packed sequences are collated into one row: then one example at a time.
    size = 1 if getattr(learning.args, "packing", False) else learning.args.eval_batch_size
    causal = learning.student.kind == "sft"
    was_training = model.training
    model.eval()
    found: list[float] = []
    try:
        with torch.no_grad(), learning.compute_loss_context_manager():
            for start in range(0, len(examples), size):
                stop = min(start + size, len(examples))
                batch = learning.data_collator([dict(examples[i]) for i in range(start, stop)])
                found += _likelihoods(model, batch, causal=causal)
    finally:
        model.train(was_training)
    return found


def _likelihoods(model: Any, batch: Mapping[str, Any], *, causal: bool) -> list[float]:
    """Of each row of a collated batch."""
    import torch

    taken = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "labels")
    inputs = {name: batch[name].to(model.device) for name in taken if name in batch}
    labels = inputs["labels"]
    logits = model(**inputs).logits.float()
    if causal:
        logits, labels = logits[:, :-1], labels[:, 1:]
    if labels.dim() == 1:  # one a text
        logits, labels = logits[:, None], labels[:, None]
    learnt = labels != IGNORED
    shares = torch.log_softmax(logits, dim=-1)
    of_labels = shares.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * learnt
    means: list[float] = (of_labels.sum(dim=1) / learnt.sum(dim=1).clamp(min=1)).tolist()
    return means


# --- what is said of it


def report(
    config: NetworkConfig, log: Sequence[Mapping[str, Any]], kept: int | None
) -> dict[str, Any] | None:
    """For student.json: every checkpoint's figures, and where the alarm rang; None = not asked for.

    Args:
        config: the student's.
        log: the trainer's.
        kept: the step whose weights are kept; None = it is not known yet.
    """
    asked = config.hacking
    if asked is None:
        return None
    readings = _readings(config, log)
    return {
        "golden": asked.golden,
        "evals": asked.evals,
        "ses": asked.ses,
        "checkpoints": [
            {"step": r.at, "proxy": round(r.proxy, 6), "golden": round(r.mean, 6)} for r in readings
        ],
        "alarms": [asdict(alarm) for alarm in _alarms(config, log)],
        "best": readings[best(readings)].at if readings else None,
        "kept": kept,
        "best_by": config.best_by,
    }


def in_words(found: Mapping[str, Any] | None) -> str | None:
    """The last alarm, for a person; None = there is none."""
    if not found or not found["alarms"]:
        return None
    last, kept = found["alarms"][-1], found.get("kept")
    said = (
        f"teacher hacking: at step {last['at']:,} the student is nearer to what it learns from than"
        f" before, and worse on the dev rows ({found['golden']} is"
        f" {last['worse']:.3g} below step {last['best']:,}, standard error {last['se']:.2g})"
    )
    if kept is not None and found["best_by"] is None:
        said += f"; step {kept:,}, the last, is kept: `best_by` would keep the best on dev"
    return said


def alarm_at(step: int, config: NetworkConfig, log: Sequence[Mapping[str, Any]]) -> str | None:
    """What to say at this step; None = nothing."""
    found = report(config, log, None)
    return in_words(found) if found and any(a["at"] == step for a in found["alarms"]) else None


def _readings(config: NetworkConfig, log: Sequence[Mapping[str, Any]]) -> list[Reading]:
    assert config.hacking is not None  # noqa: S101  asked only where there is one
    golden = RIGHT if config.hacking.golden == "accuracy" else LIKELIHOODS
    return [
        Reading(at=entry["step"], proxy=entry[PROXY], golden=entry[golden])
        for entry in log
        if PROXY in entry and entry.get(golden)
    ]


def _alarms(config: NetworkConfig, log: Sequence[Mapping[str, Any]]) -> list[Alarm]:
    assert config.hacking is not None  # noqa: S101  asked only where there is one
    return alarms(_readings(config, log), evals=config.hacking.evals, ses=config.hacking.ses)
