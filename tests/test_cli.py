"""The command line: what it prints where, and the exit code of every way a command can end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from synthkd import __version__, errors, steps
from synthkd.cli import app
from synthkd.errors import BudgetReached, SynthkdError, TeacherRefused, TooManyLost
from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.pipeline import Pipeline
from tests.runs import command, finished

ROOT = Path(__file__).parent.parent

PIPELINE = """
name: words
source: {jsonl: words.jsonl, id: [id]}
steps:
  - use: dedup.exact
    with: {field: text}
"""

ROWS = [
    {"id": 1, "text": "[bold]one[/bold]"},
    {"id": 2, "text": "two"},
    {"id": 3, "text": "two"},
]


@pytest.fixture
def pipeline(own_folder: None) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    Path("words.jsonl").write_text(lines, encoding="utf-8")
    file = Path("words.yaml")
    file.write_text(PIPELINE, encoding="utf-8")
    return file


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ends_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run end with that error."""

    def run_sync(self: Pipeline, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Pipeline, "run_sync", run_sync)


def test_run_writes_the_folder_and_says_where(pipeline: Path) -> None:
    result = invoke("run", pipeline)
    assert result.exit_code == 0, result.output
    folder = Path("data/out/words")
    assert json.loads((folder / "manifest.json").read_bytes())["counts"]["read"] == 3
    assert str(folder / "dataset") in result.stdout
    assert "3 rows read = " in result.stdout


def test_out_limit_and_set_reach_the_run(pipeline: Path) -> None:
    result = invoke(
        *("run", pipeline, "--out", "here", "--limit", 2, "--json"),
        *("--set", "name=other", "--ledger", "elsewhere.sqlite"),
    )
    manifest = json.loads(result.stdout)
    assert manifest["name"] == "other"
    assert manifest["counts"]["read"] == 2
    assert Path("here/manifest.json").is_file()


def test_json_is_the_manifest_and_nothing_else(pipeline: Path) -> None:
    result = invoke("run", pipeline, "--json")
    assert json.loads(result.stdout) == json.loads(
        Path("data/out/words/manifest.json").read_bytes()
    )


def test_quiet_prints_nothing(pipeline: Path) -> None:
    result = invoke("run", pipeline, "--quiet")
    assert result.exit_code == 0
    assert result.output == ""


def test_plan_writes_nothing(pipeline: Path) -> None:
    before = set(Path().rglob("*"))
    result = invoke("plan", pipeline)
    assert result.exit_code == 0, result.output
    assert "3 rows" in result.stdout
    assert isinstance(json.loads(invoke("plan", pipeline, "--json").stdout), dict)
    assert set(Path().rglob("*")) == before


def test_show_gives_account_samples_and_reasons(pipeline: Path) -> None:
    invoke("run", pipeline, "--quiet")
    result = invoke("show", "data/out/words")
    assert result.exit_code == 0, result.output
    assert "3 rows read = " in result.stdout
    assert "[bold]one[/bold]" in result.stdout
    assert "[bold]one[/bold]" not in invoke("show", "data/out/words", "--rows", 0).stdout
    assert json.loads(invoke("show", "data/out/words", "--json").stdout)["name"] == "words"


def test_show_gives_an_example_of_each_reason(pipeline: Path) -> None:
    text = PIPELINE + "  - {use: gate.length, with: {field: text, min_chars: 4}}\n"
    pipeline.write_text(text, encoding="utf-8")
    invoke("run", pipeline, "--quiet")
    result = invoke("show", "data/out/words")
    assert result.exit_code == 0, result.output
    assert "too_short" in result.stdout
    assert "for example" in result.stdout


@pytest.mark.parametrize(
    "name", ["dataset/train.jsonl", "rejected.parquet", "failed.parquet", "manifest.json"]
)
def test_show_says_which_file_of_a_run_is_missing_or_damaged(pipeline: Path, name: str) -> None:
    assert invoke("run", pipeline, "--out", "out").exit_code == 0
    file = Path("out", name)
    for damage in ("taken away", "garbage", "a folder"):
        file.unlink()
        if damage == "garbage":
            file.write_bytes(b"\xff{")
        elif damage == "a folder":
            file.mkdir()
        result = invoke("show", "out")
        assert result.exit_code in {2, 7}
        assert name in result.stderr
        assert "Traceback" not in result.stderr
        if not file.exists():
            file.touch()


def test_a_name_that_the_filesystem_refuses_is_no_bug(pipeline: Path) -> None:
    result = invoke("run", pipeline, "--out", "x" * 300)
    assert result.exit_code == 7
    assert "File name too long" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_the_terminal_cannot_show_and_closed_streams_end_no_run(pipeline: Path) -> None:
    Path("words.jsonl").write_text('{"id": 1, "text": "\U0001f600"}\n', encoding="utf-8")
    env = {"PYTHONIOENCODING": "ascii"}
    assert finished("run", pipeline, "--out", "out", cwd=Path(), env=env).returncode == 0
    shown = finished("show", "out", cwd=Path(), env=env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\\U0001f600" in shown.stdout
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command("run", pipeline, "--out", "out")],
        check=False,
    )
    assert closed.returncode == 0


def test_a_missing_file_is_the_users_mistake() -> None:
    result = invoke("run", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["show", "train"])
def test_a_pipeline_file_in_place_of_a_folder_is_the_users_mistake(
    command: str, pipeline: Path
) -> None:
    result = invoke(command, pipeline)
    assert result.exit_code == 2
    assert "is a file" in result.stderr


@pytest.mark.parametrize("command", ["show", "train", "eval"])
def test_a_folder_without_a_run_is_the_users_mistake(command: str) -> None:
    result = invoke(command, "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "exit_code", "way_on"),
    [
        (BudgetReached("the budget of 1 USD is reached"), 3, "command again to resume"),
        (TooManyLost("7 % of the rows failed"), 4, "mend the cause, then run the same command"),
        (TeacherRefused("HTTP 401 from http://127.0.0.1"), 5, "command again to resume"),
    ],
)
def test_a_stopped_run_says_why_and_how_to_go_on(
    error: SynthkdError,
    exit_code: int,
    way_on: str,
    pipeline: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends_with(error, monkeypatch)
    result = invoke("run", pipeline)
    assert result.exit_code == exit_code
    assert str(error) in result.stderr
    assert way_on in result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_server_says_does_not_act_upon_the_terminal(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(TeacherRefused("HTTP 401: \x1b]0;owned\x07\x1b[2Jno key\nline"), monkeypatch)
    result = invoke("run", pipeline)
    assert "HTTP 401: \\x1b]0;owned\\x07\\x1b[2Jno key\nline" in result.stderr
    assert "\x1b" not in result.stderr


def test_every_error_has_an_exit_code_that_programs_can_tell_apart() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    codes = {each.exit_code for each in classes if issubclass(each, SynthkdError)}
    assert codes == {1, 2, 3, 4, 5, 6, 7, 8, 130}


def test_an_interrupt_is_130(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(KeyboardInterrupt(), monkeypatch)
    result = invoke("run", pipeline)
    assert result.exit_code == 130
    assert "run the same command again to resume" in result.stderr


def test_a_bug_shows_its_traceback(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(ZeroDivisionError("a bug"), monkeypatch)
    result = invoke("run", pipeline)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: a bug" in result.stderr
    assert "report" in result.stderr.splitlines()[-1]


def test_debug_shows_the_traceback_of_a_mistake() -> None:
    result = invoke("run", "nowhere.yaml", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_steps_lists_all_of_them() -> None:
    result = invoke("steps")
    assert result.exit_code == 0, result.output
    listed = [line.split()[0] for line in result.stdout.splitlines()]
    assert listed == sorted(steps.step_modules())
    assert all(len(line.split()) > 2 for line in result.stdout.splitlines())


@pytest.mark.parametrize("name", sorted(steps.step_modules()))
def test_a_step_tells_its_settings(name: str) -> None:
    result = invoke("steps", name)
    assert result.exit_code == 0, result.output
    for setting in steps.find_step(name).config.model_fields:
        assert f"  {setting}: " in result.stdout
    assert "Annotated" not in result.stdout


def test_a_setting_has_type_limit_and_default() -> None:
    assert "  samples: int >= 1 <= 10000, default 1" in invoke("steps", "label").stdout


def test_a_block_in_a_step_is_shown_with_its_settings() -> None:
    shown = invoke("steps", "choose.vote").stdout
    assert "  answer: AnswerSettings, default {}\n" in shown
    assert "        decimal: '.' | ',', default \".\"\n" in shown
    assert 'default {"kind": "tfidf"}' in invoke("steps", "exemplars").stdout


def test_an_unknown_step_names_the_near_ones() -> None:
    result = invoke("steps", "lable")
    assert result.exit_code == 2
    assert "label" in result.stderr


def test_version() -> None:
    assert invoke("version").stdout.strip() == __version__


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "synthkd", "version"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == __version__


# ------------------------------------------------------------------------------------ doctor


def with_teacher(url: str) -> Path:
    file = Path("asked.yaml")
    teacher = (
        f"{{endpoint: {url}, model: fake, api_key_env: A_KEY, price: {{prompt: 1, completion: 1}}}}"
    )
    file.write_text(f"{PIPELINE}teachers:\n  main: {teacher}\n", encoding="utf-8")
    return file


def test_the_doctor_looks_and_leaves_nothing(pipeline: Path) -> None:
    before = sorted(Path().rglob("*"))
    result = invoke("doctor", pipeline)
    assert result.exit_code == 0, result.output
    assert "disk, results" in result.output
    assert result.output.splitlines()[-1] == "ready to run; no question was asked"
    assert sorted(Path().rglob("*")) == before


def test_the_doctors_exit_code_says_how_grave_it_is(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-never-shown")
    for fault, code in ((None, 0), ("401", 5), ("500", 2)):
        with in_thread(FakeTeacher(rates={} if fault is None else {fault: 1.0})) as provider:
            file = with_teacher(provider.url)
            told = invoke("doctor", file)
            as_json = invoke("doctor", file, "--json", "--debug")
            free = invoke("doctor", file, "--no-probe")
            asked = provider.requests
        assert (told.exit_code, as_json.exit_code, free.exit_code) == (code, code, 0), told.output
        report = json.loads(as_json.stdout)
        assert report["exit_code"] == code
        assert asked == 2 * report["probes"] <= 20
        assert f"{report['probes']} tiny questions used {report['tokens']:,} tokens" in told.output
        assert "no question was asked" in free.output
        assert "sk-never-shown" not in told.output + as_json.output + as_json.stderr


def test_the_doctor_refuses_what_a_run_would(pipeline: Path) -> None:
    result = invoke("doctor", pipeline, "--set", "steps.nothing.with.field=1")
    assert result.exit_code == 2
    assert invoke("run", pipeline, "--ledger", "own.sqlite").exit_code == 0
    assert invoke("doctor", pipeline, "--ledger", "own.sqlite").exit_code == 0
    other = invoke("doctor", pipeline, "--ledger", "other.sqlite")
    assert other.exit_code == 2
    assert "is in the ledger" in other.stderr
