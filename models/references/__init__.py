"""Graphs written by hand for four of the architectures, as a yardstick: what could a person make of the same export?

Each takes the weights of an export, the user's features once and the items' B times, and gives the same scores. No
rule of the package has a part in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from models.catalog import Exported
from models.references import dcnv2, din, dlrm, mmoe

Build = Callable[[Exported], onnx.ModelProto]

REFERENCES: Mapping[str, Mapping[str, Build]] = {
    "din_dyn": {"weights per item": din.build, "padding cut off": din.build_without_padding},
    "dcnv2_dyn": {"wide": dcnv2.build, "behind the rank": dcnv2.build_behind_the_rank},
    "dlrm_dyn": {"dots": dlrm.build},
    "mmoe_dyn": {"one product": mmoe.build},
}
"""By the name of the export, what it can be built as; which is faster can depend on the number of candidates."""
