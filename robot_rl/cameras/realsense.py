"""RealSense cameras through librealsense: colour, and depth in the pixels of colour.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send

The only module that loads pyrealsense2. A recording (.db3) goes through the same pipeline.
"""

import logging
import time
from typing import Any

import numpy as np

from robot_rl.cameras.cfg import RealSenseCfg
from robot_rl.cameras.exposure import Look, hold_exposure, lock_exposure, look_of
from robot_rl.cameras.frame import U16, CameraError, Frame, HostInstant, Intrinsics, StampDomain
from robot_rl.cameras.realsense_device import (
    color_sensor,
    find_device,
    intrinsics_of,
    link_of,
    reset_device,
    start_with_retries,
)
from robot_rl.cameras.stamps import StampConverter
from robot_rl.clock import WallClock
from robot_rl.errors import ConfigError, MissingExtraError

__all__ = ["RealSenseGrabber", "load_librealsense"]

_logger = logging.getLogger(__name__)
_FIRST_SET_S = 5.0
_SETTLE_SETS = 4  # until a changed exposure is seen in the image


def load_librealsense() -> Any:
    """The module pyrealsense2.

    Raises:
        MissingExtraError: It is not installed.
        ConfigError: It is installed, but a library of the system is missing.
    """
    try:
        import pyrealsense2  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyrealsense2", "realsense", "a RealSense camera") from error
    except ImportError as error:
        raise ConfigError(
            f"pyrealsense2 is installed but does not load: {error}. "
            "Install what it needs: sudo apt-get install libusb-1.0-0"
        ) from error
    return pyrealsense2


class RealSenseGrabber:
    """See `FrameGrabber`."""

    def __init__(self, cfg: RealSenseCfg) -> None:
        self._cfg = cfg
        self._rs: Any = None
        self._pipeline: Any = None
        self._align: Any = None
        self._stamps = StampConverter()
        self._intrinsics: Intrinsics | None = None
        self._link, self._incomplete = "closed", 0
        self._ahead_s: float | None = None  # of the host's clock to a recording's
        self._held: dict[str, float] | None = None  # see `lock_exposure`
        self._unpaired: int | None = None  # number of a colour frame that waits for its depth
        self._delivered: int | None = None  # number of the last colour frame handed out

    @property
    def camera(self) -> str:
        """See `FrameGrabber.camera`."""
        return self._cfg.name

    @property
    def intrinsics(self) -> Intrinsics | None:
        """See `FrameGrabber.intrinsics`."""
        return self._intrinsics

    @property
    def link(self) -> str:
        """See `FrameGrabber.link`."""
        return self._link

    @property
    def incomplete(self) -> int:
        """See `FrameGrabber.incomplete`."""
        return self._incomplete

    def open(self) -> None:
        """See `FrameGrabber.open`.

        Raises:
            MissingExtraError: pyrealsense2 is not installed.
        """
        self.close()
        self._rs = load_librealsense()
        attempts = 1 if self._cfg.device_file else self._cfg.open_attempts
        start_with_retries(self._start, self._reset, attempts)

    def _reset(self) -> None:
        """Reset the hardware; the pipeline is closed by then."""
        try:
            reset_device(self._rs, self._rs.context(), self._cfg.serial, WallClock())
        except RuntimeError as error:
            raise CameraError(f"camera '{self.camera}' cannot be reset: {error}.") from error

    def _start(self) -> None:
        """Start the pipeline, and wait until exposure stands and frames come.

        Raises:
            CameraError: It does not start, or delivers nothing; nothing is left open.
        """
        try:
            self._start_pipeline()
            self.grab(_FIRST_SET_S)  # some cameras start and deliver nothing
        except RuntimeError as error:  # what librealsense raises for everything
            self.close()
            cfg = self._cfg
            raise CameraError(
                f"camera '{self.camera}' cannot start {cfg.width_px} x {cfg.height_px} px at "
                f"{cfg.rate_hz} Hz: {error}. Its modes are listed by: rs-enumerate-devices"
            ) from error
        except CameraError:
            self.close()
            raise

    def _start_pipeline(self) -> None:
        """Start, and read what is known once it runs."""
        rs, cfg = self._rs, self._cfg
        if cfg.device_file is None:  # on USB 2 starting fails too, but does not say why
            device = find_device(rs, rs.context(), cfg.serial)
            link_of(rs, device, allow_usb2=cfg.allow_usb2)
        pipeline, config = rs.pipeline(), self._config()
        if cfg.device_file is not None:
            # Else librealsense drops what a busy machine fetches late, one half of a set or both.
            playback = config.resolve(rs.pipeline_wrapper(pipeline)).get_device().as_playback()
            playback.set_real_time(False)
        profile = pipeline.start(config)
        self._pipeline, self._stamps, self._ahead_s = pipeline, StampConverter(), None
        self._unpaired = self._delivered = None
        self._align = rs.align(rs.stream.color) if cfg.use_depth else None
        device = profile.get_device()
        link = link_of(rs, device, allow_usb2=cfg.allow_usb2)
        self._link = link if cfg.device_file is None else f"recording of {link}"
        self._intrinsics = intrinsics_of(rs, profile)
        if cfg.lock_exposure and cfg.device_file is None:
            self._hold_exposure(device)

    def _config(self) -> Any:
        """Which device, and which streams of it."""
        rs, cfg = self._rs, self._cfg
        config = rs.config()
        if cfg.device_file is None:
            config.enable_device(cfg.serial)
        else:
            config.enable_device_from_file(str(cfg.device_file), repeat_playback=False)
        size = (cfg.width_px, cfg.height_px)
        config.enable_stream(rs.stream.color, *size, rs.format.rgb8, cfg.rate_hz)
        if cfg.use_depth:
            config.enable_stream(rs.stream.depth, *size, rs.format.z16, cfg.rate_hz)
        return config

    def _hold_exposure(self, device: Any) -> None:
        """Let automatic exposure settle, once, and hold what it has found ever after."""
        rs, sensor = self._rs, color_sensor(self._rs, device)
        if self._held is not None:
            hold_exposure(rs, sensor, self._held)
            return
        for automatic in (rs.option.enable_auto_exposure, rs.option.enable_auto_white_balance):
            if sensor.supports(automatic):  # an earlier run has left it switched off
                sensor.set_option(automatic, 1.0)
        for _ in range(self._cfg.warmup_frames):
            self.grab(_FIRST_SET_S)
        self._held = lock_exposure(rs, sensor, self._settled_look)
        _logger.info("camera '%s' holds %s", self.camera, self._held)

    def _settled_look(self) -> Look:
        """How the image looks once a change of the sensor has come through."""
        for _ in range(_SETTLE_SETS - 1):
            self.grab(_FIRST_SET_S)
        return look_of(self.grab(_FIRST_SET_S).rgb)

    def grab(self, timeout_s: float) -> Frame:
        """See `FrameGrabber.grab`; sets without colour or depth are dropped and counted."""
        if self._pipeline is None:
            raise CameraError(f"camera '{self.camera}' is not open. Call open() first.")
        end_s = time.monotonic() + timeout_s
        while (remaining_s := end_s - time.monotonic()) > 0:
            try:
                is_there, frames = self._pipeline.try_wait_for_frames(int(remaining_s * 1e3) + 1)
                if not is_there:
                    break
                if self._cfg.device_file is not None:
                    self._wait_as_long_as_a_camera(frames.get_color_frame(), end_s)
                frame = self._frame_of(frames, HostInstant.now())
            except RuntimeError as error:
                raise CameraError(f"camera '{self.camera}' has gone: {error}.") from error
            if frame is not None:
                return frame
        raise CameraError(
            f"camera '{self.camera}' delivers nothing for {timeout_s:.1f} s. "
            "Check cable and power."
        )

    def _wait_as_long_as_a_camera(self, color: Any, end_s: float) -> None:
        """Keep a recording to its own time line."""
        if not color:
            return
        stamp_s, now_s = color.get_timestamp() * 1e-3, time.monotonic()
        if self._ahead_s is None:
            self._ahead_s = now_s - stamp_s
        time.sleep(max(0.0, min(self._ahead_s + stamp_s, end_s) - now_s))

    def _frame_of(self, frames: Any, arrival: HostInstant) -> Frame | None:
        """Copies of a set, whose memory goes back to librealsense's pool; None if incomplete."""
        color = frames.get_color_frame()
        if not color:
            return None
        number = color.get_frame_number()
        if self._align and not self._is_pair(color, frames.get_depth_frame()):
            if number not in (self._unpaired, self._delivered):
                self._count_unpaired()
                self._unpaired = number
            return None
        if number != self._unpaired:
            self._count_unpaired()
        self._unpaired, self._delivered = None, number
        if self._align:
            frames = self._align.process(frames)
            color = frames.get_color_frame()
        domain = self._domain_of(color)
        stamp_s = color.get_timestamp() * 1e-3
        return Frame(
            camera=self.camera,
            rgb=np.asanyarray(color.get_data()).copy(),
            depth_mm=_depth_mm(frames.get_depth_frame()) if self._align else None,
            frame_number=number,
            device_stamp_s=stamp_s,
            domain=domain,
            arrival=arrival,
            stamp_s=self._stamps.to_monotonic(stamp_s, domain, arrival),
        )

    def _is_pair(self, color: Any, depth: Any) -> bool:
        """Whether both were taken at once: librealsense also joins what came one after the other.

        Half a period apart is what its own matcher by time allows.
        """
        if not depth:
            return False
        if color.get_frame_timestamp_domain() != depth.get_frame_timestamp_domain():
            return True  # two clocks cannot be compared
        return abs(color.get_timestamp() - depth.get_timestamp()) < 500.0 / self._cfg.rate_hz

    def _count_unpaired(self) -> None:
        """The colour frame that waited for its depth has been overtaken by the next."""
        self._incomplete += self._unpaired is not None

    def _domain_of(self, frame: Any) -> StampDomain:
        """Whose clock stamped the frame; that of a recording has stopped long ago."""
        domains = self._rs.timestamp_domain
        if self._cfg.device_file is not None:
            return StampDomain.DEVICE
        return {
            domains.hardware_clock: StampDomain.DEVICE,
            domains.system_time: StampDomain.WALL,
            domains.global_time: StampDomain.WALL_FITTED,
        }[frame.get_frame_timestamp_domain()]

    def close(self) -> None:
        """See `FrameGrabber.close`."""
        pipeline, self._pipeline, self._link = self._pipeline, None, "closed"
        if pipeline is not None:
            try:
                pipeline.stop()
            except RuntimeError as error:  # it has stopped itself when the camera went
                _logger.info("camera '%s' on closing: %s", self.camera, error)


def _depth_mm(depth: Any) -> U16:
    """A copy (h, w) [mm]; the unit of the sensor differs by model, 0.1 mm for one."""
    raw = np.asanyarray(depth.get_data())
    mm_per_unit = depth.get_units() * 1e3
    if abs(mm_per_unit - 1.0) < 1e-4:
        return raw.copy()
    return np.clip(np.rint(raw * mm_per_unit), 0, np.iinfo(np.uint16).max).astype(np.uint16)
