"""Parameters of both nodes, as frozen dataclasses; the string under a field tells what it is for.

command:   **person → device** → mapping → decode → safety → send
"""

from dataclasses import dataclass

from robot_rl_control.scene import Kind

from robot_rl.errors import ConfigError, UnknownNameError

__all__ = ["DEVICES", "RecorderParams", "TeleopParams"]

DEVICES = ("keyboard", "gamepad", "spacemouse", "leader", "scripted")


@dataclass(frozen=True, kw_only=True)
class TeleopParams:
    """Parameters of the teleop node."""

    task: str
    """The task: one of the twin, such as peg, or a task file."""
    robot: str
    """Path of the robot file."""
    device: str = "keyboard"
    """keyboard, gamepad, spacemouse, leader or scripted."""
    terminal: str = ""
    """Terminal whose keys count, such as /dev/pts/3; empty for standard input, if it is one."""
    rate_hz: float = 40.0
    """Reads of the device each second; at least 20, for the switch goes stale in 0.1 s."""
    speed_m_s: float = 0.1
    """Tool speed of a full deflection."""
    turn_rad_s: float = 0.5
    """Turning speed of a full deflection."""
    seed: int = 0
    """Of the faults of the scripted expert."""
    leader_topic: str = "leader/joint_states"
    """Where a leader arm reports its joints."""
    leader_joints: tuple[str, ...] = ()
    """The leader's joints in the robot's order, and its trigger last if it has one."""
    leader_sign: tuple[int, ...] = ()
    """1 or -1 for each joint; empty for all 1."""
    leader_offset_rad: tuple[float, ...] = ()
    """Added to each joint; empty for none."""
    leader_trigger_rad: tuple[float, ...] = ()
    """The trigger's position when open and when closed; empty without a trigger."""
    leader_align_rad: float = 0.2
    """How far each joint may be from the robot's when the leader takes over."""

    def __post_init__(self) -> None:
        """Refuse unknown devices, and rates and speeds that nothing can follow."""
        if self.device not in DEVICES:
            raise UnknownNameError("device", self.device, DEVICES)
        if not 20.0 <= self.rate_hz <= 200.0:
            raise ConfigError(f"rate_hz is {self.rate_hz}, but must be within 20 and 200.")
        if not (self.speed_m_s > 0 and self.turn_rad_s > 0):
            raise ConfigError(
                f"speed_m_s is {self.speed_m_s} and turn_rad_s {self.turn_rad_s}, but both must "
                "be positive."
            )
        if len(self.leader_trigger_rad) not in (0, 2):
            raise ConfigError(
                f"leader_trigger_rad is {self.leader_trigger_rad}, but must be empty or hold the "
                "positions when open and when closed."
            )


@dataclass(frozen=True, kw_only=True)
class RecorderParams:
    """Parameters of the recorder node."""

    task: str
    """The task: one of the twin, such as peg or peg/pixels, or a task file."""
    robot: str
    """Path of the robot file."""
    out: str
    """The episode store to write; it is added to if it is there."""
    scene: Kind = "twin"
    """How the next start is made: twin (drawn anew), home (the arm goes home, a person restores
    the scene) or none."""
    device: str = "keyboard"
    """What the person holds; kept with each episode."""
    operator: str = ""
    """Who demonstrates; kept with each episode."""
    codec: str = "png"
    """png (lossless) or jpeg (smaller)."""
    episodes: int = 20
    """Successes to record; failures are kept and labelled beside them."""
    countdown_s: float = 1.0
    """From start to the first step."""
    reset_s: float = 3.0
    """After an episode: to undo, relabel, and restore the scene."""
    timeout_s: float = 120.0
    """Longest episode; the task's horizon may end it before."""
    auto_start: bool = False
    """Whether episodes start by themselves."""
    seed: int = 700_000
    """Seed of the twin's first start; the next ones follow."""
    min_rate_share: float = 0.8
    """Share of its rate that each stream must reach."""
    max_age_s: float = 0.2
    """Older streams spoil an episode."""
    max_late_share: float = 0.2
    """Share of the steps that may come late."""

    def __post_init__(self) -> None:
        """Refuse a missing store, and scenes that nobody can make."""
        if not self.out:
            raise ConfigError("out is empty. Pass -p out:=<path of an episode store>.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, but must be at least 0.")
