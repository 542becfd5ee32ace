"""`synthkd audit`, the whole way: rows shown, labels kept, the claim and when it may be made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synthkd.audit.card import with_audit
from synthkd.audit.labels import Reviewer, reviewers_of
from synthkd.audit.sample import Sample
from synthkd.folder import sha256_of
from synthkd.pipeline import read_manifest
from synthkd.results import UNHASHED
from tests.audit.audited import PIPELINE, audit, card, finished, invoke

LIMIT = "steps.gate.length.with.max_chars"


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
