"""Embedders: unit length, on disk, made once; bad texts and bad vectors have stated outcomes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from synthkd.curate import embed
from synthkd.curate.embed import (
    EmbedSettings,
    Endpoint,
    Local,
    TextColumn,
    Vectors,
    embeddable,
    open_embedder,
)
from synthkd.curate.encoders import check_modules
from synthkd.curate.tfidf import TfidfModel, TfidfSettings
from synthkd.desk import Desk
from synthkd.errors import DiskFailed, Rejected, TeacherError, Unanswered, UserError, Waiting
from synthkd.io.spool import RowSpool, Table
from synthkd.plan import teachers_of
from synthkd.rows import Fields, Row, source_row
from synthkd.steps import StepSettings
from synthkd.table_kit import Embedded, TableKit

SIMILAR = ["How do I return my order?", "how do I return an order", "The weather is fine in May"]
CJK = ["如何退回我的订单", "我想退回订单", "今天天气很好", "明日の天気は晴れです"]


def kit(step: str = "clusters") -> TableKit:
    return TableKit(Desk(step=step))


def embedded(texts: list[str], kind: Any = None, at: TableKit | None = None) -> Vectors:
    chosen = TypeAdapter[Any](EmbedSettings).validate_python(kind or {"kind": "tfidf"})
    return open_embedder(chosen, at or kit(), fit_on=texts).vectors(texts)


def lengths(vectors: Vectors) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.linalg.norm(vectors.values, axis=1)
    return norms


@pytest.mark.parametrize("texts", [SIMILAR, CJK])
def test_alike_texts_lie_close_in_any_script(texts: list[str]) -> None:
    vectors = embedded(texts)
    assert vectors.values.dtype == np.float32
    assert isinstance(vectors.values, np.memmap)
    assert not vectors.values.flags.writeable
    near, far = vectors.values[0] @ vectors.values[1], vectors.values[0] @ vectors.values[2]
    assert near > far + 0.2
    assert lengths(vectors) == pytest.approx(1, abs=1e-6)


words = st.text(st.sampled_from("ab ä漢.\u202e\ud800\n"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(words, max_size=12))
def test_whatever_the_texts_vectors_have_unit_length_or_are_blank(texts: list[str]) -> None:
    vectors = embedded(texts)
    assert len(vectors) == len(texts)
    assert not vectors.errors
    norms = lengths(vectors)
    assert np.isclose(norms, 1, atol=1e-5).sum() + (norms == 0).sum() == len(texts)
    assert ((norms == 0) == vectors.is_blank).all()
    for one, text in enumerate(texts):
        for other in range(one):
            if texts[other] == text:
                assert (vectors.values[one] == vectors.values[other]).all()


@pytest.mark.parametrize(
    "texts", [[], [""], ["one"], ["same"] * 5, ["", " ", "\n"], ["!!!", "???"]], ids=str
)
def test_small_and_empty_tables(texts: list[str]) -> None:
    vectors = embedded(texts)
    assert vectors.values.shape[0] == len(texts)
    filled = np.array([bool(text.strip()) for text in texts], dtype=bool)
    assert (vectors.is_blank == ~filled).all()


def test_a_text_of_5_mb_is_embedded_by_its_beginning() -> None:
    start = "order " * 10_000
    vectors = embedded([start + "x" * 5_000_000, start, "other"])
    assert vectors.values[0] @ vectors.values[1] == pytest.approx(1)


def test_the_model_does_not_depend_on_order_or_copies() -> None:
    texts = [f"text number {n} of some" for n in range(50)]
    config = TfidfSettings(fit_texts=20)
    models = [
        TfidfModel(config, given) for given in (texts, texts[::-1] + texts[:9], [*texts, "", " "])
    ]
    assert len({model.identity for model in models}) == 1
    made = [model.compute(texts[:3]) for model in models]
    assert (made[0] == made[1]).all()
    assert (made[0] == made[2]).all()
    assert TfidfModel(TfidfSettings(fit_texts=20, seed=1), texts).identity != models[0].identity


class Counting:
    """A model that tells what it was asked to compute."""

    def __init__(self, fitted: bool = False, bad: str = "") -> None:
        self.fitted = fitted
        self.identity = "c" * 64
        self.seen: list[str] = []
        self._bad = bad

    def compute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        made = [[len(t), np.nan if t == self._bad else 1.0, 0.5] for t in texts]
        return np.array(made, dtype=np.float32)


def test_each_text_is_computed_once_and_a_second_run_computes_nothing() -> None:
    model = Counting()
    first = Local(kit(), model).vectors(["a", "bb", "a", "", "bb"])
    assert sorted(model.seen) == ["a", "bb"]
    second = Local(kit("other step"), model).vectors(["bb", "a", "ccc"])
    assert model.seen[2:] == ["ccc"]
    assert (second.values[1] == first.values[0]).all()
    assert (second.values[0] == first.values[4]).all()


def test_a_vector_that_is_not_finite_fails_its_row_alone() -> None:
    given: list[Fields] = [{"t": "a"}, {"t": "bad"}, {}, {"t": 5}, {"t": ""}]
    rows = [source_row("s", [i], ordinal=i, fields=fields) for i, fields in enumerate(given)]
    with RowSpool.of(Path("spool"), rows) as spool:
        table, at = Table(spool), kit()
        texts = TextColumn(table, ["t"])
        vectors = Local(at, Counting(bad="bad")).vectors(texts)
        passed: list[tuple[int, Row]] = list(embeddable(table, at, ["t"], vectors))
    assert [place for place, _ in passed] == [0, 4]
    whys = [why.reason if isinstance(why, Rejected) else str(why) for _, why in at.take_gone()]
    assert whys == [
        "the vector of this text is not finite: the model fails on it",
        "missing_field",
        "no_text",
    ]
    assert vectors.is_blank.tolist() == [False, True, True, True, True]
    assert np.isfinite(vectors.values).all()


def test_fitted_models_that_no_run_uses_are_forgotten() -> None:
    at = kit()
    embedded(["one table"], at=at)
    (old,) = at.desk.vectors.iterdir()
    Local(at, Counting()).vectors(["kept for good"])
    month_ago = time.time() - 31 * 86_400
    for path in at.desk.vectors.glob("*/*"):
        os.utime(path, (month_ago, month_ago))
    embedded(["another table"], at=at)
    assert not old.exists()
    assert len(list(at.desk.vectors.iterdir())) == 2  # the new one, and what is not fitted


def test_scratch_goes_with_the_step() -> None:
    at = kit()
    embedded(["a", "b"], at=at)
    assert list(at.desk.work.rglob("*-vectors"))
    at.close()
    assert not list(at.desk.work.rglob("*-vectors"))


class Holder(StepSettings):
    embed: EmbedSettings = TfidfSettings()


def test_settings_name_their_faults_and_the_teacher_is_counted() -> None:
    assert teachers_of(Holder()) == ()
    block = {"kind": "endpoint", "teacher": "e"}
    assert teachers_of(Holder.model_validate({"embed": block})) == ("e",)
    with pytest.raises(ValidationError, match="kind"):
        Holder.model_validate({"embed": {"kind": "word2vec"}})
    with pytest.raises(ValidationError, match="model"):
        Holder.model_validate({"embed": {"kind": "model2vec"}})


# --- endpoints


class Teaching(TableKit):
    """Gives the vectors of a list instead of asking; an error in it is raised."""

    def __init__(self, *given: list[float] | Waiting | TeacherError) -> None:
        super().__init__(Desk(step="s"))
        self.given = list(given)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], *, teacher: str) -> list[Embedded | TeacherError]:
        self.asked += texts
        made: list[Embedded | TeacherError] = []
        for _ in texts:
            one = self.given.pop(0)
            if isinstance(one, Waiting):
                raise one
            made.append(
                one if isinstance(one, TeacherError) else Embedded(array("f", one), "ab" * 32)
            )
        return made


def test_an_endpoints_bad_vectors_fail_their_rows_and_blank_texts_are_not_sent() -> None:
    at = Teaching([0.6, 0.8], [float("nan"), 0.0], Unanswered("no"), [1.0, 0.0])
    vectors = Endpoint(at, "t").vectors(["a", "", "nan", "none", "b"])
    assert at.asked == ["a", "nan", "none", "b"]
    assert sorted(vectors.errors) == [2, 3]
    assert vectors.is_blank.tolist() == [False, True, True, True, False]
    assert [len(vectors.made_by(place)) for place in (0, 1, 3, 4)] == [1, 0, 0, 1]
    assert vectors.made_by(0) == ("ab" * 32,)


def test_vectors_of_two_lengths_are_two_models() -> None:
    with pytest.raises(UserError, match="2 and of 3 dimensions"):
        Endpoint(Teaching([0.6, 0.8], [1.0, 0.0, 0.0]), "t").vectors(["a", "b"])


def test_what_waits_for_a_batch_does_not_keep_the_others_out_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embed, "ASKED", 1)
    at = Teaching(Waiting("in a batch"), [1.0, 0.0], Waiting("in a batch"))
    with pytest.raises(Waiting):
        Endpoint(at, "t").vectors(["a", "b", "c"])
    assert at.asked == ["a", "b", "c"]


# --- encoders


def word_tokenizer(words: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def static_model(folder: Path) -> Path:
    """A model2vec model of five words, made here."""
    model2vec = pytest.importorskip("model2vec")
    tokenizer = word_tokenizer({"[UNK]": 0, "red": 1, "crimson": 2, "dog": 3, "[PAD]": 4})
    vectors = np.array([[0, 0, 0.1], [1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 0]], dtype="f4")
    model2vec.StaticModel(vectors, tokenizer).save_pretrained(folder)
    return folder


def test_model2vec_from_a_folder(tmp_path: Path) -> None:
    folder = static_model(tmp_path / "m")
    block = {"kind": "model2vec", "model": str(folder)}
    vectors = embedded(["red", "crimson", "dog", "", "unheard of"], block)
    assert vectors.values[0] @ vectors.values[1] > 0.9 > vectors.values[0] @ vectors.values[2]
    assert vectors.is_blank.tolist()[:4] == [False, False, False, True]
    stored = list(kit().desk.vectors.iterdir())
    # Another model in the same place is another model.
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "note": 1}))
    embedded(["red"], block)
    assert len(list(kit().desk.vectors.iterdir())) == len(stored) + 1


@pytest.mark.parametrize("kind", ["model2vec", "sentence_transformers"])
def test_models_that_are_not_there_or_damaged_are_named(tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind)
    with pytest.raises(UserError, match="no such folder"):
        embedded(["a"], {"kind": kind, "model": str(tmp_path / "none")})
    with pytest.raises(UserError, match="NOT_SET is not set"):
        embedded(["a"], {"kind": kind, "model": "${NOT_SET}/m"})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded"):
        embedded(["a"], {"kind": kind, "model": str(tmp_path / "bad")})


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ('[{"type": "os.system"}]', "names 'os.system'"),
        ('[{"type": "mine.Module"}]', "is not run"),
        ("{}[", "is no list of modules"),
        ("[1]", "is no list of modules"),
    ],
)
def test_an_encoder_that_brings_code_is_refused(tmp_path: Path, listed: str, said: str) -> None:
    (tmp_path / "modules.json").write_text(listed)
    with pytest.raises(UserError, match=said):
        check_modules(tmp_path)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("model2vec", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UserError, match=r"pip install 'synthkd\[embed\]'"):
            embedded(["a"], {"kind": library, "model": "m"})


def test_a_sentence_encoder_from_a_folder(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    transformers: Any = pytest.importorskip("transformers")
    plain = tmp_path / "plain"
    tokens = transformers.PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer({"[UNK]": 0, "red": 1, "dog": 2, "[PAD]": 3}),
        unk_token="[UNK]",
        pad_token="[PAD]",
    )
    tokens.save_pretrained(plain)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=4, intermediate_size=16, **shape)
    transformers.BertModel(config).save_pretrained(plain)
    library.SentenceTransformer(str(plain), device="cpu").save(str(tmp_path / "m"))
    block = {"kind": "sentence_transformers", "model": str(tmp_path / "m"), "device": "cpu"}
    vectors = embedded(["red", "dog", "red dog", ""], block)
    assert vectors.values.shape == (4, 8)
    assert lengths(vectors)[:3] == pytest.approx(1, abs=1e-5)


EMBEDS = """
import time
import numpy as np
from synthkd.curate import embed
from synthkd.desk import Desk
from synthkd.table_kit import TableKit
embed.SEGMENT_TEXTS = 50

class Slow:
    fitted = False
    identity = "5" * 64
    def compute(self, texts):
        time.sleep(0.01)
        return np.array([[len(text), text.count("7"), 1] for text in texts], dtype=np.float32)

texts = [f"text number {n} about {n % 7} things and {n % 11} more" for n in range(1000)]
vectors = embed.Local(TableKit(Desk(step="s")), Slow()).vectors(texts)
print(vectors.values.sum(), flush=True)
"""


def test_kill_9_keeps_whole_segments_and_the_rest_is_made(tmp_path: Path) -> None:
    def run() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", EMBEDS], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )

    first = run()
    deadline = time.monotonic() + 40
    while len(list(tmp_path.glob(".synthkd/vectors/*/*.vectors"))) < 3:
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob(".synthkd/vectors/*/*.vectors")}
    second, _ = run().communicate()
    third, _ = run().communicate()
    assert second == third
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert len(list(tmp_path.glob(".synthkd/vectors/*/*.vectors"))) == 20


def test_a_full_disk_ends_the_run_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Without its room taken first, a full disk is a SIGBUS in the middle of NumPy.
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFailed, match=r"cannot use .*vectors: No space left"):
        embedded(["one", "two"])


def test_the_room_for_vectors_is_taken_before_they_are_written(tmp_path: Path) -> None:
    room = embed.mapped(tmp_path / "room", 1_000, 256)
    assert room.shape == (1_000, 256)
    assert not room.any()
    assert (tmp_path / "room").stat().st_blocks * 512 >= room.nbytes
