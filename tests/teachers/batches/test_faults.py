"""Everything that can become of a batch, of a line in it, and of a call: nothing is lost, nothing
is bought twice, and the dataset is the one that online asking makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import web

from synthkd.errors import TeacherRefused, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.ledger.outbox import BatchRecord
from synthkd.ledger.sqlite import SqliteLedger
from tests.runs import tree_bytes
from tests.teachers.batches.driving import (
    DELAY_S,
    Clock,
    online,
    only_waited,
    pipeline,
    until_done,
)
from tests.teachers.serving import serving

QUESTIONS = 54
"""27 of the first step, 27 of the second: three samples of nine different instructions."""


async def batches_of(ledger: Path) -> list[BatchRecord]:
    store = SqliteLedger(ledger)
    try:
        assert store.outbox.is_empty, "nothing may be left over"
        return store.outbox.batches(open_only=False)
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("fault", "batches", "asked"),
    [
        ("expired", 3, QUESTIONS),
        ("partial", 3, QUESTIONS),
        ("missing", 3, QUESTIONS + 13),
        ("doubled", 2, QUESTIONS),
        ("unknown", 2, QUESTIONS),
        ("garbled", 3, QUESTIONS + 1),
        ("broken_line", 3, QUESTIONS + 1),
        ("enqueued", 5, QUESTIONS),
    ],
)
async def test_a_batch_that_goes_wrong(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, fault: str, batches: int, asked: int
) -> None:
    provider.batch_script.append(fault)
    manifest, stops = await until_done(pipeline(tmp_path, provider), clock)
    assert only_waited(stops)
    made = await batches_of(tmp_path / "out.sqlite")
    assert (len(made), provider.billed_requests) == (batches, asked)
    assert all(batch.state == "ended" for batch in made)
    # What was billed and never told is spent all the same, at the most that it can have cost.
    assert manifest.spend.requests == asked
    assert manifest.spend.prompt_tokens >= provider.prompt_tokens
    billed = provider.billed_requests
    _, wanted = await online(tmp_path, provider)
    assert provider.billed_requests == billed + QUESTIONS
    assert tree_bytes(tmp_path / "out" / "dataset") == wanted


async def test_what_the_provider_refuses_whole_stops_the_run_with_its_words(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    provider.batch_script.append("invalid")
    batched = pipeline(tmp_path, provider)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    clock.now += DELAY_S
    words = r"did not take batch batch_\w+ of 27 questions: invalid_request in line 2: the valid"
    with pytest.raises(TeacherRefused, match=words):
        await batched.run()
    assert provider.billed_requests == 0
    _, stops = await until_done(batched, clock)
    assert only_waited(stops)
    assert provider.billed_requests == QUESTIONS


async def test_a_refused_question_is_stored_and_asked_again_once_if_that_is_wished(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    limits = {"limits": {"max_failed": 1.0}}
    batched = pipeline(tmp_path, provider, rows=2, more=limits)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    provider.script.extend(["400", "filtered", "422"])  # the lines of one of the two rows, or both
    manifest, _ = await until_done(batched, clock)
    assert manifest.spend.requests == provider.billed_requests
    asked = provider.batched
    offline = await batched.run(offline=True)
    assert provider.batched == asked
    assert offline.counts == manifest.counts
    provider.script.append("400")
    again = await batched.run(retry_failed=True, wait=True, sleep=clock.sleep)
    assert provider.batched > asked
    assert again.counts.failed <= manifest.counts.failed
    assert again.counts.read == again.counts.kept + again.counts.failed + again.counts.rejected


async def test_what_fails_again_and_again_is_given_up_and_asked_again_by_the_next_run(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    limits = {"limits": {"max_failed": 1.0}}
    batched = pipeline(tmp_path, provider, rows=2, more=limits, max_attempts=2)
    provider.rates["500"] = 1.0
    manifest, stops = await until_done(batched, clock)
    assert len(stops) == 2
    assert (manifest.counts.failed, manifest.counts.kept) == (2, 0)
    assert manifest.funnel["generate"].reasons == {"Unanswered": 2}
    assert provider.batched == 2 * 6
    assert manifest.spend.requests == 0
    provider.rates.clear()
    manifest, stops = await until_done(batched, clock)
    assert only_waited(stops)
    assert manifest.counts.kept == 2


async def test_a_model_that_does_not_exist_stops_the_run(tmp_path: Path, clock: Clock) -> None:
    with in_thread(FakeTeacher(models=["other"], batch_delay_s=DELAY_S, clock=clock)) as provider:
        batched = pipeline(tmp_path, provider)
        with pytest.raises(WaitingForBatch):
            await batched.run()
        clock.now += DELAY_S
        with pytest.raises(TeacherRefused, match="model_not_found"):
            await batched.run()


# --- calls that fail


@pytest.mark.parametrize("fault", ["500", "429", "reset", "lost"])
@pytest.mark.parametrize("call", range(4))
async def test_a_call_that_fails_costs_nothing(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, fault: str, call: int
) -> None:
    provider.batch_call_script.extend([None] * call + [fault])
    manifest, stops = await until_done(pipeline(tmp_path, provider, rows=3), clock)
    assert provider.faults[fault] == 1
    # Where nothing at all is under way, the run says that the provider is at fault.
    assert sum(isinstance(stop, TeacherRefused) for stop in stops) <= 1
    assert provider.billed_requests == 18
    assert manifest.spend.requests == 18
    assert manifest.counts.kept == 3


async def test_a_download_that_breaks_off_is_made_again(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    provider.batch_call_script.extend([None, None, None, "cut"])
    manifest, stops = await until_done(pipeline(tmp_path, provider), clock)
    assert provider.faults["cut"] == 1
    assert only_waited(stops)
    assert provider.billed_requests == manifest.spend.requests == QUESTIONS


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "answers HTTP 401: scripted 401. Check the API key: none was sent"),
        ("403", "answers HTTP 403"),
        ("quota", "Add credit"),
    ],
)
async def test_a_provider_that_lets_nobody_in_stops_the_run(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, fault: str, words: str
) -> None:
    provider.batch_call_script.append(fault)
    batched = pipeline(tmp_path, provider)
    with pytest.raises(TeacherRefused, match=re.escape(words)):
        await batched.run()
    _, stops = await until_done(batched, clock)
    assert only_waited(stops)


async def test_a_batch_that_is_refused_after_its_file_was_sent_keeps_the_name_of_the_file(
    tmp_path: Path, provider: FakeTeacher
) -> None:
    provider.batch_call_script.extend([None, "401"])
    with pytest.raises(TeacherRefused):
        await pipeline(tmp_path, provider).run()
    ledger = SqliteLedger(tmp_path / "out.sqlite")
    (refused,) = ledger.outbox.batches(open_only=False)
    await ledger.close()
    assert (refused.state, refused.batch_id) == ("ended", None)
    assert refused.file_id is not None


async def test_a_provider_without_batches_says_so_in_one_message(tmp_path: Path) -> None:
    with (
        in_thread(FakeTeacher(has_batches=False)) as provider,
        pytest.raises(TeacherRefused) as refused,
    ):
        await pipeline(tmp_path, provider).run()
    assert str(refused.value) == (
        f"{provider.url}/files answers HTTP 404: this provider has no Batch API there. Write"
        " `mode: online`, or check `endpoint` (a base URL usually ends in /v1)"
    )


async def test_files_that_are_too_large_go_in_halves(tmp_path: Path, clock: Clock) -> None:
    server = FakeTeacher(batch_bytes=2_500, batch_delay_s=DELAY_S, clock=clock)
    with in_thread(server) as provider:
        _, stops = await until_done(pipeline(tmp_path, provider), clock)
        assert only_waited(stops)
        assert provider.billed_requests == QUESTIONS
        files = [each for each in provider.batches.files.values() if each.purpose == "batch"]
        assert max(len(each.content) for each in files) <= 2_500


async def test_a_question_that_is_too_large_alone_is_refused_like_online(
    tmp_path: Path, clock: Clock
) -> None:
    server = FakeTeacher(batch_bytes=10, batch_delay_s=DELAY_S, clock=clock)
    with in_thread(server) as provider:
        limits = {"limits": {"max_failed": 1.0}}
        batched = pipeline(tmp_path, provider, rows=1, more=limits)
        manifest, _ = await until_done(batched, clock)
    assert manifest.funnel["generate"].reasons == {"RequestRefused": 1}
    assert (manifest.counts.failed, manifest.spend.requests) == (1, 0)


@pytest.mark.parametrize(
    ("limits", "batches"),
    [({"max_requests": 10}, 3), ({"max_file_mb": 0.003}, 3), ({"max_enqueued_tokens": 80}, 1)],
)
async def test_files_are_within_the_limits(
    tmp_path: Path, provider: FakeTeacher, clock: Clock, limits: dict[str, float], batches: int
) -> None:
    batched = pipeline(tmp_path, provider, batch=limits)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    files = list(provider.batches.files.values())
    assert len(files) == batches
    assert max(file.content.count(b"\n") for file in files) <= limits.get("max_requests", 99)
    assert max(len(file.content) for file in files) <= 1e6 * limits.get("max_file_mb", 1)
    _, stops = await until_done(batched, clock)
    assert only_waited(stops)
    assert provider.billed_requests == QUESTIONS
    made = await batches_of(tmp_path / "out.sqlite")
    assert all(batch.prompt_tokens <= limits.get("max_enqueued_tokens", 10**6) for batch in made)


async def test_a_batch_that_the_provider_has_lost_is_named(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    batched = pipeline(tmp_path, provider)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    provider.batches.batches.clear()
    for _ in range(2):
        with pytest.raises(TeacherRefused, match=r"knows no batch batch_\w+ \(any more\), with 27"):
            await batched.run()
    assert provider.batched == 0


async def test_a_redirect_is_not_followed_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "http://elsewhere.example/v1"})

    async with serving(elsewhere) as url:
        server = FakeTeacher()
        server.url = url
        options = {"api_key_env": "MY_KEY", "api_key_header": "api-key"}
        with pytest.raises(TeacherRefused, match="a redirect to elsewhere"):
            await pipeline(tmp_path, server, rows=1, **options).run()  # type: ignore[arg-type]
    assert seen == ["/v1/files"]
