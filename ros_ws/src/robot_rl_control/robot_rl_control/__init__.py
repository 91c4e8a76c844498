"""The arm bridge and the ROS graph as a `RobotPort`."""
