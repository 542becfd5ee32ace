"""A conversation: who may speak when, how one of a row is read, and what spoils a turn.

    messages: [{role: system, content: ...}, {role: user, ...}, {role: assistant, ...}, ...]

A system message may come first, then user and assistant speak by turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from synthkd.errors import MissingField, Rejected
from synthkd.recipes.replies import Loss, loss_of
from synthkd.rows import Row
from synthkd.teachers.request import Completion
from synthkd.text import normalised, tail

Message = Mapping[str, str]

LABELS: Mapping[str, str] = {
    "user": "user|customer|client|patient|human",
    "assistant": "assistant|agent|ai|bot|doctor",
}
"""How a model that writes a script calls who speaks; the names of a role, as one pattern."""
COLON = r"[:\uff1a]"
"""Also of full width: models that write Chinese take it after Latin names too."""
MARKS = re.compile(
    r"<\|(?:im_(?:start|end)|(?:start|end)_header_id|eot_id|system|user|assistant|end)\|>|"
    r"</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""Of chat templates: learnt as text, they would begin another's turn in the middle of one."""
OF_A_MODEL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant|"
    r"ai (?:assistant|language model))\b|"
    r"\bi(?: am|'m) (?:just )?(?:an? )?(?:ai\b|(?:large )?language model|virtual assistant)",
    re.IGNORECASE,
)
"""What a model says of itself, and a person who asks does not."""
OF_WHO_SERVES = re.compile(
    r"\bhow (?:can|may) i (?:help|assist) you\b|\bi(?:'d| would)? ?(?:am|'m|be) happy to (?:help|"
    r"assist)\b|\b(?:is there|do you have) anything else (?:i can|you would like me to)\b|"
    r"^(?:sure|certainly|of course)[,!.] (?:here|i can|i will|i'll)\b",
    re.IGNORECASE,
)
"""What belongs to whoever is asked: heard from the one who asks, the roles are changed."""


def talk_of(row: Row, field: str) -> list[Message]:
    """The conversation of a row: a system message or none, then user and assistant by turns.

    Raises:
        MissingField: the row has no such field.
        Rejected: it is something else.
    """
    if field not in row.fields:
        raise MissingField(f"the row has no field {field!r}")
    value = row.fields[field]
    talk: list[Message] = []
    for place, message in enumerate(value if isinstance(value, list | tuple) else ()):
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        due = "user" if not talk or talk[-1]["role"] != "user" else "assistant"
        if not isinstance(content, str) or (role != due and not (role == "system" and not place)):
            raise Rejected(
                "not_a_talk",
                f"{field}[{place}] is {message!r:.120}: a system message may come first, then user"
                " and assistant by turns, each with a text",
            )
        talk.append({"role": str(role), "content": content})
    if not any(message["role"] == "user" for message in talk):
        raise Rejected("not_a_talk", f"{field} has no turn of a user: {value!r:.120}")
    return talk


def written_by(reply: Completion, role: str) -> str:
    """The turn in a reply, without a label of who speaks before it.

    Raises:
        Rejected: `truncated`, `empty_turn`, or what `loss_of` says.
    """
    if reply.finish == "length":
        raise Rejected("truncated", f"{role}: cut at max_tokens: {tail(reply.text)}")
    loss: Loss | None = loss_of(reply)
    text = _label(role).sub("", reply.text, count=1).strip() if loss is None else ""
    if loss is not None and loss.reason != "empty_answer":
        raise Rejected(loss.reason, f"{role}: {loss.detail}")
    if not text:
        raise Rejected("empty_turn", f"{role}: nothing, finish: {reply.finish}")
    return text


def turn_fault(text: str, role: str, before: Sequence[Message]) -> Loss | None:
    """What spoils a turn; None = nothing that can be seen from outside.

    The words that give a changed role away are English; in other languages only labels and
    repetition are seen.

    Args:
        text: of the turn, not empty.
        role: `user` or `assistant`.
        before: the conversation so far.
    """
    other = "assistant" if role == "user" else "user"
    if found := MARKS.search(text):
        return Loss("template_leak", f"{role} writes {found[0]}: {tail(text)}")
    label = rf"^\W{{0,5}}(?:{LABELS[other]})\W{{0,2}}{COLON}"
    if found := re.search(label, text, re.MULTILINE | re.IGNORECASE):
        return Loss("plays_both", f"{role} writes {found[0].strip()!r}: {tail(text)}")
    if role == "user" and (found := OF_A_MODEL.search(text)):
        return Loss("role_confusion", f"the user says {found[0]!r}: {tail(text)}")
    if role == "user" and (found := OF_WHO_SERVES.search(text)):
        return Loss("user_as_assistant", f"the user says {found[0]!r}: {tail(text)}")
    if normalised(text) in (normalised(one["content"]) for one in _spoken(before)):
        return Loss("repeated_turn", f"{role} says again: {tail(text)}")
    return None


def _spoken(talk: Iterable[Message]) -> Iterable[Message]:
    return (message for message in talk if message["role"] != "system")


def _label(role: str) -> re.Pattern[str]:
    """The name of the role that stands before its own turn, such as `User:`."""
    bold = r"\*{0,2}"
    return re.compile(rf"\A\s*{bold}(?:{LABELS[role]}){bold}{COLON}{bold}", re.IGNORECASE)
