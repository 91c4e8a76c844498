import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.learn.evidence import Evidence

NAMES = ("base", "residual")


def run(rates, episodes, seed=0):
    """Share of episodes each candidate got when they succeed at `rates`."""
    evidence, rng = Evidence(NAMES), np.random.default_rng(seed)
    for _ in range(20):
        evidence.note("base", rng.random() < rates["base"])
    count = dict.fromkeys(NAMES, 0)
    for _ in range(episodes):
        name = evidence.draw(rng)
        count[name] += 1
        evidence.note(name, rng.random() < rates[name])
    return evidence, {name: n / episodes for name, n in count.items()}


def test_a_candidate_that_destroys_the_base_gets_few_episodes():
    shares = [run({"base": 0.5, "residual": 0.0}, 200, seed)[1]["residual"] for seed in range(20)]
    assert np.mean(shares) < 0.1


def test_a_better_candidate_takes_over():
    runs = [run({"base": 0.5, "residual": 0.95}, 150, seed) for seed in range(20)]
    assert np.mean([shares["residual"] for _, shares in runs]) > 0.8
    assert np.mean([evidence.best() == "residual" for evidence, _ in runs]) > 0.9


def test_rivals_share_the_episodes_that_find_out_who_is_best():
    names, rates = ("base", "imitation", "residual"), (0.4, 0.8, 0.9)
    shares, found = [], []
    for seed in range(40):
        evidence, rng = Evidence(names), np.random.default_rng(seed)
        for _ in range(60):
            name = evidence.draw_rival(rng)
            evidence.note(name, rng.random() < rates[names.index(name)])
        shares.append([evidence.records[name].trials for name in names])
        found.append(evidence.best())
    base, imitation, residual = np.mean(shares, 0)
    assert base < 0.5 * min(imitation, residual)
    assert 0.5 < imitation / residual < 1.1
    assert found.count("residual") > 25


def test_where_one_is_best_beyond_doubt_it_alone_acts():
    evidence = Evidence(NAMES)
    for _ in range(2_000):
        evidence.note("base", False)
    for _ in range(40):
        evidence.note("residual", True)
    rng = np.random.default_rng(0)
    assert {evidence.draw_rival(rng) for _ in range(50)} == {"residual"}


def test_in_doubt_the_base_is_deployed():
    assert Evidence(NAMES).best() == "base"


def test_what_a_candidate_was_fades_but_the_base_does_not():
    evidence = Evidence(NAMES, memory=10)
    for _ in range(100):
        evidence.note("residual", True)
        evidence.note("base", True)
    assert evidence.records["residual"].trials < 11
    assert evidence.records["base"].trials == 100


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=50))
def test_rates_are_probabilities_and_the_state_round_trips(outcomes):
    evidence = Evidence(NAMES)
    for name, success in outcomes:
        evidence.note(name, success)
    other = Evidence(NAMES)
    other.load_state(evidence.state())
    for name in NAMES:
        assert 0 < evidence.rate(name) < 1
        assert evidence.rate(name) == other.rate(name)
    chance = evidence.chance_better("residual", "base")
    assert 0 <= chance <= 1
    assert chance == evidence.chance_better("residual", "base")
