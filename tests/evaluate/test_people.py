"""The annotators' file: every mistake has one message that says where and what to do."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from synthkd.errors import UserError
from synthkd.evaluate.judged import Item, Pair
from synthkd.evaluate.people import (
    Judgements,
    Where,
    _number,
    check_labels,
    fields_of_verdict,
    read_judgements,
    read_labels,
    unreadable_rows,
)
from synthkd.rows import Json


def written(name: str, *records: Json) -> Path:
    path = Path(name)
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def judged(*labels: Json, where: Where | None = None, skip_unknown: bool = False) -> Judgements:
    """Two verdicts, a and b, and these labels."""
    verdicts = written("v.jsonl", {"id": "a", "v": "1"}, {"id": "b", "v": {"winner": 2}})
    people = written("p.jsonl", *labels)
    return read_judgements(
        verdicts,
        where or Where(verdict="v"),
        read_labels(people),
        people_path=people,
        skip_unknown=skip_unknown,
    )


def test_long_and_wide_files_say_the_same() -> None:
    long = written(
        "long.jsonl",
        {"id": 1, "annotator": "ann", "label": 2},
        {"id": 1, "annotator": "bob", "label": "tie"},
        {"id": 2, "annotator": "ann", "label": True},
        {"id": 2, "annotator": "bob", "label": None},
    )
    wide = Path("wide.csv")
    wide.write_text("id,ann,bob\n1,2,tie\n2,true,\n", encoding="utf-8")
    found = {"1": {"ann": "2", "bob": "tie"}, "2": {"ann": "true"}}
    assert read_labels(long) == read_labels(wide, labels=["ann", "bob"]) == found


def test_verdicts_are_found_inside_objects() -> None:
    found = judged({"id": "b", "label": "2"}, where=Where(verdict="v.winner"))
    ((item,), unlabelled) = found.items, found.left_out.unlabelled
    assert (item.verdict, item.labels, unlabelled) == ("2", {"annotator": "2"}, 1)


def test_unknown_ids_are_named_once() -> None:
    labels = [{"id": name, "label": "1"} for name in "axyzw"]
    with pytest.raises(UserError, match=r"4 of 5 ids have no verdict .*'x', 'y', 'z', \.\.\.") as e:
        judged(*labels)
    assert "--id" in str(e.value)
    assert judged(*labels, skip_unknown=True).left_out.unknown == 4


def test_only_unknown_ids_are_never_skipped() -> None:
    with pytest.raises(UserError, match="1 of 1 ids have no verdict"):
        judged({"id": "x", "label": "1"}, skip_unknown=True)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "holds no label in 'label'"),
        ([{"id": "a", "label": None}, {"id": "b", "label": ""}], "holds no label"),
        ([{"id": "a", "lable": "1"}], "record 1: has no field 'label'; did you mean lable"),
        ([{"id": None, "label": "1"}], "record 1: 'id' is null"),
        ([{"id": "a", "label": [1]}], r"must be text or a number, got \[1\]"),
        (
            [{"id": "a", "label": "1"}, {"id": "a", "label": "2"}],
            "record 2: a second label of 'annotator' for the id 'a' .'2' after '1'",
        ),
    ],
)
def test_labels_that_are_none(records: list[Json], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labels(written("p.jsonl", *records))


def test_a_line_that_is_no_json_is_named() -> None:
    Path("p.jsonl").write_text('{"id": 1, "label": 1}\n{oops\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"p.jsonl line 2: not JSON"):
        read_labels(Path("p.jsonl"))


def test_no_such_file() -> None:
    with pytest.raises(UserError, match=r"nowhere.jsonl: no such file"):
        read_labels(Path("nowhere.jsonl"))


def test_two_verdicts_of_one_id() -> None:
    verdicts = written("v.jsonl", {"id": "a", "v": "1"}, {"id": "a", "v": "2"})
    with pytest.raises(UserError, match="record 2: the id 'a' stands twice"):
        read_judgements(verdicts, Where(verdict="v"), {"a": {}}, people_path=verdicts)


def test_a_score_that_is_no_number() -> None:
    verdicts = written("v.jsonl", {"id": "a", "v": "1", "s": "high"})
    where = Where(verdict="v", score="s")
    with pytest.raises(UserError, match="'s' must be a number, got 'high'"):
        read_judgements(verdicts, where, {"a": {"p": "1"}}, people_path=verdicts)


def test_a_run_without_a_verdict() -> None:
    verdicts = written("v.jsonl", {"id": "a"})
    with pytest.raises(UserError, match="no row has a verdict in 'verdict'"):
        fields_of_verdict(verdicts, "verdict")


def test_labels_must_fit_what_is_said_of_them() -> None:
    found = judged({"id": "a", "label": "good"}).items
    with pytest.raises(UserError, match="'good' is no number, so --scale ordinal"):
        check_labels(found, "ordinal", None)
    with pytest.raises(UserError, match=r"no verdict is 'A' or 'B'.*'1'"):
        check_labels(found, "nominal", Pair(first="A", second="B"))
    check_labels(found, "nominal", Pair(first="1", second="2"))


def test_good_is_what_somebody_said() -> None:
    found = judged({"id": "a", "label": True}).items
    with pytest.raises(UserError, match=r"--good names \('yes', 'good'\).*there are 'true'"):
        check_labels(found, "nominal", None, ["yes", "good"])
    check_labels(found, "nominal", None, ["yes", "True"])


@pytest.mark.parametrize("score", ["nan", "inf", 10**400])
def test_a_score_is_finite(score: Json) -> None:
    place = "v record 1"
    with pytest.raises(UserError, match="must be a number"):
        _number({"s": score}, "s", place)


def test_names_of_two_answers_are_numbers_where_labels_are() -> None:
    one = Item(id="a", verdict="1", labels={"ann": "1"})
    with pytest.raises(UserError, match="the label 'b' is no number"):
        check_labels([one], "ordinal", Pair(first="1", second="b"))


def rejected(*reasons: str) -> Path:
    """A run's folder in which `judge` rejected rows 0, 1, ... for these, and a gate one more."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lost = [
        {"row_id": str(n), "roots": [str(n)], "step": "judge", "reason": reason, "detail": ""}
        for n, reason in enumerate(reasons)
    ]
    lost.append({**lost[0], "row_id": "g", "step": "gate.length", "reason": "too_long"})
    pq.write_table(pa.Table.from_pylist(lost), "rejected.parquet")
    return Path()


def test_what_a_judge_did_not_say_stands_among_the_losses() -> None:
    run = rejected("no_verdict", "nothing_to_judge", "refused", "no_quorum")
    assert unreadable_rows(run, "judge") == ["0", "2", "3"]  # of nothing, nobody was asked


@pytest.mark.parametrize(
    ("reason", "way_out"),
    [("low_score", "without `keep_at_least`"), ("undecided", "without `ties: reject`")],
)
def test_a_run_whose_judge_threw_rows_out_is_refused(reason: str, way_out: str) -> None:
    run = rejected("no_verdict", reason, reason)
    with pytest.raises(UserError, match=f"judge rejected 2 rows as {reason}.*{way_out}"):
        unreadable_rows(run, "judge")


def test_unreadable_rows_are_wrong_where_labelled_and_counted_where_not() -> None:
    verdicts = written("v.jsonl", {"id": "a", "v": "1"}, {"id": "b", "v": None}, {"id": "c"})
    found = read_judgements(
        verdicts,
        Where(verdict="v"),
        {"a": {"p": "1"}, "x": {"p": "1"}},
        people_path=verdicts,
        unreadable=["x", "y"],
    )
    assert {item.id: item.verdict for item in found.items} == {"a": "1", "x": None}
    assert (found.left_out.unlabelled, found.left_out.unlabelled_unreadable) == (3, 3)
