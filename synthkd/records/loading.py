"""A schema of records out of a pipeline file, or of a file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from synthkd.errors import UserError
from synthkd.io.paths import find_file
from synthkd.pipeline_file import faults_of, read_yaml
from synthkd.records.schema import RecordSchema

Written = str | dict[str, Any]
"""The fields themselves, or the path of a file that has them."""


def load_schema(written: Written, base: Path) -> RecordSchema:
    """The schema that a setting names or holds.

    Args:
        written: a path (YAML or JSON), or `{name, fields}`.
        base: the pipeline file's folder.

    Raises:
        UserError: there is no such file, or no reply could fit the schema; every fault is told.
    """
    if isinstance(written, str):
        path = find_file(written, base)
        return _loaded(str(path), path.stat().st_mtime_ns)
    return _checked(orjson.dumps(written))


def schema_or_none(written: Written | None) -> RecordSchema | None:
    """The schema of a plan's `evaluate.record`, which holds the fields themselves."""
    return None if written is None else load_schema(written, Path())


@lru_cache(maxsize=8)
def _loaded(path: str, changed_ns: int) -> RecordSchema:
    return _of(read_yaml(Path(path), holds="name, fields"), path)


@lru_cache(maxsize=32)
def _checked(written: bytes) -> RecordSchema:
    return _of(orjson.loads(written), "record")


def _of(raw: Mapping[str, Any], place: str) -> RecordSchema:
    try:
        return RecordSchema.model_validate(raw)
    except ValidationError as error:
        raise UserError("; ".join(faults_of(error, place))) from error
