"""What a learner has found best, as a policy that can be saved, evaluated and built upon.

learning:  … → residual agent → **weights → policy**
"""

from robot_rl.errors import ConfigError
from robot_rl.learn.residual import ResidualLearner
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.residual import ResidualPolicy

__all__ = ["policy_of"]


def policy_of(learner: ResidualLearner, name: str) -> BasePolicy:
    """The candidate `name` as it is deployed: its actions are those of the learner's driver.

    Raises:
        ConfigError: The learner has no such candidate (yet).
    """
    if name == "base" and learner.has_base:
        return learner.base
    if name == "residual":
        base = learner.anchor if learner.has_base else None
        return ResidualPolicy(base, learner.td3)
    if name in ("imitation", "chosen") and learner.imitation is not None:
        if name == "imitation":
            return learner.imitation
        return learner.chooser.policy(learner.imitation, explore=False)
    raise ConfigError(
        f"there is no candidate '{name}' to deploy; the learner has {learner.cfg.candidates}."
    )
