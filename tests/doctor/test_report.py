"""The exit code follows from the gravest finding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synthkd.doctor.report import EXIT_CODE, Finding, Grade, Report

all_grades = st.lists(st.sampled_from(sorted(EXIT_CODE)), max_size=8)


def report(grades: list[Grade]) -> Report:
    findings = [Finding(about="x", check="y", grade=grade, said="z") for grade in grades]
    return Report(name="p", pipeline="p.yaml", findings=findings, probes=0, tokens=0)


@given(all_grades)
def test_the_gravest_finding_decides(grades: list[Grade]) -> None:
    code = report(grades).exit_code
    if "refused" in grades:
        assert code == 5
    elif "mend" in grades:
        assert code == 2
    else:
        assert code == 0
    assert (report(grades).verdict().startswith("ready")) == (code == 0)


def test_the_verdict_says_where_and_at_what_cost() -> None:
    done = report(["fine", "mend", "mend"])
    assert done.verdict() == "a run would not get through: see x; no question was asked"
    asked = done.model_copy(update={"findings": [], "probes": 6, "tokens": 1234})
    assert asked.verdict() == "ready to run; 6 tiny questions used 1,234 tokens"
    assert '"exit_code":2' in done.model_dump_json()
