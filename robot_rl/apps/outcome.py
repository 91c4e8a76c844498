"""What a finished run leaves for people: the deployed policy, a few videos and the report."""

import gymnasium as gym

from robot_rl.apps.envs import eval_seeds, make_env
from robot_rl.apps.film import Explain, film
from robot_rl.apps.report import write_report
from robot_rl.apps.summary import summarize
from robot_rl.env.features import FeatureObservation
from robot_rl.errors import CheckpointError, RobotRLError
from robot_rl.learn.candidates import Candidates
from robot_rl.learn.deploy import policy_of
from robot_rl.learn.record import RunRecord
from robot_rl.learn.run import RunFolder
from robot_rl.policy.base import Observation
from robot_rl.policy.eyes import Eyes, SeeingPolicy
from robot_rl.policy.normalise import state_vector
from robot_rl.policy.saved import save_policy
from robot_rl.types import F32

__all__ = ["finish"]

NO_PICTURES = (RobotRLError, gym.error.Error, ImportError, RuntimeError, OSError, AttributeError)
"""What renderers raise on machines that have no OpenGL, or for environments without pictures."""


def finish(
    candidates: Candidates,
    run: RunFolder,
    env_name: str,
    *,
    step: int,
    videos: int,
    eyes: Eyes | None = None,
) -> str:
    """Save the deployed policy, film it, write the report; returns what to tell the user.

    A policy that cannot be saved or filmed is no reason to lose a run: then a line says why.
    """
    name, lines = candidates.deployed(), []
    try:
        policy = policy_of(candidates, name)
        policy = policy if eyes is None else SeeingPolicy(eyes, policy)
        lines.append(f"policy: {save_policy(policy, run.path / 'policy')}")
    except CheckpointError as error:
        lines.append(f"the policy was not saved: {error}")
    summary = summarize(RunRecord.read(run.path))
    run.finish(
        {
            "policy": name,
            "base": summary.base.mean if summary.base else None,
            "final": summary.final.mean if summary.final else None,
            "steps": summary.steps,
        }
    )
    if videos:
        try:
            _film(candidates, name, run, env_name, step, videos, eyes)
        except NO_PICTURES as error:
            lines.append(f"no videos: {error}")
    report = write_report(run.path)
    return "\n".join([*lines, f"{summary.headline()}, report: {report}"])


def _film(
    candidates: Candidates,
    name: str,
    run: RunFolder,
    env_name: str,
    step: int,
    count: int,
    eyes: Eyes | None,
) -> None:
    """Film the deployed candidate, with the critic's value and the residual."""
    env = make_env(env_name, render_mode="rgb_array")
    env = env if eyes is None else FeatureObservation(env, eyes)
    try:
        film(
            env,
            candidates.driver(name, explore=False),
            candidates.anchor,
            eval_seeds(env_name)[:count],
            run.path / "videos",
            policy=name,
            step=step,
            explain=_explain(candidates, name),
        )
    finally:
        env.close()


def _explain(candidates: Candidates, name: str) -> Explain | None:
    """The step critic's view of an action; None where it was not learned."""
    if "residual" not in candidates.cfg.candidates:
        return None
    agent = candidates.agent

    def explain(
        obs: Observation, base: F32, phase: float, action: F32
    ) -> tuple[float | None, F32 | None]:
        state = state_vector(obs, agent.norm.state_dim)
        value = float(agent.value(state[None], base[None], phase, action[None])[0])
        return value, agent.share(base, action) if name == "residual" else None

    return explain
