"""What must hold of inputs and output beyond their schema: declared in the card, never executed.

    accept:
      - {rule: stands_in, of: "output.events[].drug", source: inputs.text, each: drop}
      - {rule: words, of: inputs.text, least: 5, most: 60}

A rule that breaks rejects the row with the rule's reason; with `each: drop` only the item of the
list that breaks it goes, and the row lives on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import permutations
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from synthkd.config import Settings, Share
from synthkd.graphs.ground import find
from synthkd.graphs.passages import words_in
from synthkd.recipes.cards.paths import EACH, Found, parse, values_at
from synthkd.recipes.replies import Loss
from synthkd.rows import Json, canonical
from synthkd.text import equivalent


def _is_path(path: str) -> str:
    parse(path)
    return path


Path = Annotated[str, AfterValidator(_is_path)]
"""Where the values stand, as of `synthkd.recipes.cards.paths`."""


class _Rule(Settings):
    of: Path
    """What is looked at; `[]` is each item of a list."""
    each: Literal["reject", "drop"] = "reject"
    """What goes where the rule breaks: the row, or the item of the innermost list."""

    @model_validator(mode="after")
    def _drops_an_item(self) -> _Rule:
        if self.each == "drop" and EACH not in parse(self.of):
            raise ValueError(f"each: drop takes out an item of a list, and {self.of} has no []")
        return self

    @property
    def paths(self) -> list[str]:
        """All that the rule looks at."""
        return [self.of, *([source] if (source := getattr(self, "source", None)) else [])]

    def broken(self, whole: Json) -> Iterator[tuple[Found, Loss]]:
        """The values that break it, from the left, each with why.

        Args:
            whole: {inputs: ..., output: ...}.
        """
        for found in values_at(parse(self.of), whole):
            if (loss := self._fault(found, whole)) is not None:
                yield found, loss

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        raise NotImplementedError


class StandsIn(_Rule):
    """A value stands in an input, as whole words. Reason: `not_in_input`."""

    rule: Literal["stands_in"]
    source: Path
    """The text."""
    near: Share | None = None
    """The least similarity of a spelling that is nearly there; null = letters must agree, and case
    and punctuation may differ (`synthkd.graphs.ground`)."""

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        texts = [str(one.value) for one in values_at(parse(self.source), whole)]
        said = _said(found.value)
        if any(find(said, text, near=self.near) for text in texts):
            return None
        return Loss("not_in_input", f"{found.place}: {said:.120} does not stand in {self.source}")


class InList(_Rule):
    """A value is one of those given. Reason: `not_listed`."""

    rule: Literal["in_list"]
    source: Path
    """The list of an input, as in `inputs.drugs[]`; case and outer signs make no difference."""

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        listed = [_said(one.value) for one in values_at(parse(self.source), whole)]
        said = _said(found.value)
        if equivalent(said) in set(map(equivalent, listed)):
            return None
        return Loss("not_listed", f"{found.place}: {said:.80} is none of {', '.join(listed):.120}")


class Words(_Rule):
    """A text has so many words. Reasons: `too_short`, `too_long`."""

    rule: Literal["words"]
    least: Annotated[int, Field(ge=0)] = 0
    most: Annotated[int, Field(ge=0)] | None = None
    """Words; a character of an unspaced script is one."""

    @model_validator(mode="after")
    def _possible(self) -> Words:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"least {self.least} is above most {self.most}: no text fits")
        return self

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        words = words_in(_said(found.value))
        if words < self.least:
            return Loss("too_short", f"{found.place}: {words} words, at least {self.least}")
        if self.most is not None and words > self.most:
            return Loss("too_long", f"{found.place}: {words} words, at most {self.most}")
        return None


class Matches(_Rule):
    """A text matches a pattern, somewhere. Reason: `no_match`.

    Patterns are those of Rust's regex, which looks at each character a bounded number of times:
    none takes for ever.
    """

    rule: Literal["matches"]
    pattern: str

    @model_validator(mode="after")
    def _compiles(self) -> Matches:
        try:
            _ = self._validator
        except SchemaError as error:
            raise ValueError(f"pattern: {error}") from error
        return self

    @cached_property
    def _validator(self) -> SchemaValidator:
        return SchemaValidator(core_schema.str_schema(pattern=self.pattern))

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        try:
            self._validator.validate_python(_said(found.value))
        except ValidationError:
            said = _said(found.value)
            return Loss("no_match", f"{found.place}: {said:.120} does not match {self.pattern}")
        return None


class Distinct(_Rule):
    """No value comes twice. Reason: `repeated`."""

    rule: Literal["distinct"]

    def broken(self, whole: Json) -> Iterator[tuple[Found, Loss]]:
        """Those that were there before."""
        seen: set[bytes] = set()
        for found in values_at(parse(self.of), whole):
            said = equivalent(found.value) if isinstance(found.value, str) else found.value
            key = canonical(said)
            if key in seen:
                yield found, Loss("repeated", f"{found.place}: {_said(found.value):.120}")
            seen.add(key)


class Differs(_Rule):
    """A value is not what another one is. Reason: `unchanged`."""

    rule: Literal["differs"]
    source: Path
    """The other one."""

    def _fault(self, found: Found, whole: Json) -> Loss | None:
        said = equivalent(_said(found.value))
        if all(
            said != equivalent(_said(one.value)) for one in values_at(parse(self.source), whole)
        ):
            return None
        return Loss("unchanged", f"{found.place} is what {self.source} is: {said:.120}")


Rule = Annotated[
    StandsIn | InList | Words | Matches | Distinct | Differs, Field(discriminator="rule")
]
"""One of `accept`."""


def _said(value: Json) -> str:
    return value if isinstance(value, str) else canonical(value).decode()


def contradictions(rules: Sequence[_Rule]) -> Iterator[str]:
    """Lengths of one value that exclude each other; where it is an item, a list may be empty."""
    lengths = [rule for rule in rules if isinstance(rule, Words) and EACH not in parse(rule.of)]
    for one, other in permutations(lengths, 2):
        if one.of == other.of and other.most is not None and one.least > other.most:
            yield (
                f"accept: {one.of} has at least {one.least} words by one rule, and at most"
                f" {other.most} by another"
            )


def told(rules: Sequence[_Rule]) -> list[str]:
    """The rules in words, for a prompt."""
    return [_in_words(rule) for rule in rules]


def _in_words(rule: _Rule) -> str:
    if isinstance(rule, StandsIn):
        return f"{rule.of} stands word for word in {rule.source}"
    if isinstance(rule, InList):
        return f"{rule.of} is one of {rule.source}"
    if isinstance(rule, Words):
        upper = "" if rule.most is None else f" and at most {rule.most}"
        return f"{rule.of} has at least {rule.least}{upper} words"
    if isinstance(rule, Matches):
        return f"{rule.of} matches the regular expression {rule.pattern}"
    if isinstance(rule, Distinct):
        return f"{rule.of} has no value twice"
    return f"{rule.of} is not the same as {rule.paths[-1]}"
