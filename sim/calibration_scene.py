"""The rig of `calibration_world` as images: the twin's arm, a board, a real lens before it.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

MuJoCo renders an ideal pinhole, wider and finer than the camera; each pixel of the camera then
looks up where its ray went, so that distortion is exact. Blur and noise come last, as in a sensor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import mujoco
import numpy as np

from calibration.detect import BoardView, detect_board
from calibration.session import CameraEntry, Session, SessionCfg
from calibration.sheet import raster
from robot_rl.errors import ConfigError
from robot_rl.geometry import transform_inverse
from robot_rl.types import F32, F64, U8
from sim.arm import FINGERS, add_arm, body_name, split_transform
from sim.calibration_world import CalibrationWorld, plan_views, wiggle
from sim.cameras import CameraRig
from sim.scene import empty_scene

__all__ = ["CalibrationScene", "Lens", "corner_errors", "film_session"]

_CAMERA, _BOARD = "eye", "board"
_RIM = 0.375  # of white paper around the squares, in squares
_SQUARE_PX = 96  # of the texture; whole, like the rim, so that no edge is rounded
_OPEN_JOINT = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera to MuJoCo's
_SWING_HZ = 15.0
_JOINTS_HZ = 100.0
_BEFORE_S = 0.6  # joints recorded before the first image


@dataclass(frozen=True, kw_only=True)
class Lens:
    """What the sensor adds to the ideal image."""

    blur_px: float = 0.6
    """Standard deviation of a Gaussian."""
    noise: float = 2.0
    """Standard deviation of each pixel, of 255."""
    supersampling: float = 2.0
    """Pixels of the ideal image over those of the camera."""

    def __post_init__(self) -> None:
        """Refuse negative figures."""
        if self.blur_px < 0 or self.noise < 0 or not 1 <= self.supersampling <= 4:
            raise ConfigError(
                f"lens is {self}, but blur and noise must not be negative, and supersampling "
                "must be within 1 and 4."
            )


class CalibrationScene:
    """Renders what the camera of a rig sees; holds a GL context until `close`.

    Raises:
        PortError: This machine cannot render.
    """

    def __init__(self, world: CalibrationWorld, lens: Lens | None = None) -> None:
        self.world, self.lens = world, lens or Lens()
        focal = self.lens.supersampling * world.camera.fx_px
        width, height, self._map = _lookup(world, focal)
        self._model = _build(world, focal, height).compile()
        self._data = mujoco.MjData(self._model)
        joints = [self._model.joint(name).qposadr[0] for name in world.arm.joint_names]
        self._joints = np.array(joints)
        _open_gripper(self._model, self._data, world)
        self._rig = CameraRig(self._model, width, height)

    def image(self, q_true_rad: F64, rng: np.random.Generator) -> U8:
        """The image (height, width, 3) of an arm that stands at true joints (n,)."""
        self._data.qpos[self._joints] = q_true_rad
        sharp = self._rig.render(self._data, _CAMERA)
        blur = self.lens.blur_px * self.lens.supersampling
        if blur > 0:
            sharp = cv2.GaussianBlur(sharp, (0, 0), blur)
        seen = cv2.remap(sharp, *self._map, cv2.INTER_LINEAR).astype(np.float32)
        seen += self.lens.noise * rng.standard_normal(seen.shape, np.float32)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8)

    def close(self) -> None:
        """Release the GL context."""
        self._rig.close()


def film_session(
    world: CalibrationWorld,
    path: Path,
    *,
    camera: str,
    views: int = 20,
    seed: int = 0,
    lens: Lens | None = None,
    images: bool = True,
    swing_s: float = 6.0,
    progress: Callable[[int, int], None] | None = None,
) -> Session:
    """Record a session of the rig: still views, then a swing before the board.

    Args:
        world: The rig.
        path: Of the session's folder.
        camera: What the camera is called.
        views: Of the arm standing still.
        seed: Draws views and noise.
        lens: Blur and noise of the images.
        images: Whether images are rendered; else corners are projected and given the rig's noise.
        swing_s: How long the arm swings.
        progress: Is told how many images of how many are done.
    """
    rng = np.random.default_rng([seed, 1])
    cfg = SessionCfg(
        joint_names=world.arm.joint_names,
        cameras={
            camera: CameraEntry(
                mount=world.mount,
                width_px=world.camera.width_px,
                height_px=world.camera.height_px,
                serial=f"twin{seed}",
            )
        },
        board=world.board,
    )
    session = Session.create(path, cfg)
    session.add_truth(_truth(world))
    scene = CalibrationScene(world, lens) if images else None
    stamps_s = np.arange(0.0, swing_s, 1 / _SWING_HZ) + _BEFORE_S
    total = views + len(stamps_s)

    def add(done: int, stamp_s: float, q_true: F64, q_rad: F64 | None) -> None:
        if scene is not None:
            session.add_view(camera, stamp_s, image=scene.image(q_true, rng), q_rad=q_rad)
        elif (corners := world.see(q_true, rng)) is not None:
            session.add_view(camera, stamp_s, corners=corners, q_rad=q_rad)
        if progress is not None:
            progress(done + 1, total)

    try:
        for i, q in enumerate(plan_views(world, views, seed)):
            add(i, -10.0 * (views - i), world.true_joints(q, rng), q)
        joints_s = np.arange(0.0, _BEFORE_S + swing_s + 0.1, 1 / _JOINTS_HZ)
        noise = np.deg2rad(world.faults.joint_noise_deg)
        for t, q in zip(joints_s, wiggle(world, joints_s, seed), strict=True):
            session.add_joints(float(t), q + noise * rng.normal(size=q.shape))
        shown = wiggle(world, stamps_s - world.faults.delay_s, seed) + world.offset_rad
        for i, (t, q) in enumerate(zip(stamps_s, shown, strict=True)):
            add(views + i, float(t), q, None)
    finally:
        if scene is not None:
            scene.close()
    _add_leader(session, world, rng)
    return session


def corner_errors(scene: CalibrationScene, q_true_rad: F64, rng: np.random.Generator) -> F64:
    """(k, 2) [px] detected minus true corners of one rendered view, (0, 2) if none is found."""
    world = scene.world
    view: BoardView | None = detect_board(scene.image(q_true_rad, rng), world.board)
    if view is None:
        return np.zeros((0, 2))
    C = transform_inverse(world.camera_in_base(q_true_rad)) @ world.board_in_base(q_true_rad)
    points = view.points_m(world.board) @ C[:3, :3].T + C[:3, 3]
    return view.corners_px - world.camera.project(points)


def _add_leader(session: Session, world: CalibrationWorld, rng: np.random.Generator) -> None:
    """Poses that a leader arm and this arm hold alike; its servos sit at quarter turns."""
    n = world.arm.dof
    sign = rng.choice([-1, 1], n)
    offset = 0.5 * np.pi * rng.integers(-2, 3, n) + rng.uniform(-0.1, 0.1, n)
    for _ in range(8):
        follower = world.arm.home_rad + rng.uniform(-0.5, 0.5, n)
        leader = sign * (follower - offset) + 0.002 * rng.normal(size=n)
        session.add_pair(leader, follower)
    session.add_truth(session.truth() | {"leader": {"sign": sign, "offset_rad": offset}})


def _truth(world: CalibrationWorld) -> dict[str, object]:
    """What a calibration should find."""
    return {
        "camera": world.camera,
        "mount": world.mount,
        "X": world.X,
        "Z": world.Z,
        "offset_rad": world.offset_rad,
        "delay_s": world.faults.delay_s,
    }


def _open_gripper(model: mujoco.MjModel, data: mujoco.MjData, world: CalibrationWorld) -> None:
    """Spread the fingers, as they are drawn over reports."""
    if world.arm.gripper is not None:
        for side in FINGERS:
            slide = model.joint(body_name(world.arm, f"{side}_slide")).qposadr[0]
            data.qpos[slide] = 0.5 * world.arm.gripper.max_width_m


def _lookup(world: CalibrationWorld, focal_px: float) -> tuple[int, int, tuple[F32, F32]]:
    """Size of the ideal image, and where in it each pixel of the camera looks."""
    camera = world.camera
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
    rays = camera.rays(np.stack([u.ravel(), v.ravel()], axis=-1).astype(np.float64))
    reach = np.abs(rays[:, :2]).max(0) * focal_px + 4.0
    width, height = (2 * int(np.ceil(r)) for r in reach)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    look = rays[:, :2] * focal_px + centre
    look = look.reshape(camera.height_px, camera.width_px, 2).astype(np.float32)
    return width, height, (look[..., 0].copy(), look[..., 1].copy())


def _build(world: CalibrationWorld, focal_px: float, height_px: int) -> mujoco.MjSpec:
    """Table, arm, board and camera, each on the body that carries it."""
    spec = empty_scene("calibration")
    add_arm(spec, world.arm)
    tool = spec.body(body_name(world.arm, f"link{world.arm.dof}"))
    T_flange_tcp = world.arm.T_flange_tcp
    if world.mount == "hand":
        carrier, place = tool, T_flange_tcp @ world.X
        board_carrier, board_place = spec.worldbody, world.Z
    else:
        carrier, place = spec.worldbody, world.X
        board_carrier, board_place = tool, T_flange_tcp @ world.Z
    eye = carrier.add_camera(name=_CAMERA)
    eye.pos, eye.quat = split_transform(place @ _OPEN_JOINT)
    eye.fovy = float(np.rad2deg(2 * np.arctan(0.5 * height_px / focal_px)))
    _add_board(spec, board_carrier, world, board_place)
    return spec


def _add_board(
    spec: mujoco.MjSpec, carrier: mujoco.MjsBody, world: CalibrationWorld, T: F64
) -> None:
    """A rectangle that shows the board; its front is where z points away from."""
    board = world.board
    rim_m = _RIM * board.square_m
    picture = raster(board, _SQUARE_PX / board.square_m, quiet_m=rim_m)
    texture = spec.add_texture(name=_BOARD, type=mujoco.mjtTexture.mjTEXTURE_2D)
    texture.height, texture.width, texture.nchannel = *picture.shape, 3
    texture.data = np.repeat(picture[:, :, None], 3, axis=-1).tobytes()
    material = spec.add_material(name=_BOARD)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = _BOARD
    material.emission, material.specular, material.reflectance = 0.3, 0.0, 0.0
    left, top = -rim_m, -rim_m
    right, bottom = (size + rim_m for size in board.size_m)
    sheet = spec.add_mesh(name=_BOARD, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    sheet.uservert = [left, top, 0, right, top, 0, right, bottom, 0, left, bottom, 0]
    sheet.userface = [0, 2, 1, 0, 3, 2]  # counted so that the front is where -z points
    sheet.usertexcoord = [0, 0, 1, 0, 1, 1, 0, 1]
    geom = carrier.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=_BOARD, material=_BOARD)
    geom.pos, geom.quat = split_transform(T)
    geom.contype = geom.conaffinity = 0
    geom.mass = 1e-3
