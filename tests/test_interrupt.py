"""Ctrl-C of the real command while a thread is busy: exit 130, no traceback, resumable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from synthkd.fake_teacher import in_process
from tests.runs import DEADLINE_S, command, finished

ROWS = 30
MODULE = """
import os, pathlib, time
from synthkd.steps import StepSettings, table_step


@table_step("slow.table")
def slow(table, kit, config: StepSettings, /):
    for row in table:
        pathlib.Path("at_work").touch()
        time.sleep(float(os.environ["SLOW_S"]))
        yield row
"""
PIPELINE = """
name: interrupted
teachers: {{main: {{endpoint: {url}, model: fake}}}}
source: {{jsonl: rows.jsonl, id: [id]}}
steps:
  - {{use: generate, with: {{teacher: main}}}}
  - {{use: slow.table}}
  - {{use: gate.length, with: {{field: response, min_words: 0}}}}
"""


def write_inputs(folder: Path, url: str) -> None:
    """A pipeline whose table step comes from a plugin, installed as a package would be."""
    rows = [{"id": f"r{i}", "instruction": f"say {i}"} for i in range(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "p.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
    about = folder / "plugin" / "slow_step-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: slow-step\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(
        "[synthkd.steps]\nslow.table = slow_step\n", encoding="utf-8"
    )
    (folder / "plugin" / "slow_step.py").write_text(MODULE, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_interrupt_during_a_slow_table_step_is_quick_quiet_and_resumable(
    tmp_path: Path,
) -> None:
    with in_process() as provider:
        write_inputs(tmp_path, provider.url)
        plugin = {"PYTHONPATH": str(tmp_path / "plugin"), "SLOW_S": "0.5"}
        process = subprocess.Popen(
            command("run", "p.yaml", "--out", "out"),
            cwd=tmp_path,
            env={**os.environ, **plugin},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + DEADLINE_S
        while not (tmp_path / "at_work").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=DEADLINE_S)[1]
        assert process.returncode == 130, said
        assert "interrupted: run the same command again to resume" in said
        assert "Traceback" not in said
        assert not (tmp_path / "out" / "manifest.json").exists()
        again = finished(
            "run", "p.yaml", "--out", "out", cwd=tmp_path, env={**plugin, "SLOW_S": "0"}
        )
        assert again.returncode == 0, again.stderr
        assert provider.stats["requests"] == ROWS
    assert len((tmp_path / "out/dataset/train.jsonl").read_bytes().splitlines()) == ROWS
