"""`figures.diversity`: how much the texts of a table differ, as figures in the manifest.

    - use: figures.diversity
      with: {field: instruction, cluster: cluster}

It passes every row on. Put it before and after a selection, and look at the two side by side in
`synthkd show`; figures of tables of different size are not comparable, since nearly all of them
fall as a table grows.

* distinct_n: different n-grams of words over all n-grams (Li et al., 1510.03055, section 5)
* compression: bytes of all texts over compressed bytes, by gzip as in Shaib et al. (2403.00553,
  section 3), which sees repetition 32 kB back, and by zstd, which sees it anywhere; higher = less
  diverse
* vendi: exp of the entropy of the eigenvalues of the similarity matrix over n (Friedman and Dieng,
  2210.02410, section 3): the number of texts, were all of them unlike each other
* nearest: cosine of each text with the nearest other one, as a histogram and a mean
* clusters: how many have rows, and how evenly (exp of the entropy of their shares)
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import PositiveInt, model_validator

from synthkd.curate.embed import EmbedSettings, TextColumn, open_embedder
from synthkd.curate.texts import FieldOrFields, text_or_none
from synthkd.curate.tfidf import WORDS, TfidfSettings
from synthkd.io.spool import Table
from synthkd.rows import Json, Row
from synthkd.steps import TableKit, table_step

if TYPE_CHECKING:
    import random

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

DISTINCT_TEXTS = 10_000
"""Texts whose n-grams are counted; of more, so many by chance: all n-grams are in memory."""
LONGEST = 3
ZSTD_WINDOW = 27
"""2^27 = 134 MB that zstd looks back over."""
NEAREST_FROM = 2_000
NEAREST_AMONG = 100_000
"""For so many rows by chance the nearest is looked for among so many: some seconds of one core."""
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
CHUNK = 8_192


class DiversityConfig(FieldOrFields):
    """How much the texts of a table differ."""

    embed: EmbedSettings | None = TfidfSettings()
    """Who makes the vectors for vendi and nearest; null = these are left out. TF-IDF learns its
    weights from the very table: compare two tables by a model that is the same for both."""
    cluster: str | None = None
    """The field with the cluster, as `cluster.assign` gives it."""
    clusters: PositiveInt | None = None
    """How many clusters there are, for the share that has rows; null = unknown."""

    @model_validator(mode="after")
    def _clusters_of_a_field(self) -> DiversityConfig:
        if self.clusters is not None and self.cluster is None:
            raise ValueError("clusters goes with `cluster`, the field that holds them")
        return self


def _needs(config: DiversityConfig) -> list[str]:
    return [*config.all_fields, *([config.cluster] if config.cluster is not None else [])]


@table_step("figures.diversity", needs=_needs)
def diversity(table: Table, kit: TableKit, config: DiversityConfig, /) -> Iterator[Row]:
    """Notes figures of diversity and passes every row on, those without text too."""
    texts = TextColumn(table, config.all_fields)
    figures: dict[str, Json] = {"rows": len(table)}
    if without := sum(text_or_none(row.fields, config.all_fields) is None for row in table):
        figures["rows_without_text"] = without
    figures |= distinct_n(texts, kit.rng)
    figures["compression"] = compression(texts)
    if config.embed is not None:
        vectors = open_embedder(config.embed, kit, fit_on=texts).vectors(texts)
        figures["vendi"] = vendi(vectors.values)
        figures["nearest"] = nearest_figures(vectors.values, kit.rng)
    if config.cluster is not None:
        found = [row.fields.get(config.cluster) for row in table]
        figures["in_clusters"] = clusters_filled(found, config.clusters)
    kit.note(figures)
    yield from table


def distinct_n(texts: TextColumn | Sequence[str], rng: random.Random) -> dict[str, Json]:
    """distinct_1 to distinct_3; null where no text has so many words."""
    n = len(texts)
    chosen = None if n <= DISTINCT_TEXTS else set(rng.sample(range(n), DISTINCT_TEXTS))
    seen: list[set[int]] = [set() for _ in range(LONGEST)]
    total = [0] * LONGEST
    known: dict[str, int] = {}
    for place, text in enumerate(texts):
        if chosen is not None and place not in chosen:
            continue
        words = [known.setdefault(word, len(known)) for word in WORDS.findall(text.lower())]
        for length in range(1, LONGEST + 1):
            grams = zip(*(words[start:] for start in range(length)), strict=False)
            seen[length - 1].update(map(hash, grams))
            total[length - 1] += max(0, len(words) - length + 1)
    found: dict[str, Json] = {
        f"distinct_{length}": round(len(seen[length - 1]) / total[length - 1], 4)
        if total[length - 1]
        else None
        for length in range(1, LONGEST + 1)
    }
    return found if chosen is None else {**found, "distinct_of_rows": DISTINCT_TEXTS}


def compression(texts: TextColumn | Sequence[str]) -> dict[str, Json]:
    """Bytes over compressed bytes, texts a line each in their order; null = there is no text."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=ZSTD_WINDOW, enable_ldm=True
    )
    zstd = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    gzip = zlib.compressobj(wbits=31)
    size, by_gzip, by_zstd = 0, 0, 0
    for text in texts:
        told = f"{text}\n".encode("utf-8", "surrogatepass")
        size += len(told)
        by_gzip += len(gzip.compress(told))
        by_zstd += len(zstd.compress(told))
    by_gzip += len(gzip.flush())
    by_zstd += len(zstd.flush())
    if not size:
        return {"gzip": None, "zstd": None}
    return {"gzip": round(size / by_gzip, 3), "zstd": round(size / by_zstd, 3)}


def vendi(vectors: Floats) -> float:
    """The Vendi score of (n, d) vectors of unit length under the cosine; zero vectors left out.

    Exact at any n: XX^T / n, (n, n), and X^T X / n, (d, d), have the same eigenvalues besides
    zeros. At most min(n, d).
    """
    import numpy as np

    d = vectors.shape[1]
    gram, n = np.zeros((d, d)), 0
    for start in range(0, len(vectors), CHUNK):
        block = np.asarray(vectors[start : start + CHUNK], dtype=np.float64)
        gram += block.T @ block
        n += int(block.any(axis=1).sum())
    if n == 0:
        return 0.0
    shares = np.linalg.eigvalsh(gram / n)
    shares = shares[shares > 1e-12]
    return round(math.exp(-float((shares * np.log(shares)).sum())), 3)


def nearest_figures(vectors: Floats, rng: random.Random) -> dict[str, Json]:
    """Of the cosines with the nearest other text: their mean, and the share in each range."""
    import numpy as np

    filled = _filled(vectors)
    if len(filled) < 2:
        return {"rows": 0}
    among = filled if len(filled) <= NEAREST_AMONG else _some(filled, NEAREST_AMONG, rng)
    asked = among if len(among) <= NEAREST_FROM else _some(among, NEAREST_FROM, rng)
    questions = np.asarray(vectors[asked])
    best = np.full(len(asked), -np.inf, dtype=np.float32)
    for start in range(0, len(among), CHUNK):
        places = among[start : start + CHUNK]
        cosines = questions @ np.asarray(vectors[places]).T
        cosines[asked[:, None] == places[None, :]] = -np.inf  # nobody is his own neighbour
        np.maximum(best, cosines.max(axis=1), out=best)
    counts = np.bincount(np.searchsorted(BINS, best, side="right"), minlength=len(BINS) + 1)
    edges = [f"below {BINS[0]}", *(f"from {edge}" for edge in BINS)]
    shares = {name: round(int(n) / len(asked), 4) for name, n in zip(edges, counts, strict=True)}
    return {
        "rows": len(asked),
        "among": len(among),
        "mean": round(float(best.mean()), 4),
        **shares,
    }


def _filled(vectors: Floats) -> NDArray[np.intp]:
    import numpy as np

    blocks = [
        np.flatnonzero(vectors[start : start + CHUNK].any(axis=1)) + start
        for start in range(0, len(vectors), CHUNK)
    ]
    return np.concatenate([np.empty(0, dtype=np.intp), *blocks])


def _some(places: NDArray[np.intp], count: int, rng: random.Random) -> NDArray[np.intp]:
    chosen: NDArray[np.intp] = places[sorted(rng.sample(range(len(places)), count))]
    return chosen


def clusters_filled(found: Sequence[Json], clusters: int | None) -> dict[str, Json]:
    """How many clusters have rows, and how many equal ones would be as even; null is none."""
    sizes = Counter(str(cluster) for cluster in found if cluster is not None)
    n = sizes.total()
    entropy = -sum(size / n * math.log(size / n) for size in sizes.values())
    figures: dict[str, Json] = {
        "filled": len(sizes),
        "as_even_as": round(math.exp(entropy), 2) if n else 0.0,
        "rows_in_none": len(found) - n,
    }
    if clusters is not None:
        figures["share_filled"] = round(len(sizes) / clusters, 4)
    return figures
