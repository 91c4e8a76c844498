"""robot_rl: residual off-policy RL that takes a robot skill from half to nearly always.

Importing this package does nothing and loads nothing heavy; take what you need from its rooms:
`env` (a robot as a gymnasium environment), `control` (decode, safety), `policy`, `replay`,
`reward`, `learn`, `teleop` and `apps` (the `robot-rl` verbs).
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
