"""Rows as tokens with labels, for a causal model; and a preview of what is learnt and what masked.

    lessons = [conversation(config, row) ...]
    learnt = tokenised(lessons, tokenizer, max_length=1024)
    check(learnt); preview(learnt, tokenizer)

The labels are made here, not left to the trainer, so that they can be counted, shown and refused
before the first step. With a prompt and a completion everything after the prompt is learnt. With
`messages`, what the chat template puts between {% generation %} and {% endgeneration %}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synthkd.config import DpoConfig, SftConfig
from synthkd.errors import NothingToLearn
from synthkd.rows import Row
from synthkd.students.card import length_quantiles
from synthkd.students.targets import exchanges, text_of
from synthkd.students.trainer import IGNORED, ROW

Message = Mapping[str, str]
SHOWN = 3
"""Examples in the preview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is learnt from a row, as messages."""

    row: int
    """The place of the row among those to learn from."""
    messages: Sequence[Message]
    all_turns: bool = False
    """Whether every turn of the assistant is learnt, not only the last message."""
    explains: bool = False
    """Whether it is the rationale task of `two_task`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A conversation as the model sees it."""

    row: int
    ids: Sequence[int]
    labels: Sequence[int]
    """As long as `ids`; IGNORED where nothing is learnt."""
    n_cut: int
    """Tokens that did not fit into max_length."""
    explains: bool = False

    @property
    def n_learnt(self) -> int:
        """How many labels there are. The first token is predicted from nothing."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """All conversations that something is learnt from, and those that were left out."""

    kept: Sequence[Tokens]
    left_out: Sequence[int]
    """Rows of whose answer nothing fits into max_length."""
    split: bool
    """Whether the chat template writes a prompt alone otherwise than before its answer."""

    def figures(self) -> dict[str, Any]:
        """Lengths, and how much is learnt and cut, for student.json."""
        lengths = [len(tokens.ids) + tokens.n_cut for tokens in self.kept]
        return {
            "examples": len(self.kept),
            "tokens": sum(len(tokens.ids) for tokens in self.kept),
            "tokens_learnt": sum(tokens.n_learnt for tokens in self.kept),
            "truncated": sum(tokens.n_cut > 0 for tokens in self.kept) + len(self.left_out),
            "left_out": len(self.left_out),
            "length_quantiles": length_quantiles(lengths),
        }


def conversations(config: SftConfig, rows: Sequence[Row]) -> Iterator[Conversation]:
    """What the rows teach, in order.

    Raises:
        NothingToLearn: a value is no text, or no conversation.
    """
    for place, row in enumerate(rows):
        system = system_of(config, row)
        if config.messages is not None:
            messages = [*system, *_messages(row, config.messages)]
            yield Conversation(row=place, messages=messages, all_turns=True)
            continue
        for exchange in exchanges(config, row):
            yield Conversation(
                row=place,
                messages=[*system, *turns(exchange.prompt, exchange.completion)],
                explains=exchange.explains,
            )


def turns(prompt: str, completion: str) -> list[Message]:
    """A question and its answer."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def system_of(config: SftConfig | DpoConfig, row: Row) -> list[Message]:
    """The row's system message, if the settings name a field for it; null = this row has none."""
    if config.system is None or row.fields.get(config.system, "") is None:
        return []
    return [{"role": "system", "content": text_of(row, config.system)}]


def _messages(row: Row, name: str) -> list[Message]:
    value = row.fields.get(name)
    told = f"student: row {row.id} has no conversation in {name!r}"
    if not isinstance(value, list) or not value:
        raise NothingToLearn(
            f"{told}, got {value!r:.80}: it is a list of {{role, content}}; choose another field,"
            " or reject such rows by a step"
        )
    for message in value:
        if isinstance(message, dict) and message.get("tool_calls"):
            raise NothingToLearn(
                f"{told} without calls of tools, which are not learnt here: they would be lost."
                " Export the rows (export.messages, export.tools), and train on them with TRL"
            )
        if not (
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
        ):
            raise NothingToLearn(f"{told}: {message!r:.80} is not {{role, content}} with texts")
    if value[-1]["role"] != "assistant":
        raise NothingToLearn(
            f"{told} that ends with the assistant: the last message is from {value[-1]['role']!r},"
            " and nothing is learnt from it"
        )
    return [{"role": m["role"], "content": m["content"]} for m in value]


# --- tokens


def tokenised(
    lessons: Sequence[Conversation], tokenizer: Any, *, max_length: int, template: str | None = None
) -> Tokenised:
    """The conversations as tokens with labels.

    Args:
        lessons: what is learnt.
        tokenizer: with a chat template.
        max_length: tokens of an example; what is longer is cut at its end.
        template: instead of the tokenizer's, where whole conversations are learnt: with marks.

    Raises:
        NothingToLearn: the template refuses a conversation, such as one with a system message.
    """
    from jinja2 import TemplateError

    kept, left_out, split = [], [], False
    for lesson in lessons:
        try:
            if lesson.all_turns:
                ids, labels = _marked(lesson.messages, tokenizer, template)
            else:
                ids, labels, differs = _after_prompt(lesson.messages, tokenizer)
                split = split or differs
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in lesson.messages)
            raise NothingToLearn(
                f"student: the chat template cannot write row number {lesson.row + 1} ({roles}):"
                f" {error}; name another in student.chat_template, or mend the row in a step"
            ) from error
        tokens = Tokens(
            row=lesson.row,
            ids=ids[:max_length],
            labels=labels[:max_length],
            n_cut=max(0, len(ids) - max_length),
            explains=lesson.explains,
        )
        if tokens.n_learnt or not tokens.n_cut:
            kept.append(tokens)
        else:
            left_out.append(lesson.row)
    return Tokenised(kept=kept, left_out=left_out, split=split)


def written(tokenizer: Any, messages: Sequence[Message], *, ask: bool = False) -> list[int]:
    """The tokens of a conversation; with `ask`, up to where the assistant begins to write."""
    ids: list[int] = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=ask, return_dict=True
    )["input_ids"]
    return ids


def _after_prompt(messages: Sequence[Message], tokenizer: Any) -> tuple[list[int], list[int], bool]:
    """Everything after the prompt is learnt; and whether the prompt alone is written otherwise.

    Then the answer begins where the two part, as in TRL: what is written only before an answer,
    such as an empty <think> block, is learnt.
    """
    prompt = written(tokenizer, messages[:-1], ask=True)
    ids = written(tokenizer, messages)
    shared = 0
    while shared < min(len(prompt), len(ids)) and prompt[shared] == ids[shared]:
        shared += 1
    return ids, [IGNORED] * shared + ids[shared:], shared < len(prompt)


def _marked(
    messages: Sequence[Message], tokenizer: Any, template: str | None
) -> tuple[list[int], list[int]]:
    """What the template marks as generated is learnt."""
    both = tokenizer.apply_chat_template(
        list(messages),
        chat_template=template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, mask = both["input_ids"], both["assistant_masks"]
    return ids, [token if on else IGNORED for token, on in zip(ids, mask, strict=True)]


def check(learnt: Tokenised, rows: Sequence[Row], max_length: int) -> None:
    """Refuse what teaches nothing.

    Raises:
        NothingToLearn: no rows, or of a row nothing is learnt.
    """
    if not rows:
        raise NothingToLearn(
            "the student has no rows to learn from: `synthkd show` says where they were lost"
        )
    if not learnt.kept:
        raise NothingToLearn(
            f"of all {len(rows):,} rows nothing that could be learnt is left within"
            f" student.max_length {max_length}: raise it, or shorten the prompts"
        )
    for tokens in learnt.kept:
        if not tokens.n_learnt:
            raise NothingToLearn(
                f"student: nothing is learnt from row {rows[tokens.row].id}: the chat template"
                " writes no token of its answer; see student.chat_template"
            )


# --- what a person sees before training


@dataclass(slots=True)
class _Run:
    learnt: bool
    ids: list[int] = field(default_factory=list)


def preview(learnt: Tokenised, rows: Sequence[Row], tokenizer: Any) -> str:
    """The first examples and the longest, decoded: what is learnt, what is only seen (Markdown)."""
    longest = max(learnt.kept, key=lambda tokens: len(tokens.ids))
    chosen = [*learnt.kept[:SHOWN], *([longest] if longest not in learnt.kept[:SHOWN] else [])]
    said = [
        "# What is learnt",
        "Examples as the model sees them, decoded. Only what is marked **learnt** has a loss.",
    ]
    for tokens in chosen:
        cut = f", {tokens.n_cut} more cut off" if tokens.n_cut else ""
        said.append(
            f"## Row {rows[tokens.row].id}\n\n{len(tokens.ids)} tokens, {tokens.n_learnt} of them"
            f" learnt{cut}"
        )
        for run in _runs(tokens):
            text = tokenizer.decode(run.ids)
            fence = "`" * max(3, _longest_fence(text) + 1)
            said.append(f"{'**learnt**' if run.learnt else 'seen'}\n\n{fence}text\n{text}\n{fence}")
    return "\n\n".join(said) + "\n"


def in_short(learnt: Tokenised, tokenizer: Any) -> str:
    """The first example in a line."""
    parts = [
        f"[learnt: {_shortened(tokenizer.decode(run.ids))}]"
        if run.learnt
        else _shortened(tokenizer.decode(run.ids))
        for run in _runs(learnt.kept[0])
    ]
    return "the first example: " + " ".join(parts)


def _runs(tokens: Tokens) -> list[_Run]:
    runs: list[_Run] = []
    for token, label in zip(tokens.ids, tokens.labels, strict=True):
        if not runs or runs[-1].learnt != (label != IGNORED):
            runs.append(_Run(label != IGNORED))
        runs[-1].ids.append(token)
    return runs


def _shortened(text: str, width: int = 160) -> str:
    return repr(text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 2 :]}")


def _longest_fence(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


# --- as a dataset


def dataset(kept: Sequence[Tokens], weights: Sequence[float] | None = None) -> Any:
    """The examples as the collators of TRL take them, in memory.

    Args:
        kept: the examples.
        weights: of the loss of each; None = all alike.
    """
    from datasets import Dataset

    columns: dict[str, Any] = {
        "input_ids": [list(tokens.ids) for tokens in kept],
        "labels": [list(tokens.labels) for tokens in kept],
        ROW: [tokens.row for tokens in kept],
    }
    if weights is not None:
        columns["weights"] = [[w] * len(t.ids) for w, t in zip(weights, kept, strict=True)]
    return Dataset.from_dict(columns)
