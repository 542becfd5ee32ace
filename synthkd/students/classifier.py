"""A trained encoder: it answers a text with a label, or with the spans that it finds.

student = load(Path("out/student"))
student.predict(["Where is my card?"])    # ['card_arrival']
student.predict(["Ship it to Lisbon"])    # of spans: ['[{"end":17,"label":"city","start":11}]']

model.safetensors, config.json    the model; its labels, or tags, are in `id2label`
tokenizer files
student.json, README.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkd.config import EncoderConfig
from synthkd.students import machine, pretrained
from synthkd.students.artefact import damaged, read_about
from synthkd.students.spans import Span, as_json, spans_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 32
"""Texts at once when it is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """What a trained encoder of either sort has."""

    folder: Path
    fingerprint: str
    about: Mapping[str, Any]
    """The content of student.json."""
    config: EncoderConfig
    labels: tuple[str, ...]
    """The classes of the model: labels, or tags."""
    model: Any
    """Of transformers, in evaluation mode."""
    tokenizer: Any

    def _logits(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any]]:
        """Batches of like length: (places in texts, logits on the CPU, offsets of the tokens)."""
        import torch

        by_length = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        for start in range(0, len(texts), BATCH):
            places = by_length[start : start + BATCH]
            batch = self.tokenizer(
                [texts[place] for place in places],
                truncation=True,
                max_length=self.config.max_length,
                padding=True,
                padding_side="right",
                return_offsets_mapping=self.config.spans is not None,
                return_tensors="pt",
            )
            offsets = batch.pop("offset_mapping", None)
            with torch.inference_mode():
                logits = self.model(**batch.to(self.model.device)).logits.cpu()
            yield places, logits, offsets if offsets is None else offsets.tolist()


class Classifier(Encoder):
    """It answers a text with a label."""

    __slots__ = ()

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text."""
        return [self.labels[place] for place in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n_texts, n_labels) float64, each row sums to 1."""
        import numpy as np

        found = np.empty((len(texts), len(self.labels)))
        for places, logits, _ in self._logits(texts):
            found[places] = logits.double().softmax(dim=-1).numpy()
        return found


class SpanFinder(Encoder):
    """It answers a text with the spans in it."""

    __slots__ = ()

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The spans of each text, as JSON text: see `spans.as_json`."""
        return [as_json(spans) for spans in self.find(texts)]

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text; those beyond max_length are not seen."""
        found: list[list[Span]] = [[] for _ in texts]
        for places, logits, offsets in self._logits(texts):
            likeliest = logits.argmax(dim=-1).tolist()
            for place, row, each in zip(places, likeliest, offsets, strict=True):
                tags = [self.labels[i] for i in row[: len(each)]]
                found[place] = spans_in(tags, each, texts[place])
        return found


def load(folder: Path) -> Classifier | SpanFinder:
    """The student in a folder; no code that the folder may hold is run.

    Raises:
        UserError: there is no whole student, or it cannot be loaded here.
    """
    machine.quiet()
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    about = read_about(folder)
    try:
        config = EncoderConfig.model_validate(about["config"])
    except (ValueError, KeyError) as error:
        raise damaged(folder, error) from None
    auto: Any = AutoModelForSequenceClassification
    student: type[Classifier | SpanFinder] = Classifier
    if config.spans is not None:
        auto, student = AutoModelForTokenClassification, SpanFinder
    model, tokenizer = pretrained.load_saved(auto, folder)
    return student(
        folder=folder,
        fingerprint=about["fingerprint"],
        about=about,
        config=config,
        labels=tuple(model.config.id2label[i] for i in range(model.config.num_labels)),
        model=model,
        tokenizer=tokenizer,
    )
