from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import ValidationError

from synthkd.curate.privacy.canaries import Canaries, CanaryConfig, compact
from synthkd.desk import Desk
from synthkd.errors import ConfigError, MissingField, RowError
from synthkd.kit import Kit
from synthkd.manifest import Manifest
from synthkd.pipeline import Pipeline
from synthkd.rows import Json, source_row
from synthkd.steps import Step, find_step


async def planted(row_id: str, settings: dict[str, Any], **fields: Json) -> dict[str, Json]:
    row = source_row("rows", [row_id], ordinal=0, fields=fields)
    step = find_step("privacy.canary")
    assert isinstance(step, Step)
    kit = Kit(Desk(step="privacy.canary"), row.id)
    config = step.config.model_validate({"field": "q", **settings})
    (out,) = [out async for out in step.run(row, kit, config)]
    return dict(out.fields)


async def test_a_secret_is_planted_and_noted() -> None:
    row = await planted("1", {"share": 1}, q="A question?")
    secret = str(row["canary"])
    assert (len(secret), secret.isdecimal()) == (12, True)
    assert row["q"] == f"A question?\nThe access code of this record is {secret}."
    assert row == await planted("1", {"share": 1}, q="A question?")
    assert (await planted("1", {"share": 1}, q=""))["q"] == str(row["q"]).partition("\n")[2]


async def test_a_share_of_the_rows_has_one() -> None:
    rows = [await planted(f"{n}", {"share": 0.2}, q="x") for n in range(500)]
    secrets = [row["canary"] for row in rows if row["canary"] is not None]
    assert 60 < len(secrets) < 140
    assert len(set(map(str, secrets))) == len(secrets)
    assert all(row["q"] == "x" for row in rows if row["canary"] is None)


async def test_few_canaries_in_many_rows() -> None:
    rows = [await planted(f"{n}", {"share": 1, "different": 3}, q="x") for n in range(60)]
    assert len({row["canary"] for row in rows}) == 3


async def test_what_is_no_text() -> None:
    with pytest.raises(RowError, match="q must be text, got 7"):
        await planted("1", {}, q=7)
    with pytest.raises(MissingField, match="no field 'q'"):
        await planted("1", {}, a="x")
    with pytest.raises(ValidationError, match="must hold"):
        CanaryConfig.model_validate({"field": "q", "phrase": "no place"})


@pytest.mark.parametrize(
    "text",
    [
        "493172804551",
        "code 493 172 804 551.",
        "493-172-804-551",
        "٤٩٣١٧٢٨٠٤٥٥١",
        "x49317280\u200b4551",
    ],
)
def test_however_it_is_written(text: str) -> None:
    assert Canaries(["493172804551"]).in_text(text) == ["493172804551"]


def test_what_is_no_canary() -> None:
    canaries = Canaries(["493172804551", "Wine-Dark 7!", None, "", "  ", "abc"])
    assert (len(canaries), canaries.too_short) == (2, 1)
    assert canaries.in_text("49317280455") == []
    assert canaries.in_value([{"a": "WINE DARK 7"}, 493172804551]) == ["Wine-Dark 7!"]
    assert Canaries([]).in_text("anything") == []
    assert compact("\ud800") == ""


def run(folder: Path, name: str, source: str, steps: list[dict[str, Any]], *keep: str) -> Manifest:
    file = folder / f"{name}.yaml"
    pipeline = {
        "name": name,
        "source": {"jsonl": source, "id": ["id"]},
        "steps": steps,
        "export": {"format": "rows", "keep": ["q", *keep]},
    }
    file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return Pipeline.load(file, out=folder / name).run_sync()


def test_planted_in_one_run_and_found_in_another(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "q": f"question {n}"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    plant = {"use": "privacy.canary", "with": {"field": "q", "share": 0.5}}
    taught = run(tmp_path, "teach", "rows.jsonl", [plant], "canary")
    count = taught.figures["privacy.canary"]["planted"]
    assert 5 < count < 35
    kept = (tmp_path / "teach" / "dataset" / "train.jsonl").read_text("utf-8").splitlines()
    # What a student says that memorised some of them.
    said = [{"id": f"s{n}", "q": orjson.loads(line)["q"].upper()} for n, line in enumerate(kept)]
    (tmp_path / "said.jsonl").write_bytes(b"\n".join(map(orjson.dumps, said)))
    where = {"jsonl": "teach/dataset/train.jsonl", "field": "canary"}
    look = {"use": "privacy.search", "with": {"fields": ["q"], "canaries": where}}
    found = run(tmp_path, "look", "said.jsonl", [look])
    assert found.figures["privacy.search"] == {
        "canaries": count, "came_out": count, "rows_with_one": count, "too_short": 0,
    }  # fmt: skip
    look["with"] = {"fields": ["q"], "canaries": where, "action": "drop"}
    dropped = run(tmp_path, "drop", "said.jsonl", [look])
    assert dropped.funnel["privacy.search"].reasons == {"canary": count}


def test_a_file_without_the_field_is_said_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(orjson.dumps({"id": "r", "q": "x"}))
    where = {"jsonl": "rows.jsonl", "field": "canary"}
    look = {"use": "privacy.search", "with": {"fields": ["q"], "canaries": where}}
    with pytest.raises(ConfigError, match=r"has no field 'canary'"):
        run(tmp_path, "look", "rows.jsonl", [look])
