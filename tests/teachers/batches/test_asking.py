"""Who asks in batches: steps of every kind, the evaluation, other APIs, images; who may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.account import Account
from synthkd.config import BudgetConfig, LimitsConfig, TeacherConfig
from synthkd.desk import Desk
from synthkd.engines.local import carry_out
from synthkd.errors import RowError, Waiting, WaitingForBatch
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.io.spool import Table
from synthkd.kit import Kit
from synthkd.ledger.sqlite import SqliteLedger
from synthkd.plan import BoundRowStep, BoundTableStep, Segment
from synthkd.prompts import load_prompt
from synthkd.rows import Row, source_row
from synthkd.steps import Step, StepSettings, TableStep
from synthkd.table_kit import TableKit
from synthkd.teachers.open import Gateway, OpenTeacher, open_teachers
from synthkd.teachers.parts import by_hash, image_part
from synthkd.teachers.request import Completion, Request, Usage
from synthkd.teachers.wire import wire_body
from tests.runs import tree_bytes
from tests.teachers.batches.driving import DELAY_S, PRICE, Clock, only_waited, pipeline, until_done

# --- rows that wait, in steps that take it well or badly


class Absent:
    """Has no answer to some texts yet."""

    def __init__(self, *absent: str) -> None:
        self.absent = absent
        self.asked: list[str] = []

    async def complete(self, request: Request) -> Completion:
        text = str(request.inputs["text"])
        self.asked.append(text)
        if text in self.absent:
            raise Waiting("it is under way")
        return Completion(text.upper(), finish="stop", usage=Usage(), key=text, reply=b"{}")


class Nothing(StepSettings):
    """No settings."""


COMMON: dict[str, Any] = {"rank": 0, "config": Nothing(), "prompts": {}, "teachers": ("t",)}


def row_step(run: Any, *, fans_out: bool = False) -> BoundRowStep:
    common: dict[str, Any] = {"needs": (), "gives": (), "supplies": (), "about": ""}
    step = Step(name="row", config=Nothing, run=run, fans_out=fans_out, **common)
    return BoundRowStep(label="row", step=step, needs=(), gives=(), in_flight=1, **COMMON)


def table_step(run: Any) -> BoundTableStep:
    step = TableStep(name="table", config=Nothing, run=run, needs=(), gives=(), about="")
    return BoundTableStep(label="table", step=step, needs=(), gives=(), **COMMON)


async def carried(
    folder: Path, teacher: Absent, rows: list[BoundRowStep], table: BoundTableStep | None = None
) -> tuple[list[Row], Account]:
    """Two rows, `a` and `b`, through a row step, perhaps a table step, into a list."""
    (folder / "say.md.j2").write_text(
        "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n", encoding="utf-8"
    )
    prompts = {"say": load_prompt("say", folders=[folder])}
    opened = OpenTeacher(
        name="t", model="m", params={}, max_tokens=None, simulated=False, stack=teacher
    )
    account = Account(folder / "account", ["row", "table"], LimitsConfig())
    given = [source_row("s", [i], ordinal=i, fields={"text": t}) for i, t in enumerate("ab")]
    account.enter((row.order[0], row.id, "train") for row in given)
    kept: list[Row] = []

    async def source() -> AsyncIterator[list[Row]]:
        yield given

    async def keep(row: Row) -> None:
        account.keep(row)
        kept.append(row)

    segments = [Segment(rows=tuple(rows), table=table)]
    segments += [] if table is None else [Segment(rows=(), table=None)]
    await carry_out(
        segments,
        source(),  # type: ignore[arg-type]
        lambda bound: Desk(step=bound.label, teachers={"t": opened}, prompts=prompts),
        account,
        folder,
        keep,
    )
    return kept, account


async def test_a_step_that_takes_waiting_for_a_failed_sample_makes_nothing_of_it(
    tmp_path: Path,
) -> None:
    async def careless(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        try:
            said = (await kit.ask("say", row.fields, teacher="t")).text
        except RowError:
            said = "no answer"
        kit.discard("lost", said)
        yield row.with_fields(said=said)

    kept, account = await carried(tmp_path, Absent("a"), [row_step(careless)])
    assert [row.fields["said"] for row in kept] == ["B"]
    counts = account.reconcile()
    assert (counts.kept, counts.waiting, account.waiting) == (1, 1, 1)
    assert dict(account.funnel["row"].discarded) == {"lost": 1}
    account.close()


async def test_all_samples_of_a_row_are_asked_before_it_waits(tmp_path: Path) -> None:
    async def several(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        await kit.ask_many("say", row.fields, teachers=["t", "t"], samples=3)
        yield row

    teacher = Absent("a")
    kept, account = await carried(tmp_path, teacher, [row_step(several)])
    assert (teacher.asked.count("a"), teacher.asked.count("b"), len(kept)) == (6, 6, 1)
    account.close()


async def test_children_that_were_made_before_go_on_and_the_source_row_is_kept(
    tmp_path: Path,
) -> None:
    async def two(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row.with_fields(said="first")
        yield row.with_fields(said=(await kit.ask("say", row.fields, teacher="t")).text)

    kept, account = await carried(tmp_path, Absent("a"), [row_step(two, fans_out=True)])
    assert len(kept) == 3
    assert account.funnel["row"].balances
    counts = account.reconcile()
    assert (counts.kept, counts.waiting, account.waiting) == (2, 0, 1)
    account.close()


async def test_a_table_step_does_not_run_while_rows_wait_before_it(tmp_path: Path) -> None:
    async def ask(row: Row, kit: Kit, config: Nothing, /) -> AsyncIterator[Row]:
        yield row.with_fields(said=(await kit.ask("say", row.fields, teacher="t")).text)

    def never(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        raise AssertionError("it has not all of its rows")
        yield

    kept, account = await carried(tmp_path, Absent("a"), [row_step(ask)], table_step(never))
    counts = account.reconcile()
    assert (kept, counts.waiting) == ([], 2)
    assert (account.funnel["row"].waiting, account.funnel["table"].waiting) == (1, 1)
    account.close()


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_table_step_whose_answers_are_under_way_waits_as_a_whole(
    tmp_path: Path, swallows: bool
) -> None:
    def asking(table: Table, kit: TableKit, config: Nothing, /) -> Iterator[Row]:
        for row in table:
            try:
                kit.ask("say", row.fields, teacher="t")
            except Waiting:
                if not swallows:
                    raise
            kit.note({"seen": 1})
            yield row

    teacher = Absent("a")
    kept, account = await carried(tmp_path, teacher, [], table_step(asking))
    counts = account.reconcile()
    assert (kept, counts.waiting, counts.kept) == ([], 2, 0)
    assert account.funnel["table"].balances
    assert account.figures == {}
    assert teacher.asked == (["a", "b"] if swallows else ["a"])
    account.close()


# --- the evaluation


async def test_the_evaluation_waits_too_and_scores_the_same(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    rows = [{"id": n, "text": f"message {n}", "gold": "yes" if n % 3 else "no"} for n in range(30)]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    more = {
        "source": {
            "jsonl": "gold.jsonl",
            "id": ["id"],
            "holdout": {"test": 0.3, "by": ["id"]},
        },
        "steps": [{"use": "label", "with": {"teacher": "main", "labels": ["yes", "no"]}}],
        "export": {"format": "rows"},
        "evaluate": {"on": "test", "ask": "label", "metrics": ["accuracy"], "gold": "gold"},
        "limits": {"max_rejected": 1.0},
    }
    provider.voice = type(provider.voice)(
        answer=lambda body: "yes",
        served_model=None,
        reasoning_tokens=0,
        reasoning_field="reasoning_content",
    )
    batched = pipeline(tmp_path, provider, more=more)
    manifest, stops = await until_done(batched, clock)
    assert only_waited(stops)
    assert len(stops) == 2
    twin = await pipeline(tmp_path, provider, "online", more=more, mode="online").run()
    assert manifest.evaluation is not None
    assert twin.evaluation is not None
    assert [one.metrics for one in manifest.evaluation.contestants] == [
        one.metrics for one in twin.evaluation.contestants
    ]
    costs = {
        one.name: one.usd_per_1000 for one in manifest.evaluation.contestants if one.usd_per_1000
    }
    assert costs == {
        one.name: pytest.approx(one.usd_per_1000 / 2)
        for one in twin.evaluation.contestants
        if one.usd_per_1000
    }
    assert tree_bytes(tmp_path / "out" / "dataset") == tree_bytes(tmp_path / "online" / "dataset")


# --- two teachers, the one in batches and the other online


async def test_an_online_teacher_beside_it_is_asked_at_once(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    teachers = {
        "main": {"endpoint": provider.url, "model": "fake", "mode": "batch", "price": PRICE},
        "other": {"endpoint": provider.url, "model": "second", "price": PRICE},
    }
    ask = {"teachers": ["main", "other"], "labels": ["about", "it"], "prompt": "pick"}
    (tmp_path / "pick.md.j2").write_text(
        "---\ninputs: [instruction]\noutput: text\n---\n{# user #}\n{{ instruction }}\n",
        encoding="utf-8",
    )
    more = {
        "teachers": teachers,
        "steps": [{"use": "label", "with": ask}],
        "export": {"format": "rows"},
        "limits": {"max_rejected": 1.0},
    }
    batched = pipeline(tmp_path, provider, more=more)
    with pytest.raises(WaitingForBatch):
        await batched.run()
    assert (provider.requests, provider.batched) == (9, 0)
    clock.now += DELAY_S
    manifest = await batched.run()
    assert (provider.requests, provider.batched) == (9, 9)
    assert manifest.counts.waiting == 0


# --- APIs and images


async def asked(provider: FakeTeacher, folder: Path, act: Any) -> None:
    """Pass after pass through an open gateway, until nothing waits."""
    block = {"endpoint": provider.url, "model": "m", "mode": "batch", "price": PRICE}
    for _ in range(4):
        ledger = SqliteLedger(folder / "l.sqlite")
        try:
            async with open_teachers(
                {"main": TeacherConfig.model_validate(block)},
                base=folder,
                ledger=ledger,
                run_id="r",
                budget=BudgetConfig(),
            ) as gateway:
                await gateway.batches.collect()
                try:
                    await act(gateway)
                    return
                except Waiting:
                    with pytest.raises(WaitingForBatch):
                        await gateway.batches.wait_for(1)
        finally:
            await ledger.close()
    raise AssertionError("it waits for ever")


async def test_embeddings_are_the_same_as_online(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    vectors: list[list[float]] = []

    async def act(gateway: Gateway) -> None:
        clock.now += DELAY_S
        embedder = gateway.teachers["main"].embedder()
        vectors.extend([list(v) for v in await embedder.embed(["one text", "another"])])

    await asked(provider, tmp_path, act)
    block = {"endpoint": provider.url, "model": "m", "price": PRICE}
    ledger = SqliteLedger(tmp_path / "online.sqlite")
    async with open_teachers(
        {"main": TeacherConfig.model_validate(block)},
        base=tmp_path,
        ledger=ledger,
        run_id="r",
        budget=BudgetConfig(),
    ) as gateway:
        fresh = await gateway.teachers["main"].embedder().embed(["one text", "another"])
    await ledger.close()
    assert vectors == [list(vector) for vector in fresh]


async def test_raw_text_and_images_go_out_as_they_do_online(
    tmp_path: Path, provider: FakeTeacher, clock: Clock
) -> None:
    picture = image_part(b"\x89PNG" * 50, "image/png")
    words = {"type": "text", "text": "what is it?"}
    seen, images = by_hash([{"role": "user", "content": [words, picture]}])
    chat = Request(
        body={"model": "m", "messages": seen}, inputs={}, images=images, max_tokens=9, sample=2
    )
    raw = Request(body={"model": "m", "prompt": "once"}, inputs={}, api="completions", max_tokens=9)

    async def act(gateway: Gateway) -> None:
        clock.now += DELAY_S
        waits: Waiting | None = None
        for request in (chat, raw):
            try:
                assert (await gateway.teachers["main"].complete(request)).text
            except Waiting as waiting:
                waits = waiting
        if waits is not None:
            raise waits

    await asked(provider, tmp_path, act)
    files = [each for each in provider.batches.files.values() if each.purpose == "batch"]
    bodies = {
        line["url"]: line["body"]
        for file in files
        for line in map(json.loads, file.content.splitlines())
    }
    assert bodies == {
        "/v1/chat/completions": json.loads(wire_body(chat)),
        "/v1/completions": json.loads(wire_body(raw)),
    }
    assert "data:image/png;base64," in json.dumps(bodies["/v1/chat/completions"])


# --- what may not


@pytest.mark.parametrize(
    "block",
    [
        {"endpoint": ["http://a/v1", "http://b/v1"], "model": "m"},
        {"recorded": {"jsonl": "x", "match": "a", "text": "b"}},
        {"simulated": {"world": "tickets"}},
    ],
)
def test_batches_need_one_endpoint(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="`mode: batch` needs one endpoint"):
        TeacherConfig.model_validate(block | {"mode": "batch"})


async def test_the_key_goes_where_the_block_says_and_is_seen_nowhere(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-very-secret-4711"
    monkeypatch.setenv("MY_KEY", key)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one")
    with in_thread(FakeTeacher(api_key=key, batch_delay_s=DELAY_S, clock=clock)) as provider:
        for header in ("Authorization", "api-key"):
            block: dict[str, Any] = {"api_key_env": "MY_KEY", "api_key_header": header}
            batched = pipeline(tmp_path, provider, header, rows=2, **block)
            _, stops = await until_done(batched, clock)
            assert only_waited(stops)
    assert key.encode() not in b"".join(tree_bytes(tmp_path).values())
