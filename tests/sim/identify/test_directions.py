import numpy as np

from sim.identify.directions import open_directions
from sim.identify.parameters import Parameter, ParameterSet


def one(name: str, quantity: str) -> Parameter:
    nominal = 0.0 if quantity.startswith("com") else 1.0
    low = -1.0 if quantity.startswith("com") else 0.1
    return Parameter(
        name=name,
        quantity=quantity,
        targets=("t",),
        nominal=nominal,
        low=low,
        high=10.0,
        prior_std=1.0,
    )


SET = ParameterSet(
    [
        one("joint3.kp", "kp"),
        one("joint3.armature", "armature"),
        one("joint3.damping", "damping"),
        one("rod.com_x", "com_x"),
        one("rod.mass", "mass"),
    ]
)


def information(*directions: list[float]) -> np.ndarray:
    """Much about each of the given directions, nothing about others."""
    rows = np.array(directions, np.float64)
    return 1e6 * rows.T @ rows


def words(*directions: list[float]) -> list[str]:
    return [one.words for one in open_directions(SET, information(*directions))]


DAMPING, COM, MASS = [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]


def test_nothing_is_open_where_all_was_measured() -> None:
    assert open_directions(SET, 1e6 * np.eye(5)) == ()


def test_a_ratio_is_named() -> None:
    found = words([1, -1, 0, 0, 0], DAMPING, COM, MASS)
    assert found == ["joint3's kp and armature: only as a ratio"]


def test_a_product_is_named() -> None:
    found = words([1, 1, 0, 0, 0], DAMPING, COM, MASS)
    assert found == ["joint3's kp and armature: only as a product"]


def test_what_was_not_seen_at_all_is_named_alone() -> None:
    assert words([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], COM, MASS) == [
        "joint3's damping: not from these data"
    ]


def test_several_open_directions_are_told_apart() -> None:
    found = words([1, -1, 0, 0, 0], DAMPING)
    assert found == [
        "joint3's kp and armature: only as a ratio",
        "rod's com_x: not from these data",
        "rod's mass: not from these data",
    ]


def test_other_combinations_are_spelled_out() -> None:
    found = words([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], DAMPING, [0, 0, 0, 1, -2])
    assert found == ["rod's com_x and mass: only together; open along +1 rod.com_x +0.5 rod.mass"]


def test_a_direction_is_open_until_its_deviation_is_halved() -> None:
    almost = 2.9 * np.eye(5)[:1].T @ np.eye(5)[:1] + 1e6 * np.diag([0, 1, 1, 1, 1])
    enough = 3.1 * np.eye(5)[:1].T @ np.eye(5)[:1] + 1e6 * np.diag([0, 1, 1, 1, 1])
    (left,) = open_directions(SET, almost)
    assert left.weights == {"joint3.kp": 1.0}
    assert 0.5 < left.shrinkage < 0.52
    assert open_directions(SET, enough) == ()
