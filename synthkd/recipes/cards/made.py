"""What a teacher wrote for a card, checked: the fields of a row, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from synthkd.graphs.ground import find
from synthkd.recipes.cards.card import Card
from synthkd.recipes.cards.paths import parse, values_at, without, written
from synthkd.recipes.cards.rules import StandsIn
from synthkd.recipes.replies import Loss
from synthkd.rows import Json
from synthkd.schemas import Schema
from synthkd.text import tail

ANYTHING = Schema.of("anything", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Inputs and output that fit a card."""

    card: Card
    inputs: Mapping[str, Json]
    output: Json
    dropped: Sequence[Loss] = ()
    """Items that broke a rule with `each: drop`."""

    @property
    def whole(self) -> dict[str, Json]:
        """Both, as paths name them."""
        return {"inputs": self.inputs, "output": self.output}

    def fields(self, *, instruction: str, output: str, value: str) -> dict[str, Json]:
        """The fields of the row; `evidence` says where values stand that must stand in an input.

        Args:
            instruction: the field for what the student is asked.
            output: the field for what it answers, as text.
            value: the field for the same as a JSON value.
        """
        evidence: list[Json] = [*self._evidence()]
        return {
            instruction: self.card.instruction,
            "input": self.card.asked_with(self.inputs),
            output: self.card.answered_with(self.output),
            value: self.output,
            "task": self.card.name,
            "evidence": evidence,
        }

    def _evidence(self) -> Iterator[dict[str, Json]]:
        for rule in self.card.accept:
            if isinstance(rule, StandsIn):
                for found in values_at(parse(rule.of), self.whole):
                    yield from _places(found.place, found.value, rule, self.whole)


def _places(place: str, value: Json, rule: StandsIn, whole: Json) -> Iterator[dict[str, Json]]:
    for text in values_at(parse(rule.source), whole):
        at = find(str(value), str(text.value), near=rule.near)
        if at is not None:
            yield {"of": place, "in": text.place, "start": at.start, "end": at.end, "how": at.how}
            return


def checked(card: Card, whole: Any) -> Made | Loss:
    """Hold inputs and output against schema and rules.

    Args:
        card: whose they are.
        whole: {inputs: ..., output: ...}.

    Returns:
        What fits, or the first fault: `bad_json`, `outside_the_list` (a value that no `enum` has),
        `not_in_schema`, or the reason of a rule.
    """
    dropped: list[Loss] = []
    if (loss := _unfit(card, whole)) is not None:
        return loss
    for rule in card.accept:
        broken = list(rule.broken(whole))
        if broken and rule.each == "reject":
            return broken[0][1]
        for found, loss in reversed(
            broken
        ):  # from the right: places to the left stay what they are
            whole = without(whole, found.steps)
            dropped.append(loss)
    if dropped and (loss := _unfit(card, whole)) is not None:
        return Loss(dropped[-1].reason, f"{dropped[-1].detail}; without it: {loss.detail}")
    return Made(
        card=card,
        inputs=whole["inputs"],
        output=whole["output"],
        dropped=tuple(reversed(dropped)),
    )


def _unfit(card: Card, whole: Any) -> Loss | None:
    try:
        read = card.whole_schema.read(orjson.dumps(whole).decode())
    except TypeError as error:  # orjson reads more levels than it writes
        return Loss("not_in_schema", f"too many levels: {error}")
    if not read.faults:
        return None
    outside = next(_outside(whole, card.whole_schema.wire, card.whole_schema.wire, ()), None)
    if outside is not None:
        return Loss("outside_the_list", outside)
    return Loss("not_in_schema", "; ".join(read.faults)[:500])


def items_of(text: str, of: str = "") -> list[Any]:
    """The items of a JSON list in a reply, alone or fenced.

    Args:
        text: the reply.
        of: a field; then the reply is an object, and the one item is what stands in this field.

    Returns:
        The items, or one `Loss` where there is no such JSON.
    """
    read = ANYTHING.read(text)
    if read.faults:
        return [Loss("bad_json", f"{read.faults[0]}: {tail(text)}")]
    if of:
        if isinstance(read.value, Mapping) and of in read.value:
            return [read.value[of]]
        return [Loss("bad_json", f"no {of!r} in {tail(text)}")]
    if not isinstance(read.value, list):
        return [Loss("bad_json", f"no list: {tail(text)}")]
    return read.value


def _outside(
    value: Json, schema: Any, root: Mapping[str, Any], steps: tuple[Any, ...]
) -> Iterator[str]:
    """Values that stand in no `enum` where there is one."""
    if not isinstance(schema, Mapping):
        return
    listed = schema.get("enum")
    if isinstance(listed, list) and not isinstance(value, Mapping | list):
        if value not in listed:
            yield f"{written(steps)}: {value!r:.80} is none of {', '.join(map(str, listed)):.200}"
        return
    if isinstance(value, Mapping):
        for name, part in dict(schema.get("properties") or {}).items():
            if name in value:
                yield from _outside(value[name], part, root, (*steps, name))
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _outside(item, schema.get("items"), root, (*steps, number))
