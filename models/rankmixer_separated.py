"""RankMixer trained with user-group separation: what mixing brings from items into user tokens is multiplied by 0.

Idiom: a constant mask of zeros and ones [T, d] after the mixing; with it the user's tokens depend on the user alone
through all layers, though each layer moves columns between all tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.rankmixer import Block, Config, RankMixer, inputs

OUTPUTS = ("score",)

__all__ = ["OUTPUTS", "Config", "build", "inputs"]


class SeparatedBlock(Block):
    """A block whose first tokens take nothing from the later ones."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        cut = (config.user_width + config.item_width) // config.tokens
        users, head = config.user_width // cut, config.token // config.tokens
        mask = torch.ones(config.tokens, config.token)
        mask[:users, users * head :] = 0.0
        self.register_buffer("mask", mask)

    def mix(self, x: Tensor) -> Tensor:
        return super().mix(x) * self.mask


class SeparatedRankMixer(RankMixer):
    """Score in (0, 1), shape [B]."""

    def block(self, config: Config) -> nn.Module:
        return SeparatedBlock(config)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return SeparatedRankMixer(config)
