"""Training of an encoder that labels texts, or parts of them: to be read from top to bottom.

Hugging Face's Trainer does the steps; checkpoints and failures are those of every network
(`trainer.py`). Spans and their tags are in `spans.py`, what comes of it in `classifier.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkd.config import EncoderConfig
from synthkd.errors import NothingToLearn, UserError
from synthkd.rows import Row
from synthkd.students import artefact, hacking, machine, pretrained, trainer
from synthkd.students.artefact import holds
from synthkd.students.card import about_network, card, length_quantiles
from synthkd.students.classifier import load
from synthkd.students.lesson import Lesson, Tell
from synthkd.students.spans import (
    OUTSIDE,
    Span,
    agreement,
    apart,
    as_json,
    read_spans,
    spans_in,
    tags_of,
)
from synthkd.students.targets import text_of
from synthkd.students.trainer import IGNORED, ROW
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
"""Raised when the same rows and settings would give another student; old ones are trained anew."""
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and what is right about it."""

    text: str
    label: str | None
    """Of the text; None = its spans are learnt."""
    spans: Sequence[Span] = ()


def train(lesson: Lesson, tell: Tell) -> None:
    """Train on the lesson's rows, unless its folder holds this student already.

    Raises:
        NothingToLearn: the rows cannot teach it.
        UserError: base, tokenizer or settings do not fit.
        TrainingFailed, DiskFailed, Interrupted: as `trainer.train`.
    """
    config = lesson.config
    assert isinstance(config, EncoderConfig)  # noqa: S101  that is how it came here
    machine.quiet()

    # 1. What the rows say.
    rows = list(lesson.examples())
    examples, overlapping = _examples(config, rows)
    labels = _labels(config, examples)
    dev = list(_dev(config, lesson))

    # 2. Whether it is there already.
    started = pretrained.begun_with(config, [x.text for x in examples], lesson.work / "scratch")
    mark = artefact.fingerprint(
        FORMAT,
        config,
        PACKAGES,
        ([x.text, x.label, as_json(x.spans)] for x in examples),
        started.identity,
        [[x.text, x.label, as_json(x.spans)] for x in dev],
    )
    if holds(lesson.folder, mark):
        with suppress(UserError):  # damaged: nothing else would mend it
            load(lesson.folder)
            return

    # 3. Texts as tokens.
    based = config.model_copy(update={"base": started.base, "scratch": None})
    model, tokenizer = _load_base(based, labels)
    learnt = _tokenised(config, examples, labels, tokenizer)
    tell(
        f"texts: {len(examples):,}, of which truncated: {learnt.truncated:,}; tokens:"
        f" {learnt.n_tokens:,}; labels: {len(_without_begin(labels)):,}"
    )
    known, unknown = _parted(labels, dev)
    _say_unknown(labels, dev, tell)

    # 4. Training, from the newest checkpoint.
    learning = _trainer(
        config,
        model,
        tokenizer,
        learnt.inputs,
        _tokenised(config, known, labels, tokenizer).inputs,
        lesson.work / mark[:16],
        tell,
    )
    learning.proxy = hacking.sample(learnt.inputs, config)
    learning.compute_metrics = _measure(config, labels, known, unknown, tokenizer)
    trained = trainer.train(learning, config, tell, row_ids=[row.id for row in rows])

    # 5. What is kept.
    if not machine.leads():
        return
    about = {
        **about_network(lesson, mark, PACKAGES, started, trained),
        "rows": len(rows),
        "labels": len(_without_begin(labels)),
        **learnt.figures(),
        **({"overlapping": overlapping} if config.spans else {}),
    }
    with artefact.written(lesson.folder, about, card(about)) as folder:
        learning.accelerator.unwrap_model(learning.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


# --- what is learnt


def _examples(config: EncoderConfig, rows: Sequence[Row]) -> tuple[list[Example], int]:
    """What the rows teach, and how many spans were left out because they overlap others."""
    if not rows:
        raise NothingToLearn(
            "the student has no rows to learn from: `synthkd show` says where they were lost"
        )
    examples, overlapping = [], 0
    for row in rows:
        text = text_of(row, config.text)
        if config.label is not None:
            examples.append(Example(text=text, label=text_of(row, config.label)))
            continue
        assert config.spans is not None  # noqa: S101  the settings have one or the other
        spans = read_spans(row.id, row.fields.get(config.spans), text, config.spans)
        kept = apart(spans)
        overlapping += len(spans) - len(kept)
        examples.append(Example(text=text, label=None, spans=kept))
    return examples, overlapping


def _labels(config: EncoderConfig, examples: Sequence[Example]) -> list[str]:
    """The classes in the model's order: labels, or tags with the one for outside first.

    Raises:
        NothingToLearn: there is nothing to tell apart.
    """
    if config.spans is not None:
        found = sorted({span.label for x in examples for span in x.spans})
        if not found:
            raise NothingToLearn(
                f"no row has a span in {config.spans!r}: there is nothing to find; name another"
                " field in student.spans"
            )
        return [OUTSIDE, *(f"{tag}-{label}" for label in found for tag in "BI")]
    labels = sorted({x.label for x in examples if x.label is not None})
    if len(labels) == 1:
        raise NothingToLearn(
            f"all {len(examples)} rows have the label {labels[0]!r} in {config.label!r}: a student"
            " needs at least two labels to tell apart; read more rows, or leave `student` out"
        )
    return labels


def _without_begin(labels: Sequence[str]) -> list[str]:
    """What a person calls the labels: of tags, one for B and I."""
    if labels[0] == OUTSIDE and labels[1].startswith("B-"):
        return [tag[2:] for tag in labels[1::2]]
    return list(labels)


# --- as tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """Texts as the model takes them."""

    inputs: Sequence[Mapping[str, Any]]
    lengths: Sequence[int]
    """Tokens of each text, before it was cut."""
    truncated: int
    inexact: int
    """Spans that the tokens cannot express: cut off, or an end of theirs lies within a token."""

    @property
    def n_tokens(self) -> int:
        """That the model reads, of all texts."""
        return sum(len(each["input_ids"]) for each in self.inputs)

    def figures(self) -> dict[str, Any]:
        """For student.json."""
        return {
            "examples": len(self.inputs),
            "tokens": self.n_tokens,
            "truncated": self.truncated,
            "inexact_spans": self.inexact,
            "length_quantiles": length_quantiles(self.lengths),
        }


def _tokenised(
    config: EncoderConfig, examples: Sequence[Example], labels: Sequence[str], tokenizer: Any
) -> Tokenised:
    texts = [x.text for x in examples]
    if not texts:
        return Tokenised(inputs=[], lengths=[], truncated=0, inexact=0)
    lengths = [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]
    tokens = tokenizer(
        texts,
        truncation=True,
        max_length=config.max_length,
        return_offsets_mapping=config.spans is not None,
    )
    place = {label: i for i, label in enumerate(labels)}
    inputs, inexact = [], 0
    for row, x in enumerate(examples):
        target: int | list[int]
        if x.label is not None:
            target = _place(labels, x.label) or 0
        else:
            offsets = tokens["offset_mapping"][row]
            tags = tags_of(x.spans, offsets)
            target = [place.get(tag, IGNORED) if tag else IGNORED for tag in tags]
            inexact += len(set(x.spans) - set(spans_in(tags, offsets, x.text)))
        inputs.append({"input_ids": tokens["input_ids"][row], "labels": target, ROW: row})
    cut = sum(length > config.max_length for length in lengths)
    return Tokenised(inputs=inputs, lengths=lengths, truncated=cut, inexact=inexact)


def _place(labels: Sequence[str], label: str) -> int | None:
    """Of a label among the classes; the very one, or else one that counts as the same answer."""
    if label in labels:
        return labels.index(label)
    same = [i for i, other in enumerate(labels) if equivalent(other) == equivalent(label)]
    return same[0] if same else None


# --- measured on dev


def _dev(config: EncoderConfig, lesson: Lesson) -> Iterator[Example]:
    """The rows held out as dev whose answer the pipeline knows."""
    for row in lesson.dev_rows():
        if config.spans is None:
            yield Example(text=row.text, label=row.gold)
        else:
            spans = read_spans(row.id, row.gold, row.text, "gold")
            yield Example(text=row.text, label=None, spans=apart(spans))


def _parted(labels: Sequence[str], dev: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Those that have a loss, and those whose label the student does not have."""
    known: list[Example] = []
    unknown: list[Example] = []
    for x in dev:
        has = x.label is None or _place(labels, x.label) is not None
        (known if has else unknown).append(x)
    return known, unknown


def _say_unknown(labels: Sequence[str], dev: Sequence[Example], tell: Tell) -> None:
    known = {equivalent(label) for label in _without_begin(labels)}
    named = {label for x in dev for label in [x.label, *(s.label for s in x.spans)] if label}
    unknown = sorted(label for label in named if equivalent(label) not in known)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        tell(
            f"dev rows have {len(unknown)} labels that no row to learn from has, so the student"
            f" cannot answer them: {', '.join(map(repr, unknown[:5]))}{more}"
        )


def _measure(
    config: EncoderConfig,
    labels: Sequence[str],
    known: Sequence[Example],
    unknown: Sequence[Example],
    tokenizer: Any,
) -> Any:
    """Turns what the model said of the known dev rows into accuracy and macro_f1 of all.

    A row whose label is not among the student's has no loss, but it counts: as wrong.
    """
    offsets = _offsets(config, [x.text for x in known], tokenizer) if config.spans else []

    def measure(evaluated: Any) -> dict[str, float]:
        classes: NDArray[np.int64] = evaluated.predictions  # (n,), or (n, tokens) of spans
        if config.spans is None:
            said = [*(labels[i] for i in classes), *(None for _ in unknown)]
            gold = [x.label for x in (*known, *unknown)]
            return trainer.agreement(said, gold)
        found = [
            spans_in([labels[i] for i in row[: len(each)]], each, x.text)
            for row, each, x in zip(classes, offsets, known, strict=True)
        ]
        return agreement(found, [x.spans for x in known])

    return measure


def _offsets(config: EncoderConfig, texts: Sequence[str], tokenizer: Any) -> list[Any]:
    if not texts:
        return []
    tokens = tokenizer(
        list(texts), truncation=True, max_length=config.max_length, return_offsets_mapping=True
    )
    return list(tokens["offset_mapping"])


# --- the trainer


def _load_base(config: EncoderConfig, labels: Sequence[str]) -> tuple[Any, Any]:
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        set_seed,
    )

    tokenizer = pretrained.load_tokenizer(config)
    if tokenizer.pad_token is None or (config.spans and not tokenizer.is_fast):
        raise UserError(
            f"student.base: the tokenizer of {config.base} has no pad token, or does not say which"
            " characters a token has: take a BERT-like base, or `scratch`"
        )
    set_seed(config.seed)  # the layer that names the labels is new
    model = pretrained.load_model(
        AutoModelForTokenClassification if config.spans else AutoModelForSequenceClassification,
        config,
        dtype=torch.float32,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="single_label_classification",
        new_head=True,  # a base that named other labels loses them
    )
    if model.config.is_encoder_decoder:
        raise UserError(
            f"student.base: {config.base} is an encoder-decoder: take a BERT-like base for an"
            " `encoder`, or `kind: seq2seq`"
        )
    pretrained.check_context(config, model, tokenizer.model_max_length)
    return model, tokenizer


def _trainer(
    config: EncoderConfig,
    model: Any,
    tokenizer: Any,
    examples: Sequence[Any],
    dev: Sequence[Any],
    folder: Path,
    tell: Tell,
) -> Any:
    from transformers import (
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    settings = trainer.arguments(
        TrainingArguments, config, folder, examples=len(examples), dev=len(dev), tell=tell
    )
    collate = DataCollatorForTokenClassification if config.spans else DataCollatorWithPadding
    return trainer.guarded(Trainer)(
        model=model,
        args=settings,
        train_dataset=examples,
        eval_dataset=dev or None,
        processing_class=tokenizer,
        data_collator=trainer.with_rows(collate(tokenizer)),
        preprocess_logits_for_metrics=lambda logits, _: logits.argmax(dim=-1),
    )
