import json
import os
import subprocess
import sys
import threading
import urllib.request

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError, ConfigError, DataError, PortError
from robot_rl.policy.wire import WireError
from robot_rl.reward.loading import load_model
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressModel, ProgressQuery
from robot_rl.reward.query_wire import (
    pack_about,
    pack_estimates,
    pack_queries,
    unpack_about,
    unpack_estimates,
    unpack_queries,
)
from robot_rl.reward.remote import RemoteCfg, RemoteModel
from robot_rl.reward.score_server import ScoreServer, ScoreServerCfg
from robot_rl.reward.vlm.http_link import LinkError

ANY_PORT = ScoreServerCfg(port=0)


class Brightness:
    """Progress is how bright the picture is; tasks that are called 'refuse' are refused."""

    model_id = "brightness"
    capabilities = Capabilities(causal=True, max_frames=7)

    def __init__(self, version=0):
        self.version = version
        self.go_on = threading.Event()
        self.go_on.set()
        self.arrived = threading.Event()

    def score(self, queries):
        self.arrived.set()
        self.go_on.wait(60)
        return [self._judge(query) for query in queries]

    def _judge(self, query):
        about = {"model_id": self.model_id, "version": self.version}
        if query.task == "refuse":
            raise DataError("this task is refused.")
        if not query.frames:
            return ProgressEstimate.invalid(len(query), **about, raw_text="dark")
        progress = query.frames["top"].mean(axis=(1, 2, 3), dtype=np.float32) / 255
        return ProgressEstimate(
            progress=progress,
            success=np.full_like(progress, np.nan),
            sigma=np.full_like(progress, 0.1),
            hop=np.diff(progress, prepend=progress[:1]),
            valid=np.ones(len(progress), bool),
            **about,
        )

    def save(self, folder):
        return folder


def film(count=3, seed=0, task="brighten"):
    rng = np.random.default_rng(seed)
    return ProgressQuery(
        stamps_s=np.arange(count) / 3,
        task=task,
        frames={"top": rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)},
        goal={"top": rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)},
        proprio=rng.normal(size=(count, 2)).astype(np.float32),
        goal_proprio=np.ones(2, np.float32),
    )


def felt(count=2):
    return ProgressQuery(
        stamps_s=np.arange(float(count)), task="", proprio=np.zeros((count, 1), np.float32)
    )


def same(a, b):
    assert type(a) is type(b)
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
        elif isinstance(value, dict):
            assert value.keys() == other.keys()
            for key in value:
                np.testing.assert_array_equal(value[key], other[key])
        else:
            assert value == other


def test_queries_and_estimates_survive_the_wire():
    queries = [film(4), felt(), film(1, seed=3)]
    for sent, received in zip(queries, unpack_queries(pack_queries(queries)), strict=True):
        same(sent, received)
    assert unpack_queries(pack_queries(queries))[0].frames["top"].flags.writeable
    estimates = Brightness(version=5).score(queries)
    for sent, received in zip(estimates, unpack_estimates(pack_estimates(estimates)), strict=True):
        same(sent, received)
    can = Brightness.capabilities
    assert unpack_about(pack_about("x", 3, can)) == ("x", 3, can)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_message(noise):
    for unpack in (unpack_queries, unpack_estimates, unpack_about):
        with pytest.raises(WireError):
            unpack(noise)


LEAVES = st.none() | st.integers(-9, 9) | st.floats() | st.text(max_size=3) | st.booleans()
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2), max_leaves=4)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_message_with_any_part_replaced_is_read_or_refused(data):
    for body, unpack in (
        (pack_queries([film(2)]), unpack_queries),
        (pack_estimates(Brightness().score([film(2)])), unpack_estimates),
    ):
        message = msgpack.unpackb(body)
        row = message["rows"][0]
        key = data.draw(st.sampled_from(sorted(row)))
        row[key] = data.draw(TREES)
        try:
            unpack(msgpack.packb(message))
        except WireError as error:
            assert "malformed" in str(error) or "must" in str(error) or "array" in str(error)


def test_an_estimate_with_a_number_where_nothing_was_judged_is_refused():
    message = msgpack.unpackb(pack_estimates(Brightness().score([film(2)])))
    message["rows"][0]["valid"]["data"] = b"\x00\x01"
    with pytest.raises(WireError, match="of an invalid frame must be NaN"):
        unpack_estimates(msgpack.packb(message))


def test_a_remote_model_answers_as_the_model_itself():
    model = Brightness(version=2)
    queries = [film(3, seed) for seed in range(5)]
    with (
        ScoreServer(model, ANY_PORT) as server,
        RemoteModel(RemoteCfg(url=server.url, batch=2)) as remote,
    ):
        assert isinstance(remote, ProgressModel)
        assert (remote.model_id, remote.version) == ("brightness", 2)
        assert remote.capabilities == model.capabilities
        for here, there in zip(model.score(queries), remote.score(queries), strict=True):
            np.testing.assert_array_equal(here.progress, there.progress)
            np.testing.assert_array_equal(here.hop, there.hop)
            assert there.latency_s > 0


def test_a_new_model_on_the_server_is_noticed():
    with (
        ScoreServer(Brightness(version=1), ANY_PORT) as server,
        RemoteModel(RemoteCfg(url=server.url, about_every_s=1e6)) as remote,
    ):
        assert remote.version == 1
        server.model = Brightness(version=2)
        assert remote.version == 1  # not asked again yet
        assert remote.score([film()])[0].version == 2
        assert remote.version == 2


def test_what_the_model_refuses_is_invalid_and_says_why():
    with (
        ScoreServer(Brightness(), ANY_PORT) as server,
        RemoteModel(RemoteCfg(url=server.url)) as remote,
    ):
        (found,) = remote.score([film(task="refuse")])
    assert not found.valid.any()
    assert "answers 422: this task is refused." in found.raw_text


def test_without_a_server_every_frame_is_invalid_and_nobody_knows_the_model():
    with RemoteModel(RemoteCfg(url="http://127.0.0.1:9", timeout_s=0.2)) as remote:
        (found,) = remote.score([film(4)])
        assert len(found) == 4
        assert not found.valid.any()
        with pytest.raises(LinkError):
            _ = remote.version


def test_a_full_queue_sends_clients_away_and_they_come_back():
    model = Brightness()
    model.go_on.clear()
    cfg = ScoreServerCfg(port=0, queue=1)
    with ScoreServer(model, cfg) as server, RemoteModel(RemoteCfg(url=server.url)) as remote:
        found = []
        threads = [
            threading.Thread(target=lambda: found.extend(remote.score([film()]))) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        assert model.arrived.wait(60)
        model.go_on.set()
        for thread in threads:
            thread.join()
    assert len(found) == 5
    assert all(each.valid.all() for each in found)


def post(url, body=b"", **headers):
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_bad_requests_are_refused_with_a_reason():
    cfg = ScoreServerCfg(port=0, max_request_bytes=100)
    with ScoreServer(Brightness(), cfg) as server:
        assert post(f"{server.url}/score", b"\xff")[0] == 400
        assert post(f"{server.url}/nowhere")[0] == 404
        status, why = post(f"{server.url}/score", b"x" * 101)
        assert (status, why) == (413, b"a request may have 100 bytes.")
        with urllib.request.urlopen(f"{server.url}/health", timeout=60) as reply:
            assert json.load(reply)["model_id"] == "brightness"


def test_a_token_is_asked_for(monkeypatch):
    monkeypatch.setenv("SCORE_TOKEN", "open sesame")
    with ScoreServer(Brightness(), ANY_PORT, token="open sesame") as server:
        with RemoteModel(RemoteCfg(url=server.url)) as stranger:
            (found,) = stranger.score([film()])
            assert "answers 401" in found.raw_text
        with RemoteModel(RemoteCfg(url=server.url, token_variable="SCORE_TOKEN")) as friend:
            assert friend.score([film()])[0].valid.all()


def test_anyone_may_reach_loopback_only():
    with pytest.raises(ConfigError, match=r"host is '0\.0\.0\.0' without a token"):
        ScoreServer(Brightness(), ScoreServerCfg(host="0.0.0.0", port=0))


def test_a_taken_port_is_said():
    with ScoreServer(Brightness(), ANY_PORT) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(PortError, match=f"cannot listen on 127.0.0.1:{port}"):
            ScoreServer(Brightness(), ScoreServerCfg(port=port))


def test_a_closed_server_turns_connected_clients_away():
    with (
        ScoreServer(Brightness(), ANY_PORT) as server,
        RemoteModel(RemoteCfg(url=server.url, timeout_s=0.5)) as remote,
    ):
        assert remote.score([film()])[0].valid.all()
        server.close()
        assert not remote.score([film()])[0].valid.any()


def test_models_are_loaded_by_what_their_folder_holds(tmp_path):
    remote = load_model("http://127.0.0.1:9")
    again = load_model(remote.save(tmp_path / "there"))
    assert again.cfg == remote.cfg
    with pytest.raises(CheckpointError, match="holds no progress model"):
        load_model(tmp_path)


def test_the_verb_serves_a_saved_judge(tmp_path, monkeypatch):
    (tmp_path / "judge.json").write_text(
        json.dumps(
            {
                "judge": "gvl",
                "judge_cfg": {},
                "engine": "ServerCfg",
                "engine_cfg": {"url": "http://127.0.0.1:9/v1", "model": "m", "retries": 0},
                "version": 4,
            }
        )
    )
    code = (
        "from pathlib import Path\n"
        "from robot_rl.apps.reward.serve import Cfg, ScoreServerCfg, main\n"
        f"main(Cfg(model=Path({str(tmp_path)!r}), server=ScoreServerCfg(port=0)))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert child.stdout is not None
        words = child.stdout.readline().split()
        assert words[:2] == ["serving", words[1]]
        assert words[1].startswith("gvl:m:")
        with RemoteModel(RemoteCfg(url=words[-1])) as remote:
            assert remote.version == 4
            (found,) = remote.score([film(2)])
            assert not found.valid.any()
            assert "connection failed" in found.raw_text
    finally:
        child.terminate()
        child.communicate()
