"""Prices of the machine at hand, from a short benchmark of single operators."""

from mari_onnx.calibration.cache import cached_prices, machine_prices
from mari_onnx.calibration.fit import PRICES, Calibration, calibrate

__all__ = ["PRICES", "Calibration", "cached_prices", "calibrate", "machine_prices"]
