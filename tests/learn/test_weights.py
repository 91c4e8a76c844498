"""Weights go from one process to another: whole, in order, whatever is killed in between."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError
from robot_rl.learn.weights import WeightsFollower, newest_weights, publish_weights

# What publishing does to the disk, in any order: each is a moment in which it may be killed.
CALLS = [
    (Path, "mkdir"),
    (Path, "open"),
    (Path, "rename"),
    (os, "fsync"),
    (os, "open"),
    (shutil, "rmtree"),
]


class Killed(BaseException):
    """Nothing in the product catches this."""


def publish(folder, number):
    """Publish weights that say everywhere which ones they are."""
    arrays = {"actor": np.full(500, number, np.float32)}
    return publish_weights(folder, arrays, {"number": number}, position=number)


def is_whole(weights) -> bool:
    number = weights.state["number"]
    return weights.position == number and bool((weights.arrays["actor"] == number).all())


def test_the_newest_wins_and_a_few_older_ones_stay(tmp_path):
    assert newest_weights(tmp_path / "none") is None
    assert [publish(tmp_path, k) for k in range(6)] == [1, 2, 3, 4, 5, 6]
    assert newest_weights(tmp_path).version == 6
    assert newest_weights(tmp_path, after=6) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000004", "000005", "000006"]


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    left = [0]

    def dying(call):
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    for number in range(4):
        publish(tmp_path, number)
    with monkeypatch.context() as patch:
        for owner, name in CALLS:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        deaths, version = 0, 4
        while True:
            left[0] = deaths
            try:
                published = publish(tmp_path, 100 + deaths)
            except Killed:
                left[0] = 10_000
                found = newest_weights(tmp_path)
                assert is_whole(found) and found.version >= version
                assert found.version <= version + 1
                deaths, version = deaths + 1, found.version
            else:
                break
    assert deaths >= 10, "there were as many moments to die in"
    assert published == version + 1 and newest_weights(tmp_path).version == published
    assert len(list(tmp_path.iterdir())) == 3, "nothing of the killed writers is left"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_weights_are_never_read_and_older_ones_are(data, tmp_path):
    shutil.rmtree(tmp_path)
    for number in range(3):
        publish(tmp_path, number)
    victim = data.draw(st.sampled_from(["weights.json", "weights.safetensors"]))
    file = tmp_path / "000003" / victim
    raw = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(raw)
    try:
        found = newest_weights(tmp_path)
    except CheckpointError:
        return  # a flipped bit made its format another one
    assert is_whole(found)
    assert found.version == 2 or (bytes(raw) != b"" and found.state["number"] == 2)


def test_a_follower_sees_only_whole_ones_and_only_newer_ones(tmp_path):
    end = threading.Event()

    def write():
        for number in range(20):
            publish(tmp_path, number)
        end.set()

    writer, seen = threading.Thread(target=write), []
    with WeightsFollower(tmp_path, lambda weights: weights, period_s=0.001) as follower:
        writer.start()
        while not end.is_set() or not seen or seen[-1].version < 20:
            news = follower.take()
            if news is not None:
                seen.append(news[1])
            assert writer.is_alive() or end.is_set()
        assert follower.take() is None, "each is given once"
    writer.join()
    assert all(is_whole(weights) for weights in seen)
    versions = [weights.version for weights in seen]
    assert versions == sorted(set(versions))


def test_weights_that_do_not_fit_are_an_error_where_they_are_taken(tmp_path):
    def build(weights):
        raise CheckpointError("weights are of another configuration.")

    publish(tmp_path, 1)
    with WeightsFollower(tmp_path, build, period_s=0.001) as follower:
        with pytest.raises(CheckpointError, match="another configuration"):
            while True:
                follower.take()


def test_another_format_is_refused_by_name(tmp_path):
    publish(tmp_path, 1)
    file = tmp_path / "000001" / "weights.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(CheckpointError, match="has format 9, but this robot_rl reads format 1"):
        newest_weights(tmp_path)
