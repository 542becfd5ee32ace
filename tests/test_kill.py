"""SIGKILL of the real command: the same bytes, hardly a repeat, never over budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthkd.fake_teacher import in_process
from tests.runs import finished, killed_after, tree_bytes

IN_FLIGHT = 8
ROWS = 40
PIPELINE = """
name: killed
teachers:
  main:
    endpoint: {url}
    model: fake
    served_by: the-fake
    concurrency: {in_flight}
    max_attempts: 20
    params: {{max_tokens: 50, seed: 1}}
    price: {{prompt: 1.0, completion: 4.0}}
budget: {{requests: {budget}}}
source: {{jsonl: rows.jsonl, id: [id], holdout: {{test: 0.2, by: [id]}}}}
steps:
  - {{use: generate, with: {{teacher: main, samples: 3}}}}
  - {{use: gate.length, with: {{field: response, min_words: 4}}}}
  - {{use: dedup.exact, with: {{field: response}}}}
  - {{use: generate, name: again, with: {{teacher: main, into: second}}}}
export: {{format: messages, prompt: instruction, completion: response, keep: [second]}}
"""


def write_inputs(folder: Path, url: str, *, budget: int = 100_000) -> Path:
    rows = [
        {"id": f"r{i}", "instruction": f"say {'something ' * (i % 4)}about {i % 30}"}
        for i in range(ROWS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pipeline = folder / "killed.yaml"
    text = PIPELINE.format(url=url, in_flight=IN_FLIGHT, budget=budget)
    pipeline.write_text(text, encoding="utf-8")
    return pipeline


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_at_any_point_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    with in_process("--latency", "0.01") as provider:
        pipeline = write_inputs(tmp_path, provider.url)
        calm = finished("run", pipeline, "--out", "calm", "--ledger", "calm.db", cwd=tmp_path)
        assert calm.returncode == 0, calm.stderr
        wanted = tree_bytes(tmp_path / "calm" / "dataset")
        asked = provider.stats["requests"]
        assert provider.repeats == 0
        for point, kill_at in enumerate([1, 5, 9, asked // 3, asked // 2, asked - 20, asked - 3]):
            out, ledger = f"out{point}", f"ledger{point}.db"
            repeats = provider.repeats
            started = provider.stats["requests"]
            run = ("run", pipeline, "--out", out, "--ledger", ledger)
            killed = killed_after(provider, kill_at, *run, cwd=tmp_path)
            assert not (tmp_path / out / "manifest.json").exists() or not killed
            again = finished(*run, cwd=tmp_path)
            assert again.returncode == 0, again.stderr
            assert tree_bytes(tmp_path / out / "dataset") == wanted
            # Every body was asked once by the calm run and once here; the rest are repeats.
            fresh = provider.stats["requests"] - started
            assert fresh - asked <= IN_FLIGHT
            assert provider.repeats - repeats == fresh


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_warm_second_run_asks_nothing_and_writes_the_same(tmp_path: Path) -> None:
    with in_process() as provider:
        pipeline = write_inputs(tmp_path, provider.url)
        assert finished("run", pipeline, "--out", "a", cwd=tmp_path).returncode == 0
        asked = provider.stats["requests"]
        again = finished("run", pipeline, "--out", "b", cwd=tmp_path)
        offline = finished("run", pipeline, "--out", "c", "--offline", cwd=tmp_path)
        assert again.returncode == offline.returncode == 0, again.stderr + offline.stderr
        assert provider.stats["requests"] == asked
    wanted = tree_bytes(tmp_path / "a" / "dataset")
    assert tree_bytes(tmp_path / "b" / "dataset") == wanted
    assert tree_bytes(tmp_path / "c" / "dataset") == wanted


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_in_a_row_never_pass_the_budget(tmp_path: Path) -> None:
    budget = 60
    faults = ("--fault", "lost=0.1", "--fault", "500=0.1", "--fault", "429=0.1")
    with in_process("--latency", "0.005", "--retry-after", "0", *faults) as provider:
        pipeline = write_inputs(tmp_path, provider.url, budget=budget)
        run = ("run", pipeline, "--out", "out", "--set", "limits.max_failed=1.0")
        for _ in range(20):
            killed_after(provider, 2, *run, cwd=tmp_path)
            assert provider.stats["billed_requests"] <= budget
        last = finished(*run, cwd=tmp_path)
        assert last.returncode == 3, last.stderr
        assert "budget" in last.stderr
        assert provider.stats["billed_requests"] <= budget
        before = provider.stats["requests"]
        raised = finished(*run, "--set", "budget.requests=1000", cwd=tmp_path)
        assert raised.returncode == 0, raised.stderr
        assert provider.stats["requests"] > before
