"""A policy behind a socket acts as it would here, and every way to fail is an explicit error."""

import socket
import struct
import threading

import msgpack
import numpy as np
import pytest

from robot_rl.errors import ConfigError, NonFiniteError
from robot_rl.policy import wire
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.callable import CallablePolicy
from robot_rl.policy.ensemble import ChunkEnsemble
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.queue import ChunkQueue
from robot_rl.policy.remote import RemotePolicy, serve

rng = np.random.default_rng(0)
NORM = Normaliser.fit(
    rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
)
OBS = rng.normal(size=5).astype(np.float32)


def ensemble() -> ChunkEnsemble:
    return ChunkEnsemble.fresh(NORM, chunk=4, members=2, hidden=(8, 8), seed=0)


def test_the_remote_policy_acts_exactly_as_the_local_one():
    policy = ensemble()
    with serve(policy) as server:
        remote = RemotePolicy(port=server.port, timeout_s=10)
        assert isinstance(remote, BasePolicy)
        assert remote.chunk == 4
        remote.reset()
        np.testing.assert_array_equal(remote.act(OBS), policy.act(OBS))
        np.testing.assert_array_equal(remote.act({"state": OBS}), policy.act(OBS))
        queue = ChunkQueue(remote)
        queue.reset()
        action, phase = queue.next(OBS)
        np.testing.assert_array_equal(action, policy.act(OBS)[0])
        assert phase == 0
        remote.close()


def test_building_a_remote_policy_opens_nothing_and_a_dead_server_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    remote = RemotePolicy(port=port)
    with pytest.raises(wire.PolicyLinkError, match=f"policy server 127.0.0.1:{port} cannot be"):
        remote.act(OBS)


def test_a_server_that_dies_between_plans_is_named_and_one_that_returns_is_used():
    policy = ensemble()
    server = serve(policy)
    port = server.port
    remote = RemotePolicy(port=port, timeout_s=10)
    remote.act(OBS)
    server.close()
    with pytest.raises(wire.PolicyLinkError, match="policy server"):
        remote.act(OBS)
    with serve(policy, port=port):
        np.testing.assert_array_equal(remote.act(OBS), policy.act(OBS))
        remote.close()


def test_a_late_plan_is_a_timeout_and_never_answers_the_next_request():
    slow = threading.Event()
    first = threading.Event()

    def function(obs):
        if not first.is_set():
            first.set()
            slow.wait(10)
        return obs[:2]

    with serve(CallablePolicy(function)) as server:
        remote = RemotePolicy(port=server.port, timeout_s=0.2)
        with pytest.raises(wire.PolicyTimeoutError, match=r"no whole message within 0\.2 s"):
            remote.act(np.array([1, 1], np.float32))
        slow.set()
        patient = RemotePolicy(port=server.port, timeout_s=10)
        np.testing.assert_array_equal(patient.act(np.array([2, 2], np.float32)), [[2, 2]])
        remote._timeout_s = 10
        np.testing.assert_array_equal(remote.act(np.array([3, 3], np.float32)), [[3, 3]])
        patient.close()
        remote.close()


def test_what_the_policy_refuses_is_told_and_the_connection_stays():
    with serve(ensemble()) as server:
        remote = RemotePolicy(port=server.port, timeout_s=10)
        with pytest.raises(wire.RemotePolicyError, match=r"shape \(3,\), but must have shape"):
            remote.act(OBS[:3])
        assert remote.act(OBS).shape == (4, 2)
        remote.close()


def test_a_token_is_needed_off_loopback_and_checked():
    with pytest.raises(ConfigError, match="without a token, so anyone could use it"):
        serve(ensemble(), "0.0.0.0")
    with serve(ensemble(), token="right") as server:
        with pytest.raises(wire.RemotePolicyError, match="token is not the server's"):
            RemotePolicy(port=server.port, token="wrong", timeout_s=10).act(OBS)
        friend = RemotePolicy(port=server.port, token="right", timeout_s=10)
        assert friend.act(OBS).shape == (4, 2)
        friend.close()


def raw_answer(port: int, *messages: bytes) -> dict:
    """What the server says to these bytes."""
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        for message in messages:
            link.sendall(message)
            answer = wire.receive(link, 10)
        return answer


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_the_server_survives_messages_that_are_not_ours():
    hello = wire.pack("hello", token="")
    with serve(ensemble()) as server:
        old = framed(msgpack.packb({"version": 0, "kind": "hello", "token": ""}))
        assert "version 0" in raw_answer(server.port, old)["message"]
        long = struct.pack(">I", wire.MAX_MESSAGE_BYTES + 1)
        assert "announces" in raw_answer(server.port, long)["message"]
        assert "no msgpack" in raw_answer(server.port, framed(b"\xc1"))["message"]
        assert "token" in raw_answer(server.port, wire.pack("act", obs={}))["message"]
        assert (
            "map of named" in raw_answer(server.port, hello, wire.pack("act", obs={}))["message"]
        )
        assert (
            "unknown request 'eval'"
            in raw_answer(server.port, hello, wire.pack("eval"))["message"]
        )
        assert raw_answer(server.port, hello)["kind"] == "spec"


class Liar(threading.Thread):
    """A server that answers hello as it should, and then with the given plan."""

    def __init__(self, chunk, plan: np.ndarray) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answers = [
            wire.pack("spec", chunk=chunk),
            wire.pack("plan", plan=wire.pack_array(plan)),
        ]
        self.start()

    def run(self) -> None:
        link, _ = self.listener.accept()
        with link, self.listener:
            for answer in self.answers:
                try:
                    wire.receive(link, 10)
                except wire.PolicyLinkError:
                    return  # the client has had enough
                link.sendall(answer)


def test_a_plan_with_nan_is_refused_by_the_client():
    liar = Liar(2, np.full((2, 2), np.nan, np.float32))
    remote = RemotePolicy(port=liar.port, timeout_s=10)
    with pytest.raises(NonFiniteError, match="remote policy: plan"):
        remote.act(OBS)
    remote.close()
    liar.join()


def test_a_server_with_a_chunk_that_is_no_size_is_refused():
    liar = Liar("eight", np.zeros((2, 2), np.float32))
    with pytest.raises(wire.WireError, match="chunk is 'eight'"):
        RemotePolicy(port=liar.port, timeout_s=10).connect()
    liar.join()


def test_a_port_that_is_taken_is_named():
    with serve(ensemble()) as server:
        with pytest.raises(wire.PolicyLinkError, match="cannot listen on"):
            serve(ensemble(), port=server.port)
