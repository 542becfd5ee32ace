"""Tasks of lm-evaluation-harness before and after training (extra `harness`).

    scores("hf", {"pretrained": "./base"}, ["arc_easy"], shots=0)
    # {"arc_easy acc": [1.0, 0.0, ...], ...}
    scores("local-chat-completions", {"model": "m", "base_url": "http://127.0.0.1:8000/v1/"}, ...)

The harness asks, parses and scores; ours are only the scores of single documents, so that before
and after can be compared document by document. It fetches what a task names from the hub, and a
task's file may name Python code, which it runs: `include` is as trusted as any program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthkd.errors import UserError


def check_harness() -> None:
    """Check that it is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "evaluate.forgetting.harness needs lm-evaluation-harness: pip install"
            " 'synthkd[harness]', or leave harness out: our own questions need nothing"
        )


def scores(
    model: str,
    model_args: Mapping[str, Any],
    tasks: Sequence[str],
    *,
    shots: int | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    chat_template: bool = False,
    include: Path | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Scores from 0 to 1 of each document, by "task metric" and, of several, by filter.

    Args:
        model: kind of model, as the harness calls it: `hf`, `local-chat-completions`, ...
        model_args: of that kind.
        tasks: names.
        shots: worked examples before each question; None = as the task says.
        limit: documents of each task; None = all.
        batch_size: documents at once.
        chat_template: ask in the model's chat template.
        include: a folder with tasks of one's own.
        seed: of all chance.

    Raises:
        UserError: it is not installed, a task is unknown, or none has scores of its documents.
    """
    check_harness()
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=None if include is None else str(include))
    try:
        found = simple_evaluate(
            model=model,
            model_args=dict(model_args),
            tasks=list(tasks),
            num_fewshot=shots,
            limit=limit,
            batch_size=batch_size,
            apply_chat_template=chat_template,
            task_manager=manager,
            bootstrap_iters=0,  # the intervals are ours
            log_samples=True,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"evaluate.forgetting.harness: {type(error).__name__}: {error}") from error
    samples: Mapping[str, Sequence[Mapping[str, Any]]] = (found or {}).get("samples") or {}
    read = by_metric(samples)
    if not read:
        raise UserError(
            f"evaluate.forgetting.harness: {', '.join(tasks)}: no metric with a score from 0 to 1"
            " of each document (perplexities have none): name other tasks"
        )
    return read


def by_metric(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[float]]:
    """Scores by "task metric", from what the harness logs of each document; pure."""
    found: dict[str, list[float]] = {}
    for task, documents in samples.items():
        filters = dict.fromkeys(str(one.get("filter", "none")) for one in documents)
        for name in filters:
            logged = [one for one in documents if str(one.get("filter", "none")) == name]
            ordered = sorted(logged, key=lambda one: int(one["doc_id"]))
            of_filter = f" ({name})" if len(filters) > 1 else ""
            for metric in dict.fromkeys(m for one in ordered for m in one["metrics"]):
                values: list[Any] = [one.get(metric) for one in ordered]
                if values and all(_is_share(value) for value in values):
                    found[f"{task} {metric}{of_filter}"] = [float(value) for value in values]
    return found


def _is_share(value: Any) -> bool:
    try:
        return 0.0 <= float(value) <= 1.0
    except (TypeError, ValueError):
        return False
