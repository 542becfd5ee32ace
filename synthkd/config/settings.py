"""What every block of YAML has in common, and the types of values that several blocks have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# What numpy and scikit-learn take, and far below what JSON holds.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1, le=10**12)]
# All answers to a row are in memory at once, and the next round's samples begin at 10^6.
Samples = Annotated[int, Field(ge=1, le=10_000)]
# Each has a task of its own.
InFlight = Annotated[int, Field(ge=1, le=100_000)]
# In billionths it still fits into 64 bits.
MAX_USD = 1e9
Share = Annotated[float, Field(ge=0, le=1)]
# A name becomes a folder and a column: nothing in it can climb out of the output folder.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


def _each_once(teachers: list[str]) -> list[str]:
    if len(set(teachers)) < len(teachers):
        raise ValueError("must name each teacher once; `samples` asks one repeatedly")
    return teachers


# One that is named twice would be asked once and have two votes.
Teachers = Annotated[list[str], Field(min_length=1), AfterValidator(_each_once)]


class Settings(BaseModel):
    """A block of YAML: unknown names are faults, values do not change after loading."""

    # Not `use_attribute_docstrings`: nothing shows them, and reading them takes 60 ms.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
