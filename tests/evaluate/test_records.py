from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.evaluate.metrics import check_gold, metrics_of
from synthkd.evaluate.records import by_field, facts_of, record_exact, record_f1, record_valid
from synthkd.records.loading import load_schema
from synthkd.rows import Json

SCHEMA = load_schema(
    {
        "fields": {
            "no": {"required": True},
            "total": {"type": "money", "currency": "EUR"},
            "tags": {"many": True},
            "lines": {
                "type": "record",
                "many": True,
                "fields": {"item": {"required": True}, "pieces": {"type": "number"}},
            },
        }
    },
    Path(),
)
GOLD: Json = {
    "no": "A-1",
    "total": {"amount": 5, "currency": "EUR"},
    "tags": ["a", "b"],
    "lines": [{"item": "hook", "pieces": 3}, {"item": "shelf", "pieces": 3}],
}
LINES = '"lines": [{"item": "shelf", "pieces": 3}, {"item": "hook", "pieces": 3}]'
REST = '{"no": "A-1", "total": "5,00 €", "tags": ["b", "a"], '


@pytest.mark.parametrize(
    ("said", "f1", "exact", "valid"),
    [
        (GOLD, 1, True, True),
        (f"```json\n{REST}{LINES}}}\n```", 1, True, True),  # in any order, in any notation
        (REST + LINES + ', "colour": "red"}', 1, True, False),
        (REST.replace("A-1", "A-2") + LINES + "}", 14 / 16, False, True),
        (REST.replace("5,00 €", "five") + LINES + "}", 14 / 16, False, False),
        (REST.replace('"5,00 €"', "null") + LINES + "}", 14 / 15, False, True),
        (REST.replace('"A-1"', "null") + LINES + "}", 14 / 15, False, False),
        (REST + LINES, 1, True, False),  # cut at its last bracket
        (REST + LINES.replace('"item": "hook", ', "") + "}", 14 / 15, False, False),
        # Pieces are right only where they are of the right item's line.
        (REST + LINES.replace('k", "pieces": 3', 'k", "pieces": 2') + "}", 14 / 16, False, True),
        (REST + LINES.replace("hook", "x").replace("shelf", "y") + "}", 12 / 16, False, True),
        (REST.replace('["b", "a"]', '["a", "a"]') + LINES + "}", 14 / 16, False, True),
        ('{"no": "A-1"}', 2 / 9, False, True),
        ("I see nothing.", 0, False, False),
        (None, 0, False, False),
    ],
)
def test_one_answer(said: Json, f1: float, exact: bool, valid: bool) -> None:
    assert record_f1([GOLD], [said], SCHEMA).value == pytest.approx(f1)
    assert record_exact([GOLD], [said], SCHEMA).value == exact
    assert record_valid([GOLD], [said], SCHEMA).value == valid


def test_figures_of_each_field_with_intervals() -> None:
    other: Json = {"no": "B-2", "total": None}
    said: list[Json] = ['{"no": "A-1", "total": "6"}', '{"no": "B-2", "total": "7"}', None]
    found = by_field([GOLD, other, other], said, SCHEMA, resamples=50)
    assert list(found) == ["no", "total", "tags", "lines.item", "lines.pieces"]
    assert (found["no"].wanted, found["no"].given) == (3, 2)
    assert found["no"].precision.value == 1
    assert found["no"].recall.value == pytest.approx(2 / 3)
    assert found["no"].f1.low < found["no"].f1.value == pytest.approx(0.8)
    assert (found["total"].given, found["total"].f1.value) == (2, 0)
    assert found["tags"].recall.value == 0


def test_gold_must_be_a_record_that_has_a_spelling() -> None:
    check_gold(["record_f1"], GOLD, place="row 1", record=SCHEMA)
    check_gold(["record_f1"], {"anything": 1}, place="row 1")
    for bad in ("x", [1], {"no": "A", "total": "much"}, {"colour": "red"}):
        with pytest.raises(UserError, match=r"record_f1 needs a record of evaluate.record"):
            check_gold(["record_f1"], bad, place="row 1", record=SCHEMA)


def test_without_a_schema_all_values_count_as_answers_do() -> None:
    gold: Json = {"a": "Order_status", "b": {"c": 1200, "d": None}, "e": ["x", "y"]}
    said = '{"a": "order status", "b": {"c": "1,200"}, "e": ["y", "x"], "f": null}'
    assert record_f1([gold], [said]).value == 1
    assert facts_of("no record") is None
    metric = metrics_of(["record_f1"], tolerance=0, record=SCHEMA)["record_f1"]
    assert metric.score([GOLD], [GOLD]).value == 1


ITEM = st.fixed_dictionaries(
    {"item": st.sampled_from(["hook", "shelf", None]), "pieces": st.sampled_from([1, 2, None])}
)
RECORD = st.fixed_dictionaries(
    {
        "no": st.sampled_from(["A-1", "B-2", None]),
        "tags": st.lists(st.sampled_from("ab"), max_size=3),
        "lines": st.lists(ITEM, max_size=3),
    }
)


@settings(max_examples=40)
@given(st.lists(st.tuples(RECORD, RECORD), min_size=1, max_size=4))
def test_gold_is_perfect_and_f1_does_not_care_who_is_gold(rows: list[tuple[Json, Json]]) -> None:
    gold, said = [one for one, _ in rows], [one for _, one in rows]
    assert record_exact(gold, gold, SCHEMA).value == 1
    assert record_f1(gold, said, SCHEMA).value == pytest.approx(record_f1(said, gold, SCHEMA).value)
    if record_exact(gold, said, SCHEMA).value == 1 and any(
        facts and facts.counts() for facts in (facts_of(one, SCHEMA) for one in gold)
    ):
        assert record_f1(gold, said, SCHEMA).value == 1
