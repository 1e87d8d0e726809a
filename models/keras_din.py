"""DIN (Zhou et al., 2018) in Keras, as tf2onnx writes it.

Idiom: every input has a batch name of its own; ids are [B, 1] and pass a Cast; the candidate is tiled along the
history; a Dense layer on [B, T, d] becomes a Reshape to [B * T, d], a MatMul and a Reshape back; Dice is a
BatchNormalization and a Sigmoid between the layers of the attention network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from models._features import Feature, Inputs, dense, history, history_length, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 40
    cates: int = 20
    width: int = 8
    steps: int = 10
    user_numbers: int = 16
    attention: tuple[int, ...] = (24, 12)
    hidden: tuple[int, ...] = (40, 20)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 200 steps, each 128 wide, and 1,000 numbers of the user."""
        return cls(
            rows=20_000,
            cates=1_000,
            width=64,
            steps=200,
            user_numbers=1_000,
            attention=(80, 40),
            hidden=(512, 256, 128),
        )


def inputs(config: Config) -> Inputs:
    """The inputs; the model takes them by name."""
    return (
        ids("user_id", config.rows, 1),
        dense("user_stats", config.user_numbers),
        history("user_hist_item", config.rows, config.steps),
        history("user_hist_cate", config.cates, config.steps),
        history_length("user_hist_len", config.steps),
        ids("ctx_hour", 24, 1),
        ids("item_id", config.rows, 1),
        ids("item_cate", config.cates, 1),
    )


class Dice(layers.Layer):
    """x where it is likely to be large, alpha x elsewhere, with a smooth step between."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.norm = layers.BatchNormalization(center=False, scale=False)
        self.alpha = self.add_weight(shape=(shape[-1],), initializer="zeros", name="alpha")

    def call(self, x: Any) -> Any:
        likely = ops.sigmoid(self.norm(x))
        return likely * x + (1.0 - likely) * self.alpha * x


class TargetAttention(layers.Layer):
    """Weigh the steps of a history [B, T, d] by what they mean to one candidate [B, 1, d]."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.deep = [layer for size in hidden for layer in (layers.Dense(size), Dice())]
        self.score = layers.Dense(1)

    def call(self, query: Any, keys: Any, length: Any) -> Any:
        wide = ops.tile(query, (1, keys.shape[1], 1))
        x = ops.concatenate([wide, keys, wide - keys, wide * keys], axis=-1)
        for layer in self.deep:
            x = layer(x)
        score = ops.transpose(self.score(x), (0, 2, 1))
        present = ops.arange(keys.shape[1], dtype=length.dtype) < ops.reshape(length, (-1, 1, 1))
        weight = ops.softmax(ops.where(present, score, -1e9), axis=-1)
        return ops.matmul(weight, keys)


def build(config: Config) -> keras.Model:
    """The model with fresh weights: score in (0, 1), shape [B, 1]."""
    given = {f.name: keras.Input(f.shape, dtype=f.dtype, name=f.name) for f in inputs(config) if isinstance(f, Feature)}
    items = layers.Embedding(config.rows, config.width)
    cates = layers.Embedding(config.cates, config.width)
    query = ops.concatenate([items(given["item_id"]), cates(given["item_cate"])], axis=-1)
    keys = ops.concatenate([items(given["user_hist_item"]), cates(given["user_hist_cate"])], axis=-1)
    columns = [
        layers.Embedding(config.rows, config.width)(given["user_id"]),
        TargetAttention(config.attention)(query, keys, given["user_hist_len"]),
        query,
        layers.Embedding(24, config.width)(given["ctx_hour"]),
    ]
    x = ops.concatenate([layers.Flatten()(ops.concatenate(columns, axis=-1)), given["user_stats"]], axis=-1)
    x = layers.BatchNormalization()(x)
    for size in config.hidden:
        x = layers.Dense(size, activation="relu")(x)
    return keras.Model(given, layers.Dense(1, activation="sigmoid")(x))
