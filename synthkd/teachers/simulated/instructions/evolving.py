"""Instructions made harder, other or better, compared, guessed from a text, or made to measure.

It really does so: a constraint is one that was not there, a task of several steps names its steps,
what is made to attributes has all of them. Its faults, at the error rate, are those of real models:
the same text again, words of its own prompt, nothing between the tags, no tags at all, a text that
quotes what it should not; as a user it writes the assistant's turn too, or nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields
from synthkd.teachers.simulated.instructions.grammar import instruction, listed

__all__ = ["answer", "response"]

CONSTRAINTS = """
    Do it without any number; Keep it below eighty words; Give exactly three examples; Name one case
    in which it does not hold; Write for somebody who is in a hurry; Leave out what everybody knows;
    End with a question; Mention what it costs; Use no foreign word; Put the most important first
"""
DEPTHS = """
    Also say why that is so; Also say what would follow if it were otherwise; Also tell how far that
    holds, and where it ends; Also say under which circumstances it changes; Also say what people
    get wrong about it; Also set out what speaks against it
"""
STEPS = """
    First compare two ways of doing it, then choose one, then say what it costs over a year;
    First list what is known, then work out what is missing, then draw the conclusion;
    First weigh three reasons, then rank them, then plan the week after;
    First estimate how long each part takes, then find the order that saves most
"""
PARTICULARS = """
    Take a town of nine thousand people by the sea; Take the second week of February; Take a budget
    of sixty euros; Take a family with twins of four; Take a workshop with two machines; Take a
    reader who has just moved from Lisbon
"""
CLEARER = """
    Give the answer in three numbered points of one sentence each; Say for whom it is, what they
    know already, and what they should do afterwards; Name a source of error for each point
"""
ADDITIONS: Mapping[str, str] = {
    "constrain": CONSTRAINTS,
    "deepen": DEPTHS,
    "reason": STEPS,
    "concretise": PARTICULARS,
    "instruction": CLEARER,
}
"""Last part of a prompt's name -> what it adds."""
LEAKS = ("New wording: {}", "{} This is the rewritten task.", "<task-aaaaaaaa>{}</task-aaaaaaaa>")

NO_ANSWERS = ("I'm sorry, but there is no such text here.", "It is what it is...")


def answer(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says to a prompt of evolve/, refine/, back/, grid/ or magpie/.

    Raises:
        PromptError: the prompt has none of the inputs that it reads.
    """
    wrong = rng.random() < error_rate
    if "opening" in inputs:
        return _turn(str(inputs["opening"]), wrong, rng)
    if "attributes" in inputs:
        return _tagged(_to_measure(inputs["attributes"], wrong, rng), wrong, rng)
    if "text" in inputs:
        return _tagged(_asked_for(str(inputs["text"]), wrong, rng), wrong, rng)
    if "instruction" not in inputs:
        raise PromptError(
            "the simulated world 'instructions' reads the inputs instruction, text, attributes or"
            f" opening; the prompt {prompt!r} has {', '.join(sorted(inputs)) or 'no inputs'}"
        )
    task = str(inputs["instruction"])
    if "former" in inputs:
        gained = len(task.split()) >= len(str(inputs["former"]).split()) + 3
        return orjson.dumps({"same": gained == wrong}).decode()
    return _tagged(_reworded(prompt.rpartition("/")[2], task, wrong, rng), wrong, rng)


def response(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says to an instruction; where it errs, it begs off or says nothing."""
    if rng.random() < error_rate:
        return rng.choice(NO_ANSWERS)
    task = str(inputs.get("instruction", ""))
    about = re.findall(
        r"\w{5,}", f"{task.partition(chr(10))[0]} {inputs.get('input') or ''}".lower()
    )
    about = [word for word in about if word not in _told_not_to_use(task)]
    words = rng.sample(about, min(4, len(about))) or ["nothing much"]
    opening = rng.choice(("In the end it is about", "The heart of it is", "It begins with"))
    text = f"{opening} {', '.join(words)}. Whatever else is said follows from that."
    if wanted := re.search(r"at least (\d+) sentences", task):
        text += " And so on." * max(0, int(wanted[1]) - 2)
    if wanted := re.search(r'letter "(\w)" stand at least (\d+)', task):
        text = f"{text.removesuffix('.')} {wanted[1] * int(wanted[2])}."
    return text


def _told_not_to_use(task: str) -> set[str]:
    """The words that a sentence such as `Do not use the words "a" or "b".` forbids."""
    told = re.search(r"Do not use the words? ([^.\n]*)", task)
    return set(re.findall(r'"([^"]+)"', told[1])) if told else set()


def _reworded(operation: str, task: str, wrong: bool, rng: random.Random) -> str:
    if wrong and rng.random() < 0.4:
        return rng.choice((task, task.rstrip(".") + "!"))
    if operation == "breadth":
        return instruction(rng)
    additions = listed(ADDITIONS.get(operation, CLEARER))
    new = [one for one in additions if one not in task] or list(additions)
    end = "" if task.rstrip()[-1:] in ".!?" else "."
    return f"{task.rstrip()}{end} {rng.choice(new)}."


def _to_measure(attributes: object, wrong: bool, rng: random.Random) -> str:
    """A task that has every attribute, or, where it errs, all but one."""
    values = [
        str(one["value"])
        for one in (attributes if isinstance(attributes, Sequence) else ())
        if isinstance(one, Mapping) and "value" in one
    ]
    if wrong and len(values) > 1:
        values.remove(rng.choice(values))
    return f"{instruction(rng).rstrip('.?')}: {', '.join(values)}."


def _asked_for(text: str, wrong: bool, rng: random.Random) -> str:
    """What the text may be the answer to: its longer words, or, where it errs, its own words."""
    if wrong and rng.random() < 0.5:
        return f"Write a text such as: {text[:200]}"
    words = list(dict.fromkeys(re.findall(r"\w{6,}", text.casefold())))
    about = ", ".join(rng.sample(words, min(3, len(words)))) or "something short"
    verb = rng.choice(("Write a paragraph that touches on", "Give an account of", "Explain"))
    return f"{verb} {about}, in about {len(text.split())} words."


def _tagged(text: str, wrong: bool, rng: random.Random) -> str:
    """The text between its tags; with a fault, where one is due."""
    if not wrong or rng.random() < 0.3:
        return f"<instruction>{text}</instruction>"
    return rng.choice(
        (
            f"<instruction>{rng.choice(LEAKS).format(text)}</instruction>",
            "<instruction> </instruction>",
            "<instruction>What is it that you do?</instruction>",
            f"Here you are: {text}",
        )
    )


def _turn(opening: str, wrong: bool, rng: random.Random) -> str:
    """The user's turn behind the opening of a chat template."""
    text = instruction(rng)
    if not wrong:
        return f" {text}"
    assistant = opening.replace("user", "assistant") or "\nassistant\n"
    return rng.choice(("\n", text[: len(text) // 2] + " <|", f"{text}{assistant}Of course."))
