"""Checkpoints are whole or absent, at whatever instant the writer dies."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError
from robot_rl.learn.checkpoint import (
    load_checkpoint,
    load_latest,
    numpy_rng_state,
    restore_numpy_rng,
    restore_torch_rng,
    save_checkpoint,
    torch_rng_state,
)
from robot_rl.learn.run import RunFolder


def save(run, step, **more):
    flat = torch.arange(10, dtype=torch.float32)
    return save_checkpoint(
        run,
        step,
        tensors={"w": flat[:4].view(2, 2), "b": flat[4:]},  # views of one buffer, as in training
        arrays={"step": np.array(step), "obs": np.full((50, 3), step, np.float32)},
        state={"step": step, "big": 2**100},
        **more,
    )


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", {"seed": 0})


def test_a_checkpoint_is_read_back_exactly(run):
    save(run, 5)
    checkpoint = load_latest(run)
    assert checkpoint is not None and checkpoint.step == 5
    assert torch.equal(checkpoint.tensors["w"], torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    assert checkpoint.arrays["step"].shape == () and checkpoint.arrays["step"] == 5
    assert checkpoint.state == {"step": 5, "big": 2**100}


def test_a_run_without_checkpoints_has_none(run):
    assert load_latest(run) is None


def test_only_the_last_k_are_kept(run):
    for step in (1, 20, 300):
        save(run, step, keep=2)
    names = sorted(p.name for p in (run.path / "checkpoints").iterdir())
    assert names == ["step_000000020", "step_000000300"]


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["state.json", "tensors.safetensors", "arrays.safetensors"]),
    where=st.floats(0, 1, exclude_max=True),
    how=st.sampled_from(["cut", "flip", "remove"]),
)
def test_a_damaged_newest_is_passed_over(tmp_path_factory, name, where, how):
    run = RunFolder.create(tmp_path_factory.mktemp("r") / "run", {"seed": 0})
    save(run, 1)
    file = save(run, 2) / name
    raw = bytearray(file.read_bytes())
    at = int(where * len(raw))
    if name == "state.json":
        at = at // 8  # its head: version and checksums
        how = "cut" if how == "flip" else how
    if how == "remove":
        file.unlink()
    else:
        raw[at] ^= 0xFF
        file.write_bytes(raw[:at] if how == "cut" else raw)
    checkpoint = load_latest(run)
    assert checkpoint is not None and checkpoint.step == 1


def test_passing_over_a_damaged_checkpoint_is_said(run, caplog):
    save(run, 1)
    (save(run, 2) / "state.json").write_text("{")
    load_latest(run)
    assert "step_000000002 is damaged" in caplog.text


def test_when_no_checkpoint_can_be_read_the_error_says_so(run):
    (save(run, 1) / "state.json").write_text("")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        load_latest(run)


def test_a_checkpoint_of_another_version_is_refused_not_skipped(run):
    save(run, 1)
    file = save(run, 2) / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 99}))
    with pytest.raises(CheckpointError, match="has version 99, but this robot_rl reads version 1"):
        load_latest(run)
    with pytest.raises(CheckpointError, match="version 99"):
        load_checkpoint(file.parent)


def test_numpy_randomness_goes_on_where_it_stood():
    first = np.random.default_rng(7)
    first.normal(size=11)
    state = json.loads(json.dumps(numpy_rng_state(first)))
    second = np.random.default_rng(0)
    restore_numpy_rng(second, state)
    assert np.array_equal(first.normal(size=5), second.normal(size=5))
    with pytest.raises(CheckpointError, match="of a PCG64 generator, but must be of a MT19937"):
        restore_numpy_rng(np.random.Generator(np.random.MT19937(0)), state)


def test_torch_randomness_goes_on_where_it_stood():
    first, second = torch.Generator().manual_seed(7), torch.Generator()
    torch.rand(11, generator=first)
    restore_torch_rng(torch_rng_state(first), second)
    a, b = torch.rand(5, generator=first), torch.rand(5, generator=second)
    assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="does not fit this torch"):
        restore_torch_rng(np.zeros(3, np.uint8), second)


WRITER = """
import sys, numpy as np, torch
from robot_rl.learn.checkpoint import load_latest, save_checkpoint
from robot_rl.learn.run import RunFolder
run = RunFolder.create(sys.argv[1], {"seed": 0}, resume=True)
checkpoint = load_latest(run)
run.rewind(checkpoint)
step = checkpoint.step if checkpoint else 0
print("ready", flush=True)
while True:
    step += 1
    run.log(step, {"q": step})
    save_checkpoint(
        run, step, tensors={"w": torch.full((64, 64), float(step))},
        arrays={"a": np.full(50_000, step, np.int64)}, state={"step": step},
    )
    print(step, flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_newest_checkpoint_that_is_whole(tmp_path):
    rng = np.random.default_rng(0)
    saved = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "run")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(1 + int(rng.integers(1, 6))):
            line = process.stdout.readline()
        # Died at an instant that no line marks: the reader spins for a random while first.
        for _ in range(int(rng.integers(0, 200_000))):
            pass
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        acknowledged = int((rest[-1] if rest else line).decode().strip())
        checkpoint = load_latest(tmp_path / "run")
        assert checkpoint is not None
        assert checkpoint.step >= acknowledged > saved
        assert np.all(checkpoint.arrays["a"] == checkpoint.step)
        assert torch.all(checkpoint.tensors["w"] == checkpoint.step)
        saved = acknowledged
    run = RunFolder.create(tmp_path / "run", {"seed": 0}, resume=True)
    run.rewind(load_latest(run))
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line)["q"] for line in lines]
    checkpoint = load_latest(run)
    assert checkpoint is not None and rows == list(range(1, checkpoint.step + 1))
