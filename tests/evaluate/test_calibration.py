"""A judge against people: real logs to the digit, judges that are no good, data that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkd.errors import UserError
from synthkd.evaluate.calibration import Calibration, LeftOut, calibrate
from synthkd.evaluate.figures import Figure
from synthkd.evaluate.judged import Item, Pair
from synthkd.evaluate.people import Where, read_judgements, read_labels
from synthkd.evaluate.thresholds import Wanted

PAIR = Pair(first="1", second="2", tie="0")


def items(verdicts: str, *people: str) -> list[Item]:
    """One item a character: `items("12-", "122")`; - is no verdict or label."""
    return [
        Item(
            id=f"i{place}",
            verdict=None if verdict == "-" else verdict,
            labels={f"p{n}": said[place] for n, said in enumerate(people) if said[place] != "-"},
        )
        for place, verdict in enumerate(verdicts)
    ]


def value(calibration: Calibration, name: str) -> float | None:
    figure = calibration.figures[name]
    return None if figure is None else figure.value


def figure(calibration: Calibration, name: str) -> Figure:
    found = calibration.figures[name]
    assert found is not None
    return found


# --- figures that were published for real logs


def pandalm(data: Path, judge: str) -> Calibration:
    path = data / "judge_pandalm" / "test999.parquet"
    people = read_labels(path, labels=["human1", "human2", "human3"])
    where = Where(verdict=f"{judge}_label", first="response1", second="response2")
    found = read_judgements(path, where, people, people_path=path)
    return calibrate(found.items, pair=PAIR, resamples=50)


@pytest.mark.parametrize(
    ("judge", "accuracy", "unreadable"), [("judge1", 0.698, 25), ("judge2", 0.668, 0)]
)
def test_pandalm_comes_out_as_published(
    recorded_data: Path, judge: str, accuracy: float, unreadable: int
) -> None:
    found = pandalm(recorded_data, judge)
    assert (found.n, found.unreadable, found.no_majority) == (999, unreadable, 0)
    assert value(found, "accuracy") == pytest.approx(accuracy, abs=5e-4)
    assert found.labels == {"2": 472, "1": 422, "0": 105}


def test_gpt4_on_mtbench_comes_out_as_published(recorded_data: Path) -> None:
    path = recorded_data / "judge_llmbar_processed" / "judgments.parquet"
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    found = {}
    for name in ("win_orig", "win_swap"):
        found[name] = calibrate(
            [
                Item(
                    id=row["id"],
                    verdict=row[name],
                    swapped=row["win_swap"],
                    labels={"gold": str(row["gold"])},
                )
                for row in rows
                if row["judge"] == "GPT-4"
                and row["strategy"] == "Metrics_Reference"
                and row["subset"] == "Processed/MT-Bench"
            ],
            resamples=50,
        )
    both = [figure(one, "accuracy").value for one in found.values()]
    assert sum(both) / 2 == pytest.approx(0.81, abs=5e-4)
    assert value(found["win_orig"], "swap_consistency") == pytest.approx(0.84)


# --- judges that are no good


def test_a_judge_that_always_says_the_same_is_said_to() -> None:
    found = calibrate(items("1111", "1121", "1122"), resamples=50)
    assert value(found, "kappa") == 0.0
    assert any("always says '1'" in note for note in found.notes)


def test_a_judge_that_calls_all_a_tie_decides_nothing() -> None:
    tied = [Item(id=str(n), verdict="0", chars=(9, 1), labels={"p": "1"}) for n in range(4)]
    found = calibrate(tied, pair=PAIR, resamples=50)
    assert value(found, "accuracy_without_ties") is None
    assert value(found, "prefers_longer") is None
    assert any("everything a tie" in note for note in found.notes)


def test_longer_is_better_is_exposed() -> None:
    """People prefer the longer answer half of the time, the judge always."""
    judged = [
        Item(id=str(n), verdict="1", chars=(50, 20), labels={"p": "12"[n % 2]}) for n in range(40)
    ]
    found = calibrate(judged, pair=PAIR, resamples=200)
    longer = figure(found, "prefers_longer")
    people = figure(found, "people_prefer_longer")
    assert (longer.value, people.value) == (1.0, 0.5)
    assert people.high < longer.low
    assert value(found, "accuracy_shorter_better") == 0.0
    assert value(found, "accuracy_longer_better") == 1.0


def test_no_verdict_is_a_wrong_one() -> None:
    found = calibrate(items("1-1-", "1111"), resamples=50)
    assert (value(found, "accuracy"), found.unreadable) == (0.5, 2)


def test_a_verdict_that_changes_with_the_order_is_inconsistent() -> None:
    swapped = [
        Item(id=str(n), verdict="1", swapped=other, labels={"p": "1"})
        for n, other in enumerate(["1", "1", "2", None])
    ]
    assert value(calibrate(swapped, resamples=50), "swap_consistency") == 0.5


# --- people


def test_people_without_a_majority_are_left_out_and_counted() -> None:
    found = calibrate(items("1112", "1112", "1-22"), resamples=50)
    assert (found.n, found.no_majority) == (3, 1)
    assert value(found, "people_agreement") == pytest.approx(2 / 3)
    assert found.annotators == {"p0": 4, "p1": 3}


def test_nobody_has_a_majority() -> None:
    found = calibrate(items("11", "12", "21"), resamples=50)
    assert (found.n, value(found, "accuracy")) == (0, None)
    assert "nothing can be said" in found.notes[-1]


def test_one_label_only_says_nothing_and_is_said_to() -> None:
    found = calibrate(items("1211", "1111"), resamples=50)
    assert (value(found, "accuracy"), value(found, "kappa")) == (0.75, 0.0)
    assert any("one label only" in note for note in found.notes)
    assert value(found, "people_alpha") is None  # there is one of them


def test_a_scale_with_an_order_takes_the_middle_and_forgives_near_misses() -> None:
    near = calibrate(items("1234", "1235", "2345", "1235"), scale="ordinal", resamples=50)
    far = calibrate(items("5234", "1235", "2345", "1235"), scale="ordinal", resamples=50)
    assert near.labels == {"1": 1, "2": 1, "3": 1, "5": 1}
    assert figure(near, "weighted_kappa").value > figure(far, "weighted_kappa").value
    assert figure(near, "weighted_kappa").value > figure(near, "kappa").value


def test_nothing_to_compare_is_a_mistake() -> None:
    with pytest.raises(UserError, match="label more"):
        calibrate([])


# --- intervals and thresholds


def test_same_seed_same_intervals() -> None:
    one, other = (calibrate(items("1212" * 9, "1221" * 9), resamples=99) for _ in range(2))
    assert one == other
    accuracy = figure(one, "accuracy")
    assert accuracy.low < accuracy.value < accuracy.high


def scored(n: int) -> list[Item]:
    """Right exactly where the score is above 0.5."""
    return [
        Item(id=str(i), verdict="1", score=i / n, labels={"p": "1" if i * 2 > n else "2"})
        for i in range(n)
    ]


def test_a_threshold_is_chosen_on_validation_and_shown_on_test() -> None:
    found = calibrate(scored(200), wanted=Wanted(precision=0.9), resamples=50)
    threshold = found.threshold
    assert threshold is not None
    assert threshold.test is not None
    assert threshold.threshold == pytest.approx(0.45, abs=0.06)
    assert threshold.validation.n + threshold.test.n == 200
    assert (threshold.validation.precision or 0) >= 0.9
    assert found.n == 200  # figures of the verdicts are of all items


def test_a_precision_that_no_threshold_reaches() -> None:
    wrong = [Item(id=str(i), verdict="1", score=i / 9, labels={"p": "2"}) for i in range(9)]
    threshold = calibrate(wrong, wanted=Wanted(precision=0.9), resamples=50).threshold
    assert threshold is not None
    assert (threshold.threshold, threshold.test) == (None, None)


def test_scores_alone_become_verdicts_where_the_threshold_was_not_chosen() -> None:
    only = [
        Item(id=str(i), verdict=None, score=i / 200, labels={"p": "ok" if i > 99 else "poor"})
        for i in range(200)
    ]
    found = calibrate(only, wanted=Wanted(precision=0.95, good=("ok",)), resamples=50)
    assert found.threshold is not None
    assert found.threshold.test is not None
    assert found.n == found.threshold.test.n < 200
    assert set(found.labels) == {"good", "not good"}
    assert figure(found, "accuracy").value > 0.9


def test_people_s_labels_become_good_or_not_before_there_is_a_majority() -> None:
    """`fine` and `great` are two voices for good: for the threshold and for the figures alike."""
    split = ({"p": "fine", "q": "great", "r": "poor"}, {"p": "poor", "q": "bad", "r": "great"})
    judged = [
        Item(id=str(n), verdict=None, score=n % 2, labels=split[n % 2 == 0]) for n in range(200)
    ]
    wanted = Wanted(precision=0.9, good=("fine", "great"))
    found = calibrate(judged, wanted=wanted, resamples=50)
    assert found.threshold is not None
    assert found.threshold.test is not None
    assert found.threshold.validation.n + found.threshold.test.n == 200
    assert (found.no_majority, found.n) == (0, found.threshold.test.n)
    assert (found.threshold.threshold, value(found, "accuracy")) == (1, 1.0)


def test_the_precision_on_the_test_part_has_an_interval() -> None:
    found = calibrate(scored(400), wanted=Wanted(precision=0.9), resamples=50)
    assert found.threshold is not None
    assert found.threshold.test is not None
    precision = figure(found, "precision")
    assert precision.value == pytest.approx(found.threshold.test.precision)
    assert precision.n == found.threshold.test.kept
    assert precision.low < precision.value < precision.high
    assert calibrate(items("12", "12"), resamples=50).figures["precision"] is None


def test_silence_does_not_pass_for_agreement() -> None:
    """Alpha takes an unreadable verdict for missing; what a floor may be on does not."""
    spoken = calibrate(items("12" * 20, "12" * 20, "12" * 20), resamples=50)
    silent = calibrate(items("12" + "--" * 19, "12" * 20, "12" * 20), resamples=50)
    assert value(spoken, "alpha") == value(silent, "alpha") == 1.0
    assert value(silent, "accuracy") == pytest.approx(0.05)
    assert figure(silent, "kappa").value < 0.1


def test_labels_that_spare_the_judge_are_noticed() -> None:
    some = items("12" * 50, "12" * 50)
    spared = LeftOut(unlabelled=20, unlabelled_unreadable=20)
    by_chance = LeftOut(unlabelled=1000, unlabelled_unreadable=3)
    assert calibrate(some, left_out=spared, resamples=50).hides_unreadable
    assert not calibrate(some, left_out=by_chance, resamples=50).hides_unreadable


def test_nothing_that_can_be_read() -> None:
    found = calibrate(items("----", "1212"), resamples=50)
    assert value(found, "accuracy") == 0.0
    assert any("no verdict of the judge can be read" in note for note in found.notes)
