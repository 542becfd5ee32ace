"""A judge is calibrated, and believed as far as that goes: the whole way, with a recorded judge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from synthkd import steps
from synthkd.cli import app
from synthkd.cli.judging import _gives_verdicts
from synthkd.config import TeacherConfig
from synthkd.curate.calibration import Calibrated, judge_record, read_calibration
from synthkd.errors import UserError
from synthkd.evaluate.preference import logistic
from synthkd.rows import Json, Row
from synthkd.steps import Kit, find_step, inputs_of, step

N = 120
SIDES = ("second", "first")


class JudgeSettings(Calibrated):
    teacher: str
    prompt: str = "ask"
    into: str = "verdict"
    strictness: int = 1
    pairs: bool = True
    first: str = "a"
    second: str = "b"


@pytest.fixture(autouse=True, scope="module")
def judge_of_tests() -> Iterator[None]:
    """`judge.tested`: takes the teacher's text for the winner."""

    @step("judge.tested", gives=lambda config: [config.into])
    async def judge(row: Row, kit: Kit, config: JudgeSettings, /) -> AsyncIterator[Row]:
        inputs = inputs_of(row, kit.prompts[config.prompt].inputs)
        said = await kit.ask(config.prompt, inputs, teacher=config.teacher)
        verdict: Json = {"winner": said.text, "score": 0.9 if said.text == "1" else 0.4}
        if config.pairs:
            verdict = {"outcome": {"1": "first", "2": "second"}[said.text], "consistent": 0.5}
        yield row.with_fields(**{config.into: verdict})

    yield
    del steps._registry["judge.tested"]


@pytest.fixture
def judged(own_folder: None) -> Path:
    """A judge that is right on nine of ten; its run's folder."""
    lines("rows.jsonl", [{"n": str(n), "id": n, "a": "x" * (n % 7), "b": "yyy"} for n in range(N)])
    lines("said.jsonl", [{"n": str(n), "said": "21"[right(n) != (n % 10 == 0)]} for n in range(N)])
    Path("ask.md.j2").write_text("---\ninputs: [n]\n---\n{# user #}\n{{ n }}\n", encoding="utf-8")
    result = run()
    assert result.exit_code == 0, result.output
    made = Path("out/dataset/train.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in made.splitlines()]
    lines("people.jsonl", [{"id": row["id"], "label": SIDES[right(int(row["n"]))]} for row in rows])
    return Path("out")


def right(n: int) -> bool:
    return n % 3 == 0


def lines(name: str, records: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(out: str = "out", **settings: Any) -> Result:
    pipeline = {
        "name": "judged",
        "teachers": {"t": {"recorded": {"jsonl": "said.jsonl", "match": "n", "text": "said"}}},
        "source": {"jsonl": "rows.jsonl", "id": ["n"]},
        "steps": [{"use": "judge.tested", "with": {"teacher": "t", **settings}}],
        "export": {"format": "rows"},
    }
    Path("p.yaml").write_text(json.dumps(pipeline), encoding="utf-8")
    return invoke("run", "p.yaml", "--out", out)


def calibrated(judged: Path, *options: object) -> None:
    result = invoke("calibrate", judged, "--people", "people.jsonl", *options)
    assert result.exit_code == 0, result.output


def test_the_whole_way(judged: Path) -> None:
    calibrated(judged)
    found = read_calibration(judged / "calibration.json")
    assert found.figures["prefers_longer"] is not None  # the texts are those of the settings
    consistency = found.figures["swap_consistency"]
    assert consistency is not None
    assert consistency.value == 0.5
    assert found.n == N
    assert found.judge is not None
    assert found.judge.step == "judge.tested"
    accuracy = found.figures["accuracy"]
    assert accuracy is not None
    assert accuracy.value == pytest.approx(0.9)
    believed = run("again", calibration="out/calibration.json", floor={"accuracy": 0.8})
    assert believed.exit_code == 0, believed.output


def test_below_its_floor_a_judge_stops_the_run_with_the_figures(judged: Path) -> None:
    calibrated(judged)
    result = run("again", calibration="out/calibration.json", floor={"accuracy": 0.88})
    assert result.exit_code == 2
    known = "accuracy is 0.900 (95 % interval 0.832 to 0.947, 120 items)"
    assert f"steps[0].with: floor: {known}" in result.output
    assert "its lower end must be at least 0.88" in result.output
    assert not Path("again").exists()


@pytest.mark.parametrize("edited", [{"low": 1e999}, {"low": 2.0}, {"value": 0.1, "low": 0.95}])
def test_an_interval_that_was_edited_into_nonsense_is_not_believed(
    judged: Path, edited: dict[str, float]
) -> None:
    calibrated(judged)
    file = judged / "calibration.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    told["figures"]["accuracy"] |= edited
    file.write_text(json.dumps(told), encoding="utf-8")
    result = run("again", calibration="out/calibration.json", floor={"accuracy": 0.8})
    assert result.exit_code == 2
    assert "lower end must be at least 0.8" in result.output


@pytest.mark.parametrize(
    ("change", "differs"),
    [({"strictness": 2}, "strictness differs"), ({"prompt": "other"}, "prompt differs")],
)
def test_of_another_judge_nothing_is_known(
    judged: Path, change: dict[str, Any], differs: str
) -> None:
    calibrated(judged)
    other = "---\ninputs: [n]\n---\n{# user #}\nN: {{ n }}\n"
    Path("other.md.j2").write_text(other, encoding="utf-8")
    result = run("again", calibration="out/calibration.json", floor={"kappa": 0.1}, **change)
    assert result.exit_code == 2
    assert "is of another judge" in result.output
    assert differs in result.output


def test_what_becomes_of_a_verdict_does_not_make_another_judge(judged: Path) -> None:
    calibrated(judged)
    settings = {"calibration": "out/calibration.json", "floor": {"kappa": 0.1}, "into": "opinion"}
    assert run("again", **settings).exit_code == 0


def test_verdicts_of_a_file_name_no_judge(judged: Path) -> None:
    options = ("--people", "people.jsonl", "--verdict", "verdict.outcome", "--out", "c.json")
    assert invoke("calibrate", judged / "dataset/train.jsonl", *options).exit_code == 0
    result = run("again", calibration="c.json", floor={"kappa": 0.1})
    assert result.exit_code == 2
    assert "does not say whose they are" in result.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": "nowhere.json", "floor": {"kappa": 0.1}}, "nowhere.json: no such file"),
        ({"calibration": "rows.jsonl", "floor": {"kappa": 0.1}}, "is no calibration of this"),
        ({"calibration": "c.json", "floor": {"kapa": 0.1}}, "none on 'kapa'; did you mean kappa"),
        ({"calibration": "c.json", "floor": {"alpha": 0.1}}, "does not lower it; take accuracy"),
        ({"calibration": "c.json"}, "calibration and floor go together"),
        ({"floor": {"kappa": 0.1}}, "calibration and floor go together"),
    ],
)
def test_settings_that_say_nothing(judged: Path, settings: dict[str, Any], message: str) -> None:
    result = run("again", **settings)
    assert result.exit_code == 2
    assert message in result.output


def test_a_floor_takes_a_hundred_items(judged: Path) -> None:
    people = Path("people.jsonl").read_text(encoding="utf-8").splitlines()[:99]
    Path("people.jsonl").write_text("\n".join(people), encoding="utf-8")
    calibrated(judged)
    result = run("again", calibration="out/calibration.json", floor={"accuracy": 0.1})
    assert result.exit_code == 2
    assert "accuracy is of 99 items" in result.output
    assert "a floor takes 100 at least: label more" in result.output


def test_a_figure_that_the_file_does_not_have(judged: Path) -> None:
    calibrated(judged)
    result = run("again", calibration="out/calibration.json", floor={"weighted_kappa": 0.8})
    assert "has no weighted_kappa, of 120 items" in result.output


def test_scores_become_verdicts(judged: Path) -> None:
    assert run("scored", pairs=False).exit_code == 0
    calibrated(Path("scored"), "--good", "first", "--precision", "0.8")
    threshold = read_calibration(Path("scored/calibration.json")).threshold
    assert threshold is not None
    assert threshold.threshold == 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "nobody"], "no judge is named 'nobody'; there are: judge.tested"),
        (["--verdict", "verdict.outcome", "--first", "1:a"], "--first and --second go together"),
        (["--verdict", "verdict.loser"], "has no field 'verdict.loser'"),
        (["--score", "verdict.consistent"], "scores alone are no verdict"),
        (["--verdict", "verdict.outcome", "--precision", "0.9"], "name its field with --score"),
        (["--id", "n"], "120 of 120 ids have no verdict|has no field 'n'"),
    ],
)
def test_mistakes_of_the_command(judged: Path, options: list[str], message: str) -> None:
    result = invoke("calibrate", judged, "--people", "people.jsonl", *options)
    assert result.exit_code == 2
    assert any(part in result.output for part in message.split("|")), result.output


def test_json_is_the_file(judged: Path) -> None:
    result = invoke("calibrate", judged, "--people", "people.jsonl", "--json")
    assert json.loads(result.stdout) == json.loads((judged / "calibration.json").read_text())


def test_a_calibration_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_calibration(tmp_path / "none.json")


# --- which judge it is: what changes a verdict, and nothing else

RUBRIC = {"name": "a", "criteria": [{"name": "good", "asks": "?", "scale": [0, 9]}]}


def judge(use: str, known: dict[str, Any], **settings: Any) -> str:
    """The hash of a judge."""
    config = find_step(use).config.model_validate(settings)
    assert isinstance(config, Calibrated)
    blocks = {name: TeacherConfig.model_validate(block) for name, block in known.items()}
    prompts = {"judges/rubric": "1", "mine": "1", "new": "2"}
    return judge_record(use, config, blocks, prompts).sha256


def simulated(**more: Any) -> dict[str, Any]:
    return {"simulated": {"world": "arithmetic", **more}}


WHO = {"j": simulated(seed=1), "k": simulated(seed=2), "l": simulated(seed=3)}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"keep_at_least": 0.3, "into": "opinion"}, True),
        ({"prompt": "mine"}, True),  # the same words under another name
        ({"rubric": RUBRIC | {"name": "b"}}, True),
        ({"prompt": "new"}, False),
        ({"rubric": RUBRIC | {"about": "Be strict."}}, False),
        ({"samples": 3}, False),
        ({"field": "answer"}, False),
        ({"teacher": "k"}, False),
    ],
)
def test_a_judge_is_what_changes_its_verdict(change: dict[str, Any], same: bool) -> None:
    known = {"teacher": "j", "rubric": RUBRIC}
    one, other = (judge("judge.rubric", WHO, **(known | more)) for more in ({}, change))
    assert (one == other) is same


def test_a_teacher_is_who_answers_not_what_it_is_called() -> None:
    first = judge("judge.rubric", {"j": simulated(seed=1)}, teacher="j", rubric=RUBRIC)
    slower = simulated(seed=1, latency_s=0.5, rate_limit_rate=0.1) | {"concurrency": 3}
    assert judge("judge.rubric", {"main": slower}, teacher="main", rubric=RUBRIC) == first
    worse = simulated(seed=1, error_rate=0.1)
    assert judge("judge.rubric", {"j": worse}, teacher="j", rubric=RUBRIC) != first
    endpoint: dict[str, Any] = {"endpoint": "http://127.0.0.1:1/v1", "model": "m"}
    there = judge("judge.rubric", {"j": endpoint}, teacher="j", rubric=RUBRIC)
    changes: list[dict[str, Any]] = [
        {"model": "n"}, {"params": {"temperature": 1}}, {"headers": {"x-a": "b"}}
    ]  # fmt: skip
    for change in changes:
        assert judge("judge.rubric", {"j": endpoint | change}, teacher="j", rubric=RUBRIC) != there
    quicker = endpoint | {"timeout_s": 9, "endpoint": "http://127.0.0.1:1/v1/"}
    assert judge("judge.rubric", {"j": quicker}, teacher="j", rubric=RUBRIC) == there


def test_a_panel_is_its_teachers_and_families_and_what_a_yes_takes() -> None:
    panel: dict[str, Any] = {"rubric": RUBRIC, "vote": "majority", "yes_from": 0.7}
    families = {"j": "ant", "k": "ant"}
    first = judge("judge.panel", WHO, teachers=["j", "k", "l"], families=families, **panel)
    renamed = {"c": WHO["l"], "a": WHO["j"], "b": WHO["k"]}

    def again(families: dict[str, str], **more: Any) -> str:
        settings = {**panel, "families": families, **more}
        return judge("judge.panel", renamed, teachers=["c", "a", "b"], **settings)

    assert again({"b": "ant", "a": "ant"}, keep_at_least=0.51) == first
    assert again({"b": "ant", "a": "ant"}, yes_from=0.8) != first
    assert again({"c": "ant", "a": "ant"}) != first


def test_who_only_looks_on_is_no_judge() -> None:
    best: dict[str, Any] = {"teacher": "j", "rubric": RUBRIC, "prompt": "judges/rubric"}
    alone = judge("judge.best_of", WHO, **best)
    assert judge("judge.best_of", WHO, **best, check_teacher="k", into="text") == alone
    settings = find_step("judge.best_of").config.model_validate(best | {"into": "text"})
    assert settings.verdict_field == "verdict"


def test_the_middle_of_a_reward_moves_its_score_so_it_is_part_of_the_judge() -> None:
    """The score of the same reward is another, and with it what `keep_at_least` keeps."""
    reward = {"r": {"endpoint": "http://127.0.0.1:1/v1", "model": "m"}}
    one, other = (judge("judge.reward", reward, teacher="r", middle=m) for m in (0.0, 2.0))
    assert one != other
    assert logistic(1.0 - 0.0) > 0.5 > logistic(1.0 - 2.0)


def test_only_what_gives_verdicts_is_a_judge() -> None:
    assert _gives_verdicts("judge.best_of")
    assert not _gives_verdicts("judge.selfj")
    assert not _gives_verdicts("nowhere.to_be_found")
