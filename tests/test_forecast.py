"""`synthkd plan`: what is counted, what is not claimed, what is warned of. Nobody is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from synthkd import steps
from synthkd.cli import app
from synthkd.forecast import Forecast
from synthkd.pipeline import Pipeline

SAY = "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n"
PRICE = {"prompt": 1_000_000, "completion": 2_000_000}
"""A dollar for each token of the prompt, two for each of the answer."""
DRAFT = {"use": "generate", "with": {"teacher": "main", "prompt": "say", "samples": 3}}
JUDGE = {
    "use": "label",
    "with": {"teacher": "main", "prompt": "judge", "labels": ["good", "bad"], "samples": 2},
}


def write(folder: Path, **changes: Any) -> Path:
    lines = [{"id": f"r{i}", "text": f"item {i:03}"} for i in range(100)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    (folder / "say.md.j2").write_text(SAY, encoding="utf-8")
    judge = SAY.replace("[text]", "[response]").replace("{{ text }}", "{{ response }}")
    (folder / "judge.md.j2").write_text(judge, encoding="utf-8")
    pipeline = {
        "name": "planned",
        "teachers": {"main": teacher()},
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [DRAFT, JUDGE],
        **changes,
    }
    file = folder / "planned.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return file


def teacher(**changes: Any) -> dict[str, Any]:
    return {
        "endpoint": "http://127.0.0.1:9/v1",
        "model": "fake",
        "price": PRICE,
        "params": {"max_tokens": 5},
        **changes,
    }


def planned(folder: Path, **changes: Any) -> Forecast:
    return Pipeline.load(write(folder, **changes)).plan()


def test_rows_multiply_behind_a_step_that_makes_several_of_one(tmp_path: Path) -> None:
    draft, judge = planned(tmp_path).calls
    assert (draft.rows, draft.calls) == (100, 300)
    assert (judge.rows, judge.calls) == (300, 600)
    assert (draft.is_bound, judge.is_bound) == (True, True)
    assert (draft.completion_tokens, judge.completion_tokens) == (1500, 3000)


def test_rows_that_a_table_step_makes_reach_the_steps_behind_it(tmp_path: Path) -> None:
    settings = {"teacher": "main", "accept": 50, "wave": 5, "instruction": "text"}
    grow = {"use": "instruct.self", "with": settings}
    answer = {"use": "generate", "with": {"teacher": "main", "prompt": "say"}}
    first, second = planned(tmp_path, steps=[grow, answer]).calls
    # 20 of 200 candidates at least: three times for 50 rows, each in five waves of 5 x 8.
    assert (first.calls, first.is_bound) == (3 * 5 * 5, True)
    assert (second.rows, second.calls) == (150, 150)


def test_each_round_asks_and_a_curriculum_makes_rows(tmp_path: Path) -> None:
    steps_ = [
        {"use": "curriculum.quotas", "with": {"field": "text", "rows": 300, "by": "generate"}},
        {
            "use": "curriculum.expand",
            "with": {"teacher": "main", "instruction": "text", "field": "text", "wave": 5},
        },
        {"use": "curriculum.replay", "with": {"field": "text", "specialised": ["a"]}},
        {"use": "generate", "with": {"teacher": "main", "prompt": "say"}},
    ]
    rounds = {
        "source": {"jsonl": "rows.jsonl", "holdout": {"dev": 0.2, "test": 0.2, "by": ["text"]}},
        "student": {"kind": "linear", "text": "text", "label": "text"},
        "evaluate": {"on": "test", "gold": "text"},
    }
    (once, once_says), (expand, says) = (
        planned(tmp_path, steps=steps_, rounds=count, **rounds).calls for count in (1, 3)
    )
    assert (once.rows, once_says.rows, once_says.calls) == (300, 302, 302)
    # At least 20 of 200 candidates are accepted, so 15 times 14 waves of 5.
    assert once.calls == 15 * 14 * 5
    assert [(c.rows, c.calls) for c in (expand, says)] == [(300, 3 * once.calls), (302, 3 * 302)]
    assert (
        "of 3 rounds as if each bought all anew"
        in Pipeline.load(tmp_path / "planned.yaml").plan().table()
    )


def test_dollars_are_an_estimate_and_unknown_where_prompts_are(tmp_path: Path) -> None:
    found = planned(tmp_path)
    draft, judge = found.calls
    assert draft.usd == pytest.approx(300 * (len("item 000") + 16) + 2 * 1500)
    assert (judge.prompt_tokens, judge.usd, found.usd) == (None, None, None)
    assert "the length of the prompts of label: earlier steps make their inputs" in found.unknown
    table = found.table()
    assert "label asks main: at most 600 calls" in table
    assert "at most 7200.00 USD" not in table
    assert "about an unknown cost" in table


def test_a_field_that_an_earlier_step_overwrites_is_not_tried_as_it_was(tmp_path: Path) -> None:
    first = {"use": "generate", "with": {"teacher": "main", "prompt": "say", "into": "text"}}
    second = {"use": "generate", "name": "again", "with": {"teacher": "main", "prompt": "say"}}
    calls = planned(tmp_path, steps=[first, second]).calls
    assert [call.prompt_tokens for call in calls] == [600, None]


def test_a_third_partys_step_gives_no_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: module for name, module in steps.BUILTIN.items() if name != "generate"}
    monkeypatch.setattr("synthkd.forecast.BUILTIN", known)
    found = planned(tmp_path)
    assert [call.is_bound for call in found.calls] == [False, False]
    assert "generate asks main: about 300 calls" in found.table()
    assert any("a third party's step" in what for what in found.unknown)


def test_who_is_free(tmp_path: Path) -> None:
    world = {"world": "tickets"}
    steps = [{"use": "generate", "with": {"teacher": "main", "prompt": "say"}}]
    free = planned(tmp_path, teachers={"main": {"simulated": world}}, steps=steps)
    assert free.usd == 0
    unknown = planned(tmp_path, teachers={"main": teacher(price=None)}, steps=steps)
    assert unknown.usd is None
    assert "the price of fake: set teachers.main.price" in unknown.unknown
    assert unknown.as_json()["prices"] == {"main": None}
    assert "main costs an unknown price" in unknown.table()
    assert "main costs 0 USD per million prompt tokens" in free.table()


@pytest.mark.parametrize(
    ("temperature", "warned"), [(0, True), (0.0, True), (0.7, False), (None, False)]
)
def test_samples_at_temperature_0_are_warned_of(
    temperature: float | None, warned: bool, tmp_path: Path
) -> None:
    params = {"max_tokens": 5} if temperature is None else {"temperature": temperature}
    warnings = planned(tmp_path, teachers={"main": teacher(params=params)}).warnings
    said = [text for text in warnings if "at temperature 0" in text]
    assert len(said) == (2 if warned else 0)
    if warned:
        assert said[0].startswith("generate asks main for 3 samples")


def test_what_would_keep_a_run_from_starting_is_a_warning(tmp_path: Path) -> None:
    blind = teacher(params={}, price=None, api_key_env="NOT_SET_ANYWHERE")
    found = planned(tmp_path, teachers={"main": blind, "other": teacher()}, budget={"usd": 1})
    [warning] = found.warnings
    assert "a run would not start: budget.usd is set, but the price of teachers.main" in warning
    assert warning in found.table()
    assert found.as_json()["warnings"] == [warning]


NAMED = {"field": "text", "name_into": "topic", "teacher": "main", "clusters": 7}


@pytest.mark.parametrize(
    ("embedder", "wanted"),
    [
        ("vectors", {"main": (7, 35), "vectors": (100, 0)}),
        ("main", {"main": (107, 35)}),
    ],
)
def test_vectors_are_asked_for_beside_names_and_have_no_tokens(
    tmp_path: Path, embedder: str, wanted: dict[str, tuple[int, int]]
) -> None:
    embed = {"kind": "endpoint", "teacher": embedder}
    found = planned(
        tmp_path,
        teachers={"main": teacher(), "vectors": teacher(params={})},
        steps=[{"use": "cluster.assign", "with": {**NAMED, "embed": embed}}],
    )
    assert {call.teacher: (call.calls, call.completion_tokens) for call in found.calls} == wanted


REWARD = {"use": "judge.reward", "with": {"teacher": "mute", "question": "text"}}
CHOICE = {
    "use": "judge.best_of",
    "with": {
        "teacher": "mute",
        "reward": True,
        "check_teacher": "main",
        "answers": ["response"],
        "question": "text",
        "into": "best",
    },
}
VECTORS = {
    "use": "dedup.semantic",
    "with": {"field": "text", "threshold": 0.9, "embed": {"kind": "endpoint", "teacher": "mute"}},
}
WORDS = {
    "use": "generate",
    "name": "more",
    "with": {"teacher": "mute", "prompt": "say", "into": "more"},
}


@pytest.mark.parametrize(
    ("steps", "writes"),
    [
        ([REWARD], False),
        ([CHOICE], False),
        ([VECTORS, REWARD], False),
        ([VECTORS, WORDS], True),
    ],
)
@pytest.mark.parametrize("budget", [{"tokens": 1_000_000}, {"usd": 1}])
def test_a_budget_asks_for_max_tokens_of_those_who_write(
    tmp_path: Path, steps: list[dict[str, Any]], writes: bool, budget: dict[str, int]
) -> None:
    teachers = {"main": teacher(), "mute": teacher(params={})}
    warnings = planned(tmp_path, teachers=teachers, steps=[DRAFT, *steps], budget=budget).warnings
    said = [text for text in warnings if "needs teachers.mute.params.max_tokens" in text]
    assert len(said) == writes


def test_plan_has_no_ledger_to_look_into(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["plan", str(write(tmp_path)), "--ledger", "x.db"])
    assert outcome.exit_code == 2
    assert not (tmp_path / "x.db").exists()
