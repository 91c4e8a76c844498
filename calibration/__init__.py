"""Calibration: intrinsics, hand-eye, joints, latency, and their versioned results."""
