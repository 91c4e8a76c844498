"""The `robot-rl` verbs: the only place that knows everything."""
