"""A tokenizer that can write conversations: with a chat template, a pad token, an end.

chat = prepared(tokenizer, config, tell)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthkd.config import DpoConfig, SftConfig
from synthkd.errors import UserError
from synthkd.students.lesson import Tell

CHATML = """\
{%- for message in messages -%}
{{- ('' if loop.first else '\\n') + '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{- message['content'] + eos_token -}}{% endgeneration %}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '\\n<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""ChatML, but an answer ends with the end token that the model knows already: a new token would
need embeddings, which adapters do not train."""
SHIPPED = {"chatml": CHATML}
GENERATION = "{% generation %}", "{%- generation"


def prepared(tokenizer: Any, config: SftConfig | DpoConfig, tell: Tell) -> Any:
    """The tokenizer, with what it lacks put in and said.

    Raises:
        UserError: no such template file, or no token that could end an answer.
    """
    if tokenizer.eos_token is None:
        raise UserError(
            f"student.base: the tokenizer of {config.base} has no end token, so a student would"
            " never stop writing: set eos_token in its tokenizer_config.json"
        )
    if config.chat_template is not None:
        tokenizer.chat_template = template_of(config)
    elif tokenizer.chat_template is None:
        tokenizer.chat_template = CHATML
        tell("the base has no chat template: it gets chatml (student.chat_template names another)")
    if tokenizer.pad_token is None:
        # Padding is told from text by attention mask and labels, so a token may be both.
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
        tell(f"the base has no pad token: {tokenizer.pad_token} pads, without attention or loss")
    return tokenizer


def template_of(config: SftConfig | DpoConfig) -> str | None:
    """The text of the template that the settings name; None = they name none.

    Raises:
        UserError: it cannot be read.
    """
    named = config.chat_template
    if named is None or named in SHIPPED:
        return SHIPPED[named] if named else None
    try:
        return Path(named).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"student.chat_template: {named} cannot be read ({error}): name a Jinja file, or one"
            f" of {sorted(SHIPPED)}"
        ) from None


def training_template(tokenizer: Any) -> str | None:
    """A template that marks what the assistant writes; None = the tokenizer's own does.

    TRL has marked versions of the templates of well-known models.

    Raises:
        UserError: neither has marks, so no loss mask can be made for whole conversations.
    """
    if any(mark in tokenizer.chat_template for mark in GENERATION):
        return None
    from trl.chat_template_utils import get_training_chat_template

    try:
        template: str | None = get_training_chat_template(tokenizer)
    except ValueError:
        template = None
    if template is None:
        raise UserError(
            "student.messages: the chat template of the base does not mark what the assistant"
            " writes ({% generation %}), so nothing says what is to be learnt: name a template"
            " with marks in student.chat_template, or learn from `prompt` and `completion`"
        )
    return template
