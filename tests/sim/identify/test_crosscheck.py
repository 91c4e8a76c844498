from importlib import import_module

import numpy as np
import pytest
from small_arm import measured, short_motion, truth, unknowns

from robot_rl.errors import ConfigError, MissingExtraError
from sim.identify.arm import arm_parameters
from sim.identify.crosscheck import largest_disagreement, toolbox_fit
from sim.identify.fit import identify
from sim.identify.hidden import nominal_arm
from sim.identify.least_squares import LeastSquaresCfg

needs_toolbox = pytest.mark.skipif(
    not hasattr(import_module("mujoco.sysid"), "optimize"), reason="needs the extra 'sysid'"
)


@needs_toolbox
def test_the_toolbox_finds_the_same() -> None:
    motion = measured(truth(), short_motion())
    few = unknowns().subset(["arm_joint2.armature", "arm_joint4.armature", "delay"])
    fixed = unknowns().with_nominal(truth())
    spec, _ = nominal_arm()
    unknowns().apply_to_spec(spec, fixed.nominal)
    ours = identify(spec.copy(), few, [motion], LeastSquaresCfg(starts=1, candidates=0))
    other = toolbox_fit(spec.copy(), few, [motion], iterations=6)
    assert other.chi2 == pytest.approx(ours.chi2, rel=1e-3)
    name, gap = largest_disagreement(ours, other)
    assert gap < 0.2, name
    np.testing.assert_allclose(other.std, ours.std, rtol=0.1)


@needs_toolbox
def test_encoder_biases_are_beyond_it() -> None:
    spec, robot = nominal_arm()
    known = arm_parameters(spec.compile(), robot.arms, ("encoder_bias",))
    with pytest.raises(ConfigError, match="leave encoder_bias out"):
        toolbox_fit(spec, known, [measured(truth(), short_motion())])


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("mujoco.sysid.optimize", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'robot-rl\[sysid\]'"):
        toolbox_fit(nominal_arm()[0], unknowns(), [measured(truth(), short_motion())])
