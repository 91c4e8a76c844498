"""A learner on disk: everything that decides what it does next, so that a killed run goes on.

learning:  … residual agent → **checkpoint** → the same residual agent

Checkpoints are taken between episodes, and a training start follows from seed and episode alone,
so no state of the env is needed: a resumed run ends bit for bit where the uninterrupted one does.
"""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from robot_rl.learn.actor_critic import Learned
from robot_rl.learn.checkpoint import (
    Checkpoint,
    load_latest,
    numpy_rng_state,
    restore_numpy_rng,
    save_checkpoint,
)
from robot_rl.learn.run import RunFolder
from robot_rl.policy.saved import under

if TYPE_CHECKING:
    from robot_rl.learn.residual import ResidualLearner

__all__ = ["load_learner", "load_networks", "save_learner"]


def save_learner(learner: "ResidualLearner", run: RunFolder) -> None:
    """Write a checkpoint of `learner` into `run`."""
    tensors: dict[str, Tensor] = {}
    for name, network in _networks(learner).items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    replay, imitation = learner.replay, learner.imitation
    arrays = {f"own.{key}": value for key, value in replay.own.arrays().items()}
    # The base actions of demonstrations change with the anchor.
    arrays["demos.base"] = replay.demos.base[: replay.demos.rows].copy()
    if replay.prior is not None:
        arrays |= {f"prior.{key}": value for key, value in replay.prior.arrays().items()}
    state = {
        "step": learner.step,
        "episode": learner.episode,
        "position": learner.position,
        "is_warm": learner.is_warm,
        "successes": learner.successes,
        "credit": learner.credit,
        "trust": learner.trust.state(),
        "updates": learner.agent.updates,
        "evidence": learner.evidence.state(),
        "rng": [numpy_rng_state(rng) for rng in _generators(learner)],
    }
    if imitation is not None:
        arrays |= imitation.arrays()
        state["imitation"] = imitation.ensemble.config()
        state["refreshes"] = imitation.refreshes
    if learner.reward is not None:
        arrays |= {f"reward.{key}": value for key, value in learner.reward.arrays().items()}
        state["reward"] = learner.reward.state()
    save_checkpoint(run, learner.step, tensors=tensors, arrays=arrays, state=state)


def load_learner(learner: "ResidualLearner", run: RunFolder) -> bool:
    """Put a fresh `learner` where the newest checkpoint of `run` left off, its logs too.

    Returns:
        False if there is no checkpoint; the run then starts anew.

    Raises:
        CheckpointError: There are checkpoints, but none fits.
    """
    saved = load_latest(run)
    run.rewind(saved)
    if saved is None:
        return False
    state = saved.state
    load_networks(learner, saved)
    replay = learner.replay
    replay.own.load_arrays(under("own.", saved.arrays))
    replay.demos.base[: replay.demos.rows] = saved.arrays["demos.base"]
    if replay.prior is not None:
        replay.prior.load_arrays(under("prior.", saved.arrays))
    learner.step, learner.episode = state["step"], state["episode"]
    learner.position = state.get("position", -1)
    learner.is_warm, learner.successes = state["is_warm"], state["successes"]
    learner.credit, learner.agent.updates = state["credit"], state["updates"]
    learner.trust.load_state(state["trust"])
    learner.evidence.load_state(state["evidence"])
    if learner.reward is not None:
        learner.reward.load(under("reward.", saved.arrays), state.get("reward"))
    for rng, kept in zip(_generators(learner), state["rng"], strict=True):
        restore_numpy_rng(rng, kept)
    return True


def load_networks(learner: "ResidualLearner", saved: Checkpoint) -> None:
    """Give a learner the networks of a checkpoint, with their optimisers, and the imitation.

    Raises:
        CheckpointError: They are of other sizes.
    """
    for name, network in _networks(learner).items():
        network.load_state_dict(under(f"{name}.", saved.tensors))
    if learner.imitation is not None:
        learner.imitation.load(saved.state["imitation"], saved.arrays)
        learner.imitation.refreshes = saved.state["refreshes"]


def _networks(learner: "ResidualLearner") -> dict[str, Learned]:
    return {
        **learner.agent.networks(),
        "chunk_critic": learner.chooser.critic,
        "chunk_target": learner.chooser.target,
    }


def _generators(learner: "ResidualLearner") -> list[np.random.Generator]:
    return [learner.rng, learner.agent.rng, learner.chooser.rng]
