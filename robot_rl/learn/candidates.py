"""Who may act: the candidates as they are now, and what their episodes have shown.

command:   observe → **driver: base, imitation, choice or residual** → env (decode → safety → send)

A learner is these candidates, and learns (`residual.py`). A process that only acts holds them too,
and takes over the weights that a learner elsewhere publishes (`actor.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.learn.chooser import Chooser
from robot_rl.learn.evidence import Evidence
from robot_rl.learn.imitation import Imitation
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.rollout import Driver, NoisyDriver, PolicyDriver, Record, run_episode
from robot_rl.learn.sac import SAC
from robot_rl.learn.td3 import TD3
from robot_rl.policy.base import BasePolicy, Observation, ZeroBase
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.module_arrays import load_flat
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.policy.saved import Arrays, under
from robot_rl.replay.trajectory import Trajectory
from robot_rl.types import F32

__all__ = ["Candidates", "ResidualDriver", "fit_normaliser"]

Env = gymnasium.Env[Any, Any]

_SURE = 0.7  # chance of being better than the best other above which the residual is deployed


class Candidates:
    """Everyone who may act, and whose turn it is.

    Args:
        cfg: The configuration.
        base: The frozen base, or None to act without one.
        norm: Of states and actions.
        imitation: The ensemble that imitates successes, where a candidate needs it.

    Attributes:
        agent: The residual, with its critics.
        chooser: The critic of whole chunks.
        evidence: What executed episodes say about each candidate.
        is_warm: Whether anything has been learned yet; the base acts until then.
        rng: Of who acts, and of the noise on imitation and base.
    """

    def __init__(
        self,
        cfg: ResidualCfg,
        base: BasePolicy | None,
        norm: Normaliser,
        imitation: Imitation | None,
    ) -> None:
        if base is None and "residual" not in cfg.candidates:
            raise ConfigError(f"candidates {cfg.candidates} need a base; give one, or 'residual'.")
        self.cfg, self.norm, self.imitation = cfg, norm, imitation
        self.base: BasePolicy = base or ZeroBase(norm.action_dim)
        self.has_base = base is not None
        self.rng = np.random.default_rng(cfg.seed)
        self.evidence = Evidence(cfg.candidates, memory=cfg.memory)
        self.is_warm = False
        seed = cfg.seed * 7919
        self.agent: TD3 | SAC
        form = {} if self.has_base else {"caution": None}  # zeros are nothing to fall back on
        if cfg.agent == "sac":
            self.agent = SAC(replace(cfg.sac, **form), norm, scale=cfg.scale, seed=seed + 1)
        else:
            self.agent = TD3(replace(cfg.td3, **form), norm, scale=cfg.scale, seed=seed + 1)
        self.chooser = Chooser(cfg.chooser, norm, chunk=self.base.chunk, seed=seed + 3)
        if cfg.sparse:
            self.agent.bounds = self.chooser.bounds = (0.0, 1.0)

    @property
    def anchor(self) -> BasePolicy:
        """What the residual is added to: a fit of the imitation if there is one, else the base."""
        return self.base if self.imitation is None else self.imitation.anchor_policy

    def deployed(self) -> str:
        """The candidate that is evaluated, and that a user runs."""
        if self.cfg.always is not None:
            return self.cfg.always
        best = self.best_other()
        # All others are near to data. The residual may be anything, so the doubt is against it.
        if best is None or self.residual_beats(best, _SURE):
            return "residual"
        return best

    def best_other(self) -> str | None:
        """The best candidate by evidence but for the residual; None if there is no other."""
        others = [name for name in self.cfg.candidates if name != "residual"]
        return self.evidence.best(others) if others else None

    def residual_beats(self, other: str, chance: float) -> bool:
        """Whether there is a residual, and its chance to be better than `other` is above that."""
        has_residual = "residual" in self.cfg.candidates
        return has_residual and self.evidence.chance_better("residual", other) > chance

    @property
    def first_judged(self) -> str:
        """The candidate that is evaluated before anything is learned."""
        return "base" if self.has_base else self.cfg.candidates[0]

    # Acting -----------------------------------------------------------------------------------

    def collect(
        self,
        env: Env,
        *,
        step: int,
        episode: int,
        facts: Mapping[str, Any] | None = None,
        record: Record | None = None,
    ) -> Trajectory:
        """Run a training episode by whoever's turn it is, with the noise that learning needs.

        Args:
            env: Where to act.
            step: Environment steps done before.
            episode: Training episodes done before.
            facts: Kept with the episode, beside `behaviour` (who acted) and `noisy` (not as it
                would be deployed: no evidence).
            record: See `run_episode`.
        """
        driver, seed, attrs = self.turn(step=step, episode=episode)
        attrs |= facts or {}
        return run_episode(env, driver, self.anchor, seed=seed, attrs=attrs, record=record)

    def turn(self, *, step: int, episode: int) -> tuple[Driver, int, dict[str, Any]]:
        """Whose turn it is: the driver with its noise, the start's seed, and what is noted."""
        name = self._who_acts(step)
        explores, is_noisy = True, False
        if name == "residual" and self.cfg.always is None:
            explores = self.rng.random() < self.cfg.explore_share
            is_noisy = explores and self.cfg.explore_share < 1
        if self.settles(step):
            explores = is_noisy = False
        driver = self.driver(name, explore=explores)
        if name == "base" and self._is_warming_up(step) and episode % 2 == 1:
            # This noise costs next to nothing (LOG.md), and the base, as the bar for the others,
            # had better be known well: it is evidence all the same.
            size = self.cfg.warmup_noise * self.norm.action_half
            driver = NoisyDriver(driver, size, self.rng, uniform=True)
        # Training starts depend on seed and episode alone, so that a resumed run sees the same.
        seed = int(np.random.SeedSequence((self.cfg.seed, episode)).generate_state(1)[0] >> 1)
        return driver, seed, {"behaviour": name, "noisy": is_noisy}

    def settles(self, step: int) -> bool:
        """Whether what will be deployed is being found out, rather than made any better."""
        return self.cfg.always is None and step >= (1 - self.cfg.settle_share) * self.cfg.steps

    def _is_warming_up(self, step: int) -> bool:
        """Whether the base still acts; beyond its steps while another process learns late."""
        return step < self.cfg.warmup_steps or not self.is_warm

    def _who_acts(self, step: int) -> str:
        if self._is_warming_up(step):
            return "base" if "base" in self.cfg.candidates else "random"
        if self.cfg.always is not None:
            return self.cfg.always
        if self.settles(step):
            return self.evidence.draw_rival(self.rng)
        # The residual is the one that must be executed to be learned: it gets a fixed share, and
        # its scale, not its share, is what keeps it from doing harm.
        if "residual" in self.cfg.candidates and self.rng.random() < self.cfg.residual_share:
            return "residual"
        return self.evidence.draw(self.rng)

    def driver(self, name: str, *, explore: bool) -> Driver:
        """The candidate `name` as a driver; with its exploration, or as it is deployed."""
        half = self.norm.action_half
        if name == "random":
            nothing = PolicyDriver(ZeroBase(len(half)))
            return NoisyDriver(nothing, np.ones_like(half), self.rng, uniform=True)
        if name == "base":
            return PolicyDriver(self.base)
        if name == "residual":
            return ResidualDriver(self.agent, explore=explore)
        assert self.imitation is not None  # the other two are candidates only where there is one
        policy: BasePolicy = self.imitation.policy
        if name == "chosen":
            policy = self.chooser.policy(
                self.imitation.ensemble, every=self.cfg.replan, explore=explore
            )
        driver = PolicyDriver(policy)
        return NoisyDriver(driver, self.cfg.noise * half, self.rng) if explore else driver

    def count(self, name: str, *, success: bool, noisy: bool) -> None:
        """Count an executed episode as evidence, unless it was noisy, or helped by a person."""
        if name in self.cfg.candidates and not noisy:
            self.evidence.note(name, success)

    def reseed(self, *entropy: int) -> None:
        """Draw from here on what only `entropy` decides, for acting that is resumed anywhere."""
        streams = np.random.SeedSequence((self.cfg.seed, *entropy)).spawn(3)
        self.rng, self.agent.rng, self.chooser.rng = map(np.random.default_rng, streams)

    # From a learner to an actor -----------------------------------------------------------------

    def weights(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All that acting needs of what was learned: arrays by name, and the JSON-able rest."""
        networks = {
            "actor": self.agent.actor,
            "critic": self.agent.critic,
            "chunk_critic": self.chooser.critic,
        }
        arrays = {name: net.flat.numpy().copy() for name, net in networks.items()}
        state = {
            "is_warm": self.is_warm,
            "scale": float(self.agent.scale),
            "evidence": self.evidence.state(),
            "imitation": None,
        }
        if self.imitation is not None:
            state["imitation"] = self.imitation.ensemble.config()
            arrays |= self.imitation.arrays()
        return arrays, state

    @classmethod
    def from_weights(
        cls,
        cfg: ResidualCfg,
        base: BasePolicy | None,
        norm: Normaliser,
        arrays: Arrays,
        state: Mapping[str, Any],
    ) -> "Candidates":
        """The candidates whose `weights` these are.

        Raises:
            CheckpointError: They are of another configuration.
        """
        try:
            imitation = None
            if state["imitation"] is not None:
                ensemble = ChunkEnsemble.restore(state["imitation"], under("imitation.", arrays))
                imitation = Imitation(cfg.refresh, ensemble, every=cfg.replan, seed=0)
                imitation.load(state["imitation"], arrays)
            own = cls(cfg, base, norm, imitation)
            load_flat(own.agent.actor, arrays["actor"])
            load_flat(own.agent.critic, arrays["critic"])
            load_flat(own.chooser.critic, arrays["chunk_critic"])
            own.agent.scale, own.is_warm = state["scale"], state["is_warm"]
            own.evidence.load_state(state["evidence"])
        except KeyError as error:
            raise CheckpointError(f"weights lack {error}. Are actor and learner alike?") from error
        return own


class ResidualDriver:
    """Adds the agent's residual to the episode's base action, which must be the anchor's."""

    def __init__(self, agent: TD3 | SAC, *, explore: bool) -> None:
        self._agent, self._explore = agent, explore
        self._dim = agent.norm.state_dim

    def reset(self) -> None:
        """The agent remembers nothing."""

    def act(self, obs: Observation, base: F32, phase: float) -> F32:
        """Base action plus residual."""
        state = state_vector(obs, self._dim)
        return self._agent.act(state, base, phase, explore=self._explore)


def fit_normaliser(demos: Sequence[Trajectory], env: Env) -> Normaliser:
    """From the demonstrations, or else from random actions in the env."""
    if demos:
        states = np.concatenate([d.obs["state"] for d in demos]).astype(np.float32)
        return Normaliser.fit(states, np.concatenate([d.executed for d in demos]))
    shape = env.action_space.shape
    assert shape is not None  # Box
    rng = np.random.default_rng(0)
    wild = NoisyDriver(
        PolicyDriver(ZeroBase(shape[0])), np.ones(shape, np.float32), rng, uniform=True
    )
    states = np.concatenate([run_episode(env, wild, None, seed=k).obs["state"] for k in range(5)])
    span = np.stack([-np.ones(shape, np.float32), np.ones(shape, np.float32)])
    return Normaliser.fit(states.astype(np.float32), span)
