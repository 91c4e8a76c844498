import json
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.reward.episodes import query_of
from robot_rl.reward.loading import load_model
from robot_rl.reward.potentials import FramePotentials, PotentialTable
from robot_rl.reward.progress import ProgressModel, ProgressQuery
from robot_rl.reward.shaping import PotentialShaper, ShapingCfg
from robot_rl.reward.written.model import Range, WrittenModel
from robot_rl.reward.written.syntax import CandidateError, check_source, code_in


@pytest.fixture(scope="module")
def model(schema, answers):
    written = check_source(code_in(answers["good"]), schema.names)
    made = WrittenModel(written, schema, Range(), version=3)
    yield made
    made.close()


def test_it_judges_as_the_function_says(model, held_out):
    queries = [query_of(episode, "reach") for episode in held_out.values()]
    for query, found in zip(queries, model.score(queries), strict=True):
        far = np.linalg.norm(query.proprio[:, :2].astype(float), axis=1)
        near = 1 - np.tanh(far / 0.6)
        still = np.exp(-np.linalg.norm(5.0 * query.proprio[:, 2:4].astype(float), axis=1))
        np.testing.assert_allclose(found.progress, near * (0.95 + 0.05 * still), atol=1e-6)
        assert found.valid.all() and found.version == 3 and found.model_id == model.model_id


def test_it_is_a_progress_model_like_any_other(model):
    assert isinstance(model, ProgressModel) and model.capabilities.causal


def test_what_it_cannot_read_is_invalid_and_the_rest_is_judged(model, held_out):
    fine = query_of(next(iter(held_out.values())), "reach")
    images = np.zeros((2, 8, 8, 3), np.uint8)
    blind = ProgressQuery(stamps_s=np.arange(2.0), task="reach", frames={"front": images})
    other = replace(fine, proprio=fine.proprio[:, :3], initial_proprio=None)
    found = model.score([blind, fine, other])
    assert [each.valid.all() for each in found] == [False, True, False]
    assert np.isnan(found[0].progress).all() and "state vector of 6 numbers" in found[2].raw_text


def test_a_function_that_fails_later_is_invalid_and_never_a_number(schema, held_out):
    source = "def progress(gap_m):\n    return 1.0 / (gap_m[:, 0] - gap_m[:, 0])\n"
    bad = WrittenModel(check_source(source, schema.names), schema, Range())
    (found,) = bad.score([query_of(next(iter(held_out.values())), "reach")])
    bad.close()
    assert not found.valid.any() and "progress is NaN or infinite" in found.raw_text


def test_a_saved_model_is_loaded_like_any_other_judge(model, held_out, tmp_path):
    again = load_model(model.save(tmp_path / "model"))
    queries = [query_of(episode, "reach") for episode in held_out.values()]
    for before, after in zip(model.score(queries), again.score(queries), strict=True):
        np.testing.assert_array_equal(before.progress, after.progress)
    assert (again.model_id, again.version) == (model.model_id, 3)
    again.close()


def test_a_function_that_was_slipped_into_a_saved_folder_is_refused(model, tmp_path):
    path = model.save(tmp_path / "model") / "written.json"
    row = json.loads(path.read_text())
    row["source"] = "def progress(gap_m):\n    return __import__('os').getcwd()\n"
    path.write_text(json.dumps(row))
    with pytest.raises(CheckpointError, match="its function is refused: line 2: the method"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("format", 9, "has format 9, but this robot_rl reads 1"),
        ("source", None, "is no saved function"),
        ("range", {"low": 2.0, "high": 1.0}, "low 2.0 must be below high 1.0"),
        ("schema", {}, "misses the field 'instruction'"),
    ],
)
def test_a_damaged_folder_is_refused(model, tmp_path, name, value, words):
    path = model.save(tmp_path / "model") / "written.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "model")


def test_as_a_potential_no_detour_pays(model, make_reach):
    """Whatever the function says, the shaped reward of any closed way sums to what Φ lost."""
    episode = make_reach(7)
    (estimate,) = model.score([query_of(episode, "reach")])
    table = PotentialTable(len(estimate))
    table.write(0, FramePotentials.of(estimate))
    shaper, gamma = PotentialShaper(ShapingCfg(weight=1.0, final_weight=1.0)), 0.97
    rng = np.random.default_rng(0)
    way = np.concatenate([[0], rng.integers(0, len(estimate), 200), [0]])
    discount = np.full(len(way) - 1, gamma, np.float32)
    rewards, known = shaper.rewards(table, way[:-1], way[1:], discount)
    gained = float((gamma ** np.arange(len(rewards)) * rewards).sum())
    start = float(estimate.progress[0])
    assert known.all()
    assert gained == pytest.approx(start * (gamma ** len(rewards) - 1), abs=1e-4)


def test_ranges_in_which_nothing_rises_are_refused():
    with pytest.raises(ConfigError, match=r"low 1 must be below high 1"):
        Range(low=1, high=1)
    values = np.array([5.0, 3.0, 1.0])
    with pytest.raises(CandidateError, match="successes begin at 5 and end at 1"):
        Range.of(values, values[:1], values[2:])
