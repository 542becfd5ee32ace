"""YAML as plain values: pipelines, rubrics and the heads of prompts are read by `PlainLoader`."""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 100_000
"""In a file, with what stands behind an alias counted each time: a few lines of aliases of aliases
are more values than anything that reads the whole could ever look at."""


class PlainLoader(yaml.SafeLoader):
    """Plain values only; a key given twice is a fault, not a silent overwrite."""

    def construct_document(self, node: yaml.Node) -> Any:
        """Build a document, after a look at it.

        Before anything is built: merging (`<<: *name`) multiplies too, and puts the merged keys
        beside the block's own, which may then differ from them.

        Raises:
            MarkedYAMLError: it is too much, or a key is given twice.
        """
        if _values_in(node, {}) > MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"holds more than {MOST_VALUES:,} values, with what aliases (*name) repeat:"
                " write out what is meant"
            )
        return super().construct_document(node)


def _values_in(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node is with its aliases written out.

    Args:
        node: as the file has it.
        known: id of a node that was looked into -> its values; 0 while it is being looked into, as
            in a block that holds itself, which whoever reads the values tells of.

    Raises:
        MarkedYAMLError: a key is given twice in a block.
    """
    if id(node) not in known:
        known[id(node)] = 0
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_twins(node)
            inside = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        known[id(node)] = 1 + sum(_values_in(part, known) for part in inside)
    return known[id(node)]


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            continue  # no key of anything that is read here: building it fails
        key = key_node.value
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.MarkedYAMLError(problem=f"line {line}: {key!r} is given twice")
        seen.add(key)


# YAML 1.1 takes `on`, `off`, `yes` and `no` for booleans, and `evaluate: {on: test}` would have the
# key True. Here only true and false are booleans, as in YAML 1.2.
_BOOL = "tag:yaml.org,2002:bool"
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
