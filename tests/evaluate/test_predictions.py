from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import UserError
from synthkd.evaluate.compare import Answers, compare
from synthkd.evaluate.predictions import Predictions, read_predictions, write_predictions
from synthkd.rows import Json

GOLD: list[Json] = ["a", "b", "a"]
STUDENT = Answers(
    role="student",
    given=["a", "b", None],
    other_seeds=[["a", "a", "a"]],
    seeds=[7, 8],
    confidences=[0.9, 0.8, 0.7],
)


def write(path: Path, gold: list[Json] = GOLD, metrics: tuple[str, ...] = ("accuracy",)) -> None:
    answers = {
        "main": Answers(role="teacher", given=gold, recorded=True),
        "student": STUDENT,
    }
    compare(
        gold,
        answers,
        training_labels=gold,
        metrics=metrics,
        resamples=2,
        also=lambda compared: write_predictions(
            path, [f"r{place}" for place in range(len(gold))], gold, compared
        ),
    )


def lines(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_a_line_a_row_contestant_and_seed(tmp_path: Path) -> None:
    write(tmp_path / "p.parquet", metrics=("macro_f1", "accuracy"))
    found = lines(tmp_path / "p.parquet")
    assert [(one["who"], one["role"], one["seed"]) for one in found[:4]] == [
        ("majority class", "base", 0),
        ("main", "teacher", 0),
        ("student", "student", 7),
        ("student", "student", 8),
    ]
    assert len(found) == 4 * len(GOLD)
    last = [one for one in found if one["id"] == "r2" and one["who"] == "student"]
    assert [(one["answer"], one["accuracy"], one["confidence"]) for one in last] == [
        (None, 0.0, 0.7),
        ("a", 1.0, None),
    ]
    assert "macro_f1" not in found[0]  # it is of all rows together
    assert [one["gold"] for one in found[::4]] == GOLD


json_values = st.recursive(
    st.text()
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=15, deadline=None)
@given(gold=st.lists(json_values, min_size=3, max_size=3))
def test_what_is_read_back_is_what_was_written(
    gold: list[Json], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("predictions") / "p.parquet"
    write(path, gold, metrics=("exact_match",))
    found = read_predictions(path)
    assert list(found.gold.values()) == gold
    assert list(found.answers["main"][0].values()) == gold
    assert [*found.answers["student"]] == [7, 8]
    assert list(found.answers["student"][7].values()) == list(STUDENT.given)
    assert found.confidences == {"student": {"r0": 0.9, "r1": 0.8, "r2": 0.7}}
    assert found.about.contestants["main"].recorded


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    def read(name: str) -> Predictions:
        return read_predictions(tmp_path / name)

    with pytest.raises(UserError, match=r"gone\.parquet: there is none: evaluate again"):
        read("gone.parquet")
    (tmp_path / "half.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"half\.parquet: is no file of predictions, or a damaged"):
        read("half.parquet")
    write(tmp_path / "ours.parquet")
    pq.write_table(
        pq.read_table(tmp_path / "ours.parquet").replace_schema_metadata(),
        tmp_path / "other.parquet",
    )
    with pytest.raises(UserError, match=r"other\.parquet: is no file of predictions"):
        read("other.parquet")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["confidence"]), "column 'confidence' is missing"),
        (
            lambda table: table.set_column(5, "seed", table["seed"].cast("string")),
            "column 'seed' is missing, or not of type int64",
        ),
        (lambda table: table.slice(0, 5), "lines for"),
        (lambda table: table.slice(1), "majority class, seed 0: 2 lines for 3 rows"),
        (lambda table: table.filter([who != "main" for who in table["who"].to_pylist()]), "tells"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "two lines of majority"),
        (
            lambda table: table.set_column(3, "gold", pa.array(map(str, range(len(table))))),
            "or two golds",
        ),
    ],
)
def test_a_file_in_which_something_is_missing_or_twice_is_refused(
    change: Callable[[pa.Table], pa.Table], says: str, tmp_path: Path
) -> None:
    write(tmp_path / "p.parquet")
    whole = pq.read_table(tmp_path / "p.parquet")
    assert [whole.schema.names[i] for i in (3, 5)] == ["gold", "seed"]
    pq.write_table(change(whole).replace_schema_metadata(whole.schema.metadata), tmp_path / "odd")
    with pytest.raises(UserError, match=rf"a damaged one .*{says}"):
        read_predictions(tmp_path / "odd")
