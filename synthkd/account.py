"""The account: each source row that was read ends kept, rejected (by whom, why) or failed (how).

In a run that stops to wait for a batch it may also be waiting.

It does not add up numbers that it made up itself: what enters, what is lost and what arrives are
written down independently, row by row, in a scratch SQLite file, and `counts` reconciles the three.

The fate of a source row: kept if any descendant is in the dataset, else failed if any failed, else
rejected; a row that waits is lost to nobody. The funnel counts rows at each step:
entered + made = out + rejected + failed + merged + waiting.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import orjson

from synthkd.config import LimitsConfig
from synthkd.errors import AccountError, Rejected, RowError, SourceError, TooManyLost, Waiting
from synthkd.evaluate.sequential import surely_above
from synthkd.io.scratch import Scratch, order_key
from synthkd.io.spool import RowSpool
from synthkd.manifest import Counts, StepCounts
from synthkd.rows import Json, Row, clean
from synthkd.tally import Tally, since

Side = Literal["train", "dev", "test"]
Kind = Literal["rejected", "failed", "waiting", "discarded"]
"""Discarded: a candidate was lost while its row lived on; no fate comes of it."""

SOURCE = "source"
"""The `step` of rows that were lost before any step saw them."""
EXPORT = "export"
"""The `step` of rows that the dataset's format has no use for; in the funnel if there are any."""
LIMITS_FROM = 100
"""Rows that must have come through before a share of them means something."""
ROUNDING = 1e-9
"""1 - 0.7 is a bit less than 0.3: 30 of 100 lost are not too many for a floor of 0.7."""
BATCH = 1_000
"""Losses and arrivals written to the scratch file at a time."""
CLOSE_ROWS = 200
"""Rows of a table that are looked up without a pause: some milliseconds."""

SCHEMA = """
CREATE TABLE sources (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, side TEXT NOT NULL);
CREATE TABLE kept_roots (root TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lost_roots (root TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (root, kind))
    WITHOUT ROWID;
CREATE TABLE lost (
    place BLOB NOT NULL, id TEXT NOT NULL, roots BLOB NOT NULL,
    kind TEXT NOT NULL, step TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL);
CREATE VIEW fates AS SELECT id, CASE
    WHEN EXISTS (SELECT 1 FROM kept_roots WHERE root = id) THEN 'kept'
    WHEN EXISTS (SELECT 1 FROM lost_roots WHERE root = id AND kind = 'waiting') THEN 'waiting'
    WHEN EXISTS (SELECT 1 FROM lost_roots WHERE root = id AND kind = 'failed') THEN 'failed'
    WHEN EXISTS (SELECT 1 FROM lost_roots WHERE root = id AND kind = 'rejected') THEN 'rejected'
    END AS fate
FROM sources WHERE side = 'train';
"""


class Account:
    """The books of one run, in a scratch file that a new run starts anew."""

    def __init__(self, path: Path, steps: Iterable[str], limits: LimitsConfig) -> None:
        self._scratch = Scratch(path, SCHEMA)
        self._limits = limits
        self._arrivals: list[tuple[str]] = []
        self._losses: list[tuple[bytes, str, bytes, str, str, str, str]] = []
        self._lost_in_segment: Counter[str] = Counter()
        self._segment: tuple[Tally, ...] = ()
        self._before_segment = 0
        self._funnel = {step: Tally() for step in steps}
        self._figures: dict[str, dict[str, Json]] = {}
        self._round_figures: dict[str, dict[str, Json]] = {}
        self._before_round: Mapping[str, StepCounts] = {}
        self._exported = Tally()
        self._told: dict[str, str] = {}

    @property
    def funnel(self) -> Mapping[str, Tally]:
        """Each step's line, in the order of the steps."""
        return self._funnel

    @property
    def figures(self) -> Mapping[str, Mapping[str, Json]]:
        """What steps noted and counted: step -> name -> value, both in the order of names."""
        return self._in_order(self._figures)

    @property
    def told(self) -> list[str]:
        """How far table steps say that they are, each with its name; for displays."""
        return [f"{step}: {words}" for step, words in list(self._told.items()) if words]

    def tell(self, step: str, words: str) -> None:
        """How far a table step is; empty = it says nothing any more. Called from its thread."""
        self._told[step] = words

    def note(self, step: str, figures: Mapping[str, Json]) -> None:
        """A step's figures; of a name that is noted again the later value stands."""
        if figures:
            for books in (self._figures, self._round_figures):
                books.setdefault(step, {}).update(figures)

    def count(self, step: str, what: str, times: int) -> None:
        """Add to a step's figure."""
        for books in (self._figures, self._round_figures):
            known = books.setdefault(step, {})
            so_far = known.get(what, 0)
            assert isinstance(so_far, int)  # noqa: S101  row steps only count
            known[what] = so_far + times

    def begin_round(self) -> None:
        """What comes from now on is in `of_round`."""
        self._before_round = {step: tally.counts() for step, tally in self._funnel.items()}
        self._round_figures.clear()

    def of_round(self) -> tuple[dict[str, StepCounts], Mapping[str, Mapping[str, Json]]]:
        """The funnel and the figures since the round began."""
        funnel = {
            step: since(tally.counts(), self._before_round.get(step, StepCounts()))
            for step, tally in self._funnel.items()
        }
        return funnel, self._in_order(self._round_figures)

    def _in_order(self, figures: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Json]]:
        steps = [step for step in self._funnel if step in figures]
        return {step: dict(sorted(figures[step].items())) for step in steps}

    # --- what enters

    def enter(self, rows: Iterable[tuple[int, str, Side]]) -> None:
        """Write down source rows as (ordinal, id, side), before anything is asked."""
        self._scratch.executemany("INSERT INTO sources VALUES (?, ?, ?)", rows)

    def close_entry(self, ids: Iterable[str]) -> None:
        """The source is read to its end: no two rows may share an id.

        Args:
            ids: the fields that make up an id, for the message.

        Raises:
            SourceError: two rows do.
            TooManyLost: too much of the source is unreadable.
        """
        try:
            self._scratch.execute("CREATE UNIQUE INDEX source_ids ON sources (id)")
        except sqlite3.IntegrityError:
            first, second, times = self._scratch.execute(
                "SELECT min(ordinal), max(ordinal), count(*) FROM sources"
                " GROUP BY id HAVING count(*) > 1 ORDER BY min(ordinal) LIMIT 1"
            ).fetchone()
            raise SourceError(
                f"source: {times} rows have one id, among them rows {first + 1} and {second + 1}"
                f" (counted from 1): they agree in {', '.join(ids)}. Name more fields in"
                " `source.id`, or leave it out to number the rows"
            ) from None
        self.check_limits()

    # --- what happens to it

    def start_segment(self, steps: Iterable[str]) -> None:
        """Rows start through these row steps: shares for the limits start from nothing."""
        self._segment = tuple(self._funnel[step] for step in steps)
        self._before_segment = 0
        self._before_segment = self._in_segment()
        self._lost_in_segment.clear()

    def _in_segment(self) -> int:
        """Rows that entered the segment or were made in it.

        Not those that are through: what is rejected at once would stand against the few that a
        slow teacher has answered, and no share of that means anything.
        """
        if not self._segment:
            return self._exported.entered - self._before_segment
        made = sum(line.made for line in self._segment)
        return self._segment[0].entered + made - self._before_segment

    def lose(self, step: str, row: Row, error: RowError) -> None:
        """A row ends here: at a step, or at `EXPORT` instead of being kept.

        Raises:
            TooManyLost: with this one, more are lost than the limits allow.
        """
        kind = self._write_loss(step, row, error)
        self._lost_in_segment[kind] += 1
        lost = self._lost_in_segment
        self._check_so_far(lost["failed"], lost["rejected"], self._in_segment(), "rows so far")
        self._check_success(step, so_far=True)

    def discard(self, step: str, row: Row, reason: str, detail: str) -> None:
        """A candidate was lost; its row lives on, or is lost for a reason of its own."""
        self._funnel[step].discarded[reason] += 1
        self._write_down("discarded", step, row, reason, detail)

    def unreadable(self, ordinal: int, row_id: str, error: RowError) -> None:
        """A record of the source that is no row: it was read, and it failed."""
        self.enter([(ordinal, row_id, "train")])
        row = Row(id=row_id, order=(ordinal,), roots=(row_id,), fields={})
        self._write_loss(SOURCE, row, error)

    def keep(self, row: Row) -> None:
        """A row is in the dataset."""
        self._exported.entered += 1
        self._exported.out += 1
        self._arrivals += [(root,) for root in row.roots]
        if len(self._arrivals) >= BATCH:
            self._flush()

    def _write_loss(self, step: str, row: Row, error: RowError) -> Kind:
        if isinstance(error, Waiting):
            self._wait(step, [row])
            return "waiting"
        kind: Kind = "failed"
        reason, detail = type(error).__name__, str(error)
        if isinstance(error, Rejected):
            kind, reason, detail = "rejected", error.reason, error.detail
        if step == EXPORT:
            self._funnel.setdefault(EXPORT, self._exported).entered += 1
        if step in self._funnel:
            tally = self._funnel[step]
            tally.reasons[reason] += 1
            setattr(tally, kind, getattr(tally, kind) + 1)
        self._write_down(kind, step, row, reason, detail)
        return kind

    def _wait(self, step: str, rows: Sequence[Row]) -> None:
        self._funnel[step].waiting += len(rows)
        roots = [(root, "waiting") for row in rows for root in row.roots]
        self._scratch.executemany("INSERT OR IGNORE INTO lost_roots VALUES (?, ?)", roots)

    def wait_before(self, step: str, rows: Sequence[Row]) -> None:
        """Rows are ready for a table step, and wait for others that are not."""
        self._funnel[step].entered += len(rows)
        self._wait(step, rows)

    @property
    def waiting(self) -> int:
        """Rows that wait now, wherever they are; the limits take no notice of them."""
        return sum(line.waiting for line in self._funnel.values())

    def _write_down(self, kind: Kind, step: str, row: Row, reason: str, detail: str) -> None:
        roots, said = orjson.dumps(row.roots), str(clean(detail, {}))
        self._losses.append((order_key(row.order), row.id, roots, kind, step, reason, said))
        if len(self._losses) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        insert = self._scratch.executemany
        insert("INSERT OR IGNORE INTO kept_roots VALUES (?)", self._arrivals)
        insert("INSERT INTO lost VALUES (?, ?, ?, ?, ?, ?, ?)", self._losses)
        roots = [
            (root, kind)
            for _, _, roots, kind, *_ in self._losses
            if kind != "discarded"
            for root in orjson.loads(roots)
        ]
        insert("INSERT OR IGNORE INTO lost_roots VALUES (?, ?)", roots)
        self._arrivals.clear()
        self._losses.clear()

    def table(self, step: str, spool: RowSpool) -> TableBooks:
        """The books of one pass of a table step over a spool."""
        return TableBooks(self, self._scratch, step, spool)

    # --- what it adds up to

    def counts(self) -> Counts:
        """The fates so far. `read` is right from `close_entry` on, the others at the end."""
        self._flush()
        sides = dict(
            self._scratch.execute("SELECT side, count(*) FROM sources GROUP BY side").fetchall()
        )
        fates: dict[str, int] = dict(
            self._scratch.execute("SELECT fate, count(*) FROM fates GROUP BY fate")
        )
        return Counts(
            read=sides.pop("train", 0),
            kept=fates.get("kept", 0),
            rejected=fates.get("rejected", 0),
            failed=fates.get("failed", 0),
            waiting=fates.get("waiting", 0),
            held_out=sides,
        )

    def reconcile(self) -> Counts:
        """The fates at the end.

        Raises:
            AccountError: a source row has no fate, a fate has no source row, or a step's line of
                the funnel does not balance.
            TooManyLost: more failed or were rejected than the limits allow.
        """
        counts = self.counts()
        faults = [
            f"step {step}: {tally.counts()}"
            for step, tally in self._funnel.items()
            if not tally.balances
        ]
        faults += [f"source row {row_id} has no fate" for row_id in self._without_fate()]
        faults += [f"row id {row_id} came from no source row" for row_id in self._from_nowhere()]
        if counts.read != counts.kept + counts.rejected + counts.failed + counts.waiting:
            faults.append(f"read is not kept + rejected + failed + waiting: {counts}")
        if faults:
            raise AccountError(
                "the account does not add up; this is a bug of synthkd or of a third-party step:\n"
                + "\n".join(faults[:10])
            )
        self.check_limits()
        return counts

    def losses(self, kind: Kind) -> Iterator[dict[str, Json]]:
        """Losses in order: row id, roots, step, reason (or error class), detail (or message)."""
        self._flush()
        reason, detail = ("error", "message") if kind == "failed" else ("reason", "detail")
        for row_id, roots, step, why, more in self._scratch.execute(
            "SELECT id, roots, step, reason, detail FROM lost WHERE kind = ?"
            " ORDER BY place, step, reason, detail",
            (kind,),
        ):
            yield {
                "row_id": row_id,
                "roots": orjson.loads(roots),
                "step": step,
                reason: why,
                detail: more,
            }

    def _without_fate(self) -> list[str]:
        query = "SELECT id FROM fates WHERE fate IS NULL LIMIT 5"
        return [row_id for (row_id,) in self._scratch.execute(query)]

    def _from_nowhere(self) -> list[str]:
        query = (
            "SELECT root FROM (SELECT root FROM kept_roots UNION SELECT root FROM lost_roots)"
            " WHERE root NOT IN (SELECT id FROM sources WHERE side = 'train') LIMIT 5"
        )
        return [root for (root,) in self._scratch.execute(query)]

    # --- limits

    def check_limits(self) -> None:
        """Compare the fates so far with the limits.

        Raises:
            TooManyLost: one is crossed.
        """
        counts = self.counts()
        self._check(counts.failed, counts.rejected, counts.read, "source rows")
        for step in self._limits.min_success:
            self._check_success(step)

    def _check_success(self, step: str, *, so_far: bool = False) -> None:
        """Compare what came through a step with the floor that it has, if it is the time."""
        floor, tally = self._limits.min_success.get(step), self._funnel.get(step)
        if floor is None or tally is None:
            return
        came, lost = tally.entered + tally.made - tally.waiting, tally.rejected + tally.failed
        if so_far and (came < LIMITS_FROM or not surely_above(lost, came, 1 - floor)):
            return
        if lost > (1 - floor) * came + ROUNDING:
            reasons = ", ".join(
                f"{times} {reason}" for reason, times in tally.reasons.most_common(5)
            )
            raise TooManyLost(
                f"{step}: {came - lost} of {came} rows came through: that is"
                f" {(came - lost) / came:.1%}, and limits.min_success.{step} is {floor:.1%}. Lost:"
                f" {reasons}. What was paid for is kept: mend the prompt or the teacher, or lower"
                " the floor, then run again"
            )

    def _check_so_far(self, failed: int, rejected: int, of: int, what: str) -> None:
        if of >= LIMITS_FROM:
            self._check(failed, rejected, of, what)

    def _check(self, failed: int, rejected: int, of: int, what: str) -> None:
        for lost, limit, name in (
            (failed, self._limits.max_failed, "failed"),
            (rejected, self._limits.max_rejected, "rejected"),
        ):
            if lost > limit * of:
                raise TooManyLost(
                    f"{lost} of {of} {what} {name}: that is {lost / of:.1%}, and"
                    f" limits.max_{name} is {limit:.1%}. {self._commonest(name)}"
                    " What was paid for is kept: mend the cause or raise the limit, then run again"
                )

    def _commonest(self, kind: str) -> str:
        self._flush()
        step, reason, detail, times = self._scratch.execute(
            "SELECT step, reason, max(detail), count(*) FROM lost WHERE kind = ?"
            " GROUP BY step, reason ORDER BY count(*) DESC LIMIT 1",
            (kind,),
        ).fetchone()
        return f"Most often ({times} times) {reason} at {step}: {detail:.300}."

    def close(self) -> None:
        """Release the scratch file."""
        self._scratch.close()


class TableBooks:
    """What becomes of each row of a table: a table step may yield them in any order, or not."""

    def __init__(self, account: Account, scratch: Scratch, step: str, spool: RowSpool) -> None:
        self._account = account
        self._scratch = scratch
        self._step = step
        self._spool = spool
        self._tally = account.funnel[step]
        self._settled = 0
        self._before = self._tally.failed, self._tally.rejected  # in rounds that are over
        self._tally.entered += len(spool)
        scratch.execute("DROP TABLE IF EXISTS settled")
        scratch.execute("CREATE TABLE settled (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def settle(self, gone: Iterable[tuple[Row, RowError | None]], out: Iterable[Row]) -> None:
        """What became of some rows: rejected, failed, or (None) merged into others, or yielded.

        Raises:
            TooManyLost: of all that are settled, more were lost than the limits allow.
        """
        for row, why in gone:
            self._settle(row)
            if why is None:
                self._tally.merged += 1
            else:
                self._account._write_loss(self._step, row, why)
        for row in out:
            self._settle(row)
            self._tally.out += 1
        self._check()

    def close(self, *, waiting: bool = False) -> Iterator[None]:
        """The step has ended: a row that it never mentioned is rejected as `nothing_made`.

        Where the step waits for a batch, such a row waits too.

        It reads the whole table again and pauses now and then, so that whoever goes through the
        pauses can do something else meanwhile. A thread would not do: steps that follow the table
        still write their losses into the same scratch file.
        """
        (settled,) = self._scratch.execute("SELECT count(*) FROM settled").fetchone()
        known = 0
        for rows in self._spool.groups(CLOSE_ROWS):
            for row in rows:
                if self._is_settled(row):
                    known += 1
                elif waiting:
                    self._account._wait(self._step, [row])
                else:
                    self._settled += 1
                    self._account._write_loss(self._step, row, Rejected("nothing_made"))
            yield
        self._check()
        self._tally.made += settled - known
        self._scratch.execute("DROP TABLE settled")

    def _is_settled(self, row: Row) -> bool:
        query = "SELECT 1 FROM settled WHERE id = ?"
        return self._scratch.execute(query, (row.id,)).fetchone() is not None

    def _check(self) -> None:
        failed = self._tally.failed - self._before[0]
        rejected = self._tally.rejected - self._before[1]
        what = f"rows so far at {self._step}"
        self._account._check_so_far(failed, rejected, self._settled, what)

    def _settle(self, row: Row) -> None:
        self._settled += 1
        try:
            self._scratch.execute("INSERT INTO settled VALUES (?)", (row.id,))
        except sqlite3.IntegrityError:
            raise RuntimeError(
                f"table step {self._step!r} settled row {row.id} twice: yield it, reject it or"
                " merge it, once"
            ) from None
