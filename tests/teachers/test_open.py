"""The whole stack against a provider on a real socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.config import BudgetConfig, RecordedConfig, SimulatedConfig, TeacherConfig
from synthkd.errors import (
    BudgetReached,
    RequestRefused,
    SynthkdError,
    TeacherRefused,
    UserError,
)
from synthkd.fake_teacher import FakeTeacher
from synthkd.ledger import Cost
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.rows import Fields
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.open import Gateway, OpenTeacher, open_teachers
from synthkd.teachers.prices import nano_usd, price_of
from synthkd.teachers.request import Completion, Request

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).parent / "driver.py"
KEY = "sk-planted-0123456789"


@pytest.fixture
async def provider() -> AsyncIterator[FakeTeacher]:
    async with FakeTeacher().serve() as serving:
        yield serving


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.sqlite")
    yield opened
    await opened.close()


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def gateway(
    ledger: SqliteLedger, endpoint: str, *, budget: BudgetConfig | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    options = {key: changes.pop(key) for key in ("offline", "retry_failed") if key in changes}
    config = TeacherConfig.model_validate(
        {"endpoint": endpoint, "model": "m", "params": {"max_tokens": 20}, **changes}
    )
    async with open_teachers(
        {"main": config},
        base=Path(),
        ledger=ledger,
        run_id="r",
        budget=budget or BudgetConfig(),
        sleep=at_once,
        **options,
    ) as opened:
        yield opened


async def ask(teacher: OpenTeacher, text: str = "why", sample: int = 0) -> Completion:
    body = {
        "model": teacher.model,
        "messages": [{"role": "user", "content": text}],
        **teacher.params,
    }
    request = Request(body=body, max_tokens=teacher.max_tokens, sample=sample, inputs={})
    return await teacher.complete(request)


async def ask_all(teacher: OpenTeacher, texts: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for text in texts:
            group.create_task(ask(teacher, text))


# ------------------------------------------------------------------------------------ pay once


async def test_a_second_run_sends_nothing(provider: FakeTeacher, ledger: SqliteLedger) -> None:
    texts = [f"question {number}" for number in range(30)]
    for hits in (0, 30):
        async with gateway(ledger, provider.url) as opened:
            await ask_all(opened.teachers["main"], texts)
            counts = opened.teachers["main"].stats.counts()
        assert (counts.asked, counts.hits, counts.attempts) == (30, hits, 30 - hits)
    assert provider.requests == 30


async def test_faults_that_pass_leave_no_trace(ledger: SqliteLedger) -> None:
    rates = {"429": 0.2, "500": 0.1, "lost": 0.05, "cut": 0.05, "json": 0.05, "surrogate": 0.05}
    async with FakeTeacher(rates=rates).serve() as provider:
        async with gateway(ledger, provider.url, max_attempts=12) as opened:
            await ask_all(opened.teachers["main"], [f"question {n}" for n in range(100)])
        counts = opened.teachers["main"].stats.counts()
        assert counts.failed == 0
        assert counts.attempts == provider.requests > 120
        assert counts.rate_limited > 10
        assert len(provider.bodies) == 100


async def test_another_port_hits_where_the_same_one_serves(ledger: SqliteLedger) -> None:
    for served_by, asked in (("lab", (1, 0)), (None, (1, 1))):
        async with FakeTeacher().serve() as one, FakeTeacher().serve() as other:
            for serving in (one, other):
                async with gateway(ledger, serving.url, served_by=served_by) as opened:
                    await ask(opened.teachers["main"])
            assert (one.requests, other.requests) == asked


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"max_tokens": 20}, 1),
        ({"max_tokens": 400}, 1),
        ({"max_tokens": 5}, 1),
        ({}, 1),
        ({"max_tokens": 2}, 2),
        ({"max_tokens": 20, "temperature": 1}, 2),
    ],
)
async def test_which_params_ask_again(
    provider: FakeTeacher, ledger: SqliteLedger, params: dict[str, Any], asked: int
) -> None:
    for chosen in ({"max_tokens": 20}, params):
        async with gateway(ledger, provider.url, params=chosen) as opened:
            await ask(opened.teachers["main"])
    assert provider.requests == asked


async def test_from_five_samples_to_eight_buys_three(
    provider: FakeTeacher, ledger: SqliteLedger
) -> None:
    for samples in (5, 8):
        async with gateway(ledger, provider.url, params={"seed": 7}) as opened:
            for sample in range(samples):
                await ask(opened.teachers["main"], sample=sample)
        assert provider.requests == samples
    assert [body["seed"] for body in provider.seen] == list(range(7, 15))


async def test_refusals_are_not_asked_again_unless_told(
    provider: FakeTeacher, ledger: SqliteLedger
) -> None:
    provider.script.append("400")
    for _ in range(2):
        async with gateway(ledger, provider.url) as opened:
            with pytest.raises(RequestRefused, match="HTTP 400: scripted 400"):
                await ask(opened.teachers["main"])
    assert provider.requests == 1
    async with gateway(ledger, provider.url, retry_failed=True) as opened:
        assert (await ask(opened.teachers["main"])).text == "echo -: why"
    assert provider.requests == 2


async def test_an_endpoint_that_is_no_url(ledger: SqliteLedger) -> None:
    with pytest.raises(UserError, match=r"teachers\.main\.endpoint must be a URL such as"):
        async with gateway(ledger, "http://["):
            pass


async def test_offline_needs_no_key(
    provider: FakeTeacher, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    async with gateway(ledger, provider.url, api_key_env="MY_KEY") as opened:
        await ask(opened.teachers["main"])
    monkeypatch.delenv("MY_KEY")
    async with gateway(ledger, provider.url, api_key_env="MY_KEY", offline=True) as opened:
        assert (await ask(opened.teachers["main"])).hit
    assert provider.requests == 1


async def test_what_is_in_the_air_is_kept_when_the_teacher_refuses(
    provider: FakeTeacher, ledger: SqliteLedger
) -> None:
    provider.latency_s = 0.4
    provider.script.append("quota")
    texts = [f"question {number}" for number in range(7)]
    async with gateway(ledger, provider.url) as opened:
        main = opened.teachers["main"]

        async def stopped() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(ask(main, "refused"))
                await provider.reached(1)
                await asyncio.sleep(0.2)
                group.create_task(ask_all(main, texts))

        with pytest.raises(ExceptionGroup) as raised:
            await stopped()
        with pytest.raises(TeacherRefused):
            await ask(main, "one more")
    assert [type(error) for error in raised.value.exceptions] == [TeacherRefused]
    async with gateway(ledger, provider.url) as opened:
        await ask_all(opened.teachers["main"], texts)
    assert provider.requests == 1 + len(texts)


# ------------------------------------------------------------------------------------ budget


@settings(max_examples=12, deadline=None)
@given(
    tokens=st.integers(60, 3000),
    in_flight=st.integers(1, 64),
    lost=st.floats(0, 0.4),
    seed=st.integers(0, 9),
)
def test_the_provider_bills_no_more_than_the_budget(
    tokens: int, in_flight: int, lost: float, seed: int
) -> None:
    async def work(folder: str) -> None:
        ledger = SqliteLedger(Path(folder) / "ledger.sqlite")
        rates = {"lost": lost, "429": 0.1, "cut": 0.1}
        async with FakeTeacher(rates=rates, seed=seed).serve() as provider:
            async with gateway(
                ledger,
                provider.url,
                budget=BudgetConfig(tokens=tokens),
                concurrency=in_flight,
                max_attempts=9,
            ) as opened:
                try:
                    await ask_all(opened.teachers["main"], [f"q {n}" for n in range(80)])
                except* BudgetReached:
                    pass
            spent = await ledger.open_run("r")
            assert provider.billed_tokens <= spent.tokens <= tokens
        await ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work(folder))


async def test_the_budget_is_the_runs_and_survives_a_restart(
    provider: FakeTeacher, ledger: SqliteLedger
) -> None:
    budget = BudgetConfig(requests=5)
    for number in range(2):
        async with gateway(ledger, provider.url, budget=budget) as opened:
            for text in "abc" if number == 0 else "de":
                await ask(opened.teachers["main"], text)
    async with gateway(ledger, provider.url, budget=budget) as opened:
        assert (await ask(opened.teachers["main"], "a")).hit
        with pytest.raises(BudgetReached, match=r"budget\.requests is 5, the run has spent 5"):
            await ask(opened.teachers["main"], "f")
    assert provider.requests == 5


async def run_driver(url: str, path: Path, questions: int, in_flight: int, tokens: int) -> Any:
    arguments = [url, str(path), str(questions), str(in_flight), str(tokens)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(DRIVER), *arguments, env=environment
    )


async def killed_at(
    requests: int, provider: FakeTeacher, path: Path, questions: int, in_flight: int, tokens: int
) -> bool:
    """Start the driver, kill it when the provider has seen so many; False if it ended before."""
    process = await run_driver(provider.url, path, questions, in_flight, tokens)
    ended = asyncio.create_task(process.wait())
    reached = asyncio.create_task(provider.reached(requests))
    await asyncio.wait([ended, reached], return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    killed = not ended.done()
    if killed:
        process.send_signal(signal.SIGKILL)
    await ended
    return killed


@pytest.mark.slow
@pytest.mark.timeout(240)  # it starts Python 21 times
async def test_twenty_kills_in_a_row_never_overspend(tmp_path: Path) -> None:
    path, tokens = tmp_path / "ledger.sqlite", 30_000
    rates = {"lost": 0.1, "429": 0.1}
    async with FakeTeacher(rates=rates, latency_s=0.002).serve() as provider:
        kills = 0
        for number in range(20):
            before = provider.requests
            kills += await killed_at(before + 1 + 2 * number, provider, path, 2000, 8, tokens)
            assert provider.billed_tokens <= tokens
        assert kills >= 10
        process = await run_driver(provider.url, path, 2000, 8, tokens)
        assert await process.wait() == BudgetReached.exit_code
        ledger = SqliteLedger(path)
        spent = await ledger.open_run("the run")
        await ledger.close()
        assert provider.billed_tokens <= spent.tokens <= tokens


async def test_a_kill_repeats_at_most_what_was_in_the_air(tmp_path: Path) -> None:
    path, in_flight, questions = tmp_path / "ledger.sqlite", 8, 300
    async with FakeTeacher(latency_s=0.002).serve() as provider:
        kills = 0
        for requests in (30, 90, 200):
            kills += await killed_at(requests, provider, path, questions, in_flight, 0)
        process = await run_driver(provider.url, path, questions, in_flight, 0)
        assert await process.wait() == 0
        assert kills == 3
        assert len(provider.bodies) == questions
        assert provider.requests - questions <= kills * in_flight
        asked = provider.requests
        process = await run_driver(provider.url, path, questions, in_flight, 0)
        assert await process.wait() == 0
        assert provider.requests == asked, "a warm run sends nothing"


@pytest.mark.parametrize(
    ("budget", "changes", "message"),
    [
        ({"usd": 1}, {}, r"the price of teachers\.main \(m\) is unknown: give `price:"),
        (
            {"usd": 1},
            {"params": {}, "model": "gpt-4o-mini"},
            r"budget\.usd needs teachers\.main\.params\.max_tokens",
        ),
        ({"tokens": 9}, {"params": {}}, r"budget\.tokens needs teachers\.main\.params\.max_tok"),
        ({}, {"params": {"max_tokens": "many"}}, r"max_tokens must be a whole number >= 1, got"),
    ],
)
async def test_a_budget_that_cannot_be_kept(
    provider: FakeTeacher,
    ledger: SqliteLedger,
    budget: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        async with gateway(ledger, provider.url, budget=BudgetConfig(**budget), **changes):
            pass
    assert provider.requests == 0


async def test_what_it_cost(provider: FakeTeacher, ledger: SqliteLedger) -> None:
    price = {"prompt": 0.15, "completion": 0.6}
    async with gateway(ledger, provider.url, price=price) as opened:
        await ask(opened.teachers["main"])
    prompt, completion = provider.prompt_tokens, provider.completion_tokens
    cost = prompt * 150 + completion * 600
    assert opened.budget.spent == Cost(
        requests=1, nano_usd=cost, prompt_tokens=prompt, completion_tokens=completion
    )
    assert await ledger.open_run("r") == opened.budget.spent
    assert opened.teachers["main"].stats.counts().usd == cost / 1e9


def test_prices() -> None:
    price = price_of("gpt-4o-mini")
    assert price is not None
    assert nano_usd(price, prompt_tokens=1000, completion_tokens=100) == 210_000
    odd = price.model_copy(update={"prompt": 0.0333, "completion": 0.0})
    assert nano_usd(odd, prompt_tokens=1, completion_tokens=9) == 34, "rounded up"
    assert price_of("never heard of it") is None


# ------------------------------------------------------------------------------------ kinds, keys


async def test_recorded_and_simulated_teachers_have_the_same_stack(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    (tmp_path / "answers.jsonl").write_bytes(orjson.dumps({"q": "why", "raw": "because"}))
    recorded = RecordedConfig(jsonl="answers.jsonl", match="q", text="raw")
    configs = {
        "old": TeacherConfig(recorded=recorded),
        "small": TeacherConfig(simulated=SimulatedConfig(world="arithmetic", rate_limit_rate=1)),
    }
    budget = BudgetConfig(usd=1, requests=100)
    async with open_teachers(
        configs, base=tmp_path, ledger=ledger, run_id="r", budget=budget, sleep=at_once
    ) as opened:
        old, small = opened.teachers["old"], opened.teachers["small"]
        assert (old.model, old.simulated, small.simulated) == ("recorded", False, True)
        request = Request(body={"model": "m", "messages": []}, inputs={"q": "why"})
        assert (await old.complete(request)).text == "because"
        assert (await old.complete(request)).hit
        body: Fields = {"model": "m", "messages": [{"role": "user", "content": "What?"}]}
        inputs = {"question": "Ann has 2 apples and buys 3 more. How many has she?"}
        answered = await small.complete(Request(body=body, inputs=inputs, prompt="generate/answer"))
        assert answered.reply
    counts = small.stats.counts()
    assert (counts.simulated, counts.rate_limited, counts.attempts) == (True, 1, 2)
    assert counts.usd == 0.0
    assert opened.budget.spent.nano_usd == 0
    assert opened.budget.spent.requests == 2


async def test_a_wrong_column_of_recorded_answers_is_found_before_a_ledger_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "answers.jsonl").write_bytes(orjson.dumps({"q": "why", "raw": "because"}))
    recorded = RecordedConfig(jsonl="answers.jsonl", match="q", text="rew")
    configs = {"old": TeacherConfig(recorded=recorded)}
    with pytest.raises(UserError, match=r"have no column 'rew'; did you mean raw\?"):
        check_teachers(configs, base=tmp_path, budget=BudgetConfig(), offline=False)


async def test_teachers_that_are_one_buy_once(provider: FakeTeacher, ledger: SqliteLedger) -> None:
    config = TeacherConfig(endpoint=provider.url, model="m")
    async with (
        open_teachers(
            {"one": config, "other": config},
            base=Path(),
            ledger=ledger,
            run_id="r",
            budget=BudgetConfig(),
        ) as opened,
        asyncio.TaskGroup() as group,
    ):
        for teacher in opened.teachers.values():
            group.create_task(ask(teacher))
    assert provider.requests == 1


def content_of(folder: Path) -> bytes:
    files = list(folder.glob("ledger.sqlite*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


@pytest.mark.parametrize("fault", ["429", "500", "400", "401", "404", "quota", "lost", "cut"])
async def test_no_key_in_logs_errors_or_the_ledger(
    provider: FakeTeacher,
    tmp_path: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    provider.script.extend([fault, None])
    shown = []
    async with gateway(ledger, provider.url, api_key_env="MY_KEY", max_attempts=1) as opened:
        with pytest.raises(SynthkdError) as caught:
            await ask(opened.teachers["main"])
        shown += [repr(opened), str(caught.getrepr(chain=True)), caplog.text]
    async with gateway(ledger, provider.url, api_key_env="MY_KEY") as opened:
        await ask(opened.teachers["main"], "another")
        shown += [repr(opened), caplog.text]
    await ledger.close()
    assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(shown)
    assert KEY.encode() not in content_of(tmp_path)
