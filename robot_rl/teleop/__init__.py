"""Devices, what a hand means to the robot, the recording session and its quality gate."""
