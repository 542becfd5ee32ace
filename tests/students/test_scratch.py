from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.config import EncoderConfig, NetworkConfig, ScratchConfig, Seq2SeqConfig, SftConfig
from synthkd.students import scratch
from synthkd.students.scratch import END, UNKNOWN, Base, identity, make

TEXTS = ["Where is my card? Ünïcode 漢字", "I  lost\tit\n</s> again", "again and again"] * 5
FIELDS = {
    SftConfig: {"kind": "sft", "prompt": "p", "completion": "c"},
    Seq2SeqConfig: {"kind": "seq2seq", "prompt": "p", "completion": "c"},
    EncoderConfig: {"kind": "encoder", "text": "t", "label": "l"},
}
every_kind = pytest.mark.parametrize("kind", list(FIELDS))


def config(kind: type[NetworkConfig], tokenizer: str = "bpe", **changes: Any) -> NetworkConfig:
    tiny = {"hidden_size": 16, "layers": 1, "heads": 2, "tokenizer": tokenizer, "vocabulary": 300}
    return kind.model_validate({**FIELDS[kind], "scratch": tiny, "max_length": 64, **changes})


def tokenizer_of(base: Base) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@every_kind
@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
def test_the_same_settings_and_texts_give_the_same_bytes(
    kind: type[NetworkConfig], tokenizer: str, tmp_path: Path
) -> None:
    first = make(config(kind, tokenizer), TEXTS, tmp_path / "first")
    second = make(config(kind, tokenizer), TEXTS, tmp_path / "second")
    assert first.identity == second.identity
    assert content(first.folder) == content(second.folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert not any(path.suffix in {".bin", ".pt", ".pkl"} for path in first.folder.iterdir())


def test_what_the_identity_sees() -> None:
    mark = identity(config(SftConfig), TEXTS)
    others = [
        identity(config(SftConfig, "bytes"), TEXTS),
        identity(config(SftConfig, seed=1), TEXTS),
        identity(config(SftConfig, max_length=65), TEXTS),
        identity(config(Seq2SeqConfig, max_new_tokens=256), TEXTS),
        identity(config(SftConfig), [*TEXTS, "more"]),
        identity(config(SftConfig), ["".join(TEXTS)]),
    ]
    assert len({mark, *others}) == 7
    # What is learnt from the model later does not change the model.
    assert identity(config(SftConfig, learning_rate=0.1, epochs=1), TEXTS) == mark


def test_another_seed_gives_other_weights_and_the_same_tokenizer(tmp_path: Path) -> None:
    first = content(make(config(SftConfig), TEXTS, tmp_path / "first").folder)
    second = content(make(config(SftConfig, seed=1), TEXTS, tmp_path / "second").folder)
    different = {name for name in first if first[name] != second[name]}
    assert different == {"model.safetensors", scratch.IDENTITY}


def test_chance_elsewhere_is_left_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    make(config(SftConfig), TEXTS, tmp_path / "base")
    assert torch.equal(torch.rand(2), expected)


def test_it_is_made_once_and_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "base"
    make(config(EncoderConfig), TEXTS, folder)
    another = make(config(EncoderConfig, seed=1), TEXTS, folder)
    assert (folder / scratch.IDENTITY).read_text(encoding="utf-8") == another.identity
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    monkeypatch.setattr(scratch, "_write", lambda *_: pytest.fail("made again"))
    assert make(config(EncoderConfig, seed=1), TEXTS, folder) == another


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_every_text_comes_back(tokenizer: str, tmp_path: Path) -> None:
    read = tokenizer_of(make(config(EncoderConfig, tokenizer), TEXTS, tmp_path / "base"))

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text())
    def comes_back(text: str) -> None:
        ids = read(text)["input_ids"]
        assert read.decode(ids, skip_special_tokens=True) == text
        assert read.unk_token_id not in ids

    comes_back()


def test_characters_come_back_and_an_unknown_one_does_not_crash(tmp_path: Path) -> None:
    read = tokenizer_of(make(config(Seq2SeqConfig, "characters"), TEXTS, tmp_path / "base"))
    for text in TEXTS:  # `</s>` in a text is four characters, not the end
        ids = read(text)["input_ids"]
        assert read.decode(ids, skip_special_tokens=True) == text
        assert ids.count(read.eos_token_id) == 1
        assert len(ids) == len(text) + 1
    assert read.convert_ids_to_tokens(read("a😀z")["input_ids"]) == ["a", UNKNOWN, UNKNOWN, END]


@every_kind
def test_it_loads_like_any_base_and_computes(kind: type[NetworkConfig], tmp_path: Path) -> None:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    auto = {SftConfig: AutoModelForCausalLM, Seq2SeqConfig: AutoModelForSeq2SeqLM}
    base = make(config(kind), TEXTS, tmp_path / "base")
    read = tokenizer_of(base)
    model = auto.get(kind, AutoModelForSequenceClassification).from_pretrained(base.folder)
    inputs = read(["Where is it?", "again"], padding=True, return_tensors="pt")
    more = {"decoder_input_ids": inputs["input_ids"]} if kind is Seq2SeqConfig else {}
    with torch.no_grad():
        logits = model(**inputs, **more).logits
    width = 2 if kind is EncoderConfig else len(read)
    assert (logits.shape[0], logits.shape[-1]) == (2, width)
    assert torch.isfinite(logits).all()
    assert model.config.pad_token_id == read.pad_token_id
    assert model.config.eos_token_id == read.eos_token_id


def test_the_chat_template_marks_what_the_student_says(tmp_path: Path) -> None:
    read = tokenizer_of(make(config(SftConfig, "characters"), TEXTS, tmp_path / "base"))
    messages = [
        {"role": "system", "content": "card"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "lost it"},
    ]
    ids = read.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    said = [i for i, mine in zip(ids["input_ids"], ids["assistant_masks"], strict=True) if mine]
    assert read.decode(said) == "lost it</s>"
    asked = read.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert asked == "<|system|>card</s><|user|>again</s><|assistant|>"
    whole = read.apply_chat_template(messages, tokenize=False)
    assert whole == asked + "lost it</s>"
    assert len(ids["input_ids"]) == 3 * 2 + len("card" + "again" + "lost it")


def test_the_scratch_block_refuses_heads_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="multiple of 2 x heads, 8"):
        ScratchConfig(hidden_size=36, heads=4)
