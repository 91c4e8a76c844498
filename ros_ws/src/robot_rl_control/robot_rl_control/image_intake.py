"""The newest image of each camera, from topics or from cameras of this process.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from robot_rl.cameras.fit import fit_image
from robot_rl.errors import DataError, PortError
from robot_rl.types import U8, CameraSpec, Image
from robot_rl_control import names
from robot_rl_control.convert import ns_from_stamp, rgb_from_message
from robot_rl_control.qos import SENSOR
from robot_rl_control.reader_cfg import StateReaderCfg
from robot_rl_control.stream import Intake, Stream

__all__ = ["Feed", "ImageIntake"]


class Feed(Protocol):
    """The cameras of this process, as `robot_rl.cameras.CameraFeed` gives them."""

    def images(self) -> Mapping[str, Image]:
        """The newest image of each camera; raises `PortError` if one is lost."""
        ...


class ImageIntake:
    """Images in the sizes of their `CameraSpec`, stamped when they were exposed.

    Args:
        intake: Who subscribes.
        cameras: Which are read.
        cfg: Their topics and delays.
        feed: The cameras of this process; with it, none is subscribed to.
    """

    def __init__(
        self,
        intake: Intake,
        cameras: tuple[CameraSpec, ...],
        cfg: StateReaderCfg,
        feed: Feed | None,
    ) -> None:
        self._intake, self._cameras, self._cfg, self._feed = intake, cameras, cfg, feed
        self._decoding = threading.Lock()
        self._decoded: dict[str, tuple[int, Image]] = {}
        self._streams = {c.name: self._follow(c.name) for c in cameras if feed is None}

    @property
    def streams(self) -> list[Stream]:
        """Of those that are subscribed to."""
        return list(self._streams.values())

    def missing(self) -> list[str]:
        """Cameras of this process that have given nothing yet.

        Raises:
            PortError: One is lost.
        """
        if self._feed is None:
            return []
        given = self._feed.images()
        return [f"camera {c.name} of this process" for c in self._cameras if c.name not in given]

    def read(self) -> dict[str, Image]:
        """The newest image of each camera, in its size.

        Raises:
            PortError: One cannot be decoded, or is lost.
        """
        if self._feed is None:
            return {camera.name: self._newest(camera) for camera in self._cameras}
        given = self._feed.images()
        return {
            camera.name: replace(
                given[camera.name],
                rgb=_fit(given[camera.name].rgb, camera),
                stamp_s=given[camera.name].stamp_s - self._cfg.delay_s(camera.name),
            )
            for camera in self._cameras
        }

    def _follow(self, name: str) -> Stream:
        topic = self._cfg.image_topics.get(name, names.color_image(name))
        kind = CompressedImage if topic.endswith("/compressed") else ImageMessage
        stream = Stream(topic, self._cfg.delay_s(name))
        self._intake.subscribe(kind, topic, partial(self._take, stream), SENSOR)
        return stream

    def _take(self, stream: Stream, message: Any) -> None:
        self._intake.take(stream, message, ns_from_stamp(message.header.stamp))

    def _newest(self, camera: CameraSpec) -> Image:
        """The newest image of a camera's topic; each is decoded once, if it is asked for."""
        stream = self._streams[camera.name]
        with self._intake.changed:
            message, number, stamp_s = stream.value, stream.received, stream.stamp_s
        with self._decoding:
            if self._decoded.get(camera.name, (0,))[0] != number:
                try:
                    rgb = _fit(rgb_from_message(message), camera)
                except DataError as error:
                    raise PortError(f"camera '{camera.name}': {error}") from error
                image = Image(rgb=rgb, stamp_s=stamp_s, frame_number=number)
                self._decoded[camera.name] = number, image
            return self._decoded[camera.name][1]


def _fit(rgb: U8, camera: CameraSpec) -> U8:
    """An image in the size of its `CameraSpec`."""
    return fit_image(rgb, camera.width_px, camera.height_px)
