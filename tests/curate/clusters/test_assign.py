"""`cluster.assign` as a step: what it adds, notes and loses, and whom it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.clusters.assign import AssignConfig, assign
from synthkd.curate.clusters.names import Terms, cleaned, terms_of, told_apart
from synthkd.desk import Desk
from synthkd.errors import Rejected
from synthkd.fake_teacher import FakeTeacher
from synthkd.io.spool import RowSpool, Table
from synthkd.pipeline import Pipeline
from synthkd.rows import Fields, Row, source_row
from synthkd.table_kit import TableKit

SHOP = [f"How do I return order {n}, and who pays the parcel?" for n in range(12)]
SKY = [f"Tomorrow the weather in May {n} will be sunny with little wind" for n in range(9)]
MATH = [f"Solve the equation {n} + x = {n * 7}" for n in range(6)]


def rows_of(*texts: Any) -> list[Row]:
    given_fields: list[Fields] = [text if isinstance(text, dict) else {"t": text} for text in texts]
    return [source_row("s", [i], ordinal=i, fields=f) for i, f in enumerate(given_fields)]


def run(rows: list[Row], **with_: Any) -> tuple[list[Row], list[str], dict[str, Any]]:
    """Rows, why others are gone, figures."""
    kit = TableKit(Desk(step="cluster.assign", seed=3))
    config = AssignConfig.model_validate({"field": "t", **with_})
    with RowSpool.of(Path("rows.spool"), rows) as spool:
        out = list(assign(Table(spool), kit, config))
    gone = [why.reason if isinstance(why, Rejected) else repr(why) for _, why in kit.take_gone()]
    return out, gone, dict(kit.figures)


@pytest.mark.parametrize("method", ["auto", "kmeans", "minibatch", "spectral"])
def test_groups_are_numbered_by_size_and_named_by_their_terms(method: str) -> None:
    out, gone, figures = run(
        rows_of(*MATH, *SHOP, *SKY), clusters=3, method=method, name_into="topic"
    )
    assert not gone
    assert [row.fields["cluster"] for row in out] == [2] * 6 + [0] * 12 + [1] * 9
    names = {row.fields["cluster"]: str(row.fields["topic"]) for row in out}
    assert "parcel" in names[0]
    assert "weather" in names[1]
    assert "equation" in names[2]
    assert (figures["clusters"], figures["largest"], figures["smallest"]) == (3, 12, 6)
    assert figures["names"]["1"] == names[1]
    assert 0 < figures["spread_within"] < 0.5
    again, _, _ = run(rows_of(*MATH, *SHOP, *SKY), clusters=3, method=method, name_into="topic")
    assert again == out


def test_hdbscan_leaves_rows_in_no_cluster() -> None:
    odd = ["Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich"]
    out, _, figures = run(rows_of(*SHOP, *SKY, *odd), method="hdbscan", smallest=4)
    assert out[-1].fields["cluster"] is None
    assert figures["rows_in_none"] >= 1
    assert figures["method"] == "hdbscan"


def test_k_larger_than_n_and_equal_rows_make_a_cluster_each() -> None:
    out, _, figures = run(rows_of("a b", "c d", "a b"), clusters=50, name_into="name")
    assert [row.fields["cluster"] for row in out] == [0, 1, 0]
    assert figures["clusters"] == 2
    assert figures["spread_within"] == 0
    out, _, figures = run(rows_of(*["same words"] * 5), clusters=2)
    assert {row.fields["cluster"] for row in out} == {0}
    out, _, figures = run(rows_of("alone"))
    assert [row.fields["cluster"] for row in out] == [0]


@pytest.mark.parametrize("method", ["auto", "minibatch", "spectral", "hdbscan"])
def test_empty_tables_and_blank_texts(method: str) -> None:
    assert run([], method=method)[0] == []
    out, gone, figures = run(rows_of("", "  ", "\n"), method=method, name_into="name")
    assert [row.fields["cluster"] for row in out] == [None] * 3
    assert [row.fields["name"] for row in out] == [None] * 3
    assert figures["rows_in_none"] == 3
    assert not gone


def test_rows_without_the_field_or_text_are_rejected() -> None:
    out, gone, _ = run(rows_of("one", {}, {"t": 5}, {"t": None}, "two"))
    assert len(out) == 2
    assert gone == ["missing_field", "no_text", "no_text"]


texts = st.lists(st.sampled_from(["", "a", "b c", "訂單", "d e f", "!"]), max_size=14)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(texts, st.integers(1, 6), st.sampled_from(["kmeans", "minibatch", "spectral", "faiss"]))
@example(["a", "a", "a", "a", "b c", "訂單", "d e f"], 3, "spectral")
def test_every_row_comes_out_once_and_equal_texts_share_a_cluster(
    given_texts: list[str], k: int, method: str
) -> None:
    if method == "faiss":
        pytest.importorskip("faiss")
    out, gone, _ = run(rows_of(*given_texts), clusters=k, method=method)
    assert not gone
    assert [row.fields["t"] for row in out] == given_texts
    by_text: dict[object, set[object]] = {}
    for row in out:
        by_text.setdefault(row.fields["t"], set()).add(row.fields["cluster"])
    assert all(len(clusters) == 1 for clusters in by_text.values())
    found = [row.fields["cluster"] for row in out if row.fields["cluster"] is not None]
    assert len(set(found)) <= k
    sizes = [found.count(n) for n in range(len(set(found)))]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("with_", "said"),
    [
        ({"field": None}, "exactly one of field, fields"),
        ({"fields": ["u"]}, "exactly one of field, fields"),
        ({"teacher": "main"}, "name_into"),
        ({"method": "hdbscan", "clusters": 3}, "leave clusters out"),
        ({"clusters": 0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense(with_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AssignConfig.model_validate({"field": "t", **with_})


# --- names


def test_terms_are_words_and_pairs_of_spaceless_characters() -> None:
    assert list(terms_of("The ORDER, an order's 12 退回订单 ok")) == [
        "the",
        "order",
        "order",
        "退回",
        "回订",
        "订单",
    ]


def test_terms_that_all_clusters_share_do_not_stand_out() -> None:
    terms = Terms(3)
    for cluster, word in enumerate(["parcel", "weather", ""]):
        for _ in range(5):
            terms.read(cluster, f"the {word} and the {word} and the" if word else "12 ?")
    found = terms.outstanding()
    assert [those[0] if those else None for those in found] == ["parcel", "weather", None]


def test_answers_become_names() -> None:
    assert cleaned('\n"Returns and parcels".\nBecause they') == "Returns and parcels"
    assert cleaned("** **\n") == ""
    assert len(cleaned("x" * 500)) == 80
    assert told_apart(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


# --- a whole run, with vectors and names of a teacher

PIPELINE = """
name: asked
teachers:
  vectors: {{endpoint: "{url}", model: small, params: {{dimensions: 8}}}}
  namer: {{endpoint: "{url}", model: fake, params: {{max_tokens: 20}}}}
source: {{jsonl: rows.jsonl, id: [id]}}
steps:
  - use: cluster.assign
    with:
      field: t
      clusters: 3
      name_into: topic
      teacher: namer
      embed: {{kind: endpoint, teacher: vectors}}
  - {{use: cluster.balance, with: {{rows: 9, compare: [id]}}}}
limits: {{max_failed: 1, max_rejected: 1}}
"""


def written(url: str) -> Path:
    records = [{"id": n, "t": text} for n, text in enumerate([*SHOP, *SKY, "", *MATH])]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    Path("rows.jsonl").write_text(lines, encoding="utf-8")
    Path("asked.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
    return Path("asked.yaml")


async def test_vectors_and_names_are_bought_once_and_rows_say_from_which_answers() -> None:
    async with FakeTeacher().serve() as provider:
        path = written(provider.url)
        forecast = Pipeline.load(path).plan()
        first = await Pipeline.load(path, out="first").run()
        asked = provider.stats["requests"]
        second = await Pipeline.load(path, out="second").run()
        assert provider.stats["requests"] == asked
    calls = {(call.step, call.teacher): call.calls for call in forecast.calls}
    assert calls["cluster.assign", "namer"] == 3
    assert calls["cluster.assign", "vectors"] == 28
    assert not [what for what in forecast.unknown if "answers of vectors" in what]
    names = first.figures["cluster.assign"]["names"]
    assert len(names) == 3
    assert first.figures == second.figures
    assert first.teachers["namer"].asked == 3
    assert first.teachers["vectors"].asked == 27  # 28 rows, one of them blank
    assert first.counts.kept == 9
    assert first.files["dataset/train.parquet"] == second.files["dataset/train.parquet"]
    for record in pyarrow.parquet.read_table("first/rows/rows.parquet").to_pylist():
        fields = json.loads(record["fields"])
        assert (fields["topic"] is None) == (fields["t"] == "")
        assert len(record["made_by"]) == (2 if fields["t"] else 0)


async def test_an_endpoint_without_answers_fails_rows_and_keeps_key_terms() -> None:
    async with FakeTeacher(rates={"400": 0.9}).serve() as provider:
        path = written(provider.url)
        manifest = await Pipeline.load(path, out="out").run()
    counts = manifest.funnel["cluster.assign"]
    assert counts.failed > 0
    assert counts.out + counts.failed == 28
    assert counts.reasons == {"RequestRefused": counts.failed}
