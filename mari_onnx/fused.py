"""What ONNX Runtime fuses by itself, which a rewrite must not stand in the way of."""

from __future__ import annotations

FUSED_ACTIVATIONS = frozenset(
    {"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
)
"""What it applies to the result of a Gemm in the same operator, where it follows at once."""
