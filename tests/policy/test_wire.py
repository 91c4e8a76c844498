"""Messages survive the way unchanged, and no bytes from outside get further than an error."""

import socket
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.policy import wire

arrays = hnp.arrays(
    st.sampled_from([np.float32, np.uint8]), hnp.array_shapes(max_dims=4, min_side=0)
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), arrays, min_size=1, max_size=3))
def test_observations_arrive_as_they_were_sent(obs):
    body = wire.pack("act", obs=wire.pack_observation(obs))[4:]
    arrived = wire.unpack_observation(wire.unpack(body)["obs"])
    assert arrived.keys() == obs.keys()
    for name, array in obs.items():
        assert arrived[name].dtype == array.dtype
        np.testing.assert_array_equal(arrived[name], array)


def test_a_flat_observation_stays_flat():
    flat = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(wire.unpack_observation(wire.pack_observation(flat)), flat)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(body):
    try:
        message = wire.unpack(body)
    except wire.WireError:
        return
    assert message["version"] == wire.WIRE_VERSION


json_like = st.recursive(
    st.none() | st.integers(-5, 2**40) | st.text(max_size=8) | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    json_like
    | st.fixed_dictionaries({"dtype": json_like, "shape": json_like, "data": json_like})
    | st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["float32", "object", "V8"]),
            "shape": st.lists(st.integers(-2, 2**33), max_size=5),
            "data": st.binary(max_size=16),
        }
    )
)
def test_any_plain_data_is_an_array_or_a_wire_error(value):
    try:
        array = wire.unpack_array(value)
    except wire.WireError:
        return
    assert array.dtype in (np.float32, np.uint8)


def test_object_arrays_and_wide_floats_are_not_sent():
    with pytest.raises(wire.WireError, match="object cannot be sent; allowed: float32, uint8"):
        wire.pack_array(np.array([None]))
    with pytest.raises(wire.WireError, match="float64 cannot be sent"):
        wire.pack_array(np.zeros(2))


def test_another_version_is_refused():
    body = msgpack.packb({"version": 7, "kind": "act"})
    with pytest.raises(wire.WireError, match="has version 7; this robot_rl speaks version 1"):
        wire.unpack(body)


def test_a_message_too_long_is_refused_before_memory_is_taken():
    near, far = socket.socketpair()
    with near, far:
        far.sendall(struct.pack(">I", wire.MAX_MESSAGE_BYTES + 1))
        with pytest.raises(wire.WireError, match="announces 33554433 bytes; allowed: 33554432"):
            wire.receive(near, 1.0)
    with pytest.raises(wire.WireError, match="is too long"):
        wire.pack("act", data=b"0" * (wire.MAX_MESSAGE_BYTES + 1))


def test_half_a_message_is_a_timeout_and_a_closed_link_says_so():
    near, far = socket.socketpair()
    with near:
        far.sendall(wire.pack("act")[:-1])
        with pytest.raises(wire.PolicyTimeoutError, match=r"within 0\.05 s"):
            wire.receive(near, 0.05)
        far.close()
        with pytest.raises(wire.PolicyLinkError, match="closed the connection"):
            wire.receive(near, 0.05)
