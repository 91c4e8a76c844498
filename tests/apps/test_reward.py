"""`robot-rl reward`: from stores to a judge, its page, its labels and what fools it."""

import json

import numpy as np
import pytest

from robot_rl.apps import cli
from robot_rl.apps.collect import ExpertDriver
from robot_rl.apps.envs import make_env
from robot_rl.apps.reward import audit as reward_audit
from robot_rl.apps.reward import label as reward_label
from robot_rl.apps.reward import train as reward_train
from robot_rl.apps.reward.data import cases_of, instruction_of, load_judge
from robot_rl.apps.reward.probes import Prober, steps_to_go
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.eyesight import EyesightCfg
from robot_rl.replay.schema import StoreMeta
from robot_rl.replay.store import EpisodeStore
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.potentials import FramePotentials

pytest.importorskip("mujoco")
SMALL = EmbeddedCfg(steps=80, members=2, batch=32)


@pytest.fixture(scope="module")
def env():
    env = make_env("reach")
    yield env
    env.close()


@pytest.fixture(scope="module")
def stores(env, tmp_path_factory):
    """Two stores of the reach task: eight demonstrations, and failures on purpose."""
    folder = tmp_path_factory.mktemp("reward")
    expert, prober = ExpertDriver(env, "reach"), Prober(env, "reach")
    meta = StoreMeta(robot="reach twin", control_hz=20.0, notes={"task": "reach"})
    with EpisodeStore.create(folder / "demos.zarr", meta) as store:
        for seed in range(700_000, 700_008):
            store.append(expert.demonstrate(seed))
    with EpisodeStore.create(folder / "failed.zarr", meta) as store:
        for seed, kind in enumerate(("hover", "retreat", "random")):
            store.append(prober.fail(kind, 820_000 + seed))
    return folder


@pytest.fixture(scope="module")
def model(stores):
    data = (stores / "demos.zarr", stores / "failed.zarr")
    cfg = reward_train.Cfg(data=data, out=stores / "model", model=SMALL)
    assert reward_train.main(cfg) == 0
    return stores / "model"


def test_training_leaves_a_model_a_detector_and_its_figures(model):
    judge, detector = load_judge(model)
    assert judge.version == 1 and 0 < detector.cfg.threshold < 1
    figures = json.loads((model / "training.json").read_text())["held_out"]
    assert figures["voc"]["low"] <= figures["voc"]["mean"]


def test_training_again_makes_the_next_version(model, stores, capsys):
    again = stores / "again"
    for _ in range(2):
        tiny = EmbeddedCfg(steps=5, members=1)
        data = (stores / "demos.zarr",)
        reward_train.main(reward_train.Cfg(data=data, out=again, model=tiny, gates=(0,)))
    judge, detector = load_judge(again)
    assert judge.version == 2 and len(detector.cfg.gates) == 1
    assert "version 2, from 8 successes and 0 failures" in capsys.readouterr().out


def test_an_evaluation_prints_every_figure_and_writes_its_page(model, stores, capsys):
    arguments = ["reward", "eval", str(model)]
    stores_given = [str(stores / "demos.zarr"), str(stores / "failed.zarr")]
    code = cli.main([*arguments, *stores_given])
    out = capsys.readouterr().out
    for words in ("voc:", "kendall_tau:", "any_time_false_positive:", "latency_p95_ms:"):
        assert words in out
    page = (model / "evaluation.html").read_text()
    assert code == (1 if "gate failed" in out else 0)
    assert "Calibration" in page and "<svg" in page and "http" not in page.split("</style>")[1]


def test_from_pixels_a_judge_is_trained_measured_and_attacked(tmp_path):
    path, model = tmp_path / "seen.zarr", tmp_path / "model"
    collect = ["collect", "--env", "reach/pixels", "--out", str(path), "--episodes", "3"]
    assert cli.main([*collect, "--settle-s", "0.2"]) == 0
    cfg = reward_train.Cfg(
        data=(path,),
        out=model,
        model=EmbeddedCfg(steps=4, members=1),
        eyes=EyesightCfg(steps=2, batch=8),
    )
    assert reward_train.main(cfg) == 0
    assert load_judge(model)[0].cameras == ("front", "wrist")
    assert cli.main(["reward", "eval", str(model), str(path)]) in (0, 1)
    page = (model / "evaluation.html").read_text()
    assert "frames of the episode: front, wrist" in page and "data:image/jpeg" in page
    assert reward_audit.main(reward_audit.Cfg(model=model, data=(path,))) in (0, 1)
    assert "the lenses are covered" in (model / "audit.html").read_text()


def test_models_are_compared_side_by_side(model, stores, capsys, tmp_path):
    data, page = str(stores / "demos.zarr"), tmp_path / "compare.html"
    command = ["reward", "compare", str(model), str(stores / "model"), "--data", data]
    assert cli.main([*command, "--out", str(page)]) == 2
    other = tmp_path / "other"
    load_judge(model)[0].save(other)
    command = ["reward", "compare", str(model), str(other), "--data", data, "--out", str(page)]
    assert cli.main(command) == 0 and page.exists()


def test_labels_lie_beside_the_episodes_and_never_overrule_a_person(model, env, tmp_path):
    path = tmp_path / "own.zarr"
    expert = ExpertDriver(env, "reach")
    with EpisodeStore.create(path, StoreMeta(robot="reach twin", control_hz=20.0)) as store:
        names = [store.append(expert.demonstrate(s)) for s in (710_000, 710_001)]
        store.label(names[0], "failure", "human")
        store.label(names[1], "unknown", "none")
    cfg = reward_label.Cfg(model=model, data=path, verdicts=True, every_s=0.2)
    assert reward_label.main(cfg) == 0
    store = EpisodeStore.open(path)
    human, judged = store.info(names[0]), store.info(names[1])
    assert (human.outcome, human.label_source) == ("failure", "human")
    assert judged.label_source.startswith("reward_model:embedded-")
    arrays, facts = store.annotation("progress", names[0])
    kept = FramePotentials.from_arrays(arrays)
    assert len(kept) == human.length + 1 and facts["version"] == 1
    assert kept.success_label[-1] == 0 and facts["label_source"] == "human"
    assert np.isfinite(kept.success_p).sum() < len(kept) <= kept.phi_valid.sum() + 5


def test_what_was_labelled_already_is_left_alone(model, stores, tmp_path, capsys):
    path = tmp_path / "copy.zarr"
    source = EpisodeStore.open(stores / "demos.zarr")
    with EpisodeStore.create(path, source.meta) as store:
        store.adopt(source, source.ids()[0])
    for expected in ("1 judged, 0 up to date", "0 judged, 1 up to date"):
        reward_label.main(reward_label.Cfg(model=model, data=path))
        assert expected in capsys.readouterr().out


def test_an_audit_tries_recordings_and_the_twin(model, stores, capsys):
    cfg = reward_audit.Cfg(
        model=model, data=(stores / "demos.zarr",), env="reach", episodes=9, seed=860_000
    )
    code, out = reward_audit.main(cfg), capsys.readouterr().out
    for kind in ("hovering", "backwards", "beside", "short", "mimic"):
        assert kind in out
    page = (model / "audit.html").read_text()
    assert ("fooled" in page) and code in (0, 1)


def test_an_instruction_is_given_known_or_the_name():
    assert instruction_of("peg", "Do it.") == "Do it."
    assert instruction_of("peg/pixels") == "Insert the peg into the hole."
    assert instruction_of("wipe the table") == "wipe the table"
    with pytest.raises(DataError, match="the episodes name no task"):
        instruction_of("")


def test_failures_on_purpose_fail_and_know_where_the_goal_was_met(env):
    prober = Prober(env, "reach")
    for kind in prober.kinds():
        episode = prober.fail(kind, 830_000)
        assert not episode.success and not any(episode.attrs["achieved"])
        assert len(episode.attrs["achieved"]) == len(episode) + 1
    assert "drop" not in prober.kinds()


def test_true_progress_counts_the_steps_that_an_expert_needs(env):
    episode = Prober(env, "reach").expert(700_003)
    left = steps_to_go(env, "reach", episode, [0, 5, len(episode) - 1])
    assert left == [len(episode), len(episode) - 5, 1]


def test_a_gate_on_a_number_that_is_not_there_is_refused(stores, tmp_path):
    cfg = reward_train.Cfg(
        data=(stores / "demos.zarr",), out=tmp_path, model=EmbeddedCfg(steps=1), gates=(99,)
    )
    with pytest.raises(ConfigError, match=r"gates \[99\]"):
        reward_train.main(cfg)


def test_stores_without_verdicts_teach_nothing(stores, tmp_path):
    source = EpisodeStore.open(stores / "demos.zarr")
    with EpisodeStore.create(tmp_path / "x.zarr", source.meta) as store:
        store.label(store.adopt(source, source.ids()[0]), "success", "reward_model:m@1")
    assert cases_of((tmp_path / "x.zarr",)) == []
    with pytest.raises(DataError, match="no episode has an outcome that a person"):
        reward_train.main(reward_train.Cfg(data=(tmp_path / "x.zarr",), out=tmp_path / "m"))


def test_unknown_verbs_are_named(capsys):
    assert cli.main(["reward", "trian"]) == 2
    assert "unknown verb of `robot-rl reward` 'trian'" in capsys.readouterr().err
