"""pipelines/curate.yaml on its real source: funnel, controls, figures and reasons can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from synthkd.cli import app
from synthkd.pipeline import Pipeline

ROWS = 600
"""Of 9,229: the whole takes 27 s of CPU."""

CHAIN = [
    *("gate.length", "gate.language", "gate.refusal", "gate.repetition", "gate.truncated"),
    *("gate.leak", "dedup.exact", "dedup.minhash", "dedup.semantic", "decontaminate"),
    *("privacy.mask", "cluster.assign", "diversity_before", "balance", "diversity_after"),
]


@pytest.mark.timeout(150)  # 10 s of CPU, on a machine that may be busy
def test_the_raw_instruction_set_goes_through_the_chain(
    project: Path, recorded_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("py3langid")
    monkeypatch.setenv("SYNTHKD_DATA", str(recorded_data))
    small = ["steps.balance.with.rows=200", "steps.cluster.assign.with.clusters=20"]
    file = project / "pipelines" / "curate.yaml"
    manifest = Pipeline.load(file, out="out", overrides=small, limit=ROWS).run_sync()
    assert list(manifest.funnel) == CHAIN
    assert manifest.counts.read == ROWS
    assert manifest.counts.kept == 200
    assert manifest.funnel["balance"].reasons == {
        "over_budget": manifest.funnel["balance"].entered - 200
    }
    figures = manifest.figures["balance"]
    for control in ("control random", "control cluster_uniform"):
        assert figures[control]["rows"] == 200
        assert 0 <= figures[control]["mean claude_score_ge_4_5"] <= 1
    evenness = [
        manifest.figures[name]["in_clusters"]["as_even_as"]
        for name in ("diversity_before", "diversity_after")
    ]
    assert evenness[0] < evenness[1]
    assert manifest.figures["decontaminate"]["benchmarks"]["gsm8k"]["items"] == 660
    shown = CliRunner().invoke(app, ["show", "out"])
    assert shown.exit_code == 0
    for part in (*CHAIN, "over_budget", "control random", "vendi", "of its"):
        assert part in shown.output
