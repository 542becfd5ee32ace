"""Partitions: planted groups are found, chance is a seed, odd tables have stated outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from synthkd.curate.clusters import kmeans, spectral
from synthkd.errors import UserError

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


def planted(n: int, groups: int, noise: float = 0.1) -> tuple[Floats, Labels]:
    """Vectors of unit length around as many directions, and who belongs where."""
    rng = np.random.default_rng(groups)
    centres = rng.standard_normal((groups, 32))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    truth = np.arange(n, dtype=np.int32) % groups
    vectors = centres[truth] + noise * rng.standard_normal((n, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), truth


@pytest.mark.parametrize("method", ["kmeans", "minibatch", "faiss_kmeans"])
def test_planted_groups_are_found_and_the_seed_decides(method: str) -> None:
    if method == "faiss_kmeans":
        pytest.importorskip("faiss")
    partition = getattr(kmeans, method)
    vectors, truth = planted(900, 6)
    labels = partition(vectors, 6, 1)
    assert labels.dtype == np.int32
    assert adjusted_rand_score(truth, labels) > 0.95
    assert (labels == partition(vectors, 6, 1)).all()


def test_vectors_may_lie_on_disk_read_only(tmp_path: object) -> None:
    vectors, truth = planted(900, 4)
    on_disk = np.memmap("v", dtype=np.float32, mode="w+", shape=vectors.shape)
    on_disk[:] = vectors
    on_disk.flags.writeable = False
    for partition in (kmeans.kmeans, kmeans.minibatch):
        assert adjusted_rand_score(truth, partition(on_disk, 4, 0)) > 0.95


def test_faiss_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(UserError, match=r"pip install 'synthkd\[dedup\]'"):
        kmeans.faiss_kmeans(planted(20, 2)[0], 2, 0)


def test_hdbscan_finds_groups_and_leaves_strays_out() -> None:
    vectors, truth = planted(300, 3, noise=0.05)
    strays = np.random.default_rng(0).standard_normal((20, 32)).astype(np.float32)
    strays /= np.linalg.norm(strays, axis=1, keepdims=True)
    labels = kmeans.hdbscan(np.concatenate([vectors, strays]), 20)
    assert adjusted_rand_score(truth, labels[:300]) > 0.95
    assert (labels[300:] == -1).mean() > 0.8


@pytest.mark.parametrize("n", [0, 1, 5])
def test_hdbscan_of_few_rows_finds_no_group(n: int) -> None:
    assert (kmeans.hdbscan(planted(n, 1)[0], 10) == -1).all()


def test_too_many_rows_for_a_method_are_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match="for fewer than 10,000 rows, and 10,000 came"):
        kmeans.hdbscan(np.zeros((10_000, 2), dtype=np.float32), 5)
    with pytest.raises(UserError, match="for at most 4,000 rows, and 4,001 came"):
        spectral.spectral(np.zeros((4_001, 2), dtype=np.float32), 2, 0)


@pytest.mark.parametrize(("n", "groups"), [(60, 3), (300, 5), (700, 4)])
def test_spectral_finds_planted_groups_and_their_number(n: int, groups: int) -> None:
    vectors, truth = planted(n, groups)
    labels, k = spectral.spectral(vectors, None, 0)
    assert k == groups
    assert adjusted_rand_score(truth, labels) > 0.95
    again, _ = spectral.spectral(vectors, groups, 5)
    assert adjusted_rand_score(labels, again) == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_spectral_of_few_or_equal_rows_is_defined(n: int) -> None:
    for vectors in (planted(n, n)[0], np.full((n, 4), 0.5, dtype=np.float32)):
        for k in (None, 1, 2, 5):
            labels, _ = spectral.spectral(vectors, k, 0)
            assert labels.shape == (n,)
            assert labels.min() >= 0


def test_the_affinity_is_symmetric_and_its_largest_eigenvalue_is_one() -> None:
    vectors, _ = planted(80, 3, noise=0.5)
    matrix = spectral._normalised(spectral._affinity(vectors)).toarray()
    assert matrix == pytest.approx(matrix.T, abs=1e-12)
    assert np.linalg.eigvalsh(matrix)[-1] == pytest.approx(1)


def test_both_solvers_span_the_same_space(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = planted(200, 4, noise=0.3)
    dense = spectral._coordinates(vectors, 4, 0)
    monkeypatch.setattr(spectral, "DENSE_UP_TO", 0)
    sparse = spectral._coordinates(vectors, 4, 0)
    assert dense @ dense.T == pytest.approx(sparse @ sparse.T, abs=1e-6)


def test_different_stops_counting_when_there_are_enough() -> None:
    vectors = np.repeat(planted(3, 3)[0], 4, axis=0)
    assert [kmeans.different(vectors, enough) for enough in (1, 3, 9)] == [1, 3, 3]
