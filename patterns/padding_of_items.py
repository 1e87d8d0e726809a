"""Rows of padding where one mask tells of the user's tokens and of the items' own::

    Softmax( Where(causal and [u, i], s, lowest) )   ->   Softmax( Where(causal and [u, i], s, c) )
                                                          c = -inf where causal cuts items off, lowest elsewhere

    softmax([s, low]) = softmax([s, -inf]), where [u, i] tell which s there are

As in :mod:`mari_onnx.patterns.padding_rows`, which proves that nobody reads the rows that change, whatever the mask of
a candidate is: nothing in that proof asks that it is the same for all. But the new mask has an entry for each
candidate, query and key, as the old one had, and that one stays until no layer reads it any more. So one layer alone
never pays, and all of them do where the user's tokens run once behind it; results with this rule and without it are
compared.
"""

from __future__ import annotations

from mari_onnx.patterns._gates import Gate
from mari_onnx.patterns.padding_rows import Masking, PaddingRows
from mari_onnx.rewrite.rule import Phase, Refusal
from mari_onnx.rewrite.workspace import Workspace


class PaddingOfItems(PaddingRows):
    """Masks with minus infinity what rows of padding would see of items that have padding of their own."""

    name = "padding-of-items"
    algebra = "softmax([s, low]) = softmax([s, -inf]), where [u, i] tell which s there are"
    phases = Phase.OPENING
    rival = True

    def chosen(self, gate: Gate, found: Masking | Refusal | None, at: Workspace) -> Masking | Refusal | None:
        """Gates of the user's tokens alone are for the other rule."""
        return None if at.is_once(gate.value) else found
