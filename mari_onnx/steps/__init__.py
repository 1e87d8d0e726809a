"""Loops whose steps have nothing to do with one another, written out for all steps at once.

Exporters write a bag of embeddings as a Loop over the rows of the request: each step cuts its own ids out of one long
list, looks them up and adds them up. For all rows at once that is a Gather and a ReduceSum, which the analysis can
follow candidate by candidate. The idea is that of automatic batching (``jax.vmap``): a body is read once, with what a
step sees of each value as an axis in front.
"""

from mari_onnx.steps.loops import run_at_once

__all__ = ["run_at_once"]
