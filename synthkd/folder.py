"""The folder of a run: who works in it, what is staged, what is published, in which order.

    DIR/run.json        the run's id and its ledger: together they are what the run has spent
    DIR/.work/          scratch of the run that is going on; gone when it is done
    DIR/.trained/       students that are ready while the run is not; resuming finds them
    DIR/manifest.json   written last: a folder that has one is complete
    DIR/.before.json    the manifest while `train` or `eval` replaces results; its rows still hold
    DIR/stopped/        why the last run ended early, and the rows lost so far

Results are made in .work and moved into place one by one, each by a rename, after the old
manifest is gone. So a killed run leaves no half file that looks whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import StringConstraints, ValidationError

from synthkd.errors import RunStopped, UserError
from synthkd.io.atomic import atomic_file
from synthkd.io.lock import locked
from synthkd.io.paths import ledger_path
from synthkd.manifest import Manifest, Record, Stopped

MANIFEST = "manifest.json"
BEFORE = ".before.json"
WORK = ".work"
TRAINED = ".trained"
ROUNDS = "rounds"
SEEDS = "seeds"
"""Students of other seeds: seeds/SEED/student/."""
LEARNING = "learning"
STOPPED = "stopped"
PREDICTIONS = "predictions.parquet"
"""Every answer to every held-out row (`synthkd.evaluate.predictions`)."""
RESULT = "evaluation.json"
"""What an evaluation without a run found."""
RUN = "run.json"
LEDGER = ".synthkd/ledger.sqlite"
"""One for all runs of a project, so that whatever was bought once is found by all."""


R = TypeVar("R", bound=Record)
StudentPlace = Literal["trained", "published", "none"]
Kind = Literal["run", "evaluation"]


class RunFile(Record):
    """run.json."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Becomes part of a file's name, so nothing else may stand there."""
    ledger: str
    """Path, from the folder."""
    has_asked: bool = False
    """Whether the ledger knows the run: from then on it must be there."""
    kind: Kind = "run"
    """Whether a run's results go here, or those of an evaluation without a run."""


class RunFolder:
    """A folder that this process alone works in; see `open_folder`."""

    def __init__(self, path: Path, run: RunFile) -> None:
        self.path = path
        self._run = run
        self.run_id = run.run_id
        self.ledger = str(_ledger_path(path, run))
        """Where the run's answers and its spend are."""
        self.work = path / WORK
        self.staged = self.work / "staged"
        self.trained = path / TRAINED / "student"
        self.learning = path / TRAINED / LEARNING
        """Checkpoints of a training that goes on; gone when the student is published."""
        self.rounds = path / TRAINED / ROUNDS
        """The students of rounds, until all rounds are published."""
        self.seeds = path / TRAINED / SEEDS
        """The students of other seeds, until they are published."""
        self.published_seeds: list[str] = []
        """Which of them belong to the student that is published next."""
        self.keeps = False
        """Whether something worth keeping may be inside; until then a mistake leaves no trace."""

    @property
    def has_asked(self) -> bool:
        """Whether the run's spend is in its ledger."""
        return self._run.has_asked

    def will_ask(self) -> None:
        """Note that the ledger knows the run, before the first question leaves."""
        self.keeps = True
        if not self._run.has_asked:
            self._run = self._run.model_copy(update={"has_asked": True})
            _write_run(self.path, self._run)

    def take_up_students(self) -> None:
        """Have the published students where they are not trained again if they are right."""
        published = {self.path / "student": self.trained}
        for kind, place in ((ROUNDS, self.rounds), (SEEDS, self.seeds)):
            for own in (self.path / kind).glob("*/student"):
                published[own] = place / own.parent.name / "student"
        for student, place in published.items():
            if student.is_dir() and not place.exists():
                copy = self.work / "student"  # a kill must not leave half that looks whole
                shutil.copytree(student, copy)
                place.parent.mkdir(parents=True, exist_ok=True)
                copy.rename(place)

    def stage_rounds(self, count: int, best: int) -> None:
        """Have the students of the first `count` rounds published, the best one as the run's."""
        shutil.rmtree(self.trained, ignore_errors=True)
        copy = self.work / "student"
        shutil.copytree(self.rounds / str(best) / "student", copy)
        copy.rename(self.trained)
        for number in range(count):
            student = self.rounds / str(number) / "student"
            shutil.copytree(student, self.staged / ROUNDS / str(number) / "student")

    def publish(
        self, manifest: Callable[[], Manifest], *, student: StudentPlace, same_rows: bool = False
    ) -> Manifest:
        """Move everything that is staged into place, and write the manifest that describes it.

        Args:
            manifest: called once all is in place, to hash what is there.
            student: `trained` is moved into place, the `published` one stays, or there is `none`.
            same_rows: whether the rows stay: then a kill leaves the old manifest to go on from.
        """
        if same_rows and (self.path / MANIFEST).exists():
            (self.path / MANIFEST).replace(self.path / BEFORE)
        elif not same_rows:
            for old_manifest in (MANIFEST, BEFORE):
                (self.path / old_manifest).unlink(missing_ok=True)
        self._make_room(student, same_rows=same_rows)
        for new in sorted(self.staged.iterdir()):
            old = self.path / new.name
            if old.is_dir():
                old.rename(self.work / f"old-{new.name}")
            new.rename(old)
        made = manifest()
        with atomic_file(self.path / MANIFEST) as file:
            file.write(_pretty(made.model_dump(mode="json")))
        (self.path / BEFORE).unlink(missing_ok=True)
        # An evaluation alone leaves what a training that was ended has made.
        for gone in (STOPPED, WORK, *(() if student == "published" else (TRAINED,))):
            shutil.rmtree(self.path / gone, ignore_errors=True)
        return made

    def publish_trial(self, record: Callable[[], R]) -> R:
        """Move what an evaluation without a run has staged into place, and write its record last.

        Args:
            record: called once all is in place, to hash what is there.
        """
        (self.path / RESULT).unlink(missing_ok=True)  # it tells of the files that are replaced
        for new in sorted(self.staged.iterdir()):
            new.rename(self.path / new.name)
        made = record()
        with atomic_file(self.path / RESULT) as file:
            file.write(_pretty(made.model_dump(mode="json")))
        for gone in (STOPPED, WORK):
            shutil.rmtree(self.path / gone, ignore_errors=True)
        return made

    def _make_room(self, student: StudentPlace, *, same_rows: bool) -> None:
        """Stage the student; move away what is replaced, or is no more."""
        if student != "published" and (self.path / SEEDS).exists():
            (self.path / SEEDS).rename(self.work / f"old-{SEEDS}")
        for seed in self.published_seeds if student == "trained" else ():
            (self.staged / SEEDS / seed).mkdir(parents=True)
            (self.seeds / seed / "student").rename(self.staged / SEEDS / seed / "student")
        if student == "trained":
            self.trained.rename(self.staged / "student")
        elif student == "none" and (self.path / "student").exists():
            (self.path / "student").rename(self.work / "old-student")
        if not same_rows and (self.path / ROUNDS).exists():
            (self.path / ROUNDS).rename(self.work / f"old-{ROUNDS}")
        if not (self.staged / PREDICTIONS).exists():
            (self.path / PREDICTIONS).unlink(missing_ok=True)  # of an evaluation that is no more

    def stop(self, stopped: Stopped) -> Path:
        """A folder for what is known about a run that ended early, with the reason in it."""
        folder = self.path / STOPPED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with atomic_file(folder / "stopped.json") as file:
            file.write(_pretty(stopped.model_dump(mode="json")))
        return folder

    def stopped_again(self, stop: RunStopped) -> None:
        """The run waited where it had stopped, and something else ended that."""
        file = self.path / STOPPED / "stopped.json"
        before = read_stopped(self.path)
        if before is not None:
            changes = {"message": str(stop), "exit_code": stop.exit_code}
            with atomic_file(file) as written:
                written.write(_pretty(before.model_copy(update=changes).model_dump(mode="json")))


@contextmanager
def open_folder(
    path: Path, *, ledger: str | None, default_ledger: str, kind: Kind = "run"
) -> Iterator[RunFolder]:
    """Make the folder, or enter it again, and keep other processes out of it.

    Args:
        path: DIR.
        ledger: the ledger that was asked for; None = the run's own, or for a new run the default.
        default_ledger: of a new run.
        kind: what it is for.

    Raises:
        UserError: it cannot be made or read, holds something else, belongs to a run with another
            ledger, or another process works in it.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    with alone_in(path):
        is_new = not (path / RUN).exists()
        folder: RunFolder | None = None
        try:
            _refuse_foreign(path)
            folder = RunFolder(path, _run_of(path, ledger, default_ledger, kind))
            shutil.rmtree(folder.work, ignore_errors=True)
            folder.staged.mkdir(parents=True)
            yield folder
        finally:
            if folder is None or not folder.keeps:
                _leave_no_trace(path, made, is_new)


def _leave_no_trace(path: Path, made: list[Path], is_new: bool) -> None:
    """After a mistake: what this call made goes, what was there stays."""
    if made:
        _remove(made)
        return
    shutil.rmtree(path / WORK, ignore_errors=True)
    if is_new:
        (path / RUN).unlink(missing_ok=True)


@contextmanager
def alone_in(path: Path) -> Iterator[None]:
    """Keep other processes out of the folder, which is made if it is not there.

    Raises:
        UserError: another one works in it, or it cannot be used.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            yield
    except BlockingIOError:
        raise UserError(
            f"{path}: another synthkd works in this folder; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        if error.filename != str(path):
            raise
        raise UserError(
            f"{path}: cannot be used for results: {error.strerror}; choose another with --out"
        ) from error


def _remove(made: list[Path]) -> None:
    """Take back the folder that was made, and the folders above it as far as nobody uses them."""
    shutil.rmtree(made[0])
    for above in made[1:]:
        try:
            above.rmdir()
        except OSError:
            return  # someone else has put something there


def _refuse_foreign(path: Path) -> None:
    """Publishing replaces `dataset`, `rows`, ...: only ever in a folder that is a run's."""
    if not (path / RUN).exists():
        names = sorted(entry.name for entry in path.iterdir())
        # A kill may leave the run's first file unfinished.
        there = [n for n in names if not n.startswith(".") and n != f"{RUN}.tmp"]
        if there:
            raise UserError(
                f"{path}: is not the folder of a run and holds {', '.join(there[:3])}, which could"
                " get lost; choose a new or an empty folder with --out"
            )


def ledger_of(path: Path, *, ledger: str | None, default_ledger: str) -> Path:
    """The ledger that a run in this folder would use; makes nothing.

    Args:
        path: DIR.
        ledger: the ledger that is asked for, or None.
        default_ledger: of a new run.

    Raises:
        UserError: as a run would: run.json is damaged, or it names another ledger.
    """
    run = _run_there(path, ledger)
    if run is not None:
        return _ledger_path(path, run)
    return ledger_path(default_ledger if ledger is None else ledger)


def run_id_of(path: Path) -> str | None:
    """The run in this folder; None = there is none.

    Raises:
        UserError: run.json is damaged.
    """
    run = _run_there(path, None)
    return None if run is None else run.run_id


def _run_of(path: Path, ledger: str | None, default_ledger: str, kind: Kind) -> RunFile:
    """What run.json says, or for a new run what it will say.

    Raises:
        UserError: results of the other kind would get lost, or be taken for those of this one.
    """
    run = _run_there(path, ledger)
    if run is None:
        run = RunFile(
            run_id=uuid.uuid4().hex,
            ledger=_from(path, default_ledger if ledger is None else ledger),
            kind=kind,
        )
        _write_run(path, run)
    elif run.kind != kind:
        again = {"run": f" `synthkd eval {path}` evaluates the run itself again", "evaluation": ""}
        held = "a run" if run.kind == "run" else "an evaluation"
        raise UserError(
            f"{path}: holds {held}, whose results this would replace: choose another --out."
            f"{again[run.kind]}"
        )
    return run


def _run_there(path: Path, ledger: str | None) -> RunFile | None:
    """What run.json says; None = it is not there yet."""
    file = path / RUN
    try:
        run = RunFile.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{file}: cannot be read, so what this run has spent cannot be told: restore it, or"
            " choose another --out (answers that were bought are found either way)"
        ) from error
    own = _ledger_path(path, run)
    if ledger is not None and _from(path, ledger) != run.ledger:
        raise UserError(
            f"{path}: what this run has spent is in the ledger {own}, not in {ledger}: leave"
            " --ledger out, or choose another --out"
        )
    if run.has_asked and not own.exists():
        raise UserError(
            f"{path}: the ledger of this run is missing: {own}. Without it everything would be"
            " bought again, past the budget: put it back, or choose another --out"
        )
    return run


def _write_run(path: Path, run: RunFile) -> None:
    with atomic_file(path / RUN) as file:
        file.write(_pretty(run.model_dump()))


def _from(path: Path, ledger: str) -> str:
    """The ledger as seen from the folder, so that a project can be moved as a whole."""
    return os.path.relpath(ledger_path(ledger).absolute().resolve(), path.absolute().resolve())


def _ledger_path(path: Path, run: RunFile) -> Path:
    return Path(os.path.normpath(path.absolute().resolve() / run.ledger))


def manifest_of_rows(path: Path) -> Manifest:
    """The manifest that describes the rows: the run is complete, or `train` or `eval` was killed.

    Raises:
        UserError: there is none, or it is damaged.
    """
    is_between = (path / BEFORE).exists() and not (path / MANIFEST).exists()
    return read_manifest(path, BEFORE if is_between else MANIFEST)


def read_manifest(path: Path, name: str = MANIFEST) -> Manifest:
    """The manifest of a complete run.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = path / name
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        if (path / BEFORE).exists():
            raise UserError(
                f"{path}: `synthkd train` or `synthkd eval` was ended while it replaced results:"
                " run it again"
            ) from None
        stopped = read_stopped(path)
        if stopped is not None:
            raise UserError(f"{path}: the run ended early: {stopped.message}") from None
        if (path / RESULT).exists():
            raise UserError(
                f"{path}: holds an evaluation without a run: name the folder of a run. `synthkd"
                " show` prints what was found here, and the same command evaluates again"
            ) from None
        raise UserError(
            f"{file}: there is none: the run is not complete, or it is elsewhere"
        ) from None
    except ValidationError as error:
        raise UserError(
            f"{file}: not a manifest that this version can read ({_first_fault(error)}): run the"
            " pipeline again, or use the synthkd that wrote it"
        ) from error


def read_stopped(path: Path) -> Stopped | None:
    """Why the last run in this folder ended early; None = it did not.

    Raises:
        UserError: the record is damaged.
    """
    file = path / STOPPED / "stopped.json"
    try:
        return Stopped.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{file}: cannot be read ({_first_fault(error)}): remove its folder, or use the synthkd"
            " that wrote it"
        ) from error


def _first_fault(error: ValidationError) -> str:
    """Where the first fault is and what it is, on one line."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, [".".join(map(str, fault["loc"])), fault["msg"]]))


def check_unchanged(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Check that files of a run are those that its manifest tells of.

    Raises:
        UserError: one is gone or another: it was changed, or is out of another run.
    """
    for name in names:
        try:
            with (folder / name).open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{folder / name}: cannot be read: {error.strerror}") from None
        if found != manifest.files.get(name):
            raise UserError(
                f"{folder / name}: is not the file that {MANIFEST} tells of: it was changed, or is"
                " of another run. Run the pipeline again, which costs nothing where the ledger has"
                " the answers"
            )


def sha256_of(folder: Path, skip: frozenset[str]) -> dict[str, str]:
    """Path inside the folder -> SHA-256, for every file but those below the names to skip."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and name.parts[0] not in skip:
            with file.open("rb") as content:
                sums[name.as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return sums


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
