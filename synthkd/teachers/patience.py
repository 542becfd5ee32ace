"""When a teacher that only fails is broken for everybody, and not for one prompt (`Patience`).

One answer anywhere, or a refusal of one request, shows that the teacher is there, and everything
starts afresh.
"""

from __future__ import annotations

from synthkd.errors import AttemptFailed, TeacherRefused

PATIENCE_S = 180.0
"""A server that is started again is back within one or two minutes."""
FIRST_PATIENCE_S = 15.0
"""Of a server that takes no connection and has never answered in this run: most often it is not
started, or the endpoint has the wrong port, and somebody is looking on."""
LONGEST_WAIT_S = 600.0
"""A provider that asks for a longer wait than this (a daily quota, say) will not answer soon."""
SEVERAL = 10
"""So many new questions that fail, with no answer in between, are not one odd prompt."""


class Patience:
    """What one teacher has answered and failed, over all its requests.

    Args:
        patience_s: how long it may do nothing but fail; None = `PATIENCE_S`, and
            `FIRST_PATIENCE_S` where nothing takes a connection and nothing ever did.
    """

    def __init__(self, patience_s: float | None = None) -> None:
        self.patience_s = patience_s
        self.answers = 0
        """Signs of life since the teacher was opened."""
        self._failing_since: float | None = None
        self._questions = 0
        """New ones that failed since."""
        self._asked_wait_s = 0.0
        """The longest wait that it has asked for since."""

    def answered(self) -> None:
        """Somebody got an answer."""
        self.answers += 1
        self._failing_since = None

    def failed(self, now: float, error: AttemptFailed, *, new: bool, answers: int) -> None:
        """An attempt failed.

        Args:
            now: seconds on any clock.
            error: how it failed.
            new: whether it was the first attempt of its request.
            answers: what `answers` was when the attempt was made.

        Raises:
            TeacherRefused: the teacher is broken for everybody.
        """
        if self._failing_since is None:
            self._failing_since, self._questions, self._asked_wait_s = now, 0, 0.0
        self._questions += new
        wait_s = error.wait_s or 0.0
        if wait_s > LONGEST_WAIT_S and answers == self.answers:
            raise TeacherRefused(
                f"{error}. That is too long to wait for: run again then, everything bought is kept"
            ) from error
        self._asked_wait_s = max(self._asked_wait_s, wait_s)
        failing_s = now - self._failing_since
        everybody = error.unreachable or self._questions >= SEVERAL
        if everybody and failing_s > self._allowed_s(error) + self._asked_wait_s:
            raise TeacherRefused(
                f"the teacher has done nothing but fail for {failing_s:.0f} s (patience_s); last:"
                f" {error}. Start or mend the server, or check `endpoint`; everything bought is"
                " kept"
            ) from error

    def excuses(self, error: AttemptFailed, answers: int) -> bool:
        """Whether an attempt says nothing of its prompt, since the teacher answers nobody at all.

        Args:
            error: how it failed; a failure that may be billed is never excused, nor is a 429.
            answers: what `answers` was when the attempt was made.
        """
        if answers != self.answers or error.maybe_billed or error.status == 429:
            return False
        return error.unreachable or self._questions >= SEVERAL

    def _allowed_s(self, error: AttemptFailed) -> float:
        if self.patience_s is not None:
            return self.patience_s
        return FIRST_PATIENCE_S if error.unreachable and not self.answers else PATIENCE_S
