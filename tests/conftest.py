"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

# Every run draws the same examples, so a red test is red for everybody. Building a graph and two ONNX Runtime
# sessions takes a while on a busy machine: slowness is no reason to fail.
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# `make fuzz`: many examples, others each time. What fails is kept and tried first next time; the place has to be
# named, since derandomize, set in the parent, switches it off.
settings.register_profile(
    "fuzz",
    settings.get_profile("ci"),
    derandomize=False,
    max_examples=2000,
    database=DirectoryBasedExampleDatabase(".hypothesis/examples"),
)

settings.load_profile("ci")  # --hypothesis-profile=NAME comes later and wins
