"""What a step is, and how one is found by name; what it works with is its kit.

A row step is an async generator, stateless across rows:

    class LengthConfig(StepSettings):
        field: str

    @step("length", needs=lambda config: [config.field])
    async def length(row: Row, kit: Kit, config: LengthConfig, /) -> AsyncIterator[Row]:
        if not row.fields[config.field]:
            raise Rejected("too_short")
        yield row

It yields the same row, perhaps with more fields; a step declared `fans_out=True` may yield any
number, and each becomes a child with an id and a place of its own. A table step is an ordinary
generator over all rows at once: a barrier.

Third parties register a module under the entry point group `synthkd.steps`, by the step's name.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from synthkd.config import TeacherConfig
from synthkd.errors import UserError
from synthkd.hints import near
from synthkd.inputs import inputs_of
from synthkd.io.spool import Table
from synthkd.kit import Kit
from synthkd.rows import Json, Row
from synthkd.table_kit import TableKit

__all__ = [
    "BUILTIN",
    "AnyStep",
    "Kit",
    "Step",
    "StepSettings",
    "TableKit",
    "TableStep",
    "find_step",
    "inputs_of",
    "names_of",
    "step",
    "step_modules",
    "table_step",
]

BUILTIN: Mapping[str, str] = {
    "generate": "synthkd.recipes.generate",
    "rationale": "synthkd.recipes.rationale",
    "candidates": "synthkd.recipes.candidates",
    "label": "synthkd.recipes.label",
    "triples": "synthkd.recipes.triples",
    "ner": "synthkd.recipes.ner",
    "synthkg": "synthkd.recipes.synthkg",
    "commonsense.events": "synthkd.recipes.commonsense.events",
    "commonsense.infer": "synthkd.recipes.commonsense.infer",
    "commonsense.judge": "synthkd.recipes.commonsense.judge",
    "commonsense.split": "synthkd.recipes.commonsense.corpus",
    "commonsense.student": "synthkd.recipes.commonsense.corpus",
    "pgkd": "synthkd.recipes.pgkd",
    "strong_prompt": "synthkd.recipes.strong_prompt",
    "s3ft": "synthkd.recipes.s3ft",
    "on_policy": "synthkd.recipes.on_policy",
    "documents.questions": "synthkd.recipes.documents.questions",
    "documents.pairs": "synthkd.recipes.documents.pairs",
    "cards.answer": "synthkd.recipes.cards.answer",
    "cards.write": "synthkd.recipes.cards.write",
    "instruct.self": "synthkd.recipes.instruct.seeded",
    "instruct.expand": "synthkd.recipes.instruct.seeded",
    "respond": "synthkd.recipes.respond",
    "dialogue": "synthkd.recipes.dialogue",
    "tools": "synthkd.recipes.tools",
    "tag": "synthkd.recipes.tag",
    "tag.normalise": "synthkd.curate.tags",
    "difficulty.mfd": "synthkd.curate.difficulty.mfd",
    "difficulty.judge": "synthkd.curate.difficulty.judge",
    "instruct.evolve": "synthkd.recipes.instruct.evolve",
    "instruct.refine": "synthkd.recipes.instruct.evolve",
    "instruct.eliminate": "synthkd.recipes.instruct.elimination",
    "instruct.magpie": "synthkd.recipes.instruct.magpie",
    "instruct.grid": "synthkd.recipes.instruct.grid",
    "instruct.back": "synthkd.recipes.instruct.back",
    "instruct.constraints": "synthkd.recipes.instruct.constraints",
    "difficulty.pass_rate": "synthkd.curate.difficulty.pass_rate",
    "difficulty.ifd": "synthkd.curate.difficulty.ifd",
    "difficulty.agreement": "synthkd.curate.difficulty.agreement",
    "difficulty.together": "synthkd.curate.difficulty.together",
    "difficulty.residual": "synthkd.curate.difficulty.residual",
    "instruct.instances": "synthkd.recipes.instruct.instances",
    "dedup.exact": "synthkd.curate.dedup",
    "dedup.minhash": "synthkd.curate.minhash",
    "dedup.semantic": "synthkd.curate.semantic",
    "decontaminate": "synthkd.curate.decontaminate",
    "gate.length": "synthkd.curate.gates.length",
    "gate.answer": "synthkd.curate.gates.answers",
    "gate.gold": "synthkd.curate.gates.answers",
    "gate.votes": "synthkd.curate.gates.answers",
    "gate.language": "synthkd.curate.gates.language",
    "gate.refusal": "synthkd.curate.gates.refusal",
    "gate.repetition": "synthkd.curate.gates.repetition",
    "gate.truncated": "synthkd.curate.gates.truncated",
    "gate.leak": "synthkd.curate.gates.leak",
    "gate.format": "synthkd.curate.gates.form",
    "gate.tools": "synthkd.curate.gates.tools",
    "gate.constraints": "synthkd.curate.gates.constraints",
    "privacy.mask": "synthkd.curate.privacy.mask",
    "privacy.canary": "synthkd.curate.privacy.canaries",
    "privacy.search": "synthkd.curate.privacy.canaries",
    "privacy.memorised": "synthkd.curate.privacy.memorised",
    "acquire": "synthkd.curate.acquire",
    "aggregate": "synthkd.curate.agreement",
    "relabel": "synthkd.curate.relabel",
    "critic": "synthkd.curate.critic",
    "confidence.clear": "synthkd.curate.confidence",
    "confidence.filter": "synthkd.curate.confidence",
    "confidence.correct": "synthkd.curate.correct",
    "judge.rubric": "synthkd.curate.judges.rubric",
    "judge.reference": "synthkd.curate.judges.reference",
    "judge.panel": "synthkd.curate.judges.panel",
    "judge.pairwise": "synthkd.curate.judges.pairwise",
    "judge.expected": "synthkd.curate.judges.expected",
    "judge.reward": "synthkd.curate.judges.reward",
    "judge.best_of": "synthkd.curate.judges.best_of",
    "judge.selfj": "synthkd.curate.judges.selfj",
    "exemplars": "synthkd.curate.exemplars",
    "import.replies": "synthkd.curate.imports.replies",
    "import.gather": "synthkd.curate.imports.gather",
    "import.audit": "synthkd.curate.imports.audit",
    "candidates.sums": "synthkd.curate.choose.sums",
    "choose.strongest": "synthkd.curate.choose.plain",
    "choose.random": "synthkd.curate.choose.plain",
    "choose.vote": "synthkd.curate.choose.vote",
    "choose.panel": "synthkd.curate.choose.panel",
    "choose.rerank": "synthkd.curate.choose.rerank",
    "choose.judged": "synthkd.curate.choose.judged",
    "choose.grape": "synthkd.curate.choose.grape",
    "contrast": "synthkd.curate.contrast",
    "contrast.pairs": "synthkd.curate.contrast",
    "pairs": "synthkd.curate.pairs",
    "thoughts": "synthkd.curate.thoughts.explore",
    "thoughts.choose": "synthkd.curate.thoughts.choose",
    "thoughts.rewrite": "synthkd.curate.thoughts.rewrite",
    "thoughts.target": "synthkd.curate.thoughts.target",
    "triples.ground": "synthkd.curate.triples.ground",
    "triples.resolve": "synthkd.curate.triples.resolve",
    "triples.fit": "synthkd.curate.triples.fit",
    "triples.agree": "synthkd.curate.triples.agree",
    "triples.write": "synthkd.curate.triples.write",
    "triples.entail": "synthkd.curate.triples.entail",
    "triples.unify": "synthkd.curate.triples.unify",
    "figures.graph": "synthkd.curate.triples.figures",
    "ner.ground": "synthkd.curate.ner.ground",
    "ner.conversation": "synthkd.curate.ner.conversation",
    "ner.questions": "synthkd.curate.ner.conversation",
    "extract": "synthkd.recipes.extract",
    "extract.ground": "synthkd.curate.extract.ground",
    "extract.reconcile": "synthkd.curate.extract.reconcile",
    "extract.write": "synthkd.curate.extract.write",
    "targets": "synthkd.curate.targets",
    "weigh": "synthkd.curate.targets",
    "cluster.assign": "synthkd.curate.clusters.assign",
    "cluster.balance": "synthkd.curate.clusters.balance",
    "figures.diversity": "synthkd.curate.diversity",
    "figures.collapse": "synthkd.curate.collapse",
    "curriculum.stages": "synthkd.curate.curriculum.stages",
    "curriculum.mix": "synthkd.curate.curriculum.mix",
    "curriculum.quotas": "synthkd.curate.curriculum.quotas",
    "curriculum.expand": "synthkd.curate.curriculum.expand",
    "curriculum.domains": "synthkd.curate.curriculum.domains",
    "curriculum.replay": "synthkd.curate.curriculum.replay",
    "select.random": "synthkd.curate.clusters.balance",
    "select.cluster_uniform": "synthkd.curate.clusters.balance",
}
"""Step name -> the module that registers it: only what a pipeline names is imported."""


class StepSettings(BaseModel):
    """What may stand in a step's `with`; each step has its own subclass.

    Names that mean the same everywhere: `teacher` or `teachers`, `samples`, `prompt`, `field`,
    `into`, `gold`, `labels`, `candidates`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    def faults(self, folder: Path) -> Iterable[str]:
        """What is wrong with files that the settings name, as `setting: fault`.

        Asked when the plan is compiled, so that a file that is missing or has no such field is said
        before anything is spent.

        Args:
            folder: the pipeline file's; relative paths are looked for there too.
        """
        return ()

    def teacher_faults(self, teachers: Mapping[str, TeacherConfig]) -> Iterable[str]:
        """Why the step cannot ask the teachers that it names, as `setting: fault`.

        Args:
            teachers: the pipeline's; those that the settings name are among them.
        """
        return ()

    def bound_faults(
        self,
        use: str,
        teachers: Mapping[str, TeacherConfig],
        prompts: Mapping[str, str],
        folder: Path,
    ) -> Iterable[str]:
        """What only shows where teachers and prompts are known too, as `setting: fault`.

        Args:
            use: the step's name.
            teachers: the pipeline's; those that the settings name are among them.
            prompts: those that the settings name and that could be loaded: name -> SHA-256.
            folder: as of `faults`.
        """
        return ()


C = TypeVar("C", bound=StepSettings)
Names = Iterable[str] | Callable[[Any], Iterable[str]]
"""Field names, or a function of the step's config that gives them."""
Warns = Callable[[Mapping[str, Json]], Iterable[str]]
"""Warnings that the figures of a step (`kit.count`) give cause for, at the end of a run."""
SumsUp = Callable[[Mapping[str, Json]], Mapping[str, Json]]
"""Of what a step counted, the figures that the manifest has, at the end of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[C]):
    """A registered row step."""

    name: str
    config: type[C]
    run: Callable[[Row, Kit, C], AsyncGenerator[Row, None]]
    needs: Names
    gives: Names
    supplies: frozenset[str]
    fans_out: bool
    about: str
    warns: Warns | None = None
    """What in its figures a person must know of."""
    sums_up: SumsUp | None = None
    """Its figures, of what it counted; None = the counts themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStep(Generic[C]):
    """A registered table step: it sees all rows at once."""

    name: str
    config: type[C]
    run: Callable[[Table, TableKit, C], Iterator[Row]]
    needs: Names
    gives: Names
    about: str
    asks: Callable[[C, int], int] | None = None
    """How many questions it asks each teacher at most, of so many rows; None = one a row."""
    supplies: frozenset[str] = frozenset()
    warns: Warns | None = None
    """What in its figures a person must know of; asked of each round's."""
    makes: Callable[[C, int], int] | None = None
    """How many new rows it makes at most, of so many; None = none."""


AnyStep = Step[Any] | TableStep[Any]
_registry: dict[str, AnyStep] = {}

RowStepFunction = Callable[[Row, Kit, C], AsyncIterator[Row]]
TableStepFunction = Callable[[Table, TableKit, C], Iterator[Row]]


def step(
    name: str,
    *,
    needs: Names = (),
    gives: Names = (),
    supplies: Iterable[str] = (),
    fans_out: bool = False,
    warns: Warns | None = None,
    sums_up: SumsUp | None = None,
) -> Callable[[RowStepFunction[C]], RowStepFunction[C]]:
    """Register a row step.

    Args:
        name: what pipelines call it.
        needs: fields it reads, besides the inputs of its prompt, which are added by themselves.
        gives: fields that it adds.
        supplies: inputs of its prompt that it computes itself, so that no row needs them.
        fans_out: whether it may yield several rows for one, each then a child of it.
        warns: of its figures at the end of a run, what a person must know of.
        sums_up: of what it counted, the figures that are kept, such as a rate of two counts.
    """

    def register(function: RowStepFunction[C]) -> RowStepFunction[C]:
        if not inspect.isasyncgenfunction(function):
            raise TypeError(f"step {name!r} must be an async generator: `async def` with a `yield`")
        _registry[name] = Step(
            name=name,
            config=_config_of(function),
            run=typing.cast("Callable[[Row, Kit, C], AsyncGenerator[Row, None]]", function),
            needs=needs,
            gives=gives,
            supplies=frozenset(supplies),
            fans_out=fans_out,
            about=inspect.getdoc(function) or "",
            warns=warns,
            sums_up=sums_up,
        )
        return function

    return register


def table_step(
    name: str,
    *,
    needs: Names = (),
    gives: Names = (),
    supplies: Iterable[str] = (),
    asks: Callable[[Any, int], int] | None = None,
    warns: Warns | None = None,
    makes: Callable[[Any, int], int] | None = None,
) -> Callable[[TableStepFunction[C]], TableStepFunction[C]]:
    """Register a table step; see `step`.

    Args:
        name: what pipelines call it.
        needs: fields it reads.
        gives: fields that it adds.
        supplies: inputs of its prompt that it computes itself, so that no row needs them.
        asks: of its settings and how many rows come, how many questions it asks each of its
            teachers at most, for the forecast; by default one a row and sample.
        warns: of its figures at the end of a run, what a person must know of.
        makes: of the same, how many new rows it makes at most; by default none.
    """

    def register(function: TableStepFunction[C]) -> TableStepFunction[C]:
        _registry[name] = TableStep(
            name=name,
            config=_config_of(function),
            run=function,
            needs=needs,
            gives=gives,
            supplies=frozenset(supplies),
            about=inspect.getdoc(function) or "",
            asks=asks,
            warns=warns,
            makes=makes,
        )
        return function

    return register


def _config_of(function: Callable[..., Any]) -> type[Any]:
    """The settings model, read off the third parameter's annotation."""
    third = list(inspect.signature(function).parameters)[2]
    config: type[Any] = typing.get_type_hints(function)[third]
    return config


def names_of(names: Names, config: StepSettings) -> tuple[str, ...]:
    """The field names, whichever way the step declared them."""
    return tuple(names(config) if callable(names) else names)


def find_step(name: str) -> AnyStep:
    """The step of that name; its module is imported now.

    Raises:
        UserError: there is none, and the message names the near ones; or a package promises it
            and does not have it.
    """
    if name not in _registry:
        modules = BUILTIN if name in BUILTIN else step_modules()
        if name not in modules:
            raise UserError(
                f"there is no step {name!r}{near(name, modules) or '; see `synthkd steps`'}"
            )
        importlib.import_module(modules[name])
        if name not in _registry:
            raise UserError(
                f"there is no step {name!r} in the module {modules[name]}, which its package names"
                " for it: ask whoever made the package, or uninstall it"
            )
    return _registry[name]


def step_modules() -> dict[str, str]:
    """Every known step name and the module that holds it; nothing is imported."""
    from importlib.metadata import entry_points  # 10 ms, needed once

    third_party = {entry.name: entry.module for entry in entry_points(group="synthkd.steps")}
    return {**third_party, **BUILTIN}
