"""Where a camera sits on the arm, or beside it: closed form, refinement, and how far to trust it.

The result says where the error comes from, pixels or kinematics, and how well it predicts views
that it has not seen; data that cannot carry a result is refused with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.board import BoardCfg
from calibration.camera import CameraModel
from calibration.chain import LENS, SHARED, Chain, Forward, State
from calibration.closed_form import Mount, arm_transform, consistent_views, misfit, solve
from calibration.detect import BoardView, board_pose
from calibration.refinement import Noise, Refined, refine
from robot_rl.errors import ConfigError, DataError
from robot_rl.geometry import rotvec_from_matrix, transform_inverse
from robot_rl.types import F64, I64

__all__ = ["HandEye", "HandEyeCfg", "calibrate_hand_eye"]

_LARGEST_DROPPED = 0.2  # share of views
_FOLDS = 5
_OBSERVABLE = 0.5  # posterior over prior deviation of an offset that the views tell
_SCALE_PRIOR = 0.2
_SURE = 5.0  # standard deviations
_ROUGH_M, _ROUGH_RAD = 0.1, 0.15  # what offsets of some degrees do to the closed form
_IMPOSSIBLE = 10.0  # times what is believed of the joints
_STRAINED = 3.0  # times what was believed of joints and corners
_TWICE = np.sqrt(2.0)  # the intrinsics may rest on the same images, which must not count twice


@dataclass(frozen=True, kw_only=True)
class HandEyeCfg:
    """What counts as enough, and what is believed of the arm beforehand."""

    fewest_views: int = 8
    """With the board in each; offsets need 15 and more."""
    joint_noise_deg: float = 0.0115
    """Standard deviation of a joint from view to view: encoder noise, play, sag."""
    joint_offset_deg: float = 1.0
    """Standard deviation of a joint's constant offset; 0 takes the encoders' zeros as true."""
    scale_tolerance: float = 0.01
    """How far the board's squares may be from their stated size."""
    largest_floor_px: float = 1.0
    """RMS of corners about each view's own pose above which pixels or intrinsics are wrong."""

    def __post_init__(self) -> None:
        """Refuse what no calibration can stand on."""
        if self.fewest_views < 5:
            raise ConfigError(f"fewest_views is {self.fewest_views}, but must be at least 5.")
        if not (self.joint_noise_deg > 0 and self.joint_offset_deg >= 0):
            raise ConfigError(
                f"joint_noise_deg is {self.joint_noise_deg} and must be positive; "
                f"joint_offset_deg is {self.joint_offset_deg} and must not be negative."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class HandEye:
    """A camera's place, the joints' offsets, and what they are worth."""

    mount: Mount
    X: F64  # (4, 4) T_tcp_cam of mount "hand", T_base_cam of "world"
    Z: F64  # (4, 4) T_base_board, T_tcp_board
    std: F64  # (6,) of X: translation [m], rotation [rad], in the camera's frame
    camera: CameraModel  # X holds for this lens: the one given, as the arm's motion corrects it
    lens_std: F64  # (LENS,) of its parameters; 0 of what was taken as exact
    offset_rad: F64  # (n,) to add to the encoders' readings
    offset_std_rad: F64  # (n,)
    observable: NDArray[np.bool_]  # (n,) bool; the other offsets are part of X and Z
    slack_rad: F64  # (v, n)
    used: I64  # (v,) places of the views that it rests on
    dropped: I64  # places of views that fit badly
    floor_px: float  # RMS about each view's own pose: pixels and intrinsics alone
    nominal_px: float  # RMS of the chain with perfect joints
    offset_px: float  # RMS with offsets
    view_px: F64  # (v,) RMS of each view, with offsets
    view_floor_px: F64  # (v,)
    held_out_m: float  # RMS error of the board's place in views that a fit did not see
    held_out_rad: float
    held_out_px: float
    scale: float  # measured over stated size of the board
    closed_form_m: float  # RMS misfit of the closed form
    diagnosis: str


def calibrate_hand_eye(
    camera: CameraModel,
    board: BoardCfg,
    mount: Mount,
    forward: Forward,
    views: Sequence[BoardView],
    q_rad: F64,
    cfg: HandEyeCfg | None = None,
    *,
    lens_std: F64 | None = None,
) -> HandEye:
    """Solve, refine, judge.

    Args:
        camera: Its intrinsics.
        board: As printed.
        mount: "hand": the camera moves with the tool; "world": the board does.
        forward: The arm's kinematics.
        views: Of the board.
        q_rad: (v, n) joint positions of each view.
        cfg: What counts as enough.
        lens_std: (LENS,) standard deviations of the camera's parameters, to correct them by the
            arm's motion; None takes them as exact.

    Raises:
        DataError: The views are too few, their motion degenerate, the board of another size, or
            cameras mixed up; says which.
    """
    cfg = cfg or HandEyeCfg()
    if len(views) < cfg.fewest_views:
        raise DataError(
            f"the board was found in {len(views)} views with joint positions, but "
            f"{cfg.fewest_views} are needed; 20 give offsets too. Take more."
        )
    posed = [board_pose(camera, view, board) for view in views]
    B = np.stack([pose for pose, _ in posed])
    floor = [residual for _, residual in posed]
    _check_floor(floor, cfg)
    used, problem = _agreeing(mount, forward(np.asarray(q_rad, np.float64)), B, cfg)
    chain = Chain.build(camera, board, mount, forward, views, q_rad)
    noise = _noise([floor[i] for i in used], cfg, lens_std)
    fit, used = _fit_without_outliers(chain, B, used, noise)
    if problem is not None and not _is_explained(chain.select(used), fit, noise):
        raise problem
    sized = refine(
        chain.select(used), _start(chain.select(used), B[used]), replace(noise, scale=_SCALE_PRIOR)
    )
    if _scatter(sized) <= _IMPOSSIBLE * noise.joint_rad:
        _check_scale(sized, board, cfg)
    _check_scatter(fit, noise)
    offset_std = fit.std[SHARED:-LENS]
    observable = (offset_std < _OBSERVABLE * noise.offset_rad) & (noise.offset_rad > 0)
    start = _start(chain.select(used), B[used])
    fit = refine(chain.select(used), start, noise, observable)
    camera = chain.camera_of(fit.state)
    B = np.stack([board_pose(camera, view, board)[0] for view in views])
    return _judged(chain, B, floor, used, fit, noise, observable)


def _noise(floor: Sequence[F64], cfg: HandEyeCfg, lens_std: F64 | None) -> Noise:
    """Corner noise as the views themselves have it: each pose takes 6 numbers from its corners."""
    squares = sum(float((r**2).sum()) for r in floor)
    spare = sum(r.size - 6 for r in floor)
    return Noise(
        corner_px=max(float(np.sqrt(squares / max(spare, 1))), 0.01),
        joint_rad=float(np.deg2rad(cfg.joint_noise_deg)),
        offset_rad=float(np.deg2rad(cfg.joint_offset_deg)),
        lens=(0.0,) * LENS if lens_std is None else tuple((_TWICE * lens_std).tolist()),
    )


def _check_floor(floor: Sequence[F64], cfg: HandEyeCfg) -> None:
    """Refuse pixels that no pose explains: these are not the intrinsics of this camera."""
    rms = float(np.median([np.sqrt((r**2).sum(-1).mean()) for r in floor]))
    if rms > cfg.largest_floor_px:
        raise DataError(
            f"in half of the views no pose of the board fits better than {rms:.2f} px, without "
            f"any arm; {cfg.largest_floor_px:g} px are allowed. Are these the intrinsics of this "
            "camera, at this image size, and is the board flat?"
        )


def _agreeing(
    mount: Mount, T_base_tcp: F64, B: F64, cfg: HandEyeCfg
) -> tuple[I64, DataError | None]:
    """Places of views that one camera on this mount explains.

    Large joint offsets can look like another camera at first: where views agree only roughly, the
    error comes along, to be raised unless the offsets explain them.
    """
    G = arm_transform(mount, T_base_tcp)
    solve(G, B)  # degenerate motion is refused before anything is blamed on cameras
    used, enough = consistent_views(G, B), max((1 - _LARGEST_DROPPED) * len(B), cfg.fewest_views)
    if len(used) >= enough:
        return used, None
    other: Mount = "world" if mount == "hand" else "hand"
    elsewhere = consistent_views(arm_transform(other, T_base_tcp), B)
    if len(elsewhere) >= (1 - _LARGEST_DROPPED) * len(B):
        raise DataError(
            f"the views do not fit a camera of mount '{mount}' ({len(used)} of {len(B)} agree), "
            f"but {len(elsewhere)} fit mount '{other}'. Cameras mixed up, or the wrong mount "
            "named?"
        )
    rest = [int(i) for i in np.setdiff1d(np.arange(len(B)), used)]
    problem = DataError(
        f"only {len(used)} of {len(B)} views agree with each other; views {rest} do not. Were "
        "cameras mixed up, was the board or the camera moved between views, or are these the "
        "joints of another arm?"
    )
    roughly = consistent_views(G, B, position_m=_ROUGH_M, rotation_rad=_ROUGH_RAD)
    if len(roughly) < enough:
        raise problem
    return roughly, problem


def _is_explained(chain: Chain, fit: Refined, noise: Noise) -> bool:
    """Whether offsets and the noise that was believed of the joints leave nothing over."""
    strain = np.sqrt((fit.state.slack_rad**2).mean(-1)) / noise.joint_rad
    rms = chain.view_rms_px(fit.state)
    return bool(np.median(strain) < _STRAINED and np.median(rms) < _STRAINED * noise.corner_px)


def _start(chain: Chain, B: F64) -> State:
    """The closed form."""
    found = solve(arm_transform(chain.mount, chain.forward(chain.q_rad)), B)
    return State.start(found.X, found.Z, *chain.q_rad.shape)


def _fit_without_outliers(chain: Chain, B: F64, used: I64, noise: Noise) -> tuple[Refined, I64]:
    """Fit; leave out views whose joints would have to be far off; fit again."""
    fit = refine(chain.select(used), _start(chain.select(used), B[used]), noise)
    rest = np.setdiff1d(np.arange(len(B)), used)
    if len(rest):  # with the offsets known, some that were left out may fit after all
        off = chain.select(rest).view_rms_px(fit.state.without_slack(len(rest)))
        most = chain.select(used).view_rms_px(fit.state.without_slack(len(used))).max()
        used = np.union1d(used, rest[off < 2.0 * most])
        fit = refine(chain.select(used), _start(chain.select(used), B[used]), noise)
    for _ in range(2):
        strain = np.sqrt((fit.state.slack_rad**2).mean(-1)) / noise.joint_rad
        rms = chain.select(used).view_rms_px(fit.state)
        good = (strain < 3.0 * max(float(np.median(strain)), 1.0)) & (
            rms < 3.0 * max(float(np.median(rms)), 1.5 * noise.corner_px)
        )
        if good.all() or good.sum() < (1 - _LARGEST_DROPPED) * len(B):
            break
        used = used[good]
        fit = refine(chain.select(used), _start(chain.select(used), B[used]), noise)
    return fit, used


def _scatter(fit: Refined) -> float:
    """RMS slack of all joints in all views [rad]."""
    return _rms(fit.state.slack_rad)


def _check_scatter(fit: Refined, noise: Noise) -> None:
    """Refuse views that only joints far worse than believed could explain."""
    scatter = _scatter(fit)
    if scatter > _IMPOSSIBLE * noise.joint_rad:
        raise DataError(
            f"the joints would have to scatter by {np.rad2deg(scatter):.2f} degrees from view to "
            f"view, and are believed to by {np.rad2deg(noise.joint_rad):.4f}. Was the board or "
            "the camera moved between views, were images taken before the arm stood still, or "
            "are these other joints? If the arm does have such play, say so by joint_noise_deg."
        )


def _check_scale(sized: Refined, board: BoardCfg, cfg: HandEyeCfg) -> None:
    """Refuse a board of another size, where that explains the views: the arm is the ruler."""
    scale, std = np.exp(sized.state.log_scale), sized.std[SHARED - 1]
    if abs(scale - 1.0) > max(cfg.scale_tolerance, _SURE * std):
        raise DataError(
            f"the squares of the board are said to measure {1e3 * board.square_m:g} mm, but "
            f"measured against the arm they have {1e3 * board.square_m * scale:.2f} "
            f"± {1e3 * board.square_m * std:.2f} mm. Measure them with a ruler, and name that "
            "size; a printer may have fitted the page."
        )


def _judged(
    chain: Chain,
    B: F64,
    floor: Sequence[F64],
    used: I64,
    fit: Refined,
    noise: Noise,
    observable: NDArray[np.bool_],
) -> HandEye:
    """The result with all its figures."""
    part = chain.select(used)
    start = _start(part, B[used])
    perfect = replace(noise, joint_rad=0.0, offset_rad=0.0, lens=(0.0,) * LENS)
    nominal = refine(part, start, perfect)
    plain = fit.state.without_slack(len(used))
    scale = refine(part, fit.state, replace(noise, scale=_SCALE_PRIOR), observable)
    position, rotation, pixels = _held_out(part, B[used], noise, observable)
    view_floor = np.array([np.sqrt((floor[i] ** 2).sum(-1).mean()) for i in used])
    G = arm_transform(part.mount, part.forward(part.q_rad))
    result = HandEye(
        mount=chain.mount,
        X=fit.state.X,
        Z=fit.state.Z,
        std=fit.std[:6],
        camera=chain.camera_of(fit.state),
        lens_std=fit.std[-LENS:],
        offset_rad=fit.state.offset_rad,
        offset_std_rad=np.where(observable, fit.std[SHARED:-LENS], noise.offset_rad),
        observable=observable,
        slack_rad=fit.state.slack_rad,
        used=used,
        dropped=np.setdiff1d(np.arange(len(chain.q_rad)), used),
        floor_px=_rms(view_floor),
        nominal_px=_rms(part.view_rms_px(nominal.state)),
        offset_px=_rms(part.view_rms_px(plain)),
        view_px=part.view_rms_px(plain),
        view_floor_px=view_floor,
        held_out_m=position,
        held_out_rad=rotation,
        held_out_px=pixels,
        scale=float(np.exp(scale.state.log_scale)),
        closed_form_m=_rms(misfit(start.X, start.Z, G, B[used])[0]),
        diagnosis="",
    )
    return replace(result, diagnosis=_diagnosis(result))


def _held_out(
    chain: Chain, B: F64, noise: Noise, observable: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """RMS error [m], [rad] and [px] of each fifth of the views, predicted from the others."""
    v = len(B)
    centre = chain.points_m.reshape(-1, 3).mean(0)
    position, rotation, pixels = [], [], []
    for fold in range(_FOLDS):
        out = np.arange(v) % _FOLDS == fold
        train, test = np.flatnonzero(~out), np.flatnonzero(out)
        fit = refine(chain.select(train), _start(chain.select(train), B[train]), noise, observable)
        unseen, state = chain.select(test), fit.state.without_slack(len(test))
        C = unseen.board_in_camera(state)
        gap = (C - B[test])[:, :3, :3] @ centre + (C - B[test])[:, :3, 3]
        position.append(np.linalg.norm(gap, axis=-1))
        turn = transform_inverse(B[test]) @ C
        rotation.append(np.linalg.norm(rotvec_from_matrix(turn[:, :3, :3]), axis=-1))
        pixels.append(unseen.view_rms_px(state))
    return (
        _rms(np.concatenate(position)),
        _rms(np.concatenate(rotation)),
        _rms(np.concatenate(pixels)),
    )


def _diagnosis(result: HandEye) -> str:
    """Where the error comes from, and what would help, in a sentence or two."""
    floor, nominal, offset = result.floor_px, result.nominal_px, result.offset_px
    pixels = f"the corners alone fit to {floor:.2f} px"
    if floor > 0.5:
        return (
            f"Pixels: {pixels} even where each view has a pose of its own. Renew the intrinsics, "
            "mind blur and light, and see that the board is flat."
        )
    if nominal < 1.5 * floor:
        return f"Nothing to mend: {pixels}, the whole chain to {nominal:.2f} px."
    if offset < 0.6 * nominal:
        worst = int(np.abs(result.offset_rad).argmax())
        return (
            f"Kinematics, of the kind that was mended: {pixels}, the chain to {nominal:.2f} px "
            f"with the encoders' zeros and to {offset:.2f} px with joint offsets; the largest is "
            f"{np.rad2deg(result.offset_rad[worst]):+.3f} degrees in joint {worst + 1}."
        )
    scatter = float(np.rad2deg(_rms(result.slack_rad)))
    return (
        f"Kinematics: {pixels}, the chain to {offset:.2f} px even with joint offsets; joints that "
        f"scatter by {scatter:.3f} degrees from view to view would explain it. If the encoders "
        "are better than that: play, sag, a loose camera or board, or images taken before the arm "
        "stood still."
    )


def _rms(values: F64) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
