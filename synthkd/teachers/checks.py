"""What would keep a teacher from opening, found before a ledger or anything else is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from synthkd.config import BudgetConfig, RecordedConfig, TeacherConfig
from synthkd.errors import UserError
from synthkd.io.paths import find_file
from synthkd.teachers.endpoint import api_key, api_urls
from synthkd.teachers.prices import price_for
from synthkd.teachers.students import find_student


def check_teachers(
    configs: Mapping[str, TeacherConfig],
    *,
    base: Path,
    budget: BudgetConfig,
    offline: bool,
    wordless: Collection[str] = (),
) -> None:
    """Look at all of them; of the student of a round there is nothing to see yet.

    Raises:
        UserError: an unset environment variable, a missing file or a column that it lacks, a folder
            that is no model, a budget that cannot be kept.
    """
    for name, config in configs.items():
        _check_budget(name, config, budget, writes=name not in wordless)
        if config.recorded is not None:
            from synthkd.teachers.recorded import check_recorded

            check_recorded(config.recorded, recorded_file(config.recorded, base))
        if config.simulated is not None:
            from synthkd.teachers.simulated import open_world

            open_world(config.simulated, base)
        if config.student is not None and config.student.folder is not None:
            find_student(name, config.student, base)
        if config.vllm is not None:
            from synthkd.teachers.vllm.model import find_adapters, find_model

            find_model(name, config.vllm, base, offline=offline)
            find_adapters(name, config.vllm, base)
        if config.kind == "http":
            api_urls(name, config)
            if not offline:
                api_key(name, config)


def recorded_file(config: RecordedConfig, base: Path) -> Path:
    """The file with the answers of a recorded teacher."""
    return find_file(config.parquet or config.jsonl or "", base)


def _check_budget(name: str, config: TeacherConfig, budget: BudgetConfig, *, writes: bool) -> None:
    """Refuse what could not be held at its worst cost."""
    max_tokens = config.max_tokens
    if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 1):
        raise UserError(
            f"teachers.{name}.params.{config.length_param} must be a whole number >= 1, "
            f"got {max_tokens!r}"
        )
    price = price_for(config)
    if budget.usd is not None and price is None:
        raise UserError(
            f"budget.usd is set, but the price of teachers.{name} ({config.model}) is unknown: "
            f"give `price: {{prompt: ..., completion: ...}}` in US dollars per million tokens, or "
            f"use budget.tokens"
        )
    costs = budget.usd is not None and price is not None and price.completion > 0
    counts = budget.tokens is not None and config.kind != "recorded"
    if writes and (costs or counts) and max_tokens is None:
        limit = "budget.usd" if costs else "budget.tokens"
        raise UserError(
            f"{limit} needs teachers.{name}.params.max_tokens: without it an answer may be of any "
            f"length, and no attempt could be held at its worst cost"
        )
