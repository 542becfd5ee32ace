"""`critic`: a small classifier of good and bad rows, learnt from those that have been labelled.

As the critic of Symbolic Knowledge Distillation (West et al., arXiv 2110.07178, section 4): learnt
from labels of a part, its threshold chosen for a recall, and then all rows are thrown out that it
gives less. Their repository averages the thresholds of validation and test; here the threshold
comes from validation alone, and test shows what it does.

    {use: critic, with: {fields: [instruction, output], label: verdict.score, good_from: 0.7}}

It is a logistic regression, on the TF-IDF of words and characters that the linear student sees, or
on vectors (`embed`); or a fine-tuned encoder (`encoder`, extra `train`). It costs nothing, so it
stands before a judge that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from synthkd.config import EncoderConfig, LinearConfig, Share
from synthkd.curate.embed import EmbedSettings, TextColumn, Vectors, open_embedder
from synthkd.curate.texts import FieldOrFields, text_or_none
from synthkd.errors import NothingToLearn, UserError
from synthkd.evaluate.thresholds import Cut, at_recall, curve, cut_at
from synthkd.io.rows_file import open_rows
from synthkd.io.spool import Table
from synthkd.rows import Fields, Json, Row, digest
from synthkd.steps import TableKit, table_step
from synthkd.students.lesson import Lesson, write_held_out
from synthkd.students.ready import ready
from synthkd.text import answer_text, equivalent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 2_048
"""Rows that are scored at once."""
ENCODER = {"kind": "encoder", "text": "text", "label": "label"}
"""How the rows are put before an encoder."""
GOOD, BAD = "good", "bad"
POINTS = 20
"""Of the precision-recall curve that are kept: at recalls of 0.05, 0.1, ... 1."""


Recall = Annotated[float, Field(gt=0, le=1)]
PARTS = {"learn": "train", "validation": "dev", "test": "test"}
"""What each part of the labelled rows is called in a field that says so."""


class CriticSettings(FieldOrFields):
    """Settings of `critic`, which sees one text field, or several, each on a line of its own."""

    label: str
    """The field with the label of those rows that have one; null or missing in the others. Inside
    an object with a dot, such as `verdict.score`."""
    good: tuple[str | bool | int | float, ...] = (True,)
    """The labels of good rows; all other labels are of bad ones."""
    good_from: float | None = None
    """In place of `good`: labels are numbers, and a row is good from this one on."""
    recall: Recall = 0.9
    """The share of good rows that is to be kept; the threshold is the highest that keeps it on the
    validation rows."""
    validation: Share = 0.25
    """Share of the labelled rows that chooses the threshold."""
    test: Share = 0.25
    """Share of the labelled rows that shows what the threshold does."""
    split: str | None = None
    """In place of the two shares: a field that says of each row whether it is of `train` (to learn
    from), `dev` (to choose the threshold) or `test`, as `commonsense.split` gives it."""
    recalls: tuple[Recall, ...] = ()
    """Further recalls: for 0.5 each row has a field `rec_0.5` that says whether it is above the
    threshold for it."""
    flags: str = "rec_"
    """What the names of these fields begin with."""
    regularisation: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    """Inverse strength C of the L2 penalty; 1 because labels are few here."""
    embed: EmbedSettings | None = None
    """Vectors to learn from in place of words and characters."""
    encoder: EncoderConfig | None = None
    """A transformer in place of the logistic regression: `base` or `scratch`, `epochs`,
    `learning_rate` and whatever else an encoder student has but its fields."""
    reject: bool = True
    """Whether rows below the threshold go; if not, they stay with their score."""
    into: str = "critic"
    """The field for the score: the probability, from 0 to 1, that the row is good."""

    def flag(self, recall: float) -> str:
        """The field of the flag for a recall."""
        return f"{self.flags}{recall:g}"

    @field_validator("encoder", mode="before")
    @classmethod
    def _of_texts(cls, value: Any) -> Any:
        return {**ENCODER, **value} if isinstance(value, dict) else value

    def faults(self, folder: Path) -> Iterator[str]:
        """See `StepSettings`."""
        if self.encoder is not None:
            try:
                ready(self.encoder, folder, offline=False)
            except UserError as error:
                yield f"encoder.{str(error).removeprefix('student.')}"

    @model_validator(mode="after")
    def _some_to_learn_from(self) -> CriticSettings:
        if not 0 < self.validation + self.test < 1 or self.validation == 0:
            raise ValueError(
                "validation and test must leave rows to learn from, and validation some to choose"
                f" the threshold: got {self.validation:g} and {self.test:g}"
            )
        if self.encoder is not None and self.embed is not None:
            raise ValueError("learn from `embed` or by `encoder`, not both")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    """The labelled rows of one part."""

    places: list[int]
    good: list[bool]


@table_step(
    "critic",
    needs=lambda config: [
        *config.all_fields,
        config.label.partition(".")[0],
        *([config.split] if config.split else []),
    ],
    gives=lambda config: [config.into, *map(config.flag, config.recalls)],
    asks=lambda config, rows: rows,
)
def critic(table: Table, kit: TableKit, config: CriticSettings, /) -> Iterator[Row]:
    """Learn from the labelled rows which are good; keep so many that the wanted recall is reached.

    Gives the score (`into`). Rejects `critic_low`, and of the labelled rows those with a bad label
    (`labelled_bad`): what was judged is not judged again by a copy of the judge. Rows without text
    are rejected (`no_text`). The precision-recall curve on the validation rows and what the
    threshold does on the test rows are among the run's figures.
    """
    texts = TextColumn(table, config.all_fields)
    parts = _parts(table, kit, config)
    vectors = None
    if config.embed is not None:
        vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
    score = _learnt(table, kit, config, parts["learn"], vectors)
    threshold = _chosen(kit, config.recall, parts, score)
    levels = _levels(kit, config, parts, score)
    below = unlabelled = 0
    for place, row in enumerate(table):
        text = text_or_none(row.fields, config.all_fields)
        if text is None or not text.strip():
            kit.reject(row, "no_text", f"{', '.join(config.all_fields)} must be text")
            continue
        if vectors is not None and place in vectors.errors:
            kit.fail(row, vectors.errors[place])
            continue
        probability = float(score[place])
        good = _is_good(row.fields, config)
        unlabelled += good is None
        below += good is None and probability < threshold
        if config.reject and good is False:
            label = _at(row.fields, config.label)
            kit.reject(row, "labelled_bad", f"{config.label} is {label!r:.80}")
        elif config.reject and good is None and probability < threshold:
            kit.reject(row, "critic_low", f"score {probability:.4f}, threshold {threshold:.4f}")
        else:
            made_by = () if vectors is None else vectors.made_by(place)
            told: dict[str, Json] = {flag: probability >= level for flag, level in levels.items()}
            yield row.with_fields(**{config.into: probability, **told}).with_made_by(*made_by)
    share = round(below / unlabelled, 4) if unlabelled else 0.0
    kit.note({"unlabelled": unlabelled, "below_threshold": below, "share_below": share})


def _is_good(fields: Fields, config: CriticSettings) -> bool | None:
    """Whether the label is that of a good row; None = it has none."""
    label = _at(fields, config.label)
    if config.good_from is not None:
        if isinstance(label, bool) or not isinstance(label, int | float):
            return None
        return label >= config.good_from
    said = answer_text(label)
    if said is None or label == "":
        return None
    return equivalent(said) in {equivalent(str(good)) for good in config.good}


def _at(fields: Fields, path: str) -> Json:
    value: Json = fields
    for name in [path] if path in fields else path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _parts(table: Table, kit: TableKit, config: CriticSettings) -> dict[str, _Labelled]:
    """The labelled rows by what they are for; by default rows of one source row are on one side.

    Raises:
        NothingToLearn: a part has no good or no bad row.
    """
    parts = {name: _Labelled(places=[], good=[]) for name in PARTS}
    for place, row in enumerate(table):
        good = _is_good(row.fields, config)
        text = text_or_none(row.fields, config.all_fields)
        if good is None or text is None or not text.strip():
            continue
        name = _part_of(row, kit, config)
        if name is None:
            continue
        parts[name].places.append(place)
        parts[name].good.append(good)
    for name in ("learn", "validation"):
        there = {True: sum(parts[name].good), False: len(parts[name].good) - sum(parts[name].good)}
        lacking = [word for good, word in ((True, "good"), (False, "bad")) if not there[good]]
        if lacking:
            raise NothingToLearn(
                f"the critic {kit.desk.step!r} has {len(parts[name].good)} labelled rows to"
                f" {'learn from' if name == 'learn' else 'choose a threshold on'} in"
                f" {config.label!r}, and none of them is {lacking[0]}: label more rows, or look at"
                " `good` and `good_from`"
            )
    return parts


def _part_of(row: Row, kit: TableKit, config: CriticSettings) -> str | None:
    """What a labelled row is for; None = its field names no part, which is counted."""
    if config.split is not None:
        said = row.fields.get(config.split)
        name = next((name for name, called in PARTS.items() if called == said), None)
        if name is None:
            kit.count("labelled, of no split")
        return name
    drawn = int(digest(kit.desk.seed, "critic", row.roots[0]), 16) / 16**16
    if drawn < config.validation:
        return "validation"
    return "test" if drawn < config.validation + config.test else "learn"


def _learnt(
    table: Table,
    kit: TableKit,
    config: CriticSettings,
    learn: _Labelled,
    vectors: Vectors | None,
) -> NDArray[np.float64]:
    """(n_rows,) the probability that each row is good."""
    import numpy as np

    seed = kit.rng.randrange(2**32)
    if config.encoder is not None:
        return _by_encoder(table, kit, config, learn, seed)
    if vectors is None:
        return _of_words(table, config, learn, seed)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=config.regularisation, max_iter=1000, random_state=seed)
    model.fit(vectors.values[learn.places], learn.good)
    scores = np.zeros(len(table))
    for start in range(0, len(scores), AT_ONCE):
        block = vectors.values[start : start + AT_ONCE]
        scores[start : start + AT_ONCE] = model.predict_proba(block)[:, 1]
    return scores


def _of_words(
    table: Table, config: CriticSettings, learn: _Labelled, seed: int
) -> NDArray[np.float64]:
    from synthkd.students.linear import unfitted

    texts = _texts(table, config, learn)
    settings = LinearConfig(
        kind="linear", text="", label="", seed=seed, regularisation=config.regularisation
    )
    model = unfitted(settings)
    try:
        model.fit(texts, learn.good)
    except ValueError as error:  # no text has a word in it, or none that is seen often enough
        fields = ", ".join(config.all_fields)
        raise NothingToLearn(
            f"the critic has no words to learn from in {fields}: {error}"
        ) from error
    return _scored(table, config, lambda texts: model.predict_proba(texts)[:, 1])


def _by_encoder(
    table: Table, kit: TableKit, config: CriticSettings, learn: _Labelled, seed: int
) -> NDArray[np.float64]:
    from synthkd.students import encoder
    from synthkd.students.classifier import Classifier, load

    assert config.encoder is not None  # noqa: S101  that is why it came here
    settings = config.encoder.model_copy(update={"seed": seed})
    kit.desk.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="critic-", dir=kit.desk.work) as temporary:
        folder = Path(temporary)
        with open_rows(folder / "rows.parquet") as add:
            texts = _texts(table, config, learn)
            for place, (text, good) in enumerate(zip(texts, learn.good, strict=True)):
                fields = {ENCODER["text"]: text, ENCODER["label"]: GOOD if good else BAD}
                add(Row(f"{place:016x}", (place,), (), fields))
        write_held_out(folder / "held_out.jsonl", ())
        lesson = Lesson(
            config=ready(settings, kit.desk.folder, offline=False),
            rows=folder / "rows.parquet",
            held_out=folder / "held_out.jsonl",
            made_from={"step": kit.desk.step},
            folder=folder / "student",
            work=folder / "work",
        )
        encoder.train(lesson, lambda line: None)
        student = load(lesson.folder)
    assert isinstance(student, Classifier)  # noqa: S101  it learnt labels
    place = student.labels.index(GOOD)
    return _scored(table, config, lambda texts: student.predict_proba(texts)[:, place])


def _texts(table: Table, config: CriticSettings, part: _Labelled) -> list[str]:
    """The texts of the rows of a part."""
    wanted = set(part.places)
    return [
        text_or_none(row.fields, config.all_fields) or ""
        for place, row in enumerate(table)
        if place in wanted
    ]


def _scored(
    table: Table, config: CriticSettings, score: Callable[[list[str]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(n_rows,) what `score` gives the texts of all rows, some at a time."""
    import numpy as np

    scores, rows, start = np.zeros(len(table)), iter(TextColumn(table, config.all_fields)), 0
    while batch := list(islice(rows, AT_ONCE)):
        scores[start : start + len(batch)] = score(batch)
        start += len(batch)
    return scores


def _chosen(
    kit: TableKit, recall: float, parts: Mapping[str, _Labelled], scores: NDArray[np.float64]
) -> float:
    """The threshold, chosen on validation; the curve and what it does on test are noted."""
    validation = _scores_of(parts["validation"], scores)
    chosen = at_recall(recall, *validation)
    assert chosen is not None  # noqa: S101  there is a good row, so every recall is reached
    threshold = _below(chosen.threshold, validation[0])
    test = cut_at(threshold, *_scores_of(parts["test"], scores))
    learnt = parts["learn"]
    kit.note(
        {
            "learnt_from": len(learnt.good),
            "learnt_from_good": sum(learnt.good),
            "threshold": round(threshold, 6),
            "validation": _told(chosen),
            "test": _told(test),
            "curve": [_told(cut) for cut in _points(curve(*validation))],
        }
    )
    return threshold


def _levels(
    kit: TableKit,
    config: CriticSettings,
    parts: Mapping[str, _Labelled],
    scores: NDArray[np.float64],
) -> dict[str, float]:
    """Flag -> threshold, each chosen on validation alone; what they do on test is noted."""
    validation, test = (_scores_of(parts[name], scores) for name in ("validation", "test"))
    levels: dict[str, float] = {}
    for recall in sorted(set(config.recalls)):
        chosen = at_recall(recall, *validation)
        assert chosen is not None  # noqa: S101  as above
        flag = config.flag(recall)
        levels[flag] = _below(chosen.threshold, validation[0])
        kit.note({f"{flag} on test": _told(cut_at(levels[flag], *test))})
    return levels


def _scores_of(part: _Labelled, scores: NDArray[np.float64]) -> tuple[list[float], list[bool]]:
    return [float(scores[place]) for place in part.places], part.good


def _below(threshold: float, scores: Sequence[float]) -> float:
    """Half way to the next lower score: cuts the same rows, and has room for ones like the last."""
    return (threshold + max((score for score in scores if score < threshold), default=0.0)) / 2


def _points(cuts: Sequence[Cut]) -> list[Cut]:
    """The first cut that reaches each of the recalls that are kept."""
    wanted = [(place + 1) / POINTS for place in range(POINTS)]
    found = [next(cut for cut in cuts if (cut.recall or 0) >= recall - 1e-9) for recall in wanted]
    return list(dict.fromkeys(found))


def _told(cut: Cut) -> dict[str, Json]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(cut).items()
    }
