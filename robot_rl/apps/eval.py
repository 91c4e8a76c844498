"""`robot-rl eval`: how often a policy succeeds on given seeds, episode by episode."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from robot_rl.apps.ports import PortCfg, PortName, make_env
from robot_rl.apps.spectator import Spectator
from robot_rl.apps.summary import environment_of
from robot_rl.config import write_atomically
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.learn.progress import Progress
from robot_rl.learn.record import RunRecord
from robot_rl.learn.statistics import wilson

__all__ = ["Cfg", "Episode", "episode_table", "find_policy", "main"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl eval`."""

    policy: Annotated[Path, tyro.conf.Positional]
    """Folder of a saved policy, or of a run (whose policy is taken)."""
    env: str = ""
    """Task, or gym:<id> (default: that of the run)."""
    port: PortName = "sim"
    """Act in the twin, or by the robot (or twin) on the ROS graph."""
    ros: PortCfg = field(default_factory=PortCfg)
    """Which robot on the graph."""
    episodes: int = 100
    """How many of the task's frozen evaluation seeds."""
    seeds: tuple[int, ...] = ()
    """These seeds instead."""
    videos: int = 0
    """Record the first so many episodes."""
    out: Path | None = None
    """Folder for result.json and videos (default: none, or the run's for its videos)."""

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if self.episodes < 1 or self.videos < 0:
            raise ConfigError(
                f"episodes is {self.episodes} and videos {self.videos}, "
                "but must be at least 1 and 0."
            )
        if self.port == "ros" and self.videos:
            raise ConfigError(
                f"videos is {self.videos}, but a robot does not act for a film: give --videos 0."
            )


@dataclass(frozen=True, kw_only=True)
class Episode:
    """How an episode ended."""

    seed: int
    success: bool
    length: int
    total_reward: float


def main(cfg: Cfg) -> int:
    """Run the episodes, print each and the rate."""
    folder, env_name = find_policy(cfg.policy, cfg.env)
    Spectator.choose_renderer()
    from robot_rl.apps.threads import use_one_thread

    use_one_thread()
    from robot_rl.apps.envs import eval_seeds
    from robot_rl.apps.film import explain_by, film
    from robot_rl.learn.rollout import PolicyDriver, run_episode
    from robot_rl.policy.residual import ResidualPolicy
    from robot_rl.policy.saved import load_policy

    policy = load_policy(folder)
    driver = PolicyDriver(policy)
    base, explain = None, None
    if isinstance(policy, ResidualPolicy):
        base, explain = policy.base, explain_by(policy.actor)
    seeds = cfg.seeds or tuple(eval_seeds(env_name)[: cfg.episodes])
    out = cfg.out or cfg.policy
    render_mode = "rgb_array" if cfg.videos else None
    env = make_env(env_name, cfg.port, cfg.ros, render_mode=render_mode)
    try:
        done: list[Episode] = []
        with Progress("eval", len(seeds)) as progress:
            for seed in seeds:
                episode = run_episode(env, driver, None, seed=seed)
                done.append(
                    Episode(
                        seed=seed,
                        success=bool(episode.success),
                        length=len(episode),
                        total_reward=float(episode.reward.sum()),
                    )
                )
                progress.update(len(done), success=sum(e.success for e in done) / len(done))
        if cfg.videos:
            film(env, driver, base, seeds[: cfg.videos], out / "videos", explain=explain)
    finally:
        env.close()
    print(episode_table(done))
    if cfg.out is not None:
        cfg.out.mkdir(parents=True, exist_ok=True)
        result = {"policy": str(folder), "env": env_name, "episodes": [asdict(e) for e in done]}
        write_atomically(cfg.out / "result.json", json.dumps(result, indent=2) + "\n")
        print(f"result: {cfg.out / 'result.json'}")
    if cfg.videos:
        print(f"videos: {out / 'videos'}")
    return 0


def find_policy(path: Path, env_name: str) -> tuple[Path, str]:
    """The folder of the saved policy that `path` means, and the environment to run it in.

    Raises:
        CheckpointError: There is no policy.
        ConfigError: The environment is not known.
    """
    folder = next((f for f in (path, path / "policy") if (f / "policy.json").exists()), None)
    if folder is None:
        raise CheckpointError(
            f"{path} holds no policy (no policy.json, no policy/policy.json). Give the folder "
            "that robot-rl bc wrote, or a run that has saved its policy."
        )
    if not env_name and (path / "config.json").exists():
        env_name = environment_of(RunRecord.read(path).config)
    if not env_name:
        raise ConfigError(f"{path} does not say its environment. Give it: --env peg, for one.")
    return folder, env_name


def episode_table(episodes: Sequence[Episode]) -> str:
    """The episodes as text, and the rate with its interval as the last line."""
    lines = [f"{'seed':>8}  {'outcome':<8}  {'steps':>5}  {'reward':>8}"]
    lines += [
        f"{e.seed:>8}  {'success' if e.success else 'failure':<8}  {e.length:>5}  "
        f"{e.total_reward:>8.2f}"
        for e in episodes
    ]
    good = sum(e.success for e in episodes)
    around = wilson(good, len(episodes))
    mean_length = sum(e.length for e in episodes) / max(len(episodes), 1)
    lines.append(
        f"success {around.mean:.2f} ({around.low:.2f} to {around.high:.2f}), "
        f"{good} of {len(episodes)} episodes, {mean_length:.0f} steps each"
    )
    return "\n".join(lines)
