"""The shape of the code: imports go downward, files stay small, nothing foreign runs.

Read off the syntax trees, so that imports under `if TYPE_CHECKING` and inside functions count too.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "synthkd"

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors",
        "rows text hints fence feedback plain_yaml",
        "manifest",
        "templates schemas",
        "answers",
        "config",
        "io prompts",
        "pipeline_file folder",
        "graphs",
        "records",
        "ledger",
        "teachers",
        "desk inputs",
        "kit",
        "table_kit",
        "steps",
        "evaluate",
        "students",
        "recipes",
        "curate",
        "flow",
        "interrupts",
        "tally",
        "account",
        "survey plan",
        "engines cards routes outflow wiring",
        "leaks exam forgetting paraphrases",
        "training",
        "evaluation",
        "forecast doctor audit",
        "results",
        "rounds",
        "running",
        "again examinees",
        "waiting",
        "pipeline trial",
        "tables",
        "scoreboard",
        "display",
        "fake_teacher",
        "cli",
        "__main__",
    )
)
"""From the ground up; a module imports only from layers below its own, or from its own package."""

ALLOWED = {
    # The public name `synthkd.Pipeline` is looked up on first use.
    ("synthkd", "synthkd.pipeline"),
    # `synthkd version` says which version this is.
    ("synthkd.cli", "synthkd"),
}
"""(importing, imported): the exceptions, each with its reason."""

IMPORTS_BY_NAME = {
    # A pipeline names its steps; only the modules of those are imported.
    "synthkd.steps",
}
"""Modules that may import others by a name computed at run time."""

HEAVY = {
    *("torch", "transformers", "trl", "peft", "accelerate", "vllm", "ray"),
    *("sklearn", "scipy", "skops", "pandas", "datasets", "crowdkit"),
    *("openai", "presidio_analyzer", "spacy", "sentence_transformers", "model2vec", "faiss"),
    *("lm_eval", "networkx", "rdflib"),
}
"""Imported inside the function that needs them: `import synthkd` and `--help` stay quick."""

EXECUTES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Libraries whose readers run what they read."""

NOT_FOR_RECIPES = {"synthkd.flow", "synthkd.ledger", "aiohttp", "openai", "httpx", "requests"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of the modules imported; `from package import module` names the module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            base = node.module or ""
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if submodule in NAMES else base


def imports_of(path: Path) -> set[str]:
    return set(imported(ast.walk(tree_of(path))))


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs on import: everything outside functions and outside `if TYPE_CHECKING`."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)


def layer_of(module: str) -> int:
    unit = module.split(".")[1]
    levels = [level for level, layer in enumerate(LAYERS) if unit in layer]
    assert levels, f"add {unit} to LAYERS"
    return levels[0]


def is_downward(importing: str, other: str) -> bool:
    if (importing, other) in ALLOWED:
        return True
    if "synthkd" in {importing, other}:
        return False
    if importing.split(".")[1] == other.split(".")[1]:
        return True
    return layer_of(other) < layer_of(importing)


def calls_of(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))


every_module = pytest.mark.parametrize("path", MODULES, ids=[name_of(path) for path in MODULES])


def test_the_page_lists_the_layers() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = page.split("## Who imports whom")[1].split("\n## ")[0]
    lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
    assert [set(line.split(", ")) for line in lines] == [
        set(layer) for layer in LAYERS if layer != {"__main__"}
    ]


@every_module
def test_has_a_place_among_the_layers(path: Path) -> None:
    name = name_of(path)
    homes = [layer for layer in LAYERS if name != "synthkd" and name.split(".")[1] in layer]
    assert name == "synthkd" or len(homes) == 1, f"add {name} to LAYERS"


@every_module
def test_imports_go_downward(path: Path) -> None:
    name = name_of(path)
    ours = {other for other in imports_of(path) if other.split(".")[0] == "synthkd"}
    upward = sorted(other for other in ours if not is_downward(name, other))
    assert not upward, f"{name} imports {upward}, which is not below it; see docs/architecture.md"


def test_imports_have_no_circle() -> None:
    graph = {
        name_of(path): {
            other
            for other in imports_of(path)
            if other in NAMES and (name_of(path), other) not in ALLOWED
        }
        for path in MODULES
    }
    # A package's own __init__ is imported by Python before any module in it: that is no choice.
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == NAMES


def test_exceptions_are_still_needed() -> None:
    used = {(name_of(path), other) for path in MODULES for other in imports_of(path)}
    unused = sorted(pair for pair in ALLOWED - used if pair[0] in NAMES)
    assert not unused, f"remove from ALLOWED: {unused}"


@every_module
def test_imports_by_computed_name_are_listed(path: Path) -> None:
    dynamic = {ast.unparse(call.func) for call in calls_of(path)} & {
        "importlib.import_module",
        "import_module",
        "__import__",
    }
    assert not dynamic or name_of(path) in IMPORTS_BY_NAME


@every_module
def test_heavy_libraries_are_imported_late(path: Path) -> None:
    at_import = {name.split(".")[0] for name in imported(top_level(tree_of(path)))}
    assert not at_import & HEAVY


@every_module
def test_only_the_retrying_layer_retries(path: Path) -> None:
    tenacity = {name for name in imports_of(path) if name.split(".")[0] == "tenacity"}
    assert not tenacity or name_of(path) == "synthkd.teachers.layers"


@every_module
def test_recipes_know_no_transport(path: Path) -> None:
    if "recipes" in path.parts:
        assert not {n for n in imports_of(path) if n.startswith(tuple(NOT_FOR_RECIPES))}


def test_the_plan_knows_no_step() -> None:
    """What a step's settings have to say of a plan, they say themselves (`StepSettings`)."""
    rooms = ("synthkd.curate", "synthkd.recipes")
    assert not {name for name in imports_of(PACKAGE / "plan.py") if name.startswith(rooms)}


@every_module
def test_nothing_foreign_runs(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & EXECUTES
    for call in calls_of(path):
        assert ast.unparse(call.func) not in {"eval", "exec", "compile"}, f"line {call.lineno}"
        for keyword in call.keywords:
            switched_on = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            dangerous = keyword.arg in {"trust_remote_code", "allow_pickle", "shell"}
            assert not (dangerous and switched_on), f"line {call.lineno}: {keyword.arg}=True"


@every_module
def test_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), "a module's docstring says what it owns"


@every_module
def test_is_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 500, f"{lines} lines: split it by topic"


@every_module
def test_is_named_after_its_topic(path: Path) -> None:
    assert not re.match(r"(utils?|helpers?|common|misc|base_.*|.*manager)$", path.stem)


def test_every_shipped_prompt_loads() -> None:
    from synthkd.prompts import load_prompt

    templates = sorted((ROOT / "prompts").rglob("*.md.j2"))
    assert templates
    for template in templates:
        name = template.relative_to(ROOT / "prompts").as_posix().removesuffix(".md.j2")
        assert load_prompt(name, folders=[ROOT / "prompts"]).inputs, template
