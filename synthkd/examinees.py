"""Who is examined by `synthkd eval FILE`, and the pipeline file as a trial of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.errors import UserError
from synthkd.folder import MANIFEST
from synthkd.io.rows_file import ROWS
from synthkd.students.artefact import ABOUT, read_about

FORMATS = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet", "": "hf"}
"""Of a file with rows, by its ending; a folder is a Hugging Face dataset."""
OF_TRAINING = {"best_by", "patience", "seeds"}
"""Settings of a student that need rows to choose by: it is trained already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Who is examined; whoever is named takes the place of the teachers of `evaluate.ask`."""

    student: Path | None = None
    """The folder of a student, of a run, or of any causal model."""
    teachers: Sequence[str] = ()
    """Those of the file's `teachers` that the asked step asks, in place of its own."""
    endpoint: str | None = None
    """Base URL of another teacher, that the file need not have."""
    model: str | None = None
    api_key_env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A student's folder, looked into."""

    folder: Path
    about: Mapping[str, Any] | None
    """None = a model that is asked like a teacher."""
    rows_file: Path | None = None
    """What it learnt from, where it lies in the folder of its run."""


def find_student(place: Path) -> Found:
    """What is in a folder that is to be examined.

    Args:
        place: of a student, of a run that has one, or of a causal model.

    Raises:
        UserError: none of them, or a damaged one.
    """
    folder = place if (place / ABOUT).exists() else place / "student"
    if (folder / ABOUT).exists():
        rows_file = folder.parent / ROWS
        of_run = (folder.parent / MANIFEST).exists() and rows_file.exists()
        return Found(
            folder=folder, about=read_about(folder), rows_file=rows_file if of_run else None
        )
    if (place / "config.json").exists():
        return Found(folder=place, about=None)
    raise UserError(
        f"--student {place}: there is no student ({ABOUT} is missing, also in {place / 'student'})"
        " and no model (config.json is missing): name the folder of a run, DIR/student, or a model"
        " in Hugging Face's layout"
    )


# --- the pipeline file as a trial


def others_named(named: Named, found: Found | None) -> dict[str, Any]:
    """Teachers that the file need not have, by their names."""
    if (named.endpoint is None) != (named.model is None):
        raise UserError("--endpoint and --model go together: where it is, and what it is called")
    others: dict[str, Any] = {}
    if named.endpoint is not None and named.model is not None:
        key = {} if named.api_key_env is None else {"api_key_env": named.api_key_env}
        block = {"endpoint": named.endpoint, "model": named.model, **key}
        others[_name(named.model)] = block
    if found is not None and found.about is None:
        others[_name(found.folder.resolve().name)] = {"student": {"folder": str(found.folder)}}
    return others


def _name(written: str) -> str:
    """A teacher's name out of that of a model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", written).lstrip("._-")[:100] or "model"


def source_of(raw: Mapping[str, Any], rows: str | Path | None, limit: int | None) -> Any:
    """The source of the trial: where nothing is held out, all of it is."""
    source = raw.get("source")
    source = dict(source) if isinstance(source, dict) else {}
    if rows is not None:
        kind = FORMATS.get(Path(rows).suffix.lower())
        if kind is None:
            raise UserError(
                f"--rows {rows}: must end in .jsonl, .csv or .parquet, or be the folder of a"
                " Hugging Face dataset"
            )
        kept = {name: source[name] for name in ("id", "split") if name in source}
        source = {kind: str(rows), **kept}
    if limit is not None:
        source["limit"] = limit
    if not source.get("holdout"):
        evaluate = raw.get("evaluate")
        on = evaluate.get("on", "test") if isinstance(evaluate, dict) else "test"
        source["holdout"] = {on: 1}
    return source or None


def _leave_out(evaluate: dict[str, Any], *, student: bool, asked: bool) -> None:
    """What only makes sense with a student, or with teachers that are asked."""
    if not student:
        evaluate.pop("forgetting", None)
    if paraphrases := evaluate.get("paraphrases"):
        there = {"student": student, "ask": asked}
        left = {kind: names for kind, names in paraphrases.items() if there.get(kind)}
        evaluate["paraphrases"] = left or None


def as_trial(
    raw: Mapping[str, Any], path: Path, names: Sequence[str], found: Found | None
) -> dict[str, Any]:
    """The blocks that a trial needs, of a file whose blocks are in order.

    Args:
        raw: the file's content.
        path: for messages.
        names: of the teachers to ask in place of the step's own.
        found: the student.

    Raises:
        UserError: nobody would be asked.
    """
    blocks = ("name", "seed", "teachers", "budget", "limits", "ledger", "source")
    trial = {name: raw[name] for name in blocks if name in raw}
    evaluate = dict(raw.get("evaluate") or {})
    entries = raw.get("steps") or []
    ask = evaluate.get("ask")
    by_label = {e.get("name") or e["use"]: e for e in entries}
    entry = None if ask is None else by_label.get(ask)
    about = None if found is None else found.about
    _leave_out(evaluate, student=about is not None, asked=about is None or bool(names))
    if about is not None:
        trial["student"] = {k: v for k, v in about["config"].items() if k not in OF_TRAINING}
        if not names:  # of the asked step only its gold is wanted
            gold = evaluate.get("gold") or ((entry or {}).get("with") or {}).get("gold")
            return {**trial, "evaluate": {**evaluate, "ask": None, "gold": gold}}
    if entry is None:
        raise UserError(
            f"{path}: nobody is examined: name the step that asks the teachers in `evaluate.ask`"
            " (--set evaluate.ask=NAME), or a student with --student"
        )
    if names:
        settings = dict(entry.get("with") or {})
        own = [settings.pop("teacher", None), *(settings.pop("teachers", None) or ())]
        settings |= {"teacher": names[0]} if len(names) == 1 else {"teachers": list(names)}
        entry = {**entry, "with": settings}
        params = next((trial["teachers"].get(n, {}).get("params") for n in own if n), None)
        for name in names:  # asked as the one whose place it takes
            if params is not None and name in trial["teachers"]:
                trial["teachers"][name].setdefault("params", params)
    return {**trial, "steps": [entry], "evaluate": evaluate}
