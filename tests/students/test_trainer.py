from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.students.curriculum import Course
from synthkd.students.trainer import WHOLE, newest_whole


def shown(course: Course, epoch: int = 0) -> list[int]:
    course.epoch = epoch
    return list(course)


def test_a_course_goes_through_its_stages_and_shuffles_within_them() -> None:
    stages = [2, 1] * 20
    course = Course(stages, seed=3)
    assert [stages[place] for place in course] == [1] * 20 + [2] * 20
    assert sorted(course) == list(range(len(course)))
    assert shown(course) == shown(Course(stages, seed=3))
    assert shown(course) != shown(Course(stages, seed=4))
    assert shown(course, epoch=1) != shown(course, epoch=0)


def test_a_course_with_orders_is_not_shuffled() -> None:
    course = Course([1, 1, 0, 0], seed=0, orders=[5, 2, 9, 9])
    assert shown(course) == shown(course, epoch=1) == [2, 3, 1, 0]


@pytest.mark.parametrize(("whole", "expected"), [((8, 9), 9), ((9, 100), 100), ((8,), 8), ((), 0)])
def test_only_a_whole_checkpoint_is_gone_on_from(
    whole: tuple[int, ...], expected: int, tmp_path: Path
) -> None:
    for step in (8, 9, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step in whole:
            (tmp_path / f"checkpoint-{step}" / WHOLE).touch()
    newest = newest_whole(tmp_path)
    assert newest == (tmp_path / f"checkpoint-{expected}" if expected else None)
    assert len(list(tmp_path.iterdir())) == len(whole)  # what is not whole is gone
