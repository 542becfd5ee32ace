"""The world `forms`: reads invoices, each value with the words that say it.

It knows the labels of a few layouts in English, German and Japanese (`data/invoices.jsonl`). A
mistake is one that models make: a digit that is another, a quote that the document does not have, a
value for what is not there, the value of a neighbouring field, or a field that is left out. At the
same rate a reply has names of fields in another case, a field that nobody asked for, or a fence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from synthkd.rows import Fields
from synthkd.teachers.simulated.world import Role, role_of, text_in

ABLE: tuple[Role, ...] = ("extract",)
LABELS = {
    "invoice_no": r"Invoice(?: No\.)?|Rechnung Nr\.|\u8acb\u6c42\u66f8\u756a\u53f7",
    "supplier": r"From|Seller|Von|\u767a\u884c\u8005",
    "date": r"Date|Issued on|Datum|\u767a\u884c\u65e5",
    "due": r"Due by|Payable by|Zahlbar bis|\u652f\u6255\u671f\u9650",
    "total": r"Total|Amount due|Gesamtbetrag|\u5408\u8a08",
    "weight": r"Shipping weight|Weight|Gewicht|\u91cd\u91cf",
    "status": r"Status|State|Stand|\u72b6\u614b",
}
"""What stands before each value, at the beginning of a line."""
LINE = re.compile(r"^(?P<pieces>\d+) (?:x|St\u00fcck|\u500b) (?P<item>.+)$", re.MULTILINE)
NEIGHBOURS = {"date": "due", "due": "date", "supplier": "invoice_no", "invoice_no": "supplier"}
"""Whose value is taken by mistake."""
INVENTED = {
    "due": ("30 June 2024", "payable within thirty days of 30 June 2024"),
    "weight": ("12 kg", "approximate weight of the parcel: 12 kg"),
    "status": ("paid", "we thank you for your payment"),
}
"""Field -> a value and its evidence, of a document that has none."""
MISTAKES = ("digit", "quote", "neighbour", "left out")


def said_in(text: str) -> dict[str, tuple[str, str]]:
    """Of each field that the document has: its value as it stands there, and its evidence."""
    found: dict[str, tuple[str, str]] = {}
    for name, labels in LABELS.items():
        if match := re.search(rf"^(?:{labels})[:\uff1a] ?(?P<value>.+)$", text, re.MULTILINE):
            found[name] = match["value"].strip(), match[0].strip()
    return found


class Forms:
    """See the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float) -> None:
        self._error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """A JSON object of the fields that the input `fields` lists, some wrong at the rate."""
        role_of(prompt, ABLE, "forms")
        text = text_in(inputs, prompt, "forms")
        said = said_in(text)
        told: dict[str, Any] = {}
        for name in _wanted(inputs):
            if name == "lines":
                told[name] = [
                    {part: _leaf(match[part], match[0]) for part in ("item", "pieces")}
                    for match in LINE.finditer(text)
                    if rng.random() >= self._error_rate
                ]
                continue
            value = said.get(name)
            if rng.random() < self._error_rate:
                mistake = rng.choice(MISTAKES)
                if mistake == "left out":
                    continue
                value = _wrong(name, mistake, said, rng)
            told[name] = _leaf(*value) if value else _leaf(None, None)
        return self._shaped(told, rng)

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """A next document with its record."""
        return '\n\nInvoice: Z-1\n{"invoice_no": {"value": "Z-1", "evidence": "Invoice: Z-1"}}'

    def _shaped(self, told: dict[str, Any], rng: random.Random) -> str:
        """As JSON, perhaps with names in another case, a field too many, or in a fence."""
        if rng.random() < self._error_rate:
            told = {name.replace("_", " ").title(): value for name, value in told.items()}
        if rng.random() < self._error_rate:
            told["language"] = _leaf("en", None)
        text = orjson.dumps(told).decode()
        return f"Here it is:\n```json\n{text}\n```" if rng.random() < self._error_rate else text


def _wanted(inputs: Fields) -> Iterator[str]:
    """The fields that are asked for: lines such as "- total (money): ...", not indented."""
    listed = inputs.get("fields")
    for line in listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ():
        if match := re.match(r"- (\w+) \(", str(line)):
            yield match[1]


def _wrong(
    name: str, mistake: str, said: dict[str, tuple[str, str]], rng: random.Random
) -> tuple[str, str] | None:
    if name not in said:
        return INVENTED.get(name)
    value, evidence = said[name]
    if mistake == "quote":
        return value, f"as the letter says, {value} it is"
    if mistake == "neighbour" and (other := said.get(NEIGHBOURS.get(name, ""))) is not None:
        return other
    digits = [at for at, c in enumerate(value) if c.isdigit()]
    if not digits:
        return f"{value} Group", evidence
    at = rng.choice(digits)
    return f"{value[:at]}{(int(value[at]) + rng.randrange(1, 9)) % 10}{value[at + 1 :]}", evidence


def _leaf(value: str | None, evidence: str | None) -> dict[str, str | None]:
    return {"value": value, "evidence": evidence}
