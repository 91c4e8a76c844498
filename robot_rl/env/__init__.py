"""A robot, real or twin, as a gymnasium environment."""
