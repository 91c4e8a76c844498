"""Leader and follower: sign and offset of each joint, from poses that both have held.

robot = sign * leader + offset. A pose is held in both arms, by hand or by a jig, and read; some
five poses in which every joint moves give the signs too, and show when the wiring is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import ConfigError, DataError, ShapeError
from robot_rl.types import F64, I64

__all__ = ["JointOffsets", "JointsCfg", "calibrate_joints"]

_QUARTER_TURN = 0.5 * np.pi


@dataclass(frozen=True, kw_only=True)
class JointsCfg:
    """What counts as enough."""

    fewest_pairs: int = 5
    """Poses held by both arms."""
    smallest_range_rad: float = 0.2
    """How far each joint must have moved between poses for its sign to be known."""
    largest_std_rad: float = 0.05
    """Scatter of a joint about its line above which it does not follow."""
    slope_tolerance: float = 0.15
    """How far a joint's slope may be from 1 or -1."""

    def __post_init__(self) -> None:
        """Refuse what no calibration can stand on."""
        if self.fewest_pairs < 3:
            raise ConfigError(f"fewest_pairs is {self.fewest_pairs}, but must be at least 3.")


@dataclass(frozen=True, kw_only=True, eq=False)
class JointOffsets:
    """robot = sign * leader + offset, a joint each."""

    sign: I64  # (n,) 1 or -1
    offset_rad: F64  # (n,)
    std_rad: F64  # (n,) of the offsets
    scatter_rad: F64  # (n,) of single poses about them
    held_out_rad: F64  # (n,) RMS error of each pose, predicted from the others
    quarter_turns: I64  # (n,) nearest multiple of 90 degrees, as servo horns are mounted


def calibrate_joints(
    leader_rad: F64, follower_rad: F64, names: Sequence[str], cfg: JointsCfg | None = None
) -> JointOffsets:
    """Fit sign and offset of each joint to (k, n) readings of leader and follower.

    Raises:
        ShapeError: The readings do not match in number.
        DataError: Too few poses, a joint that was not moved, or one that does not follow.
    """
    cfg = cfg or JointsCfg()
    leader, follower = np.asarray(leader_rad, np.float64), np.asarray(follower_rad, np.float64)
    if leader.shape != follower.shape:
        raise ShapeError("leader_rad", leader.shape, follower.shape)
    if len(leader) < cfg.fewest_pairs:
        raise DataError(
            f"{len(leader)} poses were held by both arms, but {cfg.fewest_pairs} are needed. "
            "Hold more, with every joint elsewhere."
        )
    turned = np.ptp(np.unwrap(leader, axis=0), axis=0)
    if (turned < cfg.smallest_range_rad).any():
        still = [name for name, r in zip(names, turned, strict=True) if r < cfg.smallest_range_rad]
        raise DataError(
            f"{', '.join(still)} moved by less than {cfg.smallest_range_rad:g} rad over all "
            "poses, so that the sign is not known. Hold poses in which every joint differs."
        )
    fits = [_line(leader[:, j], follower[:, j]) for j in range(leader.shape[1])]
    sign, offset, scatter = (np.array(part) for part in zip(*fits, strict=True))
    _check_follows(leader, follower, scatter, names, cfg)
    k = len(leader)
    rest = _wrapped(follower - sign * leader - offset)
    centred = rest - rest.mean(0)
    return JointOffsets(
        sign=sign.astype(np.int64),
        offset_rad=offset,
        std_rad=scatter / np.sqrt(k),
        scatter_rad=scatter,
        held_out_rad=np.sqrt(((centred * k / (k - 1)) ** 2).mean(0)),
        quarter_turns=np.round(offset / _QUARTER_TURN).astype(np.int64),
    )


def _line(leader: F64, follower: F64) -> tuple[float, float, float]:
    """Sign, offset and scatter of one joint: the sign that scatters less."""
    best = None
    for sign in (1.0, -1.0):
        gap = follower - sign * leader
        # A servo may wrap by whole turns; the offset itself stays the one that holds for most.
        middle = float(np.median(gap))
        rest = _wrapped(gap - middle)
        offset = middle + float(rest.mean())
        scatter = float(rest.std(ddof=1))
        if best is None or scatter < best[2]:
            best = sign, offset, scatter
    assert best is not None
    return best


def _check_follows(
    leader: F64, follower: F64, scatter: F64, names: Sequence[str], cfg: JointsCfg
) -> None:
    """Refuse joints that do something else than their partner, and say what."""
    for j, name in enumerate(names):
        if scatter[j] <= cfg.largest_std_rad:
            continue
        others = [_line(leader[:, i], follower[:, j])[2] for i in range(leader.shape[1])]
        nearest = int(np.argmin(others))
        if nearest != j and others[nearest] <= cfg.largest_std_rad:
            raise DataError(
                f"{name} of the follower goes with {names[nearest]} of the leader, not with its "
                "own. Are joints swapped, by wiring or by their order in the file?"
            )
        x, y = leader[:, j] - leader[:, j].mean(), follower[:, j] - follower[:, j].mean()
        slope = float(x @ y / (x @ x))
        if abs(abs(slope) - 1.0) > cfg.slope_tolerance:
            why = f"it moves {abs(slope):.2f} times as far: another gear ratio, or degrees?"
        else:
            why = "was a pose not held while it was read?"
        raise DataError(
            f"{name} scatters by {scatter[j]:.3f} rad about its offset, but "
            f"{cfg.largest_std_rad:g} rad are allowed; {why}"
        )


def _wrapped(angle: F64) -> F64:
    """Into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
