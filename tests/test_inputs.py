"""Which inputs are user-side: said, noted in the model, seen from shapes, or guessed from names."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from onnx import helper, parser

from mari_onnx.analysis import InputSide
from mari_onnx.errors import UsageError
from mari_onnx.inputs import METADATA_USER, Chosen, choose_inputs
from mari_onnx.ir import Graph, read_graph


def choose(
    inputs: str,
    user: list[str] | None = None,
    item: list[str] | None = None,
    metadata: object = None,
) -> Chosen:
    """The choice for a model with these inputs and nothing else."""
    model = parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> g ({inputs}) => (float y) {{ y = Constant<value_float = 1.0>() }}'
    )
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        helper.set_model_props(model, {METADATA_USER: text})
    return choose_inputs(read_graph(model), user, item)


def sides(chosen: Chosen) -> dict[str, str]:
    return {name: side.value for name, side in chosen.inputs.sides.items()}


PLAIN = "float[B,3] a, float[B,2] b, float[B,4] c"
FEATURES = "int64[B,1] user_id, float[B,4] user_age, int64[B,1] item_id, float[B,2] ctx_hour"


# -- said --------------------------------------------------------------------------------------------------------------


def test_by_name() -> None:
    assert sides(choose(PLAIN, ["a", "c"])) == {"a": "user", "b": "item", "c": "user"}


def test_items_by_name_leave_the_rest_to_the_user() -> None:
    assert sides(choose(PLAIN, item=["b"])) == {"a": "user", "b": "item", "c": "user"}


def test_both_by_name() -> None:
    assert sides(choose(PLAIN, ["a"], ["b"])) == {"a": "user", "b": "item", "c": "item"}


def test_by_glob() -> None:
    assert sides(choose(FEATURES, ["user_*", "ctx_*"])) == {
        "user_id": "user",
        "user_age": "user",
        "item_id": "item",
        "ctx_hour": "user",
    }


def test_order_is_that_of_the_model() -> None:
    assert list(choose(PLAIN, ["c", "a"]).inputs.sides) == ["a", "b", "c"]
    assert choose(PLAIN, ["c", "a"]).user_specs() == ["a", "c"]


@pytest.mark.parametrize(("typed", "hint"), [("user_idd", "user_id"), ("item-id", "item_id"), ("userage", "user_age")])
def test_the_nearest_name_is_suggested(typed: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no input '{typed}': did you mean '{hint}'?") as caught:
        choose(FEATURES, [typed])
    assert "user_age [B, 4]" in str(caught.value)


def test_a_name_like_no_other() -> None:
    with pytest.raises(UsageError, match=r"no input 'zzz'\. The inputs are a \[B, 3\]"):
        choose(PLAIN, ["zzz"])


def test_a_glob_that_matches_nothing() -> None:
    with pytest.raises(UsageError, match=r"no input matches 'u_\*'; the inputs are"):
        choose(PLAIN, ["u_*"])


def test_names_are_not_globs_where_they_are_names() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[B] q, float[B] r) => (float[B] y) { y = Add(q, r) }'
    )
    model.graph.input[0].name = model.graph.node[0].input[0] = "q[0]"
    assert sides(choose_inputs(read_graph(model), ["q[0]"])) == {"q[0]": "user", "r": "item"}


ODD = (" user a", "user,b", "user[c]", "user:d", "user*e", "user[:, 0]", "serving_default_user:0", "item")


def odd() -> Graph:
    """Inputs whose names mean something else in what is typed."""
    listed = ", ".join(f"float[B,3] n{number}" for number in range(len(ODD)))
    read = ", ".join(f"n{number}" for number in range(len(ODD)))
    model = parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> g ({listed}) => (float[B,3] y) {{ y = Sum({read}) }}'
    )
    for number, name in enumerate(ODD):
        model.graph.input[number].name = model.graph.node[0].input[number] = name
    return read_graph(model)


@pytest.mark.parametrize("name", ODD)
def test_any_name_can_be_typed_as_it_is(name: str) -> None:
    chosen = choose_inputs(odd(), [name])
    assert chosen.users == (name,)
    assert choose_inputs(odd(), chosen.user_specs()) == chosen


def test_all_of_them_with_commas_between_them() -> None:
    assert choose_inputs(odd(), [",".join(ODD[:-1])]).users == ODD[:-1]
    assert choose_inputs(odd(), "user:d,user,b").users == ("user,b", "user:d")


def test_what_is_no_glob_in_a_name() -> None:
    with pytest.raises(UsageError, match=r"is part of a name, type \[\[\], \[\*\] or \[\?\];") as caught:
        choose_inputs(odd(), ["user[c]?"])
    assert "' user a' [B, 3], 'user,b' [B, 3], user[c] [B, 3]" in str(caught.value)
    assert choose_inputs(odd(), ["user[[]c*"]).users == ("user[c]",)


def test_contradictions() -> None:
    with pytest.raises(UsageError, match="'a' is named as user-side and as item-side"):
        choose(PLAIN, ["a"], ["a"])
    with pytest.raises(UsageError, match="named as a whole and by its columns"):
        choose(PLAIN, ["a", "a[:, 1]"])


def test_everything_or_nothing() -> None:
    with pytest.raises(UsageError, match="every input is user-side"):
        choose(PLAIN, ["*"])
    with pytest.raises(UsageError, match="no input is user-side"):
        choose(PLAIN, item=["*"])


def test_a_model_without_inputs() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g () => (float[1] y) <float[1] w = {1}> { y = Neg(w) }'
    )
    with pytest.raises(UsageError, match="no inputs"):
        choose_inputs(read_graph(model))


# -- columns -----------------------------------------------------------------------------------------------------------


def test_columns_of_a_stacked_input() -> None:
    chosen = choose("float[B,8] X", ["X[:, 0:3,5]"])
    assert sides(chosen) == {"X": "item"}
    assert chosen.stacked == {"X": (0, 1, 2, 5)}
    assert chosen.widths == {"X": 8}
    assert chosen.user_specs() == ["X[:, 0:3,5]"]


def test_columns_said_from_the_other_side() -> None:
    assert choose("float[B,8] X", item=["X[:, 3:5,6:]"]).stacked == {"X": (0, 1, 2, 5)}


def test_columns_in_several_arguments() -> None:
    assert choose("float[B,8] X", ["X[:, 0]", "X[:, 4:6]"]).stacked == {"X": (0, 4, 5)}


def test_columns_beside_a_whole_input() -> None:
    chosen = choose("float[B,8] X, float[B,2] user", ["X[:, :4]", "user"])
    assert sides(chosen) == {"X": "item", "user": "user"}
    assert chosen.user_specs() == ["user", "X[:, 0:4]"]


def test_all_columns_are_the_whole_input() -> None:
    chosen = choose("float[B,8] X, float[B,2] z", ["X[:, :]"])
    assert chosen.stacked == {}
    assert sides(chosen) == {"X": "user", "z": "item"}


def test_columns_said_from_both_sides() -> None:
    assert choose("float[B,4] X", ["X[:, 0:2]"], ["X[:, 2:]"]).stacked == {"X": (0, 1)}
    with pytest.raises(UsageError, match="columns 1 of 'X' are named for both sides"):
        choose("float[B,4] X", ["X[:, 0:2]"], ["X[:, 1:]"])
    with pytest.raises(UsageError, match="columns 2 of 'X' are named for neither side"):
        choose("float[B,4] X", ["X[:, 0:2]"], ["X[:, 3]"])


@pytest.mark.parametrize("shape", ["B,4,2", "B", "B,N"])
def test_only_a_matrix_of_known_width_has_columns(shape: str) -> None:
    with pytest.raises(UsageError, match="not a matrix of known width"):
        choose(f"float[{shape}] X", ["X[:, 0]"])


# -- noted in the model ------------------------------------------------------------------------------------------------


def test_the_models_own_word() -> None:
    chosen = choose(PLAIN, metadata=["a", "c"])
    assert sides(chosen) == {"a": "user", "b": "item", "c": "user"}
    assert chosen.inputs.notes == ("user inputs as in the model's metadata: a, c",)


def test_the_models_own_word_by_hand() -> None:
    assert sides(choose(PLAIN, metadata="a; c")) == {"a": "user", "b": "item", "c": "user"}
    assert choose("float[B,8] X", metadata="X[:, 0:3,5]").stacked == {"X": (0, 1, 2, 5)}


@pytest.mark.parametrize("metadata", ["[" * 3000, "9" * 5000])
def test_metadata_that_is_too_much_to_read_is_taken_for_a_name(metadata: str) -> None:
    with pytest.raises(UsageError, match="no input"):
        choose(PLAIN, metadata=metadata)


def test_the_callers_word_counts_more() -> None:
    assert sides(choose(PLAIN, ["b"], metadata=["a"])) == {"a": "item", "b": "user", "c": "item"}


@pytest.mark.parametrize("metadata", ['{"a": 1}', "[1, 2]", '"a"'])
def test_metadata_that_makes_no_sense(metadata: str) -> None:
    with pytest.raises(UsageError, match="is not a list of inputs"):
        choose(PLAIN, metadata=metadata)


def test_metadata_that_names_an_input_that_is_gone() -> None:
    with pytest.raises(UsageError, match="no input 'old'"):
        choose(PLAIN, metadata=["old"])


# -- seen from shapes --------------------------------------------------------------------------------------------------


def test_one_row_beside_many() -> None:
    chosen = choose("float[1,3] a, float[B,2] b")
    assert sides(chosen) == {"a": "shared", "b": "item"}
    assert "given once per request: a" in chosen.inputs.notes[0]


def test_a_named_input_with_one_row_is_given_once() -> None:
    chosen = choose("float[1,3] a, float[B,2] b", ["a"])
    assert sides(chosen) == {"a": "shared", "b": "item"}
    assert chosen.user_specs() == ["a"]


def test_scalars_are_given_once() -> None:
    assert sides(choose("float[B,3] a, float t, float[B,2] b", ["a"])) == {"a": "user", "t": "shared", "b": "item"}


def test_what_cannot_have_candidates_is_given_once() -> None:
    """A table as an input: its first size is fixed where the others' is open."""
    chosen = choose("float[B,3] a, float[B,2] b, float[5,4] table", ["a"])
    assert sides(chosen) == {"a": "user", "b": "item", "table": "shared"}
    assert chosen.inputs.batch is None


def test_a_named_scalar_has_no_candidates() -> None:
    assert sides(choose("float[B,3] a, float t", ["t"])) == {"a": "item", "t": "shared"}
    with pytest.raises(UsageError, match=r"the item-side input 't' is .* no candidate axis"):
        choose("float[B,3] a, float[B,3] b, float t", item=["a", "t"])


# -- guessed from names ------------------------------------------------------------------------------------------------


def test_common_prefixes_and_the_guess_is_announced() -> None:
    chosen = choose(FEATURES)
    assert sides(chosen) == {"user_id": "user", "user_age": "user", "item_id": "item", "ctx_hour": "user"}
    (note,) = chosen.inputs.notes
    assert note == "guessed from their names as user-side: user_id, user_age, ctx_hour; say --user to be sure"


@pytest.mark.parametrize("names", [("UserAge", "ItemId"), ("serving_default_user_age", "serving_default_item_id")])
def test_capitals_and_where_it_is_served_do_not_matter(names: tuple[str, str]) -> None:
    user, item = names
    assert sides(choose(f"float[B,3] {user}, float[B,2] {item}")) == {user: "user", item: "item"}


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        (PLAIN, "cannot be told from the model; name them with --user"),
        ("float[B,3] user_age, float[B,2] price", r"\(price could be either\)"),
        ("float[B,3] user_age, float[B,2] user_id", "cannot be told"),
        ("float[B,3] item_a, float[B,2] item_b", "cannot be told"),
    ],
)
def test_no_guess_where_there_is_doubt(inputs: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        choose(inputs)


# -- where the candidates lie ------------------------------------------------------------------------------------------


def test_on_the_axis_of_the_common_name() -> None:
    chosen = choose("float[T,B,3] a, float[B,2] b, float[T,B] c", ["a"])
    assert chosen.inputs.axes == {"a": 1, "b": 0, "c": 1}


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        ("float[B,4] u, float[T,B,4] i", {"u": 0, "i": 1}),
        ("float[S,B,4] u, float[T,B,4] i", {"u": 1, "i": 1}),
        ("float[T,B,4] u, float[T,B,4] i", {"u": 1, "i": 1}),
        ("float[3,B,4] u, float[T,B,4] i", {"u": 1, "i": 1}),
        ("float[T,4,B] u, float[T,B,4] i, float[T,B] j", {"u": 2, "i": 1, "j": 1}),
        ("float[5,4] u, float[T,B,4] i", {"i": 1}),
    ],
)
@pytest.mark.parametrize("symbol", ["B", "x"])
def test_items_that_begin_with_the_length_of_something(inputs: str, axes: dict[str, int], symbol: str) -> None:
    """By the name of their number, or as outputs begin with it."""
    scores = "?" if symbol == "B" else symbol
    chosen = from_text(inputs.replace("B", symbol), "y = Identity(u)", ["u"], f"float[{scores},4] y")
    assert chosen.inputs.axes == axes


@pytest.mark.parametrize(
    ("inputs", "axes", "output"),
    [
        ("float[x,N,4] u, float[x,N,4] i", {"u": 0, "i": 0}, "float[x,4] y"),
        ("float[z,T,4] u, float[x,T,4] i", {"u": 0, "i": 0}, "float[x,4] y"),
        ("float[z,T,4] u, float[x,T,4] i", {"u": 0, "i": 0}, "float[?,4] y"),
        ("float[B,N,4] u, float[B,N,4] i", {"u": 0, "i": 0}, "float[?,4] y"),
        ("float[T,x,4] u, float[T,x,4] i", {"u": 0, "i": 0}, "float[T,x,4] y"),
        ("float[T,x,y,4] u, float[T,x,y,4] i", {"u": 0, "i": 0}, "float[?,4] y"),
    ],
)
def test_items_that_begin_with_their_number(inputs: str, axes: dict[str, int], output: str) -> None:
    assert from_text(inputs, "y = Identity(u)", ["u"], output).inputs.axes == axes


@pytest.mark.parametrize("item", ["float[h,x,4] i", "float[h,4,x] i"])
def test_two_names_that_cannot_be_one_number(item: str) -> None:
    """Who has both would have to be square."""
    with pytest.raises(
        UsageError, match="'x' or 'h' is the number of candidates cannot be told, of which 'i' has both"
    ):
        from_text(f"float[x,4] u, {item}", "y = Identity(u)", ["u"], "float[h,4] y")


def test_candidates_that_are_compared_with_each_other() -> None:
    chosen = choose("float[x,4] u, float[x,x] i", ["u"])
    assert chosen.inputs.axes == {"u": 0, "i": 0}


def test_candidates_on_the_last_axis() -> None:
    chosen = choose("float[3,B] a, float[1,B] b", ["a"])
    assert chosen.inputs.axes == {"a": 1, "b": 1}
    assert sides(chosen) == {"a": "user", "b": "item"}


@pytest.mark.parametrize("user", ["float[1,4] u", "float[1,1,4] u", "float[1,50,4] u"])
def test_requests_of_one_row_with_candidates_behind(user: str) -> None:
    chosen = choose(f"{user}, float[1,B,2] i, float[1,B] j", ["u"])
    assert chosen.inputs.axes == {"i": 1, "j": 1}
    assert sides(chosen) == {"u": "shared", "i": "item", "j": "item"}


@pytest.mark.parametrize("user", ["float[50] u", "float[50,8] u", "float[3,B2] u"])
def test_a_user_input_of_fixed_size_beside_items_of_any_number(user: str) -> None:
    chosen = choose(f"{user}, float[B,2] i, float[B] j", ["u"])
    assert chosen.inputs.axes == {"i": 0, "j": 0}
    assert sides(chosen) == {"u": "shared", "i": "item", "j": "item"}


@pytest.mark.parametrize("user", ["float[50] u", "float[50,8] u"])
@pytest.mark.parametrize("item", ["float[B,2] i", "float[?,2] i"])
def test_a_user_input_of_fixed_size_beside_one_item(user: str, item: str) -> None:
    """A name that one input alone has is as open as one that all of them have."""
    chosen = choose(f"{user}, {item}", ["u"])
    assert chosen.inputs.axes == {"i": 0}
    assert sides(chosen) == {"u": "shared", "i": "item"}
    assert chosen.inputs.batch is None


def test_each_input_with_a_name_of_its_own() -> None:
    """TensorFlow: unk__1, unk__2, ... are all the number of candidates."""
    chosen = choose("float[unk__1,3] a, float[unk__2,2] b, float[unk__3,4] c", ["a"])
    assert chosen.inputs.axes == {"a": 0, "b": 0, "c": 0}
    assert sides(chosen) == {"a": "user", "b": "item", "c": "item"}


ONE_NAME_A_SIDE = "float[R,2] u, float[R,2] v, float[B,2] i, float[B,2] j"
ONE_NAME_AN_INPUT = "float[R,2] u, float[S,2] v, float[B,2] i, float[C,2] j"


@pytest.mark.parametrize(
    "nodes",
    [
        "y = GatherElements<axis = 1>(u, i)",
        "s = Shape(i) z = Expand(v, s) y = ScatterElements<axis = 1>(z, u, w)",
    ],
)
def test_rows_that_pick_or_are_written_are_those_of_candidates(nodes: str) -> None:
    """Exporters give inputs names of their own where fewer rows would do."""
    model = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (int64[R,5] u, int64[B,2] i, int64[B,3] j) => (int64 y)
        <int64[1,1] v = {{0}}> {{ w = Identity(u) {nodes} k = Concat<axis = 1>(i, j) }}"""
    )
    chosen = choose_inputs(read_graph(model), ["u"])
    assert chosen.repeated_inside == ()
    assert sides(chosen) == {"u": "user", "i": "item", "j": "item"}


@pytest.mark.parametrize("inputs", [ONE_NAME_A_SIDE, ONE_NAME_AN_INPUT])
@pytest.mark.parametrize(
    ("nodes", "inside"),
    [
        ("y = Concat<axis = 1>(u, v, i, j)", False),
        (
            """n = Shape<start = 0, end = 1>(u) two = Constant<value_ints = [2]>() s = Concat<axis = 0>(n, two)
            k = Reshape(i, s) c = Concat<axis = 1>(u, v, k, j) o = Constant<value_ints = [8]>()
            w = ConstantOfShape(o) y = MatMul(c, w)""",
            False,
        ),
        (
            """a = Add(u, v) t = Transpose<perm = [1, 0]>(a) b = Add(i, j) m = MatMul(b, t)
            last = Constant<value_ints = [1]>() y = Squeeze(m, last)""",
            True,
        ),
    ],
)
def test_what_can_run_tells_whether_two_names_are_one_size(inputs: str, nodes: str, *, inside: bool) -> None:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> g ({inputs}) => (float y) {{ {nodes} }}')
    chosen = choose_inputs(read_graph(model), ["u", "v"])
    assert chosen.repeated_inside == (("u", "v") if inside else ())
    side = "shared" if inside else "user"
    assert sides(chosen) == {"u": side, "v": side, "i": "item", "j": "item"}


def test_sizes_without_a_name() -> None:
    chosen = choose("float[?,3] a, float[?,2] b", ["a"])
    assert chosen.inputs.axes == {"a": 0, "b": 0}


def test_a_fixed_number_of_candidates() -> None:
    chosen = choose("float[512,3] a, float[512,2] b", ["a"])
    assert chosen.inputs.batch == 512
    assert choose(PLAIN, ["a"]).inputs.batch is None


def test_inputs_that_disagree() -> None:
    with pytest.raises(UsageError, match=r"do not agree on the number of candidates: a \[512, 3\], b \[256, 2\]"):
        choose("float[512,3] a, float[256,2] b", ["a"], ["b"])


@pytest.mark.parametrize("first", ["5", "T"])
@pytest.mark.parametrize("item", [None, ["b"]])
def test_candidates_behind_the_first_axis_of_an_input(first: str, item: list[str] | None) -> None:
    """Their number is known, their axis is not: [5, 8, 4] may as well be one request's 8 fields of 5."""
    with pytest.raises(UsageError, match="if they are on another axis of a than the first, export the model with an"):
        choose(f"float[{first},8,4] a, float[8,2] b", ["a"], item)
    assert choose("float[5,B,4] a, float[B,2] b", ["a"], item).inputs.axes == {"a": 1, "b": 0}


def test_an_input_without_rows() -> None:
    with pytest.raises(UsageError, match="has no rows"):
        choose("float[0,3] a, float[B,2] b", ["a"])


def test_sides_are_enumerated() -> None:
    chosen = choose(PLAIN, ["a"])
    assert chosen.inputs.on(InputSide.USER) == ["a"]
    assert chosen.inputs.on(InputSide.ITEM) == ["b", "c"]
    assert chosen.inputs.on(InputSide.SHARED) == []


def from_text(inputs: str, nodes: str, user: Sequence[str], output: str = "float y") -> Chosen:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> g ({inputs}) => ({output}) {{ {nodes} }}')
    return choose_inputs(read_graph(model), user)


def test_items_by_names_of_their_own_that_must_be_as_many() -> None:
    """Paddle names the sizes of each pair of inputs that meet."""
    chosen = from_text(
        "float[P,2] u, float[Q,3] v, float[P,1] i, float[Q,1] j, float[R,4] w",
        "a = Concat<axis = 1>(u, i) b = Concat<axis = 1>(v, j) c = Concat<axis = 1>(a, b) d = Relu(w) y = Identity(c)",
        ["u", "v"],
    )
    assert sides(chosen) == {"u": "user", "v": "user", "i": "item", "j": "item", "w": "shared"}


def test_a_user_input_by_another_name_than_the_others() -> None:
    chosen = from_text(
        "float[U,2] u, float[B,2] v, float[B,3] i, float[B,1] j",
        "s = Size(u) a = Concat<axis = 1>(v, i, j) y = Identity(a)",
        ["u", "v"],
    )
    assert sides(chosen) == {"u": "user", "v": "user", "i": "item", "j": "item"}


@pytest.mark.parametrize("first", [4, 1])
def test_a_fixed_number_of_candidates_beside_an_open_length(first: int) -> None:
    chosen = choose(f"float[{first},T] u, float[{first},T] i, float[{first},3] j", ["u"])
    assert chosen.inputs.batch == (4 if first == 4 else None)
    if first == 4:
        assert chosen.inputs.axes == {"u": 0, "i": 0, "j": 0}


@pytest.mark.parametrize("name", ["B", "batch_size", "N"])
def test_candidates_behind_a_fixed_axis_that_all_have(name: str) -> None:
    """Time comes first, and is fixed."""
    chosen = choose(f"float[9,{name},2] u, float[9,{name},3] i", ["u"])
    assert chosen.inputs.axes == {"u": 1, "i": 1}


def test_two_sizes_that_may_be_that_of_the_candidates() -> None:
    with pytest.raises(UsageError, match="rows of the first axis or 'T' cannot be told"):
        choose("float[9,T,2] u, float[9,T,3] i", ["u"])


def test_a_history_without_candidates_is_a_list() -> None:
    """It may have any number of rows beside any number of candidates."""
    chosen = from_text(
        "float[T,4] u, float[B,4] i, float[B,3] j",
        "k = Transpose<perm = [1, 0]>(u) s = MatMul(i, k) v = MatMul(s, u) y = Concat<axis = 1>(v, j)",
        ["u"],
    )
    assert sides(chosen) == {"u": "shared", "i": "item", "j": "item"}
    assert chosen.repeated_inside == ()


@pytest.mark.parametrize("other", ["float[1] v", "float[3,4] v"])
def test_a_number_of_rows_does_not_say_that_the_user_has_inputs_of_both_names(other: str) -> None:
    """Beside it, the rows of the only user's input that has some would be one, and so would an output made of them."""
    chosen = from_text(
        f"float[P,4] u, float[Q,4] i, {other}",
        "y = Add(u, i) z = Neg(u) w = Mul(v, v)",
        ["u", "v"],
        "float[?,?] y, float[?,?] z, float w",
    )
    assert chosen.repeated_inside == ()
    assert sides(chosen) == {"u": "user", "i": "item", "v": "shared"}
