"""The world `tickets`: reads a customer's message to an online shop and tells what it is about.

It knows phrases and what they speak for, forgives a typo per word, and leaves out what the customer
says is settled. It is right about most messages, not all: some can be read in two ways.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import orjson

from synthkd.errors import PromptError
from synthkd.rows import Fields
from synthkd.teachers.simulated.judging import judgement
from synthkd.teachers.simulated.world import (
    ROLES,
    role_of,
    text_in,
)

# Words follow each other with at most two words between; `*` stands for any ending, `/` for "or".
# Strong phrases (3 points) nearly settle it, the others (1 point) only lean.
STRONG: Mapping[str, str] = {
    "order_status": """
        has not arrived/turned/come; hasn't arrived/turned/come; nothing has come; no sign of;
        any news/update on; tracking link; tracking has not; how long delivery; when will
        arrive/be/get; will arrive/get; been shipped/dispatched; courier says; meant/supposed
        be; when is order; did go to wrong place; nothing came; van been; waiting in for""",
    "return_item": """
        send back; sent back; bring back; give back; take back; back to shop/store; can go back;
        take the back; returns form/label/code; return label; i return; to return; postage;
        changed my mind; second can this; original packaging; without box""",
    "refund_status": """
        refund; refunds; refunded; refund on; my money back; money back; pay me back; you owe;
        paid back; my money; money for; part/half of my money; no money on; bank does not see;
        money sent/transferred; get the money""",
    "damaged_item": """
        broken; cracked; smashed; in pieces; dent; crack; scratch; scratched; hole in; tear in;
        stain; crushed; torn open; ruined; damaged; faulty; was in pieces; broke; came off;
        defective; dropped it; bent; stopped working; switch on; my new does not work; my new
        phone/desk/office not work; screw; noise; something is off""",
    "wrong_item": """
        wrong item; the wrong sent; ordered got; ordered and received; but i ordered
        the/red/green/black/white/grey/yellow/navy/brown; sent me wrong; not what i ordered;
        wrong size/colour/model in; else's parcel; different model/size/brand; is missing the
        was not in; only in box; but ordered one; never bought; nothing like picture; is not
        right; parcel had""",
    "cancel_order": """
        cancel; cancel order; to cancel; stop the order; still stop; ordered twice; by
        mistake/accident; don't send; do not send; call off; undo; clicked buy; son ordered; off
        my order; not want it; don't want the any more; please stop""",
    "change_address": """
        address; new address; i have moved; moving to; we move; my new place; postcode; wrong
        street; house number; old flat/house; deliver to my; pick-up point; nobody is home; my
        neighbour please; bring to my work; to my sister/office; mill lane; will go to wrong
        place; go to my neighbour""",
    "payment_failed": """
        card declined/refused/rejected; payment failed; payment did not; payment error; charged;
        charged twice; can't pay; declined at; debit/credit card; but there is no order;
        checkout; have left my account; were taken; pay by; took pounds; debited; bank code;
        page said error; press pay; cards never; i press; my bank says""",
    "login_problem": """
        log in; sign in; shopped/ordered here for years; into my account; password; password
        page; reset; account is locked; account blocked/closed; logs me; throws me out; login;
        sign-in; past the login; open my account; in my account; email is unknown; user not
        found""",
    "discount_code": """
        voucher; coupon; discount; percent off; percent discount; gift card; promo; code does
        not work; code invalid/expired; save* is; summer* is; hello* is; student discount; code
        for new; put the code; the code for the; gift card number; newsletter; sale price; two
        codes; code on sale; total for the high; total is too high; percent but; percent where""",
}
WEAK: Mapping[str, str] = {
    "order_status": """
        where is my; still waiting for the; been sent; did wrong place; arrived; delivered;
        delivery; tracking; courier; shipped; waiting; urgent""",
    "return_item": "return; returned; exchange; too small/big; suit me; fit; unopened; it came on",
    "refund_status": "pounds; i returned; weeks ago; bank shows; less than i paid; pounds short",
    "damaged_item": "replacement; replace; loose; wet; unpacked; photo; like it was used",
    "wrong_item": "instead; wrong; ordered; received; i paid for; missing; box; colour",
    "cancel_order": "stop; order; don't need; cheaper; before ships; too late",
    "change_address": "moved; deliver; street; house; city; home; address please",
    "payment_failed": "card; payment; pay; paid; bank; visa; twice; money is gone; press",
    "login_problem": "account; app; code; phone; locked; email; code never",
    "discount_code": "code; percent; price; sale; expired; applied; basket; enter",
}
SETTLED = re.compile(
    r"\b(worked|works again|went through fine|is fine|no problem|is settled|was quick|was applied|"
    r"not (?:been )?damaged|nothing was broken|right colour|has not changed|got the refund for the "
    r"other|not want to cancel anything|know how returns work)\b"
)
INTENTS = tuple(STRONG)
REPLIES: Mapping[str, str] = {
    "order_status": "I have asked the courier where your parcel is and will write to you today.",
    "return_item": "You can send it back within 30 days; the return label is in your account.",
    "refund_status": "A refund takes up to five working days after we have received the parcel.",
    "damaged_item": "I am sorry that it arrived in this state. A replacement leaves us tomorrow.",
    "wrong_item": "I am sorry for the mix-up. We send the right one and collect the other.",
    "cancel_order": "I have stopped the order; nothing will be charged.",
    "change_address": "I have changed the delivery address and told the courier.",
    "payment_failed": "The payment was not completed; a double charge is released within two days.",
    "login_problem": "I have sent you a new link to set your password; it is valid for an hour.",
    "discount_code": "I have applied the discount to your order by hand.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What the world makes of a message."""

    intent: str
    confidence: float
    """0 to 1: how far the best intent is ahead of the next."""
    evidence: str
    """A phrase of the message that speaks for it; empty where none does."""


class Tickets:
    """Support messages; see the module."""

    version = 1
    knows = ""

    def __init__(self, error_rate: float = 0.0) -> None:
        self.error_rate = error_rate

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """See `World`."""
        role = role_of(prompt, (*ROLES, "on_policy"), "tickets")
        labels = _labels(inputs)
        read = understand(text_in(inputs, prompt, "tickets"), tuple(labels))
        if role == "judges":
            intent = _plain(read.intent)
            return judgement(
                prompt,
                inputs,
                lambda text: float(_plain(text) == intent),
                self.error_rate,
                rng,
                "tickets",
            )
        if rng.random() < self.error_rate:
            others = [intent for intent in labels if intent != read.intent]
            guess = rng.choice(others)
            read = Understanding(intent=guess, confidence=rng.uniform(0.4, 0.9), evidence="")
        if role == "label":
            return _label(read, labels[read.intent], with_reason=bool(inputs.get("reason")))
        if role == "on_policy":
            return _ranked(inputs, read) if "answers" in inputs else labels[read.intent]
        if role == "rationale":
            return _rationale(read, labels[read.intent])
        return REPLIES[read.intent]

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """See `World`."""
        intent = rng.choice(INTENTS)
        if prompt.startswith("label/"):
            return f'\n\nMessage: It is about {intent}.\n{{"label": "{intent}", "confidence": 0.9}}'
        spoken = intent.replace("_", " ")
        return f"\n\nMessage: It is about {spoken}.\nA: That is plain. So the answer is {spoken}."


@cache
def _lexicon() -> Sequence[tuple[re.Pattern[str], str, int]]:
    """Pattern, intent and points of every phrase."""
    return [
        (_pattern(phrase), intent, points)
        for phrases, points in ((STRONG, 3), (WEAK, 1))
        for intent, listed in phrases.items()
        for phrase in _phrases(listed)
    ]


def understand(message: str, intents: Sequence[str] = INTENTS) -> Understanding:
    """Which of the intents the message is about."""
    points = dict.fromkeys(intents, 0.0)
    evidence = dict.fromkeys(intents, "")
    clauses = [_corrected(clause) for clause in _clauses(message)]
    open_clauses = [clause for clause in clauses if not SETTLED.search(clause)] or clauses
    text = " | ".join(open_clauses)
    for pattern, intent, worth in _lexicon():
        if intent in points and (found := pattern.search(text)):
            points[intent] += worth
            evidence[intent] = evidence[intent] or found[0]
    best, *others = sorted(intents, key=lambda intent: -points[intent])
    ahead = points[best] - max((points[other] for other in others), default=0.0)
    confidence = round(0.5 + 0.48 * ahead / (ahead + 2), 2)
    return Understanding(intent=best, confidence=confidence, evidence=evidence[best])


def _clauses(message: str) -> Iterator[str]:
    words = " ".join(message.casefold().replace("\u2019", "'").split())
    yield from (clause for clause in re.split(r"[.!?]+(?:\s|$)", words) if clause.strip())


def _phrases(listed: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in listed.split(";")]


def _pattern(phrase: str) -> re.Pattern[str]:
    words = [
        f"(?:{'|'.join(re.escape(way) for way in word.split('/'))})".replace(r"\*", r"[\w']*")
        for word in phrase.split()
    ]
    return re.compile(r"(?<![\w'])" + r"(?:[ ,:]+[\w'#-]+){0,2}?[ ,:]+".join(words) + r"(?![\w'])")


@cache
def _vocabulary() -> frozenset[str]:
    """Every word of the lexicon, and so none that needs correcting."""
    listed = [*STRONG.values(), *WEAK.values(), SETTLED.pattern]
    return frozenset(word for text in listed for word in re.findall(r"[a-z]{4,}", text))


@cache
def _misspellings() -> Mapping[str, str]:
    """Each longer word of the lexicon under itself and the forms of it that lack a letter.

    A word and its misspelling share such a form: that finds dropped, added, exchanged and swapped
    letters without comparing every pair of words.
    """
    words = sorted(word for word in _vocabulary() if len(word) >= 5)
    return {form: word for word in words for form in (*_shortened(word), word)}


def _shortened(word: str) -> list[str]:
    """The word without one of its letters; never the first, which people seldom get wrong."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word))]


@lru_cache(maxsize=65536)
def _correct(word: str) -> str:
    if word in _vocabulary():
        return word
    forms = (form for form in (word, *_shortened(word)) if form in _misspellings())
    return next((_misspellings()[form] for form in forms), word)


def _corrected(clause: str) -> str:
    return re.sub(r"[a-z]{4,}", lambda found: _correct(found[0]), clause)


def _labels(inputs: Fields) -> dict[str, str]:
    """Our name of an intent -> the prompt's; all of ours where the prompt lists none.

    Raises:
        PromptError: the prompt's list has fewer than two intents that this world knows.
    """
    listed = inputs.get("labels", inputs.get("choices"))
    if not isinstance(listed, list | tuple):
        return {intent: intent for intent in INTENTS}
    ours = {_plain(intent): intent for intent in INTENTS}
    known = {ours[_plain(str(name))]: str(name) for name in listed if _plain(str(name)) in ours}
    if len(known) < 2:
        raise PromptError(
            f"the simulated world 'tickets' tells apart {', '.join(INTENTS)}; of the labels "
            f"{list(listed)} it knows {len(known)}, and needs at least 2"
        )
    return known


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _label(read: Understanding, name: str, *, with_reason: bool) -> str:
    reply: dict[str, object] = {"label": name, "confidence": round(read.confidence, 2)}
    if with_reason:
        reply["reason"] = _because(read)
    return orjson.dumps(reply).decode()


def _ranked(inputs: Fields, read: Understanding) -> str:
    """The first answer that is right is the best, the last other one the worst."""
    answers = inputs["answers"]
    assert isinstance(answers, list | tuple)  # noqa: S101  the prompt shows them one by one
    right = [_plain(str(answer)) == _plain(read.intent) for answer in answers]
    best = right.index(True) if any(right) else 0
    worst = max(place for place in range(len(answers)) if place != best)
    return orjson.dumps({"best": best + 1, "worst": worst + 1}).decode()


def _because(read: Understanding) -> str:
    if read.evidence:
        return f'The customer writes "{read.evidence}".'
    return "Nothing else fits the message better."


def _rationale(read: Understanding, name: str) -> str:
    return f"{_because(read)} So the answer is {name}."
