"""Building blocks of random models that take fields of both sides: pairs of them, dot products, lists of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from tests.soundness.blocks import Block
from tests.soundness.generate import LIMIT, ONE, VOCABULARY, B, Builder, Size, Value
from tests.soundness.parts import WIDTH, between, fields, fields_of, joined, product, row_of, sides_drawn


def _summed(b: Builder, value: Value, keep: int) -> Value:
    axis = value.rank - 1
    shape = (*value.shape[:axis], ONE) if keep else value.shape[:axis]
    like = replace(value, shape=shape, bound=value.bound * value.shape[axis].n)
    return b.axes_node("ReduceSum", value, [-1 if b.chance() else axis], like, keepdims=keep)


def _times(b: Builder, left: Value, right: Value, shape: tuple[Size, ...]) -> Value:
    bound, exact = left.bound * right.bound, left.exact and right.exact
    return b.node("Mul", [left, right] if b.chance() else [right, left], Value("", shape, exact=exact, bound=bound))


def _one_field(b: Builder, x: Value, index: int, scalar: bool) -> Value:
    """A field by itself, by a number or by a cut."""
    count = x.shape[1].n
    shown = index - count if b.chance(4) else index
    if scalar:
        number = b.constant(np.array(shown, np.int64), "c")
        return b.node("Gather", [x, number], replace(x, shape=(B, Size(WIDTH))), axis=1 if b.chance() else -2)
    if b.chance():
        return b.node("Gather", [x, b.integers(shown)], replace(x, shape=(B, ONE, Size(WIDTH))), axis=1)
    bounds = [b.integers(index), b.integers(index + 1), b.integers(1)]
    return b.node("Slice", [x, *bounds], replace(x, shape=(B, ONE, Size(WIDTH))))


# -- pairs -------------------------------------------------------------------------------------------------------------


def dots(b: Builder) -> None:
    """Dot products of pairs of fields, with a weight for each or without, added up in any way."""
    keep, cut_out = b.below(2), b.chance(3)
    x = fields(b) if cut_out else None
    pool: list[Value] = []
    for user in (True, True, False, False):
        made = row_of(b, user) if x is None else None
        if made is not None:
            pool.append(b.tamed(product(b, made, WIDTH)))
    if x is not None:
        x = b.tamed(x)
        pool = [_one_field(b, x, k, True) for k in range(x.shape[1].n)]
    if len(pool) < 2:
        return
    terms = []
    for _ in range(2 + b.below(4)):
        left, right = b.pick(pool), b.pick(pool)
        dot = _summed(b, _times(b, left, right, (B, Size(WIDTH))), keep)
        if b.chance(3):
            scale = b.weight(b.pick([[], [1], [1, 1]] if keep else [[], [1]]))
            dot = _times(b, dot, scale, dot.shape)
        terms.append(dot)
    if b.chance(4):
        terms.append(b.pick(terms))  # the same once more
    if b.chance(4):
        terms.append(b.weight([1]))
    bound, exact = sum(t.bound for t in terms), all(t.exact for t in terms)
    like = replace(terms[0], bound=bound, exact=exact)
    if b.chance(3):
        b.node("Sum", terms, like)
        return
    total = terms[0]
    for term in terms[1:]:
        total = b.node("Add", [total, term] if b.chance() else [term, total], like)


def stacked_dots(b: Builder) -> None:
    """Dot products side by side, and the sum of them."""
    pool = [b.tamed(product(b, row, WIDTH)) for user in (True, False, False) if (row := row_of(b, user)) is not None]
    if len(pool) < 2:
        return
    terms = [_summed(b, _times(b, b.pick(pool), b.pick(pool), (B, Size(WIDTH))), 1) for _ in range(2 + b.below(3))]
    _summed(b, joined(b, terms, 1), b.below(2))


def columns_of_the_user(b: Builder) -> None:
    """Rows of the item times columns that the graph makes of what all candidates share, added up."""
    terms = []
    for _ in range(2 + b.below(2)):
        row = row_of(b, False)
        if row is None:
            return
        left = b.tamed(product(b, row, WIDTH))
        weight = b.weight([2, WIDTH])
        shared = b.axes_node("ReduceSum", weight, [0], Value("", (Size(WIDTH),), bound=4.0), keepdims=0)
        column = b.node("Reshape", [shared, b.integers(-1, 1)], Value("", (Size(WIDTH), ONE), bound=4.0))
        like = replace(left, shape=(B, ONE), bound=left.bound * 4 * WIDTH)
        terms.append(b.node("MatMul", [left, column], like))
    total = terms[0]
    for term in terms[1:]:
        total = b.node("Add", [total, term], replace(total, bound=total.bound + term.bound))


def entries(b: Builder) -> None:
    """Fields taken one by one, and joined again."""
    pool = [x for x in (fields(b), fields(b) if b.chance() else None) if x is not None]
    if not pool:
        return
    scalar = b.chance()
    parts = []
    for _ in range(3 + b.below(4)):
        x = b.pick(pool)
        parts.append(_one_field(b, x, b.below(x.shape[1].n), scalar))
    made = joined(b, [b.tamed(p) for p in parts], 1)
    if made.rank == 2 and b.chance():
        b.node("Reshape", [made, b.integers(0, -1, WIDTH)], replace(made, shape=(B, Size(len(parts)), Size(WIDTH))))
    elif made.rank == 2:
        product(b, made, 2)


def listed_pairs(b: Builder) -> None:
    """Lists of pairs of fields, what is made of them, and a layer that has a weight for each."""
    x = fields(b)
    if x is None or x.shape[1].n < 2:
        return
    x = b.tamed(x)
    count = x.shape[1].n
    left, right = np.triu_indices(count, 1)
    if b.chance(3):
        left, right = b.rng.integers(-count, count, (2, 2 + b.below(4)))
    shape = (B, Size(len(left)), Size(WIDTH))
    lists = [
        b.node("Gather", [x, b.integers(*numbers)], replace(x, shape=shape), axis=1 if b.chance() else -2)
        for numbers in (left, right)
    ]
    made = b.tamed(_times(b, lists[0], lists[1], shape))
    kind = b.below(3)
    if kind == 0:
        weight = b.weight([len(left), 1])
        made = _times(b, made, weight, shape)
        b.axes_node("ReduceSum", made, [1], replace(made, shape=(B, Size(WIDTH)), bound=made.bound * 15), keepdims=0)
        return
    if kind == 1:
        made = _summed(b, made, 0)
    else:
        flat = Size(len(left) * WIDTH)
        made = b.node("Reshape", [made, b.integers(0, -1)], replace(made, shape=(B, flat)))
    product(b, made, 2)


def gated_fields(b: Builder) -> None:
    """Fields that are weighed with numbers, pairs of them or what a layer makes of each, laid out flat."""
    x = fields(b)
    gate = row_of(b, False)
    if x is None or gate is None:
        return
    x, count = b.tamed(x), x.shape[1].n
    numbers = b.tamed(product(b, gate, count if b.chance() else 1))
    shape = (B, numbers.shape[1], ONE)
    numbers = b.node("Reshape", [numbers, b.integers(0, -1, 1)], replace(numbers, shape=shape))
    gated = b.tamed(_times(b, x, numbers, x.shape))
    rows = [_one_field(b, gated, k, False) for k in range(count)]
    if b.chance():
        rows = [b.tamed(product(b, row, WIDTH)) if b.chance() else row for row in rows]
        pairs = [(b.pick(rows), b.pick(rows)) for _ in range(2 + b.below(3))]
        rows = [b.tamed(_times(b, left, right, left.shape)) if b.chance() else left for left, right in pairs]
    made = b.pick([gated, joined(b, rows, 1)])
    flat = Size(made.shape[1].n * WIDTH)
    product(b, b.node("Reshape", [made, b.integers(0, -1)], replace(made, shape=(B, flat))), 2, bias=b.chance())


def common_factors(b: Builder) -> None:
    """Rows of an item beside its products with rows of the user, and a layer over all of them."""
    rows = [row for user in (False, b.chance(), True, True) if (row := row_of(b, user)) is not None]
    pool = [b.tamed(product(b, row, WIDTH)) for row in rows]
    if len(pool) < 3:
        return
    terms = []
    for _ in range(2 + b.below(4)):
        term = b.pick(pool)
        for _ in range(b.below(3)):
            term = b.tamed(_times(b, term, b.pick(pool), (B, Size(WIDTH))))
        terms.append(term)
    if b.chance():
        product(b, joined(b, terms, 1), 2, bias=b.chance())
        return
    shape = (B, ONE, Size(WIDTH))
    deep = [b.node("Reshape", [t, b.integers(0, 1, -1)], replace(t, shape=shape)) for t in terms]
    made = joined(b, deep, 1 + b.below(2))
    flat = replace(made, shape=(B, Size(len(terms) * WIDTH)))
    product(b, b.node("Reshape", [made, b.integers(0, -1)], flat), 2, bias=b.chance())


# -- matrices ----------------------------------------------------------------------------------------------------------


def outer_layer(b: Builder) -> None:
    """A layer over all pairs, or triples, of entries of vectors of both sides, with ones beside them or without."""
    sides = b.pick([[True, False], [False, True], [True, False, True], [False, False, True], [True, True, False]])
    vectors = []
    for user in sides:
        row = row_of(b, user)
        if row is None:
            return
        vector = b.tamed(product(b, row, 1 + b.below(3)))
        if b.chance(3):
            one = b.node("Sub", [vector, vector], replace(vector, bound=1.0))
            one = b.node("Add", [one, b.constant(np.array(1, np.float32))], one)
            vector = joined(b, [vector, one], 1)
        vectors.append(vector)
    made = vectors[0]
    for vector in vectors[1:]:
        made = b.tamed(_outer(b, made, vector))
    product(b, made, 1 + b.below(3), bias=b.chance())


def _outer(b: Builder, left: Value, right: Value) -> Value:
    """The products of all entries of two rows, laid flat."""
    m, n = left.shape[1], right.shape[1]
    like = Value("", (B, m, n), exact=left.exact and right.exact, bound=left.bound * right.bound)
    kind = b.below(3)
    if kind == 0:
        terms = b.pick(["bi,bj->bij", "...i,...j->...ij"])
        whole = b.node("Einsum", [left, right], like, equation=terms)
    else:
        column = b.axes_node("Unsqueeze", left, [2 if b.chance() else -1], replace(left, shape=(B, m, ONE)))
        row = b.axes_node("Unsqueeze", right, [1 if b.chance() else -2], replace(right, shape=(B, ONE, n)))
        whole = b.node("MatMul", [column, row], like) if kind == 1 else _times(b, column, row, like.shape)
    flat = replace(whole, shape=(B, Size(m.n * n.n)))
    if b.chance():
        return b.node("Flatten", [whole], flat, axis=1)
    return b.node("Reshape", [whole, b.integers(*b.pick([(0, m.n * n.n), (-1, m.n * n.n)]))], flat)


def made_matrix(b: Builder) -> None:
    """A matrix that a layer makes of one side, times vectors of the other."""
    side = b.chance(4)
    source, other = row_of(b, side), row_of(b, not side)
    if source is None or other is None:
        return
    count, summed, free = 1 + b.below(2), 2 + b.below(3), 2 + b.below(3)
    vectors = b.tamed(product(b, other, count * summed))
    flat = b.tamed(product(b, source, summed * free, bias=b.chance()))
    behind, turned = b.chance(), b.chance()
    sizes = (free, summed) if behind else (summed, free)
    laid = sizes[::-1] if turned else sizes
    matrix = b.node("Reshape", [flat, b.integers(0, *laid)], replace(flat, shape=(B, Size(laid[0]), Size(laid[1]))))
    if turned:
        matrix = b.node(
            "Transpose", [matrix], replace(matrix, shape=(B, Size(sizes[0]), Size(sizes[1]))), perm=[0, 2, 1]
        )
    laid = (summed, count) if behind else (count, summed)
    given = b.node("Reshape", [vectors, b.integers(-1, *laid)], replace(vectors, shape=(B, *map(Size, laid))))
    shape = (B, Size(free), Size(count)) if behind else (B, Size(count), Size(free))
    bound, exact = matrix.bound * given.bound * summed, matrix.exact and given.exact
    b.node("MatMul", [matrix, given] if behind else [given, matrix], Value("", shape, exact=exact, bound=bound))


# -- other types, other lookups ----------------------------------------------------------------------------------------


def other_precision(b: Builder) -> None:
    """A layer over both sides in double or half precision."""
    kind, number = b.pick([(TensorProto.DOUBLE, np.float64), (TensorProto.FLOAT16, np.float16)])
    rows = []
    for user in sides_drawn(b):
        row = row_of(b, user)
        if row is None:
            return
        rows.append(row if row.bound <= 8 else between(b, row))
    early = not b.chance(4)
    parts = [b.raw("Cast", [r.name], to=kind)[0] for r in rows] if early else [r.name for r in rows]
    x = b.raw("Concat", parts, axis=1)[0]
    x = x if early else b.raw("Cast", [x], to=kind)[0]
    total, n = sum(r.shape[1].n for r in rows), 1 + b.below(3)
    weight = b.constant(b.rng.integers(-2, 3, (total, n)).astype(number))
    bias = b.constant(b.rng.integers(-2, 3, n).astype(number))
    made = b.raw("Gemm", [x, weight, bias])[0] if b.chance() else b.raw("MatMul", [x, weight])[0]
    exact = all(r.exact for r in rows)
    b.node("Cast", [made], Value("", (B, Size(n)), exact=exact, bound=16.0 * total + 2), to=TensorProto.FLOAT)


def _ids_of(b: Builder, user: bool) -> Value | None:
    """Numbers of fields of one side that are small enough for a table."""
    given = [i.value for i in b.inputs if i.user == user and i.columns is None and i.value.shape[0] == B]
    fitting = [v for v in given if v.kind == "int" and v.rank == 2]
    if fitting and not b.chance(4):
        return b.pick(fitting)
    row = row_of(b, user)
    if row is None or not row.exact:
        return None
    ends = [b.constant(np.array(x, np.float32)) for x in (0, VOCABULARY - 1)]
    whole = b.node("Clip", [row, *ends], replace(row, bound=float(VOCABULARY)))
    return b.node("Cast", [whole], replace(whole, kind="int", bound=VOCABULARY), to=TensorProto.INT64)


def stacked_ids(b: Builder) -> None:
    """Ids of both sides next to each other, where each begins in one table, and what is found there."""
    parts = []
    for user in sides_drawn(b):
        ids = _ids_of(b, user)
        if ids is None:
            return
        parts.append(ids)
    x = joined(b, parts, 1)
    total = x.shape[1].n
    places = x.name
    if b.chance():
        offsets = b.integers(*(VOCABULARY * k for k in range(total)))
        places = b.raw("Add", [places, offsets] if b.chance() else [offsets, places])[0]
    table, flat = b.weight([VOCABULARY * total, 2]), b.chance(3)
    if flat:
        places = b.raw("Reshape", [places, b.integers(-1)])[0]
    shape = (Size(total, True),) if flat else x.shape
    found = b.node("Gather", [table, places], Value("", (*shape, Size(2)), bound=2.0), axis=0)
    if flat:
        found = b.node("Reshape", [found, b.integers(-1, total, 2)], replace(found, shape=(*x.shape, Size(2))))
    product(b, b.node("Flatten", [found], replace(found, shape=(B, Size(2 * total))), axis=1), 2)


def masked_steps(b: Builder) -> None:
    """What is found for ids of one side, as far as numbers of the other are above 0, added up."""
    user = not b.chance(4)
    ids, row = _ids_of(b, user), row_of(b, not user)
    if ids is None or row is None:
        return
    count = ids.shape[1].n
    like = Value("", (*ids.shape, Size(WIDTH)), bound=2.0)
    steps = b.node("Gather", [b.weight([VOCABULARY, WIDTH]), ids], like, axis=0)
    if b.chance():
        steps = b.tamed(product(b, steps, WIDTH))
    numbers = product(b, row, count)
    left = b.raw("Greater", [numbers.name, b.constant(np.array(0, np.float32))])[0]
    left = b.raw("Reshape", [left, b.integers(0, -1, 1)])[0]
    sides = [steps.name, b.constant(np.array(0, np.float32))]
    whole = b.node("Where", [left, *(sides if b.chance() else reversed(sides))], steps)
    like = replace(steps, shape=(B, Size(WIDTH)), bound=steps.bound * count)
    b.axes_node("ReduceSum", whole, [1 if b.chance() else -2], like, keepdims=0)


def lookup_in_each_row(b: Builder) -> None:
    """Entries that ids of one side, or constants, pick of each candidate's own fields."""
    x, count = fields_of(b, b.chance(), VOCABULARY), 1 + b.below(3)
    ids = _ids_of(b, b.chance())
    if x is None or x.bound > LIMIT:
        return
    if ids is None or b.chance(4):
        numbers = b.constant(b.rng.integers(-1, VOCABULARY, (1, count)), "c")
        ids = b.node("Expand", [numbers, b.sizes([B, ONE])], Value("", (B, Size(count)), "int"))
    places = b.axes_node("Unsqueeze", ids, [2], replace(ids, shape=(*ids.shape, ONE)))
    b.node("GatherND", [x, places], replace(x, shape=(B, ids.shape[1], Size(WIDTH))), batch_dims=1)


def scaled_columns(b: Builder) -> None:
    """Columns that a narrow layer makes, times a row of the user or of both, as layers of a cross network have it."""
    rows = [row_of(b, user) for user in (True, False)]
    given = [row for row in rows if row is not None]
    if len(given) < len(rows):
        return
    first = given[0] if b.chance() else joined(b, given if b.chance() else given[::-1], 1)
    x, width = given[1] if first is given[0] else first, first.shape[1].n
    for _ in range(1 + b.below(2)):
        made = product(b, product(b, x, 1 + b.below(2)), width, bias=b.chance())
        x = _times(b, first, made, (B, Size(width)))
        if b.chance():
            like = replace(x, bound=x.bound + first.bound)
            x = b.node("Add", [x, first] if b.chance() else [first, x], like)
    for _ in range(1 + b.below(2)):
        product(b, x, 1 + b.below(3), bias=b.chance())


FIELDS: list[Block] = [
    scaled_columns,
    dots,
    dots,
    stacked_dots,
    columns_of_the_user,
    entries,
    listed_pairs,
    gated_fields,
    common_factors,
    outer_layer,
    made_matrix,
    other_precision,
    stacked_ids,
    masked_steps,
    lookup_in_each_row,
]
