"""What supervised fine-tuning refuses, says, or breaks off with: one small test each."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from synthkd.config import SftConfig
from synthkd.errors import DiskFailed, NothingToLearn, TrainingFailed, UserError
from synthkd.rows import source_row
from synthkd.students import data, kinds, scratch, sft
from synthkd.students.failures import explained
from synthkd.students.trainer import newest_whole
from tests.students.lessons import peft_warns
from tests.students.test_sft import BLOCK, ROWS, made_lesson, taught

pytestmark = peft_warns
SHORT: dict[str, Any] = {"epochs": 1, "max_new_tokens": 8}
CHATS = [
    {"chat": [{"role": "user", "content": r["text"]}, {"role": "assistant", "content": r["label"]}]}
    for r in ROWS
]
ROLES = ["user", "assistant"]
BY_CHAT: dict[str, Any] = {**SHORT, "prompt": None, "completion": None, "messages": "chat"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base like one from elsewhere, to be broken."""
    texts = [text for row in ROWS for text in row.values()] + ["<|im_start|>useraistn\n<|im_end|>"]
    config = SftConfig.model_validate(BLOCK)
    return scratch.make(config, texts, tmp_path / "base").folder


def changed(file: Path, **changes: Any) -> None:
    """A JSON file with other values; None = without it."""
    content = {**orjson.loads(file.read_bytes()), **changes}
    file.write_bytes(orjson.dumps({k: v for k, v in content.items() if v is not None}))


def on(base: Path) -> dict[str, Any]:
    return {**SHORT, "base": str(base), "scratch": None}


def test_a_base_without_chat_template_and_pad_token_gets_them(base: Path, tmp_path: Path) -> None:
    (base / "chat_template.jinja").unlink()
    changed(base / "tokenizer_config.json", pad_token=None)
    student, told = taught(tmp_path, **on(base))
    assert any("has no chat template: it gets chatml" in line for line in told)
    assert any("has no pad token: <unk> pads" in line for line in told)
    assert student.tokenizer.chat_template.startswith("{%- for")
    assert student.about["tokens_learnt"] == 8 * 5  # what pads is not learnt
    assert student.predict(["my card"]) != []


def test_whole_conversations_need_marks_in_the_template(base: Path, tmp_path: Path) -> None:
    template = base / "chat_template.jinja"
    plain = template.read_text().replace("{% generation %}", "").replace("{% endgeneration %}", "")
    template.write_text(plain)
    with pytest.raises(UserError, match=r"does not mark what the assistant.*chat_template"):
        taught(tmp_path, CHATS, **on(base) | BY_CHAT)
    taught(tmp_path, ROWS, **on(base))  # a prompt and its completion need none
    student, _ = taught(tmp_path, CHATS, **on(base) | BY_CHAT | {"chat_template": "chatml"})
    assert student.about["tokens_learnt"] == 8 * 5


def test_a_template_that_writes_no_answer_teaches_nothing(base: Path, tmp_path: Path) -> None:
    (base / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(NothingToLearn, match="nothing is learnt from row 0000000000000000"):
        taught(tmp_path, **on(base))


def test_calls_of_tools_are_not_lost_without_a_word() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}
    fields: Any = {"chat": [CHATS[0]["chat"][0], call, CHATS[0]["chat"][1]]}
    config = SftConfig.model_validate({**BLOCK, **BY_CHAT})
    with pytest.raises(NothingToLearn, match="calls of tools"):
        list(data.conversations(config, [source_row("rows", ["1"], ordinal=0, fields=fields)]))


def test_a_row_may_have_no_system_message() -> None:
    config = SftConfig.model_validate({**BLOCK, **SHORT, "system": "s"})
    for system, roles in [("Be brief.", ["system", "user", "assistant"]), (None, ROLES)]:
        row = source_row("rows", ["1"], ordinal=0, fields={**ROWS[0], "s": system})
        (talk,) = data.conversations(config, [row])
        assert [one["role"] for one in talk.messages] == roles
    with pytest.raises(NothingToLearn, match="no text in 's'"):
        list(data.conversations(config, [source_row("rows", ["1"], ordinal=0, fields=ROWS[0])]))


def test_a_template_that_refuses_a_conversation_is_quoted(base: Path, tmp_path: Path) -> None:
    (base / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")
    with pytest.raises(
        NothingToLearn, match=r"row number 1 \(user, assistant\): System role not supported"
    ):
        taught(tmp_path, **on(base))


def test_pickled_weights_are_refused(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pickles \(pytorch_model.bin\).*allow_pickle"):
        taught(tmp_path, **on(base))


def test_code_of_the_base_is_not_run(base: Path, tmp_path: Path) -> None:
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    changed(base / "config.json", model_type="own", auto_map=own)
    (base / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=r"brings code of its own.*trust_remote_code"):
        taught(tmp_path, **on(base))
    assert not (tmp_path / "ran").exists()


def test_more_tokens_than_the_base_reads(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"max_length 5000 is more than the 108 tokens"):
        taught(tmp_path, **on(base) | {"max_length": 5000})


def test_rows_longer_than_the_context_are_cut_counted_and_left_out(tmp_path: Path) -> None:
    cut = {"text": "my card", "label": "card " * 40}
    lost = {"text": "where " * 40, "label": "card"}
    student, told = taught(tmp_path, [*ROWS, cut, lost], **SHORT)
    about = student.about
    assert (about["examples"], about["truncated"], about["left_out"]) == (9, 2, 1)
    assert any("2 truncated, 1 left out" in line for line in told)
    with pytest.raises(NothingToLearn, match=r"within student\.max_length 96: raise it"):
        taught(tmp_path, [lost], **SHORT)


def test_rows_without_text(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match=r"row 0000000000000001 has no text in 'label', got 3"):
        taught(tmp_path, [ROWS[0], {"text": "a", "label": 3}], **SHORT)
    with pytest.raises(NothingToLearn, match=r"no rows to learn from"):
        taught(tmp_path, [], **SHORT)
    with pytest.raises(NothingToLearn, match="the last message is from 'user'"):
        taught(tmp_path, [{"chat": [{"role": "user", "content": "a"}]}], **BY_CHAT)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ([{"stage": 1}, {"stage": 3}], "stage 2 has no rows: stages are counted from 0 or 1"),
        ([{"stage": 2}, {"stage": 2}], "stage 1 has no rows"),
        ([{"stage": 1}, {}], "a whole number in 'stage' of every row: row 0000000000000001 has No"),
        ([{"weight": 1}, {"weight": 0}], "a number above 0 in 'weight'"),
        ([{"order": 1}, {"order": "x"}], "a whole number in 'order'"),
    ],
)
def test_a_curriculum_that_is_none(columns: list[Any], says: str, tmp_path: Path) -> None:
    rows = [{**row, **more} for row, more in zip(ROWS, columns, strict=False)]
    with pytest.raises(NothingToLearn, match=says):
        taught(tmp_path, rows, **SHORT)
    taught(tmp_path, rows, **SHORT, curriculum=False)


def test_one_answer_for_all_is_learnt_but_said(tmp_path: Path) -> None:
    _, told = taught(tmp_path, [{**row, "label": "card"} for row in ROWS], **SHORT)
    assert "all answers are the same, 'card': it will give no other" in told


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="the loss says nothing of `rationale_first`"):
        SftConfig.model_validate(
            {**BLOCK, "rationale": "why", "target": "rationale_first", "best_by": "loss"}
        )
    chats = {"kind": "sft", "scratch": BLOCK["scratch"], "messages": "chat"}
    with pytest.raises(ValidationError, match="leave `rationale` and `target` out"):
        SftConfig.model_validate({**chats, "rationale": "why", "target": "two_task"})


def test_best_needs_rows_to_measure_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows with an answer are held out as dev"):
        taught(tmp_path, best_by="loss")


def test_a_loss_that_is_not_finite_names_its_rows_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sft._sft_trainer

    def breaking() -> Any:
        class Breaking(real()):  # type: ignore[misc]
            def compute_loss(self, *args: Any, **named: Any) -> Any:
                factor = float("nan") if self.state.global_step == 3 else 1.0
                return super().compute_loss(*args, **named) * factor

        return Breaking

    monkeypatch.setattr(sft, "_sft_trainer", breaking)
    rows = [{**row, "order": place} for place, row in enumerate(ROWS)]
    made = made_lesson(tmp_path, rows, **SHORT | {"batch_size": 2, "save_every_steps": 1})
    says = r"loss is nan in step 4 on rows 0000000000000006, 0000000000000007: lower learning_rate"
    with pytest.raises(TrainingFailed, match=says):
        kinds.train(made, lambda line: None)
    (work,) = [path for path in made.work.iterdir() if path.name != "scratch"]
    newest = newest_whole(work)
    assert newest is not None
    assert newest.name == "checkpoint-3"


@contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """No file may grow longer: what a full disk does, for all that we can see."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("save_every_steps", [1, 500])  # in training, and at its end
def test_a_full_disk(save_every_steps: int, base: Path, tmp_path: Path) -> None:
    made = made_lesson(tmp_path, **on(base) | {"save_every_steps": save_every_steps})
    with disk_of(30_000), pytest.raises(DiskFailed, match="free some space"):
        kinds.train(made, lambda line: None)
    assert not made.folder.exists()


def test_no_memory_is_said_with_the_way_out(tmp_path: Path) -> None:
    import torch

    with (
        pytest.raises(TrainingFailed, match=r"memory ran out: .*Lower batch_size"),
        explained(tmp_path),
    ):
        torch.empty(2**50)
    with pytest.raises(TrainingFailed, match="memory ran out"), explained(tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(RuntimeError, match="shapes"), explained(tmp_path):
        raise RuntimeError("shapes do not match")
