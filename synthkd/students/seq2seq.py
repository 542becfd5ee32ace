"""Fine-tuning of an encoder-decoder such as T5: to be read from top to bottom.

What is learnt of a row (`targets.py`) is its completion; its rationale and completion in one
sequence; or both as tasks of their own (Distilling Step-by-Step, arXiv 2305.02301, section 3.2):

    loss = alpha x loss(predict: prompt -> completion)
         + (1 - alpha) x loss(explain: prompt -> rationale)

each the mean over the target tokens of the same rows. A task of weight 0 is not computed, so alpha
1 is the training on completions alone, weight by weight. Asked, the student sees `predict: ` only,
and costs what one without rationales costs.

    model.safetensors, config.json, generation_config.json, tokenizer files
    student.json, README.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import Seq2SeqConfig
from synthkd.errors import NothingToLearn, UserError
from synthkd.students import artefact, hacking, machine, pretrained, trainer
from synthkd.students.artefact import damaged, holds, read_about
from synthkd.students.card import about_network, card, length_quantiles
from synthkd.students.curriculum import Course, Curriculum, curriculum
from synthkd.students.lesson import HeldOutRow, Lesson, Tell
from synthkd.students.targets import Exchange, answer_in, exchanges, question
from synthkd.students.trainer import IGNORED, ROW

FORMAT = 1
"""Raised when the same rows and settings would give another student; old ones are trained anew."""
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers")
EXPLAIN = "explain_"
"""Before the names of what the rationale task is given."""
BATCH = 16
"""Texts at once when it is asked."""


def train(lesson: Lesson, tell: Tell) -> None:
    """Fine-tune on the lesson's rows, unless its folder holds this student already.

    Raises:
        NothingToLearn: the rows cannot teach it.
        UserError: base, tokenizer or settings do not fit.
        TrainingFailed, DiskFailed, Interrupted: as `trainer.train`.
    """
    config = lesson.config
    assert isinstance(config, Seq2SeqConfig)  # noqa: S101  that is how it came here
    machine.quiet()

    # 1. What the rows say.
    rows = list(lesson.examples())
    if not rows:
        raise NothingToLearn(
            "the student has no rows to learn from: `synthkd show` says where they were lost"
        )
    taught = [list(exchanges(config, row)) for row in rows]
    course = curriculum(rows, obeyed=config.curriculum)
    dev = lesson.dev_rows()

    # 2. Whether it is there already.
    texts = [text for row in taught for each in row for text in (each.prompt, each.completion)]
    started = pretrained.begun_with(config, texts, lesson.work / "scratch")
    mark = artefact.fingerprint(
        FORMAT,
        config,
        PACKAGES,
        ([[each.prompt, each.completion] for each in row] for row in taught),
        started.identity,
        [list(course.stages), course.orders, course.weights],
        [[row.text, row.gold] for row in dev],
    )
    if holds(lesson.folder, mark):
        with suppress(UserError):  # damaged: nothing else would mend it
            load(lesson.folder)
            return

    # 3. Rows as tokens.
    based = config.model_copy(update={"base": started.base, "scratch": None})
    model, tokenizer = _load_base(based)
    learnt = _tokenised(config, taught, course, tokenizer)
    _say(config, learnt, tell)
    asked = [
        [Exchange(prompt=question(config, row.text), completion=row.gold or "")] for row in dev
    ]
    measured = _tokenised(config, asked, None, tokenizer).inputs

    # 4. Training, from the newest checkpoint.
    learning = _trainer(
        config, model, tokenizer, learnt.inputs, measured, lesson.work / mark[:16], tell
    )
    learning.course = Course(course.stages, config.seed, course.orders)
    learning.student, learning.dev = config, dev
    learning.proxy = hacking.sample(learnt.inputs, config)
    trained = trainer.train(learning, config, tell, row_ids=[row.id for row in rows])

    # 5. What is kept.
    if not machine.leads():
        return
    about = {
        **about_network(lesson, mark, PACKAGES, started, trained),
        "rows": len(rows),
        **learnt.figures(),
        "curriculum": course.says,
    }
    with artefact.written(lesson.folder, about, card(about)) as folder:
        learning.accelerator.unwrap_model(learning.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _load_base(config: Seq2SeqConfig) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    tokenizer = pretrained.load_tokenizer(config)
    model = pretrained.load_model(AutoModelForSeq2SeqLM, config, dtype=torch.float32)
    pretrained.check_context(config, model)
    return model, tokenizer


# --- as tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """Rows as the model takes them."""

    inputs: Sequence[Mapping[str, Any]]
    """input_ids and labels; with the prefix `EXPLAIN`, those of the rationale task."""
    seen: Sequence[int]
    """Tokens of each prompt, before it was cut."""
    written: Sequence[int]
    """Tokens of each target, before it was cut."""
    max_length: int

    def figures(self) -> dict[str, Any]:
        """For student.json."""
        lengths = [*self.seen, *self.written]
        kept = [min(length, self.max_length) for length in lengths]
        return {
            "examples": len(self.seen),
            "tokens": sum(kept),
            "tokens_learnt": sum(kept[len(self.seen) :]),
            "truncated": sum(length > self.max_length for length in lengths),
            "left_out": 0,
            "length_quantiles": length_quantiles(lengths),
        }


def _tokenised(
    config: Seq2SeqConfig,
    taught: Sequence[Sequence[Exchange]],
    course: Curriculum | None,
    tokenizer: Any,
) -> Tokenised:
    """Prompts and targets, each cut after max_length tokens."""
    inputs: list[dict[str, Any]] = []
    seen, written = [], []
    for place, exchanges_of_row in enumerate(taught):
        example: dict[str, Any] = {ROW: place}
        if course is not None and course.weights is not None:
            example["weights"] = course.weights[place]
        for each in exchanges_of_row:
            prompt = tokenizer(each.prompt, verbose=False)["input_ids"]
            target = tokenizer(text_target=each.completion, verbose=False)["input_ids"]
            task = EXPLAIN if each.explains else ""
            example[f"{task}input_ids"] = _cut(prompt, config.max_length, tokenizer)
            example[f"{task}labels"] = _cut(target, config.max_length, tokenizer)
            seen.append(len(prompt))
            written.append(len(target))
        inputs.append(example)
    return Tokenised(inputs=inputs, seen=seen, written=written, max_length=config.max_length)


def _cut(ids: list[int], longest: int, tokenizer: Any) -> list[int]:
    """Without the end, but for the token that says so: the model never saw a text without it."""
    return ids if len(ids) <= longest else [*ids[: longest - 1], tokenizer.eos_token_id]


def _say(config: Seq2SeqConfig, learnt: Tokenised, tell: Tell) -> None:
    figures = learnt.figures()
    tell(
        f"examples: {figures['examples']:,}, tokens: {figures['tokens']:,}, of which learnt:"
        f" {figures['tokens_learnt']:,}; truncated: {figures['truncated']:,}"
    )
    answers = learnt.written[:: 2 if config.target == "two_task" else 1]
    long = sum(length > config.max_new_tokens for length in answers)
    if long:
        tell(
            f"{long:,} of {len(answers):,} answers are longer than max_new_tokens"
            f" {config.max_new_tokens}: asked, the student is stopped before their end"
        )


def _collate(tokenizer: Any) -> Any:
    """Pads the prompts and targets of either task."""

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        batch: dict[str, Any] = {}
        for task in ("", EXPLAIN):
            if f"{task}labels" not in examples[0]:
                continue
            padded = tokenizer.pad(
                {"input_ids": [e[f"{task}input_ids"] for e in examples]}, return_tensors="pt"
            )
            labels = [torch.tensor(e[f"{task}labels"]) for e in examples]
            batch[f"{task}input_ids"] = padded["input_ids"]
            batch[f"{task}attention_mask"] = padded["attention_mask"]
            batch[f"{task}labels"] = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        if "weights" in examples[0]:
            batch["weights"] = torch.tensor([e["weights"] for e in examples])
        return batch

    return collate


# --- the trainer


def _trainer(
    config: Seq2SeqConfig,
    model: Any,
    tokenizer: Any,
    examples: Sequence[Any],
    dev: Sequence[Any],
    folder: Path,
    tell: Tell,
) -> Any:
    from transformers import TrainingArguments

    settings = trainer.arguments(
        TrainingArguments, config, folder, examples=len(examples), dev=len(dev), tell=tell
    )
    return _two_task_trainer()(
        model=model,
        args=settings,
        train_dataset=examples,
        eval_dataset=dev or None,
        processing_class=tokenizer,
        data_collator=trainer.with_rows(_collate(tokenizer)),
    )


def _two_task_trainer() -> Any:
    """Hugging Face's trainer with the loss of the module's formula."""
    from transformers import Trainer

    class TwoTask(trainer.guarded(Trainer)):  # type: ignore[misc]
        tokens: Any
        student: Seq2SeqConfig
        dev: Sequence[HeldOutRow] = ()

        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            # Our loss is a mean over a batch: several batches to a step are averaged for us.
            self.model_accepts_loss_kwargs = False

        def training_step(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            for name in (f"{EXPLAIN}attention_mask", "labels", f"{EXPLAIN}labels"):
                if name in inputs:  # the prompts of the first task are counted already
                    empty = IGNORED if name.endswith("labels") else 0
                    self.tokens = self.tokens + (inputs[name] != empty).sum()
            return super().training_step(model, inputs, *more, **named)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any
        ) -> Any:
            loss = two_task_loss(model, inputs, self.student.alpha)
            return (loss, {}) if return_outputs else loss

        def evaluation_loop(self, *args: Any, **named: Any) -> Any:
            output = super().evaluation_loop(*args, **named)
            if self.student.target == "rationale_first":
                output.metrics.pop("eval_loss", None)  # of a label without its rationale
            if trainer.answers_wanted(self.student):
                model = self.accelerator.unwrap_model(self.model)
                texts = [row.text for row in self.dev]
                said = answers(model, self.processing_class, self.student, texts)
                output.metrics.update(trainer.agreement(said, [row.gold for row in self.dev]))
            return output

    return TwoTask


def two_task_loss(model: Any, inputs: Mapping[str, Any], alpha: float) -> Any:
    """The loss of a batch, a scalar: see the module.

    Args:
        model: an encoder-decoder.
        inputs: input_ids, attention_mask (n, longest prompt) and labels (n, longest target); with
            the prefix `EXPLAIN` those of the rationale task, or none; `weights` (n,), or none.
        alpha: weight of the label task where there are two.
    """
    if f"{EXPLAIN}labels" not in inputs:
        return _task_loss(model, inputs, "")
    shares = {task: share for task, share in (("", alpha), (EXPLAIN, 1 - alpha)) if share > 0}
    return sum(share * _task_loss(model, inputs, task) for task, share in shares.items())


def _task_loss(model: Any, inputs: Mapping[str, Any], task: str) -> Any:
    """Mean cross entropy over the target tokens of one task, each by the weight of its row."""
    from torch.nn.functional import cross_entropy

    labels = inputs[f"{task}labels"]
    logits = model(
        input_ids=inputs[f"{task}input_ids"],
        attention_mask=inputs[f"{task}attention_mask"],
        labels=labels,  # of which it makes what the decoder sees
    ).logits  # (n, longest target, vocabulary)
    losses = cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(labels.shape)
    if "weights" in inputs:
        losses = losses * inputs["weights"][:, None]
    return losses.sum() / (labels != IGNORED).sum()


# --- the student


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2SeqStudent:
    """A trained encoder-decoder."""

    folder: Path
    fingerprint: str
    about: Mapping[str, Any]
    """The content of student.json."""
    config: Seq2SeqConfig
    model: Any
    """Of transformers, in evaluation mode."""
    tokenizer: Any

    def predict(self, texts: Sequence[str]) -> list[str | None]:
        """What it answers to each text, greedily; None = it never came to its cue."""
        return answers(self.model, self.tokenizer, self.config, texts)


def answers(
    model: Any, tokenizer: Any, config: Seq2SeqConfig, texts: Sequence[str]
) -> list[str | None]:
    """The answers to texts, as `Seq2SeqStudent.predict`."""
    import torch

    found: list[str | None] = [None] * len(texts)
    longest = min(config.max_new_tokens, pretrained.context_of(model) or config.max_new_tokens)
    by_length = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    was_training = model.training
    model.eval()
    for start in range(0, len(texts), BATCH):
        places = by_length[start : start + BATCH]
        batch = tokenizer(
            [question(config, texts[place]) for place in places],
            truncation=True,
            max_length=config.max_length,
            padding=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            wrote = model.generate(**batch, do_sample=False, max_new_tokens=longest)
        decoded = tokenizer.batch_decode(wrote, skip_special_tokens=True)
        for place, text in zip(places, decoded, strict=True):
            found[place] = answer_in(config, text)
    model.train(was_training)
    return found


def load(folder: Path) -> Seq2SeqStudent:
    """The student in a folder; no code that the folder may hold is run.

    Raises:
        UserError: there is no whole student, or it cannot be loaded here.
    """
    machine.quiet()
    from transformers import AutoModelForSeq2SeqLM

    about = read_about(folder)
    try:
        config = Seq2SeqConfig.model_validate(about["config"])
    except (ValueError, KeyError) as error:
        raise damaged(folder, error) from None
    model, tokenizer = pretrained.load_saved(AutoModelForSeq2SeqLM, folder)
    return Seq2SeqStudent(
        folder=folder,
        fingerprint=about["fingerprint"],
        about=about,
        config=config,
        model=model,
        tokenizer=tokenizer,
    )
