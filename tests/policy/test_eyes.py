"""Eyes see the same at every time, one by one or all at once, before and after they are saved."""

import numpy as np
import pytest

from robot_rl.errors import CheckpointError, ShapeError, UnknownNameError
from robot_rl.policy.callable import CallablePolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.eyes import Eyes, EyesCfg, SeeingPolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.saved import load_policy, save_policy

rng = np.random.default_rng(0)
CFG = EyesCfg(state_dim=3, cameras=(("front", 24, 28), ("wrist", 20, 20)), width=8, features=4)


def look():
    return {
        "state": rng.standard_normal(3).astype(np.float32),
        "front": rng.integers(0, 256, (24, 28, 3), np.uint8),
        "wrist": rng.integers(0, 256, (20, 20, 3), np.uint8),
    }


def test_one_look_is_the_state_and_bounded_features_of_every_camera():
    eyes, obs = Eyes(CFG, seed=0), look()
    seen = eyes.see(obs)
    assert eyes.features == 8
    np.testing.assert_array_equal(seen[:3], obs["state"])
    assert seen.shape == (11,)
    assert (np.abs(seen[3:]) <= 1).all()
    darker = {**obs, "wrist": obs["wrist"] // 4}
    assert np.array_equal(eyes.see(darker)[3:7], seen[3:7])
    assert not np.array_equal(eyes.see(darker)[7:], seen[7:])


def test_many_looks_at_once_see_what_each_sees_alone():
    eyes, looks = Eyes(CFG, seed=0), [look() for _ in range(70)]
    rows = {name: np.stack([obs[name] for obs in looks]) for name in looks[0]}
    together = eyes.see_all(rows["state"], rows)
    np.testing.assert_allclose(together, [eyes.see(obs) for obs in looks], atol=1e-5)


def test_saved_eyes_see_exactly_the_same(tmp_path):
    eyes, obs = Eyes(CFG, seed=3), look()
    loaded = Eyes.load(eyes.save(tmp_path / "eyes.safetensors"))
    np.testing.assert_array_equal(loaded.see(obs), eyes.see(obs))
    (tmp_path / "eyes.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is no encoder of images"):
        Eyes.load(tmp_path / "eyes.safetensors")


def test_a_saved_policy_that_sees_acts_exactly_the_same_on_images(tmp_path):
    states = rng.standard_normal((50, 11)).astype(np.float32)
    norm = Normaliser.fit(states, rng.uniform(-1, 1, (50, 2)).astype(np.float32))
    inner = ChunkEnsemble.fresh(norm, chunk=4, members=2, hidden=(8, 8), seed=0)
    policy, obs = SeeingPolicy(Eyes(CFG, seed=0), inner), look()
    loaded = load_policy(save_policy(policy, tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.act(obs), policy.act(obs))
    assert loaded.chunk == 4


def test_what_cannot_be_seen_or_saved_is_refused(tmp_path):
    eyes, obs = Eyes(CFG, seed=0), look()
    with pytest.raises(UnknownNameError, match="wrist"):
        eyes.see({"state": obs["state"], "front": obs["front"]})
    with pytest.raises(ShapeError):
        eyes.see({**obs, "front": obs["front"][:-1]})
    with pytest.raises(CheckpointError, match="eyes on a policy of type CallablePolicy"):
        save_policy(SeeingPolicy(eyes, CallablePolicy(lambda obs: np.zeros(2))), tmp_path)
