"""The documents tell the truth: what they show loads, what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from synthkd import errors
from synthkd.cli import app
from synthkd.config import TeacherConfig
from synthkd.pipeline_file import read_yaml
from synthkd.plan import compile_plan
from synthkd.prompts import load_prompt
from synthkd.steps import find_step, step_modules

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every command line shown, without its comment."""
    lines = "".join(blocks(text, "sh")).splitlines()
    return [line.partition("#")[0].split() for line in lines if line.strip()]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_pipeline_of_the_readme_loads(tmp_path: Path) -> None:
    (shown,) = blocks(README, "yaml")
    file = tmp_path / "shown.yaml"
    file.write_text(shown, encoding="utf-8")
    plan = compile_plan(read_yaml(file), file)
    assert (ROOT / plan.config.source.path).is_file()
    assert plan.steps


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_shown_exist(document: Path) -> None:
    for program, *arguments in commands(document.read_text(encoding="utf-8")):
        if program == "make":
            assert arguments[0] in MAKE_TARGETS
        elif program == "synthkd":
            # A group of commands is named with one of them: `synthkd ledger stats`.
            name = arguments[:2] if arguments[0] in {"batch", "ledger"} else arguments[:1]
            helped = CliRunner().invoke(app, [*name, "--help"])
            assert helped.exit_code == 0, f"no command {name}"
            options = {word for word in arguments if word.startswith("--")}
            assert options <= set(re.findall(r"--[a-z-]+", helped.output))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (document.parent / target).exists()]
    assert not missing


def test_files_that_commands_read_exist() -> None:
    named = {word for line in commands(README) for word in line if word.endswith(".yaml")}
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_exit_codes_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = {each.exit_code for each in classes if issubclass(each, errors.SynthkdError)}
    assert told == raised | {0, 130}


def test_the_architecture_names_every_file_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(synthkd/[\w/]+\.py)` \|$", text, re.MULTILINE)
    entry_points = {"synthkd/__init__.py", "synthkd/__main__.py"}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "synthkd").rglob("*.py")}
    assert sorted(named) == sorted(there - entry_points)


def test_every_builtin_step_registers_itself() -> None:
    unknown = [name for name in step_modules() if find_step(name).name != name]
    assert not unknown


HOW_TO = (ROOT / "docs" / "how-to" / "teachers.md").read_text(encoding="utf-8")


def test_the_blocks_on_naming_a_teacher_load(tmp_path: Path) -> None:
    shown = blocks(HOW_TO, "yaml")
    teachers = [values for text in shown if "teachers" in (values := yaml.safe_load(text))]
    assert len(teachers) == len(shown) - 1
    for values in teachers:
        for block in values["teachers"].values():
            assert TeacherConfig.model_validate(block).kind == "http"
    (front,) = (text for text in shown if "json_schema" in text)
    file = tmp_path / "p.md.j2"
    file.write_text(f"---\n{front}---\n{{# user #}}\n{{{{ text }}}}\n", encoding="utf-8")
    assert load_prompt("p", folders=[tmp_path]).schema is not None


def test_every_setting_of_a_teacher_is_told_with_its_default() -> None:
    table = HOW_TO.partition("## Every setting")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    fields = {
        name: field
        for name, field in TeacherConfig.model_fields.items()
        if name not in {"recorded", "simulated"}
    }
    assert told.keys() == fields.keys()
    for name, field in fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, int | float):
            assert told[name] == f"{default:g}"
        elif isinstance(default, str):
            assert told[name] == f"`{default}`"
