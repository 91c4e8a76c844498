"""What is known after a fit: a normal distribution in coordinates, and how far to trust it.

motion → measurement → parameters → fit → **posterior** → twins drawn from it

A file carries the hash of its own content, as calibrations do, so that one edited by hand is
refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.config import config_hash, git_revision, to_plain, write_atomically
from robot_rl.errors import DataError, RobotRLError, ShapeError
from robot_rl.types import F64
from sim.identify.parameters import Parameter, ParameterSet

__all__ = ["CHI2_GATE", "FORMAT", "Direction", "Posterior"]

FORMAT = 1
CHI2_GATE = (0.9, 1.1)
"""Within, the model explains the data to their noise, and intervals mean what they say."""
_MOST_DRAWS = 20  # then what is still outside is clipped


@dataclass(frozen=True, kw_only=True)
class Direction:
    """A combination of parameters that the data say little about."""

    words: str
    """As in "arm_joint3: kp and armature only as a ratio"."""
    weights: Mapping[str, float]
    """Unit vector in coordinates over prior deviations; what is small is left out."""
    shrinkage: float
    """Deviation after the fit over that before it; 1 means nothing was learned."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """The outcome of an identification."""

    parameters: ParameterSet
    mean: F64  # (p,) in coordinates
    covariance: F64  # (p, p) in coordinates, of prior and data together, not inflated
    chi2: float
    """Mean squared residual over its expectation: 1 where the model explains the data."""
    at_bound: tuple[str, ...] = ()
    """Parameters that the data would have liked beyond their bounds."""
    unidentifiable: tuple[Direction, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: measurement files, options, held-out errors; plain values."""

    def __post_init__(self) -> None:
        """Refuse arrays of another length."""
        p = len(self.parameters)
        for name, array, shape in (
            ("posterior mean", self.mean, (p,)),
            ("posterior covariance", self.covariance, (p, p)),
        ):
            if np.shape(array) != shape:
                raise ShapeError(name, np.shape(array), shape)

    @property
    def values(self) -> F64:
        """(p,) best values [SI]."""
        return self.parameters.to_values(self.mean)

    @property
    def is_trusted(self) -> bool:
        """Whether chi2 says that intervals mean anything."""
        return CHI2_GATE[0] <= self.chi2 <= CHI2_GATE[1]

    @property
    def verdict(self) -> str:
        """What chi2 says, in a sentence or two."""
        chi2 = f"chi2 is {self.chi2:.3f}"
        if self.is_trusted:
            return f"{chi2}: the twin explains the motion down to its noise."
        if self.chi2 < 1:
            return (
                f"{chi2}: the measurement is less noisy than it says, so there are no intervals. "
                "Its rate may be too low to tell noise from motion."
            )
        return (
            f"{chi2}: something moves that the twin does not have, so there are no intervals, and "
            "values stand in for what is missing. Judge the fit by held-out motions."
        )

    @property
    def inflated(self) -> F64:
        """(p, p) covariance in coordinates with the data's weight divided by chi2, if above 1.

        The prior keeps its weight: what the data leave open spreads as far as it, not farther.
        """
        scale = np.outer(self.parameters.prior_std, self.parameters.prior_std)
        shares, vectors = np.linalg.eigh(self.covariance / scale)  # each of the prior's variance
        shares = np.clip(shares, 1e-15, 1.0)
        shares = 1.0 / (1.0 + (1.0 / shares - 1.0) / max(1.0, self.chi2))
        return scale * ((vectors * shares) @ vectors.T)

    @property
    def std(self) -> F64:
        """(p,) deviations in coordinates, inflated by chi2."""
        return np.sqrt(np.diag(self.inflated))

    def interval(self, name: str, z: float = 1.96) -> tuple[float, float] | None:
        """Value at `z` deviations below and above; None where chi2 forbids to say."""
        if not self.is_trusted:
            return None
        i = self.parameters.index(name)
        ends = self.parameters.clip(self.mean + np.outer([-z, z], self.std))
        low, high = self.parameters.to_values(ends)[:, i]
        return float(low), float(high)

    def sample(self, n: int, rng: np.random.Generator) -> F64:
        """(n, p) values [SI] drawn from the inflated posterior, within the bounds.

        What the data leave open spreads as far as the prior does.
        """
        known, p = self.parameters, len(self.parameters)
        root = np.linalg.cholesky(self.inflated)
        drawn = self.mean + rng.standard_normal((n, p)) @ root.T
        for _ in range(_MOST_DRAWS):
            outside = ((drawn < known.low) | (drawn > known.high)).any(-1)
            if not outside.any():
                break
            drawn[outside] = self.mean + rng.standard_normal((int(outside.sum()), p)) @ root.T
        return known.to_values(known.clip(drawn))

    def with_details(self, **details: Any) -> "Posterior":
        """The same with more said of where it comes from."""
        return replace(self, details={**self.details, **details})

    @property
    def hash(self) -> str:
        """12 hex digits that name what was found, whenever and by whomever."""
        return config_hash(self._content())

    def save(self, path: Path) -> str:
        """Write it, whole or not at all, and return its hash.

        Raises:
            DataError: The file cannot be written.
        """
        plain = {
            "format": FORMAT,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": git_revision(),
            "hash": self.hash,
            **self._content(),
        }
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), json.dumps(plain, indent=1) + "\n")
        except OSError as error:
            raise DataError(f"cannot save a posterior at {path}: {error.strerror}.") from error
        return self.hash

    @classmethod
    def load(cls, path: Path) -> "Posterior":
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, damaged, edited, or of another format.
        """
        try:
            data = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}. Run identify fit again.") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            version = data.get("format") if isinstance(data, dict) else None
            raise DataError(f"{path} has format {version!r}, but this robot_rl reads {FORMAT}.")
        try:
            found = cls(
                parameters=ParameterSet(
                    [
                        Parameter(**{**p, "targets": tuple(p["targets"])})
                        for p in data["parameters"]
                    ]
                ),
                mean=np.array(data["mean"], np.float64),
                covariance=np.array(data["covariance"], np.float64),
                chi2=float(data["chi2"]),
                at_bound=tuple(data["at_bound"]),
                unidentifiable=tuple(Direction(**d) for d in data["unidentifiable"]),
                details=data["details"],
            )
        except (KeyError, TypeError, ValueError, RobotRLError) as error:
            raise DataError(f"{path} holds no posterior: {error}.") from error
        if found.hash != data["hash"]:
            raise DataError(
                f"{path} was edited: its content has hash {found.hash}, it says {data['hash']}. "
                "Measurements are not edited; run identify fit again."
            )
        return found

    def _content(self) -> dict[str, Any]:
        return to_plain(
            {
                "parameters": self.parameters.to_plain(),
                "values": self.parameters.as_dict(self.values),
                "mean": self.mean,
                "covariance": self.covariance,
                "chi2": self.chi2,
                "at_bound": self.at_bound,
                "unidentifiable": self.unidentifiable,
                "details": self.details,
            }
        )
