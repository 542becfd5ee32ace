"""Reads a pipeline file: YAML, `--set` overrides, and every fault at once with its place.

pipelines/x.yaml: steps[2].with.samples: input should be greater than or equal to 1, got 0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from synthkd.config import PipelineConfig
from synthkd.errors import ConfigError
from synthkd.plain_yaml import PlainLoader
from synthkd.rows import INT64, MAX_DEPTH


def read_yaml(
    path: Path, overrides: Sequence[str] = (), holds: str = "name, source, steps; see README.md"
) -> dict[str, Any]:
    """The file as plain values, with `--set` overrides applied; nothing is checked yet.

    Args:
        path: the pipeline file.
        overrides: `teachers.main.model=x`, `steps.NAME.with.samples=5`; the value is YAML.
        holds: what such a file has, for the message.

    Raises:
        ConfigError: no such file, no YAML, or an override that fits nowhere.
    """
    raw = load_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: must be a mapping with {holds}"])
    return apply_overrides(raw, overrides)


def load_yaml(path: Path) -> Any:
    """What a file of YAML or JSON holds, as plain values.

    Raises:
        ConfigError: no such file, or no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not valid YAML: {error}"]) from error
    except ValueError as error:  # such as the date 2024-13-45
        raise ConfigError([f"{path}: has a value that cannot be read: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{path}: lists and blocks are nested too deeply"]) from error


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set values in the tree; returns the same tree.

    Raises:
        ConfigError: with every override that fits nowhere.
    """
    faults = []
    for text in overrides:
        try:
            _apply(raw, text)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            faults.append(f"--set {text:.200}: {error}")
    if faults:
        raise ConfigError(faults)
    return raw


def refuse_no_json(raw: Mapping[str, Any], place: str) -> None:
    """Check that manifest, ledger and requests can hold the values, whatever reads them later.

    Raises:
        ConfigError: with every number beyond 64 bits, every text that no file can hold, and lists
            and blocks that are too deep or hold themselves.
    """
    if faults := [f"{place}: {fault}" for fault in _no_json(raw, "", (), set())]:
        raise ConfigError(faults)


def _no_json(value: object, where: str, around: tuple[int, ...], seen: set[int]) -> Iterator[str]:
    """What is wrong with the value, and where.

    Args:
        value: as YAML gave it.
        where: its place in the file.
        around: ids of the lists and blocks that it is in.
        seen: ids of those that were looked into: an alias may stand in a file a million times.
    """
    if isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            yield f"{where}: half of a character (a lone surrogate), in {value!r:.80}"
    elif isinstance(value, int) and value not in INT64:
        yield f"{where}: the number does not fit into 64 bits"
    elif isinstance(value, dict | list):
        if id(value) in around or len(around) > MAX_DEPTH:
            yield f"{where}: holds itself, or is nested more than {MAX_DEPTH} deep"
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from _no_json(name, f"{where}, a name in it", (), seen)
            inside = f"[{name}]" if isinstance(value, list) else f".{name}" if where else str(name)
            yield from _no_json(item, where + inside, (*around, id(value)), seen)


def parse_config(raw: Mapping[str, Any], place: str) -> tuple[PipelineConfig | None, list[str]]:
    """The checked pipeline, or None and every fault with its place."""
    try:
        return PipelineConfig.model_validate(raw), []
    except ValidationError as error:
        return None, faults_of(error, place)


def faults_of(error: ValidationError, place: str, inside: str = "") -> list[str]:
    """One line for each fault: file, place in the file, what is wrong, the value."""
    faults = []
    for fault in error.errors():
        where = inside
        for part in _names(fault["loc"]):
            where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
        said = fault["msg"].removeprefix("Value error, ")
        said = said[0].lower() + said[1:]
        shown = fault["type"] not in {"missing", "value_error"}
        given = f", got {fault['input']!r:.80}" if shown else ""
        faults.append(f"{place}: {where + ': ' if where else ''}{said}{given}")
    return faults


def _names(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A fault's place as the file has it: pydantic also names the kind of student that it is in."""
    return (place[0], *place[2:]) if place[:1] == ("student",) else place


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one value in the tree; a list of steps is entered by the step's name."""
    path, separator, text = override.partition("=")
    if not separator or not path.strip():
        raise ValueError("write NAME=VALUE, such as steps.label.with.samples=5")
    *parents, last = _parts(path.strip(), raw)
    node: Any = raw
    for part in parents:
        node = _enter(node, part)
    if not isinstance(node, dict):
        raise ValueError(f"{'.'.join(parents)} is not a block")
    node[last] = yaml.load(text, Loader=PlainLoader)  # noqa: S506  a SafeLoader


def _parts(path: str, raw: Mapping[str, Any]) -> list[str]:
    """The path's parts; a step's name may hold dots (`steps.dedup.exact.with.field`)."""
    if path.startswith("steps."):
        rest = path.removeprefix("steps.")
        steps = raw.get("steps")
        entries = [e for e in (steps if isinstance(steps, list) else []) if isinstance(e, dict)]
        names = [str(entry.get("name") or entry.get("use")) for entry in entries]
        for name in sorted(names, key=len, reverse=True):
            if rest.startswith(name + "."):
                return ["steps", name, *rest.removeprefix(name + ".").split(".")]
        raise ValueError(f"no step has that name; there are {', '.join(names) or 'none'}")
    return path.split(".")


def _enter(node: Any, part: str) -> Any:
    if isinstance(node, list):
        for entry in node:
            if isinstance(entry, dict) and part == (entry.get("name") or entry.get("use")):
                return entry
        raise ValueError(f"there is no entry {part!r}")
    if not isinstance(node, dict):
        raise ValueError(f"{part!r} is not inside a block")
    if node.get(part) is None:
        node[part] = {}
    return node[part]
