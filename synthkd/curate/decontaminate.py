"""Throws out, or flags, rows that hold an item of a benchmark: trained on, it measures nothing.

    - use: decontaminate
      with:
        field: instruction
        benchmarks: [{parquet: gsm8k_test.parquet, field: question}]

By words first (`synthkd.curate.ngrams`): cheap, exact, and blind to other words. With `nearest`,
a row's nearest item by its vector too; with `teacher`, a teacher says yes or no to those that are
near enough (Yang et al., *Rethinking benchmark and contamination for language models with rephrased
samples*, 2023: nearest items, then a model's verdict).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, model_validator

from synthkd.curate.embed import EmbedSettings, Vectors, open_embedder
from synthkd.curate.nearest import nearest
from synthkd.curate.ngrams import Match, NgramIndex, Rules
from synthkd.curate.others import OtherData, text_of
from synthkd.curate.shingles import BATCH_CHARS
from synthkd.curate.tfidf import TfidfSettings
from synthkd.errors import Rejected
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


class NearestSettings(StepSettings):
    """The nearest test item by vectors."""

    embed: EmbedSettings = Field(default=TfidfSettings(dimensions=512))
    """Who makes the vectors; TF-IDF is fitted on rows and items together. 512 dimensions: with 1 %
    of unrelated rows lost they find 0.60 of the rephrasings of GSM8K, 256 find 0.40."""
    threshold: float = Field(default=0.75, gt=0, le=1)
    """The cosine from which a row is contaminated or, with a teacher, a candidate. 0.75: 0.45 of
    the rephrasings of GSM8K, 0.6 % of unrelated rows; with a teacher 0.6 is better."""


class DecontaminateConfig(StepSettings):
    """Which rows hold an item of which benchmarks, and what becomes of them."""

    field: str | None = None
    """The field with the text ..."""
    fields: list[str] = Field(default=[])
    """... or several, which are one text together: a question and its answer."""
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
    nearest: NearestSettings | None = None
    """Also by vectors; null: by words alone."""
    teacher: str | None = None
    """Who is asked of the rows that are near enough; without, near enough is enough."""
    prompt: str = "decontaminate/same"
    """Its inputs are `item` and `row`; the answer is yes or no."""

    @property
    def compared(self) -> tuple[str, ...]:
        """The fields, whichever way they are given."""
        return tuple(self.fields) if self.field is None else (self.field,)

    def faults(self, folder: Path) -> Iterator[str]:
        """Look at the files of `benchmarks`."""
        for index, benchmark in enumerate(self.benchmarks):
            yield from benchmark.faults_at(f"benchmarks[{index}]", folder)

    @model_validator(mode="after")
    def _sensible(self) -> DecontaminateConfig:
        if (self.field is None) == (not self.fields):
            raise ValueError("must name exactly one of field, fields")
        if self.teacher is not None and self.nearest is None:
            raise ValueError("teacher is asked of the nearest items: add `nearest: {}`")
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
    needs=lambda config: config.compared,
    gives=lambda config: [config.into] if config.action == "flag" else [],
    supplies=("item", "row"),
)
def decontaminate(table: Table, kit: TableKit, config: DecontaminateConfig, /) -> Iterator[Row]:
    """Rows that hold an item of a benchmark are rejected, or flagged, with the item named.

    Rejects `contaminated`, rows without text (`missing_field`, `no_text`) and, with a teacher, rows
    whose verdict is neither yes nor no (`unreadable_verdict`). A row whose question has no answer
    fails. Memory: the items and 40 bytes a run of their words, 13 bytes a row; vectors are on disk.
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
    vectors: Vectors


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
    items = []
    for benchmark in config.benchmarks:
        for row, text in benchmark.texts(kit.desk.folder):
            if text is None:
                kit.count("items_without_text")
            else:
                items.append(Item(benchmark.called, row, text))
    return items


def _counted(table: Table, config: DecontaminateConfig, index: NgramIndex) -> bytearray:
    """(n_rows,) 1 = the row has some run of words of some item."""
    maybe = bytearray()
    for _, group in _groups(table):
        texts = [_text(row, config) or "" for row in group]
        maybe += index.count(texts).tobytes()
    return maybe


def _text(row: Row, config: DecontaminateConfig) -> str | None:
    try:
        return text_of(row.fields, config.compared)
    except Rejected:
        return None


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


class _RowsAndItems:
    """All texts that get vectors: those of the rows, then those of the items."""

    def __init__(self, table: Table, config: DecontaminateConfig, items: Sequence[Item]) -> None:
        self._table = table
        self._config = config
        self._items = items

    def __len__(self) -> int:
        return len(self._table) + len(self._items)

    def __iter__(self) -> Iterator[str]:
        for row in self._table:
            yield _text(row, self._config) or ""
        for item in self._items:
            yield item.text


def _nearest(
    table: Table,
    kit: TableKit,
    config: DecontaminateConfig,
    settings: NearestSettings,
    items: Sequence[Item],
) -> _Near:
    import numpy as np

    texts = _RowsAndItems(table, config, items)
    vectors = open_embedder(settings.embed, kit, fit_on=texts).vectors(texts)
    n_rows = len(table)
    place, cosine = nearest(vectors.values[:n_rows], np.array(vectors.values[n_rows:]))
    kit.note({"items_without_vector": int(vectors.is_blank[n_rows:].sum())})
    return _Near(place, cosine, vectors)


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
            try:
                cases.append(_Case(place, row, text_of(row.fields, self._config.compared)))
            except Rejected as rejected:
                self._kit.reject(row, rejected.reason, rejected.detail)
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
            error = near.vectors.errors.get(case.place)
            if case.match is None and error is not None:
                self._kit.fail(case.row, error)
                continue
            left.append(case)
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
        answers = self._kit.ask_each(self._config.prompt, inputs, teacher=teacher)
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
