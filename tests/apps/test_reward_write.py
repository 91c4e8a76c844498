"""`robot-rl reward write`: from stores and a language model to a judge, and its page."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from robot_rl.apps import cli
from robot_rl.apps.collect import ExpertDriver
from robot_rl.apps.envs import make_env
from robot_rl.apps.reward.data import judged_episodes, load_judge
from robot_rl.apps.reward.probes import Prober
from robot_rl.apps.reward.state import schema_from
from robot_rl.apps.reward.trial import ShortTraining, TrialCfg
from robot_rl.errors import ConfigError, DataError
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.reward.episodes import query_of
from robot_rl.reward.written.model import Range, WrittenModel
from robot_rl.reward.written.scoring import Examples
from robot_rl.reward.written.search import finished_rounds
from robot_rl.reward.written.syntax import check_source, code_in

pytest.importorskip("mujoco")
GOOD = """\
```python
def progress(gap_m, turn_rad):
    near = 1.0 - np.tanh(np.linalg.norm(gap_m, axis=-1) / 0.3)
    turned = 1.0 - np.tanh(np.linalg.norm(turn_rad, axis=-1) / 1.0)
    return 0.7 * near + 0.3 * near * turned, {"near": near, "turned": turned}
```
"""
LAZY = "```python\ndef progress(tool_position_m):\n    return tool_position_m[:, 2] * 0.0\n```"
EVIL = "```python\nimport os\ndef progress(gap_m):\n    return os.listdir('/')\n```"
ROUNDS = ["--search.rounds", "2", "--search.candidates", "2"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Demonstrations of reaching, and failures on purpose."""
    folder, env = tmp_path_factory.mktemp("written"), make_env("reach")
    expert, prober = ExpertDriver(env, "reach"), Prober(env, "reach")
    meta = StoreMeta(robot="reach twin", control_hz=20.0, notes={"task": "reach"})
    with EpisodeStore.create(folder / "demos.zarr", meta) as store:
        for seed in range(700_000, 700_008):
            store.append(expert.demonstrate(seed))
    with EpisodeStore.create(folder / "failed.zarr", meta) as store:
        for seed, kind in enumerate(("hover", "retreat", "random", "idle")):
            store.append(prober.fail(kind, 820_000 + seed))
    env.close()
    return folder


@pytest.fixture
def data(stores):
    return [str(stores / "demos.zarr"), str(stores / "failed.zarr")]


@pytest.fixture
def server():
    """A language model that writes one good function and one that is stopped."""
    path = Path(__file__).parents[1] / "reward" / "written" / "scripted_server.py"
    spec = importlib.util.spec_from_file_location("scripted_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def say(prompt, draft):
        return (LAZY if "The best function so far" in prompt else GOOD, EVIL)[draft]

    made = module.ScriptedServer(say)
    yield made
    made.close()


def write(server, data, out, *more):
    arguments = ["reward", "write", *data, "--out", str(out), *ROUNDS]
    return cli.main([*arguments, "--model", "writer", "--url", server.url, *more])


def test_a_search_leaves_a_judge_its_history_and_a_page(server, data, tmp_path, capsys):
    assert write(server, data, tmp_path / "out") == 0
    out, told = tmp_path / "out", capsys.readouterr()
    assert "1 (best)" in told.out and "1 of 2" in told.out and "voc: order" in told.out
    assert "write 4/4" in told.err
    judge, detector = load_judge(out)
    assert judge.model_id.startswith("written-") and 0 < detector.cfg.threshold < 1
    episode = EpisodeStore.open(data[0]).read("ep_000000")
    (estimate,) = judge.score([query_of(episode, "reach")])
    judge.close()
    assert estimate.progress[-1] > estimate.progress[0] + 0.3
    first, second = finished_rounds(out)
    assert "tool centre point" in first.prompt and "import is not allowed" in second.prompt
    assert first.best.answer == GOOD and second.best is None
    page = (out / "rounds.html").read_text()
    for words in ("Progress as a function", "Components", "import is not allowed", "The state"):
        assert words in page
    assert "<svg" in page and "http" not in page.split("</style>")[1]


def test_it_goes_on_where_it_was_and_serves_every_reward_verb(server, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert write(server, data, out) == 0
    asked = len(server.prompts)
    assert write(server, data, out) == 0 and len(server.prompts) == asked
    capsys.readouterr()
    assert cli.main(["reward", "eval", str(out), *data]) in (0, 1)
    assert "voc: order" in capsys.readouterr().out
    assert cli.main(["reward", "audit", str(out), "--data", data[0]]) in (0, 1)
    assert "hovering" in capsys.readouterr().out


def test_what_would_be_asked_can_be_read_without_a_server(data, tmp_path, capsys):
    command = ["reward", "write", *data, "--out", str(tmp_path / "out"), "--show-prompt"]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert "Bring the gripper to the marker." in told
    assert "gap_m: float64 (N, 3) [m] in world, marker minus tool centre point" in told
    assert not (tmp_path / "out").exists()


def test_a_search_that_finds_nothing_says_so_and_saves_no_judge(server, data, tmp_path, capsys):
    more = (
        "--search.rounds",
        "1",
        "--search.candidates",
        "2",
        "--task",
        "The best function so far",
    )
    assert write(server, data, tmp_path / "out", *more) == 1
    assert "no function was accepted" in capsys.readouterr().out
    assert not (tmp_path / "out" / "written.json").exists()
    assert "nothing accepted" in (tmp_path / "out" / "rounds.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"--url": "http://127.0.0.1:9/v1"}, "the connection failed"),
        ({"--model": "nobody"}, "the server answers 404: no such model"),
        ({"--env": "peg"}, "has 14. Name the task that was recorded"),
        ({"--env": "nowhere"}, "unknown task 'nowhere'"),
        ({"--state": "/nowhere.json"}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(server, data, tmp_path, capsys, options, words):
    given = {"--model": "writer", "--url": server.url, "--timeout-s": "5", **options}
    flat = [part for pair in given.items() for part in pair]
    code = cli.main(["reward", "write", *data, "--out", str(tmp_path / "out"), *flat])
    told = capsys.readouterr()
    assert code == 2 and words in " ".join(told.err.split())


def test_a_search_needs_a_language_model(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["reward", "write", *data, "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert "model is '', but must be a name." in " ".join((told.out + told.err).split())


def test_a_store_without_labelled_episodes_is_refused(server, tmp_path, capsys):
    with EpisodeStore.create(tmp_path / "empty.zarr", StoreMeta(robot="x", control_hz=20.0)):
        pass
    assert write(server, [str(tmp_path / "empty.zarr")], tmp_path / "out") == 2
    assert "no episode has an outcome" in capsys.readouterr().err


def test_a_person_may_describe_the_state(tmp_path):
    file = tmp_path / "state.json"
    row = {"name": "x_m", "size": 2, "unit": "m", "frame": "world", "meaning": "place"}
    file.write_text(json.dumps({"instruction": "go", "fields": [row]}))
    assert schema_from("gym:Some-v0", 2, file=file).names == ("x_m",)
    assert schema_from("peg", 2, file=file, instruction="run").instruction == "run"
    with pytest.raises(ConfigError, match="describes 2 numbers, but the episodes hold 3"):
        schema_from("peg", 3, file=file)
    file.write_text("{}")
    with pytest.raises(ConfigError, match="must hold an instruction, and fields of name"):
        schema_from("peg", 2, file=file)


def test_the_state_of_pixel_tasks_and_gym_tasks_is_known_too():
    schema = schema_from("reach/pixels", 24)
    assert schema.names[0] == "joints_rad" and schema.size == 24
    assert schema_from("gym:Pendulum-v1", 3).names == ("features",)
    with pytest.raises(DataError, match="the episodes hold state vectors of 3 numbers"):
        schema_from("reach", 3)
    with pytest.raises(ConfigError, match="Say of which by --robot"):
        schema_from("door.yaml", 3)


def test_columns_of_recorded_episodes_are_in_si(data):
    episode = EpisodeStore.open(data[0]).read("ep_000000")
    columns = schema_from("reach", 12).columns(episode.obs["state"])
    assert 0.02 < np.linalg.norm(columns["gap_m"][0]) < 0.6
    assert np.linalg.norm(columns["gap_m"][-1]) < 0.02


def test_a_trial_needs_a_base(data, tmp_path, capsys):
    command = ["reward", "write", *data, "--out", str(tmp_path / "out"), "--model", "writer"]
    with pytest.raises(SystemExit):
        cli.main([*command, "--trial.steps", "3000"])
    told = capsys.readouterr()
    assert "there is no base to learn on" in " ".join((told.out + told.err).split())


def test_a_training_that_fails_says_why(data, tmp_path):
    """Through the real commands, in processes of their own; here without a base in the folder."""
    episodes = {name: episode for name, _, episode in judged_episodes(tuple(map(Path, data)))}
    examples = Examples.of(episodes, "reach")
    schema = schema_from("reach", examples.vectors.shape[1])
    written = check_source(code_in(GOOD), schema.names)
    model = WrittenModel(written, schema, Range()).save(tmp_path / "model")
    train = ShortTraining(TrialCfg(steps=10, base=tmp_path / "none"), "reach", examples)
    with pytest.raises(DataError, match=r"robot-rl train failed \(2\), see .*train\.log: .*none"):
        train(model, tmp_path)
    assert (model / "detector.json").is_file()
