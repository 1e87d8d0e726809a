"""What was found of nodes, found again for nodes just like them: the same rewrites are tried over and over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.graph import Node

T = TypeVar("T")
Key = tuple[Any, ...]
Facts = tuple[Fact | None, ...]


class Recall(Generic[T]):
    """Findings by operator, attributes and facts."""

    def __init__(self) -> None:
        self._found: dict[Key, T] = {}

    def get(self, node: Node, facts: Facts, find: Callable[[], T], keep: Callable[[T], bool] = lambda found: True) -> T:
        """What was found of a node like this one, else what is found now.

        Args:
            node: The node.
            facts: All facts that the finding depends on, ``None`` where there is none.
            find: Finds it anew.
            keep: Whether a finding holds for all nodes like this one.
        """
        # What is not compared where facts are.
        layouts = tuple([f.content.layout for f in facts if f is not None and f.content is not None])
        alike = tuple([f.axis.alike for f in facts if f is not None and f.axis is not None])
        outputs = tuple(map(bool, node.outputs))
        key = (node.kind, frozen(node.attrs), _pattern(node.inputs), outputs, facts, layouts, alike)
        if key in self._found:
            return self._found[key]
        found = find()
        if keep(found):
            self._found[key] = found
        return found


def frozen(attrs: Mapping[str, Any]) -> Key:
    """Attributes as something that can be a key."""
    if not attrs:
        return ()
    return tuple(
        (name, value.SerializeToString() if isinstance(value, onnx.TensorProto) else repr(value))
        for name, value in sorted(attrs.items())
    )


def _pattern(names: Sequence[str]) -> tuple[int, ...]:
    """Which names are the same one."""
    first: dict[str, int] = {}
    return tuple([first.setdefault(name, index) for index, name in enumerate(names)])
