"""Every topic and service of the graph by name, relative to the robot's namespace.

command:   camera, arm → observe → policy (base + residual) → decode → safety → send

The contract between our nodes, and with whatever else runs beside them; types and rates are in
`ros_ws/README.md`.
"""

from robot_rl.control.targets import gripper_name

__all__ = [
    "BRIDGE_EXECUTED",
    "BRIDGE_MODE",
    "CLEAR_ESTOP",
    "EPISODE_GO",
    "EPISODE_STATUS",
    "ESTOP",
    "ESTOPPED",
    "HOME",
    "JOINT_STATES",
    "POLICY_TARGET",
    "RECORDER",
    "RESYNC",
    "SET_INTERVENTION",
    "TELEOP_ACTIVE",
    "TELEOP_GRIPPER",
    "TELEOP_JOINTS",
    "TELEOP_TWIST",
    "TWIN_EPISODE",
    "TWIN_RESET",
    "aligned_depth",
    "camera_info",
    "color_image",
    "gripper_name",
    "signal",
    "tracked",
]

JOINT_STATES = "joint_states"
POLICY_TARGET = "arm_bridge/policy_target"
BRIDGE_EXECUTED = "arm_bridge/executed"
BRIDGE_MODE = "arm_bridge/mode"
ESTOPPED = "arm_bridge/estopped"
ESTOP = "arm_bridge/estop"
CLEAR_ESTOP = "arm_bridge/clear_estop"
HOME = "arm_bridge/home"
RESYNC = "arm_bridge/resync"
SET_INTERVENTION = "arm_bridge/set_intervention"
TELEOP_TWIST = "teleop/twist"
TELEOP_JOINTS = "teleop/joint_target"
TELEOP_GRIPPER = "teleop/gripper"
TELEOP_ACTIVE = "teleop/active"
TWIN_RESET = "twin/reset"
TWIN_EPISODE = "twin/episode"
EPISODE_GO = "episode/go"
EPISODE_STATUS = "episode/status"
RECORDER = "recorder"


def color_image(camera: str) -> str:
    """The colour image of a camera, as realsense2_camera calls it."""
    return f"{camera}/color/image_raw"


def camera_info(camera: str) -> str:
    """The intrinsics that belong to the colour image."""
    return f"{camera}/color/camera_info"


def aligned_depth(camera: str) -> str:
    """The depth in the pixels of the colour image, in millimetres."""
    return f"{camera}/aligned_depth_to_color/image_raw"


def tracked(name: str) -> str:
    """The pose of a tracked object, in world."""
    return f"tracked/{name}"


def signal(name: str) -> str:
    """A further vector that the robot's world reports."""
    return f"signals/{name}"
