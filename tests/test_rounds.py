"""Rounds: what they hand over, what they learn from, and that nothing is done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from synthkd.config import LinearConfig
from synthkd.errors import ConfigError, UserError
from synthkd.feedback import Example, Feedback
from synthkd.io.rows_file import read_rows
from synthkd.io.spool import RowSpool
from synthkd.pipeline import Pipeline, read_manifest
from synthkd.rounds import Union
from synthkd.rows import Row
from synthkd.steps import Kit, StepSettings, step
from synthkd.students import linear
from tests.runs import finished, killed_at, tree_bytes

SEEN: list[tuple[int, str]] = []
"""What steps were shown of dev rows: (round, text)."""


class GrowSettings(StepSettings):
    """Settings of the step below."""

    copies: bool = False
    """Whether it hands out dev rows themselves."""


@step("test.grow", needs=["text", "label"], gives=["text", "label"], fans_out=True)
async def grow(row: Row, kit: Kit, config: GrowSettings, /) -> AsyncIterator[Row]:
    """The row itself in round 0; later a row like one that the student had wrong, or right."""
    if kit.feedback is None:
        yield row
        return
    SEEN.extend((kit.round, example.text) for example in kit.feedback.examples)
    like = kit.rng.choice(kit.feedback.wrong or kit.feedback.right)
    text = like.text.upper() if config.copies else f"{like.text} again {kit.round}"
    yield row.with_fields(text=text, label=like.gold)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def write(folder: Path, **changes: Any) -> Path:
    kinds = ("cat", "dog", "fish")
    rows = [
        {"text": f"{kinds[n % 3]} word{n % 7} word{n % 5} number{n}", "label": kinds[n % 3]}
        for n in range(90)
    ]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    content = {
        "name": "rounds",
        "source": {
            "jsonl": "rows.jsonl",
            "id": ["text"],
            "holdout": {"dev": 0.3, "test": 0.2, "by": ["text"]},
        },
        "steps": [{"use": "test.grow", "name": "grow"}],
        "student": {"kind": "linear", "text": "text", "label": "label"},
        "evaluate": {"on": "test", "gold": "label", "bootstrap": 50},
        "rounds": 3,
        **changes,
    }
    file = folder / "rounds.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


async def test_the_dataset_is_the_union_and_every_round_is_told(tmp_path: Path) -> None:
    manifest = await Pipeline.load(write(tmp_path), out="out").run()
    assert [record.round for record in manifest.rounds] == [0, 1, 2]
    made = [record.rows for record in manifest.rounds]
    assert made[0] == made[1] == made[2] == manifest.counts.read == manifest.counts.kept
    assert manifest.rounds[-1].rows_so_far == sum(made) == manifest.dataset["rows"]
    assert manifest.funnel["grow"].out == sum(made)
    assert [record.funnel["grow"].out for record in manifest.rounds] == made
    for record in manifest.rounds:
        folder = tmp_path / "out" / "rounds" / str(record.round)
        assert len(list(read_rows(folder / "rows.parquet"))) == record.rows
        student = linear.load_linear(folder / "student")
        assert student.fingerprint == record.student
        assert student.about["rows"] == record.rows_so_far
        assert f"rounds/{record.round}/feedback.json" in manifest.files
    assert manifest.student is not None
    best = max(manifest.rounds, key=lambda record: record.scores["macro_f1"])
    assert manifest.student["fingerprint"] == best.student
    ids = [row.id for row in read_rows(tmp_path / "out" / "rows" / "rows.parquet")]
    assert len(set(ids)) == len(ids)


async def test_rounds_see_dev_and_never_test(tmp_path: Path) -> None:
    file = write(tmp_path)
    plan = Pipeline.load(file, out="plain", overrides=["rounds=1"])
    await plan.run()
    await Pipeline.load(file, out="out").run()
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    sides = {orjson.loads(line)["text"] for line in lines}
    train = {
        str(row.fields["text"]) for row in read_rows(tmp_path / "plain" / "rows" / "rows.parquet")
    }
    shown = {text for _, text in SEEN}
    assert {number for number, _ in SEEN} == {1, 2}
    assert shown < sides - train
    evaluated = read_manifest(tmp_path / "out").counts.held_out
    assert len(shown) == evaluated["dev"]
    hidden = sides - train - shown
    assert len(hidden) == evaluated["test"]
    for name, content in tree_bytes(tmp_path / "out").items():
        if name.endswith((".json", ".jsonl", ".md")):
            for text in hidden:
                assert text.encode() not in content, name


async def test_new_examples_that_are_held_out_rows_are_not_learnt(tmp_path: Path) -> None:
    steps = [{"use": "test.grow", "name": "grow", "with": {"copies": True}}]
    limits = {"max_rejected": 1.0}
    file = write(tmp_path, steps=steps, rounds=2, limits=limits)
    manifest = await Pipeline.load(file, out="out").run()
    read = manifest.counts.read
    assert [record.rows for record in manifest.rounds] == [read, 0]
    assert manifest.funnel["export"].reasons == {"held_out": read}
    assert manifest.counts.kept == read
    allowed = Pipeline.load(file, out="kept", overrides=["student.allow_leaks=true"])
    assert [record.rows for record in (await allowed.run()).rounds] == [read, read]


async def test_running_again_asks_and_trains_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path)
    first = await Pipeline.load(file, out="out").run()
    before = tree_bytes(tmp_path / "out" / "rounds")

    def untrained(config: Any) -> Any:
        raise AssertionError("a student was trained again")

    monkeypatch.setattr(linear, "unfitted", untrained)
    again = await Pipeline.load(file, out="out").run()
    assert (again.rounds, again.student) == (first.rounds, first.student)
    assert tree_bytes(tmp_path / "out" / "rounds") == before


def write_with_own_student(folder: Path, **changes: Any) -> Path:
    """The student of round R learns what that of round R-1 says; in round 0 another one answers."""
    texts = ["cat word1", "cat number", "dog word2", "dog number", "fish word3", "fish word4"]
    labels = [text.split()[0] for text in texts]
    config = LinearConfig(kind="linear", text="text", label="label")
    linear.train_linear(texts, labels, config, folder / "warm", {"source": "a test"})
    (folder / "plain.md.j2").write_text(
        "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n", encoding="utf-8"
    )
    own = {"folder": "warm", "round": "previous"}
    with_ = {"teacher": "own", "labels": ["cat", "dog", "fish"], "prompt": "plain", "into": "said"}
    return write(
        folder,
        teachers={"own": {"student": own}},
        steps=[{"use": "label", "with": with_}],
        student={"kind": "linear", "text": "text", "label": "said"},
        **changes,
    )


async def test_a_round_can_ask_the_student_of_the_round_before(tmp_path: Path) -> None:
    manifest = await Pipeline.load(write_with_own_student(tmp_path), out="out").run()
    students = [
        linear.load_linear(tmp_path / folder)
        for folder in ("warm", "out/rounds/0/student", "out/rounds/1/student")
    ]
    keys = []
    for number, student in enumerate(students):
        rows = list(read_rows(tmp_path / "out" / "rounds" / str(number) / "rows.parquet"))
        assert [row.fields["said"] for row in rows] == student.predict(
            [str(row.fields["text"]) for row in rows]
        )
        keys.append({key for row in rows for key in row.made_by})
    # Who answers is another one each time, so no round has its answers from another's.
    assert set.isdisjoint(*keys[:2])
    assert set.isdisjoint(*keys[1:])
    counts = manifest.teachers["own"]
    assert counts.asked == counts.attempts == 3 * manifest.counts.read
    again = await Pipeline.load(tmp_path / "rounds.yaml", out="other").run()
    assert (again.teachers["own"].hits, again.teachers["own"].attempts) == (counts.asked, 0)
    assert [record.student for record in again.rounds] == [r.student for r in manifest.rounds]
    card = (tmp_path / "out" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "own: the student that the round before has trained; in round 0 the model in" in card


class BeforeSettings(StepSettings):
    """Settings of the step below."""

    teacher: str
    prompt: str
    always: bool = False
    """Whether it asks also where there is nobody."""


@step("test.before", needs=["text"], gives=["said"])
async def before(row: Row, kit: Kit, config: BeforeSettings, /) -> AsyncIterator[Row]:
    """What the student of the round before says, or in round 0 nothing."""
    if kit.can_ask(config.teacher) or config.always:
        reply = await kit.ask(config.prompt, dict(row.fields), teacher=config.teacher)
        row = row.with_fields(said=reply.text)
    yield row.with_fields(said=row.fields.get("said", row.fields["label"]))


async def test_in_round_0_there_may_be_no_student_to_ask(tmp_path: Path) -> None:
    own = {"teachers": {"own": {"student": {"round": "previous"}}}, "rounds": 2}
    with_ = {"teacher": "own", "prompt": "plain"}
    steps = [{"use": "test.before", "name": "before", "with": with_}]
    write_with_own_student(tmp_path)
    file = write(tmp_path, **own, steps=steps)
    manifest = await Pipeline.load(file, out="out").run()
    assert manifest.teachers["own"].asked == manifest.counts.read
    unguarded = Pipeline.load(file, out="b", overrides=["steps.before.with.always=true"])
    with pytest.raises(UserError, match=r"teachers\.own is the student of the round before, and"):
        await unguarded.run()


@pytest.mark.timeout(180)
def test_a_run_that_was_killed_in_a_round_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    file = write_with_own_student(tmp_path, rounds=2)
    # The second training: the first student is there, and was asked for the rows of the second.
    assert killed_at("training", "run", file, "--out", "killed", cwd=tmp_path, times=2)
    weights = tmp_path / "killed" / ".trained" / "rounds" / "0" / "student" / linear.MODEL
    written = weights.stat().st_mtime_ns
    done = finished("run", file, "--out", "killed", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # The one in a process of its own, the other in this one, out of a ledger of its own.
    Pipeline.load(file, out="whole", ledger=str(tmp_path / "whole.sqlite")).run_sync()
    killed, whole = (tree_bytes(tmp_path / out / "rounds") for out in ("killed", "whole"))
    assert killed == whole
    mended, calm = (read_manifest(tmp_path / out) for out in ("killed", "whole"))
    assert mended.rounds == calm.rounds
    assert mended.teachers["own"].attempts == 0
    assert mended.teachers["own"].hits == calm.teachers["own"].attempts
    weights = tmp_path / "killed" / "rounds" / "0" / "student" / linear.MODEL
    assert weights.stat().st_mtime_ns == written


@step("test.repeat", needs=["text"], gives=["text"], fans_out=True)
async def repeat(row: Row, kit: Kit, config: StepSettings, /) -> AsyncIterator[Row]:
    """The row itself in round 0; later the same text in capitals, and a new one."""
    text = str(row.fields["text"])
    for new in [text] if kit.round == 0 else [text.upper(), f"{text} round{kit.round}"]:
        yield row.with_fields(text=new)


@pytest.mark.parametrize("dedup", ["dedup.exact", "dedup.minhash"])
async def test_a_row_that_an_earlier_round_has_kept_is_not_taken_again(
    tmp_path: Path, dedup: str
) -> None:
    options = {} if dedup == "dedup.exact" else {"keep": "longest", "threshold": 0.99}
    steps = [
        {"use": "test.repeat"},
        {"use": dedup, "name": "dedup", "with": {"field": "text", **options}},
    ]
    manifest = await Pipeline.load(write(tmp_path, steps=steps), out="out").run()
    read = manifest.counts.read
    assert [record.rows for record in manifest.rounds] == [read, read, read]
    line = manifest.funnel["dedup"]
    assert (line.entered, line.out, line.rejected) == (5 * read, 3 * read, 2 * read)
    first = {row.id for row in read_rows(tmp_path / "out" / "rounds" / "0" / "rows.parquet")}
    rejected = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    named = {row["detail"].split("of row ")[1].split()[0] for row in rejected}
    assert named == first


async def test_a_row_that_comes_again_in_every_round_is_no_copy_of_itself(tmp_path: Path) -> None:
    steps = [
        {"use": "dedup.exact", "with": {"field": "text"}},
        {"use": "test.repeat"},
    ]
    manifest = await Pipeline.load(write(tmp_path, steps=steps, rounds=2), out="out").run()
    assert manifest.funnel["dedup.exact"].rejected == 0
    assert manifest.rounds[1].rows == 2 * manifest.counts.read


async def test_patience_ends_the_rounds(tmp_path: Path) -> None:
    steps = [{"use": "gate.length", "with": {"field": "text", "max_chars": 1000}}]
    rounds = {"count": 20, "patience": 2}
    manifest = await Pipeline.load(write(tmp_path, steps=steps, rounds=rounds), out="out").run()
    # The same rows again and again: no round is better than the first.
    assert len(manifest.rounds) == 3
    assert {record.rows_so_far for record in manifest.rounds} == {manifest.counts.read}


def test_of_rows_with_one_id_the_newest_is_in_the_union(tmp_path: Path) -> None:
    def row(number: int, text: str) -> Row:
        return Row(f"{number:016x}", (number,), (), {"text": text})

    old = RowSpool.of(tmp_path / "a", [row(1, "old"), row(2, "old"), row(4, "old")])
    new = RowSpool.of(tmp_path / "b", [row(2, "new"), row(3, "new")])
    newest = RowSpool.of(tmp_path / "c", [row(4, "newest")])
    with old, new, newest:
        texts = [row.fields["text"] for row in Union([old, new, newest])]
    assert texts == ["old", "new", "new", "newest"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": None}, "rounds need a `student` block"),
        ({"evaluate": None}, "rounds need `evaluate.gold`"),
        ({"rounds": 0}, "rounds.count: .* greater than or equal to 1, got 0"),
        ({"rounds": {"count": 2, "by": "beauty"}}, "rounds.by"),
        (
            {"teachers": {"own": {"student": {"round": "previous"}}}, "rounds": 1},
            "teachers.own.student: of a single round there is none before",
        ),
        ({"teachers": {"own": {"student": {}}}}, "needs `folder`, or `round: previous`"),
        (
            {
                "teachers": {"own": {"student": {"round": "previous"}}},
                "steps": [{"use": "label", "with": {"teacher": "own", "labels": ["cat", "dog"]}}],
                "evaluate": {"on": "test", "gold": "label", "ask": "label"},
            },
            "asks the student of the round before, which is another one in each round",
        ),
        (
            {"source": {"jsonl": "rows.jsonl", "holdout": {"test": 0.2, "by": ["text"]}}},
            "source.holdout sets none aside",
        ),
    ],
)
def test_what_rounds_need_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pipeline.load(write(tmp_path, **changes))


async def test_feedback_tells_domains_apart(tmp_path: Path) -> None:
    rounds = {"count": 2, "domain": "label"}
    await Pipeline.load(write(tmp_path, rounds=rounds), out="out").run()
    told = orjson.loads((tmp_path / "out" / "rounds" / "1" / "feedback.json").read_bytes())
    examples = [Example(**one) for one in told["examples"]]
    feedback = Feedback(round=1, scores={}, report={}, examples=tuple(examples))
    assert {name: one.support for name, one in feedback.domains.items()} == {
        label: report["support"] for label, report in told["report"].items()
    }
    for name, domain in feedback.domains.items():
        assert domain.accuracy == told["report"][name]["recall"]
    unknown = Pipeline.load(write(tmp_path, rounds={"count": 2, "domain": "topic"}), out="out")
    with pytest.raises(ConfigError, match=r"rounds\.domain needs the field 'topic'"):
        await unknown.run()


async def test_a_stream_has_no_rounds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rounds"):
        async for _ in Pipeline.load(write(tmp_path), out="out").stream():
            pass
