"""Laws of the account: fates, limits, what was lost, and that it notices what does not add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.account import EXPORT, LIMITS_FROM, SOURCE, Account
from synthkd.config import LimitsConfig
from synthkd.errors import (
    AccountError,
    Rejected,
    RowError,
    SourceError,
    TooManyLost,
    Unanswered,
    UnreadableRow,
)
from synthkd.io.spool import RowSpool
from synthkd.rows import Row, source_row

ANYTHING_GOES = LimitsConfig(max_failed=1, max_rejected=1)
FATES = ["kept", "failed", "rejected"]
"""The first that happens to any descendant is the source row's."""


def row(place: int) -> Row:
    return source_row("numbers", [place], ordinal=place, fields={"i": place})


def opened(tmp_path: Path, n: int, limits: LimitsConfig = ANYTHING_GOES) -> Account:
    """An account with n source rows and one step called `s`, through which all of them go."""
    account = Account(tmp_path / "account", ["s"], limits)
    account.enter((i, row(i).id, "train") for i in range(n))
    account.close_entry(["i"])
    account.start_segment(["s"])
    return account


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = opened(tmp_path, 3)
    yield account
    account.close()


def settle(account: Account, place: Row, fate: str, reason: str = "disliked") -> None:
    """One row through the step to its end, with the line of the funnel kept as an engine does."""
    tally = account.funnel["s"]
    tally.entered += 1
    if fate == "kept":
        tally.out += 1
        account.keep(place)
    else:
        account.lose("s", place, Rejected(reason) if fate == "rejected" else Unanswered(reason))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(FATES), min_size=1, max_size=4), max_size=30))
def test_kept_beats_failed_and_failed_beats_rejected(
    tmp_path: Path, children: list[list[str]]
) -> None:
    account = opened(tmp_path, len(children))
    for place, fates in enumerate(children):
        for index, fate in enumerate(fates):
            settle(account, row(place).child("s", index), fate)
    counts = account.reconcile()
    best = [next(fate for fate in FATES if fate in fates) for fates in children]
    assert (counts.kept, counts.rejected, counts.failed) == (
        best.count("kept"),
        best.count("rejected"),
        best.count("failed"),
    )
    assert counts.read == len(children)
    account.close()


def test_a_detail_that_no_file_can_hold_is_mended(tmp_path: Path) -> None:
    account = Account(tmp_path / "account", ["s"], LimitsConfig(max_failed=1, max_rejected=1))
    row = source_row("x", [0], ordinal=0, fields={})
    account.enter([(0, row.id, "train")])
    account.close_entry([])
    account.lose("s", row, Rejected("odd", "half a character: \ud800"))
    assert [loss["detail"] for loss in account.losses("rejected")] == ["half a character: \ufffd"]


def test_a_row_of_two_roots_keeps_both(account: Account) -> None:
    both = Row(id="both", order=(0,), roots=(row(0).id, row(1).id), fields={})
    settle(account, both, "kept")
    settle(account, row(2), "rejected")
    counts = account.reconcile()
    assert (counts.kept, counts.rejected) == (2, 1)


def test_held_out_rows_are_counted_apart_and_need_no_fate(tmp_path: Path) -> None:
    account = Account(tmp_path / "account", [], ANYTHING_GOES)
    account.enter([(0, row(0).id, "train"), (1, row(1).id, "dev"), (2, row(2).id, "test")])
    account.close_entry(["i"])
    account.keep(row(0))
    counts = account.reconcile()
    assert (counts.read, counts.kept, counts.held_out) == (1, 1, {"dev": 1, "test": 1})
    account.close()


def test_losses_come_in_the_order_of_the_rows_with_what_a_person_needs(account: Account) -> None:
    settle(account, row(2), "rejected", "too_long")
    settle(account, row(0), "rejected", "too_short")
    settle(account, row(1), "failed", "no answer")
    assert [(loss["row_id"], loss["reason"]) for loss in account.losses("rejected")] == [
        (row(0).id, "too_short"),
        (row(2).id, "too_long"),
    ]
    assert list(account.losses("failed")) == [
        {
            "row_id": row(1).id,
            "roots": [row(1).id],
            "step": "s",
            "error": "Unanswered",
            "message": "no answer",
        }
    ]


def test_a_discard_is_written_down_and_changes_no_fate(account: Account) -> None:
    account.discard("s", row(1), "refused", "it said: I cannot")
    account.discard("s", row(0), "refused", "it said: no")
    for place in range(3):
        settle(account, row(place), "kept")
    assert account.reconcile().kept == 3
    assert account.funnel["s"].discarded == {"refused": 2}
    assert list(account.losses("rejected")) == list(account.losses("failed")) == []
    assert [(loss["row_id"], loss["detail"]) for loss in account.losses("discarded")] == [
        (row(0).id, "it said: no"),
        (row(1).id, "it said: I cannot"),
    ]


def test_a_discard_alone_is_no_fate(account: Account) -> None:
    for place in range(2):
        settle(account, row(place), "kept")
    account.discard("s", row(2), "refused", "")
    with pytest.raises(AccountError, match=f"source row {row(2).id} has no fate"):
        account.reconcile()


def test_rows_lost_at_the_export_get_a_line_of_the_funnel_and_others_none(account: Account) -> None:
    settle(account, row(0), "kept")
    assert EXPORT not in account.funnel
    for place in (1, 2):
        account.funnel["s"].entered += 1
        account.funnel["s"].out += 1
        account.lose(EXPORT, row(place), Rejected("no_text_to_export", "'a' is null"))
    counts = account.reconcile()
    assert (counts.kept, counts.rejected) == (1, 2)
    line = account.funnel[EXPORT]
    assert (line.entered, line.out, line.rejected) == (3, 1, 2)
    assert line.reasons == {"no_text_to_export": 2}


def test_an_unreadable_record_was_read_and_failed(tmp_path: Path) -> None:
    account = Account(tmp_path / "account", [], ANYTHING_GOES)
    account.unreadable(0, "bad", UnreadableRow("line 1: not JSON"))
    account.close_entry([])
    counts = account.reconcile()
    assert (counts.read, counts.failed) == (1, 1)
    [loss] = account.losses("failed")
    assert (loss["step"], loss["error"]) == (SOURCE, "UnreadableRow")
    account.close()


def test_two_rows_of_one_id_name_both_places(tmp_path: Path) -> None:
    account = Account(tmp_path / "account", [], ANYTHING_GOES)
    account.enter((i, row(i % 4).id, "train") for i in range(6))
    with pytest.raises(SourceError, match=r"2 rows have one id, .* rows 1 and 5 .*agree in a, b"):
        account.close_entry(["a", "b"])
    account.close()


def lose_all_but(account: Account, n: int, every: int, error: RowError) -> None:
    for place in range(n):
        if place % every:
            account.funnel["s"].entered += 1
            account.lose("s", row(place), error)
        else:
            settle(account, row(place), "kept")


@pytest.mark.parametrize(
    ("error", "limits", "says"),
    [
        (Unanswered("HTTP 500"), {"max_failed": 0.4, "max_rejected": 1}, "limits.max_failed is 40"),
        (Rejected("odd"), {"max_failed": 1, "max_rejected": 0.4}, "limits.max_rejected is 40"),
    ],
)
def test_a_share_of_few_rows_means_nothing_until_the_end(
    tmp_path: Path, error: RowError, limits: dict[str, float], says: str
) -> None:
    account = opened(tmp_path, LIMITS_FROM - 2, LimitsConfig.model_validate(limits))
    lose_all_but(account, LIMITS_FROM - 2, 2, error)
    with pytest.raises(TooManyLost, match=rf"49 of 98 source rows .*{says}.*49 times"):
        account.reconcile()
    account.close()


def test_a_share_is_one_of_the_segment_that_is_running(tmp_path: Path) -> None:
    account = opened(tmp_path, 3 * LIMITS_FROM, LimitsConfig(max_failed=1, max_rejected=0.5))
    for place in range(2 * LIMITS_FROM):
        settle(account, row(place), "kept")
    account.start_segment(["s"])
    with pytest.raises(
        TooManyLost, match=f"{LIMITS_FROM - 1} of {LIMITS_FROM} rows so far rejected"
    ):
        lose_all_but(account, LIMITS_FROM + 2, 10**9, Rejected("odd"))
    account.close()


def test_rows_that_a_slow_teacher_has_are_part_of_the_share(tmp_path: Path) -> None:
    limits = LimitsConfig(max_failed=1, max_rejected=0.5)
    account = opened(tmp_path, 4 * LIMITS_FROM, limits)
    account.funnel["s"].entered += 3 * LIMITS_FROM  # through the gate, waiting for the teacher
    lose_all_but(account, 2 * LIMITS_FROM, 10**9, Rejected("too_short"))
    assert account.funnel["s"].rejected == 2 * LIMITS_FROM - 1
    account.close()


@pytest.mark.parametrize("kept", [0, 200])
def test_a_table_may_reject_many_rows_before_it_yields_one(tmp_path: Path, kept: int) -> None:
    n = 4 * LIMITS_FROM
    account = opened(tmp_path, n, LimitsConfig(max_failed=1, max_rejected=0.8))
    account.start_segment([])
    twins = [(row(place), Rejected("twin")) for place in range(n - kept)]
    with RowSpool.of(tmp_path / "spool", map(row, range(n))) as spool:
        books = account.table("s", spool)
        stop = pytest.raises(TooManyLost, match=f"{n} of {n} rows so far at s rejected")
        with nullcontext() if kept else stop:
            books.settle(twins, map(row, range(n - kept, n)))
    assert account.funnel["s"].rejected == n - kept
    account.close()


def test_a_row_id_from_nowhere_is_a_fault(account: Account) -> None:
    for place in range(3):
        settle(account, row(place), "kept")
    settle(account, row(7), "rejected")
    with pytest.raises(AccountError, match=f"row id {row(7).id} came from no source row"):
        account.reconcile()


def test_a_line_that_does_not_balance_is_a_fault(account: Account) -> None:
    for place in range(3):
        settle(account, row(place), "kept")
    account.funnel["s"].entered += 1
    with pytest.raises(AccountError, match=r"does not add up.*\n.*step s: .*entered=4"):
        account.reconcile()


def test_the_books_of_a_table_close_with_pauses_and_reject_what_nobody_mentioned(
    tmp_path: Path,
) -> None:
    n = 1_000
    account = opened(tmp_path, n)
    with RowSpool.of(tmp_path / "spool", map(row, range(n))) as spool:
        books = account.table("s", spool)
        for place in range(0, n, 2):
            books.settle([], [row(place)])
            account.keep(row(place))
        books.settle([(row(1), Rejected("odd")), (row(3), None)], [])
        account.keep(Row(id="merged", order=(9,), roots=(row(3).id,), fields={}))
        pauses = sum(1 for _ in books.close())
    assert pauses >= 5
    line = account.funnel["s"]
    assert (line.out, line.merged, line.made) == (500, 1, 0)
    assert line.reasons == {"odd": 1, "nothing_made": 498}
    assert account.reconcile().kept == 501
    account.close()


@pytest.mark.parametrize(("lost", "too_many"), [(30, False), (31, True)])
def test_a_step_has_a_floor_of_its_own(tmp_path: Path, lost: int, too_many: bool) -> None:
    limits = LimitsConfig(max_failed=1, max_rejected=1, min_success={"s": 0.7})
    account = opened(tmp_path, 100, limits)
    with pytest.raises(TooManyLost) if too_many else nullcontext() as caught:
        for place in range(100):
            settle(account, row(place), "kept" if place >= lost else "rejected", "bad_json")
        account.reconcile()
    if caught is not None:
        assert "s: 69 of 100 rows came through: that is 69.0%" in str(caught.value)
        assert "limits.min_success.s is 70.0%. Lost: 31 bad_json" in str(caught.value)
    account.close()


def test_while_rows_still_come_a_step_is_stopped_only_when_it_is_surely_below(
    tmp_path: Path,
) -> None:
    limits = LimitsConfig(max_failed=1, max_rejected=1, min_success={"s": 0.7})
    account = opened(tmp_path, 300, limits)
    for place in range(120):  # 40 % are lost, which may be chance
        settle(account, row(place), "rejected" if place % 5 < 2 else "kept")

    def all_lost() -> None:
        for place in range(120, 300):
            settle(account, row(place), "rejected")

    with pytest.raises(TooManyLost, match=r"limits\.min_success\.s is 70\.0%"):
        all_lost()
    assert account.funnel["s"].entered < 150
    account.close()
