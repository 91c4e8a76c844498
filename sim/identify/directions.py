"""Which combinations of parameters the data leave open, in words.

motion → measurement → parameters → fit → **posterior** → twins drawn from it

The information of the data is weighed against the prior. Where it has not halved the deviation of
a direction, the fit has learned nothing worth the name there, and says so instead of giving a
number.
"""

from collections.abc import Sequence

import numpy as np

from robot_rl.types import F64
from sim.identify.parameters import Parameter, ParameterSet
from sim.identify.posterior import Direction

__all__ = ["open_directions"]

_OPEN = 0.5  # of the prior's deviation
_SMALL = 0.2  # weights below this share of the greatest are left out
_EVEN = 0.35  # weights whose sizes differ by less than this share are the same
_VARIMAX_TURNS, _VARIMAX_TOLERANCE = 200, 1e-9


def open_directions(parameters: ParameterSet, information: F64) -> tuple[Direction, ...]:
    """Directions in which the data have not halved the prior's deviation.

    Args:
        parameters: With their priors.
        information: (p, p) of the data alone in coordinates, J^T J.
    """
    std = parameters.prior_std
    weighed = information * np.outer(std, std)
    values, vectors = np.linalg.eigh(weighed)
    shrinkage = 1.0 / np.sqrt(1.0 + np.maximum(values, 0.0))
    null = vectors[:, shrinkage > _OPEN]
    found = []
    # Any basis of the open space is as true as another; one with few names each can be read.
    for vector in _varimax(null).T:
        vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
        learned = float(vector @ weighed @ vector)
        large = np.flatnonzero(np.abs(vector) >= _SMALL * np.abs(vector).max())
        chosen = [parameters.parameters[i] for i in large]
        found.append(
            Direction(
                words=_words(chosen, (vector * std)[large]),
                weights={
                    one.name: round(float(w), 4)
                    for one, w in zip(chosen, vector[large], strict=True)
                },
                shrinkage=round(1.0 / float(np.sqrt(1.0 + max(learned, 0.0))), 4),
            )
        )
    return tuple(sorted(found, key=lambda direction: direction.words))


def _words(parameters: Sequence[Parameter], weights: F64) -> str:
    """What can be said of the parameters that a direction moves together."""
    names = _and([one.name for one in parameters])
    if len(parameters) == 1:
        return f"{names}: not from these data"
    sizes, is_log = np.abs(weights), all(one.scale == "log" for one in parameters)
    is_even = sizes.max() <= (1 + _EVEN) * sizes.min()
    shares = list(zip(parameters, weights / sizes.max(), strict=True))
    if is_log and (weights > 0).all() and is_even:
        return f"{names}: only as {'a ratio' if len(parameters) == 2 else 'ratios'}"
    if is_log and len(parameters) == 2 and is_even:
        return f"{names}: only as a product"
    if is_log:
        powers = [f"{one.name}^{share:+.2g}" for one, share in shares]
        return f"{names}: open along {' · '.join(powers)}"
    terms = [f"{share:+.2g} {one.name}" for one, share in shares]
    return f"{names}: only together; open along {' '.join(terms)}"


def _and(names: Sequence[str]) -> str:
    """Names in a row; a joint that all share is said once."""
    owners = {name.partition(".")[0] for name in names}
    if len(owners) == 1 and all("." in name for name in names):
        names = [name.partition(".")[2] for name in names]
        return f"{owners.pop()}'s {_listed(names)}"
    return _listed(names)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _varimax(basis: F64) -> F64:
    """Turn an orthonormal basis (p, k) so that each vector has few large entries.

    Ref: Kaiser 1958, "The varimax criterion for analytic rotation", by singular values.
    """
    p, k = basis.shape
    if k < 2:
        return basis
    turn, before = np.eye(k), 0.0
    for _ in range(_VARIMAX_TURNS):
        turned = basis @ turn
        u, s, vt = np.linalg.svd(basis.T @ (turned**3 - turned * (turned**2).sum(0) / p))
        turn, now = u @ vt, float(s.sum())
        if now < before * (1 + _VARIMAX_TOLERANCE):
            break
        before = now
    return basis @ turn
