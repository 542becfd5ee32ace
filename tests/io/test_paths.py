from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthkd.errors import SourceError
from synthkd.io.paths import find_file


def test_a_missing_file_lists_the_places_and_near_names(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").touch()
    with pytest.raises(SourceError) as caught:
        find_file("tickts.jsonl", tmp_path / "base")
    message = str(caught.value)
    assert f"{tmp_path / 'tickts.jsonl'}, {tmp_path / 'base' / 'tickts.jsonl'}" in message
    assert "did you mean tickets.jsonl?" in message
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="folder is a folder: name a file in it"):
        find_file("folder", tmp_path)


def test_variables_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "a.jsonl"
    path.parent.mkdir()
    path.touch()
    monkeypatch.delenv("DATA", raising=False)
    assert find_file("${DATA:-data}/a.jsonl", tmp_path) == path
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    assert find_file("${DATA}/a.jsonl", tmp_path) == path
    assert find_file("${DATA:-nowhere}/a.jsonl", tmp_path) == path
    monkeypatch.setenv("DATA", "")
    assert find_file("${DATA:-data}/a.jsonl", tmp_path) == path


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    assert "SYNTHKD_NO_SUCH" not in os.environ
    with pytest.raises(SourceError, match=r"variable SYNTHKD_NO_SUCH is not set.*SUCH:-default"):
        find_file("${SYNTHKD_NO_SUCH}/a.jsonl", tmp_path)
