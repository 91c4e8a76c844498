"""Kill -9 at any moment: no acknowledged episode is lost, and the store opens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.verify import verify_episode

# Imports once, then forks a writer for each trial and kills it after a random time. Numbers in an
# episode follow from its seed alone, so that what is found can be compared with what was written.
ZYGOTE = """
import json, os, random, select, signal, sys, time
import numpy as np
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.trajectory import Trajectory

def numbers(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(9, 3)).astype("f4"), rng.integers(0, 256, (9, 8, 8, 3), dtype="u1")

def write(path, out, first):
    with EpisodeStore.open(path, mode="a") as store:
        for seed in range(first, first + 1000):
            state, images = numbers(seed)
            if seed % 2:
                name = store.append(Trajectory(
                    obs={"state": state, "wrist": images}, executed=state[:8, :2],
                    requested=state[:8, :2], reward=state[:8, 0], terminated=True, success=True,
                    control_source=np.zeros(8, "u1"), t_s=np.arange(9.0), attrs={"seed": seed}))
            else:
                writer = store.begin({"seed": seed})
                for k in range(9):
                    writer.frame("wrist", images[k], t_device_ns=k, t_host_ns=k, frame_no=k)
                    writer.observe(float(k), {"state": state[k]})
                    if k < 8:
                        a = state[k, :2]
                        writer.step(a, a, reward=state[k, 0])
                name = writer.seal("success", "env")
            os.write(out, (json.dumps([name, seed]) + "\\n").encode())

path, kills, rng = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
camera = CameraMeta(name="wrist", width_px=8, height_px=8, codec="png")
child = os.fork()
if child == 0:
    EpisodeStore.create(path, StoreMeta(robot="arm", control_hz=1, cameras=(camera,))).close()
    os._exit(0)
os.waitpid(child, 0)
for trial in range(kills):
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        write(path, out, 1000 * trial)
    os.close(out)
    if trial % 4:  # most kills while writing, the others while opening and recovering
        select.select([source], [], [], 20)
    time.sleep(rng.uniform(0, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(source) as file:
        sys.stdout.write(file.read())
    sys.stdout.flush()
"""


def _numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(9, 3)).astype("f4"), rng.integers(0, 256, (9, 8, 8, 3), dtype="u1")


def _is_as_written(store: EpisodeStore, name: str, steps: int) -> bool:
    found = store.read(name)
    state, images = _numbers(found.attrs["seed"])
    return (
        len(found) == steps
        and np.array_equal(found.obs["state"], state[: steps + 1])
        and np.array_equal(found.obs["wrist"], images[: steps + 1])
        and np.array_equal(found.executed, state[:steps, :2])
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_no_acknowledged_episode_is_lost_by_kill_9(tmp_path: Path, seed: int):
    path = tmp_path / "crash.zarr"
    command = [sys.executable, "-c", ZYGOTE, str(path), "15", str(seed)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    acknowledged = dict(json.loads(line) for line in result.stdout.splitlines())
    assert len(acknowledged) >= 5

    reader = EpisodeStore.open(path)
    assert acknowledged.keys() <= set(reader.ids())
    with EpisodeStore.open(path, mode="a") as store:
        assert not list((path / ".journal").glob("new_*")), "drafts are swept"
        for name in store.ids():
            assert verify_episode(store, name) == []
            assert _is_as_written(store, name, steps=8)
        for name, result_text in store.repair().items():
            if result_text.startswith("salvaged"):
                assert _is_as_written(store, name, steps=store.info(name).length)
        assert store.partials() == []
        seeds = [info.facts["seed"] for info in store.infos()]
        assert len(set(seeds)) == len(seeds), "nothing is there twice"
