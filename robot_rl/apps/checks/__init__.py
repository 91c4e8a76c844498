"""What `robot-rl doctor` looks at: one module a subject, each with `check() -> list[Finding]`."""
