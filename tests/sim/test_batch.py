import numpy as np
import pytest

from robot_rl.control.observe import ObserveCfg
from robot_rl.env.robot_env import RobotEnvCfg
from robot_rl.errors import ConfigError, PortError
from sim.batch import BatchedTwin
from sim.tasks import TASKS, make_env, make_twin

TIMED = RobotEnvCfg(observe=ObserveCfg(use_time=True, frames=2))


def _single(name, seed, actions, **cfg):
    env = make_env(name, **cfg)
    steps = [(env.reset(seed=seed)[0], 0.0, False, False, np.zeros(actions.shape[-1]))]
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        steps.append((obs, reward, terminated, truncated, info["executed_action"]))
        if terminated or truncated:
            break
    env.close()
    return steps


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_does_what_single_envs_do_with_the_same_seeds_and_actions(name):
    seeds, twin = [5, 6, 7], make_twin(name)
    batch = BatchedTwin(twin, 3, cfg=TIMED)
    size = batch.single_action_space.shape[0]
    actions = np.random.default_rng(1).uniform(-1.2, 1.2, (12, 3, size)).astype(np.float32)
    obs, _ = batch.reset(seeds)
    batched = [(obs, np.zeros(3), np.zeros(3), np.zeros(3), np.zeros((3, size)))]
    for action in actions:
        *step, info = batch.step(action)
        batched.append((*step, info["executed_action"]))
    for i, seed in enumerate(seeds):
        single = _single(name, seed, actions[:, i], observe=TIMED.observe)
        for one, many in zip(single, batched, strict=True):
            for value, values in zip(one, many, strict=True):
                np.testing.assert_allclose(values[i], value, atol=1e-4)


def test_a_batch_of_one_is_a_batch_of_many():
    actions = np.random.default_rng(2).uniform(-1, 1, (10, 4, 3)).astype(np.float32)
    many, one = (BatchedTwin(make_twin("peg"), n) for n in (4, 1))
    many.reset([1, 2, 3, 4])
    one.reset([3])
    for action in actions:
        np.testing.assert_allclose(many.step(action)[0][2], one.step(action[2:3])[0][0], atol=1e-5)


def test_success_and_its_hold_time_agree_with_the_single_env():
    twin = make_twin("peg")
    batch, env = BatchedTwin(twin, 2), make_env("peg")
    batch.reset([8, 9])
    env.reset(seed=9)
    steps, terminated = 0, False
    while not terminated:
        _, _, terminated, truncated, _ = env.step(twin.expert(env.port.read()))
        steps += 1
        assert not truncated
        *_, many, _, info = batch.step(twin.expert(batch.state))
        assert many[1] == terminated
        assert info["is_success"][1] == terminated
    assert steps < twin.task.horizon
    env.close()


def test_an_ended_episode_stands_still_until_it_is_reset():
    twin = make_twin("peg", horizon=3)
    batch = BatchedTwin(twin, 2)
    batch.reset([1, 2])
    action = np.ones((2, 3), np.float32)
    for _ in range(2):
        assert not batch.step(action)[3].any()
    obs, reward, terminated, truncated, _ = batch.step(action)
    assert truncated.all() and not terminated.any() and not reward.any()
    assert not batch.active.any()
    with pytest.raises(PortError, match="no episode is active"):
        batch.step(action)
    batch.reset([7], ids=[1])
    np.testing.assert_array_equal(batch.active, [False, True])
    after, *_, truncated, info = batch.step(action)
    np.testing.assert_array_equal(after[0], obs[0])
    assert not truncated.any()
    np.testing.assert_array_equal(info["was_active"], [False, True])


def test_settings_of_the_single_env_alone_are_refused_by_name():
    cfg = RobotEnvCfg(action_delay_steps=1)
    with pytest.raises(ConfigError, match="a batched twin has no action_delay_steps"):
        BatchedTwin(make_twin("peg"), 2, cfg=cfg)
