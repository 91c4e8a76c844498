"""The twin's cameras, rendered headless in software at thousands of images per second.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

MuJoCo's defaults render 18 images a second on a CPU, these settings some 3000: no shadow map
(the dominating cost), no multisampling, round shapes of few facets, and a buffer no larger than
the image. Windows need no display: EGL is tried first, then OSMesa.
"""

import os
from importlib import import_module
from typing import Protocol, cast

import mujoco
import numpy as np

from robot_rl.errors import ConfigError, PortError, UnknownNameError
from robot_rl.types import U8

__all__ = ["CameraRig", "use_fast_rendering"]

_MAX_GEOMS = 200
_BACKENDS = ("egl", "osmesa")


class _GLContext(Protocol):
    """What MuJoCo's GL modules give."""

    def make_current(self) -> None:
        """Draw here from now on."""
        ...

    def free(self) -> None:
        """Release the context."""
        ...


def use_fast_rendering(spec: mujoco.MjSpec) -> None:
    """Set what a model alone can say about rendering; physics does not see it."""
    quality = spec.visual.quality
    quality.shadowsize = quality.offsamples = 0
    quality.numslices, quality.numstacks, quality.numquads = 8, 4, 1


class CameraRig:
    """Renders the named cameras of one model in one size; holds one GL context until `close`.

    Args:
        model: The scene.
        width_px: Width of an image.
        height_px: Height of an image.

    Raises:
        PortError: This machine can render neither with EGL nor with OSMesa.
    """

    def __init__(self, model: mujoco.MjModel, width_px: int, height_px: int) -> None:
        if width_px < 1 or height_px < 1:
            raise ConfigError(f"image of {width_px} x {height_px} px; both must be at least 1.")
        self._model = model
        self._rect = mujoco.MjrRect(0, 0, width_px, height_px)
        self._gl = _open_gl(width_px, height_px)
        self._gl.make_current()
        buffer = model.vis.global_
        kept = buffer.offwidth, buffer.offheight
        buffer.offwidth, buffer.offheight = width_px, height_px
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        buffer.offwidth, buffer.offheight = kept  # other renderers may want a larger one
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        for flag in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_SKYBOX,
            mujoco.mjtRndFlag.mjRND_HAZE,
        ):
            self._scene.flags[flag] = 0
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._pixels = np.empty((height_px, width_px, 3), np.uint8)
        self._is_open = True

    def render(self, data: mujoco.MjData, camera: str) -> U8:
        """The image (height, width, 3) that a camera sees of a state, a new array.

        Raises:
            PortError: The rig is closed.
            UnknownNameError: The scene has no such camera.
        """
        if not self._is_open:
            raise PortError("the cameras of the twin are closed. Connect again.")
        number = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if number < 0:
            names = [self._model.camera(i).name for i in range(self._model.ncam)]
            raise UnknownNameError("camera", camera, names)
        self._gl.make_current()  # several rigs may be open
        self._camera.fixedcamid = number
        # After a step the poses lag one substep behind the joints.
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_comPos(self._model, data)
        mujoco.mj_camlight(self._model, data)
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # OpenGL counts rows from below

    def close(self) -> None:
        """Release the GL context; calling it twice is harmless."""
        if self._is_open:
            self._is_open = False
            self._gl.make_current()
            self._context.free()
            self._gl.free()


def _open_gl(width_px: int, height_px: int) -> _GLContext:
    """An off-screen GL context; `MUJOCO_GL` may name the one way to get it."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    problems = []
    for backend in (asked,) if asked in _BACKENDS else _BACKENDS:
        try:
            module = import_module(f"mujoco.{backend}")
            return cast(_GLContext, module.GLContext(width_px, height_px))
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            problems.append(f"{backend}: {error}")
    raise PortError(
        f"no off-screen rendering here ({'; '.join(problems)}). "
        "Install libegl1 and libgl1-mesa-dri (or libosmesa6), or use the state form."
    )
