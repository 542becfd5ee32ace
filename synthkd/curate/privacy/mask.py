"""`privacy.mask`: personal data out of fields, before they leave for an API, or out of answers.

    - use: privacy.mask
      with: {fields: [question, context]}                       # <EMAIL_1>
    - use: privacy.mask
      with: {fields: [question], action: pseudonym, key_env: SYNTHKD_PSEUDONYM_KEY}

It changes the fields in place, so that nothing behind it sees the originals: neither the teacher
nor the dataset. There is no way back: a table of originals would be the personal data all over
again. What was found is counted by kind; no value is written anywhere, not even in a rejection.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from pydantic import model_validator

from synthkd.curate.fields import value_of
from synthkd.curate.privacy.find import Recogniser, find
from synthkd.curate.privacy.flat import flatten
from synthkd.curate.privacy.patterns import KINDS, recognisers
from synthkd.curate.privacy.replace import Placeholders, Pseudonyms, Replace, taken_in
from synthkd.curate.texts import FieldOrFields
from synthkd.errors import Rejected, UserError
from synthkd.hints import near
from synthkd.rows import Json, Row
from synthkd.steps import Kit, step

MOST_PASSES = 20
"""A replacement can uncover a number that touched it; a text that never ends so is rejected."""
KEY_BYTES = 16
"""The least that a pseudonym key may have."""
PERSON = "person"


class MaskConfig(FieldOrFields):
    """Where personal data is looked for, and what becomes of it.

    A field is a text, or lists and objects with texts in them (messages); other values stay.
    """

    kinds: list[str] | None = None
    """Which kinds; by default all of: email, url, api_key, iban, card, ip, us_ssn, uk_nino,
    de_tax_id, fr_nir, es_dni, it_cf, pl_pesel, br_cpf, nl_bsn, phone; and person where spacy_model
    is set."""
    action: Literal["placeholder", "pseudonym", "drop"] = "placeholder"
    """placeholder: <EMAIL_1>, the same value the same number within the row; pseudonym: a stand-in
    of the same form, the same in all rows and runs; drop: the row is rejected."""
    key_env: str | None = None
    """Name of the environment variable with the secret key of pseudonyms, 16 bytes or more."""
    engine: Literal["patterns", "presidio"] = "patterns"
    """presidio: what presidio-analyzer recognises besides (extra `pii`)."""
    language: str = "en"
    """Of the texts, for presidio: its words of context are by language."""
    spacy_model: str | None = None
    """An installed spaCy model such as en_core_web_sm, for names of persons; never downloaded."""

    @model_validator(mode="after")
    def _known(self) -> MaskConfig:
        for kind in self.kinds or ():
            if kind not in (*KINDS, PERSON):
                hint = near(kind, KINDS) or f"; there are {', '.join(KINDS)}, {PERSON}"
                raise ValueError(f"kinds: there is no kind {kind!r}{hint}")
        if self.kinds == []:
            raise ValueError("kinds is empty, and would mask nothing: leave it out for all kinds")
        if (self.action == "pseudonym") != (self.key_env is not None):
            raise ValueError("key_env goes with action pseudonym, and only with it")
        if PERSON in (self.kinds or ()) and self.spacy_model is None:
            raise ValueError("kind person needs spacy_model: names are found by a model only")
        return self

    @model_validator(mode="after")
    def _installed(self) -> MaskConfig:
        from synthkd.curate.privacy.presidio import missing

        if (self.engine == "presidio" or self.spacy_model) and (fault := missing(self.spacy_model)):
            raise ValueError(fault)
        return self


@step("privacy.mask", needs=lambda config: config.all_fields)
async def mask(row: Row, kit: Kit, config: MaskConfig, /) -> AsyncIterator[Row]:
    """Masks personal data in fields; with `drop` rejects rows that have any (`personal_data`)."""
    values = {name: value_of(row, name) for name in config.all_fields}
    found: Counter[str] = Counter()
    looked_for = all_recognisers(config)
    if config.action == "drop":
        for value in values.values():
            for text in texts_in(value):
                found.update(span.kind for span in find(text, looked_for))
        if found:
            raise Rejected("personal_data", f"{', '.join(config.all_fields)}: {in_words(found)}")
        yield row
        return
    replace = replacement(row, config)
    masked: dict[str, Json] = {
        name: mapped(value, lambda text: without_personal_data(text, looked_for, replace, found))
        for name, value in values.items()
    }
    for kind, times in sorted(found.items()):
        kit.count(f"masked_{kind}", times)
    yield row.with_fields(**masked) if found else row


def replacement(row: Row, config: MaskConfig) -> Replace:
    """What stands where the row's personal data was."""
    if config.key_env is not None:
        return pseudonyms(config.key_env)
    taken: dict[str, int] = {}
    for value in row.fields.values():
        for text in texts_in(value):
            taken_in(text, taken)
    return Placeholders(taken)


def without_personal_data(
    text: str, looked_for: Sequence[Recogniser], replace: Replace, found: Counter[str]
) -> str:
    """The text with every span replaced; what was found is added to `found`.

    Raises:
        Rejected: `personal_data`: each replacement uncovers more, twenty times over.
    """
    for _ in range(MOST_PASSES):
        spans = find(text, looked_for)
        if not spans:
            return text
        pieces, place = [], 0
        for span in spans:
            written = flatten(text[span.start : span.end]).text
            pieces += [text[place : span.start], replace(span, written)]
            place = span.end
            found[span.kind] += 1
        text = "".join([*pieces, text[place:]])
    raise Rejected("personal_data", f"still found after {MOST_PASSES} passes: {in_words(found)}")


def mapped(value: Json, change: Callable[[str], str]) -> Json:
    """The value with every text in it changed; names of objects stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: mapped(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(item, change) for item in value]
    return value


def texts_in(value: Json) -> Iterator[str]:
    """Every text in a value, in order; not the names of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def in_words(found: Mapping[str, int]) -> str:
    """How many of each kind: never a value."""
    return ", ".join(f"{times} {kind}" for kind, times in sorted(found.items()))


def all_recognisers(config: MaskConfig) -> Sequence[Recogniser]:
    """What the settings ask for."""
    kinds = tuple(config.kinds or (*KINDS, *([PERSON] if config.spacy_model else ())))
    return _opened(kinds, config.engine, config.language, config.spacy_model)


@lru_cache(maxsize=16)
def _opened(
    kinds: tuple[str, ...], engine: str, language: str, spacy_model: str | None
) -> Sequence[Recogniser]:
    """Made once for all rows: a model takes seconds to load."""
    ours: Iterable[Recogniser] = recognisers(kinds)
    if engine == "presidio" or spacy_model is not None:
        from synthkd.curate.privacy.presidio import open_presidio

        return [*ours, open_presidio(kinds, language, spacy_model, everything=engine == "presidio")]
    return list(ours)


def pseudonyms(variable: str) -> Pseudonyms:
    """Those under the key in the environment.

    Raises:
        UserError: the variable is not set, or its key is too short to keep a secret.
    """
    key = os.environ.get(variable, "").encode("utf-8", "surrogateescape")
    if not key:
        raise UserError(
            f"key_env names the environment variable {variable}, which is not set: set it to a long"
            " random text, the same in every run that must give the same pseudonyms"
        )
    if len(key) < KEY_BYTES:
        raise UserError(
            f"the key in {variable} has {len(key)} bytes, and fewer than {KEY_BYTES} can be guessed"
        )
    return Pseudonyms(key)
