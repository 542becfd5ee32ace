"""Models that are not whole, or read less than they are let write: said, never made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
)

from synthkd.config import LocalConfig, SftConfig
from synthkd.errors import UserError
from synthkd.rows import Row
from synthkd.students import artefact, kinds, scratch, seq2seq
from synthkd.students.curriculum import curriculum
from synthkd.students.generation import generated
from synthkd.students.pretrained import load_model
from synthkd.students.writing import load_writer
from synthkd.teachers.students import taught_by
from tests.students.lessons import lesson, peft_warns
from tests.students.test_sft import BLOCK, ROWS, taught
from tests.students.test_sft_refuses import changed

pytestmark = peft_warns
SHORT: dict[str, Any] = {"max_steps": 1, "max_new_tokens": 8}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    texts = [text for row in ROWS for text in row.values()]
    return scratch.make(SftConfig.model_validate(BLOCK), texts, tmp_path / "base").folder


@pytest.mark.parametrize("change", [{"num_hidden_layers": 2}, {"hidden_size": 64}])
def test_weights_that_a_base_lacks_are_not_made_up(change: dict[str, int], base: Path) -> None:
    changed(base / "config.json", **change)
    config = SftConfig.model_validate({**BLOCK, "scratch": None, "base": str(base)})
    with pytest.raises(UserError, match=r"of the weights.*such as model\..*it is not whole"):
        load_model(LlamaForCausalLM, config)
    with pytest.raises(UserError, match="it is not whole"):
        load_writer(base)


def test_a_student_with_half_its_weights_is_damaged_and_trained_again(tmp_path: Path) -> None:
    student, _ = taught(tmp_path, **SHORT)
    weights = student.folder / "model.safetensors"
    half = weights.read_bytes()[:2000]
    weights.unlink()  # the student in memory goes on reading it
    weights.write_bytes(half)
    with pytest.raises(UserError, match=r"damaged student \(its weights cannot be read"):
        kinds.load(student.folder)
    with pytest.raises(UserError, match="its weights cannot be read"):
        load_writer(student.folder)
    again, _ = taught(tmp_path, **SHORT)
    assert again.fingerprint == student.fingerprint
    assert again.predict(["my card"]) == student.predict(["my card"])


def test_a_student_that_does_not_say_how_it_was_taught_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text('{"kind": "seq2seq", "fingerprint": "a"}')
    with pytest.raises(UserError, match=r"damaged student \('config'\)"):
        seq2seq.load(tmp_path)


def test_an_encoder_decoder_is_no_base_of_an_encoder(tmp_path: Path) -> None:
    common = {"max_steps": 1, "max_length": 32}
    tiny = {"hidden_size": 16, "layers": 1, "heads": 2}
    t5 = {"kind": "seq2seq", "prompt": "text", "completion": "label", "scratch": tiny, **common}
    made = lesson(tmp_path / "t5", t5, ROWS)
    kinds.train(made, print)
    block = {
        "kind": "encoder",
        "text": "text",
        "label": "label",
        "base": str(made.folder),
        **common,
    }
    with pytest.raises(UserError, match=r"is an encoder-decoder: take a BERT-like base"):
        kinds.train(lesson(tmp_path / "encoder", {**block, "base": str(made.folder)}, ROWS), print)


def test_adapters_that_fit_no_layer(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"student\.lora does not fit .*targets: \['query'\]"):
        taught(tmp_path, scratch=None, base=str(base), lora={"targets": ["query"]}, **SHORT)


def test_an_answer_ends_where_the_model_can_read_no_further(base: Path) -> None:
    """Learnt places end there: one more token has none."""
    tokenizer = load_writer(base).tokenizer
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=100, n_positions=16, n_embd=8, n_layer=1, n_head=1, eos_token_id=99)
    )
    texts = generated(model, tokenizer, [[1, 2], [1] * 40], max_new_tokens=256)
    assert len(texts) == 2


def test_an_encoder_decoder_with_learnt_places(base: Path, tmp_path: Path) -> None:
    bart = BartConfig(
        vocab_size=100, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3,
    )  # fmt: skip
    BartForConditionalGeneration(bart).save_pretrained(base)
    block = {"kind": "seq2seq", "prompt": "text", "completion": "label", "base": str(base)}
    steps = {"max_steps": 1, "max_new_tokens": 64}
    with pytest.raises(UserError, match=r"max_length 17 is more than the 16 tokens"):
        kinds.train(lesson(tmp_path / "a", {**block, **steps, "max_length": 17}, ROWS), print)
    made = lesson(tmp_path / "b", {**block, **steps, "max_length": 16}, ROWS)
    kinds.train(made, print)
    assert len(kinds.load(made.folder).predict(["my card" * 10])) == 1


def test_what_a_kill_left_beside_the_student_goes(tmp_path: Path) -> None:
    left = tmp_path / ".student-killed"
    (left / "new").mkdir(parents=True)
    with artefact.written(tmp_path / "student", {}, "card"):
        assert not left.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["student"]


def test_a_student_that_tells_nonsense_of_its_teachers(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text('{"made_from": ["nobody"]}')
    assert taught_by(LocalConfig(folder=str(tmp_path)), tmp_path) == ""


def test_weights_whose_sum_is_infinite_count_alike() -> None:
    rows = [Row(id=str(i), order=(i,), roots=(), fields={"weight": 1e308}) for i in range(3)]
    assert curriculum(rows, obeyed=True).weights == [1.0, 1.0, 1.0]
