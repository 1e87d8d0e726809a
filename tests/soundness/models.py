"""Whole random models, from the building blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.soundness.blocks import Block
from tests.soundness.field_blocks import (
    FIELDS,
    common_factors,
    dots,
    entries,
    gated_fields,
    listed_pairs,
    lookup_in_each_row,
    made_matrix,
    masked_steps,
    other_precision,
    outer_layer,
    scaled_columns,
    stacked_dots,
    stacked_ids,
)
from tests.soundness.generate import B, Builder, Draw, Generated, Setting, Size, Value, add_input, finished
from tests.soundness.head_blocks import HEADS_BEHIND, heads_behind
from tests.soundness.layout_blocks import FAMILIES
from tests.soundness.loop_blocks import LOOPS
from tests.soundness.position_blocks import (
    POSITIONS,
    cut_apart,
    extremes,
    picked_late,
    retention,
    steps,
    windows,
    written_softmax,
)
from tests.soundness.ranker_blocks import RANKERS
from tests.soundness.tower_blocks import TOWERS, tower

OPSETS = (11, 12, 13, 17, 18, 20, 21)
NAMES = ("{}_{}", "{}_{}", "/net/{}_{}/out:0", "{1} {0}.ü,*[0]")

MEETING: dict[str, list[Block]] = {
    "columns-apart": [scaled_columns],
    "common-factor": [common_factors],
    "concat-extreme": [extremes],
    "concat-lookup": [stacked_ids],
    "concat-windows": [windows],
    "continued-recurrence": [steps],
    "divided-mixing": [retention],
    "dot-sum": [dots, stacked_dots],
    "early-pick": [picked_late],
    "early-windows": [windows],
    "gated-fields": [gated_fields],
    "joined-entries": [entries],
    "lone-window": [windows],
    "made-matrix": [made_matrix],
    "masked-sum": [masked_steps],
    "narrow-columns": [scaled_columns],
    "outer-layer": [outer_layer],
    "padded-conv": [windows],
    "parted-products": [cut_apart],
    "shared-rows": [lookup_in_each_row],
    "spelled-softmax": [written_softmax],
    "split-kernel": [windows],
    "split-product": [other_precision],
    "stacked-rows": [heads_behind],
    "tower-parts": [tower],
    "user-pairs": [listed_pairs],
}
"""Building blocks that certain rules are for."""


def random_model(draw: Draw, likely: Sequence[Block] = ()) -> Generated:
    """A model of 5 to 40 nodes with user and item inputs.

    Args:
        draw: Decides everything.
        likely: Building blocks of which some occur.
    """
    batch = (None, None, 2, 3, 4)[draw(5)]
    # Behind a fixed number of rows, a length that all inputs share might be the number of candidates as well.
    lengths = ("known", "known", "named" if batch is None else "own", "own")[draw(4)]
    setting = Setting(batch, OPSETS[draw(len(OPSETS))], ("one", "own")[draw(2)], lengths, NAMES[draw(4)])
    builder = Builder(draw, setting, np.random.default_rng(draw(1000)))
    _add_inputs(builder)
    wanted = 5 + draw(30)
    families = builder.pick(
        [
            FAMILIES,
            [*FAMILIES, RANKERS, RANKERS, RANKERS, LOOPS, TOWERS, HEADS_BEHIND],
            [RANKERS, RANKERS, TOWERS, HEADS_BEHIND, FAMILIES[0]],
            [FIELDS, FIELDS, POSITIONS, POSITIONS, RANKERS, FAMILIES[0]],
        ]
    )
    for block in [builder.pick(likely) for _ in likely[:1] * (1 + draw(2))]:
        block(builder)
    for _ in range(3 * wanted):
        if len(builder.nodes) >= wanted:
            break
        builder.pick(builder.pick(families))(builder)
    return finished(builder, _outputs(builder))


def _outputs(builder: Builder) -> list[Value]:
    """Most of what nothing reads, so that little is dead, and some of what is read; now and then an input."""
    read = {name for node in builder.nodes for name in node.input}
    made = builder.values[len(builder.inputs) :]
    if not made:
        made = [builder.node("Identity", [builder.inputs[0].value], builder.inputs[0].value)]
    chosen = [v for v in made if v.name not in read and not builder.chance(4)][-6:] or made[-1:]
    if builder.chance():
        chosen.append(builder.pick(made))
    if builder.chance(8):
        chosen.append(builder.pick([i.value for i in builder.inputs if i.columns is None]))
    return list({v.name: v for v in chosen}.values())


def _add_inputs(builder: Builder) -> None:
    """Several of each side; the widths are few, so that sizes coincide, with the number of candidates as well."""
    # A size that is not declared may be 1, and then broadcasts.
    least = 2 if builder.setting.lengths == "known" else 1
    for user in (True, False):
        for _ in range(1 + builder.below(3)):
            width, steps = Size(least + builder.below(3)), Size(least + builder.below(2))
            kind = builder.pick(["float", "float", "int"])
            shapes = [[B, width], [B, width], [B, steps, width], [B], [B, steps]]
            # Where sizes are open, the candidates come first, or nobody could tell which they are.
            setting = builder.setting
            movable = setting.batch is None and setting.symbols == "one" and setting.lengths == "known"
            moved = movable and builder.chance(4)
            add_input(builder, [steps, B, width] if moved else builder.pick(shapes), kind, user)
    if builder.chance(4):
        width = 2 + builder.below(4)
        columns = sorted({builder.below(width) for _ in range(2)})
        if len(columns) < width:
            add_input(builder, [B, Size(width)], "float", user=False, columns=columns)
