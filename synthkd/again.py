"""What comes after a complete run: its student trained again, its evaluation made again."""

from __future__ import annotations

from collections.abc import Mapping

from synthkd.flow import in_thread
from synthkd.folder import sha256_of
from synthkd.io.rows_file import ROWS
from synthkd.manifest import Manifest
from synthkd.results import UNHASHED, afterwards, check_student, put_evaluation
from synthkd.rows import Json
from synthkd.running import Run
from synthkd.students import kinds
from synthkd.training import siblings_in, student_in_words


class RunAgain(Run):
    """A run that has its rows already."""

    _old: Manifest

    def _figures(self) -> Mapping[str, Mapping[str, Json]]:
        return self._old.figures

    async def again(self, old: Manifest, *, training: bool) -> Manifest:
        """Student (if `training`) and evaluation anew, from the rows of a complete run.

        What the manifest says of asking and curating stays as the run wrote it.
        """
        self._old = old
        if training:
            await self._can_train()
        async with self._working():
            rows_file = self._folder.path / ROWS
            student = None
            if training:
                student = await self._student(rows_file, ())
            elif old.student is not None:
                student = await in_thread(lambda: kinds.load(self._folder.path / "student"))
                self._siblings = await in_thread(lambda: siblings_in(self._folder.path))
                check_student(student, self._siblings, old)
            evaluation = await self._evaluate(student, rows_file)
            if evaluation is not None and (note := self._source_changed(old)):
                notes = [*evaluation.notes, note]
                evaluation = evaluation.model_copy(update={"notes": notes})
            self._enter("done")
            news = {
                "student": None if student is None else student_in_words(student, self._siblings),
                "evaluation": evaluation,
                "spend": self._progress().spend,
                "config": {**old.config, **afterwards(self._plan.config)},
            }

            def manifest() -> Manifest:
                put_evaluation(self._folder.path, evaluation)
                files = sha256_of(self._folder.path, UNHASHED)
                return old.model_copy(update={**news, "files": files})

            return self._folder.publish(
                manifest,
                student="trained" if training else "published",
                same_rows=True,
            )

    def _source_changed(self, old: Manifest) -> str | None:
        """What to bear in mind where the source has other rows than the run read; None = nothing.

        Whether held-out rows are among those to learn from was looked at then.
        """
        assert self._survey is not None  # noqa: S101  the source was surveyed
        was = _in_words(old.counts.read, old.counts.held_out)
        now = _in_words(self._survey.read, self._survey.held_out)
        if was == now:
            return None
        return (
            f"the source has changed since the run: it had rows {was}, and has {now}; what is said"
            " of held-out rows among the rows to learn from is of the old ones"
        )


def _in_words(read: int, held_out: Mapping[str, int]) -> str:
    return ", ".join(
        [f"{read:,} to learn from", *(f"{n:,} {side}" for side, n in held_out.items())]
    )
