"""Whether the cameras that are opened are those that a robot's file asks for.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

The robot's file says what is observed, the file of cameras how devices are opened; both know the
names. A camera that only one of them has, or that is too small or too slow, is told at start
rather than by an image that never comes.
"""

from collections.abc import Sequence

from robot_rl.cameras.cfg import CameraCfg
from robot_rl.errors import ConfigError
from robot_rl.types import CameraSpec

__all__ = ["check_agreement"]


def check_agreement(
    cameras: Sequence[CameraCfg], wanted: Sequence[CameraSpec], *, opened: str, asked: str
) -> None:
    """Refuse cameras that cannot give what is wanted of them.

    Args:
        cameras: That are opened.
        wanted: That are observed.
        opened: File of the former, for messages.
        asked: File of the latter.

    Raises:
        ConfigError: A wanted camera is not opened, or not at that size or rate.
    """
    known = {camera.name: camera for camera in cameras}
    for spec in wanted:
        if spec.name not in known:
            raise ConfigError(
                f"{asked} observes camera '{spec.name}', but {opened} opens "
                f"{', '.join(sorted(known)) or 'none'}. Give both the same names."
            )
        camera = known[spec.name]
        if camera.width_px < spec.width_px or camera.height_px < spec.height_px:
            raise ConfigError(
                f"{asked} observes camera '{spec.name}' at {spec.width_px} x {spec.height_px} px, "
                f"but {opened} opens it at {camera.width_px} x {camera.height_px} px. Open it "
                "larger, or observe it smaller."
            )
        if camera.rate_hz < spec.rate_hz:
            raise ConfigError(
                f"{asked} expects {spec.rate_hz:g} images a second of camera '{spec.name}', but "
                f"{opened} opens it at {camera.rate_hz:g} Hz. Make both the same."
            )
