import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import DataError
from robot_rl.replay.journal import (
    Frame,
    Journal,
    Kind,
    pack_arrays,
    pack_frame,
    read_journal,
    unpack_arrays,
    unpack_frame,
)

ARRAYS = st.dictionaries(
    st.text("abc/_", min_size=1, max_size=8),
    st.sampled_from(["f4", "f8", "i4", "i8", "u1", "u2"]).flatmap(
        lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    max_size=4,
)


@given(arrays=ARRAYS)
def test_rows_come_back_bit_for_bit(arrays):
    found = unpack_arrays(pack_arrays(arrays))
    assert found.keys() == arrays.keys()
    for key, value in arrays.items():
        assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
        assert found[key].tobytes() == value.tobytes()


@settings(max_examples=200)
@given(data=st.binary(max_size=64))
def test_arbitrary_bytes_are_refused_as_rows_without_taking_memory(data):
    try:
        arrays = unpack_arrays(data)
    except DataError:
        return
    assert sum(value.nbytes for value in arrays.values()) <= len(data)


def test_rows_of_objects_cannot_be_written():
    with pytest.raises(DataError, match="has dtype object"):
        pack_arrays({"x": np.asarray([None])})


@given(data=st.binary(), depth=st.binary(), stamp=st.integers(-(2**63), 2**63 - 1))
def test_frames_come_back(data, depth, stamp):
    frame = Frame(
        camera="wrist", t_device_ns=stamp, t_host_ns=5, frame_no=7, data=data, depth=depth
    )
    assert unpack_frame(memoryview(pack_frame(frame))) == frame


def _journal(path, rows: int) -> list[int]:
    """Write a journal and return its length after each record."""
    journal = Journal(path)
    journal.open()
    journal.append(Kind.BEGIN, json.dumps({"facts": {}}).encode())
    lengths = [path.stat().st_size]
    for k in range(rows):
        journal.append(Kind.STEP, pack_arrays({"x": np.arange(k)}))
        lengths.append(path.stat().st_size)
    journal.close()
    return lengths


def test_a_journal_cut_at_any_byte_holds_the_records_before_the_cut(tmp_path):
    path = tmp_path / "a.journal"
    lengths = _journal(path, rows=4)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        intact = sum(length <= cut for length in lengths)
        if intact == 0:
            with pytest.raises(DataError, match="no intact record"):
                read_journal(path)
            continue
        content = read_journal(path)
        assert len(content.records) == intact - 1
        assert content.end is None
        assert bool(content.damage) == (cut not in lengths)


def test_a_flipped_bit_anywhere_ends_the_journal_before_it(tmp_path):
    path = tmp_path / "a.journal"
    lengths = _journal(path, rows=3)
    whole = path.read_bytes()
    for at in range(lengths[0], len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        content = read_journal(path)
        before = sum(length <= at for length in lengths) - 1
        padding = len(content.records) == 3 and not content.damage
        assert padding or (len(content.records) == before and content.damage)


def test_an_existing_journal_is_never_overwritten(tmp_path):
    _journal(tmp_path / "a.journal", rows=1)
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "a.journal").open()
