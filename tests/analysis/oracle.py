"""The oracle of transfer functions: run the operator once for all candidates and once for each of them.

A transfer function claims that the slice of the output for one candidate is what the same operator makes of that
candidate's slices of the inputs. Here the claim is taken at its word, for candidates that all differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mari_onnx.analysis import CandidateAxis, Inputs
from mari_onnx.analysis.analyze import Judge
from mari_onnx.analysis.facts import Content, Fact, Side
from mari_onnx.analysis.transfer import Change, Claim, Lane, Opaque, SetAttribute, SetEntry, SetInput
from mari_onnx.ir.dims import CANDIDATES, substitute
from mari_onnx.ir.graph import Graph, Node
from tests.soundness.judge import NotRunnableError, Runner, difference

B = 3
OPSET = 18


@dataclass(frozen=True)
class Operand:
    """An input: its numbers at B candidates, and where the candidates lie."""

    array: np.ndarray
    axis: CandidateAxis | None = None
    entries: tuple[Any, ...] | None = None
    """Symbolic entries of a list of sizes, `CANDIDATES` one of them; by default those of a constant."""

    def fact(self) -> Fact:
        dtype = helper.np_dtype_to_tensor_dtype(self.array.dtype)
        shape: list[Any] = list(self.array.shape)
        if self.axis is not None:
            assert shape[self.axis.index] == self.axis.outer * B * self.axis.inner
            shape[self.axis.index] = self.axis.size
            return Fact(dtype, tuple(shape), self.axis, varies=True, item=True)
        content = None
        if self.entries is not None:
            content = Content(self.array.shape, self.entries)
        elif self.array.dtype in (np.int64, np.int32, bool) and self.array.ndim <= 1:
            content = Content.of(self.array)
        sized = content is not None and content.depends_on_candidates
        return Fact(dtype, tuple(shape), sized=sized, content=content)

    def slice(self, candidate: int) -> np.ndarray:
        return self.array if self.axis is None else sliced(self.array, self.axis, candidate)


def sliced(array: np.ndarray, axis: CandidateAxis, candidate: int) -> np.ndarray:
    """The slice of one candidate, its axis kept with `outer * inner` entries."""
    k, outer, inner = axis.index, substitute(axis.outer, B), substitute(axis.inner, B)
    apart = array.reshape((*array.shape[:k], outer, B, inner, *array.shape[k + 1 :]))
    return np.take(apart, candidate, k + 1).reshape((*array.shape[:k], outer * inner, *array.shape[k + 1 :]))


def floats(*shape: int, axis: CandidateAxis | int | None = None) -> Operand:
    """Small integers as floats, all candidates different."""
    rng = np.random.default_rng(list(shape) or [0])
    return Operand(rng.integers(-4, 5, shape).astype(np.float32), _axis(axis))


def ids(*shape: int, axis: CandidateAxis | int | None = None, below: int = 2) -> Operand:
    rng = np.random.default_rng(list(shape) or [0])
    return Operand(rng.integers(0, below, shape), _axis(axis))


def constant(*entries: Any) -> Operand:
    """A list of sizes or axes; `CANDIDATES` in it is the number of candidates."""
    numbers = np.array([substitute(e, B) for e in entries], np.int64)
    return Operand(numbers, entries=tuple(entries))


def scalar(value: Any) -> Operand:
    array = np.array(substitute(value, B) if not isinstance(value, float) else np.float32(value))
    return Operand(array, entries=None if isinstance(value, float) else (value,))


def _axis(axis: CandidateAxis | int | None) -> CandidateAxis | None:
    return CandidateAxis(axis) if isinstance(axis, int) else axis


LEARNED = 3
"""The version of ai.onnx.ml."""


@dataclass(frozen=True)
class Case:
    """One operator on some operands; one that is not of ai.onnx has its domain in front."""

    op: str
    operands: Sequence[Operand | None]
    attrs: dict[str, Any]
    outputs: int = 1
    opset: int = OPSET
    batch: int | None = None

    @property
    def node(self) -> Node:
        domain, _, op = self.op.rpartition(".")
        return Node(op, self._inputs(), tuple(f"y{k}" for k in range(self.outputs)), self.attrs, domain, name="n")

    def _inputs(self) -> tuple[str, ...]:
        return tuple(f"x{k}" if o is not None else "" for k, o in enumerate(self.operands))

    def judge(self) -> Judge:
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", LEARNED)]
        empty = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=imports, ir_version=10)
        return Judge(Graph(empty, self.opset, {}, {}, {}, []), Inputs({}, {}, self.batch))

    def facts(self) -> tuple[Fact, ...]:
        given = tuple(o.fact() if o is not None else None for o in self.operands)
        return self.judge().facts(self.node, given, ())

    def claim(self) -> Claim:
        given = tuple(o.fact() if o is not None else None for o in self.operands)
        return self.judge().claim(self.node, given, tuple(f.shape for f in self.facts()))

    def run(self, arrays: Sequence[np.ndarray | None], changes: Sequence[Change] = ()) -> list[np.ndarray]:
        """The operator in ONNX Runtime."""
        arrays, attrs = list(arrays), dict(self.attrs)
        for change in changes:
            if isinstance(change, SetAttribute):
                attrs[change.name] = change.value
            elif isinstance(change, SetInput):
                arrays += [None] * (change.index + 1 - len(arrays))
                arrays[change.index] = np.array(change.values, np.int64)
            elif isinstance(change, SetEntry):
                entries = np.array(arrays[change.index])
                entries.flat[change.entry] = substitute(change.value, B)
                arrays[change.index] = entries
        names = [f"x{k}" if a is not None else "" for k, a in enumerate(arrays)]
        given = {n: a for n, a in zip(names, arrays, strict=True) if a is not None}
        domain, _, op = self.op.rpartition(".")
        node = helper.make_node(op, names, [f"y{k}" for k in range(self.outputs)], domain=domain, **attrs)
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in given.items()
        ]
        outputs = [onnx.ValueInfoProto(name=f"y{k}") for k in range(self.outputs)]
        graph = helper.make_graph([node], "g", inputs, outputs)
        versions = [
            helper.make_opsetid("", self.opset),
            helper.make_opsetid("com.microsoft", 1),
            helper.make_opsetid("ai.onnx.ml", LEARNED),
        ]
        model = helper.make_model(graph, opset_imports=versions, ir_version=10)
        return list(Runner(model)(given))


def check(case: Case) -> bool:
    """Takes the claims at their word.

    Returns:
        Whether any was made, and could be tried.
    """
    facts = case.facts()
    lanes = [(k, f) for k, f in enumerate(facts) if f.side is not Side.OPAQUE]
    if not lanes or not any(o is not None and o.axis is not None for o in case.operands):
        return False
    claim = case.claim()
    try:
        whole = case.run([o.array if o is not None else None for o in case.operands])
    except NotRunnableError:
        return False
    tried = False
    for candidate in range(B):
        alone = case.run([o.slice(candidate) if o is not None else None for o in case.operands], claim.changes)
        for k, fact in lanes:
            answer = claim.outputs[k]
            assert not isinstance(answer, Opaque), "the fact of an output says more than the claim"
            if answer.varies or (isinstance(answer, Lane) and answer.axis is None):
                continue
            assert fact.axis == answer.axis
            _check_shape(fact, whole[k])
            assert answer.axis is not None
            problem = difference([sliced(whole[k], answer.axis, candidate)], [alone[k]])
            assert problem is None, f"{case.op} {case.attrs}: candidate {candidate}, output {k}: {problem}"
            tried = True
    return tried


def _check_shape(fact: Fact, array: np.ndarray) -> None:
    """The shape is what was inferred, as far as it is known."""
    assert fact.shape is not None
    assert len(fact.shape) == array.ndim
    for dim, size in zip(fact.shape, array.shape, strict=True):
        known = substitute(dim, B)
        assert not isinstance(known, int) or known == size, f"{fact.shape} is {array.shape}"


def lanes(case: Case) -> list[CandidateAxis | str | None]:
    """What is proven of each output: its candidate axis, or `opaque`, `varies`."""
    checked = check(case)
    found: list[CandidateAxis | str | None] = []
    for fact in case.facts():
        if fact.opaque:
            found.append("opaque")
        else:
            found.append(fact.axis)
    assert checked or "opaque" in found or None in found, f"{case.op}: the claim could not be tried"
    return found


__all__ = ["CANDIDATES", "B", "Case", "Operand", "check", "constant", "floats", "ids", "lanes", "scalar"]
