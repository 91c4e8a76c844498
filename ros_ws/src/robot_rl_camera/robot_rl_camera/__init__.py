"""Cameras on the ROS graph."""
