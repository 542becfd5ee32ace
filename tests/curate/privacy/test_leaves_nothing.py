"""A whole run against a real socket: nothing of what was masked arrives, or is written anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from synthkd.fake_teacher import FakeTeacher, in_thread
from synthkd.pipeline import Pipeline
from tests.runs import tree_bytes

SECRETS = (
    "ana@example.com",
    "4111 1111 1111 1111",
    "+49 30 1234567",
    "DE89 3704 0044 0532 0130 00",
)
KEY = "a pseudonym key that nobody may ever see"
PROMPT = "---\ninputs: [text]\noutput: text\n---\n{# user #}\n{{ text }}\n"


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"action": "pseudonym", "key_env": "THE_KEY"},
        {"action": "drop"},
    ],
    ids=["placeholder", "pseudonym", "drop"],
)
def test_nothing_arrives_and_nothing_is_written(
    tmp_path: Path, action: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    rows = [{"id": f"r{n}", "text": f"My data: {secret}."} for n, secret in enumerate(SECRETS)]
    rows.append({"id": "plain", "text": "Nothing to hide."})
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (tmp_path / "say.md.j2").write_text(PROMPT, encoding="utf-8")
    with in_thread(FakeTeacher()) as provider:
        pipeline = {
            "name": "kept",
            "teachers": {
                "main": {"endpoint": provider.url, "model": "m", "api_key_env": "THE_API"}
            },
            "source": {"jsonl": "rows.jsonl", "id": ["id"]},
            "steps": [
                {"use": "privacy.mask", "with": {"fields": ["text"], **action}},
                {"use": "generate", "with": {"teacher": "main", "prompt": "say"}},
            ],
            "export": {"format": "messages", "prompt": "text", "completion": "response"},
        }
        monkeypatch.setenv("THE_API", "k")
        file = tmp_path / "kept.yaml"
        file.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
        ledger = tmp_path / "state" / "ledger.db"
        loaded = Pipeline.load(file, out=tmp_path / "out", ledger=str(ledger))
        manifest = loaded.run_sync()
        arrived = orjson.dumps([dict(body) for body in provider.seen])
    dropped = action.get("action") == "drop"
    assert len(provider.seen) == (1 if dropped else len(rows))
    assert manifest.funnel["privacy.mask"].reasons == ({"personal_data": 4} if dropped else {})
    written = b"".join(tree_bytes(tmp_path / "out").values())
    for secret in (*SECRETS, KEY):
        assert secret.encode() not in arrived
        assert secret.encode() not in written
    if not dropped:
        masked = {f"masked_{kind}": 1 for kind in ("card", "email", "iban", "phone")}
        assert manifest.figures["privacy.mask"] == masked
