"""Who answers, of the teachers whose weights are here: `vllm` and `student`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from synthkd.config import TeacherConfig
from synthkd.teachers.request import Identity
from synthkd.teachers.students import student_identities


async def identities_of_weights(
    configs: Mapping[str, TeacherConfig], base: Path, offline: bool
) -> dict[str, Identity]:
    """Who answers, by the teacher's name; reads the weights, once.

    Args:
        configs: of all teachers; others are left out.
        base: the pipeline file's folder.
        offline: ask no hub.

    Raises:
        UserError: a model that is none, or cannot be read.
    """
    served = {name: config for name, config in configs.items() if config.vllm is not None}
    students = {name: c.student for name, c in configs.items() if c.student is not None}
    if not served and not students:
        return {}
    from synthkd.teachers.vllm.identity import identities

    left = threading.Event()
    try:
        return {
            **await asyncio.to_thread(identities, served, base, offline, left),
            **await asyncio.to_thread(student_identities, students, base, left),
        }
    finally:
        left.set()
