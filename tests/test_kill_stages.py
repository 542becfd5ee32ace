"""SIGKILL at each stage of the real command: nothing half looks whole; running again mends it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from synthkd.fake_teacher import TeacherProcess, in_process
from synthkd.pipeline import read_manifest
from tests.runs import finished, killed_at, tree_bytes
from tests.test_folder import write_labelled

STAGES = ["sorting", "exporting", "training", "evaluating", "done"]


def prepared(folder: Path, provider: TeacherProcess) -> Path:
    return write_labelled(folder, provider.url, rows=200)


def is_whole(folder: Path) -> bool:
    """Whether every file is what the manifest says."""
    manifest = read_manifest(folder)
    there = tree_bytes(folder)
    return all(
        hashlib.sha256(there[name]).hexdigest() == wanted for name, wanted in manifest.files.items()
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_at_any_stage_and_run_again(tmp_path: Path) -> None:
    with in_process() as provider:
        pipeline = prepared(tmp_path, provider)
        calm = finished("run", pipeline, "--out", "calm", cwd=tmp_path)
        assert calm.returncode == 0, calm.stderr
        wanted = tree_bytes(tmp_path / "calm" / "dataset")
        for stage in STAGES:
            run = ("run", pipeline, "--out", stage)
            killed = killed_at(stage, *run, cwd=tmp_path)
            assert killed or stage == "done"
            if (tmp_path / stage / "manifest.json").exists():
                assert is_whole(tmp_path / stage)
            assert finished(*run, cwd=tmp_path).returncode == 0
            assert tree_bytes(tmp_path / stage / "dataset") == wanted
            assert is_whole(tmp_path / stage)
            assert not [p.name for p in (tmp_path / stage).iterdir() if p.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_kill_while_training_again_leaves_the_complete_run(tmp_path: Path) -> None:
    with in_process() as provider:
        pipeline = prepared(tmp_path, provider)
        assert finished("run", pipeline, "--out", "out", cwd=tmp_path).returncode == 0
        before = tree_bytes(tmp_path / "out")
        train = ("train", "out", "--set", "student.regularisation=1.0")
        assert killed_at("evaluating", *train, cwd=tmp_path)
        after = tree_bytes(tmp_path / "out")
        assert {name: after[name] for name in before} == before
        assert is_whole(tmp_path / "out")
        assert finished(*train, cwd=tmp_path).returncode == 0
        assert is_whole(tmp_path / "out")
        assert read_manifest(tmp_path / "out").config["student"]["regularisation"] == 1.0
