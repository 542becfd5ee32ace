"""What the doctor finds, how grave it is, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import computed_field

from synthkd.errors import TeacherRefused, UserError
from synthkd.manifest import Record

Grade = Literal["fine", "note", "warning", "mend", "refused"]
"""`note`: good to know. `warning`: may surprise. `mend`: a run would not start or not get through.
`refused`: the teacher refuses for good."""

EXIT_CODE: Mapping[Grade, int] = {
    "fine": 0,
    "note": 0,
    "warning": 0,
    "mend": UserError.exit_code,
    "refused": TeacherRefused.exit_code,
}


class Finding(Record):
    """One thing that was looked at."""

    about: str
    """A teacher as `teachers.NAME`, or a part of the machine."""
    check: str
    grade: Grade
    said: str


@dataclass(slots=True)
class Examined:
    """What was found about one teacher, and what finding it cost."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    probes: int = 0
    tokens: int = 0

    def add(self, check: str, grade: Grade, said: str) -> None:
        """Note a finding."""
        about = f"teachers.{self.name}"
        self.findings.append(Finding(about=about, check=check, grade=grade, said=said))


class Report(Record):
    """All findings about one pipeline."""

    name: str
    pipeline: str
    """The pipeline file."""
    findings: list[Finding]
    probes: int
    """Tiny requests that were sent; lists of models, which cost nothing, not counted."""
    tokens: int
    """What the providers say the probes used."""

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents it so
    @property
    def exit_code(self) -> int:
        """0; 2 when there is something to mend; 5 when a teacher refuses."""
        return max((EXIT_CODE[finding.grade] for finding in self.findings), default=0)

    def verdict(self) -> str:
        """The last line, for people."""
        wrong = [each for each in self.findings if EXIT_CODE[each.grade]]
        places = ", ".join(dict.fromkeys(each.about for each in wrong))
        verdict = f"a run would not get through: see {places}" if wrong else "ready to run"
        if not self.probes:
            return f"{verdict}; no question was asked"
        return f"{verdict}; {self.probes} tiny questions used {self.tokens:,} tokens"
