from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from pydantic import ValidationError

from synthkd.curate.privacy import memorised
from synthkd.curate.privacy.memorised import MemorisedConfig, nearest_of
from synthkd.errors import ConfigError
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline

KNOWN = [
    "The heron stands in the shallow water and waits for a fish.",
    "Bread rises because yeast makes bubbles of gas in the dough.",
    "The night train leaves at seven from the last platform.",
]


def run(folder: Path, answers: list[Any], **settings: Any) -> tuple[Manifest, list[dict[str, Any]]]:
    rows = [{"id": f"r{n}", "a": answer} for n, answer in enumerate(answers)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    for name, texts in (("one", KNOWN[:1]), ("two", KNOWN[1:])):
        lines = [{"t": "", "n": 0}, *({"t": text} for text in texts)]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    against = [{"jsonl": f"{name}.jsonl", "field": "t"} for name in ("one", "two")]
    step = {"use": "privacy.memorised", "with": {"fields": ["a"], "against": against, **settings}}
    flagged = settings.get("action") != "drop"
    pipeline = {
        "name": "recited",
        "source": {"jsonl": "rows.jsonl", "id": ["id"]},
        "steps": [step],
        "export": {"format": "rows", "keep": ["a", *(["nearest_known"] if flagged else [])]},
    }
    file = folder / "recited.yaml"
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    manifest = Pipeline.load(file, out=folder / "out").run_sync()
    kept = (folder / "out" / "dataset" / "train.jsonl").read_text("utf-8").splitlines()
    return manifest, [orjson.loads(line) for line in kept]


def test_the_nearest_record_is_named(tmp_path: Path) -> None:
    answers = [KNOWN[2].upper(), "Nobody ever wrote about purple submarines here.", ""]
    manifest, rows = run(tmp_path, answers)
    # Objects are JSON in a column.
    first, second, blank = (orjson.loads(row["nearest_known"] or "null") for row in rows)
    assert (first["of"], first["record"]) == ("two.jsonl", 3)
    assert first["cosine"] == pytest.approx(1, abs=1e-3)
    assert second is None or second["cosine"] < 0.5
    assert blank is None
    figures = manifest.figures["privacy.memorised"]
    assert (figures["known"], figures["memorised"], figures["worth_a_look"]) == (5, 1, 0)


def test_what_is_memorised_is_dropped_with_the_record(tmp_path: Path) -> None:
    manifest, rows = run(tmp_path, [KNOWN[0], "A text that is nobody's.", 7], action="drop")
    assert [row["a"] for row in rows] == ["A text that is nobody's."]
    assert manifest.funnel["privacy.memorised"].reasons == {"memorised": 1, "no_text": 1}


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 8)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    whole = nearest_of(values, 10)
    monkeypatch.setattr(memorised, "BLOCK", 7)
    place, cosine = nearest_of(values, 10)
    assert (place == whole[0]).all()
    assert cosine == pytest.approx(whole[1], abs=1e-6)
    products = values[:10] @ values[10:].T
    assert (place == products.argmax(axis=1)).all()


def test_faults_are_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"review 0\.9 must not be above threshold 0\.8"):
        MemorisedConfig.model_validate(
            {
                "fields": ["a"],
                "against": [{"jsonl": "x.jsonl", "field": "t"}],
                "threshold": 0.8,
                "review": 0.9,
            }
        )
    with pytest.raises(ConfigError, match=r"against\[0\]: .*no such file"):
        run(tmp_path, ["x"], against=[{"jsonl": "nowhere.jsonl", "field": "t"}])
