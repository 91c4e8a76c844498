import json

import numpy as np

from robot_rl.learn.evidence import Evidence
from robot_rl.learn.td3 import TD3, TD3Cfg
from robot_rl.learn.trust import Trust
from robot_rl.policy.normalise import Normaliser

NAMES = ("base", "imitation", "residual")


def agent():
    norm = Normaliser.fit(np.zeros((2, 3), np.float32), np.float32([[-1, -1], [1, 1]]))
    return TD3(TD3Cfg(critics=2, width=8, pull=0.3), norm, scale=0.4, seed=0)


def run(rates, episodes=60, seed=0):
    """The residual's bonds after so many of its episodes, where each succeeds at its rate."""
    ours, evidence, rng = agent(), Evidence(NAMES), np.random.default_rng(seed)
    trust = Trust(ours, NAMES, max_scale=0.4)
    for _ in range(25):
        evidence.note("base", rng.random() < rates["base"])
    for _ in range(episodes):
        evidence.note("imitation", rng.random() < rates["imitation"])
        evidence.note("residual", rng.random() < rates["residual"])
        trust.adapt(evidence)
    return ours, trust


def runs(**rates):
    found = [run(rates, seed=seed)[0] for seed in range(20)]
    return np.mean([ours.pull for ours in found]), np.mean([ours.scale for ours in found])


def test_a_residual_that_beats_the_base_is_set_free():
    pull, scale = runs(base=0.5, imitation=0.6, residual=0.8)
    assert pull < 0.03
    assert scale > 0.35


def test_one_that_is_better_than_the_base_but_far_below_the_imitation_is_held():
    pull, _ = runs(base=0.3, imitation=0.95, residual=0.5)
    assert pull > 0.15


def test_one_that_destroys_the_base_is_held_and_bound():
    pull, scale = runs(base=0.6, imitation=0.6, residual=0.1)
    assert pull > 0.2
    assert scale < 0.1


def test_what_was_held_is_set_free_once_it_works():
    ours, evidence = agent(), Evidence(NAMES)
    trust = Trust(ours, NAMES, max_scale=0.4)
    for name in ("base", "imitation"):
        for k in range(20):
            evidence.note(name, k % 2 == 0)
    for _ in range(20):
        evidence.note("residual", success=False)
        trust.adapt(evidence)
    bound = ours.scale
    for _ in range(150):
        evidence.note("residual", success=True)
        trust.adapt(evidence)
    assert bound < 0.1
    assert ours.scale > 2 * bound
    assert ours.pull < 0.01


def test_its_state_goes_through_json():
    ours, trust = run({"base": 0.5, "imitation": 0.6, "residual": 0.7}, episodes=11)
    other = agent()
    again = Trust(other, NAMES, max_scale=0.4)
    again.load_state(json.loads(json.dumps(trust.state())))
    assert (other.pull, other.scale) == (ours.pull, ours.scale)
    assert again.state() == trust.state()
