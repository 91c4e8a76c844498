"""The twin as a node: what stands in for a robot's driver and cameras."""
