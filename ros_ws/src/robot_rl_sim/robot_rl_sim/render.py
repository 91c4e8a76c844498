"""The twin's cameras in a thread of their own: a GL context belongs to the thread that made it.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import threading
import time
from collections.abc import Callable

import mujoco
import numpy as np

from robot_rl.cameras.frame import Intrinsics
from robot_rl.errors import PortError
from robot_rl.types import U8, CameraSpec
from sim.cameras import CameraRig
from sim.live import Pose

__all__ = ["RenderThread", "pinhole"]

_JOIN_S = 10.0


class RenderThread:
    """Renders what physics has shown last, each camera at its rate or as fast as it can.

    Args:
        model: The scene.
        cameras: What to render.
        is_wanted: Whether anybody looks at a camera; what nobody sees is not rendered.
        on_image: Takes a camera, its pixels, and the stamp [ns] of the scene that they show.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: tuple[CameraSpec, ...],
        is_wanted: Callable[[str], bool],
        on_image: Callable[[CameraSpec, U8, int], None],
    ) -> None:
        self._model, self._cameras = model, cameras
        self._is_wanted, self._on_image = is_wanted, on_image
        self._shown: tuple[Pose, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="render", daemon=True)
        self.error: PortError | None = None
        """Why nothing is rendered."""

    def start(self) -> None:
        """Begin to render."""
        self._thread.start()

    def show(self, pose: Pose, stamp_ns: int) -> None:
        """What the cameras see from now on; called by the thread that ticks."""
        self._shown = pose, stamp_ns

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        rigs: dict[tuple[int, int], CameraRig] = {}
        try:
            for camera in self._cameras:
                size = camera.width_px, camera.height_px
                if size not in rigs:
                    rigs[size] = CameraRig(self._model, *size)
            self._render(rigs)
        except PortError as error:
            self.error = error
        finally:
            for rig in rigs.values():
                rig.close()

    def _render(self, rigs: dict[tuple[int, int], CameraRig]) -> None:
        data = mujoco.MjData(self._model)
        due_s = {camera.name: time.monotonic() for camera in self._cameras}
        while not self._stop.wait(max(0.0, min(due_s.values()) - time.monotonic())):
            if self._shown is None:
                self._stop.wait(0.01)
                continue
            for camera in self._cameras:
                now_s = time.monotonic()
                if due_s[camera.name] > now_s:
                    continue
                if self._is_wanted(camera.name):
                    pose, stamp_ns = self._shown
                    pose.write(data)
                    rig = rigs[camera.width_px, camera.height_px]
                    self._on_image(camera, rig.render(data, camera.name), stamp_ns)
                # What could not be rendered in time is left out, not made up for.
                due_s[camera.name] = max(due_s[camera.name] + 1 / camera.rate_hz, now_s)


def pinhole(model: mujoco.MjModel, camera: CameraSpec) -> Intrinsics:
    """The intrinsics of a camera of the scene: square pixels, no distortion."""
    fovy_rad = np.radians(float(model.camera(camera.name).fovy[0]))
    focal_px = 0.5 * camera.height_px / np.tan(0.5 * fovy_rad)
    return Intrinsics(
        width_px=camera.width_px,
        height_px=camera.height_px,
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=0.5 * (camera.width_px - 1),
        cy_px=0.5 * (camera.height_px - 1),
        distortion_model="plumb_bob",
        distortion=(0.0, 0.0, 0.0, 0.0, 0.0),
    )
