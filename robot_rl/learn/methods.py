"""What is learned on top of a base, and how: the one preset for all tasks, and other methods.

learning:  … replay → **residual agent (its configuration)** → weights

A method of the literature is a change of the same configuration, never another file, so that a
comparison compares the idea and not two code bases.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg
from robot_rl.learn.chooser import ChooserCfg
from robot_rl.learn.sac import SACCfg
from robot_rl.learn.td3 import TD3Cfg

__all__ = ["BASELINES", "CANDIDATES", "WITHOUT_BASE", "ResidualCfg", "baseline"]

CANDIDATES = ("base", "imitation", "chosen", "residual")


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
    warmup_noise: float = 0.1
    """Uniform noise on every other warm-up episode, in shares of the demonstrated range."""
    noise: float = 0.02
    """Gaussian noise on imitation and chosen while they collect, in the same shares."""
    replan: int = 2
    """Actions that imitation, chosen and residual execute of a chunk before they plan again."""
    n_step: int = 3
    """Steps of return before the step critic bootstraps."""
    discount: float = 0.99
    """Discount a step."""
    utd: float = 4.0
    """Updates of the step critic for each environment step."""
    chunk_utd: float = 1.0
    """Updates of the chunk critic for each environment step."""
    batch: int = 128
    """Transitions in a batch."""
    demo_fraction: float = 0.5
    """Share of demonstrations in a batch of the step critic."""
    add_successes: bool = True
    """Draw own successes beside demonstrations, as if they were some: ten demonstrations are soon
    known by heart, and what worked since is what the critics must tell from what did not."""
    chunk_demo_fraction: float = 0.25
    """Share of demonstrations in a batch of the chunk critic."""
    scale: float = 0.4
    """Scale of the residual at the start, in halves of the demonstrated action range."""
    max_scale: float = 0.4
    """Largest scale that evidence may grow the residual to."""
    fixed_trust: bool = False
    """Keep the residual's scale and pull as they are, whatever the evidence."""
    residual_share: float = 0.6
    """Share of episodes that the residual acts in, whatever the evidence (its scale and pull obey
    it)."""
    explore_share: float = 0.5
    """Share of the residual's episodes with exploration noise. The others show what it is worth,
    and they alone count as evidence; at 1 there are no others, and all count."""
    refresh_every: int = 2_500
    """Steps between fits of the imitation."""
    refresh: BCCfg = field(default_factory=lambda: BCCfg(steps=1_000))
    """How the imitation is fitted."""
    keep_anchor: bool = True
    """Leave a residual that does better than the others on the fit of the imitation that it was
    learned on; else it is put on every new fit."""
    settle_share: float = 0.125
    """Share of the steps, at the end, without noise and new fits: who acts is then drawn so as to
    find out who is best, and that one is deployed."""
    memory: float = 40.0
    """Episodes after which one counts 1/e as evidence of a candidate that learns."""
    agent: Literal["td3", "sac"] = "td3"
    """Which of the next two the residual agent is."""
    td3: TD3Cfg = field(default_factory=lambda: TD3Cfg(pull=0.3, caution=1.0))
    """The residual agent, a deterministic actor."""
    sac: SACCfg = field(default_factory=lambda: SACCfg(caution=1.0))
    """The residual agent, a stochastic actor."""
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
        for name in ("residual_share", "explore_share", "settle_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be in [0, 1].")
        if not 0 < self.scale <= self.max_scale:
            raise ConfigError(f"scale {self.scale} must be in (0, max_scale {self.max_scale}].")
        if min(self.steps, self.warmup_steps, self.batch, self.refresh_every) < 1:
            raise ConfigError("steps, warmup_steps, batch and refresh_every must be at least 1.")


BASELINES: Mapping[str, Mapping[str, Any]] = {
    "ours": {},
    "fast": {
        "candidates": ("base", "residual"),
        "always": "residual",
        "add_successes": False,
        "warmup_noise": 0.2,
        "td3": TD3Cfg(pull=0.3),
    },
    "base": {"candidates": ("base",), "always": "base"},
    "filtered-bc": {
        "candidates": ("base", "imitation"),
        "always": "imitation",
        "replan": 1_000,  # never before its chunk is used up
    },
    "rlpd": {
        "candidates": ("residual",),
        "always": "residual",
        "add_successes": False,
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
    "rlpd-sac": {
        "candidates": ("residual",),
        "always": "residual",
        "scale": 1.0,
        "max_scale": 1.0,
        "add_successes": False,
        "agent": "sac",
        # No entropy in targets, as RLPD's own settings for sparse rewards have it.
        "sac": SACCfg(add_base=False, zero_init=False, backup_entropy=False, tau=0.01),
    },
    "sac": {
        "candidates": ("residual",),
        "always": "residual",
        "scale": 1.0,
        "max_scale": 1.0,
        "demo_fraction": 0.0,
        "agent": "sac",
        "sac": SACCfg(add_base=False, zero_init=False),
    },
    "ibrl": {
        "candidates": ("base", "residual"),
        "always": "residual",
        "add_successes": False,
        "scale": 1.0,
        "max_scale": 1.0,
        "td3": TD3Cfg(add_base=False, choose=True, zero_init=False, noise=0.1, target_noise=0.1),
    },
}
"""Other methods as changes of `ResidualCfg`."""

WITHOUT_BASE = ("rlpd", "rlpd-sac", "td3", "sac")
"""Methods that use no base; "td3" and "sac" use no demonstrations either."""


def baseline(name: str, cfg: ResidualCfg) -> ResidualCfg:
    """`cfg` with the changes that make it the method `name`.

    Raises:
        ConfigError: No such method.
    """
    if name not in BASELINES:
        raise ConfigError(f"unknown method '{name}'. Available: {', '.join(sorted(BASELINES))}.")
    return replace(cfg, **BASELINES[name])
