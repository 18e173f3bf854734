"""Reproducible measurements, side by side with peers in the same run. They speak the public API or HTTP."""
