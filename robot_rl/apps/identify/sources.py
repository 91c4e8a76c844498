"""Measurements for identification from wherever they were recorded: files, episodes, bags.

motion → **measurement** → parameters → fit → posterior → twins drawn from it

Three kinds of path: a `.npz` of `robot-rl identify excite`; an episode store, whose episodes hold
`robot/q_rad` and `robot/command_rad`; a `.mcap` bag of the ROS graph, with the drivers' joint
states and `arm_bridge/executed`.
"""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.apps.identify.track import Track, measurement_of
from robot_rl.control.calibrated import load_calibration
from robot_rl.control.robot_file import RobotFile
from robot_rl.errors import DataError, MissingExtraError, UnknownNameError
from robot_rl.replay.store import EpisodeStore
from robot_rl.types import F64
from sim.identify.measurement import Measurement, load_measurement

__all__ = ["joint_offset", "load_measurements", "read_bag", "read_episodes"]

_COMMAND_PERIOD_S = 0.01
EXECUTED = "arm_bridge/executed"


def joint_offset(file: RobotFile) -> F64:
    """(dof,) [rad] that calibration adds to what the drivers of a robot say."""
    found, arms = load_calibration(file), file.spec.arms
    return np.concatenate([found.offset_of(arm) if found else np.zeros(arm.dof) for arm in arms])


def load_measurements(
    path: Path,
    channels: Sequence[str],
    *,
    namespace: str = "/robot",
    topics: Sequence[str] = ("joint_states",),
    offset_rad: F64 | None = None,
    episodes: Sequence[str] = (),
) -> list[Measurement]:
    """Everything that a path holds about the given joints.

    Args:
        path: A measurement file, an episode store, or a bag.
        channels: The joints of the robot, in its order.
        namespace: Of the robot in a bag.
        topics: Its drivers' joint states, relative to the namespace.
        offset_rad: (c,) that calibration adds to what the drivers of a bag say.
        episodes: Of a store (default: all).

    Raises:
        DataError: It cannot be read, or does not hold what a fit needs.
        UnknownNameError: It is of other joints.
        MissingExtraError: Reading bags is not installed.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return [load_measurement(path).select(channels)]
    if path.suffix == ".mcap":
        return [
            read_bag(path, channels, namespace=namespace, topics=topics, offset_rad=offset_rad)
        ]
    if path.is_dir():
        return read_episodes(path, channels, episodes)
    raise DataError(
        f"{path} is no measurement. Give a .npz of `robot-rl identify excite`, an episode store "
        "(a folder), or a .mcap bag."
    )


def read_episodes(
    path: Path, channels: Sequence[str], episodes: Sequence[str] = ()
) -> list[Measurement]:
    """Episodes of a store, one measurement each.

    A store keeps the command in force at each observation. Between two, the arm bridge moves it
    evenly, and so does this.

    Raises:
        DataError: An episode holds no raw joints or no commands, or of another number of joints.
    """
    store = EpisodeStore.open(path)
    found = []
    for name in episodes or store.ids():
        low = store.content(name, cameras=()).low
        where = f"{path}, episode {name}"
        missing = [key for key in ("robot/q_rad", "robot/command_rad") if key not in low]
        if missing:
            raise DataError(
                f"{where} lacks {' and '.join(missing)}. Record it with `robot-rl record`, which "
                "keeps what the arm was told and what it did."
            )
        stamps, position = np.asarray(low["t_s"]), np.asarray(low["robot/q_rad"])
        if position.shape[1] != len(channels):
            raise DataError(
                f"{where} is of {position.shape[1]} joints, but the robot has {len(channels)}: "
                f"{', '.join(channels)}. Is it another robot's?"
            )
        told_s, told = _evenly(stamps, np.asarray(low["robot/command_rad"]))
        velocity = low.get("robot/dq_rad_s")
        found.append(
            Measurement(
                channels=tuple(channels),
                command_s=told_s,
                command=told,
                state_s=stamps,
                position=position,
                velocity=None if velocity is None else np.asarray(velocity),
                source=where,
                facts={"store": str(path), "episode": name},
            )
        )
    if not found:
        raise DataError(f"{path} holds no episode. Record some with `robot-rl record`.")
    return found


def read_bag(
    path: Path,
    channels: Sequence[str],
    *,
    namespace: str = "/robot",
    topics: Sequence[str] = ("joint_states",),
    offset_rad: F64 | None = None,
) -> Measurement:
    """A bag of the ROS graph, by the stamps in the headers of its messages.

    Args:
        path: The bag.
        channels: The joints of the robot.
        namespace: Of the robot.
        topics: Its drivers' joint states, relative to the namespace.
        offset_rad: (c,) where the joints stand minus what the drivers say (default: nothing).

    Raises:
        DataError: It cannot be read, or lacks a topic.
        UnknownNameError: No message holds all joints.
        MissingExtraError: The reader is not installed.
    """
    commands, states = Track(channels), Track(channels, offset_rad)
    executed = f"{namespace}/{EXECUTED}"
    state_topics = [f"{namespace}/{topic}" for topic in topics]
    for topic, message in _messages(path, [executed, *state_topics]):
        (commands if topic == executed else states).add(message)
    for name, track in ((executed, commands), (" or ".join(state_topics), states)):
        _refuse_gaps(track, path, name)
    facts = {"bag": str(path), "namespace": namespace}
    return measurement_of(commands, states, source=str(path), facts=facts)


def _refuse_gaps(track: Track, path: Path, topic: str) -> None:
    """Say what is not there.

    Raises:
        DataError: No message at all.
        UnknownNameError: They are of other joints.
    """
    if len(track):
        return
    if not track.names:
        raise DataError(
            f"{path} has no messages on {topic}. Record with: ros2 bag record -s mcap {topic}"
        )
    lacking = next(name for name in track.channels if name not in track.names)
    raise UnknownNameError(f"joint on {topic} of {path}", lacking, track.names)


def _messages(path: Path, topics: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """Decoded messages of some topics, in order."""
    try:
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
        from mcap_ros2.decoder import DecoderFactory
    except ImportError as error:
        raise MissingExtraError(str(error.name), "bags", "Reading a bag") from error
    try:
        with path.open("rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            for _, channel, _, message in reader.iter_decoded_messages(topics=list(topics)):
                yield channel.topic, message
    except (OSError, McapError, struct.error) as error:  # a stump is not even refused politely
        raise DataError(f"{path} cannot be read as a bag: {error}. Is it complete?") from error


def _evenly(stamps: F64, commands: F64) -> tuple[F64, F64]:
    """Commands (m, c) every 10 ms, on straight lines between those at the stamps."""
    count = max(2, round((stamps[-1] - stamps[0]) / _COMMAND_PERIOD_S) + 1)
    told_s = np.linspace(stamps[0], stamps[-1], count)
    columns = [np.interp(told_s, stamps, column) for column in commands.T]
    return told_s, np.stack(columns, -1)
