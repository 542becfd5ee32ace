"""What becomes of the replies to one question: used, lost, or the end of the row.

The same in every recipe. A lost sample is a discard as long as another one lives. When none does,
the row fails if nobody replied at all (asking again may help), and is rejected if somebody did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from synthkd.errors import Rejected, RequestRefused, TeacherError
from synthkd.kit import Kit
from synthkd.teachers.request import Completion

UNANSWERED = "unanswered"
UNREAD = frozenset(
    {
        *("refused", "content_filter", "repetition", "not_text", "called_tools"),
        *("empty_answer", "bad_json"),
    }
)
"""What `loss_of` says of replies that came, and in which nothing can be read."""


class Loss(NamedTuple):
    """Why a reply cannot be used."""

    reason: str
    """A lower_snake code."""
    detail: str


def loss_of(reply: Completion | TeacherError) -> Loss | None:
    """Why nothing can be read from this reply; None = something can.

    A refusal is what the server declares as one. Wording is never searched for apologies: an
    answer may quote one.
    """
    if isinstance(reply, RequestRefused) and reply.is_filtered:
        return Loss("content_filter", reply.message[:200])
    if isinstance(reply, TeacherError):
        return Loss(UNANSWERED, f"{type(reply).__name__}: {reply}")
    if reply.refusal is not None:
        return Loss("refused", reply.refusal[:200])
    if reply.finish == "content_filter":
        return Loss("content_filter", reply.text[:200] or "nothing came through the filter")
    if reply.finish == "repetition":
        circle = (reply.text or reply.reasoning or "")[-200:]  # most go round while they think
        return Loss("repetition", f"goes round in circles: ...{circle}")
    if reply.other_parts:
        return Loss("not_text", f"the answer has parts that are no text: {reply.other_parts}")
    if not reply.text.strip():
        if reply.tool_calls:
            names = ", ".join(call.name for call in reply.tool_calls)
            return Loss("called_tools", f"instead of answering: {names}")
        return Loss("empty_answer", f"finish: {reply.finish}")
    if reply.shaped is not None and reply.shaped.faults:
        return Loss("bad_json", "; ".join(reply.shaped.faults)[:500])
    return None


def readable(
    replies: Sequence[Completion | TeacherError], losses: list[Loss]
) -> Iterator[tuple[int, Completion]]:
    """The replies that something can be read from, each with its place among all.

    Args:
        replies: to one question.
        losses: takes why the others cannot be used.
    """
    for place, reply in enumerate(replies):
        loss = loss_of(reply)
        if loss is not None:
            losses.append(loss)
        elif isinstance(reply, Completion):
            yield place, reply


def discard_all(kit: Kit, losses: Sequence[Loss]) -> None:
    """Count the samples that were lost while the row lives on."""
    for loss in losses:
        kit.discard(loss.reason, loss.detail)


def give_up(replies: Sequence[Completion | TeacherError], losses: Sequence[Loss]) -> NoReturn:
    """End the row: no reply could be used.

    Raises:
        TeacherError: nobody replied; the first error, and the row fails.
        Rejected: somebody did; for the most frequent reason, the first one of equals.
    """
    read = [loss for loss in losses if loss.reason != UNANSWERED]
    errors = [reply for reply in replies if isinstance(reply, TeacherError)]
    if errors and not read:
        raise errors[0]
    reason = Counter(loss.reason for loss in read).most_common(1)[0][0]
    detail = next(loss.detail for loss in read if loss.reason == reason)
    raise Rejected(reason, detail if len(losses) == 1 else f"{detail} (of {len(losses)} samples)")
