"""The main algorithm: a frozen base, and what is learned on top of it, trusted as far as it worked.

learning:  transition → episode store → progress model → replay → **residual agent** → weights → policy

A base works half the time. Four candidates may act, and each is trusted by what it did on the env:

    base        the frozen policy, as it came
    imitation   the base's ensemble fitted again on demonstrations and own successes
    chosen      of the imitation's proposals, the one that a critic of whole chunks prefers
    residual    the imitation plus a TD3 residual, whose scale grows while it does no harm

Everyone learns from everyone's episodes. Read downwards: the configuration, one run of the loop
(`ResidualLearner.train`), who acts, what is learned, how far the residual may go, evaluation,
saving. Baselines are configurations of the same loop (`BASELINES`), not other files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.checkpoint import (
    load_latest,
    numpy_rng_state,
    restore_numpy_rng,
    save_checkpoint,
)
from robot_rl.learn.chooser import Chooser, ChooserCfg
from robot_rl.learn.evidence import Evidence
from robot_rl.learn.progress import Progress
from robot_rl.learn.relabel import relabel
from robot_rl.learn.rollout import Driver, NoisyDriver, PolicyDriver, run_episode
from robot_rl.learn.run import RunFolder
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.policy.base import BasePolicy, Observation, ZeroBase
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.replay.buffer import Batch, TransitionBuffer
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32

__all__ = ["BASELINES", "CANDIDATES", "ResidualCfg", "ResidualLearner", "baseline"]

CANDIDATES = ("base", "imitation", "chosen", "residual")
Env = gymnasium.Env[Any, Any]
Evaluate = Callable[[int, str, Driver, BasePolicy], float]


@dataclass(frozen=True, kw_only=True)
class ResidualCfg:
    """What is learned on top of a base, and how. The defaults are the one preset for all tasks."""

    steps: int = 15_000
    """Environment steps, warm-up included."""
    seed: int = 0
    """Of networks, exploration, batches and training starts."""
    candidates: tuple[str, ...] = CANDIDATES
    """Who may act, of base, imitation, chosen, residual."""
    always: str | None = None
    """Let this candidate act in every episode after the warm-up, instead of by evidence."""
    warmup_steps: int = 2_000
    """Steps driven by the base (every other episode with noise) before learning starts."""
    warmup_updates: int = 2_000
    """Critic-only updates at the end of the warm-up."""
    warmup_noise: float = 0.2
    """Uniform noise of the warm-up, in shares of the demonstrated action range."""
    noise: float = 0.05
    """Gaussian noise on imitation and chosen while they collect, in the same shares."""
    n_step: int = 3
    """Steps of return before the step critic bootstraps."""
    discount: float = 0.99
    """Discount a step."""
    utd: float = 4.0
    """Updates of the step critic for each environment step."""
    chunk_utd: float = 2.0
    """Updates of the chunk critic for each environment step."""
    batch: int = 128
    """Transitions in a batch."""
    demo_fraction: float = 0.5
    """Share of demonstrations in a batch of the step critic."""
    chunk_demo_fraction: float = 0.25
    """Share of demonstrations in a batch of the chunk critic."""
    scale: float = 0.1
    """Scale of the residual at the start, in halves of the demonstrated action range."""
    max_scale: float = 0.8
    """Largest scale that evidence may grow the residual to."""
    refresh_every: int = 2_500
    """Steps between fits of the imitation."""
    refresh: BCCfg = field(default_factory=lambda: BCCfg(steps=1_000))
    """How the imitation is fitted."""
    memory: float = 40.0
    """Episodes after which one counts 1/e as evidence of a candidate that learns."""
    td3: TD3Cfg = field(default_factory=TD3Cfg)
    """The residual agent."""
    chooser: ChooserCfg = field(default_factory=ChooserCfg)
    """The chunk critic."""
    sparse: bool = True
    """The reward is 0 but for a 1 at the end, so that values lie in [0, 1]."""
    eval_every: int = 2_500
    """Steps between evaluations of the deployed candidate; 0 for none but the first and last."""
    checkpoint_every: int = 2_500
    """Steps between checkpoints (at the next end of an episode); 0 for none."""

    def __post_init__(self) -> None:
        """Refuse unknown candidates and values that cannot be run."""
        unknown = set(self.candidates) - set(CANDIDATES)
        if unknown or not self.candidates:
            raise ConfigError(f"candidates {self.candidates} must be some of {CANDIDATES}.")
        if self.always is not None and self.always not in self.candidates:
            raise ConfigError(f"always is '{self.always}', but must be one of {self.candidates}.")
        if not (0 <= self.demo_fraction <= 1 and 0 <= self.chunk_demo_fraction <= 1):
            raise ConfigError("demo_fraction and chunk_demo_fraction must be in [0, 1].")
        if not 0 < self.scale <= self.max_scale:
            raise ConfigError(f"scale {self.scale} must be in (0, max_scale {self.max_scale}].")
        if min(self.steps, self.warmup_steps, self.batch, self.refresh_every) < 1:
            raise ConfigError("steps, warmup_steps, batch and refresh_every must be at least 1.")


BASELINES: Mapping[str, Mapping[str, Any]] = {
    "ours": {},
    "fast": {"candidates": ("base", "residual"), "always": "residual", "scale": 0.4},
    "base": {"candidates": ("base",), "always": "base"},
    "filtered-bc": {"candidates": ("base", "imitation"), "always": "imitation"},
    "rlpd": {
        "candidates": ("residual",),
        "always": "residual",
        "scale": 1.0,
        "max_scale": 1.0,
        "td3": TD3Cfg(add_base=False, zero_init=False, noise=0.1, target_noise=0.1, tau=0.01),
    },
    "td3": {
        "candidates": ("residual",),
        "always": "residual",
        "scale": 1.0,
        "max_scale": 1.0,
        "demo_fraction": 0.0,
        "td3": TD3Cfg(add_base=False, zero_init=False, noise=0.1, target_noise=0.1),
    },
    "ibrl": {
        "candidates": ("base", "residual"),
        "always": "residual",
        "scale": 1.0,
        "max_scale": 1.0,
        "td3": TD3Cfg(add_base=False, choose=True, zero_init=False, noise=0.1, target_noise=0.1),
    },
}
"""Other methods as changes of `ResidualCfg`. "rlpd" and "td3" use no base; "td3" no demonstrations."""


def baseline(name: str, cfg: ResidualCfg) -> ResidualCfg:
    """`cfg` with the changes that make it the method `name`.

    Raises:
        ConfigError: No such method.
    """
    if name not in BASELINES:
        raise ConfigError(f"unknown method '{name}'. Available: {', '.join(sorted(BASELINES))}.")
    return replace(cfg, **BASELINES[name])


class ResidualLearner:
    """Learns on one env. `train` runs to the end; after kill -9, a new one goes on to the same end.

    Args:
        cfg: The configuration.
        env: Any env with Box or Dict("state", ...) observations and Box(-1, 1) actions.
        base: The frozen base, or None to learn without one.
        demos: Demonstrations; may be empty.
        run: Where logs and checkpoints go; None keeps nothing.
        evaluate: Runs a candidate on evaluation seeds and returns its success; called as
            `evaluate(step, name, driver, anchor)`, where the anchor is the episode's base.
    """

    def __init__(
        self,
        cfg: ResidualCfg,
        env: Env,
        base: BasePolicy | None,
        demos: Sequence[Trajectory],
        *,
        run: RunFolder | None = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.cfg, self.env, self.run, self._evaluate = cfg, env, run, evaluate
        shape = env.action_space.shape
        assert shape is not None  # Box
        if base is None and "residual" not in cfg.candidates:
            raise ConfigError(f"candidates {cfg.candidates} need a base; give one, or 'residual'.")
        self.base: BasePolicy = base or ZeroBase(shape[0])
        self.has_base = base is not None
        self.demos = [relabel(self.base, demo) for demo in demos]
        self.norm = _normaliser(self.demos, env)
        self.imitation = base if isinstance(base, ChunkEnsemble) else None
        self.chunk = self.base.chunk
        self.rng = np.random.default_rng(cfg.seed)
        self.evidence = Evidence(cfg.candidates, memory=cfg.memory)
        self.td3 = TD3(cfg.td3, self.norm, scale=cfg.scale, seed=cfg.seed * 7919 + 1)
        self.chooser = Chooser(cfg.chooser, self.norm, chunk=self.chunk, seed=cfg.seed * 7919 + 3)
        if cfg.sparse:
            self.td3.bounds = (0.0, 1.0)
        dims = {"state_dim": self.norm.state_dim, "action_dim": shape[0]}
        returns = {"n_step": cfg.n_step, "discount": cfg.discount}
        longest = 2 * cfg.steps + 10_000  # the last rows of episodes, and the last episode
        self.online = TransitionBuffer(longest, **dims, **returns)
        rows = sum(len(demo) + 1 for demo in self.demos)
        self.offline = TransitionBuffer(max(rows, 1), **dims, **returns)
        for demo in self.demos:
            self.offline.add(demo, chunk=self.chunk)
        self.step = self.episode = self.refreshes = 0
        self.is_warm = False
        self.successes: list[list[int]] = []  # rows [start, stop) of own successes in `online`
        self._credit = {"td3": 0.0, "chunk": 0.0}
        self._residual_trials = 0
        self._plans = {id(b): np.zeros((0, 0, 0, 0), np.float32) for b in self._buffers()}
        self._metrics: dict[str, list[float]] = {}

    # The loop ---------------------------------------------------------------------------------

    def train(self, progress: Progress | None = None) -> dict[str, Any]:
        """Run to `cfg.steps`; returns the headline figures."""
        cfg = self.cfg
        if self.step == 0:
            self._plan_everything()
            self._evaluate_candidate("base" if self.has_base else cfg.candidates[0])
        while self.step < cfg.steps:
            before = self.step
            name = self._who_acts()
            episode = self._collect(name)
            self._learn(len(episode))
            if name == "residual" and cfg.always is None:
                self._adapt_scale()
            if self._passed(before, cfg.refresh_every) and self._uses_imitation():
                self._refresh_imitation()
            self._log(name, episode)
            if progress is not None:
                progress.update(self.step, deployed=self.deployed(), stage=name)
            if self._passed(before, cfg.eval_every) and self.step < cfg.steps:
                self._evaluate_candidate(self.deployed())
            if self._passed(before, cfg.checkpoint_every):
                self.save()
        rate = self._evaluate_candidate(self.deployed())
        self.save()
        return {"steps": self.step, "deployed": self.deployed(), "success": rate}

    def _passed(self, before: int, every: int) -> bool:
        return every > 0 and before // every < self.step // every

    def _uses_imitation(self) -> bool:
        return self.has_base and bool({"imitation", "chosen"} & set(self.cfg.candidates))

    # Who acts ---------------------------------------------------------------------------------

    def _who_acts(self) -> str:
        if self.step < self.cfg.warmup_steps:
            return "base" if "base" in self.cfg.candidates else "random"
        return self.cfg.always or self.evidence.draw(self.rng)

    def deployed(self) -> str:
        """The candidate that is evaluated, and that a user runs."""
        if self.cfg.always is not None:
            return self.cfg.always
        return self.evidence.best()

    def driver(self, name: str, *, explore: bool) -> Driver:
        """The candidate `name` as a driver; with its exploration, or as it is deployed."""
        half = self.norm.action_half
        if name == "random":
            nothing = PolicyDriver(ZeroBase(len(half)))
            return NoisyDriver(nothing, np.ones_like(half), self.rng, uniform=True)
        if name == "base":
            return PolicyDriver(self.base)
        if name == "residual":
            return ResidualDriver(self.td3, explore=explore)
        assert self.imitation is not None  # made before anyone could draw it
        plain = self.imitation
        policy = self.chooser.policy(plain, explore=explore) if name == "chosen" else plain
        driver = PolicyDriver(policy)
        return NoisyDriver(driver, self.cfg.noise * half, self.rng) if explore else driver

    @property
    def anchor(self) -> BasePolicy:
        """What the residual is added to: the imitation where there is one, else the base."""
        return self.imitation if self._uses_imitation() and self.imitation else self.base

    def _collect(self, name: str) -> Trajectory:
        """Run one episode, keep it, and count it as evidence if it ran without warm-up noise."""
        driver = self.driver(name, explore=True)
        is_noisy = self.step < self.cfg.warmup_steps and self.episode % 2 == 1
        if is_noisy and name == "base":
            size = self.cfg.warmup_noise * self.norm.action_half
            driver = NoisyDriver(driver, size, self.rng, uniform=True)
        # Training starts depend on seed and episode alone, so that a resumed run sees the same.
        seed = int(np.random.SeedSequence((self.cfg.seed, self.episode)).generate_state(1)[0] >> 1)
        attrs = {"behaviour": name, "noisy": is_noisy}
        episode = run_episode(self.env, driver, self.anchor, seed=seed, attrs=attrs)
        rows = self.online.add(episode, chunk=self.chunk)
        self._plan_rows(self.online, rows)
        self.step += len(episode)
        self.episode += 1
        if episode.success:
            self.successes.append([rows.start, rows.stop])
        if name in self.cfg.candidates and not is_noisy:
            self.evidence.note(name, bool(episode.success))
        return episode

    # Learning ---------------------------------------------------------------------------------

    def _learn(self, steps: int) -> None:
        """The updates that `steps` new environment steps pay for."""
        cfg = self.cfg
        if self.step < cfg.warmup_steps:
            return
        td3 = "residual" in cfg.candidates
        chunk = "chosen" in cfg.candidates
        if not self.is_warm:
            self.is_warm = True
            for _ in range(cfg.warmup_updates if td3 else 0):
                self.td3.update_critic(self._batch())
                self.td3.target_critic.follow(self.td3.critic, cfg.td3.tau)
            for _ in range(cfg.warmup_updates if chunk else 0):
                self._note(self.chooser.update(*self._chunk_batch()))
        for _ in range(self._due("td3", cfg.utd * steps) if td3 else 0):
            self._note(self.td3.update(self._batch()))
        for _ in range(self._due("chunk", cfg.chunk_utd * steps) if chunk else 0):
            self._note(self.chooser.update(*self._chunk_batch()))

    def _due(self, who: str, more: float) -> int:
        """Whole updates that are due, keeping the fraction."""
        self._credit[who] += more
        whole = int(self._credit[who])
        self._credit[who] -= whole
        return whole

    def _shares(self, fraction: float) -> tuple[int, int]:
        """How many rows of a batch come from demonstrations and from own episodes."""
        count = round(self.cfg.batch * fraction) if self.offline.num_transitions else 0
        return count, self.cfg.batch - count

    def _batch(self) -> Batch:
        """Transitions for the step critic, part demonstrations."""
        demo, own = self._shares(self.cfg.demo_fraction)
        parts = [self.offline.sample(demo, self.rng)] if demo else []
        return _join([*parts, self.online.sample(own, self.rng)] if own else parts)

    def _chunk_batch(self) -> tuple[Batch, F32]:
        """Chunk transitions, part demonstrations, and the proposals (B, M, chunk, a) after them."""
        demo, own = self._shares(self.cfg.chunk_demo_fraction)
        parts, plans = [], []
        for buffer, count in ((self.offline, demo), (self.online, own)):
            if count:
                part = buffer.sample_chunks(count, self.chunk, self.rng)
                parts.append(part)
                plans.append(self._plans[id(buffer)][part.next_row])
        return _join(parts), np.concatenate(plans)

    def _buffers(self) -> tuple[TransitionBuffer, TransitionBuffer]:
        return self.offline, self.online

    def _plan_rows(self, buffer: TransitionBuffer, rows: slice) -> None:
        """Ask the imitation what it proposes at `rows`, for targets and as the base's action."""
        if self.imitation is None or "chosen" not in self.cfg.candidates:
            return
        plans = self._plans[id(buffer)]
        if not plans.size:
            shape = (
                buffer.capacity,
                self.imitation.members,
                self.chunk,
                self.imitation.action_dim,
            )
            plans = self._plans[id(buffer)] = np.zeros(shape, np.float32)
        made = self.imitation.propose_batch(buffer.state[rows])
        plans[rows] = np.clip(made.swapaxes(0, 1), -1, 1)

    def _plan_everything(self) -> None:
        for buffer in self._buffers():
            for start in range(0, buffer.rows, 2048):
                self._plan_rows(buffer, slice(start, min(start + 2048, buffer.rows)))

    def _refresh_imitation(self) -> None:
        """Fit the ensemble again, from where it is, on demonstrations and own successes."""
        self.refreshes += 1
        own = [self._own_episode(start, stop) for start, stop in self.successes]
        cfg = replace(self.cfg.refresh, chunk=self.chunk)
        if self.imitation is not None:
            cfg = replace(cfg, **_shape_of(self.imitation))
        fitted = fit(
            cfg,
            [*self.demos, *own],
            seed=self.cfg.seed * 1000 + self.refreshes,
            init=self.imitation,
        )
        assert isinstance(fitted, ChunkEnsemble)  # kind "mlp"
        self.imitation = fitted
        self._plan_everything()
        if "residual" in self.cfg.candidates:
            self._rebase()

    def _own_episode(self, start: int, stop: int) -> Trajectory:
        """A successful episode from its rows in the replay."""
        rows, acting = slice(start, stop), slice(start, stop - 1)
        count = stop - start - 1
        executed = self.online.executed[acting]
        return Trajectory(
            obs={"state": self.online.state[rows]},
            executed=executed,
            requested=executed,
            reward=self.online.reward[acting],
            terminated=True,
            success=True,
            control_source=np.zeros(count, np.uint8),
            t_s=np.arange(count + 1.0),
        )

    def _rebase(self) -> None:
        """Write what the new anchor does at every row in place of what the old one did."""
        anchor = self.anchor
        assert isinstance(anchor, ChunkEnsemble)
        for buffer in self._buffers():
            used = slice(0, buffer.rows)
            place = np.rint(buffer.phase[used, 0] * self.chunk).astype(int)
            row = np.arange(buffer.rows)
            starts = np.flatnonzero(place == 0)
            if len(starts):
                plans = anchor.act_batch(buffer.state[starts])
                which = np.searchsorted(starts, row - place)
                buffer.base[used] = plans[which, place]

    # Trust ------------------------------------------------------------------------------------

    def _adapt_scale(self) -> None:
        """Grow the residual while it is no worse than what it stands on, shrink it when it is."""
        self._residual_trials += 1
        if self._residual_trials < 5:
            return
        under = "imitation" if "imitation" in self.cfg.candidates else "base"
        chance = self.evidence.chance_better("residual", under)
        if chance > 0.5 and self.td3.scale < self.cfg.max_scale:
            self.td3.scale = min(1.3 * self.td3.scale, self.cfg.max_scale)
            self._residual_trials = 0
        elif chance < 0.1:
            self.td3.scale = max(0.7 * self.td3.scale, 0.02)
            self.evidence.forget("residual")
            self._residual_trials = 0

    # Evaluation and logs ----------------------------------------------------------------------

    def _evaluate_candidate(self, name: str) -> float:
        if self._evaluate is None:
            return float("nan")
        return self._evaluate(self.step, name, self.driver(name, explore=False), self.anchor)

    def _note(self, metrics: Mapping[str, float]) -> None:
        for key, value in metrics.items():
            self._metrics.setdefault(key, []).append(value)

    def _log(self, name: str, episode: Trajectory) -> None:
        if self.run is None:
            return
        fields = {
            "episode": self.episode,
            "success": bool(episode.success),
            "length": len(episode),
            "behaviour": name,
            "noisy": episode.attrs["noisy"],
            "residual_scale": self.td3.scale,
        }
        self.run.log_episode(self.step, fields)
        means = {key: float(np.mean(values)) for key, values in self._metrics.items()}
        trust = {f"evidence/{who}": self.evidence.rate(who) for who in self.cfg.candidates}
        self.run.log(self.step, means | trust | {"residual_scale": self.td3.scale})
        self._metrics.clear()

    # Saving -----------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint from which `resume` goes on bit for bit."""
        if self.run is None:
            return
        tensors = self.td3.state_dict()
        for name, net in (("chunk", self.chooser.critic), ("chunk_target", self.chooser.target)):
            tensors |= {f"{name}.{k}": v for k, v in net.state_dict().items()}
        arrays = {f"online.{k}": v for k, v in self.online.arrays().items()}
        arrays["offline.base"] = self.offline.base[: self.offline.rows].copy()
        if self.imitation is not None:
            arrays |= {f"imitation.{k}": v for k, v in self.imitation.arrays().items()}
        state = {
            "step": self.step,
            "episode": self.episode,
            "refreshes": self.refreshes,
            "is_warm": self.is_warm,
            "successes": self.successes,
            "credit": self._credit,
            "residual_trials": self._residual_trials,
            "scale": self.td3.scale,
            "updates": self.td3.updates,
            "evidence": self.evidence.state(),
            "imitation": self.imitation.config() if self.imitation is not None else None,
            "rng": [numpy_rng_state(rng) for rng in self._generators()],
        }
        save_checkpoint(self.run, self.step, tensors=tensors, arrays=arrays, state=state)

    def resume(self) -> bool:
        """Go on from the newest checkpoint of the run; False if there is none.

        Raises:
            CheckpointError: There are checkpoints, but none fits.
        """
        if self.run is None:
            return False
        saved = load_latest(self.run)
        self.run.rewind(saved)
        if saved is None:
            return False
        state = saved.state
        self.td3.load_state_dict(dict(saved.tensors))
        for name, net in (("chunk", self.chooser.critic), ("chunk_target", self.chooser.target)):
            prefix = f"{name}."
            mine = {
                k.removeprefix(prefix): v for k, v in saved.tensors.items() if k.startswith(prefix)
            }
            net.load_state_dict(mine)
        self.online.load_arrays(_under("online.", saved.arrays))
        self.offline.base[: self.offline.rows] = saved.arrays["offline.base"]
        if state["imitation"] is not None:
            arrays = _under("imitation.", saved.arrays)
            self.imitation = ChunkEnsemble.restore(state["imitation"], arrays)
        self.step, self.episode = state["step"], state["episode"]
        self.refreshes, self.is_warm = state["refreshes"], state["is_warm"]
        self.successes, self._credit = state["successes"], state["credit"]
        self._residual_trials, self.td3.scale = state["residual_trials"], state["scale"]
        self.td3.updates = state["updates"]
        self.evidence.load_state(state["evidence"])
        for rng, kept in zip(self._generators(), state["rng"], strict=True):
            restore_numpy_rng(rng, kept)
        self._plan_everything()
        return True

    def _generators(self) -> list[np.random.Generator]:
        return [self.rng, self.td3.rng, self.chooser.rng]


class ResidualDriver:
    """Adds the agent's residual to the base's action of the episode, which must be the anchor's."""

    def __init__(self, agent: TD3, *, explore: bool) -> None:
        self._agent, self._explore = agent, explore
        self._dim = agent.norm.state_dim

    def reset(self) -> None:
        """The agent remembers nothing."""

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """Base action plus residual."""
        state = state_vector(obs, self._dim)
        return self._agent.act(state, base, phase, explore=self._explore)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names start with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _shape_of(ensemble: ChunkEnsemble) -> dict[str, int]:
    """The fields of `BCCfg` that say how large an ensemble is."""
    hidden = ensemble.config()["hidden"]
    return {"members": ensemble.members, "width": hidden[0], "layers": len(hidden)}


def _join(batches: Sequence[Batch]) -> Batch:
    """Several batches as one."""
    if len(batches) == 1:
        return batches[0]
    names = Batch.__dataclass_fields__
    return Batch(**{k: np.concatenate([getattr(b, k) for b in batches]) for k in names})


def _normaliser(demos: Sequence[Trajectory], env: Env) -> Normaliser:
    """From the demonstrations, or else from random actions in the env."""
    if demos:
        states = np.concatenate([d.obs["state"] for d in demos])
        return Normaliser.fit(states, np.concatenate([d.executed for d in demos]))
    shape = env.action_space.shape
    assert shape is not None  # Box
    rng = np.random.default_rng(0)
    wild = NoisyDriver(
        PolicyDriver(ZeroBase(shape[0])), np.ones(shape, np.float32), rng, uniform=True
    )
    states = np.concatenate([run_episode(env, wild, None, seed=k).obs["state"] for k in range(5)])
    span = np.stack([-np.ones(shape, np.float32), np.ones(shape, np.float32)])
    return Normaliser.fit(states, span)
