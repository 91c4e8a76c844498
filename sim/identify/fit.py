"""From measurements to a posterior: simulate, compare, descend, and say how sure one may be.

motion → measurement → parameters → **fit** → posterior → twins drawn from it
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from robot_rl.errors import DataError
from robot_rl.types import F64
from sim.identify.directions import open_directions
from sim.identify.least_squares import LeastSquaresCfg, Minimum, Residuals, minimise
from sim.identify.measurement import Measurement
from sim.identify.parameters import ParameterSet
from sim.identify.posterior import Posterior
from sim.identify.replay import MotionReplay

__all__ = ["HeldOut", "fit_residuals", "held_out_errors", "identify", "identify_in_steps"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """How well twins predict a motion that no fit has seen."""

    source: str
    nominal: F64  # (c,) RMS of positions [rad or m]
    fitted: F64  # (c,)
    noise: F64  # (c,) what of it is noise of the measurement

    @property
    def gain(self) -> float:
        """How many times smaller the error has become, noise taken off where there is any."""
        return _rms_above(self.nominal, self.noise) / _rms_above(self.fitted, self.noise)

    @property
    def nominal_rms(self) -> float:
        """Of the nominal twin, over all channels, noise taken off."""
        return _rms_above(self.nominal, self.noise)

    @property
    def fitted_rms(self) -> float:
        """Of the fitted twin, over all channels, noise taken off."""
        return _rms_above(self.fitted, self.noise)


def fit_residuals(
    parameters: ParameterSet,
    residuals: Residuals,
    cfg: LeastSquaresCfg | None = None,
    *,
    seed: int = 0,
) -> tuple[Posterior, Minimum]:
    """Fit whatever gives residuals over their standard deviations.

    Args:
        parameters: The unknowns.
        residuals: From coordinates (n, p) to (n, r).
        cfg: How hard to look.
        seed: Draws the starts.

    Raises:
        DataError: There are fewer residuals than parameters, or nothing can be simulated.
    """
    begun = time.process_time()
    minimum = minimise(parameters, residuals, cfg, seed=seed)
    count, p = minimum.jacobian.shape
    if count <= p:
        raise DataError(
            f"{count} numbers were measured, but {p} parameters are to be found. Measure longer."
        )
    information = minimum.jacobian.T @ minimum.jacobian
    std = parameters.prior_std
    shares = np.linalg.eigvalsh(information * np.outer(std, std))
    learned = float((shares / (1 + shares)).sum())  # parameters that the data have used up
    posterior = Posterior(
        parameters=parameters,
        mean=minimum.coordinates,
        covariance=_inverse(information, std),
        chi2=float((minimum.residuals**2).sum() / (count - learned)),
        at_bound=minimum.at_bound,
        unidentifiable=open_directions(parameters, information),
        details={
            "residuals": count,
            "evaluations": minimum.evaluations,
            "start_costs": list(minimum.start_costs),
            "agreeing_starts": minimum.agreeing_starts,
            "is_converged": bool(minimum.is_converged),
            "cpu_s": round(time.process_time() - begun, 2),
        },
    )
    return posterior, minimum


def identify(
    spec: mujoco.MjSpec,
    parameters: ParameterSet,
    measurements: Sequence[Measurement],
    cfg: LeastSquaresCfg | None = None,
    *,
    seed: int = 0,
) -> Posterior:
    """Fit a twin to measured motions.

    Args:
        spec: The nominal scene.
        parameters: The unknowns.
        measurements: One or more motions.
        cfg: How hard to look.
        seed: Draws the starts.

    Raises:
        DataError: The measurements do not fit the twin, or are too few.
        UnknownNameError: A channel has no drive in the twin.
    """
    replay = MotionReplay(spec, parameters, measurements)
    posterior, _ = fit_residuals(parameters, replay.residuals, cfg, seed=seed)
    return posterior.with_details(
        measurements=[
            {"source": one.source, "hash": one.hash, "duration_s": round(one.duration_s, 3)}
            for one in measurements
        ]
    )


def identify_in_steps(
    spec: mujoco.MjSpec,
    steps: Sequence[ParameterSet],
    measurements: Sequence[Measurement],
    cfg: LeastSquaresCfg | None = None,
    *,
    seed: int = 0,
) -> Posterior:
    """Fit with ever more unknowns, until the twin explains the motion down to its noise.

    What is wrong but not among the unknowns hides in those that are: wrong gains look like delay
    (LOG.md). Unknowns that nothing asks for, on the other hand, blur the others; so they are only
    let in where chi2 says that something is missing.

    Args:
        spec: The nominal scene.
        steps: The unknowns, fewest first.
        measurements: One or more motions.
        cfg: How hard to look.
        seed: Draws the starts.

    Returns:
        The first fit that may be trusted, or that of the least chi2; all are in its details.

    Raises:
        DataError: The measurements do not fit the twin, or are too few.
        UnknownNameError: A channel has no drive in the twin.
    """
    fits: list[Posterior] = []
    for parameters in steps:
        fits.append(identify(spec.copy(), parameters, measurements, cfg, seed=seed))
        if fits[-1].is_trusted or fits[-1].chi2 < 1:
            break
    best = fits[-1] if fits[-1].is_trusted else min(fits, key=lambda one: one.chi2)
    told = [{"unknowns": len(one.mean), "chi2": round(one.chi2, 3)} for one in fits]
    return best.with_details(steps=told)


def held_out_errors(
    spec: mujoco.MjSpec, posterior: Posterior, measurements: Sequence[Measurement]
) -> list[HeldOut]:
    """How the nominal and the fitted twin predict motions, one entry each."""
    replay = MotionReplay(spec, posterior.parameters, measurements)
    nominal = replay.position_rms(posterior.parameters.nominal)
    fitted = replay.position_rms(posterior.values)
    return [
        HeldOut(source=one.source, nominal=before, fitted=after, noise=one.position_std)
        for one, before, after in zip(measurements, nominal, fitted, strict=True)
    ]


def _inverse(information: F64, std: F64) -> F64:
    """(p, p) covariance of data and prior, computed in units of the prior."""
    scale = np.outer(std, std)
    values, vectors = np.linalg.eigh(information * scale + np.eye(len(std)))
    return scale * ((vectors / values) @ vectors.T)


def _rms_above(each: F64, noise: F64) -> float:
    """Root mean square over channels, without what is noise; never below a tenth of the noise."""
    total, known = float((each**2).mean()), float((noise**2).mean())
    return float(np.sqrt(max(total - known, 0.01 * known)))
