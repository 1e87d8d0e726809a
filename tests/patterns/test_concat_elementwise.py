"""f([u, i]) = [f(u), f(i)]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "concat-elementwise"

F32 = np.float32


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["x, z", "z, x"])
def test_parts_that_lie_within_those_of_the_other(order: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item, float[B,2] user2, float[B,3] user3, float[B,4] item3)
        => (float[B,7] y) {{
            x = Concat<axis = 1>(user, item, user2)
            z = Concat<axis = 1>(user3, item3)
            y = Sub({order})
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Sub"] == 2


def test_not_parts_that_take_turns_within_those_of_the_other() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item, float[B,2] user2, float[B,1] item2, float[B,3] user3,
            float[B,5] item3) => (float[B,8] y) {
            x = Concat<axis = 1>(user, item, user2, item2)
            z = Concat<axis = 1>(user3, item3)
            y = Sub(x, z)
        }""",
    )
    assert outcome.times == 0


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("ai.onnx.ml.LabelEncoder<keys_int64s = [1, 2], values_int64s = [7, 9], default_int64 = 5>(x)", "int64"),
        ("ai.onnx.ml.Binarizer<threshold = 0.5>(x)", "float"),
    ],
)
def test_learned_by_entry(call: str, kind: str) -> None:
    outcome = apply(
        RULE,
        f"""score ({kind}[B,3] user, {kind}[B,2] item) => ({kind}[B,5] y) {{
            x = Concat<axis = 1>(user, item)
            y = {call}
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops[call.partition("<")[0].rpartition(".")[2]] == 2


@pytest.mark.parametrize(
    "call",
    [
        "Relu(x)",
        "Abs(x)",
        "Neg(x)",
        "Sign(x)",
        "Floor(x)",
        "Elu<alpha = 2.0>(x)",
        "LeakyRelu<alpha = 0.5>(x)",
        "HardSigmoid(x)",
        "ThresholdedRelu<alpha = 2.0>(x)",
        "Cast<to = 11>(x)",
    ],
)
def test_unary(call: str) -> None:
    result = "double" if call.startswith("Cast") else "float"
    op = call.split("(")[0].split("<")[0]
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item) => ({result}[B,5] y) {{
            x = Concat<axis = 1>(user, item)
            y = {call}
        }}""",
        exact=op != "Elu",
    )
    assert outcome.times == 1
    assert outcome.ops[op] == 2
    assert {outcome.size_of(node.input[0])[0] == 1 for node in outcome.of(op)} == {False, True}


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Exp", "Erf", "Softplus", "Sqrt", "Log", "Reciprocal"])
def test_transcendental(op: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item) => (float[B,5] y) <float five = {{5.0}}> {{
            x = Concat<axis = 1>(user, item)
            p = Add(x, five)
            y = {op}(p)
        }}""",
        exact=False,
    )
    assert outcome.times == 2


@pytest.mark.parametrize("opset", [17, 20])
def test_gelu_from_opset_20(opset: int) -> None:
    call = "Gelu" if opset == 20 else "Relu"
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item) => (float[B,5] y) {{
            x = Concat<axis = 1>(user, item)
            y = {call}(x)
        }}""",
        opset=opset,
        exact=False,
    )
    assert outcome.ops[call] == 2


@pytest.mark.parametrize("order", ["x, w", "w, x"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Max"])
def test_constants_are_cut_along(op: str, order: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item) => (float[B,5] y) {{
            x = Concat<axis = 1>(user, item)
            y = {op}({order})
        }}""",
        w=np.array([1, 2, 4, 2, 1], F32),
        exact=op != "Pow",
    )
    assert outcome.times == 1
    sizes = {outcome.workspace.graph.weights[v].shape for n in outcome.of(op) for v in n.input if "part" in v}
    assert sizes == {(3,), (2,)}
    assert outcome.ops["Slice"] <= 1  # that of the sizes, none for constants


@pytest.mark.parametrize("shape", [[], [1], [1, 1], [1, 5], [1, 1, 5], [1, 2, 1]])
def test_constants_of_every_rank(shape: list[int]) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2,3] user, float[B,2,2] item) => (float[B,2,5] y) <{typed("float", shape)} w> {{
            x = Concat<axis = 2>(user, item)
            y = Mul(x, w)
        }}""",
        **({"w": np.array(3, F32)} if not shape else {}),
    )
    assert outcome.times == 1


def test_a_constant_of_higher_rank_moves_the_axis() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[2,B,5] y) <float[2,1,5] w> {
            x = Concat<axis = 1>(user, item)
            y = Mul(x, w)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_normalisation(axis: int) -> None:
    left, right = ("B,3,2", "B,2,2") if axis == 1 else ("B,5,1", "B,5,1")
    outcome = apply(
        RULE,
        f"""score (float[{left}] user, float[{right}] item) => (float[B,5,2] y) {{
            x = Concat<axis = {axis}>(user, item)
            y = BatchNormalization<epsilon = 0.0>(x, s, c, m, v)
        }}""",
        s=np.array([1, 2, -1, 4, 3], F32),
        c=np.array([1, 0, 5, 2, 2], F32),
        m=np.array([0, 1, 2, 3, 4], F32),
        v=np.array([1, 4, 16, 1, 4], F32),
        exact=False,
    )
    assert outcome.times == 1
    assert outcome.ops["BatchNormalization"] == 2
    own = {outcome.workspace.graph.weights[node.input[1]].shape for node in outcome.of("BatchNormalization")}
    assert own == ({(3,), (2,)} if axis == 1 else {(5,)})


@pytest.mark.parametrize("inputs", ["x, low, high", "x, low", "x, , high", "x"])
def test_clip_with_optional_inputs(inputs: str) -> None:
    model = f"""score (float[B,3] user, float[B,2] item) => (float[B,5] y)
    <float low = {{-2.0}}, float high = {{1.0}}> {{
        x = Concat<axis = 1>(user, item)
        y = Clip({inputs})
    }}"""
    outcome = apply(RULE, model)
    assert outcome.times == 1
    assert outcome.ops["Clip"] == 2


@pytest.mark.parametrize("slope", ["float[5]", "float[1]", "float[1,5]"])
def test_slope_of_a_prelu(slope: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user, float[B,2] item) => (float[B,5] y) <{slope} w> {{
            x = Concat<axis = 1>(user, item)
            y = PRelu(x, w)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["PRelu"] == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_where_with_the_concat_in_each_place(place: int) -> None:
    dtype = "bool" if place == 0 else "float"
    operands = ["c", "w", "v"]
    operands[place] = "x"
    declared = {"c": "bool[5] c", "w": "float[1,5] w", "v": "float v = {2.0}"}
    outcome = apply(
        RULE,
        f"""score ({dtype}[B,3] user, {dtype}[B,2] item) => (float[B,5] y)
        <{", ".join(declared[name] for name in operands if name in declared)}> {{
            x = Concat<axis = 1>(user, item)
            y = Where({", ".join(operands)})
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Where"] == 2


def test_two_concats_with_the_same_parts() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item, float[B,1] user2, float[B,2] user3, float[B,2] item2)
        => (float[B,5] y) {
            x = Concat<axis = 1>(user, item)
            z = Concat<axis = 1>(user2, user3, item2)
            y = Mul(x, z)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Mul"] == 2


def test_a_user_operand_is_cut() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item, float[B,5] user2) => (float[B,5] y) {
            x = Concat<axis = 1>(user, item)
            y = Mul(user2, x)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("dtype", ["float16", "double", "int64", "int32"])
def test_types(dtype: str) -> None:
    outcome = apply(
        RULE,
        f"""score ({dtype}[B,3] user, {dtype}[B,2] item) => ({dtype}[B,5] y) <{dtype}[5] w> {{
            x = Concat<axis = 1>(user, item)
            y = Add(x, w)
        }}""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_the_candidates_are_joined() -> None:
    text = """score (float[B,3] user, float[B,3] item) => (float[M,3] y) {
        x = Concat<axis = 0>(user, item)
        y = Relu(x)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("names", [("user", "user2"), ("item", "item2")])
def test_not_where_all_parts_are_on_one_side(names: tuple[str, str]) -> None:
    other = "item" if "user" in names else "user"
    text = f"""score (float[B,3] {names[0]}, float[B,2] {names[1]}, float[B,5] {other}) => (float[B,5] y) {{
        x = Concat<axis = 1>({names[0]}, {names[1]})
        r = Relu(x)
        y = Add(r, {other})
    }}"""
    outcome = apply(RULE, text)
    assert outcome.times == 0


def test_not_with_an_operand_of_items_that_would_have_to_be_cut() -> None:
    text = """score (float[B,3] user, float[B,2] item, float[B,5] item2) => (float[B,5] y) {
        x = Concat<axis = 1>(user, item)
        y = Mul(x, item2)
    }"""
    assert apply(RULE, text).times == 0


def test_an_operand_of_items_that_is_read_whole() -> None:
    text = """score (float[B,3] user, float[B,2] item, float[B,1] item2) => (float[B,5] y) {
        x = Concat<axis = 1>(user, item)
        y = Mul(x, item2)
    }"""
    assert apply(RULE, text).times == 1


def test_not_where_parts_cross() -> None:
    text = """score (float[B,3] user, float[B,2] item, float[B,3] user2, float[B,2] item2) => (float[B,5] y) {
        x = Concat<axis = 1>(user, item)
        z = Concat<axis = 1>(item2, user2)
        y = Mul(x, z)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("axis", [1, 2])
def test_not_with_one_scale_for_each_channel(axis: int) -> None:
    left, right, scales = ("B,3,4", "B,2,4", 5) if axis == 1 else ("B,3,2", "B,3,2", 4)
    text = f"""score (int8[{left}] user, int8[{right}] item) => (float y) {{
        x = Concat<axis = {axis}>(user, item)
        d = DequantizeLinear<axis = {axis}>(x, s)
        y = ReduceSum<keepdims = 0>(d)
    }}"""
    assert apply(RULE, text, s=2.0 ** np.arange(scales, dtype=F32)).times == 0


def test_not_where_part_of_nothing_would_be_stretched() -> None:
    text = """score (float[B,0] user, float[B,1] item) => (float[B,1] y) {
        x = Concat<axis = 1>(user, item)
        y = Relu(x)
    }"""
    outcome = apply(RULE, text)
    assert outcome.ops["Concat"] >= 1


# -- any model ---------------------------------------------------------------------------------------------------------


@st.composite
def operands(draw: st.DrawFn) -> tuple[list[object], int, list[tuple[str, int]], list[object]]:
    """The shape of a Concat with B in it, its axis, its parts, and a shape that broadcasts to it."""
    rank = draw(st.integers(2, 4))
    shape: list[object] = [draw(st.integers(1, 2)) for _ in range(rank)]
    axis, candidates = draw(st.permutations(range(rank)))[:2]
    parts = [(side, draw(st.integers(1, 3))) for side in draw(st.lists(st.sampled_from(["user", "item"]), max_size=3))]
    parts = [("user", 1), *parts, ("item", 2)]
    shape[candidates] = "B"
    shape[axis] = sum(size for _, size in parts)
    constant = [d if d != "B" and draw(st.booleans()) else 1 for d in shape]
    return shape, axis, parts, constant[draw(st.integers(0, rank)) :]


@given(case=operands(), op=st.sampled_from(["Add", "Sub", "Mul", "Min"]), swap=st.booleans())
def test_any_operands(case: tuple[list[object], int, list[tuple[str, int]], list[object]], op: str, swap: bool) -> None:
    shape, axis, parts, constant = case
    names = [f"{side}{index}" for index, (side, _) in enumerate(parts)]
    inputs = [
        f"{typed('float', [*shape[:axis], size, *shape[axis + 1 :]])} {name}"
        for name, (_, size) in zip(names, parts, strict=True)
    ]
    outcome = apply(
        RULE,
        f"""score ({", ".join(inputs)}) => ({typed("float", shape)} y) {{
            x = Concat<axis = {axis}>({", ".join(names)})
            y = {op}({"w, x" if swap else "x, w"})
        }}""",
        w=np.random.default_rng(0).integers(-4, 5, [int(str(d)) for d in constant]).astype(F32),
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1
