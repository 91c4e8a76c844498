"""Teleoperation devices on the ROS graph, and the recorder of demonstrations."""
