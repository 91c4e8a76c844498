"""What `robot-rl identify` can be told: one class of options a step."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from robot_rl.apps.ports import PortName
from robot_rl.errors import ConfigError
from sim.identify.arm import ARM_DEFAULT, ArmUnknown
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.motion import ExcitationCfg
from sim.identify.play import EncoderCfg

__all__ = ["Excite", "Fit", "IdentifyVerb", "Report"]


@dataclass(frozen=True, kw_only=True)
class Excite:
    """Measure a motion that tells much: of the twin, or of a robot on the ROS graph."""

    out: Positional[Path]
    """The measurement, a .npz."""
    robot: str = "twin"
    """Robot file, or the name of one that comes along, such as fr3."""
    port: PortName = "sim"
    """sim: a twin in this process. ros: the robot moves, by its arm bridge; what it will do is
    shown first, and asked for."""
    namespace: str = "/robot"
    """Of arm bridge and driver, with --port ros."""
    silence_s: float = 1.0
    """Longest silence of either; longer, and the motion ends."""
    yes: bool = False
    """Move without asking."""
    hidden: Literal["", "A", "B"] = ""
    """Measure a hidden twin instead, whose parameters another process draws from the seed and
    keeps: A is the twin with other numbers, B is built otherwise."""
    seed: int = 0
    """Draws motion, noise, and the hidden twin."""
    share: float | None = None
    """Of the nominal gains that the drives have while moving; a soft drive shows what a stiff one
    hides. Default: a tenth in the twin, and 1 on a robot: say what its impedance is set to."""
    unknowns: tuple[ArmUnknown, ...] = ARM_DEFAULT
    """What the motion should tell most about."""
    middle_rad: tuple[float, ...] = ()
    """About which the joints move (default: home)."""
    motion: ExcitationCfg = field(default_factory=ExcitationCfg)
    """How it moves."""
    encoders: EncoderCfg = field(default_factory=EncoderCfg)
    """Noise of the twin."""

    def __post_init__(self) -> None:
        """Refuse what cannot go together."""
        if self.hidden and (self.robot != "twin" or self.port != "sim"):
            raise ConfigError(
                "a hidden twin is built like the robot 'twin', in a process of its own. Leave "
                "--robot and --port out."
            )
        if not self.silence_s > 0:
            raise ConfigError(f"silence_s is {self.silence_s}, but must be positive.")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit the twin to measurements, and say how sure that is."""

    measurements: Positional[tuple[Path, ...]]
    """Files of excite (.npz), episode stores, or bags of the ROS graph (.mcap)."""
    out: Path = Path("identified/posterior.json")
    """What was found."""
    held_out: tuple[Path, ...] = ()
    """Measurements to predict and not to fit."""
    robot: str = "twin"
    """Robot file, or the name of one that comes along, such as fr3."""
    namespace: str = "/robot"
    """Of the robot in a bag."""
    unknowns: tuple[ArmUnknown, ...] | None = None
    """What is to be found; the rest stays nominal (default: armature damping frictionloss delay,
    and kp kv only if these do not explain the motion)."""
    share: float | None = None
    """Of the nominal gains that the drives had (default: as the measurement says, else 1)."""
    factor: float = 4.0
    """Bounds of armature, damping, friction and gains lie so far above and below the nominal."""
    search: LeastSquaresCfg = field(default_factory=LeastSquaresCfg)
    """How hard to look."""
    seed: int = 0
    """Draws the starts."""
    cross_check: bool = False
    """Fit with mujoco.sysid, too, and compare."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make the page of a fit: measured and simulated, parameters, and how far to trust them."""

    posterior: Positional[Path]
    """What fit has written."""
    out: Path | None = None
    """Where to write the page (default: beside the posterior)."""


IdentifyVerb = (
    Annotated[Excite, tyro.conf.subcommand("excite")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)
