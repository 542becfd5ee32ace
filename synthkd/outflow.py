"""What leaves this machine for whom: of every step that asks, the fields that a teacher would see.

    label asks main at api.example.com: text (as in the source; no privacy step before it)

A field leaves where the step's prompt declares it as an input. What else the step needs may leave
too: inside of an input that it computes, or where it has no prompt (one that embeds, say); its
`gold` does not, which steps keep from teachers. What is shown is what could
leave; nothing is sent to find it out. The rows that an evaluation asks about are those that were
held out, and no step has touched them, `privacy.mask` included: they are told apart.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from synthkd.config import HostedConfig, TeacherConfig
from synthkd.plan import BoundRowStep, BoundTableStep, Plan, asked_step
from synthkd.teachers.endpoint import base_urls

MASK = "privacy.mask"
"""The step that masks its `fields`; the other privacy steps look and change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A field that a teacher would see."""

    field: str
    origin: str | None
    """The step that makes it; None = it comes with the source."""
    masked_by: str | None
    """The privacy step that it went through before; None = none."""
    surely: bool = True
    """Whether the prompt names it; else the step needs it, and may send it in what it computes."""

    def in_words(self) -> str:
        """For people."""
        origin = "as in the source" if self.origin is None else f"made by {self.origin}"
        maybe = "" if self.surely else "; perhaps"
        if self.masked_by is not None:
            return f"{self.field} ({origin}, then {self.masked_by}{maybe})"
        return f"{self.field} ({origin}; no privacy step before it{maybe})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outflow:
    """What one step would show to one teacher."""

    step: str
    teacher: str
    to: Literal["elsewhere", "this machine", "nobody"]
    """nobody: recorded and simulated teachers and students answer from files and from code."""
    hosts: tuple[str, ...] = ()
    """Those elsewhere, as the endpoints name them."""
    fields: tuple[Sent, ...] = ()
    computed: tuple[str, ...] = ()
    """Inputs of the prompt that the step computes itself, from the fields or its settings."""

    def in_words(self) -> str:
        """One line for people."""
        where = f"at {', '.join(self.hosts)}" if self.to == "elsewhere" else f"({self.to})"
        fields = [sent.in_words() for sent in self.fields]
        fields += [f"{name} (computed)" for name in self.computed]
        return f"{self.step} asks {self.teacher} {where}: {', '.join(fields) or 'no field'}"


def outflows(plan: Plan) -> list[Outflow]:
    """Of every step that asks and each of its teachers, in the order of the pipeline."""
    found: list[Outflow] = []
    known = _Known()
    for bound in plan.steps:
        found += _of_step(plan, bound, bound.label, known)
        known.pass_through(bound)
    student = plan.config.student
    if isinstance(student, HostedConfig):
        found.append(_of_student(student, known))
    evaluate = plan.config.evaluate
    if evaluate is not None and evaluate.ask is not None:
        asked = asked_step(plan, evaluate.ask)
        found += _of_step(plan, asked, f"{asked.label} (evaluation)", _Known())
    return found


@dataclass(slots=True)
class _Known:
    """What became of fields so far."""

    origin: dict[str, str] = field(default_factory=dict)
    masked_by: dict[str, str] = field(default_factory=dict)

    def pass_through(self, bound: BoundRowStep | BoundTableStep) -> None:
        for name in bound.gives:
            self.origin[name] = bound.label
            self.masked_by.pop(name, None)
        if bound.step.name == MASK:
            masked = getattr(bound.config, "fields", ())
            self.masked_by |= {name: bound.label for name in masked if isinstance(name, str)}


def _of_step(
    plan: Plan, bound: BoundRowStep | BoundTableStep, label: str, known: _Known
) -> Iterator[Outflow]:
    inputs = [name for prompt in bound.prompts.values() for name in prompt.inputs]
    computed = [name for name in dict.fromkeys(inputs) if name in bound.step.supplies]
    named = [name for name in dict.fromkeys(inputs) if name not in bound.step.supplies]
    kept = {*named, *computed, getattr(bound.config, "gold", None)}
    # Besides what its prompt names, such as the answer that a student is asked to score.
    also = [*getattr(bound.config, "also_shown", ())]
    others = [name for name in bound.needs if name not in {*kept, *also}]
    # And what rows may lack, such as the input of an instruction.
    others += [name for name in getattr(bound.config, "may_show", ()) if name not in others]
    sent = tuple(
        Sent(
            field=name,
            origin=known.origin.get(name),
            masked_by=known.masked_by.get(name),
            surely=name in {*named, *also},
        )
        for name in [*named, *also, *(others if computed or not bound.prompts else ())]
    )
    for teacher in bound.teachers:
        to, hosts = destination(plan.config.teachers[teacher])
        yield Outflow(
            step=label, teacher=teacher, to=to, hosts=hosts, fields=sent, computed=tuple(computed)
        )


def _of_student(config: HostedConfig, known: _Known) -> Outflow:
    """The training file, which goes to a provider as a whole."""
    to, hosts = destination(config.asked_as(config.base))
    fields = tuple(
        Sent(field=name, origin=known.origin.get(name), masked_by=known.masked_by.get(name))
        for _, name in config.fields()
    )
    return Outflow(step="student", teacher=config.base, to=to, hosts=hosts, fields=fields)


def destination(
    config: TeacherConfig,
) -> tuple[Literal["elsewhere", "this machine", "nobody"], tuple[str, ...]]:
    """Where a teacher's requests go, and the hosts among that which are elsewhere."""
    if config.kind in {"recorded", "simulated", "student"}:
        return "nobody", ()
    named = [urlsplit(url).hostname or url for url in base_urls(config)]
    hosts = tuple(dict.fromkeys(host for host in named if not is_this_machine(host)))
    return ("elsewhere", hosts) if hosts else ("this machine", ())


def is_this_machine(host: str) -> bool:
    """Whether the host is the loopback. A tunnel behind it may lead on, which nobody can see."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def lines_of(flows: Sequence[Outflow]) -> Iterator[str]:
    """For people: what would leave, and what goes unmasked to another machine."""
    if not flows:
        return
    yield "what the teachers would see"
    yield from (f"  {flow.in_words()}" for flow in flows)
    bare: Mapping[str, None] = dict.fromkeys(
        f"{sent.field} to {host}"
        for flow in flows
        for host in flow.hosts
        for sent in flow.fields
        if sent.masked_by is None and sent.origin is None
    )
    if bare:
        yield f"  leaves this machine as the source has it: {', '.join(bare)}"
