"""What the doctor finds about a teacher, and that finding it is bounded and keeps the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.doctor.report import Examined, Report
from synthkd.doctor.teachers import examine_teacher
from synthkd.fake_teacher import FakeTeacher
from tests.doctor.server import EVERYTHING, Server

KEY = "sk-this-is-never-shown"


def http(*urls: str, **changes: Any) -> TeacherConfig:
    values = {"endpoint": list(urls), "model": "small", "price": {"prompt": 1, "completion": 1}}
    return TeacherConfig.model_validate(values | changes)


async def examined(
    config: TeacherConfig,
    *,
    base: Path = Path(),
    budget: BudgetConfig | None = None,
    probe: bool = True,
) -> Examined:
    return await examine_teacher(
        "main", config, base=base, budget=budget or BudgetConfig(), probe=probe
    )


def grades(found: Examined) -> dict[str, str]:
    return {finding.check: finding.grade for finding in found.findings}


def said(found: Examined) -> dict[str, str]:
    return {finding.check: finding.said for finding in found.findings}


def exit_code(found: Examined) -> int:
    return Report(name="p", pipeline="p", findings=found.findings, probes=0, tokens=0).exit_code


# ------------------------------------------------------------------------------------ abilities


async def test_a_teacher_that_can_do_everything() -> None:
    headers = {"x-ratelimit-limit-requests": "500", "X-RateLimit-Remaining-Tokens": "1999"}
    async with Server(headers=headers, reasons=True).serve() as server:
        found = await examined(http(server.url))
    able = {"usage", "max_tokens", "seed", "n", "logprobs", "json_schema", "latency", "model"}
    assert {check for check, grade in grades(found).items() if grade == "fine"} >= able
    words = said(found)
    assert words["model"] == "small is in the list of 2"
    assert words["usage"] == "told: 20 + 16 tokens"
    assert words["reasoning"] == "in a field of its own"
    assert words["rate limits"] == "limit-requests 500, remaining-tokens 1999"
    assert words["latency"].endswith("of 3 tiny answers")
    assert exit_code(found) == 0
    assert found.probes == len(server.bodies) == 6
    assert found.tokens == server.billed_tokens
    assert all(body["max_tokens"] <= 16 for body in server.bodies)


async def test_a_teacher_that_ignores_everything() -> None:
    async with Server(frozenset()).serve() as server:
        found = await examined(http(server.url))
    words = said(found)
    assert words["model"] == "no list of models is offered (HTTP 404)"
    assert words["usage"].startswith("not told")
    assert words["seed"] == "taken or ignored: the same seed gave another answer"
    assert words["n"] == "ignored: 2 answers were asked for, 1 came"
    assert words["logprobs"] == "ignored: the answer has none"
    assert words["json_schema"].startswith("taken, but the answer was cut")
    assert words["rate limits"] == "no x-ratelimit-* headers"
    assert grades(found)["usage"] == "warning"
    assert exit_code(found) == 0


async def test_empty_answers_show_nothing() -> None:
    async with FakeTeacher(answer=lambda _: "").serve() as server:
        words = said(await examined(http(server.url)))
    assert words["seed"].startswith("not shown")
    assert words["logprobs"].startswith("not shown")


async def test_an_answer_that_is_longer_than_was_asked_for() -> None:
    async with Server(EVERYTHING - {"length"}).serve() as server:
        found = await examined(http(server.url))
    assert said(found)["max_tokens"] == "not obeyed: 28 tokens instead of 16"
    assert grades(found)["max_tokens"] == "warning"


@pytest.mark.parametrize(
    ("name", "check"),
    [("n", "n"), ("logprobs", "logprobs"), ("response_format", "json_schema"), ("seed", "seed")],
)
async def test_a_parameter_that_is_refused_is_not_taken(name: str, check: str) -> None:
    async with Server(refuses=[name]).serve() as server:
        found = await examined(http(server.url))
    assert said(found)[check] == f"not taken: HTTP 400: {name} is not supported"
    assert grades(found)[check] == "note"
    assert exit_code(found) == 0


async def test_a_teacher_that_has_another_name_for_max_tokens() -> None:
    async with Server(refuses=["max_tokens"]).serve() as server:
        found = await examined(http(server.url, params={"max_tokens": 99}))
        unnamed = await examined(http(server.url))
        named = await examined(http(server.url, params={"max_completion_tokens": 99}))
    first = next(each for each in found.findings if each.check == "max_tokens")
    assert first.said.startswith("max_tokens is refused and max_completion_tokens taken")
    assert grades(found)["n"] == "fine", "the further questions use the name that is taken"
    assert found.probes <= 10
    assert [exit_code(each) for each in (found, unnamed, named)] == [2, 0, 0]
    assert named.probes == 6


async def test_the_first_question_is_asked_as_a_run_would() -> None:
    async with Server(refuses=["top_k"]).serve() as server:
        params = {"temperature": 0.7, "top_k": 3, "max_tokens": 512}
        found = await examined(http(server.url, params=params))
    assert server.bodies[0]["temperature"] == 0.7
    assert server.bodies[0]["max_tokens"] == 16
    assert "it refuses the `params` of this pipeline" in said(found)["answers"]
    assert "top_k is not supported" in said(found)["answers"]
    assert exit_code(found) == 2


async def test_a_model_that_is_not_listed_is_named_with_near_ones() -> None:
    async with Server().serve() as server:
        found = await examined(http(server.url, model="smal"))
    assert grades(found)["model"] == "warning"
    assert "smal is not in the list of 2" in said(found)["model"]
    assert "small" in said(found)["model"]


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("fault", "code", "grade", "part"),
    [
        ("401", 5, "refused", "Check the API key (from A_KEY)"),
        ("403", 5, "refused", "Check what the API key may use (from A_KEY)"),
        ("404", 5, "refused", "Check `model`"),
        ("quota", 5, "refused", "Add credit at the provider"),
        ("redirect", 5, "refused", "A redirect is not followed"),
        ("429", 0, "warning", "limited just now"),
        ("400", 2, "mend", "it refuses the `params`"),
        ("500", 2, "mend", "check the server and try again"),
        ("empty", 2, "mend", "that is no chat completion"),
        ("json", 2, "mend", "that is no chat completion"),
        ("reset", 2, "mend", "it broke off"),
        ("cut", 2, "mend", "it broke off"),
    ],
)
async def test_what_each_fault_means(
    fault: str, code: int, grade: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    async with FakeTeacher(rates={fault: 1.0}).serve() as provider:
        found = await examined(http(provider.url, api_key_env="A_KEY"))
    assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
    answers = next(each for each in found.findings if each.check == "answers")
    assert (answers.grade, exit_code(found)) == (grade, code)
    assert part in answers.said
    assert KEY not in orjson.dumps([each.model_dump() for each in found.findings]).decode()
    assert found.probes <= 2


async def test_a_server_that_is_not_there() -> None:
    found = await examined(http("http://127.0.0.1:1/v1"))
    assert grades(found)["reachable"] == "mend"
    assert "no connection" in said(found)["reachable"]
    assert (found.probes, exit_code(found)) == (0, 2)


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with FakeTeacher(latency_s=60).serve() as provider:
        found = await examined(http(provider.url, timeout_s=0.2))
    assert "no answer in 0.2 s" in said(found)["answers"]
    assert exit_code(found) == 2


@pytest.mark.parametrize(
    ("changes", "budget", "part"),
    [
        ({"api_key_env": "NOT_SET_ANYWHERE"}, {}, "NOT_SET_ANYWHERE, which is not set"),
        ({"endpoint": "ftp://x"}, {}, "endpoint must be a URL"),
        ({"price": None}, {"usd": 1}, "the price of teachers.main (small) is unknown"),
        ({}, {"tokens": 9}, "needs teachers.main.params.max_tokens"),
    ],
)
async def test_what_would_keep_a_run_from_starting(
    changes: Mapping[str, Any], budget: dict[str, Any], part: str
) -> None:
    config = http("http://127.0.0.1:1/v1", **changes)
    found = await examined(config, budget=BudgetConfig(**budget))
    assert part in said(found)["settings"]
    assert exit_code(found) == 2


# ------------------------------------------------------------------------------------ bounds


async def test_every_endpoint_is_asked_and_ten_questions_are_the_most() -> None:
    async with Server(refuses=["max_tokens"]).serve() as server, Server().serve() as other:
        urls = [server.url, *[other.url] * 5]
        found = await examined(http(*urls))
    assert found.probes == len(server.bodies) + len(other.bodies) <= 10
    assert len(other.bodies) == 3
    skipped = [each.said for each in found.findings if "not asked" in each.said]
    assert skipped == ["2 further endpoints were not asked"]


async def test_without_probes_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    async with Server().serve() as server:
        found = await examined(http(server.url, api_key_env="A_KEY"), probe=False)
    assert server.bodies == []
    assert server.keys == [f"Bearer {KEY}"]
    assert (found.probes, found.tokens) == (0, 0)
    assert grades(found)["model"] == "fine"


# ------------------------------------------------------------------------------------ other kinds


async def test_a_recorded_teacher_is_looked_at_for_what_it_has(tmp_path: Path) -> None:
    rows = [{"q": "a", "raw": "1"}, {"q": "a", "raw": "2"}, {"q": "b", "raw": None}]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    recorded = {"jsonl": "r.jsonl", "match": "q", "text": "raw"}
    found = await examined(TeacherConfig.model_validate({"recorded": recorded}), base=tmp_path)
    assert said(found)["file"] == f"{tmp_path / 'r.jsonl'}: 2 answers to 1 questions"
    assert said(found)["hash"].startswith("recorded:")
    assert said(found)["price"] == "free: it is recorded"
    assert exit_code(found) == 0
    none = {**recorded, "where": {"q": "never"}}
    found = await examined(TeacherConfig.model_validate({"recorded": none}), base=tmp_path)
    assert exit_code(found) == 2
    gone = {**recorded, "jsonl": "gone.jsonl"}
    found = await examined(TeacherConfig.model_validate({"recorded": gone}), base=tmp_path)
    assert "gone.jsonl: no such file" in said(found)["settings"]


async def test_a_simulated_teacher_says_that_it_is() -> None:
    config = TeacherConfig.model_validate({"simulated": {"world": "tickets", "error_rate": 0.25}})
    found = await examined(config)
    assert said(found)["world"] == "simulated: tickets, error_rate 0.25"
    config = TeacherConfig.model_validate({"simulated": {"world": "nowhere"}})
    assert "no simulated world 'nowhere'" in said(await examined(config))["settings"]
