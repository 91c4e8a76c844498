"""Configurations survive JSON, are named by their content, and say where they are wrong."""

import enum
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.config import (
    config_hash,
    describe_differences,
    from_plain,
    git_revision,
    load_config,
    save_config,
    to_plain,
)
from robot_rl.errors import ConfigError


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    seed: int
    inner: Inner = Inner()
    path: Path = Path("runs/a")
    kind: Literal["fast", "safe"] = "safe"
    color: Color = Color.RED
    limit: float | None = None
    maybe: Inner | None = None
    table: dict[str, float] = field(default_factory=dict)


finite = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(
    Inner,
    rate=finite,
    names=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    pair=st.tuples(st.integers(), finite),
)
outers = st.builds(
    Outer,
    seed=st.integers(),
    inner=inners,
    path=st.sampled_from([Path("x"), Path("/y/z")]),
    kind=st.sampled_from(["fast", "safe"]),
    color=st.sampled_from(Color),
    limit=st.none() | finite,
    maybe=st.none() | inners,
    table=st.dictionaries(st.text(max_size=4), finite, max_size=3),
)


@given(outers)
def test_a_config_survives_json_and_keeps_its_hash(config):
    again = from_plain(Outer, json.loads(json.dumps(to_plain(config))))
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert describe_differences(config, again) == []


@given(outers, st.integers())
def test_hash_and_differences_agree(config, seed):
    other = replace(config, seed=seed)
    same = seed == config.seed
    assert (config_hash(other) == config_hash(config)) == same
    expected = [] if same else [f"seed: {config.seed} -> {seed}"]
    assert describe_differences(config, other) == expected


def test_save_and_load_through_a_file(tmp_path):
    config = Outer(seed=3, maybe=Inner(rate=1.0))
    save_config(tmp_path / "c.json", config)
    assert load_config(tmp_path / "c.json", Outer) == config
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"seed": 1, "sede": 2}, "unknown field(s) sede. Known: seed, inner"),
        ({}, "misses the field 'seed', which has no default"),
        ({"seed": "one"}, "Outer.seed is 'one', but must be of type int"),
        ({"seed": True}, "Outer.seed is True, but must be of type int"),
        ({"seed": 1, "kind": "slow"}, "Outer.kind is 'slow', but must be one of ['fast', 'safe']"),
        ({"seed": 1, "inner": {"rate": "x"}}, "Outer.inner.rate is 'x'"),
        ({"seed": 1, "inner": {"pair": [1]}}, "Outer.inner.pair is [1]"),
        ({"seed": 1, "inner": 4}, "Outer.inner is 4, but must be a dict"),
    ],
)
def test_a_wrong_config_names_field_value_and_allowed(data, says):
    with pytest.raises(ConfigError) as error:
        from_plain(Outer, data)
    assert says in str(error.value)


def test_files_that_are_no_config_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no configuration at"):
        load_config(tmp_path / "none.json", Outer)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match="is no valid JSON"):
        load_config(tmp_path / "bad.json", Outer)


def test_a_value_without_plain_form_is_refused():
    with pytest.raises(ConfigError, match="may hold only dataclasses"):
        to_plain({"f": math.sin})


def test_git_revision_is_a_commit_here_and_unknown_elsewhere(tmp_path):
    assert git_revision(tmp_path) == "unknown"
    assert git_revision() == "unknown" or len(git_revision().removesuffix("+dirty")) == 12
