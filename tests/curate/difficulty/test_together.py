"""difficulty.together: what belongs together is judged in one question, whatever its order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.curate.difficulty.together import TogetherSettings, together
from synthkd.desk import Desk
from synthkd.errors import RowError, Unanswered
from synthkd.io.spool import RowSpool, Table
from synthkd.prompts import load_prompt, shipped_folder
from synthkd.rows import Fields, Row, source_row
from synthkd.table_kit import TableKit
from synthkd.teachers.request import Completion
from tests.curate.judges.asking import said, scored


class Judge(TableKit):
    """A kit whose judge gives each instruction the number that it ends with."""

    def __init__(self) -> None:
        super().__init__(Desk(step="difficulty.together"))
        self.asked: list[list[str]] = []
        self.instead: dict[str, Completion | RowError] = {}

    def ask_all(self, prompt: str, inputs: Sequence[Fields], **_: Any) -> list[Any]:
        return [self._say(prompt, one) for one in inputs]

    def _say(self, prompt: str, inputs: Any) -> Completion | RowError:
        texts = [str(text) for text in inputs["instructions"]]
        rendered = load_prompt(prompt, folders=[shipped_folder("prompts")]).render(inputs)
        assert all(text in rendered[-1]["content"] for text in texts)
        assert f'"item_{len(texts)}"' in rendered[0]["content"]
        self.asked.append(texts)
        for text in texts:
            if text in self.instead:
                return self.instead[text]
        numbers = {f"item_{n}": int(text.split()[-1]) for n, text in enumerate(texts, 1)}
        return said(scored("I compared.", **numbers), key=f"k{len(self.asked)}")


def row(place: int, text: str, root: str) -> Row:
    made = source_row("s", [place], ordinal=place, fields={"instruction": text, "of": root})
    return made._replace(roots=(root,))


def run(rows: list[Row], folder: Path, kit: Judge, **settings: Any) -> dict[str, Any]:
    config = TogetherSettings.model_validate({"teacher": "judge", **settings})
    with RowSpool.of(folder / "r", rows) as spool:
        out = [*together(Table(spool), kit, config)]
    return {str(one.fields["instruction"]): one.fields["difficulty"] for one in out}


def test_what_descends_from_one_row_is_judged_together(tmp_path: Path) -> None:
    kit = Judge()
    rows = [row(n, f"do {n % 10 + 1}", f"root{n % 2}") for n in range(9)]
    rows += [row(9, "alone 7", "other"), row(10, " ", "other")]
    found = run(rows, tmp_path, kit, most=3)
    assert found == {f"do {n + 1}": float(n + 1) for n in range(9)} | {"alone 7": 7.0}
    assert sorted(map(len, kit.asked)) == [1, 2, 2, 2, 3]  # 5, 4 and 1, as evenly as may be
    assert all(len({int(text.split()[-1]) % 2 for text in one}) == 1 for one in kit.asked)
    assert [str(error) for _, error in kit.take_gone()] == [
        "no_instruction: instruction is empty, or no text"
    ]
    assert kit.figures["questions"] == 5
    figure: Any = kit.figures["difficulty"]
    assert (figure["rows"], figure["histogram"]["7"]) == (10, 2)
    other = Judge()
    assert run(rows, tmp_path / "again", other, group="of", most=3) == found


def test_a_question_that_cannot_be_read_costs_its_rows_and_no_others(tmp_path: Path) -> None:
    kit = Judge()
    kit.instead = {"a 1": said("Hard to say."), "b 1": Unanswered("503")}
    rows = [row(n, text, text[0]) for n, text in enumerate(["a 1", "a 2", "b 1", "c 2", "c 9"])]
    assert run(rows, tmp_path, kit, keep_at_least=3.0) == {"c 9": 9.0}
    gone = {str(one.fields["instruction"]): str(error)[:10] for one, error in kit.take_gone()}
    assert gone == {
        **{"a 1": "no_verdict", "a 2": "no_verdict"},
        **{"b 1": "503", "c 2": "too_easy: "},
    }
    with pytest.raises(ValidationError, match="must have one criterion, got 4"):
        TogetherSettings.model_validate({"teacher": "t", "rubric": "judges/answer"})
