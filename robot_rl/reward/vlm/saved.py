"""Judges by name, and from the folder that one was saved in.

learning:  transition → episode store → **progress model** → replay → residual agent → weights
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from robot_rl.config import from_plain
from robot_rl.errors import CheckpointError, ConfigError, UnknownNameError
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.vlm.judge import JUDGE_FILE

__all__ = ["ENGINES", "JUDGES", "judge_settings", "load_judge", "make_engine", "make_judge"]

JUDGES = {
    "grm": ("grm", "GrmJudge", "GrmCfg"),
    "roboreward": ("roboreward", "RoboRewardJudge", "RoboRewardCfg"),
    "lrm": ("lrm", "LrmJudge", "LrmCfg"),
    "gvl": ("gvl", "GvlJudge", "GvlCfg"),
    "logprob": ("logprob", "LogProbJudge", "LogProbCfg"),
    "robometer": ("robometer", "RobometerJudge", "RobometerCfg"),
    "goal_baseline": ("goal_baseline", "GoalBaselineJudge", "GoalBaselineCfg"),
}
ENGINES = {
    "LocalCfg": ("local", "LocalEngine", "LocalCfg"),
    "ServerCfg": ("server", "ServerEngine", "ServerCfg"),
    "ImageTextCfg": ("image_text", "ImageTextEncoder", "ImageTextCfg"),
}


def make_engine(cfg: Any) -> Any:
    """The engine that a configuration is of."""
    name = type(cfg).__name__
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return _found(ENGINES[name])[0](cfg)


def judge_settings(kind: str) -> Any:
    """The class of a judge's settings.

    Raises:
        UnknownNameError: There is no such judge.
    """
    if kind not in JUDGES:
        raise UnknownNameError("judge", kind, JUDGES)
    return _found(JUDGES[kind])[1]


def make_judge(kind: str, engine: Any, cfg: Any = None, version: int = 0) -> ProgressModel:
    """A judge by its name; without `cfg` with its default settings.

    Raises:
        UnknownNameError: There is no such judge.
    """
    if kind not in JUDGES:
        raise UnknownNameError("judge", kind, JUDGES)
    judge, settings = _found(JUDGES[kind])
    return judge(engine, settings() if cfg is None else cfg, version)


def load_judge(folder: Path) -> ProgressModel:
    """A judge that was saved; its model is loaded when it is asked first.

    Raises:
        CheckpointError: The folder holds no judge, or a damaged one.
    """
    path = folder / JUDGE_FILE
    try:
        row: Mapping[str, Any] = json.loads(path.read_text())
        engine_kind, judge_kind = ENGINES[row["engine"]], JUDGES[row["judge"]]
        engine_class, engine_cfg = _found(engine_kind)
        engine = engine_class(from_plain(engine_cfg, row["engine_cfg"]))
        cfg = from_plain(_found(judge_kind)[1], row["judge_cfg"])
        return make_judge(row["judge"], engine, cfg, int(row["version"]))
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: is no saved judge ({error!r}). Save it again.") from error


def _found(where: tuple[str, str, str]) -> tuple[Any, Any]:
    """The class and its settings' class, imported now."""
    module = import_module(f"robot_rl.reward.vlm.{where[0]}")
    return getattr(module, where[1]), getattr(module, where[2])
