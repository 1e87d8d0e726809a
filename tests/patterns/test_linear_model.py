"""L(x; W, c) = x W + c."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply, rule_named

RULES = [rule_named("linear-model"), rule_named("split-product")]
TEXT = """score (float[B,40] user, float[B,2] item) => ({result}) {{
    x = Concat<axis = 1>(item, user)
    {node}(x)
}}"""
TWO = ", ".join(str(float(k % 7 - 3)) for k in range(84))
THREE = ", ".join(str(float(k % 5 - 2)) for k in range(126))


def text(node: str, result: str = "int64[B] label, float[B,2] y") -> str:
    return TEXT.format(node=node, result=result)


def regressor(more: str = "", weight: str = TWO) -> str:
    node = f"y = ai.onnx.ml.LinearRegressor<targets = 2, coefficients = [{weight}]{more}>"
    return text(node, "float[B,2] y")


def classifier(more: str, weight: str = TWO, result: str = "int64[B] label, float[B,2] y") -> str:
    return text(f"label, y = ai.onnx.ml.LinearClassifier<coefficients = [{weight}], {more}>", result)


@pytest.mark.parametrize("more", ["", ", intercepts = [3.0, -2.0]", ', post_transform = "NONE"'])
def test_a_regression_is_a_product_that_splits(more: str) -> None:
    outcome = apply(RULES, regressor(more))
    assert outcome.times == 2
    assert not outcome.of("LinearRegressor")
    assert len(outcome.of("Gemm")) + len(outcome.of("MatMul")) == 2


def test_so_is_a_classifier_whose_labels_are_the_numbers_of_the_largest_scores() -> None:
    outcome = apply(RULES, classifier("intercepts = [3.0, -2.0], classlabels_ints = [7, -3]"))
    assert outcome.times == 2
    assert outcome.of("ArgMax")
    assert not outcome.of("LinearClassifier")


@pytest.mark.parametrize("after", ["LOGISTIC", "SOFTMAX"])
def test_scores_become_probabilities(after: str) -> None:
    more = f'intercepts = [1.0, 0.0, 2.0], classlabels_ints = [0, 1, 2], post_transform = "{after}"'
    outcome = apply(RULES, classifier(more, THREE, "int64[B] label, float[B,3] y"), exact=False)
    assert outcome.times == 2
    assert outcome.of("Sigmoid" if after == "LOGISTIC" else "Softmax")


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(regressor(', post_transform = "SOFTMAX"'), id="a regression is not made a share"),
        pytest.param(
            classifier('intercepts = [0.0, 1.0], classlabels_ints = [0, 1], post_transform = "SOFTMAX_ZERO"'),
            id="zeros stay zeros",
        ),
        pytest.param(
            classifier("intercepts = [3.0], classlabels_ints = [0, 1]", ", ".join(["1.0"] * 42)),
            id="one score for two labels",
        ),
        pytest.param(
            classifier(
                'intercepts = [0.0, 1.0], classlabels_strings = ["a", "b"]', result="string[B] label, float[B,2] y"
            ),
            id="labels in words",
        ),
        pytest.param(
            regressor().replace("(item, user)", "(item, item2)").replace("[B,40] user", "[B,40] item2"),
            id="nothing of the user's",
        ),
    ],
)
def test_what_stays(model: str) -> None:
    assert apply(RULES, model).times == 0
