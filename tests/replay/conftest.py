from pathlib import Path

import numpy as np
import pytest

from robot_rl.replay.schema import CameraMeta, StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.replay.trajectory import Trajectory


@pytest.fixture(scope="session")
def make_trajectory():
    def make(seed: int = 0, steps: int = 5, camera: str | None = "wrist") -> Trajectory:
        rng = np.random.default_rng(seed)
        obs = {"state": rng.normal(size=(steps + 1, 3)).astype(np.float32)}
        if camera:
            obs[camera] = rng.integers(0, 256, (steps + 1, 12, 16, 3), dtype=np.uint8)
        requested, base = rng.normal(size=(2, steps, 2)).astype(np.float32)
        return Trajectory(
            obs=obs,
            executed=np.clip(requested, -1, 1),
            requested=requested,
            base=base,
            next_base=rng.normal(size=2).astype(np.float32),
            reward=rng.normal(size=steps).astype(np.float32),
            terminated=bool(seed % 2),
            success=[True, False, None][seed % 3],
            control_source=rng.integers(0, 5, steps).astype(np.uint8),
            t_s=np.cumsum(rng.uniform(0.04, 0.06, steps + 1)),
            attrs={"task": "peg", "seed": seed},
        )

    return make


@pytest.fixture(scope="session")
def meta() -> StoreMeta:
    camera = CameraMeta(name="wrist", width_px=16, height_px=12, codec="png")
    return StoreMeta(robot="arm", control_hz=20.0, cameras=(camera,), notes={"rig": "bench"})


@pytest.fixture
def store(tmp_path: Path, meta: StoreMeta):
    with EpisodeStore.create(tmp_path / "peg.zarr", meta) as made:
        yield made


@pytest.fixture(scope="session")
def assert_same():
    def check(found: Trajectory, wanted: Trajectory) -> None:
        assert found.obs.keys() == wanted.obs.keys()
        for key in found.obs:
            np.testing.assert_array_equal(found.obs[key], wanted.obs[key], err_msg=key)
        for key in ("executed", "requested", "base", "next_base", "reward", "control_source"):
            a, b = getattr(found, key), getattr(wanted, key)
            assert (a is None) == (b is None), key
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b, err_msg=key)
        np.testing.assert_array_equal(found.t_s, wanted.t_s)
        assert (found.terminated, found.success) == (wanted.terminated, wanted.success)
        assert wanted.attrs.items() <= found.attrs.items()

    return check
