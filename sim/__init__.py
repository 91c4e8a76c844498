"""The MuJoCo twin of the robot."""
