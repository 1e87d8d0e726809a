"""Benchmarks: a model as exported, hoisted only, optimized, and what is left when the user's side costs nothing.

`run` makes the models and the inputs and starts one process (`worker`) for each number of candidates and threads, in
which all sides run in turn.
"""
