"""The residual in action: a small actor whose output is added to the base's action at every step.

command:   camera, arm → observe → **policy (base + residual)** → decode → safety → send

`ResidualActor` is the pure acting part of the agent that learns (`learn/td3.py`); `ResidualPolicy`
puts it on its base, so that the two can be saved, evaluated, and be a base themselves.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import CheckpointError
from robot_rl.policy.base import BasePolicy, Observation, ZeroBase
from robot_rl.policy.module_arrays import load_flat
from robot_rl.policy.normalise import Normaliser, state_vector
from robot_rl.policy.queue import ChunkQueue
from robot_rl.policy.saved import Arrays, SavedPolicy, restore_policy, under
from robot_rl.policy.stacked import StackedMLP
from robot_rl.types import F32, F64

__all__ = ["ActorForm", "ResidualActor", "ResidualPolicy"]


@dataclass(frozen=True, kw_only=True)
class ActorForm:
    """What a residual actor sees, and what its output means."""

    width: int = 128
    """Hidden width of actor and critics (two hidden layers)."""
    critics: int = 5
    """Networks in the critic ensemble."""
    layer_norm: bool = True
    """LayerNorm in the critics."""
    see_base_action: bool = True
    """Whether actor and critics see the base's action."""
    see_phase: bool = True
    """Whether actor and critics see the phase of the base's chunk."""
    add_base: bool = True
    """Add the base's action to the actor's; off, the actor acts alone (RL from scratch, IBRL)."""
    choose: bool = False
    """Act by whichever of base and actor the critics prefer (IBRL, Hu et al. 2023)."""
    caution: float | None = None
    """Where nothing is explored, act by the base's action unless the critics agree on the actor's:
    their mean gain must be above so many of their deviations. None: always act by the actor."""


class ResidualActor:
    """Actor and critics as they act. Actions are in the env's units, within [-1, 1].

    Attributes:
        form: What they see, and what the actor's output means.
        norm: Of states and actions.
        scale: Largest residual, in units of half the demonstrated action range.
        gaussian: Whether the actor answers with mean and log deviation (SAC); it acts by its mean.
        actor, critic: The networks.
    """

    def __init__(
        self,
        form: ActorForm,
        norm: Normaliser,
        *,
        scale: float,
        seed: int,
        zero_init: bool = True,
        gaussian: bool = False,
    ) -> None:
        self.form, self.norm, self.scale = form, norm, scale
        self.gaussian = gaussian
        d, a = norm.state_dim, norm.action_dim
        seen = d + a * form.see_base_action + form.see_phase
        hidden = (form.width, form.width)
        answers = 2 * a if gaussian else a
        self.actor = StackedMLP(
            1, (seen, *hidden, answers), layer_norm=True, zero_last=zero_init, seed=seed
        )
        self.critic = StackedMLP(
            form.critics, (seen + a, *hidden, 1), layer_norm=form.layer_norm, seed=seed + 1
        )

    def request(self, state: F32, base: F32, phase: float, noise: F32 | F64 | None = None) -> F32:
        """The action (a,) to request for one state (d,), base action (a,) and phase.

        Args:
            state: (d,) as observed.
            base: (a,) the base's action here.
            phase: Of the base's chunk.
            noise: (a,) to explore; what it does to the actor's answer is the agent's own.
        """
        seen = self._see(state[None], base[None], np.array([[phase]], np.float32))
        unit = self._unit(self.actor.act(seen[0])[0], noise)
        action = self._sum(base, np.clip(unit, -1, 1).astype(np.float32))
        cautious = noise is None and self.form.caution is not None
        if self.form.choose or cautious:
            values = self._values(seen.repeat(2, 0), np.stack([base, action]))
            gain = values[:, 1] - values[:, 0]
            least = self.form.caution * gain.std() if cautious and self.form.caution else 0.0
            action = action if gain.mean() > least else base
        return action

    def _unit(self, answer: F32, noise: F32 | F64 | None) -> F32 | F64:
        """The unit residual (a,) in the actor's answer, plus noise."""
        unit = np.tanh(answer[: self.norm.action_dim])
        return unit if noise is None else unit + noise

    def value(self, states: F32, bases: F32, phase: float | F32, actions: F32) -> F32:
        """Mean of the critics (B,) for B states, base actions, phases and actions."""
        phases = np.broadcast_to(np.asarray(phase, np.float32).reshape(-1, 1), (len(states), 1))
        return self._values(self._see(states, bases, phases), actions).mean(0)

    def _values(self, seen: F32, actions: F32) -> F32:
        """What each critic says (K, B) of actions (B, a), given what is seen (B, s)."""
        x = self._with(torch.from_numpy(seen), actions)
        return self.critic.forward(x)[:, :, 0].numpy()

    def share(self, base: F32, action: F32) -> F32 | None:
        """The residual (a,) in an action as a share of its scale; None where none is added."""
        if not self.form.add_base:
            return None
        share = (action - base) / (self.scale * self.norm.action_half)
        return share.astype(np.float32, copy=False)

    def _see(self, states: F32, bases: F32, phases: F32) -> F32:
        """What the networks see (B, s): z-scored state, unit base action, phase."""
        parts = [np.clip(self.norm.state(states), -10, 10)]
        if self.form.see_base_action:
            parts.append(self.norm.to_unit(bases))
        if self.form.see_phase:
            parts.append(phases)
        return np.concatenate(parts, -1, dtype=np.float32)

    def _with(self, seen: Tensor, actions: F32) -> Tensor:
        return torch.cat([seen, torch.from_numpy(self.norm.to_unit(actions))], -1)

    def _sum(self, base: F32, unit: F32) -> F32:
        """The executed action: base plus scaled residual, within [-1, 1]."""
        start = base if self.form.add_base else self.norm.action_mid
        action = np.clip(start + self.scale * self.norm.action_half * unit, -1, 1)
        return action.astype(np.float32, copy=False)


class ResidualPolicy:
    """A base, played open loop by a queue of its own, and at every step the residual on top.

    Args:
        base: What the residual is added to; None where it was learned without one.
        actor: The residual; it acts without exploring.
    """

    kind: ClassVar[str] = "residual"

    def __init__(self, base: BasePolicy | None, actor: ResidualActor) -> None:
        self.base, self.actor = base, actor
        self._queue = ChunkQueue(base or ZeroBase(actor.norm.action_dim))

    @property
    def chunk(self) -> int:
        """One action: the residual looks at every step."""
        return 1

    def reset(self) -> None:
        """Drop the base's chunk of the last episode."""
        self._queue.reset()

    def act(self, obs: Observation) -> F32:
        """The plan (1, a): the base's next action plus the residual.

        Raises:
            ShapeError: The observation is not what the policy was trained on.
            NonFiniteError: The observation or the base's plan holds NaN or infinity.
        """
        state = state_vector(obs, self.actor.norm.state_dim)
        return self.actor.request(state, *self._queue.next(obs))[None]

    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the arrays; JSON-able.

        Raises:
            CheckpointError: The base is not one that can be saved.
        """
        base = None
        if self.base is not None:
            if not isinstance(self.base, SavedPolicy):
                raise CheckpointError(
                    f"a residual on a base of type {type(self.base).__name__} cannot be saved, "
                    "since its base cannot. Save it where it lives."
                )
            base = {"kind": self.base.kind, "config": self.base.config()}
        names = ActorForm.__dataclass_fields__
        form = {k: v for k, v in asdict(self.actor.form).items() if k in names}
        return {
            "base": base,
            "form": form,
            "scale": float(self.actor.scale),
            "gaussian": self.actor.gaussian,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers of the policy by name."""
        arrays = dict(self.actor.norm.arrays())
        for name, net in (("actor", self.actor.actor), ("critic", self.actor.critic)):
            arrays[name] = net.flat.numpy().copy()
        if isinstance(self.base, SavedPolicy):
            arrays |= {f"base.{k}": v for k, v in self.base.arrays().items()}
        return arrays

    @classmethod
    def restore(cls, config: Mapping[str, Any], arrays: Arrays) -> "ResidualPolicy":
        """The policy that had this `config` and these `arrays`.

        Raises:
            CheckpointError: Arrays and config disagree.
        """
        base = config["base"]
        if base is not None:
            base = restore_policy(base["kind"], base["config"], under("base.", arrays))
        form = ActorForm(**config["form"])
        norm = Normaliser.from_arrays(arrays)
        gaussian = config.get("gaussian", False)
        actor = ResidualActor(form, norm, scale=config["scale"], seed=0, gaussian=gaussian)
        load_flat(actor.actor, arrays["actor"])
        load_flat(actor.critic, arrays["critic"])
        return cls(base, actor)
