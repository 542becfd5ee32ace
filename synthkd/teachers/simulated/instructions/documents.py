"""`documents/...`: asks and answers what plain sentences state, from the passage alone.

It reads the sentences of the world `facts`. Its mistakes are those of models: a question that
points outside ("According to the passage", "she") or gives its answer away, one that the passage
does not answer, a name or a year out of nowhere, an answer that speaks of "the passage", and of two
names each in the other's place, which no count of words can see.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields
from synthkd.teachers.simulated.facts import INVENTED, facts_of

FORMS: Mapping[str, tuple[str, str]] = {
    "born in": ("Where was {head} born?", "{head} was born in {tail}."),
    "works for": ("For whom does {head} work?", "{head} works for {tail}."),
    "founded": ("What did {head} found?", "{head} founded {tail}."),
    "located in": ("In which city is {head}?", "{head} stands in {tail}."),
    "capital of": ("Of which country is {head} the capital?", "{head} is the capital of {tail}."),
    "wrote": ("What did {head} write?", "{head} wrote {tail}."),
    "married to": ("To whom is {head} married?", "{head} is married to {tail}."),
}
"""Of each relation the question for the tail, and the answer."""
WHEN = ("In which year did {head} found {tail}?", "{head} founded {tail} in {year}.")
CUES = ("According to the passage, {}", "As mentioned above, {}", "In the reading: {}")


class Known(NamedTuple):
    """A question that the passage answers, with its answers."""

    question: str
    head: str
    tail: str
    answer: str
    """A whole sentence."""
    span: str
    """The words of the passage."""


def known(text: str) -> Iterator[Known]:
    """What the passage answers, in its order."""
    for sentence, (head, relation, tail) in facts_of(text):
        asks, says = (form.format(head=head, tail=tail) for form in FORMS[relation])
        yield Known(asks, head, tail, says, tail)
        if relation == "founded" and (year := re.search(r"\bIn (\d{4})", sentence)):
            asks, says = (form.format(head=head, tail=tail, year=year[1]) for form in WHEN)
            yield Known(asks, head, tail, says, year[1])


def answer(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says; the last word of the prompt's name says what is asked.

    Raises:
        PromptError: it is none of questions, pairs, answer, span, judge.
    """
    kind = prompt.rpartition("/")[2]
    if kind not in PARTS:
        raise PromptError(
            f"the simulated world 'instructions' cannot do the prompt {prompt!r}: of documents it "
            f"does {', '.join(PARTS)}"
        )
    return orjson.dumps(PARTS[kind](inputs, error_rate, rng)).decode()


def _questions(inputs: Fields, error_rate: float, rng: random.Random) -> Fields:
    found = list(known(str(inputs["passage"])))
    drawn = rng.sample(found, min(int(str(inputs["count"])), len(found)))
    return {"questions": [_asked(one, error_rate, rng) for one in drawn]}


def _asked(one: Known, error_rate: float, rng: random.Random) -> str:
    if rng.random() >= error_rate:
        return one.question
    way = rng.randrange(4)
    if way == 0:
        return rng.choice(CUES).format(one.question)
    if way == 1:
        return one.question.replace(one.head, "she")
    if way == 2:
        return one.question.replace(one.head, rng.choice(INVENTED))
    return f"Is it true that {one.answer.removesuffix('.')}?"


def _answer(inputs: Fields, error_rate: float, rng: random.Random) -> Fields:
    one = _meant(inputs)
    if one is None:
        return {"answer": None}
    said = one.answer
    if rng.random() < error_rate:
        said = _wrong(one, rng)
    return {"answer": said}


def _span(inputs: Fields, error_rate: float, rng: random.Random) -> Fields:
    one = _meant(inputs)
    if one is None:
        return {"answer": None}
    return {"answer": rng.choice(INVENTED) if rng.random() < error_rate else one.span}


def _meant(inputs: Fields) -> Known | None:
    """What is asked, if the passage answers it."""
    asked = str(inputs["question"])
    for one in known(str(inputs["passage"])):
        true = f"Is it true that {one.answer.removesuffix('.')}?"
        if asked == true or asked.endswith(one.question):  # a cue may stand before it
            return one
    return None


def _wrong(one: Known, rng: random.Random) -> str:
    way = rng.randrange(4)
    if way == 0:
        return one.answer.replace(one.tail, rng.choice([n for n in INVENTED if n != one.tail]))
    if way == 1:
        return f"The passage says that {one.answer}"
    if way == 2 and one.span.isdigit():
        return one.answer.replace(one.span, str(int(one.span) + rng.randint(1, 9)))
    return one.answer.replace(one.head, "\0").replace(one.tail, one.head).replace("\0", one.tail)


def _pairs(inputs: Fields, error_rate: float, rng: random.Random) -> Fields:
    found = list(known(str(inputs["passage"])))
    drawn = rng.sample(found, min(int(str(inputs["count"])), len(found)))
    return {
        "pairs": [
            {
                "instruction": _asked(one, error_rate / 2, rng),
                "response": _wrong(one, rng) if rng.random() < error_rate / 2 else one.answer,
            }
            for one in drawn
        ]
    }


def _judge(inputs: Fields, error_rate: float, rng: random.Random) -> Fields:
    """Whether the passage states what the answer does, and neither part speaks of a passage."""
    said = str(inputs["answer"])
    true = any(said in (one.answer, one.span) for one in known(str(inputs["passage"])))
    alone = not re.search(r"passage|above|author|reading", f"{inputs['question']} {said}")
    return {"supported": true != (rng.random() < error_rate), "alone": alone}


PARTS: Mapping[str, Callable[[Fields, float, random.Random], Fields]] = {
    "questions": _questions,
    "answer": _answer,
    "span": _span,
    "pairs": _pairs,
    "judge": _judge,
}
