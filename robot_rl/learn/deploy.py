"""What a learner has found best, as a policy that can be saved, evaluated and built upon.

learning:  … → residual agent → **weights → policy**
"""

from robot_rl.learn.candidates import Candidates
from robot_rl.learn.rollout import PolicyDriver
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.residual import ResidualPolicy

__all__ = ["policy_of"]


def policy_of(candidates: Candidates, name: str) -> BasePolicy:
    """The candidate `name` as it is deployed: its actions are those of its driver."""
    driver = candidates.driver(name, explore=False)
    if isinstance(driver, PolicyDriver):
        return driver.policy
    return ResidualPolicy(candidates.anchor if candidates.has_base else None, candidates.agent)
