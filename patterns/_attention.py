"""Attention, whatever operator it is: what it reads, and what it does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike
from mari_onnx.rewrite.rule import Refusal
from mari_onnx.rewrite.workspace import Workspace

STANDARD = "Attention"
MULTI_HEAD = "com.microsoft.MultiHeadAttention"
PROJECTED = "com.microsoft.Attention"

PAST = "it goes on from earlier queries, or tells more than what was found"
FILTER = -10000.0
"""What ONNX Runtime's own operators add to the scores of a key that is masked, unless an attribute says otherwise."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What attention does, whatever operator it is.

    Attributes:
        rows: Queries, keys and values; one value where all three are projected from it.
        heads: Number of heads of queries.
        sizes: Widths of queries, keys and values, all heads together.
        scale: What the scores are multiplied with; ``None`` for one over the root of the width of a head.
        weight: What queries, keys and values are projected with.
        bias: What is added to queries, keys and values.
        causal: Whether queries see no key behind their own place.
        keys: A mask with a number above zero for each key that is seen.
        filter: What is added to the scores of other keys.
        scores: What is added to the scores, or truths for what is seen.
        zeros: Whether what is added to the scores may leave a query no key, which is answered with zeros.
        sharing: How many heads of queries, one behind the other, read the same keys and values.
    """

    rows: tuple[str, ...]
    heads: int
    sizes: tuple[int, int, int]
    scale: float | None
    weight: str = ""
    bias: str = ""
    causal: bool = False
    keys: str = ""
    filter: float = FILTER
    scores: str = ""
    zeros: bool = False
    sharing: int = 1


def _standard(node: Node, at: Workspace) -> Steps | Refusal | None:
    facts = [at.fact(v) for v in node.inputs[:3]]
    if any(node.outputs[1:]) or any(node.inputs[4:]):
        return Refusal(PAST)
    shapes = [f.shape for f in facts if f.shape is not None]
    if len(shapes) < 3 or len({len(s) for s in shapes}) > 1:
        return None
    apart = len(shapes[0]) == 4
    heads = (
        [s[1] for s in shapes] if apart else [int(node.attrs.get(f"{side}_num_heads", 0)) for side in ("q", "kv", "kv")]
    )
    widths = [s[-1] * h if apart else s[-1] for s, h in zip(shapes, heads, strict=True)]
    counts = [h for h in heads if isinstance(h, int) and h]
    if len(counts) < 3 or not all(isinstance(w, int) for w in widths):
        return Refusal("how many heads there are, or how wide they are, is not known")
    if counts[1] != counts[2] or counts[0] % counts[1]:
        return Refusal("its heads do not share keys and values evenly")
    precision = int(node.attrs.get("softmax_precision", 0))
    windows = [int(node.attrs.get(name, -1)) for name in ("left_window_size", "right_window_size")]
    if float(node.attrs.get("softcap", 0.0)) or max(windows) >= 0 or precision not in (0, facts[0].dtype):
        return Refusal("its scores are bounded, or keys are seen through a window")
    scale = node.attrs.get("scale")
    scores = node.inputs[3] if node.has_input(3) else ""
    causal = bool(node.attrs.get("is_causal", 0))
    zeros = bool(scores) and not _lets_each_query_see(scores, causal, at)
    if zeros and facts[0].dtype not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        # ONNX Runtime has no kernel for others, and takes the steps of the standard, which know no such zeros.
        return Refusal("its mask may rule out all keys of a query, which it answers in one way or another")
    if zeros and not _tells_what_is_seen(scores, (shapes[0][-2], shapes[1][-2]), facts[0].dtype, at):
        return Refusal("its mask may rule out all keys of a query, which it answers with zeros")
    sizes = (widths[0], widths[1], widths[2])
    factor = None if scale is None else float(scale)
    sharing = counts[0] // counts[1]
    return Steps(node.inputs[:3], counts[0], sizes, factor, causal=causal, scores=scores, zeros=zeros, sharing=sharing)


def _tells_what_is_seen(mask: str, counts: tuple[Dim, Dim], dtype: int, at: Workspace) -> bool:
    """Whether a mask has a truth for each query and key, or a number of their type."""
    fact = at.fact(mask)
    if fact.dtype not in (onnx.TensorProto.BOOL, dtype) or fact.shape is None or len(fact.shape) not in (2, 4):
        return False
    return alike(fact.shape[-2:], counts)


def _multi_head(node: Node, at: Workspace) -> Steps | Refusal | None:
    shapes = [at.fact(v).shape if v else None for v in node.inputs[:3]]
    if any(node.outputs[1:]) or any(node.inputs[6:]):
        return Refusal(PAST)
    if len(shapes) < 3 or any(s is None or len(s) != 3 or not isinstance(s[2], int) for s in shapes):
        return Refusal("queries, keys and values are not three values with a row for each token")
    sizes = [s[2] for s in shapes if s is not None]
    return _own(node, at, node.inputs[:3], (sizes[0], sizes[1], sizes[2]), keys=4)


def _projecting(node: Node, at: Workspace) -> Steps | Refusal | None:
    weight = at.fact(node.inputs[1]).shape
    if any(node.outputs[1:]) or node.has_input(4) or any(node.inputs[6:]) or node.attrs.get("do_rotary", 0):
        return Refusal(PAST)
    if not at.is_weight(node.inputs[1]) or weight is None:
        return Refusal("it does not project with a constant")
    sizes = [int(size) for size in node.attrs.get("qkv_hidden_sizes", [weight[1] // 3] * 3)]
    return _own(node, at, node.inputs[:1], (sizes[0], sizes[1], sizes[2]), keys=3, weight=node.inputs[1])


def _own(
    node: Node, at: Workspace, rows: tuple[str, ...], sizes: tuple[int, int, int], keys: int, weight: str = ""
) -> Steps | Refusal | None:
    """What the operators of ONNX Runtime have in common."""
    mask, bias = (node.inputs[i] if node.has_input(i) else "" for i in (keys, 2 if weight else 3))
    if mask and at.fact(mask).rank not in (2, 3):
        return Refusal("its mask is given as lengths")
    if bias and not at.is_weight(bias):
        return Refusal("its bias is not a constant")
    scale, scores = float(node.attrs.get("scale", 0.0)), node.inputs[5] if node.has_input(5) else ""
    if scores and at.fact(scores).rank != 4:
        return None
    causal = bool(node.attrs.get("unidirectional", 0))
    if scores and causal and not _lets_each_query_see(scores, causal, at):
        return Refusal("what is added to its scores may rule out all keys that a query sees, which it answers anyhow")
    filtered, heads = float(node.attrs.get("mask_filter_value", FILTER)), int(node.attrs.get("num_heads", 1))
    if mask and causal and not filtered > lowest(at.fact(node.output).dtype) / 2:
        return Refusal("a query may see masked keys alone, which count as much as those ahead of it then")
    return Steps(rows, heads, sizes, scale or None, weight, bias, causal, mask, filtered, scores)


def lowest(dtype: int) -> float:
    """The lowest number there is: what is added to the scores of keys ahead of a query, or that it does not see."""
    return float(np.finfo(np.float16 if dtype == onnx.TensorProto.FLOAT16 else np.float32).min)


READERS: Mapping[str, Callable[[Node, Workspace], Steps | Refusal | None]] = {
    STANDARD: _standard,
    MULTI_HEAD: _multi_head,
    PROJECTED: _projecting,
}


def is_square(found: Steps, at: Workspace) -> bool:
    """Whether there are as many keys as queries, a known number of them."""
    counts = {(at.fact(v).shape or (None, None))[-2] for v in (found.rows[0], found.rows[-1])}
    return len(counts) == 1 and isinstance(counts.pop(), int)


def _lets_each_query_see(mask: str, causal: bool, at: Workspace) -> bool:
    """Whether a constant mask leaves a key to each query."""
    array = at.constant(mask)
    if array is None or array.ndim < 2:
        return False
    seen = array if array.dtype == np.bool_ else array > lowest(at.fact(mask).dtype)
    if causal:
        seen = seen & np.tri(*array.shape[-2:], dtype=np.bool_)
    return bool(seen.any(axis=-1).all())
