"""Building blocks of random models whose attention has its heads one behind the other, where the candidates are."""

from __future__ import annotations

from tests.soundness.blocks import Block
from tests.soundness.generate import B, Builder, Size, Value
from tests.soundness.ranker_blocks import HEADS, WIDTH, keep, named, some_tokens, tokens_and_row

HEAD = WIDTH // HEADS


def heads_behind(b: Builder) -> None:
    """Attention of some tokens, or of one of a candidate, to some tokens, with masks of all kinds."""
    keys = some_tokens(b)
    if keys is None:
        return
    queries = _queries(b, keys)
    asked, read = queries.shape[1].n, keys.shape[1].n
    left, right = _behind(b, queries.name), _behind(b, keys.name)
    turned = b.raw("Transpose", [right], perm=[0, 2, 1])[0]
    scores = b.raw("Tanh", [b.raw("MatMul", [left, turned])[0]])[0]
    for _ in range(b.below(3)):
        mask = b.pick([_filled, _expanded, _tiled, _by_candidate, _counted])(b, scores, keys, asked)
        scores = b.raw(b.pick(["Add", "Sub", "Mul"]), [scores, mask])[0]
    weights = b.raw("Softmax", [scores], axis=2)[0]
    answers = b.raw("MatMul", [weights, right])[0]
    if b.chance(4):
        answers = b.raw("Relu", [b.raw("Add", [answers, left if asked == 1 or asked == read else answers])[0]])[0]
    pieces = _apart(b, answers)
    made = b.raw("Concat", pieces, axis=2)[0]
    keep(b, named(made, B, Size(asked), Size(HEAD * len(pieces))))


def _queries(b: Builder, keys: Value) -> Value:
    if b.chance():
        return keys
    found = tokens_and_row(b)
    if found is None:
        return keys
    tokens, count, row = found
    if b.chance():
        return named(tokens, B, Size(count), Size(WIDTH))
    return named(b.raw("Reshape", [row, b.integers(-1, 1, WIDTH)])[0], B, Size(1), Size(WIDTH))


def _behind(b: Builder, tokens: str) -> str:
    """``[HEADS * B, T, HEAD]``."""
    bounds = [b.integers(HEAD * k) for k in range(HEADS + 1)]
    pieces = [b.raw("Slice", [tokens, bounds[k], bounds[k + 1], b.integers(2)])[0] for k in range(HEADS)]
    return b.raw("Concat", pieces, axis=0)[0]


def _apart(b: Builder, rows: str) -> list[str]:
    """The heads again, in whatever order, or one of them."""
    size = b.batch_size()
    if b.chance(3) and b.setting.opset < 13:
        pieces = b.raw("Split", [rows], HEADS, axis=0)
    else:
        ends = [b.integers(0), size, b.raw("Mul", [size, b.integers(HEADS)])[0]]
        pieces = [b.raw("Slice", [rows, ends[k], ends[k + 1], b.integers(0)])[0] for k in range(HEADS)]
    if b.chance(4):
        pieces.reverse()
    return pieces[:1] if b.chance(6) else pieces


# -- masks of ``[HEADS * B, asked, read]`` -----------------------------------------------------------------------------


def _filled(b: Builder, scores: str, keys: Value, asked: int) -> str:
    filled = b.raw("ConstantOfShape", [b.raw("Shape", [scores])[0]])[0]
    return b.raw("Cos", [filled])[0]


def _expanded(b: Builder, scores: str, keys: Value, asked: int) -> str:
    """The same for all rows, as many as are read from the scores, or computed."""
    read = keys.shape[1].n
    rows = b.raw("Gather", [b.raw("Shape", [scores])[0], b.integers(0)])[0]
    if b.chance():
        rows = b.raw("Mul", [b.batch_size(), b.integers(HEADS)])[0]
    target = b.raw("Concat", [rows, b.integers(asked, read)], axis=0)[0]
    return b.raw("Expand", [b.weight([1, asked, read]).name, target])[0]


def _tiled(b: Builder, scores: str, keys: Value, asked: int) -> str:
    """One number for each key of a candidate, the same for each head."""
    row = b.raw("Gather", [keys.name, b.integers(b.below(WIDTH))], axis=2)[0]
    row = b.raw("Reshape", [row, b.integers(-1, keys.shape[1].n)])[0]
    tiled = b.raw("Tile", [b.raw("Sin", [row])[0], b.integers(HEADS, 1)])[0]
    return b.raw("Reshape", [tiled, b.integers(-1, 1, keys.shape[1].n)])[0]


def _by_candidate(b: Builder, scores: str, keys: Value, asked: int) -> str:
    """The heads of a candidate next to each other: another order than that of the scores, and as many rows."""
    wide = b.raw("Reshape", [b.raw("Sin", [keys.name])[0], b.integers(-1, keys.shape[1].n, HEADS, HEAD)])[0]
    turned = b.raw("Transpose", [wide], perm=[0, 2, 3, 1])[0]
    row = b.raw("Gather", [turned, b.integers(0)], axis=2)[0]
    return b.raw("Reshape", [row, b.integers(-1, 1, keys.shape[1].n)])[0]


def _counted(b: Builder, scores: str, keys: Value, asked: int) -> str:
    """Zeros for all rows next to one another, from how many candidates there are."""
    rows = b.raw("Mul", [b.batch_size(), b.integers(HEADS)])[0]
    return b.raw("ConstantOfShape", [b.raw("Concat", [rows, b.integers(1, keys.shape[1].n)], axis=0)[0]])[0]


HEADS_BEHIND: list[Block] = [heads_behind]
