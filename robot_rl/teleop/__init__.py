"""Devices and the recording session."""
