"""Which rewrite made a result wrong: the rewrites are replayed, up to one more or less, until it is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mari_onnx.errors import MariError
from mari_onnx.load import Loaded, ModelLike
from mari_onnx.rewrite.registry import AnyRule

if TYPE_CHECKING:
    from mari_onnx.options import Options
    from mari_onnx.pipeline import Built


def guilty_rewrite(source: ModelLike, loaded: Loaded, options: Options, built: Built) -> str:
    """Names the first rewrite after which the model is wrong, and what to do.

    Args:
        source: The original.
        loaded: The same, as read.
        options: As in the run that failed.
        built: Its result.
    """
    done = built.rewritten
    rules, afterwards = done.rules, done.afterwards

    def is_right(limit: int | None, used: Sequence[AnyRule] = rules) -> bool:
        from mari_onnx.pipeline import build, check

        try:
            again = build(loaded, options, used, limit, afterwards=afterwards, less=done.less)
            return check(source, again, options).passed
        except MariError:
            return False

    steps = done.applied[-1].step if done.applied else 0
    if not is_right(0):
        return "it is wrong before any rule is applied, in the hoist"
    right, wrong = 0, steps
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if is_right(middle):
            right = middle
        else:
            wrong = middle
    guilty = [a for a in done.applied if a.step == wrong]
    if not guilty:
        return "no single rewrite is to blame"
    # A rewrite is kept with all that it led to: the guilty rule is the one without which the result is right.
    for name in dict.fromkeys(a.rule for a in guilty):
        if is_right(None, [r for r in afterwards or rules if r.name != name]):
            first = next(a for a in guilty if a.rule == name)
            return f"the rewrite that does it is '{name}' at {first.node}; leave it out with --disable {name}"
    names = ",".join(dict.fromkeys(a.rule for a in guilty))
    return f"it goes wrong with the rewrites at {guilty[0].node}; leave them out with --disable {names}"
