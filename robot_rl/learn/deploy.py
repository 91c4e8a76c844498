"""What a learner has found best, as a policy that can be saved, evaluated and built upon.

learning:  … → residual agent → **weights → policy**
"""

from robot_rl.learn.residual import ResidualLearner
from robot_rl.learn.rollout import PolicyDriver
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.residual import ResidualPolicy

__all__ = ["policy_of"]


def policy_of(learner: ResidualLearner, name: str) -> BasePolicy:
    """The candidate `name` as it is deployed: its actions are those of the learner's driver."""
    driver = learner.driver(name, explore=False)
    if isinstance(driver, PolicyDriver):
        return driver.policy
    return ResidualPolicy(learner.anchor if learner.has_base else None, learner.agent)
