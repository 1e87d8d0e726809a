"""Whole random models, from the building blocks."""

from __future__ import annotations

import numpy as np

from tests.soundness.generate import B, Builder, Draw, Generated, Setting, Size, Value, add_input, finished
from tests.soundness.layout_blocks import FAMILIES
from tests.soundness.loop_blocks import LOOPS
from tests.soundness.ranker_blocks import RANKERS
from tests.soundness.tower_blocks import TOWERS

OPSETS = (12, 13, 17, 18, 21)


def random_model(draw: Draw) -> Generated:
    """A model of 5 to 40 nodes with user and item inputs."""
    batch = (None, None, 2, 3, 4)[draw(5)]
    # Behind a fixed number of rows, a length that all inputs share might be the number of candidates as well.
    lengths = ("known", "known", "named" if batch is None else "own", "own")[draw(4)]
    setting = Setting(batch, OPSETS[draw(len(OPSETS))], ("one", "own")[draw(2)], lengths)
    builder = Builder(draw, setting, np.random.default_rng(draw(1000)))
    _add_inputs(builder)
    wanted = 5 + draw(30)
    families = builder.pick(
        [FAMILIES, [*FAMILIES, RANKERS, RANKERS, RANKERS, LOOPS, TOWERS], [RANKERS, RANKERS, TOWERS, FAMILIES[0]]]
    )
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
    for user in (True, False):
        for _ in range(1 + builder.below(3)):
            width, steps = Size(2 + builder.below(3)), Size(2 + builder.below(2))
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
