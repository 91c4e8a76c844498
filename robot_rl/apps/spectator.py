"""A camera that only people look through: pictures of an environment for videos.

The robot does not see these pictures, and taking them does not touch the environment's state.
"""

import os
from typing import Any

import gymnasium as gym
import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.types import U8

__all__ = ["Spectator"]

HEIGHT_PX, WIDTH_PX = 300, 400
VIEW = {"azimuth": 128.0, "elevation": -24.0, "distance": 0.95}
SKY_RGB = (203, 213, 224)
LOOK_AT_M = (0.48, 0.0, 0.17)
SHADOW_PX = 1024  # the shadow map is what rendering on a CPU costs


class Spectator:
    """Takes pictures of one environment. Close it: it may hold a renderer.

    Make it before the environment where you can, or call `choose_renderer` first: MuJoCo picks
    its OpenGL when it is imported.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._renderer: Any = None
        self._scratch: Any = None

    @staticmethod
    def choose_renderer() -> None:
        """Render without a screen unless the user has said otherwise; before MuJoCo is loaded."""
        os.environ.setdefault("MUJOCO_GL", "egl")

    @property
    def fps(self) -> float:
        """Steps per second, so that a video plays in real time."""
        task = getattr(self._env.unwrapped, "task", None)
        if task is not None:
            return float(task.control_hz)
        return float(self._env.metadata.get("render_fps") or 20)

    def picture(self) -> U8:
        """The environment as it is now, uint8 (height, width, 3).

        Raises:
            ConfigError: The environment shows no pictures.
        """
        port = getattr(self._env.unwrapped, "port", None)
        if hasattr(port, "model") and hasattr(port, "data"):
            return self._twin(port)
        picture: Any = self._env.render()
        if not isinstance(picture, np.ndarray):
            raise ConfigError(
                f"{self._env.unwrapped} shows no pictures: render() gave "
                f"{type(picture).__name__}, but must give an array. Run without videos."
            )
        return picture

    def close(self) -> None:
        """Release the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _twin(self, port: Any) -> U8:
        """The twin's scene from the side."""
        import mujoco

        model = port.model
        if self._renderer is None:
            quality = model.vis.quality
            kept, quality.shadowsize = quality.shadowsize, SHADOW_PX
            try:
                self._renderer = mujoco.Renderer(model, HEIGHT_PX, WIDTH_PX)
            except mujoco.FatalError as error:
                raise ConfigError(
                    f"this machine cannot render: {error}. Run robot-rl doctor for what it needs."
                ) from error
            finally:
                quality.shadowsize = kept
            self._scratch = mujoco.MjData(model)
        # On a copy: deriving poses in the twin's own data would be a side effect of looking.
        mujoco.mj_copyData(self._scratch, model, port.data)
        mujoco.mj_kinematics(model, self._scratch)
        mujoco.mj_comPos(model, self._scratch)
        mujoco.mj_camlight(model, self._scratch)
        camera = mujoco.MjvCamera()
        camera.lookat[:] = LOOK_AT_M
        camera.azimuth, camera.elevation = VIEW["azimuth"], VIEW["elevation"]
        camera.distance = VIEW["distance"]
        self._renderer.update_scene(self._scratch, camera)
        picture = self._renderer.render().copy()
        picture[(picture == 0).all(-1)] = SKY_RGB  # the scene has no sky, which costs time
        return picture
