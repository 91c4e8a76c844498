"""A task this project did not design, to judge the learner where its own tasks might flatter it.

`gym.make("sim.external:External/FetchPush-v0")`: gymnasium-robotics' FetchPush with a sparse
reward, made plain: a flat observation, reward 1 and the end of the episode at success.

    observation  float32 (28,): 25 of the robot and the block, then the goal (3,) [m]
    action       float32 (4,) in [-1, 1]: gripper motion x, y, z, and a gripper that stays shut
    episode      60 steps at 25 Hz

It stands where `RobotEnv` over the twin would: the learner sees a `gymnasium.Env` either way.
"""

from contextlib import redirect_stderr
from dataclasses import dataclass
from enum import IntEnum
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.errors import DataError, MissingExtraError
from robot_rl.types import F32

__all__ = ["DEMO_SEEDS", "EVAL_SEEDS", "FETCH_PUSH", "Demonstration", "FetchPush", "load_demos"]

FETCH_PUSH = "External/FetchPush-v0"
EVAL_SEEDS = range(500_000, 500_100)
"""One episode each, by `env.reset(seed=s)`. Never train or choose anything on them."""
DEMO_SEEDS = range(700_000, 700_020)
"""The starts of the demonstrations, in their order."""

DEMO_FILE = Path(__file__).parent / "demos" / "fetch_push.npz"
HORIZON = 60
# A block that starts nearer to its goal could be delivered by doing nothing.
MIN_START_DISTANCE_M = 0.1


class FetchPush(gym.Env[F32, F32]):
    """FetchPush as a plain episodic task."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        """Build the simulation.

        Args:
            render_mode: None, or "rgb_array" for `render()`.

        Raises:
            MissingExtraError: gymnasium-robotics is not installed.
        """
        self.render_mode = render_mode
        self.simulation = _fetch_push(render_mode)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (28,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[F32, dict[str, Any]]:
        """Draw block and goal until they lie apart; further draws continue the seed's stream."""
        super().reset(seed=seed)
        obs, _ = self.simulation.reset(seed=seed, options=options)
        while _distance_m(obs) < MIN_START_DISTANCE_M:
            obs, _ = self.simulation.reset()
        return _flat(obs), {"is_success": False}

    def step(self, action: F32) -> tuple[F32, float, bool, bool, dict[str, Any]]:
        """One control step of 40 ms; success ends the episode with reward 1."""
        # Physics runs in float64, and so do its actions: the same numbers on every platform.
        obs, _, _, _, info = self.simulation.step(np.asarray(action, np.float64))
        success = bool(info["is_success"])
        return _flat(obs), float(success), success, False, {"is_success": success}

    def render(self) -> Any:
        """An image uint8 (480, 480, 3), if made with `render_mode="rgb_array"`."""
        return self.simulation.render()

    def close(self) -> None:
        """Release the simulation and its renderer."""
        self.simulation.close()


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstration:
    """One demonstrated episode of T steps, as plain arrays.

    Attributes:
        seed: Its start, by `env.reset(seed=seed)`.
        obs: float32 (T + 1, d), the last row after the last action.
        actions: float32 (T, a).
        rewards: float32 (T,).
        terminated: True if it ended by success, False if by the time limit.
    """

    seed: int
    obs: F32
    actions: F32
    rewards: F32
    terminated: bool


def load_demos() -> list[Demonstration]:
    """The 20 scripted demonstrations of FetchPush, recorded with action noise 0.1.

    Raises:
        DataError: The file is missing or does not hold one episode a seed.
    """
    if not DEMO_FILE.exists():
        raise DataError(f"{DEMO_FILE} is missing. Reinstall robot-rl, or restore it from git.")
    with np.load(DEMO_FILE) as file:
        data = dict(file)
    ends = data["episode_ends"]
    if len(ends) != len(DEMO_SEEDS) or ends[-1] != len(data["obs"]):
        raise DataError(
            f"{DEMO_FILE} holds {len(ends)} episodes and {len(data['obs'])} steps, but must hold "
            f"{len(DEMO_SEEDS)} and {ends[-1]}. Restore it from git."
        )
    return [
        Demonstration(
            seed=seed,
            obs=np.concatenate([data["obs"][start:end], data["final_obs"][k : k + 1]]),
            actions=data["actions"][start:end],
            rewards=data["rewards"][start:end],
            terminated=bool(data["terminated"][end - 1]),
        )
        for k, (seed, start, end) in enumerate(zip(DEMO_SEEDS, [0, *ends[:-1]], ends, strict=True))
    ]


def _fetch_push(render_mode: str | None) -> gym.Env[Any, Any]:
    try:
        with redirect_stderr(StringIO()):  # it prints a notice about hands, whoever imports it
            from gymnasium_robotics.envs.fetch.push import MujocoFetchPushEnv
            from gymnasium_robotics.utils import mujoco_utils
    except ModuleNotFoundError as error:
        raise MissingExtraError("gymnasium_robotics", "bench", FETCH_PUSH) from error
    # gymnasium-robotics 1.4.2 asks whether a joint type, a numpy integer, is in a tuple of enum
    # members. MuJoCo 4's enums no longer equal integers, so its module gets ones that do.
    joint_types = mujoco_utils.mujoco.mjtJoint.__members__.items()
    mujoco_utils.mujoco = SimpleNamespace(
        **vars(mujoco_utils.mujoco)
        | {"mjtJoint": IntEnum("mjtJoint", {name: int(value) for name, value in joint_types})}
    )
    return MujocoFetchPushEnv(reward_type="sparse", render_mode=render_mode)


def _flat(obs: dict[str, np.ndarray]) -> F32:
    return np.concatenate([obs["observation"], obs["desired_goal"]]).astype(np.float32)


def _distance_m(obs: dict[str, np.ndarray]) -> float:
    return float(np.linalg.norm(obs["achieved_goal"] - obs["desired_goal"]))


# Registration on import is how gymnasium finds a task by "module:id"; it loads nothing.
gym.register(FETCH_PUSH, entry_point="sim.external:FetchPush", max_episode_steps=HORIZON)
