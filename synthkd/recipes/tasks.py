"""Classes of tasks and the share that each shall have of a mixture, as data.

    other: Others
    shares: {Math: 0.25, Code: 0.25, Writing: 0.4, Others: 0.1}

A file `tag/tasks.yaml` is named `tag/tasks` and looked for where prompts are: the shipped one has
the 32 classes of TAPIR (arXiv 2405.13448). The same may stand in the pipeline, or a list of names,
which then have equal shares. `tag` sorts by the names, a curriculum balances by the shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from synthkd.config import Settings
from synthkd.errors import ConfigError
from synthkd.hints import near
from synthkd.pipeline_file import read_yaml
from synthkd.prompts import find_named, shipped_folder
from synthkd.text import equivalent

SUFFIX = ".yaml"
OTHERS = "Others"
"""The class of what belongs to none, where a list of names has it and nothing else is said."""
LEAST = 2
MOST = 500
"""Classes: a prompt lists all of them."""
ROUNDING = 1e-6
"""How far from 1 the sum of the shares may be: they are written with a few decimals."""


DIFFER = "differ in more than case, spaces, hyphens and underscores"


def spelling(name: str) -> str:
    """One spelling for all that name the same class: "Common sense" is "Common-Sense"."""
    return equivalent(name.replace("-", " "))


class Tasks(Settings):
    """Classes of tasks."""

    # `synthkd steps` shows what these say.
    model_config = ConfigDict(use_attribute_docstrings=True)

    shares: Mapping[str, float]
    """Name -> share of the mixture, 0 to 1; they sum to 1, in the order that prompts list them."""
    other: str | None = None
    """The class of what belongs to none; null = there is none."""

    @model_validator(mode="before")
    @classmethod
    def _equal_shares_of_a_list(cls, raw: Any) -> Any:
        if not isinstance(raw, list):
            return raw
        if any(not isinstance(name, str) for name in raw) or len(set(raw)) != len(raw):
            raise ValueError(f"a list of tasks must name each once, as text, got {raw!r:.200}")
        share = 1 / len(raw) if raw else 0
        return {
            "shares": dict.fromkeys(raw, share),
            "other": next((name for name in raw if equivalent(name) == equivalent(OTHERS)), None),
        }

    @field_validator("shares")
    @classmethod
    def _names_and_shares(cls, shares: Mapping[str, float]) -> Mapping[str, float]:
        if not LEAST <= len(shares) <= MOST or not all(map(str.strip, shares)):
            raise ValueError(f"must have {LEAST} to {MOST} classes with names, got {len(shares)}")
        if len({spelling(name) for name in shares}) != len(shares):
            raise ValueError(f"classes must {DIFFER}")
        for name, share in shares.items():
            if not (math.isfinite(share) and share >= 0):
                raise ValueError(
                    f"the share of {name!r} must be a number of 0 or more, got {share}"
                )
        if abs(math.fsum(shares.values()) - 1) > ROUNDING:
            raise ValueError(f"the shares must sum to 1, got {math.fsum(shares.values()):.6g}")
        return shares

    @model_validator(mode="after")
    def _other_is_one(self) -> Tasks:
        if self.other is not None and self.other not in self.shares:
            raise ValueError(
                f"other: {self.other!r} is none of the classes{near(self.other, self.shares)}"
            )
        return self

    @property
    def names(self) -> list[str]:
        """All classes, in their order."""
        return list(self.shares)


def load_tasks(name: str, folders: Sequence[Path]) -> Tasks:
    """The classes of that name, from the first folder that has them.

    Raises:
        ValueError: there are none, or the file has faults; the message tells all of them.
    """
    path = find_named(name, folders, kind="file of tasks", suffix=SUFFIX, example="tag/tasks")
    try:
        return Tasks.model_validate(read_yaml(path, holds="shares, other; see docs/recipes/tag.md"))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        faults = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise ValueError(f"{path}: {faults}") from error


def _named_or_whole(value: Any, info: ValidationInfo) -> Any:
    """Tasks by the name of their file; what is written out is left to the model."""
    if not isinstance(value, str):
        return value
    folders = (info.context or {}).get("folders") or [Path("prompts"), shipped_folder("prompts")]
    return load_tasks(value, folders)


TasksSetting = Annotated[Tasks, BeforeValidator(_named_or_whole)]
"""Tasks in a step's settings: the name of a file, a list of names, or the whole of it."""
