"""How much later images are stamped than joints, from an arm that swings before the board.

The corners of each image are predicted by the chain of `chain`, with the joints read `delay`
earlier than the image's stamp: the delay that predicts them best is the answer, found together
with the place of the board. A camera whose rows are exposed one after another ("rolling shutter")
gives the time of the rows in which the board was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.chain import Chain, Forward, State, small_motion
from calibration.closed_form import Mount, arm_transform
from calibration.detect import BoardView, board_pose
from robot_rl.errors import ConfigError, DataError
from robot_rl.geometry import transform_inverse
from robot_rl.types import F64, I64

__all__ = ["Latency", "LatencyCfg", "calibrate_latency"]

_ITERATIONS = 20
_GRID_S = 0.004
_NEAR_END_S = 0.01
_SMOOTH_S = 0.04  # half a window of readings; a swing of 1 Hz is a cubic within it
_TOO_STILL = "the arm moved too little. Swing it faster, at 0.5 to 1 Hz, and for longer."
_TELLING = 0.4  # share of `fewest_views` that must carry the delay, for a few may be odd
_USUAL = 0.6745  # median of how far a normal deviate is off
_ODD = 6.0  # times the median; hardly one in ten thousand is
_LARGEST_DROPPED = 0.2  # share of the images
_CLEAR = 4.0  # how much faster than its noise a joint must move


@dataclass(frozen=True, kw_only=True)
class LatencyCfg:
    """What counts as enough, and where the delay is looked for."""

    fewest_views: int = 30
    """With the board in each, while the arm moves."""
    earliest_s: float = -0.1
    """Smallest delay that is tried; negative ones are joints that come later than images."""
    latest_s: float = 0.4
    """Largest delay that is tried."""
    largest_std_s: float = 0.002
    """Largest standard deviation of the delay."""
    largest_gap_s: float = 0.06
    """Longest pause between two joint readings that is interpolated."""
    joint_noise_deg: float = 0.0115
    """Standard deviation of a joint from reading to reading."""

    def __post_init__(self) -> None:
        """Refuse a window that is none."""
        if not self.earliest_s < self.latest_s:
            raise ConfigError(
                f"earliest_s is {self.earliest_s}, but must be below latest_s, {self.latest_s}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Latency:
    """The delay and its worth."""

    delay_s: float  # stamp of an image minus stamp of the joints it shows
    std_s: float
    halves_s: float  # difference between the delays of even and odd images
    jitter_s: float  # scatter from image to image beyond what noise explains
    view_delay_s: F64  # (v,) each image on its own
    view_px: F64  # (v,) RMS at the common delay
    without_px: float  # RMS without any delay
    with_px: float
    speed_px_s: float  # RMS speed of the corners: what the delay is told by


def calibrate_latency(
    camera: CameraModel,
    board: BoardCfg,
    mount: Mount,
    forward: Forward,
    views: Sequence[BoardView],
    stamps_s: F64,
    joint_stamps_s: F64,
    joints_rad: F64,
    X: F64,
    offset_rad: F64,
    cfg: LatencyCfg | None = None,
) -> Latency:
    """Find the delay.

    Args:
        camera: Its intrinsics.
        board: As printed.
        mount: Where the camera is.
        forward: The arm's kinematics.
        views: Of the board, while the arm swings.
        stamps_s: (v,) of the images.
        joint_stamps_s: (m,) of the joint readings, in the same clock.
        joints_rad: (m, n).
        X: (4, 4) from hand-eye.
        offset_rad: (n,) from hand-eye.
        cfg: What counts as enough.

    Raises:
        DataError: Too few views, too little motion, clocks or stamps that do not fit.
    """
    cfg = cfg or LatencyCfg()
    stamps = np.asarray(stamps_s, np.float64)
    track = _Track.build(joint_stamps_s, joints_rad, cfg)
    if not track.moves():
        raise DataError(_TOO_STILL)
    inside = track.covers(stamps - cfg.latest_s) & track.covers(stamps - cfg.earliest_s)
    if inside.sum() < cfg.fewest_views:
        raise DataError(
            f"{inside.sum()} images show the board while joints were recorded "
            f"({len(stamps)} in all), but {cfg.fewest_views} are needed. Record joints from "
            f"{cfg.latest_s:g} s before the first image on; are both stamps of one clock?"
        )
    kept = [view for view, is_inside in zip(views, inside, strict=True) if is_inside]
    stamps = stamps[inside]
    q = track.at(stamps)
    chain = Chain.build(camera, board, mount, forward, kept, q)
    B = np.stack([board_pose(camera, view, board)[0] for view in kept])
    corner_px = _corner_noise(camera, board, kept)
    fitter = _Fitter(
        chain=chain,
        track=track,
        stamps_s=stamps,
        X=X,
        offset_rad=offset_rad,
        corner_px=corner_px,
        joint_rad=float(np.deg2rad(cfg.joint_noise_deg)),
    )
    delay = _coarse(fitter, B, cfg)
    fitter, B = _agreeing(fitter, B, delay)
    delay, Z, std = fitter.fit(delay, B, np.ones(len(B), bool))
    if min(delay - cfg.earliest_s, cfg.latest_s - delay) < _NEAR_END_S:
        raise DataError(
            f"the best delay, {1e3 * delay:.0f} ms, lies at the end of what was tried "
            f"({1e3 * cfg.earliest_s:.0f} to {1e3 * cfg.latest_s:.0f} ms). Are both stamps of one "
            "clock? If so, widen earliest_s or latest_s."
        )
    if not std <= cfg.largest_std_s:
        raise DataError(
            f"the delay is known to ± {1e3 * std:.2g} ms only, but {1e3 * cfg.largest_std_s:g} ms "
            f"are needed: {_TOO_STILL}"
        )
    if (telling := fitter.telling(delay, Z)) < _TELLING * cfg.fewest_views:
        raise DataError(
            f"the delay rests on {telling:.0f} of {len(B)} images; in the others the arm "
            "hardly moved. Keep it swinging, without pauses, at 0.5 to 1 Hz."
        )
    even = np.arange(len(B)) % 2 == 0
    halves = [fitter.fit(delay, B, part)[0] for part in (even, ~even)]
    return fitter.judged(delay, Z, std, halves[0] - halves[1])


def _agreeing(fitter: "_Fitter", B: F64, delay_s: float) -> tuple["_Fitter", F64]:
    """The images, and their boards (v, 4, 4), that one delay explains.

    A jerk between two readings of the joints is in no track of them; a single image taken then
    would draw the delay by milliseconds.
    """
    part = np.ones(len(B), bool)
    for _ in range(3):
        delay_s, Z, _ = fitter.fit(delay_s, B, part)
        odd = fitter.oddness(delay_s, Z)
        agreed = odd <= _ODD * max(float(np.median(odd[part])), _USUAL)
        if (agreed == part).all() or agreed.mean() < 1 - _LARGEST_DROPPED:
            break
        part = agreed
    places = np.flatnonzero(part)
    chosen = replace(fitter, chain=fitter.chain.select(places), stamps_s=fitter.stamps_s[places])
    return chosen, B[places]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Track:
    """Joints over time: readings smoothed by local cubics, and cubic Hermite between them."""

    t: F64  # (m,)
    q: F64  # (m, n)
    dq: F64  # (m, n)
    dq_noise: F64  # (n,) deviation of dq that noise in the readings alone gives
    longest: float

    def moves(self) -> bool:
        """Whether some joint moves faster than noise seems to."""
        return bool((np.sqrt((self.dq**2).mean(0)) > _CLEAR * self.dq_noise).any())

    @classmethod
    def build(cls, t: F64, q: F64, cfg: LatencyCfg) -> "_Track":
        t, q = np.asarray(t, np.float64), np.asarray(q, np.float64)
        if len(t) < 10:
            raise DataError(
                f"there are {len(t)} joint readings of the arm in motion. Record them at 50 Hz "
                "or more while the arm swings."
            )
        if not (np.diff(t) > 0).all():
            place = int(np.argmin(np.diff(t))) + 1
            raise DataError(
                f"joint stamps must increase, but reading {place} is stamped {t[place]:.6f} s "
                f"after {t[place - 1]:.6f} s. Record against a clock that does not jump."
            )
        return cls(t=t, longest=cfg.largest_gap_s, **_smoothed(t, q))

    def covers(self, t: F64) -> NDArray[np.bool_]:
        """Which times lie between two readings that are near enough."""
        i = np.clip(np.searchsorted(self.t, t) - 1, 0, len(self.t) - 2)
        near = self.t[i + 1] - self.t[i] <= self.longest
        return (t >= self.t[0]) & (t <= self.t[-1]) & near

    def at(self, t: F64) -> F64:
        """Joints (k, n) [rad]."""
        i, s, h = self._place(t)
        a, b = self.q[i], self.q[i + 1]
        da, db = h * self.dq[i], h * self.dq[i + 1]
        return (
            (1 + 2 * s) * (1 - s) ** 2 * a
            + s * (1 - s) ** 2 * da
            + s**2 * (3 - 2 * s) * b
            + s**2 * (s - 1) * db
        )

    def speed(self, t: F64) -> F64:
        """Joint velocities (k, n) [rad/s]."""
        i, s, h = self._place(t)
        a, b = self.q[i], self.q[i + 1]
        slope = 6 * s * (1 - s) * (b - a) / h
        return slope + (1 - s) * (1 - 3 * s) * self.dq[i] + s * (3 * s - 2) * self.dq[i + 1]

    def _place(self, t: F64) -> tuple[I64, F64, F64]:
        i = np.clip(np.searchsorted(self.t, t) - 1, 0, len(self.t) - 2)
        h = self.t[i + 1] - self.t[i]
        return i, ((t - self.t[i]) / h)[:, None], h[:, None]


def _smoothed(t: F64, q: F64) -> dict[str, F64]:
    """Position, velocity and its noise, by a cubic through the neighbours of each reading.

    Ref: Savitzky and Golay 1964; here with the true stamps instead of a constant rate.
    """
    half = int(np.clip(round(_SMOOTH_S / float(np.median(np.diff(t)))), 2, 20))
    near = np.arange(len(t))[:, None] + np.arange(-half, half + 1)
    near = near - np.maximum(near.max(1) - len(t) + 1, 0)[:, None]  # whole windows at both ends
    near = near - np.minimum(near.min(1), 0)[:, None]
    scale = half * float(np.median(np.diff(t)))
    x = (t[near] - t[:, None]) / scale
    gain = np.linalg.pinv(x[..., None] ** np.arange(4))  # (m, 4, 2 half + 1)
    c = gain @ q[near]  # (m, 4, n)
    spare = max(2 * half + 1 - 4, 1)
    rest = q[near] - (x[..., None] ** np.arange(4)) @ c
    noise = np.sqrt((rest**2).sum(1).mean(0) / spare)
    row = np.sqrt((gain[:, 1] ** 2).sum(-1).mean())
    return {"q": c[:, 0], "dq": c[:, 1] / scale, "dq_noise": noise * row / scale}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitter:
    """Delay and board from the corners, each image's joints with a noise of their own."""

    chain: Chain
    track: _Track
    stamps_s: F64
    X: F64
    offset_rad: F64
    corner_px: float
    joint_rad: float

    def at(self, delay_s: float) -> Chain:
        """The chain with the joints of that delay."""
        q = self.track.at(self.stamps_s - delay_s)
        return replace(self.chain, q_rad=q)

    def state(self, Z: F64) -> State:
        """With a board there."""
        offset = np.asarray(self.offset_rad, np.float64)
        slack = np.zeros((len(self.stamps_s), len(offset)))
        return State(X=self.X, Z=Z, offset_rad=offset, slack_rad=slack)

    def boards(self, delay_s: float, B: F64) -> F64:
        """Z (v, 4, 4) as each image has it: all alike at the right delay."""
        q = self.track.at(self.stamps_s - delay_s) + self.offset_rad
        G = arm_transform(self.chain.mount, self.chain.forward(q))
        return transform_inverse(G) @ (self.X @ B)

    def linear(self, delay_s: float, Z: F64) -> tuple[F64, F64, F64]:
        """Whitened residuals (v, 2k), their slope by delay (v, 2k) and by Z (v, 2k, 6)."""
        chain, state = self.at(delay_s), self.state(Z)
        v, k = chain.weight.shape
        r = chain.residuals(state).reshape(v, 2 * k)
        shared, joints = chain.jacobian(state)
        seen = np.repeat(chain.weight, 2, axis=-1)
        joints = joints.reshape(v, 2 * k, -1) * seen[..., None]
        by_board = shared[..., 6:12].reshape(v, 2 * k, 6) * seen[..., None]
        speed = self.track.speed(self.stamps_s - delay_s)
        by_delay = -np.einsum("vkn,vn->vk", joints, speed)
        S = self.joint_rad**2 * joints @ joints.swapaxes(-1, -2)
        S += self.corner_px**2 * np.eye(2 * k)
        L = np.linalg.cholesky(S)
        columns = np.concatenate([r[..., None], by_delay[..., None], by_board], axis=-1)
        white = np.asarray(np.linalg.solve(L, columns), np.float64)
        return white[..., 0], white[..., 1], white[..., 2:]

    def fit(self, delay_s: float, B: F64, part: NDArray[np.bool_]) -> tuple[float, F64, float]:
        """Gauss-Newton over delay and board, on some of the images."""
        Z, std = _mean_pose(self.boards(delay_s, B)[part]), np.inf
        for _ in range(_ITERATIONS):
            r, by_delay, by_board = (a[part] for a in self.linear(delay_s, Z))
            J = np.concatenate([by_delay[..., None], by_board], axis=-1).reshape(-1, 7)
            information = J.T @ J
            step = np.asarray(np.linalg.solve(information, J.T @ r.ravel()), np.float64)
            delay_s += float(np.clip(step[0], -0.02, 0.02))
            Z = Z @ small_motion(step[1:])
            std = float(np.sqrt(np.linalg.inv(information)[0, 0]))
            if abs(step[0]) < 1e-7:
                break
        return delay_s, Z, std

    def oddness(self, delay_s: float, Z: F64) -> F64:
        """(v,) how far each image's own delay is off, in its standard deviations."""
        r, by_delay, _ = self.linear(delay_s, Z)
        told = np.einsum("vk,vk->v", by_delay, by_delay)
        return np.abs(np.einsum("vk,vk->v", by_delay, r)) / np.sqrt(np.maximum(told, 1e-12))

    def telling(self, delay_s: float, Z: F64) -> float:
        """How many images carry the delay: all, if each tells as much (Kish 1965, n_eff)."""
        _, by_delay, _ = self.linear(delay_s, Z)
        told = np.einsum("vk,vk->v", by_delay, by_delay)
        return float(told.sum() ** 2 / (told**2).sum())

    def judged(self, delay_s: float, Z: F64, std_s: float, halves_s: float) -> Latency:
        """The result with its figures."""
        r, by_delay, _ = self.linear(delay_s, Z)
        information = np.einsum("vk,vk->v", by_delay, by_delay)
        own = np.einsum("vk,vk->v", by_delay, r) / np.maximum(information, 1e-12)
        total = information.sum()
        variance = float((information * own**2).sum() / total)
        expected = len(own) / total
        state = self.state(Z)
        per_view = self.at(delay_s).view_rms_px(state)
        chain = self.at(delay_s)
        _, joints = chain.jacobian(state)
        speed = self.track.speed(self.stamps_s - delay_s)
        flow = np.einsum("vkin,vn->vki", joints, speed)[chain.weight > 0]
        none = self.at(0.0).view_rms_px(state)
        return Latency(
            delay_s=delay_s,
            std_s=std_s,
            halves_s=halves_s,
            jitter_s=float(np.sqrt(max(0.0, variance - expected))),
            view_delay_s=delay_s + own,
            view_px=per_view,
            without_px=float(np.sqrt(np.mean(none**2))),
            with_px=float(np.sqrt(np.mean(per_view**2))),
            speed_px_s=float(np.sqrt((flow**2).sum(-1).mean())),
        )


def _corner_noise(camera: CameraModel, board: BoardCfg, views: Sequence[BoardView]) -> float:
    """Standard deviation [px] of corners about each view's own pose."""
    floor = [board_pose(camera, view, board)[1] for view in views]
    spare = sum(r.size - 6 for r in floor)
    return max(float(np.sqrt(sum(float((r**2).sum()) for r in floor) / max(spare, 1))), 0.01)


def _coarse(fitter: _Fitter, B: F64, cfg: LatencyCfg) -> float:
    """The delay on a grid at which the board stands stillest."""
    grid = np.arange(cfg.earliest_s, cfg.latest_s + 0.5 * _GRID_S, _GRID_S)
    spread = []
    for delay in grid:
        place = fitter.boards(float(delay), B)[:, :3, 3]
        spread.append(np.median(np.linalg.norm(place - np.median(place, axis=0), axis=-1)))
    return float(grid[int(np.argmin(spread))])


def _mean_pose(T: F64) -> F64:
    """A pose amid (v, 4, 4): the refinement starts from it."""
    mean = np.eye(4)
    U, _, Vt = np.linalg.svd(T[:, :3, :3].sum(0))
    mean[:3, :3] = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    mean[:3, 3] = np.median(T[:, :3, 3], axis=0)
    return mean
