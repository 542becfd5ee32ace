"""The world `pool`: asked for an example of a class, it hands out a real one that nobody has seen.

A teacher that writes new examples is simulated by one that has a pool of them: asked for examples
of a class like a given text, it gives near ones of that class in the pool (cosine of TF-IDF),
chosen by chance, the nearer the likelier. Its examples are real and rightly labelled, up to the
error rate: what is measured with it is the way of asking, not how well a model writes.

Asked to go on with a list (the prompts in instruct/), it hands out texts of the pool drawn evenly,
in different answers the same ones now and then, as a model comes back to what it has said: so
recorded instructions are given as if the teacher wrote them now. At the error rate an item is one
that it was shown.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from synthkd.config import PoolConfig
from synthkd.errors import PromptError, UserError
from synthkd.hints import near
from synthkd.io.formats import jsonl_reader, parquet_reader
from synthkd.io.paths import find_file
from synthkd.rows import Fields
from synthkd.teachers.simulated.world import role_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPREAD = 3
"""An example that r others are nearer than is given with weight exp(-r / (SPREAD x n)) when n are
asked for: near ones first, yet whoever asks often comes to others, as with a model."""


class Pool:
    """Texts with labels; see the module.

    Args:
        config: which file, and which of its columns.
        base: the pipeline file's folder.
        error_rate: share of examples that are of another class than they say.

    Raises:
        UserError: the file cannot be read, lacks a column, or has nothing in it.
    """

    version = 2

    def __init__(self, config: PoolConfig, base: Path, error_rate: float) -> None:
        path = find_file(config.parquet or config.jsonl or "", base)
        self.error_rate = error_rate
        self.texts, self.labels = _read(config, path)
        told = orjson.dumps([self.texts, self.labels])
        self.knows = f"pool={hashlib.sha256(told).hexdigest()[:16]}"
        self._vectors: Any = None

    def answer(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """JSON: `{"examples": [{"text": ..., "label": ...}, ...]}`; or a numbered list."""
        if role_of(prompt, ("examples", "instruct"), "pool") == "instruct":
            return self._list(prompt, inputs, rng)
        for name in ("label", "text", "n"):
            if name not in inputs:
                raise PromptError(
                    f"the simulated world 'pool' reads the inputs label, text and n; the prompt"
                    f" {prompt!r} has {', '.join(sorted(inputs))}"
                )
        if not any(self.labels):
            raise PromptError(
                f"the simulated world 'pool' is asked for a class by the prompt {prompt!r}, and its"
                " texts have none: name the column in simulated.pool.label"
            )
        label, n = str(inputs["label"]), int(str(inputs["n"]))
        if label not in self.labels:
            raise PromptError(
                f"the simulated world 'pool' has no example of {label!r}"
                f"{near(label, set(self.labels))}"
            )
        examples = [
            {"text": self.texts[self._slip(place, rng)], "label": label}
            for place in self._near(str(inputs["text"]), label, n, rng)
        ]
        return orjson.dumps({"examples": examples}).decode()

    def _list(self, prompt: str, inputs: Fields, rng: random.Random) -> str:
        """The items from `first` to `last` of a list of which some are shown."""
        shown = inputs.get("instructions")
        if not isinstance(shown, list | tuple) or not {"first", "last"} <= inputs.keys():
            raise PromptError(
                f"the simulated world 'pool' goes on with lists, and reads the inputs instructions,"
                f" first and last; the prompt {prompt!r} has {', '.join(sorted(inputs))}"
            )
        first, last = (int(str(inputs[name])) for name in ("first", "last"))
        drawn = rng.sample(self.texts, min(last - first + 1, len(self.texts)))
        items = [
            rng.choice(shown) if shown and rng.random() < self.error_rate else one for one in drawn
        ]
        return "\n".join(
            f"{number}. {' '.join(str(one).split())}" for number, one in enumerate(items, first)
        )

    def run_on(self, prompt: str, rng: random.Random) -> str:
        """See `World`."""
        return f"\n\nMessage: {rng.choice(self.texts)}"

    def _slip(self, place: int, rng: random.Random) -> int:
        """The place, or at the error rate one of another class."""
        if rng.random() >= self.error_rate:
            return place
        others = [n for n, label in enumerate(self.labels) if label != self.labels[place]]
        return rng.choice(others) if others else place

    def _near(self, text: str, label: str, n: int, rng: random.Random) -> list[int]:
        """The places of n texts of the class; see `SPREAD`."""
        import numpy as np

        similar = self._similar(text)
        places = np.flatnonzero(np.asarray(self.labels) == label)
        ranked = places[np.argsort(-similar[places], kind="stable")]
        # The first n of exponential arrivals at these rates are a draw with these weights.
        times = [rng.expovariate(1.0) * math.exp(r / (SPREAD * n)) for r in range(len(ranked))]
        return [int(place) for place in ranked[np.argsort(times, kind="stable")[:n]]]

    def _similar(self, text: str) -> NDArray[np.float64]:
        """(n_texts,) cosines."""
        if self._vectors is None:
            from sklearn.feature_extraction.text import TfidfVectorizer

            vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
            self._vectors = vectorizer, vectorizer.fit_transform(self.texts)
        vectorizer, vectors = self._vectors
        similar: NDArray[np.float64] = (vectors @ vectorizer.transform([text]).T).toarray()[:, 0]
        return similar


def _read(config: PoolConfig, path: Path) -> tuple[Sequence[str], Sequence[str]]:
    reader = jsonl_reader(path) if config.jsonl is not None else parquet_reader(path)
    names = [config.text, *([] if config.label is None else [config.label])]
    texts, labels = [], []
    for number, record in reader.records({}):
        if number <= config.skip:
            continue
        if isinstance(record, str):
            raise UserError(f"simulated.pool: {path}, {reader.unit} {number}: {record}")
        values = [record.get(name) for name in names]
        if not all(isinstance(value, str | int) for value in values):
            raise UserError(
                f"simulated.pool: {path}, {reader.unit} {number}: has no text in"
                f" {' and '.join(map(repr, names))}, got {values!r:.80}; it has {', '.join(record)}"
            )
        texts.append(str(values[0]))
        labels.append(str(values[-1]) if config.label is not None else "")
    if not texts:
        raise UserError(f"simulated.pool: {path} has no row after the first {config.skip}")
    return texts, labels
