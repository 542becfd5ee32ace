"""Online, in batches, locally: what each costs and takes, in figures worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.config import TeacherConfig
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline
from synthkd.routes import Asked, Measured, Route, compare, measured, span
from tests.test_forecast import DRAFT, teacher, write

HOUR = 3600.0
PRICE = {"prompt": 1.0, "completion": 2.0, "batch_discount": 0.5}


def http(**settings: Any) -> TeacherConfig:
    return TeacherConfig.model_validate(teacher(price=PRICE) | settings)


def asked(config: TeacherConfig, **changes: Any) -> Asked:
    values: dict[str, Any] = {
        "prompt_tokens": {"ask": 600_000},
        "name": "main",
        "calls": 6_000,
        "tokens": 1_200_000,
        "usd": 10.0,
    }
    return Asked(config=config, **(values | changes))


def routes(*teachers: Asked) -> dict[str, Route]:
    return {route.way: route for route in compare(teachers)}


def test_half_price_within_a_day_and_nothing_to_pay_at_home() -> None:
    found = routes(asked(http()))
    assert [route.usd for route in found.values()] == [10.0, 5.0, 0.0]
    assert [route.chosen for route in found.values()] == [True, False, False]
    assert (found["batch"].wall_s, found["batch"].bound) == (24 * HOUR, "at most")
    assert found["online"].wall_s is None
    assert found["local"].wall_s is None
    assert found["local"].in_words() == (
        "local: 0 USD for tokens, an unknown time; unknown: how fast a server of your own would"
        " answer for main: a run on a few rows (--limit) measures it"
    )


@pytest.mark.parametrize(
    ("limits", "wall_s"),
    [
        ({"requests_per_minute": 600}, 600.0),  # 6,000 at 600 a minute: ten minutes
        ({"tokens_per_minute": 60_000}, 1200.0),  # 1,200,000 at 60,000 a minute: twenty
        ({"requests_per_minute": 600, "tokens_per_minute": 60_000}, 1200.0),  # the longer one
    ],
)
def test_stated_limits_bound_the_time_from_below(limits: dict[str, int], wall_s: float) -> None:
    online = routes(asked(http(**limits)))["online"]
    assert (online.wall_s, online.bound) == (wall_s, "at least")
    assert any("no earlier run" in text for text in online.unknown)


def test_an_earlier_run_says_how_fast_it_is() -> None:
    speed = Measured(latency_s=2.0, in_flight=40)
    # 6,000 answers of 2 s, 40 at once: 300 s; 600 requests a minute make it 600 s.
    free = routes(asked(http(), measured=speed))["online"]
    assert (free.wall_s, free.bound) == (300.0, "about")
    assert free.unknown == []
    limited = routes(asked(http(requests_per_minute=600), measured=speed))["online"]
    assert (limited.wall_s, limited.bound) == (600.0, "about")
    assert "6,000 requests at 600 a minute" in limited.in_words()


def test_each_step_waits_for_the_batches_of_the_one_before() -> None:
    three = {"draft": 1, "judge": None, "mend": 1}
    found = routes(asked(http(), prompt_tokens=three))["batch"]
    assert found.wall_s == 72 * HOUR
    assert "at most 72 h (3 steps, one after the other: a window of 24h" in found.in_words()


def test_what_may_be_enqueued_at_once_makes_more_windows() -> None:
    limits = {"max_enqueued_tokens": 250_000, "window": "2d"}
    config = http(mode="batch", batch=limits)
    # 600,000 tokens, 250,000 at once: three windows of two days.
    found = routes(asked(config))["batch"]
    assert (found.chosen, found.wall_s) == (True, 3 * 48 * HOUR)
    assert "at most 144 h" in found.in_words()
    blind = routes(asked(config, prompt_tokens={"ask": 1, "judge": None}))["batch"]
    assert blind.wall_s is None
    assert blind.unknown == ["how many batches of main judge needs: its prompts are unknown"]


def test_what_is_unknown_is_no_figure() -> None:
    no_price = routes(asked(http(price=None), usd=None))
    assert [route.usd for route in no_price.values()] == [None, None, 0.0]
    no_discount = routes(asked(http(price={"prompt": 1, "completion": 2})))
    assert (no_discount["online"].usd, no_discount["batch"].usd) == (10.0, None)
    [why] = no_discount["batch"].unknown
    assert "set teachers.main.price.batch_discount" in why
    no_length = routes(asked(http(tokens_per_minute=1), tokens=None))["online"]
    assert no_length.wall_s is None
    assert any("tokens a minute" in text for text in no_length.unknown)


def test_several_teachers_are_asked_side_by_side_and_paid_together() -> None:
    speed = Measured(latency_s=1.0, in_flight=10)
    one = asked(http(requests_per_minute=600), name="one", usd=1.0)
    other = asked(
        http(), name="other", usd=3.0, measured=speed, prompt_tokens={"ask": 1, "judge": 1}
    )
    found = routes(one, other)
    # 600 s by the limit of one, 600 s by the speed of the other; one of them is not measured.
    assert (found["online"].wall_s, found["online"].bound) == (600.0, "at least")
    assert (found["online"].usd, found["batch"].usd) == (4.0, 2.0)
    assert found["batch"].wall_s == 48 * HOUR


def test_a_server_of_ones_own_is_as_fast_as_it_was_and_no_provider_is_known() -> None:
    ours = TeacherConfig.model_validate({"vllm": {"model": "models/one"}, "concurrency": 32})
    speed = Measured(latency_s=4.0, in_flight=32)
    # 6,000 answers of 4 s, 32 at once: 750 s.
    found = routes(asked(ours, usd=0.0, measured=speed))
    local, online, batch = found["local"], found["online"], found["batch"]
    assert (local.chosen, local.usd, local.wall_s, local.bound) == (True, 0.0, 750.0, "about")
    assert [online.usd, online.wall_s, batch.usd, batch.wall_s] == [None] * 4
    assert "what a provider asks for the model of main" in online.unknown
    both = routes(asked(ours, usd=0.0, measured=speed), asked(http(), name="other"))
    assert both["local"].wall_s is None, "nobody measured the other"
    two = routes(*(asked(ours, name=name, usd=0.0, measured=speed) for name in ("a", "b")))
    assert two["local"].wall_s == 1500.0, "they share the machine"


def test_who_is_recorded_or_simulated_has_no_other_way() -> None:
    world = TeacherConfig.model_validate({"simulated": {"world": "tickets"}})
    assert compare([asked(world)]) == []
    assert routes(asked(http()), asked(world, name="world", usd=0.0))["online"].usd == 10.0
    assert compare([asked(http(), calls=0)]) == []


def manifest(config: dict[str, Any], **counts: Any) -> Manifest:
    values = {"attempts": 500, "latency_s": 2.0, "concurrency": 48} | counts
    written = {
        **{"name": "planned", "pipeline": "planned.yaml", "run_id": "r", "simulated": []},
        **{"counts": {"read": 1, "kept": 1, "rejected": 0, "failed": 0}, "funnel": {}},
        **{"teachers": {"main": values}, "spend": {}, "wall_s": 1.0, "cpu_s": 1.0, "dataset": {}},
        **{"config": {"teachers": {"main": config}}, "prompts": {}, "versions": {}, "files": {}},
    }
    return Manifest.model_validate(written)


@pytest.mark.parametrize(
    ("was", "now", "counts", "in_flight"),
    [
        ({}, {}, {}, 48),
        ({}, {"price": PRICE, "params": {"max_tokens": 9}}, {}, 48),
        ({}, {"mode": "batch"}, {}, 48),
        ({"no such setting": 1}, {}, {}, None),
        ({"concurrency": 32}, {"concurrency": 32}, {"concurrency": None}, 32),
        ({}, {}, {"attempts": 7}, 7),  # so few were never 48 at once
        ({}, {"model": "another"}, {}, None),
        ({}, {"endpoint": "http://127.0.0.1:10/v1"}, {}, None),
        ({}, {"concurrency": 4}, {}, None),
        ({}, {}, {"latency_s": None, "attempts": 0}, None),  # all came from the ledger
        ({}, {}, {"concurrency": None}, None),
    ],
)
def test_a_speed_counts_only_where_the_teacher_is_the_same(
    was: dict[str, Any], now: dict[str, Any], counts: dict[str, Any], in_flight: int | None
) -> None:
    config = TeacherConfig.model_validate(teacher(**now))
    found = measured(manifest(teacher(**was), **counts), {"main": config, "new": config})
    assert (found["main"].in_flight if found else None) == in_flight


@pytest.mark.parametrize(("model", "in_flight"), [("models/one", 48), ("models/two", None)])
def test_a_server_of_ones_own_is_the_same_by_its_block(model: str, in_flight: int | None) -> None:
    was = {"vllm": {"model": "models/one", "args": ["--max-model-len", 2048]}}
    now = TeacherConfig.model_validate({"vllm": was["vllm"] | {"model": model}})
    dumped = TeacherConfig.model_validate(was).model_dump(mode="json")
    for before in (was, dumped):
        found = measured(manifest(before), {"main": now})
        assert (found["main"].in_flight if found else None) == in_flight


def test_plan_shows_them_and_json_has_them(tmp_path: Path) -> None:
    # 300 questions of 24 bytes at 1 USD, 1,500 tokens of answers at 2 USD per million.
    limited = teacher(price=PRICE, requests_per_minute=30)
    file = write(tmp_path, teachers={"main": limited}, steps=[DRAFT])
    told = CliRunner().invoke(app, ["plan", str(file), "--json"])
    online, batch, local = orjson.loads(told.stdout)["routes"]
    usd = (300 * 24 + 2 * 1500) / 1e6
    assert (online["way"], online["chosen"], online["wall_s"]) == ("online", True, 600.0)
    assert online["usd"] == pytest.approx(usd)
    assert batch["usd"] == pytest.approx(usd / 2)
    assert (local["usd"], local["wall_s"]) == (0.0, None)
    table = CliRunner().invoke(app, ["plan", str(file)]).stdout
    assert "online, as the file has it: about 0.01 USD, at least 10 min" in table
    assert "batch: about 0.01 USD, at most 24 h (a window of 24h for each step" in table


def test_in_batch_mode_the_plan_counts_the_discount(tmp_path: Path) -> None:
    batched = teacher(price=PRICE, mode="batch")
    plan = Pipeline.load(write(tmp_path, teachers={"main": batched}, steps=[DRAFT])).plan()
    usd = (300 * 24 + 2 * 1500) / 1e6
    assert plan.usd == plan.calls[0].usd == pytest.approx(usd / 2)
    assert [route.usd for route in plan.routes] == pytest.approx([usd, usd / 2, 0.0])
    assert [route.chosen for route in plan.routes] == [False, True, False]


def test_a_run_measures_what_the_next_plan_says(tmp_path: Path) -> None:
    with in_thread(FakeTeacher(latency_s=0.01)) as provider:
        settings = teacher(endpoint=provider.url, concurrency=5)
        pipeline = Pipeline.load(
            write(tmp_path, teachers={"main": settings}, steps=[DRAFT]), out=tmp_path / "out"
        )
        assert pipeline.plan().routes[0].wall_s is None
        latency_s = pipeline.run_sync().teachers["main"].latency_s
    assert latency_s is not None
    online = pipeline.plan().routes[0]
    assert online.wall_s == pytest.approx(300 * latency_s / 5)
    assert online.bound == "about"


def test_a_damaged_manifest_is_said_and_stops_no_plan(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("{", encoding="utf-8")
    plan = Pipeline.load(write(tmp_path), out=tmp_path / "out").plan()
    assert any("how fast the teachers were before" in text for text in plan.unknown)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (86400, "24 h")],
)
def test_spans_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text
