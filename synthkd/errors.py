"""Every error that synthkd raises on purpose, and what each one ends.

    SynthkdError
        UserError               the user can mend it; exit code 2, nothing spent
            ConfigError         faults of a pipeline file, all of them at once
            PromptError         a template that cannot be loaded
            SourceError         an input that cannot be read at all, or has two rows of one id
        RunStopped              the run ends early, keeps all that was paid for, and can be resumed
            BudgetReached       exit code 3
            TooManyLost         exit code 4: more rows failed or were rejected than `limits` allow
            AccountError        exit code 4: the account of rows does not add up
            SourceChanged       exit code 4: the source is not what it was when the run began
            NothingToLearn      exit code 4: the rows that are left cannot teach a student
            TeacherRefused      exit code 5: the teacher is broken for every row
            WaitingForBatch     exit code 6: questions are under way in batches
            LedgerFailed        exit code 7: the ledger broke in mid-run: full disk, lock, damage
            DiskFailed          exit code 7: results cannot be written: full disk, no permission
            Interrupted         exit code 130: Ctrl-C or SIGTERM
        RowError                ends one row, never the run
            Waiting             its question is under way in a batch: no loss, it goes on later
            Rejected            a filter or a parser said no, with a reason
            UnreadableRow       a line of the source is not a row
            MissingField        the row has no such field
            Unrenderable        a value of the row does not fit the template
            TeacherError        no answer for this row
                RequestRefused  400, 413, 422: stored, because asking again would refuse again
                Unanswered      retries are used up: not stored
                NotInLedger     `--offline` and the answer was never bought
                NotRecorded     a recorded teacher has no such answer
                AttemptFailed   one attempt failed for a passing reason; seen by the teacher stack

Any other exception is a bug and stops the run with its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class SynthkdError(Exception):
    """The root of the tree."""

    exit_code = 1


class UserError(SynthkdError):
    """Something the user can mend: what, where, the value, the way out."""

    exit_code = 2


class ConfigError(UserError):
    """A pipeline file with faults; the message lists all of them, one a line."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class PromptError(UserError):
    """A template that cannot be found or loaded."""


class SourceError(UserError):
    """An input that cannot be read at all, or in which two rows share one id."""


class RunStopped(SynthkdError):
    """The run ends early and can be resumed by running it again."""


class BudgetReached(RunStopped):
    """The next request does not fit into the budget and nothing in the air will free any."""

    exit_code = 3


class TooManyLost(RunStopped):
    """More rows failed, or were rejected, than the pipeline's `limits` allow."""

    exit_code = 4


class AccountError(RunStopped):
    """The source rows read are not the rows kept, rejected and failed."""

    exit_code = 4


class SourceChanged(RunStopped):
    """The source is not what it was when the run began, so its rows cannot add up."""

    exit_code = 4


class NothingToLearn(RunStopped):
    """The rows that are left cannot teach: none, one label only, no text, or held-out ones."""

    exit_code = 4


class TeacherRefused(RunStopped):
    """The teacher is broken for every row: a wrong key, an unknown model, no quota left."""

    exit_code = 5


class WaitingForBatch(RunStopped):
    """Rows wait for answers that are under way in batches.

    Args:
        message: what waits since when, and what to do.
        batches: our ids of the batches.
    """

    exit_code = 6

    def __init__(self, message: str, batches: Sequence[str] = ()) -> None:
        self.batches = tuple(batches)
        super().__init__(message)


class LedgerFailed(RunStopped):
    """The ledger broke in mid-run: a full disk, a lock that does not end, damage."""

    exit_code = 7


class DiskFailed(RunStopped):
    """Results or scratch cannot be written or read: a full disk, no permission, a broken device."""

    exit_code = 7

    @classmethod
    def of(cls, error: OSError, path: object) -> DiskFailed:
        """The error with the path and the way out; `path` where the error names none."""
        return cls(
            f"cannot use {error.filename or path}: {error.strerror or error}; free some space"
            " there, or write to another folder (--out). What was paid for is kept"
        )


class TrainingFailed(RunStopped):
    """The student could not be trained to the end: no memory, no finite loss, a killed process."""

    exit_code = 8


class Interrupted(RunStopped):
    """Ctrl-C or SIGTERM ended the run."""

    exit_code = 130


class RowError(SynthkdError):
    """Ends one row; the account keeps the class and the message."""


class Waiting(RowError):
    """The answer is under way in a batch: the row leaves the flow and comes back with it.

    Not a `TeacherError`: no step may take it for a sample that failed.
    """


class Rejected(RowError):
    """A filter or a parser said no.

    Args:
        reason: a lower_snake code that the funnel counts by.
        detail: what a person needs to see why, such as the score and its threshold.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        if not reason.isidentifier() or reason != reason.lower():
            raise ValueError(f"a reason is a lower_snake code, got {reason!r}")
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class UnreadableRow(RowError):
    """A line or record of the source that is not a row; the message says which and why."""


class MissingField(RowError):
    """The row lacks a field that a step needs."""


class Unrenderable(RowError):
    """A value of the row does not fit what the template does with it, such as null in a loop."""


class TeacherError(RowError):
    """The teacher gave no answer for this row."""


FILTERED = "content_filter: "
"""How the message of a refusal begins where the provider's filter did not take the prompt."""


class RequestRefused(TeacherError):
    """The provider refused this very request (400, 413, 422): asking again is refused again."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"HTTP {status}: {message}")

    @property
    def is_filtered(self) -> bool:
        """Whether it is the content that was refused, not the form of the request."""
        return self.message.startswith(FILTERED)


class Unanswered(TeacherError):
    """Every retry failed for a passing reason; running again asks again."""


class NotInLedger(TeacherError):
    """The run is offline and this answer was never bought."""


class NotRecorded(TeacherError):
    """The file of recorded answers has none for this request."""


class AttemptFailed(TeacherError):
    """One attempt failed for a passing reason: the layer that retries decides what follows.

    Args:
        message: what happened, with the status where there is one.
        wait_s: seconds the provider asked us to wait, or None.
        maybe_billed: whether the provider may have charged for a reply we did not get.
        status: the HTTP status, such as 429; None = there was no usable reply.
        unreachable: nothing took the connection, so it is no fault of the request.
    """

    def __init__(
        self,
        message: str,
        *,
        wait_s: float | None = None,
        maybe_billed: bool = False,
        status: int | None = None,
        unreachable: bool = False,
    ) -> None:
        self.wait_s = wait_s
        self.status = status
        self.unreachable = unreachable
        self.maybe_billed = maybe_billed
        super().__init__(message)
