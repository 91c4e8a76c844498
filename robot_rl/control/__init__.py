"""Observation assembly, action decoding and safety: pure functions between policy and robot."""
