"""A hand that reaches for a point: the smallest task whose progress can be judged and faked."""

from dataclasses import dataclass, field

import numpy as np
import pytest

PERIOD_S = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """An episode as a store gives it back."""

    obs: dict
    t_s: np.ndarray
    success: bool | None
    attrs: dict = field(default_factory=dict)


def reach(seed, *, until=1.0, hold=12, images=False, success=None):
    """The hand goes to the point, or a part of the way, and stays there.

    State: hand from point (2), velocity (2), point (2). With images, a bright square (hand) and a
    cross (point) on dark ground.
    """
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(24, 36))
    point, start = rng.uniform(-0.3, 0.3, (2, 2))
    start[1] += 0.9
    share = np.concatenate([np.linspace(0, until, steps), np.full(hold, until)])
    hand = start + share[:, None] * (point - start) + 0.004 * rng.normal(size=(len(share), 2))
    velocity = np.gradient(hand, axis=0) / PERIOD_S
    state = np.concatenate([hand - point, 0.2 * velocity, np.tile(point, (len(share), 1))], 1)
    obs = {"state": state.astype(np.float32)}
    if images:
        obs["front"] = np.stack([_paint(h, point) for h in hand])
    return Recorded(
        obs=obs,
        t_s=PERIOD_S * np.arange(len(share)),
        success=until >= 1.0 if success is None else success,
        attrs={"task": "reach", "seed": seed, "achieved": (share >= 1.0).tolist()},
    )


def _paint(hand, point):
    picture = np.full((32, 32, 3), 30, np.uint8)
    for (x, y), color in ((point, (40, 200, 60)), (hand, (220, 210, 200))):
        column, row = int(16 + 10 * x), int(24 - 14 * y)
        rows = slice(max(row - 2, 0), max(row + 3, 0))
        picture[rows, max(column - 2, 0) : max(column + 3, 0)] = color
    return picture


@pytest.fixture(scope="session")
def make_reach():
    return reach
