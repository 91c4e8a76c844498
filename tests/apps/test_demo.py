"""The demo does the whole job once, tells it in one line, and goes on where it was stopped."""

import re
import shlex

import pytest

from robot_rl.apps import cli
from robot_rl.learn.record import RunRecord
from robot_rl.replay.store import EpisodeStore

pytest.importorskip("mujoco", reason="pip install 'robot-rl[sim]'")

SMALL = shlex.split(
    "--env reach --episodes 3 --steps 300 --selection-episodes 2 --eval-episodes 3 --videos 0 "
    "--bc.steps 20 --bc.checks 1 --bc.width 32 --warmup-steps 100 --warmup-updates 5 --batch 16 "
    "--td3.width 16 --chooser.width 16 --refresh.steps 10 --refresh-every 150 --eval-every 0"
)


@pytest.mark.slow
def test_the_demo_ends_with_its_figures_and_goes_on_where_it_was(tmp_path, capsys):
    out = tmp_path / "demo"
    # As if it had been stopped after the first of three demonstrations.
    first = ["collect", "--env", "reach", "--episodes", "1", "--out", str(out / "demos.zarr")]
    assert cli.main(first) == 0
    assert cli.main(["demo", *SMALL, "--out", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(
        r"demo: base (\d\.\d\d) -> residual (\d\.\d\d) in (\d+) steps, report: (\S+)", last
    )
    assert found, last
    assert (out / "residual" / "report.html").samefile(found[4])
    record = RunRecord.read(out / "residual")
    base, final = (sum(row["successes"]) / 3 for row in (record.evals[0], record.evals[-1]))
    assert (found[1], found[2]) == (f"{base:.2f}", f"{final:.2f}")
    assert int(found[3]) == record.episodes[-1]["step"] >= 300
    with EpisodeStore.open(out / "demos.zarr") as store:
        assert len(store) == 3
    logs = (out / "residual" / "episodes.jsonl").read_bytes()
    assert cli.main(["demo", *SMALL, "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert (out / "residual" / "episodes.jsonl").read_bytes() == logs
