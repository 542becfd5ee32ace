"""Rubrics: what an answer is judged by, as data: criteria, their scales, their weights.

    about: How well an answer serves whoever asked.
    scale: [0, 4]                     # of every criterion that has none of its own
    criteria:
      - {name: correctness, weight: 0.8, asks: "Is it true?", anchors: {0: no, 4: all of it}}
      - {name: verbosity, weight: -0.4, asks: "How long is it for what it says?"}

A file `judges/helpsteer2.yaml` is named `judges/helpsteer2` and looked for where prompts are. The
same may stand in the pipeline itself, or, as a checklist, in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from synthkd.config import Settings
from synthkd.errors import ConfigError, MissingField, RowError
from synthkd.pipeline_file import read_yaml
from synthkd.prompts import find_named, shipped_folder
from synthkd.rows import Json, Row
from synthkd.schemas import Schema
from synthkd.text import equivalent, normalised

SUFFIX = ".yaml"
MOST_STEPS = 100
"""Of a scale: 0 to 100 is the finest that anybody asks for."""
MOST_CRITERIA = 50
LEAST_WEIGHT = 1e-6


class Criterion(Settings):
    """One thing that is scored."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    asks: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    """What the judge has to find out, in words."""
    scale: tuple[int, int]
    """The least and the most: whole numbers."""
    weight: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    """What the criterion counts in the score; below 0, more of it is worse."""
    anchors: Mapping[int, str] = {}
    """What a number of the scale means, in words."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Criterion:
        least, most = self.scale
        if not 0 < most - least <= MOST_STEPS:
            raise ValueError(
                f"scale must rise, by {MOST_STEPS} at most, got [{least}, {most}]; write it as "
                "[0, 4]"
            )
        if 0 < abs(self.weight) < LEAST_WEIGHT:
            raise ValueError(f"the weight of {self.name!r} is nearly 0: leave the criterion out")
        if self.weight == 0:
            raise ValueError(f"the weight of {self.name!r} is 0: leave the criterion out")
        if off := [number for number in self.anchors if not least <= number <= most]:
            raise ValueError(f"anchors must be on the scale [{least}, {most}], got {off[0]}")
        return self

    @property
    def shown(self) -> dict[str, Json]:
        """What a prompt is told: name, asks, least, most, anchors; not the weight."""
        least, most = self.scale
        anchors: list[Json] = [
            {"number": number, "means": means} for number, means in sorted(self.anchors.items())
        ]
        return {
            "name": self.name,
            "asks": self.asks,
            "least": least,
            "most": most,
            "anchors": anchors,
        }


class Rubric(Settings):
    """What an answer is judged by."""

    # `synthkd steps` shows what these say.
    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = ""
    """The file it came from; empty = the pipeline or the row has it."""
    about: str = ""
    """What is judged, in words that the judge reads."""
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=MOST_CRITERIA)]
    """What is scored, each with its scale."""

    @model_validator(mode="before")
    @classmethod
    def _every_criterion_has_a_scale(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or not isinstance(raw.get("criteria"), list):
            return raw
        common = {"scale": raw["scale"]} if "scale" in raw else {}
        criteria = [
            {**common, **one} if isinstance(one, Mapping) else one for one in raw["criteria"]
        ]
        bare = [one["name"] for one in criteria if _has_no_scale(one)]
        if bare:
            raise ValueError(
                f"no scale for {', '.join(bare)}: write `scale: [0, 4]` there, or once beside "
                "`criteria` for all of them"
            )
        return {
            **{key: value for key, value in raw.items() if key != "scale"},
            "criteria": criteria,
        }

    @model_validator(mode="after")
    def _names_differ(self) -> Rubric:
        named: dict[str, str] = {}
        for criterion in self.criteria:
            name = criterion.name
            spelt = equivalent(name)  # as replies are read: underscores make no difference
            if spelt in named:
                same = "" if named[spelt] == name else f" and {named[spelt]!r}, which count as one"
                raise ValueError(
                    f"two criteria are named {name!r}{same}, and a score could not say which it is"
                    " of: rename one"
                )
            named[spelt] = name
        return self

    @property
    def shown(self) -> list[Json]:
        """What a prompt is told of the criteria."""
        return [criterion.shown for criterion in self.criteria]

    @property
    def reply_schema(self) -> Schema:
        """The reply that is asked for: the reasoning first, then a number for each criterion.

        First in the alphabet too: names go out in that order, and a server that holds a model to
        the schema makes it write them so.
        """
        scores: dict[str, Any] = {
            criterion.name: {
                "type": "integer",
                "enum": list(range(criterion.scale[0], criterion.scale[1] + 1)),
            }
            for criterion in self.criteria
        }
        return Schema.of(
            "verdict",
            {
                "type": "object",
                "properties": {
                    "reasoning": {"type": "string"},
                    "scores": {
                        "type": "object",
                        "properties": scores,
                        "required": list(scores),
                        "additionalProperties": False,
                    },
                },
                "required": ["reasoning", "scores"],
                "additionalProperties": False,
            },
        )

    def score(self, scores: Mapping[str, float]) -> float:
        """The weighted mean of the criteria, each as its share of its scale: 0 to 1, 1 is best.

        A criterion of negative weight counts by the rest of its scale. It is the weighted sum of
        HelpSteer2 (arXiv 2406.08673), moved and stretched to 0..1.
        """
        total = 0.0
        for criterion in self.criteria:
            least, most = criterion.scale
            share = (scores[criterion.name] - least) / (most - least)
            total += abs(criterion.weight) * (share if criterion.weight > 0 else 1 - share)
        return total / sum(abs(criterion.weight) for criterion in self.criteria)


def _has_no_scale(criterion: object) -> bool:
    if not isinstance(criterion, Mapping) or not isinstance(criterion.get("name"), str):
        return False
    return "scale" not in criterion


def load_rubric(name: str, folders: Sequence[Path]) -> Rubric:
    """The rubric of that name, from the first folder that has it.

    Raises:
        ValueError: there is none, or the file has faults; the message tells all of them.
    """
    path = find_named(name, folders, kind="rubric", suffix=SUFFIX, example="judges/helpsteer2")
    try:
        raw = read_yaml(path, holds="about, scale, criteria; see docs/curation/judges.md")
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if _repeats(raw, set()):
        raise ValueError(f"{path}: repeats a list or a block by an alias (*name): write it out")
    try:
        return Rubric.model_validate({"name": name, **raw})
    except ValidationError as error:
        raise ValueError(f"{path}: {_told(error)}") from error


def _repeats(value: object, seen: set[int]) -> bool:
    """Whether a list or block stands in two places: by aliases, a small file may be endless."""
    if not isinstance(value, dict | list):
        return False
    if id(value) in seen:
        return True
    seen.add(id(value))
    return any(
        _repeats(one, seen) for one in (value.values() if isinstance(value, dict) else value)
    )


def _told(error: ValidationError) -> str:
    """Every fault with its place, on one line."""
    faults = [
        (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(f"{place}: {message}" if place else message for place, message in faults)


def _named_or_whole(value: Any, info: ValidationInfo) -> Any:
    """A rubric by its name; one that is written out is left to the model."""
    if not isinstance(value, str):
        return value
    folders = (info.context or {}).get("folders") or [Path("prompts"), shipped_folder("prompts")]
    return load_rubric(value, folders)


RubricSetting = Annotated[Rubric, BeforeValidator(_named_or_whole)]
"""A rubric in a step's settings: its name, or the whole of it."""


def checklist_of(row: Row, field: str) -> Rubric:
    """The row's own rubric: a list of texts, each met (1) or not (0); or criteria in full.

    Raises:
        RowError: the field holds neither, or two texts that are the same.
    """
    value = row.fields.get(field)
    if not isinstance(value, list | tuple) or not value:
        raise MissingField(
            f"the field {field!r} must hold a list of what to check, got {value!r:.80}"
        )
    texts = [normalised(item) for item in value if isinstance(item, str)]
    if len(set(texts)) < len(texts):
        raise RowError(f"{field} says one thing twice: {value!r:.200}")
    criteria = [
        {"name": f"item_{place}", "asks": item, "scale": (0, 1)} if isinstance(item, str) else item
        for place, item in enumerate(value, 1)
    ]
    try:
        return Rubric.model_validate({"criteria": criteria})
    except ValidationError as error:
        raise RowError(f"{field} is no checklist: {_told(error)}") from error
