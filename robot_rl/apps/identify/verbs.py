"""What `robot-rl identify` can be told: one class of options a step."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from sim.identify.arm import ARM_DEFAULT, ArmUnknown
from sim.identify.excitation import ExcitationCfg
from sim.identify.least_squares import LeastSquaresCfg
from sim.identify.play import SOFT_SHARE, EncoderCfg

__all__ = ["Excite", "Fit", "IdentifyVerb", "Report"]


@dataclass(frozen=True, kw_only=True)
class Excite:
    """Record a motion of the twin that tells much, through safety and drive, as a measurement."""

    out: Positional[Path]
    """The measurement, a .npz."""
    robot: str = "twin"
    """Robot file, or the name of one that comes along, such as fr3."""
    hidden: Literal["", "A", "B"] = ""
    """Measure a hidden twin instead, whose parameters another process draws from the seed and
    keeps: A is the twin with other numbers, B is built otherwise."""
    seed: int = 0
    """Draws motion, noise, and the hidden twin."""
    share: float = SOFT_SHARE
    """Of the drives' gains while moving; a soft drive shows what a stiff one hides."""
    unknowns: tuple[ArmUnknown, ...] = ARM_DEFAULT
    """What the motion should tell most about."""
    middle_rad: tuple[float, ...] = ()
    """About which the joints move (default: home)."""
    motion: ExcitationCfg = field(default_factory=ExcitationCfg)
    """How it moves."""
    encoders: EncoderCfg = field(default_factory=EncoderCfg)
    """Noise of the twin."""


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
    unknowns: tuple[ArmUnknown, ...] = ARM_DEFAULT
    """What is to be found; the rest stays nominal."""
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
