"""A pipeline file: plain values, overrides that find their place, every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import ConfigError
from synthkd.pipeline_file import apply_overrides, parse_config, read_yaml, refuse_no_json

TEXT = """
name: small
source: {jsonl: rows.jsonl, where: {answer: yes}}
steps:
  - {use: label, with: {samples: 1}}
  - {use: dedup.exact}
  - {use: dedup.exact, name: dedup, with: {field: a}}
evaluate: {on: dev, gold: label}
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "p.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def read(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    return read_yaml(write(tmp_path, TEXT), overrides)


def test_only_true_and_false_are_booleans(tmp_path: Path) -> None:
    raw = read(tmp_path)
    assert raw["source"]["where"] == {"answer": "yes"}
    assert raw["evaluate"] == {"on": "dev", "gold": "label"}
    assert read_yaml(write(tmp_path, "{a: true, b: False, c: off}")) == {
        "a": True,
        "b": False,
        "c": "off",
    }


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", ["seed"], 7),
        ("budget.usd=1.5", ["budget", "usd"], 1.5),
        ("source.id=[a, b]", ["source", "id"], ["a", "b"]),
        ("student=null", ["student"], None),
        ("evaluate.gold=a=b", ["evaluate", "gold"], "a=b"),
        ("steps.label.with.samples=5", ["steps", 0, "with", "samples"], 5),
        ("steps.dedup.exact.with.field=x", ["steps", 1, "with", "field"], "x"),
        ("steps.dedup.with.field=x", ["steps", 2, "with", "field"], "x"),
        ("teachers.main.model=m", ["teachers", "main", "model"], "m"),
    ],
)
def test_an_override_finds_its_place(
    tmp_path: Path, override: str, path: list[Any], value: object
) -> None:
    node: Any = read(tmp_path, override)
    for part in path:
        node = node[part]
    assert node == value


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed", "write NAME=VALUE"),
        ("=7", "write NAME=VALUE"),
        ("name.first=x", "name is not a block"),
        ("name.first.second=x", "'first' is not inside a block"),
        ("steps.lable.with.samples=5", "no step has that name; there are label, dedup.exact"),
        ("seed=[", "--set seed=[:"),
        ("seed=" + "[" * 3000, "recursion"),
        ("seed=1" + "0" * 5000, "--set seed=1000"),
    ],
)
def test_an_override_that_fits_nowhere_says_why(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, override)
    assert says in str(caught.value)
    assert str(caught.value).startswith("--set ")


def test_a_step_is_not_looked_for_where_there_are_no_steps() -> None:
    with pytest.raises(ConfigError, match="there are none"):
        apply_overrides({"steps": 5}, ["steps.label.use=x"])


def test_all_overrides_that_fit_nowhere_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"name": "x"}, ["a", "seed=1", "name.b=2"])
    assert len(caught.value.faults) == 2


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers() | st.text()))
def test_what_was_set_is_read_back(values: dict[str, Any]) -> None:
    overrides = [f"budget.{name}={yaml.safe_dump([value])}" for name, value in values.items()]
    raw = apply_overrides({}, overrides)
    assert raw.get("budget", {}) == {name: [value] for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b\n", "line 2: 'name' is given twice"),
        ("a: {b: 1, c: 2, b: 3}\n", "line 1: 'b' is given twice"),
        ("a: [\n", "not valid YAML"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("a: 2024-13-45\n", "month must be in 1..12"),
        ("a: 1" + "0" * 5000, "has a value that cannot be read"),
        ("a: " + "[" * 3000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_pipeline_says_what_is_wrong(
    tmp_path: Path, text: str, says: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert says in str(caught.value)


def test_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 9223372036854775808]", "p.yaml: a[1]: the number does not fit into 64 bits"),
        ("a: {b: -9223372036854775809}", "p.yaml: a.b: the number does not fit into 64 bits"),
        ("a: 0x" + "f" * 5000, "p.yaml: a: the number does not fit into 64 bits"),
        (r'a: {b: "\ud83d"}', "p.yaml: a.b: half of a character"),
        (r'a: {"\ud83d": b}', "p.yaml: a, a name in it: half of a character"),
        ("a: &x {b: *x}", "p.yaml: a.b: holds itself"),
        ("a: &x [*x]", "p.yaml: a[0]: holds itself"),
    ],
)
def test_what_no_manifest_can_hold_is_told_before_anything_is_bought(text: str, says: str) -> None:
    raw = yaml.safe_load(text)
    with pytest.raises(ConfigError) as caught:
        refuse_no_json(raw, "p.yaml")
    assert caught.value.faults[0].startswith(says)


def test_aliases_of_aliases_take_no_time() -> None:
    value: list[Any] = [2**70]
    for _ in range(100):
        value = [value] * 10
    with pytest.raises(ConfigError) as caught:
        refuse_no_json({"a": value}, "p.yaml")
    assert len(caught.value.faults) == 1, "each is looked at once"


BOMB = ["- &a0 {k0: 1}", *[f"- &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]]
MERGED = [
    "- &a0 {k0: 1}",
    *[f"- &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)],
]


@pytest.mark.parametrize("bomb", [BOMB, MERGED])
@pytest.mark.parametrize("use", ["name: *a59", "steps: [{use: x, with: *a59}]", "? *a59\n: 1"])
def test_a_few_lines_that_are_more_values_than_can_be_read_are_refused(
    tmp_path: Path, bomb: list[str], use: str
) -> None:
    file = write(tmp_path, "\n".join(["parts:", *bomb, use]))
    with pytest.raises(ConfigError, match=r"more than 100,000 values, with what aliases"):
        read_yaml(file)
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        apply_overrides({}, ["a=[" + ", ".join(line[2:] for line in bomb) + "]"])


def test_what_is_merged_from_a_block_with_merged_keys_may_differ(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "base: &base {a: 0, b: 1}\nx: {y: &d {<<: *base, a: 1}}\nmain: {<<: *d, c: 2}\n",
    )
    assert read_yaml(file)["main"] == {"a": 1, "b": 1, "c": 2}
    assert read_yaml(file)["x"] == {"y": {"a": 1, "b": 1}}


def test_every_fault_comes_at_once_with_its_place_and_value() -> None:
    config, faults = parse_config(
        {
            "name": "x",
            "sead": 1,
            "source": {"jsonl": "a", "csv": "b"},
            "steps": [{"use": "label"}, {"use": "generate", "in_flight": 0}],
            "limits": {"max_failed": "many"},
        },
        "p.yaml",
    )
    assert config is None
    told = "\n".join(faults)
    for says in (
        "p.yaml: sead: ",
        "p.yaml: source: must name exactly one of jsonl, csv",
        "p.yaml: steps[1].in_flight: input should be greater than or equal to 1, got 0",
        "p.yaml: limits.max_failed: ",
        "got 'many'",
    ):
        assert says in told
    assert len(faults) == 4


def test_a_pipeline_without_faults_is_its_config(tmp_path: Path) -> None:
    raw = read(tmp_path) | {"evaluate": None}
    config, faults = parse_config(raw, "p.yaml")
    assert faults == []
    assert config is not None
    assert [entry.label for entry in config.steps] == ["label", "dedup.exact", "dedup"]
