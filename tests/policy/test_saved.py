"""A saved policy answers as before; a damaged one is a clear error and never an answer."""

import json

import numpy as np
import pytest

from robot_rl.errors import CheckpointError
from robot_rl.policy.act import ACTCfg, ACTPolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.flow import FlowCfg, FlowPolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.saved import load_policy, save_policy

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
)
OBS = rng.normal(size=5).astype(np.float32)


def mlp(seed: int = 0) -> ChunkEnsemble:
    return ChunkEnsemble.fresh(NORM, chunk=4, members=2, hidden=(8, 8), seed=seed)


def act() -> ACTPolicy:
    return ACTPolicy(ACTCfg(chunk=4, width=16), NORM, seed=0)


def act_with_style() -> ACTPolicy:
    return ACTPolicy(ACTCfg(chunk=4, width=16, latent=3), NORM, seed=0)


def flow() -> FlowPolicy:
    return FlowPolicy(FlowCfg(chunk=4, width=16), NORM, seed=0)


POLICIES = {"mlp": mlp, "act": act, "act with style": act_with_style, "flow": flow}


def edit(path, **changes) -> None:
    file = path / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("kind", POLICIES)
def test_a_loaded_policy_answers_exactly_as_the_saved_one(kind, tmp_path):
    policy = POLICIES[kind]()
    loaded = load_policy(save_policy(policy, tmp_path / "base"))
    assert type(loaded) is type(policy)
    assert loaded.chunk == policy.chunk
    np.testing.assert_array_equal(loaded.act(OBS), policy.act(OBS))


def test_saving_again_replaces_the_policy_and_leaves_no_other_file(tmp_path):
    save_policy(mlp(0), tmp_path / "base")
    save_policy(mlp(1), tmp_path / "base")
    np.testing.assert_array_equal(load_policy(tmp_path / "base").act(OBS), mlp(1).act(OBS))
    assert len(list((tmp_path / "base").iterdir())) == 2


def test_a_save_that_was_cut_short_leaves_the_last_policy(tmp_path):
    path = save_policy(mlp(0), tmp_path / "base")
    head = (path / "policy.json").read_bytes()
    old = next(path.glob("weights-*")).read_bytes()
    name = next(path.glob("weights-*")).name
    save_policy(mlp(1), path)
    (path / "policy.json").write_bytes(head)  # killed before the one rename that counts
    (path / name).write_bytes(old)
    np.testing.assert_array_equal(load_policy(path).act(OBS), mlp(0).act(OBS))


def test_truncated_weights_are_refused(tmp_path):
    path = save_policy(mlp(), tmp_path / "base")
    weights = next(path.glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        load_policy(path)


@pytest.mark.parametrize("length", [0, 5, 60])
def test_a_truncated_head_is_refused(length, tmp_path):
    path = save_policy(mlp(), tmp_path / "base")
    (path / "policy.json").write_bytes((path / "policy.json").read_bytes()[:length])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_policy(path)


def test_another_version_and_an_unknown_kind_are_refused(tmp_path):
    path = save_policy(mlp(), tmp_path / "base")
    edit(path, version=99)
    with pytest.raises(CheckpointError, match="has version 99, but this robot_rl reads version 1"):
        load_policy(path)
    edit(path, version=1, kind="oracle")
    with pytest.raises(
        CheckpointError, match=r"unknown kind 'oracle'\. Available: act, chosen, flow, mlp"
    ):
        load_policy(path)


def test_config_and_weights_of_different_sizes_are_refused(tmp_path):
    path = save_policy(mlp(), tmp_path / "base")
    edit(path, config={"chunk": 4, "members": 3, "hidden": [8, 8]})
    with pytest.raises(CheckpointError, match="weights"):
        load_policy(path)
    edit(path, config={"chunk": 4})
    with pytest.raises(CheckpointError, match="do not fit kind 'mlp'"):
        load_policy(path)


@pytest.mark.parametrize("kind", ["act", "flow"])
def test_networks_of_other_sizes_are_refused(kind, tmp_path):
    policy = POLICIES[kind]()
    path = save_policy(policy, tmp_path / "base")
    edit(path, config=policy.config() | {"width": 32})
    with pytest.raises(CheckpointError, match="weights do not fit"):
        load_policy(path)


def test_a_path_in_the_hash_does_not_leave_the_folder(tmp_path):
    path = save_policy(mlp(), tmp_path / "base")
    edit(path, sha256="../../../etc/passwd")
    with pytest.raises(CheckpointError, match="no SHA-256"):
        load_policy(path)


def test_no_policy_and_a_policy_that_cannot_be_saved_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no policy at"):
        load_policy(tmp_path / "nothing")

    class Lambda:
        chunk = 1

        def reset(self): ...

        def act(self, obs): ...

    with pytest.raises(CheckpointError, match="Lambda cannot be saved"):
        save_policy(Lambda(), tmp_path / "base")
