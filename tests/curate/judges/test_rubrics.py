from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.curate.judges.rubrics import Rubric, checklist_of, load_rubric
from synthkd.errors import ConfigError, MissingField, RowError
from synthkd.plan import compile_plan
from synthkd.prompts import shipped_folder
from synthkd.rows import source_row
from tests.curate.judges.asking import patient

SHIPPED = sorted((shipped_folder("prompts") / "judges").glob("*.yaml"))


def rubric(*weights: float, scale: tuple[int, int] = (0, 4)) -> Rubric:
    criteria = [
        {"name": f"c{place}", "asks": "?", "weight": weight, "scale": scale}
        for place, weight in enumerate(weights)
    ]
    return Rubric.model_validate({"criteria": criteria})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_rubrics_load(path: Path) -> None:
    loaded = load_rubric(f"judges/{path.stem}", [shipped_folder("prompts")])
    assert loaded.name == f"judges/{path.stem}"
    assert loaded.about
    assert loaded.reply_schema.response_format


def test_helpsteer2_has_the_weights_of_its_paper() -> None:
    loaded = load_rubric("judges/helpsteer2", [shipped_folder("prompts")])
    assert {one.name: one.weight for one in loaded.criteria} == {
        "helpfulness": 0.65,
        "correctness": 0.80,
        "coherence": 0.45,
        "complexity": 0.55,
        "verbosity": -0.40,
    }


def test_the_score_is_the_weighted_sum_moved_to_0_and_1() -> None:
    loaded = load_rubric("judges/helpsteer2", [shipped_folder("prompts")])
    scores = {
        "helpfulness": 3,
        "correctness": 4,
        "coherence": 4,
        "complexity": 1,
        "verbosity": 2,
    }
    reward = 0.65 * 3 + 0.80 * 4 + 0.45 * 4 + 0.55 * 1 - 0.40 * 2
    least, most = -0.40 * 4, (0.65 + 0.80 + 0.45 + 0.55) * 4
    assert loaded.score(scores) == pytest.approx((reward - least) / (most - least))


@patient
@given(
    st.lists(st.floats(0.01, 10) | st.floats(-10, -0.01), min_size=1, max_size=5),
    st.data(),
)
def test_a_score_is_between_0_and_1_and_rises_with_what_is_good(
    weights: list[float], data: st.DataObject
) -> None:
    made = rubric(*weights)
    scores = {one.name: data.draw(st.integers(0, 4)) for one in made.criteria}
    score = made.score(scores)
    assert -1e-12 <= score <= 1 + 1e-12
    for one in made.criteria:
        if scores[one.name] < 4:
            more = made.score(scores | {one.name: scores[one.name] + 1})
            assert (more > score) == (one.weight > 0)


CRITERION = {"name": "a", "asks": "?", "scale": [0, 4]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"criteria": [{"name": "a", "asks": "?"}, {"name": "b", "asks": "?"}]},
            "no scale for a, b",
        ),
        ({"criteria": [CRITERION, CRITERION]}, "two criteria are named 'a'"),
        (
            {"criteria": [CRITERION, CRITERION | {"name": "a_"}]},
            "two criteria are named 'a_' and 'a', which count as one",
        ),
        ({"criteria": []}, "at least 1 item"),
        ({"criteria": [CRITERION | {"scale": [4, 0]}]}, "scale must rise"),
        ({"criteria": [CRITERION | {"scale": [0, 1000]}]}, "by 100 at most"),
        ({"criteria": [CRITERION | {"weight": 0}]}, "leave the criterion out"),
        ({"criteria": [CRITERION | {"weight": float("nan")}]}, "finite number"),
        ({"criteria": [CRITERION | {"anchors": {7: "great"}}]}, r"on the scale \[0, 4\], got 7"),
        ({"criteria": [CRITERION | {"name": "Not a name"}]}, "should match pattern"),
        ({"criteria": [{"name": ["a"], "asks": "?"}], "scale": [0, 4]}, "valid string"),
        ({"criteria": [CRITERION | {"extra": 1}]}, "Extra inputs"),
    ],
)
def test_rubrics_that_make_no_sense(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Rubric.model_validate(raw)
    assert caught.value.error_count() == 1


def test_one_scale_may_serve_all() -> None:
    made = Rubric.model_validate({"scale": [1, 5], "criteria": [{"name": "a", "asks": "?"}]})
    assert made.criteria[0].scale == (1, 5)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 20))
"""2^20 words in 20 lines."""


def pipeline(rubric: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "teachers": {"main": {"simulated": {"world": "arithmetic"}}},
        "source": {"jsonl": "x.jsonl", "id": ["id"]},
        "steps": [{"use": "judge.rubric", "with": {"teacher": "main", "rubric": rubric}}],
        "export": {"format": "rows"},
    }


def test_a_pipeline_finds_rubrics_beside_it_and_in_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "scale: [0, 1]\ncriteria:\n- {name: a, asks: Is it so}\n", encoding="utf-8"
    )
    for named, name in (("mine", "mine"), ("judges/rationale", "judges/rationale")):
        config: Any = compile_plan(pipeline(named), tmp_path / "p.yaml").steps[0].config
        assert config.rubric.name == name
    whole: Any = compile_plan(pipeline({"criteria": [CRITERION]}), tmp_path / "p.yaml").steps[0]
    assert whole.config.rubric.criteria[0].name == "a"


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        ("judges/helpstear", None, "did you mean judges/helpsteer2"),
        ("../x", None, "is no name of a rubric"),
        ("a" * 300, None, "is no name of a rubric"),
        ("mine", "criteria: [{name: a, asks: b}, {name: c, asks: d}]", "no scale for a, c: write"),
        ("mine", "a: [", "not valid YAML"),
        ("mine", "", "must be a mapping with about, scale, criteria"),
        ("mine", "- a", "must be a mapping with about, scale, criteria"),
        ("mine", "criteria: [{name: a, asks: b, scale: [4, 0]}]", "scale must rise"),
        ("mine", "criteria: &a [*a]", r"repeats a list or a block by an alias"),
        ("mine", BOMB + "criteria: [{name: *a19, asks: b}]", "with what aliases"),
        ("nowhere", None, "there is no rubric 'nowhere'; looked for .*nowhere.yaml"),
        ({"criteria": [CRITERION, CRITERION]}, None, "two criteria are named 'a'"),
    ],
)
def test_a_faulty_rubric_is_one_fault_of_the_pipeline(
    tmp_path: Path, given: Any, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        compile_plan(pipeline(given), tmp_path / "p.yaml")
    assert len(caught.value.faults) == 1
    assert "steps[0].with.rubric" in caught.value.faults[0]


def row_with(value: Any) -> Any:
    return source_row("t", ["1"], ordinal=0, fields={"list": value})


def test_a_checklist_is_a_rubric_of_yes_and_no() -> None:
    made = checklist_of(row_with(["Names Paris.", "Is short."]), "list")
    assert [(one.name, one.asks, one.scale) for one in made.criteria] == [
        ("item_1", "Names Paris.", (0, 1)),
        ("item_2", "Is short.", (0, 1)),
    ]
    assert made.score({"item_1": 1, "item_2": 0}) == 0.5


def test_a_checklist_may_be_criteria_in_full() -> None:
    made = checklist_of(row_with([CRITERION | {"weight": 2}]), "list")
    assert made.criteria[0].weight == 2


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, MissingField, "must hold a list of what to check, got None"),
        ([], MissingField, "must hold a list"),
        (["a", "A "], RowError, "says one thing twice"),
        ([3], RowError, "is no checklist"),
        ([""], RowError, "is no checklist: criteria.0.asks"),
        ([{"name": "a", "asks": "?"}], RowError, "no scale for a"),
        ([CRITERION, CRITERION], RowError, "two criteria are named 'a'"),
    ],
)
def test_checklists_that_are_none(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        checklist_of(row_with(value), "list")
