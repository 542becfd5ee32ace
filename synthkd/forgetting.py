"""What a student has forgotten: the same general questions asked of its base and of itself.

Both are asked in the base's own chat template, greedily, by the same code on the same machine. The
difference is paired row by row. Beside it, where rows have a `reference` text, how likely that is
to both: a small change shows there before an answer is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.config import HarnessConfig, PipelineConfig
from synthkd.errors import UserError
from synthkd.evaluate.harness import check_harness, scores
from synthkd.evaluate.paired import figure, lead
from synthkd.evaluate.scored import Scored, mean_of, share_right
from synthkd.evaluate.suite import Item, Suite, read_suite
from synthkd.io.paths import find_file
from synthkd.manifest import Forgetting, KindChange, Likelihood
from synthkd.plan import Plan
from synthkd.prompts import shipped_folder
from synthkd.students import causal, pretrained
from synthkd.students.artefact import Student
from synthkd.students.causal import CausalStudent
from synthkd.students.data import written
from synthkd.students.generation import generated
from synthkd.students.writing import Writer

SHIPPED = "general.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a model said to a suite."""

    right: Sequence[bool]
    references: Sequence[float]
    """The log-likelihood of each reference text, in nats a byte."""


def forgotten(pipeline: PipelineConfig, student: Student, *, base: Path) -> Forgetting:
    """Ask base and student the suite, and compare.

    Args:
        pipeline: with `evaluate.forgetting`.
        student: a causal one.
        base: the folder of the pipeline file.

    Raises:
        UserError: the suite cannot be read, or the base is not there any more.
    """
    evaluate = pipeline.evaluate
    assert evaluate is not None and evaluate.forgetting is not None  # noqa: S101,PT018  see above
    config = evaluate.forgetting
    if not isinstance(student, CausalStudent) or student.config.base is None:
        raise UserError(
            f"evaluate.forgetting: {student.folder} is no causal model made from a base, so there"
            " is nothing that it was before: leave forgetting out"
        )
    file = shipped_folder("data") / SHIPPED
    suite = read_suite(find_file(config.jsonl, base) if config.jsonl else file)
    notes: list[str] = []
    after = ask(student.model, student.tokenizer, suite, config.max_new_tokens)
    before = ask(*_base_of(student, notes), suite, config.max_new_tokens)
    found = compare(
        suite,
        before,
        after,
        base=student.config.base,
        notes=notes,
        resamples=evaluate.bootstrap,
        seed=pipeline.seed,
    )
    if config.harness is None:
        return found
    tasks = _by_harness(config.harness, student, base, evaluate.bootstrap, pipeline.seed)
    return found.model_copy(
        update={"harness": tasks, "warnings": [*found.warnings, *_lost("tasks", tasks)]}
    )


def check_forgetting(plan: Plan) -> None:
    """Check what `evaluate.forgetting` names, before anything is spent.

    Raises:
        UserError: the suite cannot be read, or the harness is not installed.
    """
    evaluate = plan.config.evaluate
    if evaluate is None or evaluate.forgetting is None:
        return
    if evaluate.forgetting.jsonl is not None:
        read_suite(find_file(evaluate.forgetting.jsonl, plan.folder))
    if evaluate.forgetting.harness is not None:
        check_harness()


def _by_harness(
    config: HarnessConfig, student: CausalStudent, base: Path, resamples: int, seed: int
) -> list[KindChange]:
    """Tasks of lm-evaluation-harness before and after, document by document."""
    include = None if config.include is None else base / config.include
    asked = [
        scores(
            "hf",
            {
                "pretrained": str(place),
                "device": student.model.device.type,
                "dtype": str(student.model.dtype).removeprefix("torch."),
            },
            config.tasks,
            shots=config.shots,
            limit=config.limit,
            batch_size=config.batch_size,
            chat_template=config.chat_template,
            include=include,
            seed=seed,
        )
        for place in (student.config.base, student.folder)
    ]
    before, after = asked
    return [
        KindChange(
            kind=name,
            rows=len(before[name]),
            **_figures(_scored(before[name]), _scored(after[name]), resamples, seed),
        )
        for name in before
        if len(after.get(name, [])) == len(before[name])
    ]


def _scored(values: Sequence[float]) -> Scored:
    return share_right(values) if set(values) <= {0.0, 1.0} else mean_of(values)


def _base_of(student: CausalStudent, notes: list[str]) -> tuple[Any, Any]:
    """The whole base as the student is: on its device, in its precision, without adapters."""
    config = student.config.model_copy(update={"lora": None, "scratch": None})
    if config.chat_template is None and pretrained.load_tokenizer(config).chat_template is None:
        notes.append(
            "the base has no chat template of its own and is asked in one that it never saw: look"
            " at the likelihood"
        )
    base = causal.load_base(config, lambda _: None)
    model = base.model.to(device=student.model.device, dtype=student.model.dtype).eval()
    return model, base.tokenizer


def ask(model: Any, tokenizer: Any, suite: Suite, max_new_tokens: int) -> Asked:
    """What a causal model says to the suite, greedily.

    Args:
        model: of transformers, in evaluation mode.
        tokenizer: with a chat template.
        suite: the questions.
        max_new_tokens: the longest answer.
    """
    prompts = [written(tokenizer, causal.asked(i.prompt, None), ask=True) for i in suite.items]
    said = generated(model, tokenizer, prompts, max_new_tokens=max_new_tokens)
    writer = Writer(model, tokenizer)
    texts = [item.reference for item in suite.items if item.reference]
    likely = writer.logprobs([writer.raw_tokens(text) for text in texts])
    return Asked(
        right=[item.right(text) for item, text in zip(suite.items, said, strict=True)],
        references=[
            math.fsum(one for one in tokens if one is not None) / len(text.encode())
            for text, tokens in zip(texts, likely, strict=True)
        ],
    )


def compare(
    suite: Suite,
    before: Asked,
    after: Asked,
    *,
    base: str,
    notes: Sequence[str] = (),
    resamples: int,
    seed: int,
) -> Forgetting:
    """Figures before and after, with paired intervals; warns where it has forgotten.

    Args:
        suite: the questions.
        before: of the base.
        after: of the student.
        base: its name.
        notes: what to bear in mind.
        resamples: draws behind each end of an interval.
        seed: of the draws.
    """

    def kept(kind: str, places: Sequence[int]) -> KindChange:
        then, now = (share_right([who.right[place] for place in places]) for who in (before, after))
        return KindChange(kind=kind, rows=len(places), **_figures(then, now, resamples, seed))

    kinds = dict.fromkeys(item.kind for item in suite.items)
    overall = kept("all", range(len(suite.items)))
    by_kind = [kept(kind, [*_places(suite.items, kind)]) for kind in kinds]
    likelihood = None
    if before.references:
        then, now = (mean_of([math.exp(one) for one in who.references]) for who in (before, after))
        likelihood = Likelihood(
            rows=len(before.references),
            nats_before=math.fsum(before.references) / len(before.references),
            nats_after=math.fsum(after.references) / len(after.references),
            **_figures(then, now, resamples, seed),
        )
    return Forgetting(
        suite=suite.name,
        sha256=suite.sha256,
        base=base,
        overall=overall,
        kinds=by_kind if len(by_kind) > 1 else [],
        likelihood=likelihood,
        notes=list(notes),
        warnings=[*_warnings(overall, by_kind, likelihood)],
    )


def _places(items: Sequence[Item], kind: str) -> Iterator[int]:
    return (place for place, item in enumerate(items) if item.kind == kind)


def _figures(then: Scored, now: Scored, resamples: int, seed: int) -> dict[str, Any]:
    return {
        "before": figure([then], resamples=resamples, seed=seed),
        "after": figure([now], resamples=resamples, seed=seed),
        "change": lead([now], then, resamples=resamples, seed=seed),
    }


def _warnings(
    overall: KindChange, by_kind: Sequence[KindChange], likelihood: Likelihood | None
) -> Iterator[str]:
    """Where the interval of the change is wholly below 0."""
    if overall.change.high < 0:
        yield (
            f"the student has forgotten: {-100 * overall.change.value:.1f} points of"
            f" {overall.rows} general questions"
        )
    if len(by_kind) > 1:
        yield from _lost("kinds", by_kind)
    if likelihood is not None and likelihood.change.high < 0:
        yield "general texts are less likely to the student than they were to its base"


def _lost(what: str, looked_at: Sequence[KindChange]) -> Iterator[str]:
    worse = [one.kind for one in looked_at if one.change.high < 0]
    if worse:
        yield f"the {what} that lost: {', '.join(worse)} (of {len(looked_at)} looked at)"
