"""What a person sees: literal text, unknown never zero, simulated named wherever it shows."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType

from synthkd.display import (
    LINE_EVERY_S,
    Lines,
    account_text,
    console_for,
    funnel_table,
    progress_line,
    progress_view,
    rejections_table,
    sample_text,
    spend_text,
    summary,
    watch,
)
from synthkd.manifest import (
    Contestant,
    Counts,
    Difference,
    Evaluation,
    Interval,
    Manifest,
    PriceRecord,
    Progress,
    Spend,
    StepCounts,
    TeacherCounts,
)
from synthkd.tables import printable


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def shown(renderable: RenderableType) -> str:
    stream = io.StringIO()
    console_for(stream).print(renderable)
    return stream.getvalue()


def progress(**changed: Any) -> Progress:
    values: dict[str, Any] = {
        "stage": "asking",
        "rows_total": 1000,
        "rows_entered": 250,
        "elapsed_s": 10.0,
        "funnel": {
            "label": StepCounts(entered=250, out=240, rejected=10, reasons={"no_votes": 10})
        },
        "teachers": {"main": TeacherCounts(asked=300, hits=40, in_flight=7, rate_limited=3)},
        "spend": Spend(requests=260, usd=0.5, budget={"usd": 2.0, "requests": None}),
    }
    return Progress(**(values | changed))


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.1, high=value + 0.1)


def manifest(**changed: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "tickets",
        "run_id": "r1",
        "pipeline": "tickets.yaml",
        "simulated": [],
        "counts": Counts(read=10, kept=7, rejected=2, failed=1),
        "funnel": {"gate": StepCounts(entered=10, out=7, rejected=2, failed=1)},
        "teachers": {"main": TeacherCounts(asked=10)},
        "spend": Spend(requests=10),
        "wall_s": 1.0,
        "cpu_s": 0.5,
        "dataset": {},
        "config": {},
        "prompts": {},
        "versions": {},
        "files": {},
    }
    return Manifest(**(values | changed))


def test_steps_say_how_far_they_are() -> None:
    line = progress_line(progress(told=["grow: 7 of 9 accepted\x1b[2J"]))
    assert "| grow: 7 of 9 accepted" in line
    assert "\x1b" not in line


def test_a_line_tells_the_moment() -> None:
    line = progress_line(progress())
    for part in ("asking", "250/1,000 rows", "25.0 rows/s", "7 in flight", "40 hits", "3 x 429"):
        assert part in line
    assert "0.5000 of 2.0 USD" in line


def test_a_source_of_unknown_length_has_no_total() -> None:
    assert "250 rows" in progress_line(progress(rows_total=None))


def test_an_unknown_price_is_not_zero() -> None:
    assert "unknown USD" in spend_text(Spend())
    assert "0.0000 USD" in spend_text(Spend(usd=0.0))


def test_a_summary_says_what_prices_it_counted_with() -> None:
    listed = PriceRecord(
        prompt=2,
        completion=8,
        cached_prompt=0.5,
        date=datetime.date(2026, 5, 4),
        source="a.example",
    )
    prices = {
        "main": listed,
        "odd": None,
        "free": PriceRecord(prompt=0, completion=0, source="simulated: free"),
    }
    counts = TeacherCounts(
        asked=1,
        prompt_tokens=900,
        completion_tokens=70,
        cached_prompt_tokens=800,
        reasoning_tokens=50,
    )
    view = summary(manifest(prices=prices, teachers={"main": counts}), Path("out"))
    text = " ".join(shown(view).split())
    assert "main costs 2 USD per million prompt tokens (cached 0.5), 8 of completion" in text
    assert "a.example of 2026-05-04" in text
    assert "the price of odd is unknown, so its cost is not counted: give it as" in text
    assert "free costs" not in text
    assert "main: 800 of 900 prompt tokens were cached at the provider, 50 of 70" in text


def test_the_view_gives_reasons() -> None:
    text = shown(progress_view(progress()))
    assert "no_votes 10" in text
    assert "main" in text


def test_lines_come_at_a_new_stage_and_every_few_seconds() -> None:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock=clock)
    for _ in range(100):
        lines(progress())
    assert len(written) == 1
    lines(progress(stage="sorting"))
    assert len(written) == 2
    clock.now_s += LINE_EVERY_S
    lines(progress(stage="sorting"))
    assert len(written) == 3


def test_watching_a_file_writes_lines() -> None:
    stream = io.StringIO()
    with watch(console_for(stream)) as on_progress:
        on_progress(progress())
    assert stream.getvalue().count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_the_latest_moment() -> None:
    stream = Terminal()
    with watch(console_for(stream)) as on_progress:
        on_progress(progress(stage="reading"))
        on_progress(progress(stage="training"))
    assert "training" in stream.getvalue()


def test_a_narrow_terminal_gets_lines_and_whole_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    console = console_for(stream)
    with watch(console) as on_progress:
        on_progress(progress(stage="reading"))
        on_progress(progress(stage="training"))
    assert stream.getvalue().count("\n") == 2
    console.print(funnel_table({"gate.length": StepCounts(entered=12_345, out=1_234_567)}))
    assert "12,345" in stream.getvalue()
    assert "1,234,567" in stream.getvalue()


def test_simulated_is_named_wherever_it_shows() -> None:
    simulated = {"main": TeacherCounts(asked=10, simulated=True)}
    assert "simulated: main" in progress_line(progress(teachers=simulated))
    evaluation = Evaluation(
        on="test",
        rows=5,
        left_out=3,
        labels=2,
        contestants=[
            Contestant(
                name="main",
                role="teacher",
                simulated=True,
                answered=5,
                metrics={"accuracy": interval(0.5)},
                versus_student={"accuracy": Difference(**interval(0.2).model_dump())},
            ),
            Contestant(
                name="student", role="student", answered=5, metrics={"accuracy": interval(0.7)}
            ),
        ],
    )
    text = shown(
        summary(
            manifest(simulated=["main"], teachers=simulated, evaluation=evaluation),
            Path("data/out/x"),
        )
    )
    assert "prove code, not method" in text
    assert text.count("main (simulated)") == 3
    assert "5 rows, 2 labels; 3 rows left out because asking failed" in text
    assert "50.00 [40.0, 60.0]" in text
    assert "+20.00 [+10.0, +30.0]" in text


def test_the_summary_says_where_things_are() -> None:
    text = shown(summary(manifest(student={"kind": "linear"}), Path("data/out/x")))
    for name in ("rows", "dataset", "rejected.parquet", "failed.parquet", "student"):
        assert f"{Path('data/out/x') / name} " in text


def test_the_account_is_a_sum() -> None:
    counts = Counts(read=10, kept=7, rejected=2, failed=1, held_out={"test": 4}, skipped=3)
    assert account_text(counts) == (
        "10 rows read = 7 kept (70.00%) + 2 rejected + 1 failed; 4 held out for test, 3 skipped"
    )


def test_rejections_come_with_an_example_most_frequent_first() -> None:
    funnel = {"gate": StepCounts(rejected=5, reasons={"rare": 1, "common": 4})}
    text = shown(rejections_table(funnel, {"gate common": "3 words, at least 5 wanted"}))
    assert text.index("common") < text.index("rare")
    assert "3 words, at least 5 wanted" in text


def test_brackets_in_data_are_not_markup() -> None:
    assert "[red]x[/red]" in shown(sample_text([{"text": "[red]x[/red]"}]))


@given(st.text(), st.integers(min_value=4, max_value=50))
def test_foreign_text_is_one_printable_line(text: str, width: int) -> None:
    line = printable(text, width)
    assert line.isprintable()
    assert len(line) <= width


def test_a_model_that_changed_behind_its_name_is_a_warning() -> None:
    same = {"main": TeacherCounts(served=["m-1"])}
    changed = {"main": TeacherCounts(served=["m-1 (fp_a)", "m-1 (fp_b)\x1b[2J"])}
    assert "warning" not in progress_line(progress(teachers=same))
    for text in (
        progress_line(progress(teachers=changed)),
        shown(summary(manifest(teachers=changed), Path("out"))),
    ):
        assert "warning: main was answered by 2 models or states of one: m-1 (fp_a), then" in text
        assert "\x1b" not in text
