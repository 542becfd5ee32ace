"""Throws out, or flags, rows that hold an item of a benchmark: trained on, it measures nothing.

    - use: decontaminate
      with:
        field: instruction
        benchmarks: [{parquet: gsm8k_test.parquet, field: question}]

By runs of words first (`synthkd.curate.ngrams`): cheap, exact, and blind to other words. Then by a
row's nearest item (`nearest`), which finds what was said in other words; with `teacher`, a teacher
says yes or no to those that are near enough (Yang et al., *Rethinking benchmark and contamination
for language models with rephrased samples*, 2023: nearest items, then a model's verdict).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, model_validator

from synthkd.config.settings import Seed
from synthkd.curate.embed import MAX_CHARS, EmbedSettings, Vectors, open_embedder
from synthkd.curate.nearest import nearest
from synthkd.curate.ngrams import Match, NgramIndex, Rules
from synthkd.curate.others import OtherData
from synthkd.curate.shingles import BATCH_CHARS, words_of
from synthkd.curate.terms import TermIndex
from synthkd.curate.texts import FieldOrFields, text_or_none, text_or_reject
from synthkd.curate.tfidf import sample_of
from synthkd.errors import SourceError
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import StepSettings, TableKit, table_step
from synthkd.teachers.request import Completion
from synthkd.text import equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS_AT_ONCE = 4_096
"""Rows that are judged together: so many questions are in the air at most."""


class TermsSettings(StepSettings):
    """Sparse TF-IDF of words (`synthkd.curate.terms`): no vectors on disk, nothing to install."""

    kind: Literal["terms"] = "terms"
    fit_rows: NonNegativeInt = Field(default=10_000, le=10_000_000)
    """How rare a word is, is learnt from the items and from so many rows: items alone are few, and
    all about one thing. They are in memory then. The rows with the smallest hashes: order and
    copies make no difference."""
    seed: Seed = 0
    """Of the sample."""


class NearestSettings(StepSettings):
    """The nearest test item by vectors."""

    embed: Annotated[TermsSettings | EmbedSettings, Field(discriminator="kind")] = TermsSettings()
    """Who makes the vectors; TF-IDF with SVD is fitted on rows and items together."""
    threshold: float = Field(default=0.53, gt=0, le=1)
    """The cosine from which a row is contaminated or, with a teacher, a candidate. 0.53: the least
    that loses under 1 % of unrelated rows on one half of GSM8K; on the other it finds 0.73 of the
    rephrasings and loses 0.8 %. With a teacher 0.4 is better: 0.90, and 5.7 % are asked about."""
    least_words: int = Field(default=20, ge=1)
    """Items of fewer words are not looked for so: short questions about one thing are alike without
    being the same. 20: of BANKING77's own questions 0.42 would be lost to 1,000 others, so 0.02."""

    @model_validator(mode="after")
    def _threshold_is_of_its_kind(self) -> NearestSettings:
        if not isinstance(self.embed, TermsSettings) and "threshold" not in self.model_fields_set:
            raise ValueError(
                f"0.53 is a cosine of `embed: {{kind: terms}}`; those of {self.embed.kind} are"
                " others: add `threshold`, such as 0.75 for tfidf with 512 dimensions"
            )
        return self


class DecontaminateConfig(FieldOrFields):
    """Which rows hold an item of which benchmarks, and what becomes of them."""

    benchmarks: list[OtherData] = Field(min_length=1)
    """The files with the test items."""
    action: Literal["drop", "flag"] = "drop"
    """drop: the row is rejected; flag: every row stays, and `into` says what was found."""
    into: str = "contamination"
    """The field that `flag` writes: {benchmark, row, rule, how}, or null."""
    any_words: int | None = Field(default=13, ge=2, le=50)
    """A run of so many words in common is enough; null: it is not."""
    share_words: int = Field(default=8, ge=2, le=50)
    """Of the item's runs of so many words ..."""
    share: float = Field(default=0.5, gt=0, le=1)
    """... this share must stand in the row."""
    least_words: int = Field(default=5, ge=1, le=50)
    """Items of fewer words are not looked for; those of fewer than `share_words` must stand in the
    row whole."""
    common_items: int = Field(default=3, ge=1)
    """A run that stands in more items is a phrase of the benchmark and counts for nothing."""
    common_rows: int = Field(default=10, ge=1)
    """A run that stands in more rows is a phrase of the language: no run of `any_words` in common
    (GPT-3 took 10). `share` counts it, so that what was copied often is found."""
    nearest: NearestSettings | None = NearestSettings()
    """Also by the nearest item; null: by runs of words alone, which find copies and, of 660
    problems of GSM8K in other words, none. It is on since it finds 0.73 of them at under 1 % of
    false alarms; it costs more CPU than the runs do."""
    teacher: str | None = None
    """Who is asked of the rows that are near enough; without, near enough is enough."""
    prompt: str = "decontaminate/same"
    """Its inputs are `item` and `row`; the answer is yes or no."""

    def faults(self, folder: Path) -> Iterator[str]:
        """Look at the files of `benchmarks`."""
        for index, benchmark in enumerate(self.benchmarks):
            yield from benchmark.faults_at(f"benchmarks[{index}]", folder)

    @model_validator(mode="after")
    def _sensible(self) -> DecontaminateConfig:
        if self.teacher is not None and self.nearest is None:
            raise ValueError("teacher is asked of the nearest items: leave `nearest` on")
        names = [benchmark.called for benchmark in self.benchmarks]
        if len(names) > len(set(names)):
            raise ValueError(f"two benchmarks are called the same, among {names}: give them a name")
        return self


class Item(NamedTuple):
    """A test item."""

    benchmark: str
    row: int
    """Its record in the file, from 1."""
    text: str


@table_step(
    "decontaminate",
    needs=lambda config: config.all_fields,
    gives=lambda config: [config.into] if config.action == "flag" else [],
    supplies=("item", "row"),
)
def decontaminate(table: Table, kit: TableKit, config: DecontaminateConfig, /) -> Iterator[Row]:
    """Rows that hold an item of a benchmark are rejected, or flagged, with the item named.

    Rejects `contaminated`, rows without text (`missing_field`, `no_text`) and, with a teacher, rows
    whose verdict is neither yes nor no (`unreadable_verdict`). A row whose question has no answer
    fails. Memory: the items and 40 bytes a run of their words, 13 bytes a row, and the sample that
    `terms` learns from; dense vectors are on disk.
    """
    items = _read(config, kit)
    index = NgramIndex([item.text for item in items], _rules(config))
    maybe = _counted(table, config, index)
    near = None if config.nearest is None else _nearest(table, kit, config, config.nearest, items)
    judge = _Judge(kit, config, items, index, maybe, near)
    for first, group in _groups(table):
        yield from judge.rows(first, group)
    kit.note({**_figures_of(index, config), **judge.books.figures()})


@dataclass(frozen=True, slots=True)
class _Near:
    """The nearest item of each row."""

    item: NDArray[np.int64]
    cosine: NDArray[np.float32]
    vectors: Vectors | None = None
    """Of rows and items; None = there are none, as with `terms`."""


class _Books:
    """What was found, benchmark by benchmark."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._rows: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._found: set[int] = set()

    def note(self, match: Match) -> None:
        """A row holds an item."""
        self._rows[self._items[match.item].benchmark] += 1
        self._rules[match.rule] += 1
        self._found.add(match.item)

    def figures(self) -> dict[str, Json]:
        """For people."""
        all_items = Counter(item.benchmark for item in self._items)
        found = Counter(self._items[place].benchmark for place in self._found)
        return {
            "benchmarks": {
                name: {"items": n, "items_found": found[name], "rows": self._rows[name]}
                for name, n in all_items.items()
            },
            "rules": dict(sorted(self._rules.items())),
        }


def _rules(config: DecontaminateConfig) -> Rules:
    return Rules(
        any_words=config.any_words,
        share_words=config.share_words,
        share=config.share,
        least_words=config.least_words,
        common_items=config.common_items,
        common_rows=config.common_rows,
    )


def _figures_of(index: NgramIndex, config: DecontaminateConfig) -> dict[str, Json]:
    return {
        f"items_under_{config.least_words}_words": index.n_short,
        "runs_indexed": index.n_runs,
        "runs_common_to_items": index.n_common,
    }


def _read(config: DecontaminateConfig, kit: TableKit) -> list[Item]:
    items: list[Item] = []
    for benchmark in config.benchmarks:
        n_before = len(items)
        for row, text in benchmark.texts(kit.desk.folder):
            if text is None:
                kit.count("items_without_text")
            else:
                items.append(Item(benchmark.called, row, text))
        if len(items) == n_before:  # nothing would be found, and nobody would know why
            raise SourceError(
                f"benchmark {benchmark.called}: no record has text in"
                f" {', '.join(benchmark.all_fields)}: is it the right field, and the file UTF-8?"
            )
    return items


def _counted(table: Table, config: DecontaminateConfig, index: NgramIndex) -> bytearray:
    """(n_rows,) 1 = the row has some run of words of some item."""
    maybe = bytearray()
    for _, group in _groups(table):
        texts = [text_or_none(row.fields, config.all_fields) or "" for row in group]
        maybe += index.count(texts).tobytes()
    return maybe


def _groups(table: Iterable[Row]) -> Iterator[tuple[int, list[Row]]]:
    """The rows with the place of the first, in groups of about `BATCH_CHARS` characters."""
    first, group, n_chars = 0, list[Row](), 0
    for row in table:
        group.append(row)
        n_chars += 50 + sum(len(v) for v in row.fields.values() if isinstance(v, str))
        if n_chars >= BATCH_CHARS or len(group) >= ROWS_AT_ONCE:
            yield first, group
            first, group, n_chars = first + len(group), [], 0
    if group:
        yield first, group


class _RowTexts:
    """The texts of the rows, as far as they are embedded; no text is an empty one."""

    def __init__(self, table: Table, config: DecontaminateConfig) -> None:
        self._table = table
        self._config = config

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        for row in self._table:
            yield (text_or_none(row.fields, self._config.all_fields) or "")[:MAX_CHARS]


class _Both:
    """All texts that get vectors: those of the rows, then those of the items."""

    def __init__(self, rows: _RowTexts, items: Sequence[str]) -> None:
        self._rows = rows
        self._items = items

    def __len__(self) -> int:
        return len(self._rows) + len(self._items)

    def __iter__(self) -> Iterator[str]:
        return chain(self._rows, self._items)


def _nearest(
    table: Table,
    kit: TableKit,
    config: DecontaminateConfig,
    settings: NearestSettings,
    items: Sequence[Item],
) -> _Near | None:
    import numpy as np

    places = [n for n, item in enumerate(items) if len(words_of(item.text)) >= settings.least_words]
    kit.note({"items_near": len(places)})
    if not places:
        return None
    said = [items[place].text for place in places]
    rows = _RowTexts(table, config)
    if isinstance(settings.embed, TermsSettings):
        place, cosine = _by_terms(table, config, settings.embed, settings.threshold, said)
        return _Near(np.array(places)[place], cosine)
    vectors = open_embedder(settings.embed, kit, fit_on=_Both(rows, said)).vectors(
        _Both(rows, said)
    )
    place, cosine = nearest(vectors.values[: len(rows)], np.array(vectors.values[len(rows) :]))
    kit.note({"items_without_vector": int(vectors.is_blank[len(rows) :].sum())})
    return _Near(np.array(places)[place], cosine, vectors)


def _by_terms(
    table: Table,
    config: DecontaminateConfig,
    settings: TermsSettings,
    threshold: float,
    items: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(n_rows,) the nearest item of each row, and its cosine; -1 = none reaches the threshold."""
    import numpy as np

    sample = sample_of(_RowTexts(table, config), settings.fit_rows, settings.seed)
    index = TermIndex(items, sample)
    place = np.zeros(len(table), dtype=np.int64)
    cosine = np.full(len(table), -1, dtype=np.float32)
    for first, group in _groups(table):
        here = slice(first, first + len(group))
        texts = [text_or_none(row.fields, config.all_fields) or "" for row in group]
        place[here], cosine[here] = index.nearest(texts, threshold)
    return place, cosine


@dataclass(slots=True)
class _Case:
    """A row with text, and what is found in it."""

    place: int
    row: Row
    text: str
    match: Match | None = None
    keys: tuple[str, ...] = ()
    """Of the answers that had a part in the verdict."""


class _Judge:
    """Decides on rows, a group at a time."""

    def __init__(
        self,
        kit: TableKit,
        config: DecontaminateConfig,
        items: Sequence[Item],
        index: NgramIndex,
        maybe: bytearray,
        near: _Near | None,
    ) -> None:
        self.books = _Books(items)
        self._kit = kit
        self._config = config
        self._items = items
        self._index = index
        self._maybe = maybe
        self._near = near

    def rows(self, first: int, group: Sequence[Row]) -> Iterator[Row]:
        """Those of the group that stay; the others are rejected or fail."""
        cases = []
        for place, row in enumerate(group, start=first):
            text = text_or_reject(row, self._config.all_fields, self._kit)
            if text is not None:
                cases.append(_Case(place, row, text))
        suspects = [case for case in cases if self._maybe[case.place]]
        matches = self._index.judge([case.text for case in suspects])
        for case, match in zip(suspects, matches, strict=True):
            case.match = match
        if self._near is not None:
            cases = self._by_vector(cases, self._near)
        for case in cases:
            if case.match is not None:
                self.books.note(case.match)
            yield from self._settled(case)

    def _by_vector(self, cases: Sequence[_Case], near: _Near) -> list[_Case]:
        """The cases that could be judged, with what their vectors say."""
        assert self._config.nearest is not None  # noqa: S101  else there are no vectors
        left, asked = [], []
        for case in cases:
            error = None if near.vectors is None else near.vectors.errors.get(case.place)
            if case.match is None and error is not None:
                self._kit.fail(case.row, error)
                continue
            left.append(case)
            if near.vectors is not None:
                case.keys = near.vectors.made_by(case.place)
            cosine = float(near.cosine[case.place])
            if case.match is None and cosine >= self._config.nearest.threshold:
                item = int(near.item[case.place])
                case.match = Match(item=item, rule="nearest", how=f"cosine {cosine:.3f}")
                asked.append(case)
        if self._config.teacher is None:
            return left
        judged = set(map(id, self._asked(asked, self._config.teacher)))
        unjudged = {id(case) for case in asked} - judged
        return [case for case in left if id(case) not in unjudged]

    def _asked(self, cases: Sequence[_Case], teacher: str) -> Iterator[_Case]:
        """The cases that the teacher has given a verdict on."""
        inputs = [
            {"item": self._items[case.match.item].text, "row": case.text}
            for case in cases
            if case.match is not None
        ]
        answers = self._kit.ask_all(self._config.prompt, inputs, teacher=teacher)
        for case, answer in zip(cases, answers, strict=True):
            assert case.match is not None  # noqa: S101  only such are asked of
            self._kit.count("asked")
            if not isinstance(answer, Completion):
                self._kit.fail(case.row, answer)
                continue
            verdict = verdict_of(answer.text)
            if verdict is None:
                self._kit.reject(case.row, "unreadable_verdict", f"{teacher}: {answer.text!r:.200}")
                continue
            case.keys += answer.keys
            how = f"{case.match.how}, and {teacher} says yes"
            case.match = Match(item=case.match.item, rule="asked", how=how) if verdict else None
            yield case

    def _settled(self, case: _Case) -> Iterator[Row]:
        row = case.row.with_made_by(*case.keys)
        finding: Json = None
        if case.match is not None:
            item = self._items[case.match.item]
            if self._config.action == "drop":
                detail = f"{item.benchmark} row {item.row}: {case.match.how}"
                self._kit.reject(row, "contaminated", detail)
                return
            finding = {
                "benchmark": item.benchmark,
                "row": item.row,
                "rule": case.match.rule,
                "how": case.match.how,
            }
        yield (
            row
            if self._config.action == "drop"
            else row.with_fields(**{self._config.into: finding})
        )


def verdict_of(answer: str) -> bool | None:
    """Whether an answer says yes; None = neither yes nor no."""
    words = answer.split()
    return {"yes": True, "no": False}.get(equivalent(words[0])) if words else None
