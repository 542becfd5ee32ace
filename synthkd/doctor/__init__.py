"""`synthkd doctor`: everything that a pipeline needs, looked at before anything is spent.

    report.py     findings, how grave they are, the exit code
    teachers.py   each teacher: price, key, file, what it can do
    probes.py     one endpoint, asked with a few tiny requests
    abilities.py  what its replies show that it can do
    vllm.py       the servers that a run would start
    machine.py    source, disk, ledger, GPU, extras

    report = await examine(plan, out=Path("data/out/x"), ledger=Path(".synthkd/ledger.sqlite"))
    report.exit_code

Nothing is written, no budget is touched, and what the probes buy goes into no ledger.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from synthkd.doctor.machine import disk, extras, gpu, ledger_file, source, student
from synthkd.doctor.report import Examined, Finding, Report
from synthkd.doctor.teachers import examine_teacher
from synthkd.plan import Plan, wordless_teachers

__all__ = ["Finding", "Report", "examine"]


async def examine(plan: Plan, *, out: Path, ledger: Path, probe: bool = True) -> Report:
    """Look at every teacher of the pipeline and at the machine.

    Args:
        plan: the pipeline.
        out: where its results go.
        ledger: where its answers are kept.
        probe: ask each endpoint a few tiny questions, which cost a few tokens; else only its list
            of models is read, which costs nothing.
    """
    tasks: dict[str, asyncio.Task[Examined]] = {}
    async with asyncio.TaskGroup() as group:
        for name, config in plan.config.teachers.items():
            tasks[name] = group.create_task(
                examine_teacher(
                    name,
                    config,
                    base=plan.folder,
                    budget=plan.config.budget,
                    probe=probe,
                    wordless=wordless_teachers(plan),
                )
            )
    examined = [task.result() for task in tasks.values()]
    findings = [finding for one in examined for finding in one.findings]
    findings += source(plan.config.source, plan.folder)
    findings += student(plan.config.student, plan.folder)
    findings += [*disk("results", out), *disk("ledger", ledger), *ledger_file(ledger)]
    findings += [*gpu(), *extras()]
    return Report(
        name=plan.config.name,
        pipeline=plan.place,
        findings=findings,
        probes=sum(one.probes for one in examined),
        tokens=sum(one.tokens for one in examined),
    )
