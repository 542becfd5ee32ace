"""`tools`: how an agent comes to its answer by calling tools, as messages with tool calls.

    messages: [user, assistant + tool_calls, tool, ..., assistant], tools: [declarations]

One teacher acts, another plays the environment and writes what a tool would return, or recorded
results are looked up: the role-play of general agent data (arXiv 2403.19962). Every call is checked
against the tools that are declared before it gets a result. Nothing is called and nothing is run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import orjson
from pydantic import Field, model_validator

from synthkd.config import Count, TeacherConfig
from synthkd.errors import Rejected, RowError, UserError
from synthkd.io.paths import find_file
from synthkd.pipeline_file import read_yaml
from synthkd.recipes.replies import Loss, give_up, loss_of
from synthkd.recipes.systems import SYSTEM, SystemSettings, system_for
from synthkd.recipes.toolcalls import Tools, call_fault, declared, in_json
from synthkd.rows import Fields, Json, Row, canonical
from synthkd.schemas import Schema
from synthkd.steps import Kit, inputs_of, step
from synthkd.teachers.request import Completion
from synthkd.text import answer_text, tail

SUPPLIES = ("task", "system", "tools", "steps", "fault", "tool", "arguments")
CALLS, REPAIRS, ANSWERED = "calls", "repairs asked for", "repairs that helped"
STEP = Schema.of(
    "tools_step",
    {
        "type": "object",
        "properties": {
            "thought": {"type": "string"},
            "calls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
                    "required": ["name", "arguments"],
                },
            },
            "answer": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["thought", "calls", "answer"],
    },
)
"""What a step looks like where it is text, whatever prompt asks for it."""


class ToolsSettings(SystemSettings):
    """Settings of `tools`."""

    teacher: str
    """The teacher that acts."""
    environment: str | None = None
    """The teacher that writes what tools return; null = only recorded `results`."""
    results: str | None = None
    """The field with recorded results, `[{name, arguments, result}]`: they come before the
    environment's, and without one a call that is not among them ends the row (`no_result`)."""
    instruction: str = "instruction"
    """The field with the task."""
    tools: str | Annotated[list[dict[str, Any]], Field(min_length=1)] = "tools"
    """The field with the declarations, or the declarations themselves."""
    tools_file: str | None = None
    """A file with the declarations (YAML or JSON: `tools: [...]`), in place of `tools`."""
    native: bool = False
    """Whether tools and calls travel in the API's own fields, for servers that parse calls; false =
    as JSON in text, which any model can be asked for."""
    steps: Annotated[int, Field(ge=1, le=64)] = 6
    """Turns of the agent, at most, the answer among them."""
    least_calls: Annotated[int, Field(ge=0, le=64)] = 1
    """Rejects an answer that came with fewer calls (`too_few_calls`)."""
    most_calls: Annotated[int, Field(ge=1, le=256)] = 16
    """Calls, at most (`too_many_calls`): each is a question to the environment, and a turn may have
    any number of them."""
    repair: bool = False
    """Whether a step that is refused is asked for once more, with what is wrong with it; once a
    row. The refused step is no part of what is learnt."""
    thoughts: bool = True
    """Whether what the agent says beside a call is kept, as the content of that message."""
    prompt: str = "tools/act"
    """What the agent is asked with; of `native`, `native_prompt`."""
    native_prompt: str = "tools/native"
    result_prompt: str = "tools/result"
    longer: Count | None = None
    """Tokens: a step that was cut is asked for again, once, with this `max_tokens`."""
    into: str = "messages"
    """The field for the conversation; the declarations are in `tools`."""

    @model_validator(mode="after")
    def _somebody_returns(self) -> Self:
        if self.environment is None and self.results is None:
            raise ValueError("name environment (a teacher), or results (a field), or both")
        return self

    def faults(self, folder: Path) -> Iterable[str]:
        """Look at the declarations, if they are here."""
        yield from super().faults(folder)
        setting = "tools" if self.tools_file is None else "tools_file"
        tools_of.cache_clear()  # a plan reads anew what the run then goes by
        try:
            told = self.declarations(folder)
            if told is not None:
                declared(told)
        except (UserError, ValueError) as error:
            yield f"{setting}: {error}"

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """A teacher that has no fields of the API to call tools in, if it is to use them."""
        who = teachers.get(self.teacher)
        if self.native and who is not None and who.kind in {"simulated", "student"}:
            yield (
                f"native: the teacher {self.teacher!r} ({who.kind}) takes no declarations of tools:"
                " leave native out, and it is asked in JSON"
            )

    def declarations(self, folder: Path) -> Json:
        """The declarations of settings or file; None = each row has its own.

        Raises:
            UserError: the file cannot be read.
        """
        if self.tools_file is not None:
            return tools_of(find_file(self.tools_file, folder))
        return None if isinstance(self.tools, str) else self.tools

    @property
    def teachers(self) -> list[str]:
        """All who may be asked."""
        return [self.teacher, *([self.environment] if self.environment is not None else [])]

    @property
    def also_shown(self) -> list[str]:
        """Fields that a teacher sees inside of what is computed, where a row has them."""
        of_row = self.tools if self.tools_file is None else None
        named = [self.instruction, of_row, self.results, SYSTEM]
        return [name for name in named if isinstance(name, str)]

    @property
    def calls_a_row(self) -> int:
        """Questions to each of them about a row, at most; for the forecast."""
        return max(self.steps + self.repair, self.most_calls)


@lru_cache(maxsize=8)
def tools_of(path: Path) -> Json:
    """The declarations of a file; `declared` reads them.

    Raises:
        UserError: it cannot be read.
    """
    told: Json = read_yaml(path, holds="tools: a list of declarations").get("tools")
    return [] if told is None else told


def _needs(config: ToolsSettings) -> Iterable[str]:
    named = [config.instruction, config.results]
    named += [config.tools] if isinstance(config.tools, str) and not config.tools_file else []
    return [name for name in named if name is not None]


class Call(NamedTuple):
    """A call that the agent wants made."""

    name: str
    arguments: str
    """JSON."""


class Step(NamedTuple):
    """A turn of the agent: calls, or the answer."""

    thought: str
    """What it says beside calls."""
    calls: Sequence[Call]
    answer: str


@step(
    "tools",
    needs=_needs,
    gives=lambda config: [config.into, "tools", SYSTEM, "n_calls"],
    supplies=SUPPLIES,
)
async def tools(row: Row, kit: Kit, config: ToolsSettings, /) -> AsyncIterator[Row]:
    """Have a teacher solve the task with tools, whose results another one writes.

    Gives `messages` and `tools` in OpenAI's shape (arguments are JSON text), `system` (null = none)
    and `n_calls`. Rejects `no_task`, `bad_tools`, `unknown_tool`, `bad_arguments`, `bad_step`
    (neither calls nor an answer, or both), `repeated_call`, `no_result`, `no_final_answer` (after
    all `steps`), `too_few_calls`, `too_many_calls`, `truncated`, and what `replies.loss_of` says
    of a reply.
    """
    task = answer_text(row.fields.get(config.instruction))
    if task is None or not task.strip():
        given = row.fields.get(config.instruction)
        raise Rejected("no_task", f"{config.instruction} must be a text, got {given!r:.120}")
    told = config.declarations(kit.desk.folder)
    if told is None:
        told = row.fields.get(str(config.tools))
    try:
        known = declared(told)
    except ValueError as error:
        raise Rejected("bad_tools", str(error)) from error
    system = system_for(row, kit, config)
    agent = _Agent(row, kit, config, known, task, system)
    answer = await agent.answer()
    if agent.n_calls < config.least_calls:
        raise Rejected(
            "too_few_calls", f"{agent.n_calls}, least_calls is {config.least_calls}: {tail(answer)}"
        )
    kit.count(CALLS, agent.n_calls)
    opening: list[Json] = [] if system is None else [{"role": "system", "content": system}]
    opening.append({"role": "user", "content": task})
    made: dict[str, Json] = {
        config.into: [*opening, *agent.steps, {"role": "assistant", "content": answer}],
        "tools": [tool.told for tool in known.values()],
    }
    yield row.with_fields(**made, system=system, n_calls=agent.n_calls)


class _Agent:
    """One row's trajectory while it is made."""

    def __init__(
        self,
        row: Row,
        kit: Kit,
        config: ToolsSettings,
        tools: Tools,
        task: str,
        system: str | None,
    ) -> None:
        self.row, self.kit, self.config, self.tools = row, kit, config, tools
        self.task, self.system = task, system
        self.steps: list[Fields] = []
        """Messages after the task: calls and results."""
        self.n_calls = 0
        self._returned: dict[tuple[str, bytes], str] = dict(_recorded(row, config))
        self._called: set[tuple[str, bytes]] = set()
        self._may_repair = config.repair

    async def answer(self) -> str:
        """Act until there is an answer.

        Raises:
            Rejected: a step is refused, a call has no result, or no answer comes.
            TeacherError: nobody replied.
        """
        for _ in range(self.config.steps):
            acted = await self._acted()
            if not acted.calls:
                return acted.answer
            await self._call(acted)
        raise Rejected("no_final_answer", f"{self.n_calls} calls in {self.config.steps} steps")

    async def _acted(self) -> Step:
        """The next step, asked for once more where that is allowed."""
        acted, fault = await self._asked(None)
        if fault is not None and self._may_repair:
            self._may_repair = False
            self.kit.count(REPAIRS)
            acted, still = await self._asked(f"{fault.reason}: {fault.detail}")
            self.kit.count(ANSWERED, int(still is None))
            fault = still
        if fault is not None:
            raise Rejected(*fault)
        return acted

    async def _asked(self, fault: str | None) -> tuple[Step, Loss | None]:
        """What the agent does next, and why it cannot be done."""
        config = self.config
        prompt = config.native_prompt if config.native else config.prompt
        known: dict[str, Json] = {
            "task": self.task,
            "system": self.system,
            "tools": [tool.told for tool in self.tools.values()],
            "steps": list(self.steps),
            "fault": fault,
        }
        reply = await self.kit.ask(
            prompt,
            inputs_of(self.row, self.kit.prompts[prompt].inputs, **known),
            teacher=config.teacher,
            after=list(self.steps) if config.native else (),
            tools=[tool.told for tool in self.tools.values()] if config.native else (),
            schema=None if config.native else STEP,
            longer=config.longer,
        )
        if reply.finish == "length":
            raise Rejected("truncated", f"cut at max_tokens: {tail(reply.text)}")
        acted = native_step(reply) if config.native else written_step(reply)
        return acted, self._fault(acted)

    def _fault(self, acted: Step) -> Loss | None:
        if bool(acted.calls) == bool(acted.answer.strip()):
            both = f"calls and an answer at once: {tail(acted.answer)}"
            return Loss("bad_step", both if acted.calls else "neither a call nor an answer")
        if (n := self.n_calls + len(acted.calls)) > self.config.most_calls:
            return Loss("too_many_calls", f"{n}, most_calls is {self.config.most_calls}")
        for call in acted.calls:
            if (fault := call_fault(*call, self.tools)) is not None:
                return fault
        asked = [_which(*call) for call in acted.calls]
        for call, which in zip(acted.calls, asked, strict=True):
            if which in self._called or asked.count(which) > 1:
                return Loss("repeated_call", f"{call.name} was called with {call.arguments:.120}")
        return None

    async def _call(self, acted: Step) -> None:
        """Write down the calls and what comes of them."""
        calls: list[Json] = []
        results: list[Fields] = []
        for call in acted.calls:
            self.n_calls += 1
            id_ = f"call_{self.n_calls}"
            function = {"name": call.name, "arguments": call.arguments}
            calls.append({"id": id_, "type": "function", "function": function})
            content = await self._result(call)
            results.append(
                {"role": "tool", "tool_call_id": id_, "name": call.name, "content": content}
            )
            self._called.add(_which(*call))
        says = acted.thought.strip() if self.config.thoughts else ""
        self.steps.append({"role": "assistant", "content": says, "tool_calls": calls})
        self.steps += results

    async def _result(self, call: Call) -> str:
        """What the tool returns.

        Raises:
            Rejected: `no_result`: it is not recorded, and nobody plays the environment; or what
                came of asking cannot be used.
        """
        which, config = _which(*call), self.config
        if which in self._returned:
            return self._returned[which]
        if config.environment is None:
            raise Rejected("no_result", f"{config.results} has none of {call.name} {which[1]!r}")
        known: dict[str, Json] = {
            "task": self.task,
            "tool": self.tools[call.name].told,
            "arguments": call.arguments,
            "steps": list(self.steps),
        }
        prompt = config.result_prompt
        reply = await self.kit.ask(
            prompt,
            inputs_of(self.row, self.kit.prompts[prompt].inputs, **known),
            teacher=config.environment,
            longer=config.longer,
        )
        if reply.finish == "length":
            raise Rejected("truncated", f"a result was cut at max_tokens: {tail(reply.text)}")
        if (loss := loss_of(reply)) is not None:
            give_up([reply], [loss])
        return reply.text.strip()


def written_step(reply: Completion) -> Step:
    """A step as JSON: see `STEP`.

    Raises:
        Rejected: it is none.
    """
    if (loss := loss_of(reply)) is not None:
        give_up([reply], [loss])
    value: Any = reply.shaped.value if reply.shaped is not None else None
    calls = [Call(one["name"], in_json(one["arguments"])) for one in value["calls"]]
    return Step(value["thought"], calls, value["answer"] or "")


def native_step(reply: Completion) -> Step:
    """A step in the API's own fields.

    Raises:
        Rejected: nothing can be read.
    """
    calls = [Call(call.name, call.arguments or "{}") for call in reply.tool_calls]
    loss = loss_of(reply)
    if loss is not None and loss.reason != "called_tools":  # calls that a filter has cut, too
        give_up([reply], [loss])
    return Step(reply.text if calls else "", calls, "" if calls else reply.text)


def _recorded(row: Row, config: ToolsSettings) -> Iterable[tuple[tuple[str, bytes], str]]:
    """The recorded results of a row, by call.

    Raises:
        RowError: they are something else.
    """
    value = None if config.results is None else row.fields.get(config.results)
    if value is not None and not isinstance(value, list | tuple):
        raise RowError(f"{config.results} must be a list of results, got {value!r:.80}")
    for place, one in enumerate(value or ()):
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(one, Mapping) or not isinstance(name, str) or "result" not in one:
            raise RowError(
                f"{config.results}[{place}] must be {{name, arguments, result}}, got {one!r:.80}"
            )
        result = one["result"]
        text = result if isinstance(result, str) else canonical(result).decode()
        yield _which(name, in_json(one.get("arguments"))), text


def _which(name: str, arguments: str) -> tuple[str, bytes]:
    """One spelling of a call; of arguments that are no JSON, or too deep, they themselves."""
    try:
        return name, canonical(orjson.loads(arguments))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return name, arguments.encode()
