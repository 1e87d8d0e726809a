"""The benchmark suite: `python -m models.suite FOLDER` times exports of industrial size and the studies.

What was measured goes to docs/benchmarks.md, plots and plain numbers to docs/benchmarks/. Sections that are not run
this time keep their last figures.
"""
