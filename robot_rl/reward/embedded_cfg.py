"""How the embedded progress model is built and trained; the defaults are the preset for all."""

from dataclasses import dataclass

from robot_rl.errors import ConfigError

__all__ = ["EmbeddedCfg"]


@dataclass(frozen=True, kw_only=True)
class EmbeddedCfg:
    """The embedded progress model. The defaults are the preset for every task."""

    members: int = 5
    """Networks; how far they differ says how sure they are."""
    width: int = 64
    """Size of a frame's code."""
    frames: int = 4
    """Frames that are read together."""
    gap_s: float = 0.1
    """Time between them."""
    steps: int = 600
    """Gradient steps of each network."""
    batch: int = 64
    """Windows in a step."""
    lr: float = 1.5e-3
    """Greatest learning rate of the one cycle."""
    weight_decay: float = 1e-3
    """AdamW's decoupled weight decay."""
    done_last_s: float = 0.35
    """So long before the end of a success it is certainly done, and no longer than the detector
    can count on."""
    doubt_last_s: float = 0.55
    """So long before the end nobody can say, and frames are not asked about success: as long as
    success must hold for an episode to end, and a little more."""
    undone_until: float = 0.8
    """Until this share of its time a success is certainly not done, were it not for the above."""
    final_share: float = 0.25
    """Share of the demonstrated windows that are drawn from its end."""
    failure_share: float = 0.3
    """Share of windows drawn from failures, if there are any."""
    restart: float = 0.4
    """Share of windows whose episode is taken to begin on its way, half of them there and then."""
    rewind: float = 0.3
    """Share of windows that run backwards: motion is no progress."""
    other_goal: float = 0.5
    """Share of windows whose goal is the end of another demonstration."""
    wrong_goal: float = 0.1
    """Share whose goal is none: progress and success are 0."""
    wrong_task: float = 0.1
    """Share with another task's instruction, if there are several: progress and success are 0."""
    nearly_done: float = 0.15
    """Share of windows drawn from the last moments of demonstrations that are not yet done."""
    half_done: float = 0.2
    """Share of windows that in some of their numbers look like a later frame, often an end; they
    count for no more than they were."""
    half_done_numbers: float = 0.25
    """Share of numbers of the state vector in which they do."""
    preference: float = 0.25
    """Weight of the loss that puts every frame of a failure below the ends of demonstrations."""
    preference_scale: float = 10.0
    """Steepness of that loss, per whole progress."""
    vector_noise: float = 0.05
    """Standard deviation of the noise on z-scored states while training."""
    image_shift_px: int = 3
    """Images are shifted at random by up to this, at 64 x 64 pixels, while training."""
    brightness: float = 0.15
    """Images are made brighter or darker by up to this share while training."""
    folds: int = 5
    """Each network leaves out one part of the episodes in so many, to be judged on them; as many
    networks as parts, and all are."""
    familiar: float = 1.5
    """How far a frame may lie from all training frames, as a factor on what is usual."""
    like_an_end: float = 1.5
    """How far a success may lie from all ends of demonstrations, as a factor on what is usual."""
    end_strictness: float = 5.0
    """What lies farther loses so much of the logit of success for each such distance."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("members", "width", "frames", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"reward: {name} is {getattr(self, name)}, but must be at least 1."
                )
        for name in (
            "final_share",
            "failure_share",
            "restart",
            "rewind",
            "other_goal",
            "wrong_goal",
            "wrong_task",
            "nearly_done",
            "half_done",
            "half_done_numbers",
            "undone_until",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"reward: {name} is {getattr(self, name)}, but must be within 0 and 1."
                )
        if not 0 <= self.done_last_s <= self.doubt_last_s:
            raise ConfigError(
                f"reward: done_last_s {self.done_last_s} must be at least 0 and not exceed "
                f"doubt_last_s {self.doubt_last_s}."
            )
        kinds = self.nearly_done + self.half_done + self.failure_share + self.final_share
        if kinds >= 1:
            raise ConfigError(
                f"reward: nearly_done, half_done, failure_share and final_share add up to "
                f"{kinds}, but must stay below 1, to leave room for other windows."
            )
        if self.other_goal + self.wrong_goal > 1:
            raise ConfigError(
                f"reward: other_goal {self.other_goal} and wrong_goal {self.wrong_goal} together "
                "exceed 1."
            )
        if self.folds < 2 or not min(self.gap_s, self.lr, self.familiar, self.like_an_end) > 0:
            raise ConfigError(
                f"reward: folds {self.folds} must be at least 2; gap_s {self.gap_s}, "
                f"lr {self.lr}, familiar {self.familiar} and like_an_end {self.like_an_end} "
                "positive."
            )
