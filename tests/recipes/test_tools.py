"""tools and gate.tools: every call is checked, every result has its call, and nothing is run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.config import TeacherConfig
from synthkd.errors import Rejected, RowError
from synthkd.fake_teacher import FakeTeacher
from synthkd.pipeline import Pipeline
from synthkd.recipes.toolcalls import call_fault, declared, trajectory_faults
from synthkd.recipes.tools import ToolsSettings
from synthkd.teachers.request import ToolCall
from tests.recipes.conftest import run_step, said
from tests.recipes.test_dialogue import InTurn

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
ROW: Any = {"instruction": "Do I need an umbrella in Oslo?", "tools": [WEATHER, CLOCK]}
SETTINGS: Any = {"teacher": "a", "environment": "e"}


@pytest.fixture(autouse=True)
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.recipes.conftest.Scripted", InTurn)


def acts(*calls: tuple[str, Any], answer: str | None = None, thought: str = "") -> Any:
    value = {
        "thought": thought,
        "calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
        "answer": answer,
    }
    return orjson.dumps(value).decode()


OSLO = ("weather", {"city": "Oslo"})
FINAL = acts(answer="Yes.")


async def run(agent: Sequence[Any], env: Sequence[Any] = (), row: Any = ROW, **more: Any) -> Any:
    return await run_step("tools", {**SETTINGS, **more}, row, {"a": agent, "e": env})


async def test_a_trajectory_is_written_as_messages() -> None:
    step = acts(OSLO, ("clock", {}), thought="Look it up.")
    done = await run([step, FINAL], ["rain", "9:00"], system=["Be exact."])
    fields = done.fields
    roles = [one["role"] for one in fields["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant"]
    calls, rain, nine = fields["messages"][2:5]
    assert calls["content"] == "Look it up."
    assert calls["tool_calls"][0] == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
    }
    assert rain == {
        **{"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "rain"}
    }
    assert (nine["tool_call_id"], nine["content"]) == ("call_2", "9:00")
    assert fields["n_calls"] == 2
    assert fields["tools"] == ROW["tools"]
    assert trajectory_faults(fields["messages"], declared(fields["tools"])) == []
    shown = done.teachers["a"].asked[1].body["messages"][-1]["content"]
    assert "weather (call_1) returned" in shown
    assert '"Oslo"' in shown


async def test_calls_may_travel_in_the_fields_of_the_api() -> None:
    call = ToolCall(id="x9", name="weather", arguments='{"city": "Oslo"}')
    done = await run([said("", tool_calls=(call,)), "Yes."], ["rain"], native=True)
    first, second = done.teachers["a"].asked
    assert first.body["tools"] == ROW["tools"]
    assert [one["role"] for one in second.body["messages"]] == [
        *("system", "user", "assistant", "tool"),
    ]
    fields = done.fields
    assert fields["messages"][-1] == {"role": "assistant", "content": "Yes."}
    with pytest.raises(Rejected, match="content_filter"):
        await run([said("", tool_calls=(call,), finish="content_filter")], native=True)
    assert trajectory_faults(fields["messages"], declared(fields["tools"])) == []


async def test_recorded_results_come_first() -> None:
    recorded = [{"name": "weather", "arguments": '{ "city": "Oslo" }', "result": {"rain": 3}}]
    row = {**ROW, "results": recorded}
    done = await run([acts(OSLO), FINAL], row=row, results="results", environment=None)
    messages = done.fields["messages"]
    assert messages[2]["content"] == '{"rain":3}'
    with pytest.raises(Rejected, match="no_result"):
        await run([acts(("clock", {}))], row=row, results="results", environment=None)
    deep = [{"name": "weather", "arguments": DEEP, "result": "?"}, *recorded]
    assert (await run([acts(OSLO), FINAL], row={**row, "results": deep}, results="results")).rows
    with pytest.raises(RowError, match="results"):
        await run([FINAL], row={**ROW, "results": ["x"]}, results="results")
    with pytest.raises(ValidationError, match="environment"):
        ToolsSettings(teacher="a")


async def test_declarations_may_stand_in_a_file(tmp_path: Path) -> None:
    for name, told in [("good.json", [WEATHER]), ("bad.json", [CLOCK, CLOCK]), ("none.json", None)]:
        Path(tmp_path, name).write_bytes(orjson.dumps({"tools": told}))  # noqa: ASYNC240
    row = {"instruction": "Rain in Oslo?"}
    file = str(tmp_path / "good.json")
    done = await run([acts(OSLO), FINAL], ["rain"], row=row, tools_file=file)
    assert done.fields["tools"] == [WEATHER]
    for name, fault in [("bad", "twice"), ("none", "at least one"), ("gone", "no such file")]:
        config = ToolsSettings(**SETTINGS, tools_file=f"{name}.json")
        (said_of_it,) = config.faults(tmp_path)
        assert fault in said_of_it
    anew = ToolsSettings(**SETTINGS, tools_file="good.json")
    assert not list(anew.faults(tmp_path))
    Path(tmp_path, "good.json").write_bytes(b'{"tools": []}')  # noqa: ASYNC240
    assert list(anew.faults(tmp_path))
    (inline,) = ToolsSettings(**SETTINGS, tools=[CLOCK, CLOCK]).faults(tmp_path)
    assert "declared twice" in inline


def test_who_has_no_fields_for_tools_is_not_asked_in_them() -> None:
    simulated = TeacherConfig.model_validate({"simulated": {"world": "instructions"}})
    served = TeacherConfig.model_validate({"endpoint": "http://127.0.0.1:9/v1", "model": "m"})
    for native, teacher, faults in [(True, simulated, 1), (False, simulated, 0), (True, served, 0)]:
        config = ToolsSettings(**SETTINGS, native=native)
        assert len(list(config.teacher_faults({"a": teacher, "e": simulated}))) == faults


BAD = [
    (acts(("wether", {"city": "Oslo"})), "unknown_tool: .*weather"),
    (acts(("weather", {})), "bad_arguments: weather: city"),
    (acts(("weather", {"city": "Oslo", "days": 0})), "bad_arguments"),
    (acts(("weather", {"city": "Oslo", "unit": "C"})), "bad_arguments: .*no argument 'unit'"),
    (acts(OSLO, OSLO), "repeated_call"),
    (acts(), "bad_step"),
    (acts(OSLO, answer="Yes."), "bad_step"),
    (FINAL, "too_few_calls"),
    ("nonsense", "bad_json"),
    (said("{", finish="length"), "truncated"),
]


@pytest.mark.parametrize(("step", "reason"), BAD)
async def test_a_step_that_cannot_be_done_ends_the_row(step: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=f"^{reason}"):
        await run([step, step], ["rain"] * 2)


async def test_one_repair_may_be_asked_for() -> None:
    wrong = acts(("umbrella", {}))
    done = await run([wrong, acts(OSLO), FINAL], ["rain"], repair=True)
    assert ("repairs that helped", 1) in done.kit.counts
    shown = done.teachers["a"].asked[1].body["messages"][-1]["content"]
    assert "unknown_tool: 'umbrella' is not declared" in shown
    assert "umbrella" not in str(done.fields["messages"][1:])
    both = acts(OSLO, answer="Yes.")
    assert (await run([both, acts(OSLO), FINAL], ["rain"], repair=True)).rows
    for again in ([wrong, wrong], [wrong, acts(OSLO), wrong]):
        with pytest.raises(Rejected, match="unknown_tool"):
            await run(again, ["rain"], repair=True)


async def test_it_ends() -> None:
    steps = [acts(("weather", {"city": f"City {i}"})) for i in range(3)]
    with pytest.raises(Rejected, match="no_final_answer: 3 calls in 3 steps"):
        await run(steps, ["rain"] * 3, steps=3)
    with pytest.raises(Rejected, match="repeated_call"):
        await run([steps[0], steps[0]], ["rain"] * 3)
    with pytest.raises(Rejected, match="empty_answer"):
        await run([steps[0]], [" "])
    many = acts(*((("weather", {"city": f"City {i}"})) for i in range(17)))
    with pytest.raises(Rejected, match="too_many_calls: 17, most_calls is 16"):
        await run([many])  # and nobody has been asked what they return
    with pytest.raises(Rejected, match="no_task"):
        await run([], row={**ROW, "instruction": ""})


@pytest.mark.parametrize(
    ("tools", "fault"),
    [
        ([], "at least one"),
        ("[", "not JSON"),
        ([{"function": {}}], "name must be a text"),
        ([{"name": "weather"}], "must be"),
        ([CLOCK, CLOCK], "declared twice"),
        ([{"function": {"name": "x", "parameters": {"type": "array"}}}], "of an object"),
        ([{"function": {"name": "x", "parameters": []}}], "of an object"),
        ([{"function": {"name": "x", "parameters": {"properties": {"a": {"type": "never"}}}}}],
         "type must be one of"),
    ],
)  # fmt: skip
async def test_declarations_that_cannot_be_checked(tools: Any, fault: str) -> None:
    with pytest.raises(Rejected, match=f"^bad_tools: .*{fault}"):
        await run([], row={**ROW, "tools": tools})


def calls(id_: str, name: str = "clock", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "",
            "tool_calls": [{"id": id_, "type": "function", "function": function}]}  # fmt: skip


def result(id_: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": "ok"}


def test_what_is_required_is_an_argument() -> None:
    tools = declared([{"function": {"name": "x", "parameters": {"required": ["a"]}}}])
    assert call_fault("x", '{"a": 1}', tools) is None
    assert call_fault("x", "{}", tools) is not None


USER: Any = {"role": "user", "content": "?"}
END: Any = {"role": "assistant", "content": "!"}
DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    ("messages", "reasons"),
    [
        ([USER, calls("1"), result("1"), END], []),
        ([USER, {**calls("1"), "content": None}, result("1"), END], []),
        ([USER, calls("1", "weather", {"city": "Oslo"}), result("1"), END], []),
        ([USER, calls("1", "weather", "{"), result("1"), END], ["bad_arguments"]),
        ([USER, calls("1", arguments="```json\n{}\n```"), result("1"), END], ["bad_arguments"]),
        ([USER, calls("1", arguments="[]"), result("1"), END], ["bad_arguments"]),
        (
            [USER, calls("1", "weather", '{"city": "Oslo", "city": "Bergen"}'), result("1"), END],
            ["bad_arguments"],
        ),
        ([USER, calls("1", "weather", f'{{"city": {DEEP}}}'), result("1"), END], ["bad_arguments"]),
        (f'[{{"tool_calls": {DEEP}}}]', ["bad_message"]),
        ([USER, calls("1", arguments=[]), result("1"), END], ["bad_arguments"]),
        ([USER, calls("1", arguments=0), result("1"), END], ["bad_arguments"]),
        ([USER, calls("1", arguments=None), result("1"), END], []),
        ([USER, calls("1", "wether"), result("1"), END], ["unknown_tool"]),
        ([USER, calls("1"), END], ["call_without_result"]),
        ([USER, result("1"), END], ["result_without_call"]),
        ([USER, calls("1"), result("2"), END], ["result_without_call", "call_without_result"]),
        ([USER, calls("1"), result("1"), calls("1"), result("1"), END], ["twice_called"]),
        ([USER, calls("1"), result("1")], ["no_final_answer"]),
        ([USER, calls("1")], ["call_without_result", "no_final_answer"]),
        ([USER, {**calls("1"), "role": "user"}, result("1"), END], ["bad_message"]),
        ([USER, {"role": "robot", "content": "?"}], ["bad_message"]),
        ([USER, {"role": ["user"], "content": "?"}], ["bad_message"]),
        ([calls("1"), result("1"), END], ["bad_message"]),
        ([{**USER, "content": None}, END], ["bad_message"]),
        ("nonsense", ["bad_message"]),
        ([], ["bad_message"]),
    ],
)
async def test_the_gate_names_every_fault(messages: Any, reasons: list[str]) -> None:
    tools = [WEATHER, CLOCK]
    assert [one.reason for one in trajectory_faults(messages, declared(tools))] == reasons
    row = {"messages": messages, "tools": orjson.dumps(tools).decode()}
    if not reasons:
        assert (await run_step("gate.tools", {}, row, [])).fields == row
        return
    with pytest.raises(Rejected, match=f"^{reasons[0]}"):
        await run_step("gate.tools", {}, row, [])


NAMES = st.lists(st.sampled_from(["weather", "clock"]), min_size=1, max_size=5)


@given(NAMES, st.data())
def test_what_is_taken_out_of_a_trajectory_is_missed(names: list[str], data: Any) -> None:
    fitting = {"weather": '{"city": "Oslo"}', "clock": "{}"}
    told = [USER]
    for place, name in enumerate(names):
        told += [calls(str(place), name, fitting[name]), result(str(place))]
    told.append(END)
    tools = declared([WEATHER, CLOCK])
    assert trajectory_faults(told, tools) == []
    lacking = copy.deepcopy(told)
    del lacking[data.draw(st.integers(0, len(told) - 1))]
    assert trajectory_faults(lacking, tools)
    assert trajectory_faults(told, {"clock": tools["clock"]}) == [] or "weather" in names


def lines_of(out: str) -> list[bytes]:
    return Path(out, "dataset", "train.jsonl").read_bytes().splitlines()


async def test_a_server_is_asked_in_its_own_fields_and_only_once(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(orjson.dumps({"id": "r", **ROW}))
    async with FakeTeacher().serve() as provider:
        pipeline = {
            "name": "native",
            "teachers": {"main": {"endpoint": provider.url, "model": "fake"}},
            "source": {"jsonl": "rows.jsonl", "id": ["id"]},
            "steps": [
                {"use": "tools", "with": {"teacher": "main", "environment": "main", "native": True}}
            ],
            "export": {"format": "messages", "messages": "messages", "tools": "tools"},
        }
        file = tmp_path / "native.yaml"
        file.write_bytes(orjson.dumps(pipeline))  # JSON is YAML
        for _ in range(2):
            manifest = await Pipeline.load(file, out="out").run()
            assert (manifest.counts.kept, provider.requests) == (1, 3)
    (line,) = lines_of("out")
    row = orjson.loads(line)
    assert [one["role"] for one in row["messages"]] == ["user", "assistant", "tool", "assistant"]
    (call,) = row["messages"][1]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert trajectory_faults(row["messages"], declared(row["tools"])) == []
