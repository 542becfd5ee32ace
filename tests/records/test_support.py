from __future__ import annotations

from typing import Any

import pytest

from synthkd.records.reading import Leaf
from synthkd.records.schema import RecordField
from synthkd.records.support import grounded
from synthkd.records.values import normal
from synthkd.rows import Json

TEXT = (
    "\ufeffRechnung Nr. 7\nDatum: 05.03.2024, zahlbar bis 04.04.2024\n"
    "Summe: 1.234,56\u00a0€ für 500 g Tee von CAFÉ Lindner\n合計：１２８円、山田商店"
)
DATE = {"type": "date", "order": "dmy"}
EURO = {"type": "money", "currency": "EUR"}


@pytest.mark.parametrize(
    ("value", "field", "evidence", "told"),
    [
        ("05.03.2024", DATE, "Datum: 05.03.2024", "exact"),
        ("5 March 2024", DATE, "Datum: 05.03.2024", "exact"),
        ("05.03.2024", DATE, "datum 05.03.2024", "spelling"),
        ("06.03.2024", DATE, "Datum: 05.03.2024", "!evidence_lacks_value"),
        ("06.03.2024", DATE, "Datum: 06.03.2024", "!not_in_text"),
        ("1.234,56 €", EURO, "Summe: 1.234,56 €", "spelling"),
        # The quote is believed for its letters alone: the document says another number there.
        ("1,234,560 €", EURO, "Summe: 123.456 €", "!evidence_lacks_value"),
        ("12,34 €", EURO, "1.234,56", "!evidence_lacks_value"),
        ("1.234,56 USD", EURO, "Summe: 1.234,56\u00a0€", "!evidence_lacks_value"),
        ("1.234,56 USD", EURO, "1.234,56", "exact"),  # the table's head may say so
        ("500 g", {"type": "number", "unit": "kg"}, "500 g Tee", "exact"),
        ("0.5 kg", {"type": "number", "unit": "kg"}, "500 g Tee", "exact"),
        ("500", {"type": "number"}, "500 g Tee", "exact"),
        ("5", {"type": "number"}, "500 g Tee", "!evidence_lacks_value"),
        ("Café Lindner", {"type": "text"}, "von CAFÉ Lindner", "exact"),
        ("Café Linde", {"type": "text"}, "von CAFÉ Lindner", "!evidence_lacks_value"),
        ("a café", {"type": "text", "literal": False}, "von CAFÉ Lindner", "exact"),
        ("open", {"type": "enum", "choices": ["open"]}, "zahlbar bis 04.04.2024", "exact"),
        (
            "open",
            {"type": "enum", "literal": True, "choices": {"open": ["zahlbar"]}},
            "zahlbar bis 04.04.2024",
            "exact",
        ),
        (
            "open",
            {"type": "enum", "literal": True, "choices": {"open": ["unpaid"]}},
            "zahlbar bis 04.04.2024",
            "!evidence_lacks_value",
        ),
        ("128円", {"type": "money"}, "合計：１２８円", "exact"),
        ("山田商店", {"type": "text"}, "山田商店", "exact"),
        ("7", {"type": "text"}, None, "!no_evidence"),
        ("7", {"type": "text"}, "  ", "!no_evidence"),
        ("7", {"type": "text"}, "?!", "!not_in_text"),
    ],
)
def test_evidence(value: Json, field: dict[str, Any], evidence: str | None, told: str) -> None:
    of = RecordField.model_validate(field)
    leaf = Leaf(path=("x",), state="value", value=normal(value, of), evidence=evidence)
    found = grounded(leaf, of, TEXT)
    assert told == (f"!{found.reason}" if found.span is None else found.span["how"])
    if found.span is not None:
        start, end = found.span["start"], found.span["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert evidence is not None
        if found.span["how"] == "exact":
            assert TEXT[start:end] == evidence
    else:
        assert (found.state, found.value) == ("lost", None)


def test_the_place_that_says_the_value_is_taken() -> None:
    of = RecordField(type="number", decimal=".")
    leaf = Leaf(path=("x",), state="value", value=12.5, evidence="paid: 125")
    found = grounded(leaf, of, "Paid 125 and paid: 12.5 and paid 1-25")
    assert found.span == {"start": 13, "end": 23, "how": "spelling"}


@pytest.mark.parametrize(
    ("value", "field", "evidence", "told"),
    [
        ("05.03.2024", DATE, "the date of the bill", "Datum: 05.03.2024, zahlbar bis 04.04.2024"),
        ("7", {"type": "text"}, None, "Rechnung Nr. 7"),
        ("128", {"type": "number"}, "?", "合計：１２８円、山田商店"),
        ("129", {"type": "number"}, "?", "!not_in_text"),
        ("04.03.2024", DATE, None, "!no_evidence"),
        ("06.03.2024", DATE, "Datum: 05.03.2024", "!evidence_lacks_value"),  # the quote stands
        ("open", {"type": "enum", "choices": ["open"]}, "?", "!not_in_text"),  # nothing to look for
    ],
)
def test_a_quote_may_be_repaired(
    value: Json, field: dict[str, Any], evidence: str | None, told: str
) -> None:
    of = RecordField.model_validate(field)
    leaf = Leaf(path=("x",), state="value", value=normal(value, of), evidence=evidence)
    found = grounded(leaf, of, TEXT, repair=True)
    if found.span is None:
        assert f"!{found.reason}" == told
    else:
        start, end = found.span["start"], found.span["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert (TEXT[start:end].lstrip("\ufeff"), found.span["how"]) == (told, "value")
    twice = f"{TEXT}\nDatum: 05.03.2024"
    assert grounded(leaf, of, twice, repair=True).span is None or told != TEXT.splitlines()[1]


def test_what_has_no_value_stays_as_it_is() -> None:
    for leaf in (
        Leaf(path=("x",), state="null"),
        Leaf(path=("x",), state="missing"),
        Leaf(path=("x",), state="value", value=[]),
        Leaf(path=("x",), state="lost", reason="not_a_date"),
    ):
        assert grounded(leaf, RecordField(), TEXT) is leaf
