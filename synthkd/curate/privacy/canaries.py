"""Canaries: secrets that nobody has, planted in rows, and the search for them in what came of them.

    - {use: privacy.canary, with: {field: question, share: 0.001}}   # in the run that teaches
    - use: privacy.search                                            # in one over what was said
      with:
        fields: [answer]
        canaries: {jsonl: data/out/teach/dataset/train.jsonl, field: canary}

A canary that shows up again was memorised: Carlini et al., "The Secret Sharer", USENIX Security
2019, who plant a random number in a fixed phrase, drawn evenly from a space R. Here R has
10^`digits` numbers. The rank of a canary's likelihood among all of R (its exposure, log2 |R| - log2
rank) needs a student that gives log-probabilities, and is not computed here: the search says which
came out whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from synthkd.config import Count, Share
from synthkd.curate.fields import text_of
from synthkd.curate.others import OtherData
from synthkd.curate.privacy.flat import flatten
from synthkd.curate.privacy.mask import texts_in
from synthkd.curate.texts import FieldOrFields
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import Kit, StepSettings, TableKit, step, table_step

SHORTEST = 6
"""Signs of a canary that is searched for: shorter ones come up by chance."""


class CanaryConfig(StepSettings):
    """What is planted, where, and in how many rows."""

    field: str
    """A text; the canary is put behind it, on a line of its own."""
    share: Share = 0.001
    """Of the rows, by chance: each row by itself."""
    phrase: str = "The access code of this record is {secret}."
    """What stands around the secret. A phrase of your field hides it better."""
    digits: int = Field(default=12, ge=6, le=18)
    """Of a secret: 10^digits are possible. With 12, one comes up by chance in 10^6 rows once in
    10^6 runs."""
    different: Count | None = None
    """How many canaries there are, each then planted in several rows, as more copies are memorised
    better; None = each row has its own."""
    into: str = "canary"
    """The field for the secret; null where none was planted."""

    @model_validator(mode="after")
    def _phrase_has_a_place(self) -> CanaryConfig:
        if self.phrase.count("{secret}") != 1:
            raise ValueError(f"phrase must hold {{secret}} once, got {self.phrase!r}")
        return self


@step(
    "privacy.canary",
    needs=lambda config: [config.field],
    gives=lambda config: [config.into],
)
async def canary(row: Row, kit: Kit, config: CanaryConfig, /) -> AsyncIterator[Row]:
    """Plants a secret number behind the text of some rows; `into` says which number and where."""
    text = text_of(row, config.field)
    if kit.rng.random() >= config.share:
        yield row.with_fields(**{config.into: None})
        return
    secret = secret_of(kit, config)
    planted = config.phrase.replace("{secret}", secret)
    kit.count("planted")
    yield row.with_fields(**{config.field: f"{text}\n{planted}".lstrip("\n"), config.into: secret})


def secret_of(kit: Kit, config: CanaryConfig) -> str:
    """The row's own number, or one of the `different` ones."""
    rng = kit.rng
    if config.different is not None:
        rng = kit.desk.rng(f"canary {rng.randrange(config.different)}")
    return f"{rng.randrange(10**config.digits):0{config.digits}}"


class SearchConfig(FieldOrFields):
    """Where canaries are searched for, and what becomes of rows with one.

    A field is a text, or lists and objects with texts in them.
    """

    canaries: OtherData
    """The file with the canaries, such as the rows.parquet of the run that planted them."""
    action: Literal["flag", "drop"] = "flag"
    """flag: `into` lists the canaries that were found; drop: the row is rejected."""
    into: str = "canaries_found"

    def faults(self, folder: Path) -> Iterable[str]:
        """See `StepSettings.faults`."""
        return self.canaries.faults_at("canaries", folder)


@table_step(
    "privacy.search",
    needs=lambda config: config.all_fields,
    gives=lambda config: [config.into] if config.action == "flag" else [],
)
def search(table: Table, kit: TableKit, config: SearchConfig, /) -> Iterator[Row]:
    """Searches for canaries, whatever signs stand between their letters and digits.

    Flags the rows, or with `drop` rejects them (`canary`); rejects rows without the fields
    (`missing_field`). Figures: how many canaries there are, how many came out, in how many rows.
    Memory: the canaries.
    """
    canaries = Canaries(text for _, text in config.canaries.texts(kit.desk.folder))
    came_out: set[str] = set()
    rows = 0
    for row in table:
        if absent := [name for name in config.all_fields if name not in row.fields]:
            kit.reject(row, "missing_field", f"the row has no field {absent[0]!r}")
            continue
        found: list[str] = []
        for name in config.all_fields:
            found += canaries.in_value(row.fields[name])
        came_out.update(found)
        rows += bool(found)
        if config.action == "flag":
            listed: list[Json] = [*dict.fromkeys(found)]
            yield row.with_fields(**{config.into: listed})
        elif found:
            kit.reject(row, "canary", f"{len(set(found))} in {', '.join(config.all_fields)}")
        else:
            yield row
    kit.note(
        {
            "canaries": len(canaries),
            "came_out": len(came_out),
            "rows_with_one": rows,
            "too_short": canaries.too_short,
        }
    )


class Canaries:
    """Secrets that are searched for.

    Args:
        secrets: as planted; what is blank or None is none, what has fewer than six letters and
            digits is counted and left out.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._by_length: dict[int, dict[str, str]] = {}
        self.too_short = 0
        for secret in secrets:
            said = compact(secret or "")
            if len(said) >= SHORTEST:
                self._by_length.setdefault(len(said), {})[said] = str(secret)
            elif said:
                self.too_short += 1

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def in_value(self, value: Json) -> list[str]:
        """The canaries in every text of a value, as they were planted."""
        return [secret for text in texts_in(value) for secret in self.in_text(text)]

    def in_text(self, text: str) -> list[str]:
        """The canaries in a text: a look-up for each place and each length that canaries have."""
        said = compact(text)
        found: dict[str, None] = {}
        for length, known in self._by_length.items():
            for place in range(len(said) - length + 1):
                secret = known.get(said[place : place + length])
                if secret is not None:
                    found[secret] = None
        return list(found)


def compact(text: str) -> str:
    """Letters and digits alone, case folded, digits of any script as ASCII."""
    return "".join(sign for sign in flatten(text).text.casefold() if sign.isalnum())
