import json
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import DataError, ShapeError
from sim.identify.parameters import Parameter, ParameterSet
from sim.identify.posterior import Direction, Posterior


def example(chi2: float = 1.0) -> Posterior:
    def one(name: str, prior_std: float) -> Parameter:
        return Parameter(
            name=name,
            quantity="mass",
            targets=(name,),
            nominal=1.0,
            low=1e-4,
            high=1e4,
            prior_std=prior_std,
        )

    set_ = ParameterSet([one("a", 1.0), one("b", 1.0), one("c", 0.5)])
    covariance = np.array([[0.01, 0.004, 0.0], [0.004, 0.02, 0.0], [0.0, 0.0, 0.25]])
    return Posterior(
        parameters=set_,
        mean=np.array([0.3, -0.2, 0.0]),
        covariance=covariance,
        chi2=chi2,
        at_bound=("a",),
        unidentifiable=(Direction(words="c", weights={"c": 1.0}, shrinkage=1.0),),
        details={"seed": 3},
    )


def test_draws_have_the_mean_and_covariance_of_the_posterior() -> None:
    posterior = example()
    drawn = posterior.parameters.to_coordinates(posterior.sample(20_000, np.random.default_rng(0)))
    np.testing.assert_allclose(drawn.mean(0), posterior.mean, atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), posterior.covariance, atol=0.006)


def test_misfit_widens_what_the_data_said_and_not_the_prior() -> None:
    calm, off = example(), example(chi2=4.0)
    np.testing.assert_allclose(calm.inflated, calm.covariance, rtol=1e-9)
    ratio = np.diag(off.inflated) / np.diag(calm.inflated)
    assert 3.5 < ratio[0] < 4.0  # nearly all from data
    assert ratio[2] == pytest.approx(1.0)  # all from the prior


def test_there_are_no_intervals_where_chi2_is_off() -> None:
    interval = example().interval("a", z=1.0)
    assert interval == pytest.approx((np.exp(0.2), np.exp(0.4)))
    assert example(chi2=1.3).interval("a") is None
    assert example(chi2=0.7).interval("a") is None


def test_draws_stay_within_bounds() -> None:
    posterior = example()
    tight = ParameterSet(
        [
            Parameter(name=n, quantity="mass", targets=(n,), nominal=1.0, low=0.9, high=1.5)
            for n in "abc"
        ]
    )
    clipped = Posterior(
        parameters=tight, mean=np.full(3, np.log(1.5)), covariance=posterior.covariance, chi2=1.0
    )
    drawn = clipped.sample(500, np.random.default_rng(0))
    assert drawn.min() >= 0.9 - 1e-12
    assert drawn.max() <= 1.5 + 1e-12


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    posterior = example()
    name = posterior.save(tmp_path / "deep" / "p.json")
    back = Posterior.load(tmp_path / "deep" / "p.json")
    assert back.hash == name == posterior.hash
    np.testing.assert_array_equal(back.covariance, posterior.covariance)
    assert back.unidentifiable == posterior.unidentifiable
    assert back.parameters.parameters == posterior.parameters.parameters


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    example().save(path)
    data = json.loads(path.read_text())
    data["mean"][0] += 0.1
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="was edited"):
        Posterior.load(path)
    path.write_text(json.dumps(data | {"format": 9}))
    with pytest.raises(DataError, match="has format 9, but this robot_rl reads 1"):
        Posterior.load(path)
    with pytest.raises(DataError, match="cannot be read"):
        Posterior.load(tmp_path / "none.json")


def test_arrays_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="posterior mean"):
        Posterior(
            parameters=example().parameters, mean=np.zeros(2), covariance=np.eye(3), chi2=1.0
        )
