"""`cards/...`: writes and answers examples of the task cards that come along, from the text alone.

It knows case reports, customers' messages and notes of expenses in a few forms of sentences, and
tells the card by the fields of its output. Its mistakes are those of models: a field left out, a
class outside the list, an event that the text does not have, words that are no quotation, another
month or amount, an input too short.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields, Json

Write = Callable[[random.Random], dict[str, Json]]
Answer = Callable[[Mapping[str, Any]], Any]
Spoil = Callable[[Any, random.Random], Any]

DRUGS = ("ibuprofen", "naproxen", "amoxicillin", "metformin", "lisinopril", "warfarin", "tramadol",
         "sertraline", "codeine", "prednisone")  # fmt: skip
EVENTS = ("a severe rash", "nausea", "dizziness", "stomach pain", "a dry cough", "blurred vision",
          "swelling of the lips", "a rapid heartbeat", "hives", "confusion")  # fmt: skip
WHO = ("a woman of 64", "a man of 51", "the boy", "an elderly patient", "a nurse", "the runner")
ILLS = ("back pain", "an infection", "diabetes", "high blood pressure", "a broken wrist")
CAUSED = (
    "{who} developed {event} after taking {drug}.",
    "Two days after the first dose of {drug} {who} complained of {event}.",
    "{who} was given {drug} for {ill}, and {drug} was stopped because of {event}.",
)
FREE = (
    "{who} has taken {drug} for {ill} for years without any trouble.",
    "{who} had {event} long before {drug} was begun.",
)
URGENT = {
    "high": ("I leave tonight", "my account is being emptied right now", "I need it today"),
    "medium": ("I need it by next week", "it should be here soon", "please answer in some days"),
    "low": ("no hurry", "whenever you have time", "I am only curious"),
}
MATTERS = ("my card has not come", "the transfer is still pending", "a refund is missing",
           "the app shows an old address", "my order has the wrong size",
           "the invoice has no number")  # fmt: skip
OPENINGS = ("Hello,", "Good morning,", "Dear team,", "Hi,", "Sorry to write again,")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
SPENT = {
    "travel": ("train tickets", "a taxi to the station", "two nights in a hotel"),
    "meals": ("lunch with a client", "sandwiches for the team", "coffee for the meeting"),
    "office": ("printer paper", "a new keyboard", "three folders"),
    "other": ("a birthday card", "flowers for the desk", "a donation"),
}
CURRENCIES = ("EUR", "USD", "GBP")
_REPORTED = (
    rf"developed (?P<event>{'|'.join(EVENTS)}) after taking (?P<drug>\w+)",
    rf"dose of (?P<drug>\w+) .{{1,40}} complained of (?P<event>{'|'.join(EVENTS)})",
    rf"(?P<drug>\w+) was stopped because of (?P<event>{'|'.join(EVENTS)})",
)


class Task(NamedTuple):
    """What it knows of a card."""

    write: Write
    answer: Answer
    spoil: Spoil


def _report(rng: random.Random) -> dict[str, Json]:
    drugs = rng.sample(DRUGS, rng.choice((1, 1, 2)))
    told: list[str] = []
    for drug in drugs:
        form = rng.choice(CAUSED if rng.random() < 0.7 else FREE)
        who = rng.choice(WHO)
        said = form.format(who=who, drug=drug, event=rng.choice(EVENTS), ill=rng.choice(ILLS))
        told.append(said[0].upper() + said[1:])
    listed: list[Json] = [*drugs]
    return {"text": " ".join(told), "drugs": listed}


def _events(inputs: Mapping[str, Any]) -> Any:
    """The events of the listed drugs, in the order of the text."""
    found = [match for form in _REPORTED for match in re.finditer(form, str(inputs["text"]))]
    listed = [match for match in found if match["drug"] in inputs["drugs"]]
    listed.sort(key=lambda match: match.start())
    return {"events": [{"drug": match["drug"], "event": match["event"]} for match in listed]}


def _spoilt_events(output: Any, rng: random.Random) -> Any:
    listed: list[Any] = list(output["events"])
    way = rng.randrange(3)
    if way == 0:  # out of nowhere
        listed.append({"drug": rng.choice(DRUGS), "event": rng.choice(EVENTS)})
    elif way == 1 and listed:  # in words of its own
        listed[0] = {**listed[0], "event": f"signs of {listed[0]['event']}"}
    else:
        listed = [{"medicine": one["drug"]} for one in listed] or [{"drug": None}]
    return {"events": listed}


def _message(rng: random.Random) -> dict[str, Json]:
    matter, urgency = rng.choice(MATTERS), rng.choice(tuple(URGENT))
    return {"message": f"{rng.choice(OPENINGS)} {matter}, {rng.choice(URGENT[urgency])}."}


def _urgency(inputs: Mapping[str, Any]) -> Any:
    for urgency, phrases in URGENT.items():
        for phrase in phrases:
            if phrase in inputs["message"]:
                return {"urgency": urgency, "because": phrase}
    return {"urgency": "low", "because": str(inputs["message"])[:40]}


def _spoilt_urgency(output: Any, rng: random.Random) -> Any:
    way = rng.randrange(3)
    if way == 0:
        return {**output, "urgency": rng.choice(("urgent", "HIGH", "normal"))}
    if way == 1:
        return {**output, "because": "the customer sounds worried"}
    return {"urgency": output["urgency"]}


def _note(rng: random.Random) -> dict[str, Json]:
    what = rng.choice([one for ones in SPENT.values() for one in ones])
    day, month, year = rng.randint(1, 28), rng.choice(MONTHS), rng.randint(2019, 2025)
    amount = rng.randint(3, 400) + rng.choice((0, 0.5, 0.25))
    paid = f"{amount:.2f} {rng.choice(CURRENCIES)}"
    forms = (
        f"On {day} {month} {year} we paid {paid} for {what}.",
        f"I spent {paid} on {what} on {day} {month} {year}, please refund it.",
    )
    return {"note": rng.choice(forms)}


def _entry(inputs: Mapping[str, Any]) -> Any:
    note = str(inputs["note"])
    date = re.search(rf"(\d+) ({'|'.join(MONTHS)}) (\d{{4}})", note)
    paid = re.search(r"([\d.]+) ([A-Z]{3})", note)
    if date is None or paid is None:
        return {}
    category = next(
        (kind for kind, ones in SPENT.items() if any(one in note for one in ones)), "other"
    )
    month = MONTHS.index(date[2]) + 1
    return {
        "date": f"{date[3]}-{month:02}-{int(date[1]):02}",
        "amount": float(paid[1]),
        "currency": paid[2],
        "category": category,
    }


def _spoilt_entry(output: Any, rng: random.Random) -> Any:
    way = rng.randrange(4)
    if way == 0:
        return {**output, "date": f"{rng.randint(1, 28)}/13/2024"}
    if way == 1:
        return {**output, "category": "transport"}
    if way == 2:
        return {**output, "amount": str(output.get("amount"))}
    return {**output, "currency": "EUR" if output.get("currency") != "EUR" else "USD"}


TASKS: Mapping[str, Task] = {
    "events": Task(_report, _events, _spoilt_events),
    "urgency": Task(_message, _urgency, _spoilt_urgency),
    "amount": Task(_note, _entry, _spoilt_entry),
}
"""By a field of the output."""


def answer(prompt: str, inputs: Fields, error_rate: float, rng: random.Random) -> str:
    """What the teacher says; the last word of the prompt's name says what is asked.

    Raises:
        PromptError: it is none of write, inputs, answer, student, or the card is unknown.
    """
    kind = prompt.rpartition("/")[2]
    if kind == "student":
        return _as_student(str(inputs["input"]), error_rate, rng)
    task = _task(prompt, inputs)
    if kind == "answer":
        given = orjson.loads(str(inputs["inputs"]))
        return orjson.dumps({"output": _output(task, given, error_rate, rng)}).decode()
    if kind not in {"write", "inputs"}:
        raise PromptError(
            f"the simulated world 'instructions' cannot do the prompt {prompt!r}: of cards it does "
            "write, inputs, answer, student"
        )
    made: list[Any] = []
    for _ in range(int(str(inputs["n"]))):
        given = task.write(rng)
        if rng.random() < error_rate / 4:
            name = next(iter(given))
            given = {**given, name: " ".join(str(given[name]).split()[:3])}
        if kind == "inputs":
            made.append(given)
        else:
            made.append({"inputs": given, "output": _output(task, given, error_rate, rng)})
    return orjson.dumps(made).decode()


def _as_student(asked: str, error_rate: float, rng: random.Random) -> str:
    """The bare output, for inputs as a student reads them."""
    if report := re.fullmatch(r"text: (.*)\ndrugs: (.*)", asked, re.DOTALL):
        task, given = TASKS["events"], {"text": report[1], "drugs": report[2].split(", ")}
    elif any(f" {currency} " in asked for currency in CURRENCIES):
        task, given = TASKS["amount"], {"note": asked}
    else:
        task, given = TASKS["urgency"], {"message": asked}
    return orjson.dumps(_output(task, given, error_rate, rng)).decode()


def _output(task: Task, given: Mapping[str, Any], error_rate: float, rng: random.Random) -> Any:
    right = task.answer(given)
    return task.spoil(right, rng) if rng.random() < error_rate else right


def _task(prompt: str, inputs: Fields) -> Task:
    known: Sequence[str] = [
        name for name in TASKS if f'"{name}"' in str(inputs.get("output_schema", ""))
    ]
    if not known and "inputs_schema" in inputs:
        told = str(inputs["inputs_schema"])
        by_input = {"drugs": "events", "message": "urgency", "note": "amount"}
        known = [name for field, name in by_input.items() if f'"{field}"' in told]
    if not known:
        raise PromptError(
            f"the simulated world 'instructions' cannot do the card that {prompt!r} shows: it "
            "knows cards/adverse_events, cards/ticket_urgency and cards/expense_entry"
        )
    return TASKS[known[0]]
