"""From pixels, end to end: collect, learn to see, clone, learn; what is left acts on images."""

import shlex

import numpy as np
import pytest

from robot_rl.apps import cli, sight
from robot_rl.apps.envs import make_env
from robot_rl.errors import ConfigError
from robot_rl.learn.record import RunRecord
from robot_rl.policy.callable import CallablePolicy
from robot_rl.policy.eyes import Eyes, SeeingPolicy
from robot_rl.policy.saved import load_policy

ENV = "reach/pixels"
SMALL = shlex.split(
    "--steps 40 --seed 3 --warmup-steps 20 --warmup-updates 5 --batch 16 --utd 0.5 "
    "--td3.width 16 --chooser.width 16 --refresh.steps 5 --refresh-every 20 --eval-every 0 "
    "--checkpoint-every 20 --eval-episodes 1 --videos 1 --bc.steps 20 --bc.width 16 "
    "--eyes.steps 6 --eyes.batch 8 --eyes.width 8 --eyes.features 4"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("pixels") / "demos.zarr"
    assert cli.main(["collect", "--env", ENV, "--out", str(path), "--episodes", "2"]) == 0
    return path


def test_a_run_on_pixels_leaves_a_policy_that_acts_on_images(store, tmp_path, capsys):
    out = tmp_path / "run"
    asked = ["train", "--env", ENV, "--demos", str(store), "--out", str(out), *SMALL]
    assert cli.main(asked) == 0
    assert RunRecord.read(out).evals[-1]["step"] >= 40
    policy = load_policy(out / "policy")
    assert isinstance(policy, SeeingPolicy)
    env = make_env(ENV)
    obs, _ = env.reset(seed=0)
    env.close()
    plan = policy.act(obs)
    assert np.isfinite(plan).all()
    darker = obs | {name: obs[name] // 4 for name in policy.eyes.cameras}
    assert not np.array_equal(policy.eyes.see(darker), policy.eyes.see(obs))
    own = Eyes.load(out / sight.EYES_FILE)
    np.testing.assert_array_equal(own.see(obs), policy.eyes.see(obs))
    # Asked again it finds everything done, with the same eyes.
    stamp = (out / sight.EYES_FILE).stat().st_mtime_ns
    assert cli.main([*asked, "--resume", "--videos", "0"]) == 0
    assert (out / sight.EYES_FILE).stat().st_mtime_ns == stamp


def test_pixels_without_anything_to_learn_to_see_from_are_refused():
    env = make_env(ENV)
    try:
        with pytest.raises(ConfigError, match="seeing is learned from demonstrations"):
            sight.admit_sight(env, None, [], ENV)
        blind = CallablePolicy(lambda obs: np.zeros(6))
        with pytest.raises(ConfigError, match="CallablePolicy has no eyes"):
            sight.admit_sight(env, blind, [], ENV)
    finally:
        env.close()
