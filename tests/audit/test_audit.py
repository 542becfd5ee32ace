"""`synthkd audit`, the whole way: rows shown, labels kept, the claim and when it may be made."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import subprocess
import sys
import termios
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from synthkd.audit.card import with_audit
from synthkd.audit.labels import About, Labels, Reviewer, Said, reviewers_of
from synthkd.audit.sample import Sample
from synthkd.audit.standing import Standing, standing_of
from synthkd.cli import app
from synthkd.cli.audit import edited_with, is_text
from synthkd.errors import DiskFailed, SourceError
from synthkd.folder import sha256_of
from synthkd.pipeline import read_manifest
from synthkd.results import UNHASHED
from tests.runs import DEADLINE_S, command

PIPELINE = """
name: words
source: {jsonl: words.jsonl, id: [n]}
steps: [{use: gate.length, with: {field: text, max_chars: 9}}]
export: {format: prompt-completion, prompt: n, completion: text}
"""


LATIN = "import sys; open(sys.argv[1], 'wb').write(b'\\xff')"
LIMIT = "steps.gate.length.with.max_chars"


def finished(n: int = 120) -> Path:
    """A run of n rows, of which each sixth is rejected as too long."""
    rows = [{"n": str(i), "text": f"text {i}" + "!" * 9 * (i % 6 == 0)} for i in range(n)]
    Path("words.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    Path("words.yaml").write_text(PIPELINE, encoding="utf-8")
    result = invoke("run", "words.yaml", "--out", "out", "--quiet")
    assert result.exit_code == 0, result.output
    return Path("out")


def invoke(*arguments: object, keys: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=keys)


def audit(*options: object, keys: str = "") -> Result:
    result = invoke("audit", "out", *options, keys=keys)
    assert result.exit_code == 0, result.output
    return result


def card() -> str:
    return Path("out/dataset/README.md").read_text(encoding="utf-8")


def test_all_good_shows_the_precision_and_stops_by_itself() -> None:
    finished()
    said = audit("--precision", 0.9, keys="y\n" * 500)
    assert "precision >= 0.9 at 95 %, " in card()
    labels = reviewers_of(Path("out"))["reviewer"]
    assert 20 < len(labels) < 60  # of 100 kept rows: it stopped when it was shown
    assert sum(side == "rejected" for side, _ in labels) == (len(labels) - 1) // 5
    assert "REJECTED by gate.length: too_long" in said.output
    assert "thrown away although good" in card()


def test_bad_rows_refute_it() -> None:
    finished()
    audit("--precision", 0.9, keys="n\n" * 500)
    assert "precision < 0.9 at 95 %" in card()
    assert len(reviewers_of(Path("out"))["reviewer"]) < 20


def test_quitting_keeps_the_labels_and_running_again_goes_on() -> None:
    finished()
    first = audit(keys="y\nn\nq\n")
    assert "is not shown at 95 %, 2 labelled" in first.output
    second = audit(keys="y\n")  # the end of the input quits too
    assert "3 labelled" in second.output
    one, other = (result.output.split("[text]\n")[1:] for result in (first, second))
    assert {text.split()[1] for text in one[:2]}.isdisjoint({other[0].split()[1]})


def test_a_label_that_a_kill_has_cut_is_asked_for_again() -> None:
    out = finished()
    audit(keys="y\ny\n")
    file = out / "audit" / "reviewer.labels.jsonl"
    file.write_bytes(file.read_bytes()[:-10])
    audit(keys="n\n")
    assert [*reviewers_of(out)["reviewer"].values()] == ["good", "bad"]


def test_skipped_rows_count_as_not_good_and_come_back() -> None:
    out = finished()
    first = audit(keys="s\nq\n")
    assert "0 labelled, 1 skipped\n" in first.output
    assert "of those labelled 0 good" in first.output
    assert "reviewer 0" in card()
    second = audit(keys="y\nq\n")
    assert (
        first.output.split("[text]\n")[1].split()[1]
        == second.output.split("[text]\n")[1].split()[1]
    )
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]


def test_an_edit_is_a_row_that_a_pipeline_reads() -> None:
    out = finished()
    audit("--edit", "text", keys="e\nbetter\ntext\n.\nq\n")
    (edited,) = map(
        json.loads, (out / "audit/reviewer.edits.jsonl").read_text("utf-8").splitlines()
    )
    assert edited["text"] == "better\ntext"
    assert edited["audit"]["by"] == "reviewer"
    Path("again.yaml").write_text(
        PIPELINE.replace("words.jsonl", "out/audit/reviewer.edits.jsonl").replace(": 9", ": 99"),
        encoding="utf-8",
    )
    assert invoke("run", "again.yaml", "--out", "again", "--quiet").exit_code == 0
    assert "1 edited" in card()


def test_an_edit_that_changes_nothing_is_none() -> None:
    out = finished()
    audit(keys="e\n.\ny\nq\n")
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]
    assert not (out / "audit/reviewer.edits.jsonl").exists()


def test_a_key_that_is_none_is_asked_for_again() -> None:
    finished()
    assert "'x' is none of y n e s q" in audit(keys="x\ny\nq\n").output


def test_two_reviewers_see_the_same_rows_and_their_agreement_is_told() -> None:
    finished()
    audit("--reviewer", "ann", keys="y\ny\nn\nn\nq\n")
    audit("--reviewer", "bob", keys="y\nn\nn\nn\nq\n")
    assert "ann and bob agree on 3 of 4 rows, kappa 0.50" in card()
    assert "4 labelled" in card()
    assert "of those labelled 1 good" in card()  # a row is good if everybody says so


def test_a_second_reviewer_is_not_stopped_by_what_the_first_has_shown() -> None:
    out = finished()
    audit("--precision", 0.9, "--reviewer", "ann", keys="y\n" * 500)
    audit("--precision", 0.9, "--reviewer", "bob", keys="y\n" * 5)
    assert len(reviewers_of(out)["bob"]) == 5


def test_the_card_has_one_audit_and_the_manifest_its_hash() -> None:
    out = finished()
    audit(keys="y\n")
    audit(keys="y\n")
    assert card().count("## Audit") == 1
    manifest = read_manifest(out)
    assert manifest.files == sha256_of(out, UNHASHED)
    assert audit("--report").output.count("2 labelled") == 1


def test_what_was_chosen_after_looking_proves_nothing() -> None:
    finished()
    audit("--precision", 0.95, keys="y\n")
    result = invoke("audit", "out", "--precision", 0.8, keys="y\n")
    assert result.exit_code == 2
    assert "chosen after looking proves nothing" in result.output


def test_labels_of_other_rows_are_not_taken_for_these() -> None:
    finished()
    audit(keys="y\n")
    finished(60)
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert "is about other rows" in result.output


def test_rejected_rows_without_their_source_are_left_out_with_a_word() -> None:
    finished()
    Path("words.jsonl").unlink()
    result = audit(keys="y\n" * 6)
    assert "no rejected rows are shown" in result.output
    assert "6 labelled" in result.output


def test_nothing_that_a_terminal_would_act_upon_is_shown() -> None:
    finished()
    text = "\x1b]0;gotcha\x07\x1b[2J"
    rows = [{"n": str(i), "text": text} for i in range(3)]
    Path("words.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    invoke(
        "run",
        "words.yaml",
        "--out",
        "bad",
        "--quiet",
        "--set",
        "steps.gate.length.with.max_chars=99",
    )
    result = invoke("audit", "bad", keys="y\n")
    assert "gotcha" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", 1], "--precision must be above 0 and below 1"),
        (["--risk", 0], "--risk must be above 0"),
        (["--seed", 2**64], "--seed"),
        (["--reviewer", "../x"], "becomes the name of a file"),
        (["--field", "txt"], "--field: rows have no 'txt'"),
    ],
)
def test_mistakes(options: list[Any], message: str) -> None:
    finished(12)
    result = invoke("audit", "out", *options, keys="y\n")
    assert result.exit_code == 2
    assert message in result.output
    assert not Path("out/audit").exists()


def test_a_folder_without_rows() -> None:
    finished()
    all_may_go = ("--set", "limits.max_rejected=1", "--set", f"{LIMIT}=1")
    assert invoke("run", "words.yaml", "--out", "none", *all_may_go).exit_code == 0
    result = invoke("audit", "none", keys="y\n")
    assert result.exit_code == 2
    assert "nothing to audit" in result.output


def test_damaged_labels_are_named() -> None:
    out = finished()
    audit(keys="y\n")
    file = out / "audit" / "reviewer.labels.jsonl"
    file.write_bytes(b'{"said": "great"}\n' + file.read_bytes())
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert "reviewer.labels.jsonl line 1: is damaged" in result.output


# --- laws


ABOUT = About(precision=0.9, risk=0.1, seed=0, rows_sha256="", kept=40, rejected=0)
KEYS = [str(n) for n in range(ABOUT.kept)]


def standing(*said: Said) -> Standing:
    """After these labels of the kept rows, in the order in which they are drawn."""
    labels: Labels = {("kept", key): label for key, label in zip(KEYS, said, strict=False)}
    return standing_of(ABOUT, KEYS, [], {"ann": labels})


def ends(n_good: int) -> dict[str, float]:
    """How likely an audit of 40 rows ends in which way; exact, over all orders of drawing."""
    ended = {"shown": 0.0, "refuted": 0.0}
    # Audits that are open differ in nothing but how many were good: one way there stands for all.
    still_open: dict[int, tuple[float, tuple[Said, ...]]] = {0: (1.0, ())}
    for seen in range(len(KEYS)):
        after: dict[int, tuple[float, tuple[Said, ...]]] = {}
        for good, (likely, said) in still_open.items():
            share = (n_good - good) / (len(KEYS) - seen)
            nexts: list[tuple[Said, float]] = [("good", share), ("bad", 1 - share)]
            for label, chance in nexts:
                if not chance:
                    continue
                way = (*said, label)
                verdict = standing(*way).verdict
                if verdict != "open":
                    ended[verdict] += likely * chance
                else:
                    now = good + (label == "good")
                    after[now] = (after.get(now, (0.0,))[0] + likely * chance, way)
        still_open = after
    return ended


def test_what_an_audit_says_is_wrong_no_more_often_than_its_risk() -> None:
    too_few, enough = ends(35), ends(36)  # 36 of 40 are 0.9
    assert 0 < too_few["shown"] <= ABOUT.risk
    assert enough["refuted"] <= ABOUT.risk
    # Who looks to the end knows: all rows are labelled then.
    assert sum(too_few.values()) == pytest.approx(1)
    assert sum(enough.values()) == pytest.approx(1)


@given(
    said=st.lists(st.sampled_from(["good", "good", "bad", "skipped"]), max_size=len(KEYS)),
    truly=st.lists(st.sampled_from(["good", "bad"]), min_size=len(KEYS), max_size=len(KEYS)),
)
@settings(deadline=None)
def test_whatever_the_skipped_rows_are_the_bounds_enclose_what_would_be_said(
    said: list[Said], truly: list[Said]
) -> None:
    told = standing(*said)
    known = standing(
        *(true if one == "skipped" else one for one, true in zip(said, truly, strict=False))
    )
    assert told.kept.share.least <= known.kept.share.least
    assert known.kept.share.most <= told.kept.share.most
    assert told.verdict in ("open", known.verdict)
    assert told.kept.labelled + told.kept.skipped == len(said)


def test_rows_behind_a_gap_do_not_count() -> None:
    picked: Labels = {("kept", key): "good" for key in KEYS if key != "1"}
    assert standing_of(ABOUT, KEYS, [], {"ann": picked}).kept.labelled == 1


def test_one_who_finds_fault_is_enough_and_one_who_skips_leaves_it_open() -> None:
    said: dict[str, list[Said]] = {
        "ann": ["good", "good", "good", "skipped", "good"],
        "bob": ["good", "bad", "edited", "bad", "skipped"],
    }
    everybody: dict[str, Labels] = {
        name: {("kept", key): one for key, one in zip(KEYS, labels, strict=False)}
        for name, labels in said.items()
    }
    part = standing_of(ABOUT, KEYS, [], everybody).kept
    assert (part.labelled, part.good, part.edited, part.skipped) == (4, 1, 1, 1)


def test_every_row_is_as_likely_to_be_shown_first() -> None:
    finished()
    manifest = read_manifest(Path("out"))
    times = Counter(Sample(Path("out"), manifest, seed).kept[0] for seed in range(300))
    fit = sum((times[key] - 3) ** 2 / 3 for key in Sample(Path("out"), manifest, 0).kept)
    assert 61.1 < fit < 148.2  # chi-square with 99 degrees of freedom: 0.1 % lie beyond each
    again = Sample(Path("out"), manifest, 7)
    assert again.kept == Sample(Path("out"), manifest, 7).kept


def test_a_reviewer_that_says_something_twice_means_the_latter(tmp_path: Path) -> None:
    who = Reviewer(tmp_path, "ann")
    who.say("kept", "a", "skipped")
    who.say("kept", "a", "good")
    assert Reviewer(tmp_path, "ann").said == {("kept", "a"): "good"}


def test_the_section_of_the_card_is_replaced_wherever_it_stands() -> None:
    once = with_audit("# x\n\n## Prompts\n\n- p\n", ["one"])
    assert once == "# x\n\n## Prompts\n\n- p\n\n## Audit\n\n- one\n"
    assert with_audit(once, ["two"]) == once.replace("one", "two")
    between = "# x\n\n## Audit\n\n- one\n\n## Prompts\n\n- p\n"
    assert with_audit(between, ["two"]) == "# x\n\n## Prompts\n\n- p\n\n## Audit\n\n- two\n"


def test_one_label_shows_no_precision_near_one() -> None:
    for precision in (1 - 1e-9, 1 - 1e-15):
        about = ABOUT.model_copy(update={"precision": precision})
        labels: Labels = {("kept", "0"): "good"}
        assert standing_of(about, [*"0123456789"], [], {"ann": labels}).verdict == "open"


def test_names_of_fields_are_shown_as_carefully_as_texts() -> None:
    Path("words.jsonl").write_text('{"n": "1", "a\\u001b[2J": "x"}\n', encoding="utf-8")
    text = "name: words\nsource: {jsonl: words.jsonl, id: [n]}\nsteps: []\n"
    Path("words.yaml").write_text(
        text.replace("steps: []", "steps: [{use: gate.length, with: {field: n, max_chars: 9}}]")
        + "export: {format: rows}\n",
        encoding="utf-8",
    )
    assert invoke("run", "words.yaml", "--out", "out", "--quiet").exit_code == 0
    assert "\x1b" not in audit(keys="y\n").output


@pytest.mark.parametrize(
    "editor", ["/nowhere/ed", "ed 'x", "rm", f"{sys.executable} -c {shlex.quote(LATIN)}"]
)
def test_an_editor_that_gives_no_text_is_told_of(editor: str) -> None:
    with pytest.raises((OSError, ValueError)):
        edited_with(editor, "before")


def test_text_that_is_no_utf_8_is_none() -> None:
    assert not is_text("\udcff")
    assert is_text("ä")


def at_a_terminal(*keys: bytes) -> tuple[subprocess.Popen[bytes], int]:
    """An audit on a terminal of its own, after these keys; and our end of the terminal."""
    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens is its own, with Ctrl-C and all.
    shell = f"exec {shlex.join(command('audit', 'out'))} <$0 >$0 2>&1"
    process = subprocess.Popen(
        ["sh", "-c", shell, os.ttyname(theirs)],
        env={**os.environ, "EDITOR": "", "VISUAL": ""},
        start_new_session=True,
    )
    for key in keys:
        seen = b""
        while not seen.endswith((b"[q]uit ", b"nothing but a dot:\r\n")):
            seen += os.read(ours, 65536)
        if seen.endswith(b"[q]uit "):
            wait_until_raw(ours)
        os.write(ours, key)
    os.close(theirs)
    return process, ours


def rest_of(terminal: int) -> bytes:
    """What is printed until the process has ended."""
    seen = b""
    with suppress(OSError):  # so Linux says that nobody has the other end any more
        while more := os.read(terminal, 65536):
            seen += more
    os.close(terminal)
    return seen


def wait_until_raw(terminal: int) -> None:
    """Until single keys are read; what is typed before is thrown away."""
    while termios.tcgetattr(terminal)[3] & termios.ICANON:
        time.sleep(0.005)


def test_the_end_of_the_input_on_a_terminal_quits() -> None:
    out = finished()
    process, ours = at_a_terminal(b"y", b"\x04")
    assert b"reviewers: reviewer 1" in rest_of(ours)
    assert process.wait(DEADLINE_S) == 0
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.EDQUOT, "quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFailed, match=r"ann\.labels\.jsonl"):
        Reviewer(tmp_path, "ann").say("kept", "a", "good")


# --- what may go wrong in a sitting: the labels up to there are kept, and one message says it


def test_a_disk_that_gets_full_ends_the_sitting(monkeypatch: pytest.MonkeyPatch) -> None:
    out = finished(12)
    sync, times = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(times) == 2:  # after audit.json and one label
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = invoke("audit", "out", keys="y\ny\n")
    assert result.exit_code == 7
    assert result.stderr.count("\n") == 2  # and how to go on
    assert "reviewer.labels.jsonl: No space left on device; all labels before" in result.stderr
    assert "good" in reviewers_of(out)["reviewer"].values()


def test_a_folder_that_cannot_be_written_to() -> None:
    out = finished(12)
    (out / "audit").write_text("in its way, which stops root too", encoding="utf-8")
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 7
    assert "cannot write out/audit/audit.json" in result.stderr


def test_labels_that_cannot_be_read() -> None:
    out = finished(12)
    audit(keys="y\n")
    (out / "audit" / "ann.labels.jsonl").mkdir()
    result = invoke("audit", "out", "--reviewer", "bob", keys="y\n")
    assert result.exit_code == 7
    assert "cannot use out/audit/ann.labels.jsonl" in result.stderr


def test_an_edit_without_its_end_is_none() -> None:
    out = finished(12)
    said = audit(keys="y\ne\nhalf of a te")
    assert "has ended before the dot" in said.output
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]
    assert not (out / "audit/reviewer.edits.jsonl").exists()


def test_a_card_that_is_gone() -> None:
    out = finished(12)
    (out / "dataset" / "README.md").unlink()
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert "the labels are kept" in result.stderr
    assert len(reviewers_of(out)["reviewer"]) == 1


@pytest.mark.parametrize("name", ["rows/rows.parquet", "rejected.parquet"])
def test_rows_that_the_manifest_does_not_tell_of_are_not_shown(name: str) -> None:
    out = finished(12)
    mine = (out / name).read_bytes()
    finished(24)
    (out / name).write_bytes(mine)
    result = invoke("audit", "out", keys="y\n")
    assert result.exit_code == 2
    assert f"out/{name}: is not the file that manifest.json tells of" in result.stderr
    (out / name).unlink()
    assert f"out/{name}: cannot be read: No such file" in invoke("audit", "out").stderr


def test_rows_that_are_replaced_during_a_sitting() -> None:
    sample = Sample(finished(), read_manifest(Path("out")), 0)
    finished(60)
    with pytest.raises(SourceError, match="was run again meanwhile"):
        next(sample.kept_rows())


@pytest.mark.parametrize(
    ("keys", "closed", "labels"),
    [(b"y\n\xff\nn\n", "", ["good", "bad"]), (b"", " <&-", [])],
    ids=["bytes that are no text", "no input at all"],
)
def test_odd_inputs(keys: bytes, closed: str, labels: list[Said]) -> None:
    out = finished(12)
    shell = shlex.join(command("audit", "out")) + closed
    done = subprocess.run(["sh", "-c", shell], input=keys, capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [*reviewers_of(out).get("reviewer", {}).values()] == labels


def test_ctrl_c_in_mid_answer_keeps_the_labels() -> None:
    out = finished(12)
    process, ours = at_a_terminal(b"y", b"e", b"half of a te\x03")
    assert rest_of(ours).count(b"interrupted") == 1
    assert process.wait(DEADLINE_S) == 130
    assert [*reviewers_of(out)["reviewer"].values()] == ["good"]


def test_a_terminal_that_goes_away_keeps_the_labels() -> None:
    out = finished(12)
    process, ours = at_a_terminal(b"y", b"y")
    os.close(ours)
    process.wait(DEADLINE_S)
    assert set(reviewers_of(out)["reviewer"].values()) == {"good"}
