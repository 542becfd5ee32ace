"""One teacher: what it costs, whether it answers, and what it can do.

An HTTP teacher is asked at most ten tiny questions, one after the other; the first as a run would
ask it. A recorded or a simulated teacher is looked at for what it has, and so are the servers that
a run would start (`synthkd.doctor.vllm`): none is started here.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from synthkd.config import BudgetConfig, TeacherConfig
from synthkd.doctor.abilities import (
    json_schema,
    latency_and_limits,
    logprobs,
    seed,
    several,
    usage_and_length,
)
from synthkd.doctor.probes import LENGTH_NAMES, Endpoint, Reply, open_endpoints, question, refusal
from synthkd.doctor.report import Examined
from synthkd.doctor.vllm import examine_vllm
from synthkd.errors import UserError
from synthkd.flow import in_thread
from synthkd.hints import near
from synthkd.io.paths import find_file
from synthkd.rows import Json
from synthkd.teachers.checks import check_teachers
from synthkd.teachers.prices import free_because, price_record
from synthkd.teachers.recorded import RecordedTeacher
from synthkd.teachers.students import about, find_student

MOST_ENDPOINTS = 4
"""Further ones are not asked, so that a long list costs no more."""

SCHEMA: Json = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}},
    "required": ["done"],
    "additionalProperties": False,
}


async def examine_teacher(
    name: str,
    config: TeacherConfig,
    *,
    base: Path,
    budget: BudgetConfig,
    probe: bool,
    wordless: Collection[str] = (),
) -> Examined:
    """Look at one teacher.

    Args:
        name: as the pipeline names it.
        config: its block.
        base: the pipeline file's folder.
        budget: what a run may spend; it decides what a teacher must have.
        probe: whether to ask tiny questions.
        wordless: teachers that give vectors or scores alone.
    """
    found = Examined(name)
    _price(found, config)
    try:
        check_teachers({name: config}, base=base, budget=budget, offline=False, wordless=wordless)
    except UserError as error:
        found.add("settings", "mend", f"a run would not start: {error}")
        return found
    if config.recorded is not None:
        _recorded(found, config, base)
    elif config.simulated is not None:
        faults = config.simulated.model_dump(exclude={"world"}, exclude_defaults=True)
        settings = "".join(f", {key} {value:g}" for key, value in faults.items())
        found.add("world", "fine", f"simulated: {config.simulated.world}{settings}")
    elif config.student is not None and config.student.folder is None:
        found.add("folder", "fine", "the student of the round before; nobody answers in round 0")
    elif config.student is not None:
        folder = find_student(name, config.student, base)
        kind = about(folder).get("kind", "a causal model")
        found.add("folder", "fine", f"{kind}, answers in this process: {folder}")
    elif config.vllm is not None:
        await in_thread(lambda: examine_vllm(found, config, base))
    else:
        await _http(found, config, probe=probe)
    return found


def _price(found: Examined, config: TeacherConfig) -> None:
    price = price_record(config)
    if config.kind != "http" and config.price is None:
        why = free_because(config) if config.kind == "vllm" else f"free: it is {config.kind}"
        found.add("price", "fine", why)
    elif price is not None:
        found.add("price", "fine", price.in_words())
    else:
        found.add(
            "price",
            "warning",
            f"unknown for {config.model}, so its cost is not counted, and budget.usd cannot be "
            f"set: give teachers.{found.name}.price",
        )


def _recorded(found: Examined, config: TeacherConfig, base: Path) -> None:
    recorded = config.recorded
    assert recorded is not None  # noqa: S101  the caller asked
    path = find_file(recorded.parquet or recorded.jsonl or "", base)
    try:
        teacher = RecordedTeacher(recorded, path)
    except UserError as error:
        found.add("file", "mend", str(error))
        return
    found.add(
        "file",
        "fine" if teacher.answers else "mend",
        f"{path}: {teacher.answers:,} answers to {teacher.questions:,} questions",
    )
    found.add("hash", "fine", teacher.identity.served_by)


# ------------------------------------------------------------------------------------ over HTTP


async def _http(found: Examined, config: TeacherConfig, *, probe: bool) -> None:
    key = config.api_key_env
    found.add("key", "fine", f"from {key}" if key else "none is sent (no api_key_env)")
    async with open_endpoints(found.name, config) as endpoints:
        answers = [
            await _answer(found, config, endpoint, probe=probe)
            for endpoint in endpoints[:MOST_ENDPOINTS]
        ]
        if skipped := len(endpoints) - len(answers):
            found.add("reachable", "note", f"{skipped} further endpoints were not asked")
        if answers[0] is not None:
            await _abilities(found, config, endpoints[0], answers[0])
        found.probes = sum(endpoint.sent for endpoint in endpoints)
        found.tokens = sum(endpoint.tokens for endpoint in endpoints)


async def _answer(
    found: Examined, config: TeacherConfig, endpoint: Endpoint, *, probe: bool
) -> Reply | None:
    """The answer to a first question, asked as a run would ask it; None where there is none."""
    listed = await endpoint.models()
    if listed.fault:
        found.add("reachable", "mend", f"{endpoint.label}: {listed.fault}; {_way_out(listed)}")
        return None
    found.add("reachable", "fine", f"{endpoint.label} in {1000 * listed.latency_s:,.0f} ms")
    _listed(found, config, endpoint, listed)
    if not probe:
        if listed.status == 401:  # else the first question tells
            _is_answer(found, config, endpoint, listed)
        return None
    reply = await endpoint.ask()
    if reply.status == 400:
        reply = await _with_the_other_length(found, config, endpoint, reply)
    return reply if _is_answer(found, config, endpoint, reply) else None


def _way_out(reply: Reply) -> str:
    if reply.untrusted:
        return (
            "check `endpoint`, or name the file of the authority that signed it in the environment "
            "variable SSL_CERT_FILE"
        )
    return "check `endpoint`, and that the server runs"


def _listed(found: Examined, config: TeacherConfig, endpoint: Endpoint, listed: Reply) -> None:
    """What the list of models says; no list is no fault, many servers have none."""
    model = config.model or ""
    body = listed.json() if listed.ok else None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        found.add("model", "note", f"no list of models is offered (HTTP {listed.status})")
        return
    named = [each.get("id") for each in data if isinstance(each, dict)]
    ids = [name for name in named if isinstance(name, str)]
    if model in ids:
        found.add("model", "fine", f"{model} is in the list of {len(ids)}")
    else:
        found.add("model", "warning", f"{model} is not in the list of {len(ids)}{near(model, ids)}")


async def _with_the_other_length(
    found: Examined, config: TeacherConfig, endpoint: Endpoint, refused: Reply
) -> Reply:
    """The question again with the other name of `max_tokens`, in case that was it."""
    own = endpoint.length_name
    endpoint.length_name = LENGTH_NAMES[LENGTH_NAMES[0] == own]
    reply = await endpoint.ask()
    if reply.ok:
        found.add(
            "max_tokens",
            "note" if config.max_tokens is None else "mend",
            f"{own} is refused and {endpoint.length_name} taken: name that one in `params`",
        )
        return reply
    endpoint.length_name = own
    return refused


def _is_answer(found: Examined, config: TeacherConfig, endpoint: Endpoint, reply: Reply) -> bool:
    said = f"{endpoint.label}: {endpoint.said(reply)}"
    if reply.ok:
        if reply.completion() is not None:
            found.add("answers", "fine", f"{config.model} answers")
            return True
        found.add("answers", "mend", f"{said}: that is no chat completion; check `endpoint`")
    elif (way_out := refusal(reply)) is not None:
        key = config.api_key_env
        where = f" (from {key})" if key and reply.status in {401, 403} else ""
        found.add("answers", "refused", f"{said}. {way_out}{where}")
    elif reply.status == 429:
        found.add("answers", "warning", f"{said}: limited just now, so it was not asked further")
    elif reply.status in {400, 413, 422}:
        found.add("answers", "mend", f"it refuses the `params` of this pipeline: {said}")
    else:
        found.add("answers", "mend", f"{said}; check the server and try again")
    return False


async def _abilities(
    found: Examined, config: TeacherConfig, endpoint: Endpoint, first: Reply
) -> None:
    """What else it can do: one question for each thing, two for the seed."""
    usage_and_length(found, config, first)
    seeded = [await endpoint.ask(seed=1), await endpoint.ask(seed=1)]
    seed(found, endpoint, seeded)
    several(found, endpoint, await endpoint.ask(n=2, most=1))
    logprobs(found, endpoint, await endpoint.ask(logprobs=True, top_logprobs=2, most=1))
    form: Json = {
        "type": "json_schema",
        "json_schema": {"name": "done", "strict": True, "schema": SCHEMA},
    }
    asked = question("Say that you are done, as JSON.")
    json_schema(found, endpoint, await endpoint.ask(messages=asked, response_format=form))
    latency_and_limits(found, [first, *seeded])
