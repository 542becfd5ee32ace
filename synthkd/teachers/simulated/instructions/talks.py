"""Answers, conversations, tool calls, and a judge of answers.

    respond/    an answer in the style that the prompt's name says
    dialogue/   a user with a goal, and whoever is asked
    tools/      an agent that calls tools, and the environment that answers

Its faults, at the error rate, are those of real models: an answer that breaks off or speaks of
itself, a user who speaks as an assistant or says the same again, advice where a question was due,
a tool that nobody declared, arguments that are not of the schema.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields
from synthkd.teachers.simulated.instructions import evolving
from synthkd.teachers.simulated.judging import judgement

DETAILS = (
    "since Monday; only in the evening; after the last update; for the second time; in the kitchen;"
    " on my phone; with both of them; not every day; although it is new; since the storm"
)
NUMBERS = re.compile(r"\d+(?:\.\d+)?")
NAMES = re.compile(r"(?<!^)(?<![.?!] )\b[A-Z][a-z]+(?: [A-Z][a-z]+)*")


def judged(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """How good answers to an instruction are; see `quality`."""
    asked = str(inputs.get("question", ""))
    return judgement(
        prompt, inputs, lambda text: quality(asked, text), error_rate, rng, "instructions"
    )


def quality(asked: str, text: str) -> float:
    """Of an answer, 0 to 1: does it come to an end, keep to the matter, and not speak of itself."""
    words = _words(asked)
    kept = len(words & _words(text)) / len(words) if words else 1.0
    ends = text.rstrip().endswith((".", "!", "?", "```"))
    return 0.4 * ends + 0.3 * min(1.0, 2 * kept) + 0.3 * ("as you asked" not in text)


def respond(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """An answer in the style of the prompt; a plain one keeps what the instruction demands."""
    style = prompt.rpartition("/")[2]
    if style == "plain" and "instruction" in inputs:
        return evolving.response(prompt, inputs, error_rate, rng)
    if "instruction" not in inputs:
        raise PromptError(f"the prompt {prompt!r} must give `instruction` to be answered")
    asked = f"{inputs['instruction']} {inputs.get('input') or ''}".strip()
    words = sorted(_words(asked))
    about = rng.sample(words, min(4, len(words)))
    told = f"What matters here is {', '.join(about)}. {rng.choice(ENDINGS)}"
    if style == "stepwise":
        told = f"Step 1: I look at {about[0] if about else 'it'}.\nStep 2: {told}\nAnswer: done."
    if style == "code":
        told = f"```python\n# {' '.join(about)}\nprint({about!r})\n```\nIt prints what was asked."
    if rng.random() >= error_rate:
        return told
    return rng.choice((told[: len(told) // 2], f"Sure, as you asked. {told}", "It depends."))


ENDINGS = (
    "The rest follows from it.",
    "Begin with the first of them and take your time.",
    "Of these the last is often forgotten.",
    "More is not needed for a start.",
)


# --- conversations


def dialogue(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the user says next, or the assistant."""
    if "goal" in inputs:
        return _user(inputs, error_rate, rng)
    if "turn" not in inputs:
        raise PromptError(
            f"the prompt {prompt!r} must give `goal` and `transcript`, or `turn`: there is nobody"
            " to speak for"
        )
    sentences = re.split(r"(?<=[.?!])\s+", str(inputs["turn"]))
    about = " ".join(sentences[0 if len(sentences) == 2 else -1].rstrip(".?!").split()[-4:]).lower()
    wrong = rng.random() < error_rate
    if inputs.get("ask_back") and not wrong:
        return f"Before I say more about {about}: how long has it been like that?"
    if wrong and not inputs.get("ask_back"):
        return f"Look at {about} first.\nUser: And then?"
    return f"Take {about} first, then write to us with the number. {rng.choice(ENDINGS)}"


def _user(inputs: Fields, error_rate: float, rng: random.Random) -> str:
    said = inputs.get("transcript")
    before = [str(one["content"]) for one in said] if isinstance(said, Sequence) else []  # type: ignore[call-overload,index]
    if rng.random() < error_rate:
        faults = ["As an AI language model, I cannot own such a thing.", "How can I help you?"]
        faults += [before[0]] if before else [" "]
        return rng.choice(faults)
    if not before:
        return f"Hello. {inputs['goal']}"
    if "how long" not in before[-1] and rng.random() < 0.4:
        return str(inputs.get("stop", ""))
    fresh = [one for one in map(str.strip, DETAILS.split(";")) if not any(one in b for b in before)]
    return f"It is {rng.choice(fresh or ['as I said'])}. What should I do next?"


# --- tools


def tools(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """The next step of an agent, or what a tool returns."""
    if "arguments" in inputs:
        return _returned(inputs, error_rate, rng)
    declared, steps = inputs.get("tools"), inputs.get("steps")
    if not isinstance(declared, Sequence) or not isinstance(steps, Sequence):
        raise PromptError(
            f"the simulated world 'instructions' acts on the inputs `task`, `tools` and `steps`;"
            f" the prompt {prompt!r} has {', '.join(sorted(inputs)) or 'no inputs'}"
        )
    task = str(inputs["task"])
    results = [step for step in steps if isinstance(step, Mapping) and step.get("role") == "tool"]
    functions: list[Any] = [one["function"] for one in declared]  # type: ignore[call-overload,index]
    todo = [one for one in functions if _speaks_of(task, one)]
    if len(results) >= len(todo):
        told = "; ".join(f"{one.get('name')} says {one.get('content')}" for one in results)
        return _step(f"Here is what I found: {told}." if told else "I have no tool for it.")
    function = todo[len(results)]
    call = {"name": function["name"], "arguments": _arguments(task, function)}
    if rng.random() < error_rate and not inputs.get("fault"):
        call = rng.choice(SLIPS)(call)
    return _step(None, call)


def _step(answer: str | None, *calls: Mapping[str, Any]) -> str:
    thought = f"I need {calls[0]['name']} for this." if calls else "I know enough."
    return orjson.dumps({"thought": thought, "calls": calls, "answer": answer}).decode()


SLIPS: Sequence[Callable[[dict[str, Any]], dict[str, Any]]] = (
    lambda call: {**call, "name": f"get_{call['name']}"},
    lambda call: {**call, "arguments": {}},
    lambda call: {**call, "arguments": {**call["arguments"], "verbose": True}},
    lambda call: {**call, "arguments": {name: [v] for name, v in call["arguments"].items()}},
)


def _speaks_of(task: str, function: Mapping[str, Any]) -> bool:
    """Whether the task needs a tool: it has a word of its name."""
    return bool(_words(task) & set(str(function["name"]).lower().split("_")))


def _arguments(task: str, function: Mapping[str, Any]) -> dict[str, Any]:
    """Its arguments out of the task: choices as they stand there, numbers and names in order."""
    numbers, names = NUMBERS.findall(task), NAMES.findall(task)
    found: dict[str, Any] = {}
    parameters = function.get("parameters") or {}
    for name, schema in parameters.get("properties", {}).items():
        kind = schema.get("type")
        if "enum" in schema:
            given = [one for one in schema["enum"] if str(one).lower() in task.lower()]
            found[name] = given[0] if given else schema["enum"][0]
        elif kind in {"integer", "number"} and numbers:
            number = float(numbers.pop(0))
            found[name] = int(number) if kind == "integer" else number
        elif kind == "string" and names:
            found[name] = names.pop(0)
        elif name in parameters.get("required", ()):
            found[name] = 1 if kind in {"integer", "number"} else "unknown"
    return found


def _returned(inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """JSON with a figure; an error as services give one, at the error rate."""
    if rng.random() < error_rate:
        return orjson.dumps({"error": "the service is busy"}).decode()
    asked = orjson.loads(str(inputs["arguments"]))
    return orjson.dumps({**asked, "result": rng.randrange(1, 100)}).decode()


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))
