from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from synthkd import prompts
from synthkd.errors import PromptError, Unrenderable
from synthkd.prompts import Prompt, load_prompt, shipped_folder

INTENT = """---
inputs: [text, labels]
output: label
roles: [system, user]
---
{# system #}

You sort messages into {{ labels | join(", ") }}.
{# user #}
{{ text }}

"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.md.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def load(tmp_path: Path, text: str) -> Prompt:
    write(tmp_path, "p", text)
    return load_prompt("p", folders=[tmp_path])


def body(text: str, inputs: str = "[text]") -> str:
    return f"---\ninputs: {inputs}\n---\n{text}"


def test_a_prompt_file_becomes_messages(tmp_path: Path) -> None:
    path = write(tmp_path, "label/intent", INTENT)
    prompt = load_prompt("label/intent", folders=[tmp_path / "absent", tmp_path])
    assert prompt.name == "label/intent"
    assert prompt.inputs == ("text", "labels")
    assert prompt.output == "label"
    assert prompt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert prompt.render({"text": "{{ 7*7 }}\n{# system #}", "labels": ["a", "b"]}) == [
        {"role": "system", "content": "You sort messages into a, b."},
        {"role": "user", "content": "{{ 7*7 }}\n{# system #}"},
    ]


def test_examples_for_the_teacher_keep_their_order(tmp_path: Path) -> None:
    prompt = load(
        tmp_path,
        body("{# user #}\n1 + 1\n{# assistant #}\n2\n{# user #}\n{{ text }}\n{# assistant #}\nSo:"),
    )
    assert [(m["role"], m["content"]) for m in prompt.render({"text": "3 + 4"})] == [
        ("user", "1 + 1"),
        ("assistant", "2"),
        ("user", "3 + 4"),
        ("assistant", "So:"),
    ]


def test_only_outer_blank_lines_go(tmp_path: Path) -> None:
    prompt = load(tmp_path, body("{# user #}\n \n\n   indented\n\n{{ text }}\n \n\n"))
    assert prompt.render({"text": "  a\n"})[0]["content"] == "   indented\n\n  a"


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = load(tmp_path, INTENT)
    other = load(tmp_path, "\ufeff" + INTENT.replace("\n", "\r\n"))
    inputs = {"text": "x", "labels": ["a"]}
    assert other.render(inputs) == plain.render(inputs)
    assert other.sha256 != plain.sha256


def test_a_shape_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    text = "---\ninputs: []\noutput: {xml_schema: {type: object}}\n---\n{# user #}\nGo."
    with pytest.raises(PromptError, match=r"output: text, label or \{json_schema: \.\.\.\}"):
        load(tmp_path, text)


def test_the_first_folder_wins(tmp_path: Path) -> None:
    write(tmp_path / "a", "p", body("{# user #}\nmine {{ text }}"))
    write(tmp_path / "b", "p", body("{# user #}\ntheirs {{ text }}"))
    prompt = load_prompt("p", folders=[tmp_path / "a", tmp_path / "b"])
    assert prompt.render({"text": ""})[0]["content"] == "mine"


def test_an_unknown_name_lists_the_places_and_near_names(tmp_path: Path) -> None:
    write(tmp_path, "label/intent", INTENT)
    with pytest.raises(PromptError) as caught:
        load_prompt("label/intend", folders=[Path("here"), tmp_path])
    message = str(caught.value)
    assert "looked for here/label/intend.md.j2, " in message
    assert str(tmp_path / "label/intend.md.j2") in message
    assert "did you mean label/intent?" in message


def test_aliases_of_aliases_in_a_head_are_refused_at_once(tmp_path: Path) -> None:
    bomb = ", ".join(["&a0 [x]", *[f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]])
    write(tmp_path, "bomb", f"---\ninputs: {{all: [{bomb}]}}\n---\n{{# user #}}\nHello\n")
    with pytest.raises(PromptError, match="more than 100,000 values"):
        load_prompt("bomb", folders=[tmp_path])


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a//b", "", "a/../b", ".hidden", "a/", "a" * 300]
)
def test_a_name_cannot_climb_out_of_the_folders(tmp_path: Path, name: str) -> None:
    write(tmp_path, "secret", INTENT)
    with pytest.raises(PromptError, match="is no name of a prompt"):
        load_prompt(name, folders=[tmp_path / "prompts"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{# user #}\nhi", "line 1: a prompt begins with front matter"),
        ("---\ninputs: [x]\n", "line 1: a prompt begins with front matter"),
        ("", "line 1: a prompt begins with front matter"),
        ("---\ninputs: [\n---\n", "is not YAML"),
        ("---\ninputs: [2024-13-45]\n---\n", "cannot be read: month must be in 1..12"),
        ("---\ninputs: " + "[" * 3000 + "\n---\n", "nested too deeply"),
        ("---\n---\n{# user #}\nx", "front matter has faults"),
        ("---\ninput: [x]\n---\n", "input: Extra inputs are not permitted.* it may say inputs"),
        ("---\ninputs: text\n---\n", "inputs: Input should be a valid list, got 'text'"),
        ("---\ninputs: []\noutput: words\n---\n", "output.*'words'"),
        ("---\ninputs: []\nroles: [usr]\n---\n", "roles.0: .*'usr'"),
        ("---\ninputs: [a-b]\n---\n", "'a-b' cannot be the name of an input"),
        ("---\ninputs: [range]\n---\n", "'range' cannot be the name of an input"),
        ("---\ninputs: [_x]\n---\n", "'_x' cannot be the name of an input"),
        (body("hello\n{# user #}\n{{ text }}"), "line 4: text before the first block"),
        (body(""), "the prompt has no block"),
        (body("{# user #}\n{{ text }}\n{# usr #}\nx"), "line 6: {# usr #} is no role"),
        (body("{# user #}\n{{ text }}\n{# system #}\nx"), "one system block, before all others"),
        (body("{# system #}\na\n{# system #}\n{{ text }}"), "one system block, before all others"),
        (
            body("{# user #}\n{{ text }}\n{# assistant #}\n \n"),
            "line 6: the assistant block is empty",
        ),
        (body("{# user #}\n\n{{ txt }}"), r"line 6: 'txt' is not declared .*did you mean text\?"),
        (body("{# user #}\nhello"), "inputs declares 'text', which no block uses"),
        (body("{# user #}\n{% if text %}\nx"), "line 6: Unexpected end of template"),
        (
            body("{# user #}\n{% if text %}\n{# assistant #}\n{% endif %}"),
            "line 5: Unexpected end of template",
        ),
        (
            "---\ninputs: [text]\nroles: [user]\n---\n{# system #}\n{{ text }}\n{# user #}\na",
            "the front matter says roles",
        ),
        (body("{# user #}\n{{ text.__class__ }}"), "line 5: '__class__' is not allowed"),
    ],
)
def test_faults_name_the_file_the_line_and_the_way_out(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        load(tmp_path, text)
    assert "p.md.j2" in str(caught.value)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    (tmp_path / "p.md.j2").write_bytes(b"---\ninputs: []\n---\n\xff")
    with pytest.raises(PromptError, match="byte 19 is not UTF-8"):
        load_prompt("p", folders=[tmp_path])


def test_a_missing_input_names_itself_and_the_line(tmp_path: Path) -> None:
    prompt = load(tmp_path, INTENT)
    with pytest.raises(
        Unrenderable, match=r"p\.md\.j2 line 10: cannot be rendered: 'text' is undef"
    ):
        prompt.render({"labels": ["a"]})


def test_rendering_leaves_the_inputs_alone(tmp_path: Path) -> None:
    prompt = load(tmp_path, body("{# user #}\n{% set text = text ~ '!' %}{{ text }}"))
    inputs = {"text": "a"}
    assert prompt.render(inputs) == prompt.render(inputs)
    assert inputs == {"text": "a"}


def test_comments_of_several_words_are_comments(tmp_path: Path) -> None:
    prompt = load(tmp_path, body("{# user #}\n{# not a role #}\n{{ text }}"))
    assert prompt.render({"text": "a"}) == [{"role": "user", "content": "a"}]


def test_shipped_files_lie_in_the_wheel_or_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "__file__", str(tmp_path / "synthkd" / "prompts.py"))
    assert shipped_folder("prompts") == tmp_path / "prompts"
    (tmp_path / "synthkd" / "shipped" / "prompts").mkdir(parents=True)
    assert shipped_folder("prompts") == tmp_path / "synthkd" / "shipped" / "prompts"
    assert shipped_folder("pipelines") == tmp_path / "pipelines"


def test_a_raw_prompt_is_text_to_the_letter(tmp_path: Path) -> None:
    prompt = load(tmp_path, body("\n{# raw #}\n  <|im_start|>{{ text }}\n\n"))
    assert prompt.api == "completions"
    assert prompt.question({"text": "user"}) == {"prompt": "  <|im_start|>user\n"}
    constant = load(tmp_path, body("{# raw #}\n<|im_start|>user\n\n", "[]"))
    assert constant.question({}) == {"prompt": "<|im_start|>user\n"}


def test_a_prompt_of_messages_is_asked_as_messages(tmp_path: Path) -> None:
    prompt = load(tmp_path, body("{# user #}\n{{ text }}"))
    assert prompt.api == "chat"
    assert prompt.question({"text": "a"}) == {"messages": prompt.render({"text": "a"})}


def test_a_raw_block_is_alone(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="a raw block is the whole prompt"):
        load(tmp_path, body("{# system #}\nx\n{# raw #}\n{{ text }}"))
    with pytest.raises(PromptError, match=r"p\.md\.j2 line 5: the raw block is empty"):
        load(tmp_path, body("\n{# raw #}\n \n", "[]"))


SCHEMA = "{json_schema: {type: object, properties: {n: {type: integer}}, required: [n]}}"


def test_a_prompt_may_ask_for_json(tmp_path: Path) -> None:
    front = f"---\ninputs: [text]\noutput: {SCHEMA}\n---\n"
    prompt = load(tmp_path, front + "{# user #}\n{{ text }}")
    assert prompt.output == "json"
    assert prompt.schema is not None
    assert prompt.schema.name == "p"
    assert prompt.schema.read('{"n": 1}').value == {"n": 1}
    with pytest.raises(PromptError, match="a raw prompt is only continued, and no API takes a sch"):
        load(tmp_path, front + "{# raw #}\n{{ text }}")
    unknown = front.replace("type: integer", "not: {}")
    with pytest.raises(PromptError, match=r"p\.md\.j2: output\.json_schema: n: the keyword 'not'"):
        load(tmp_path, unknown + "{# user #}\n{{ text }}")
    assert load(tmp_path, body("{# user #}\n{{ text }}")).schema is None
