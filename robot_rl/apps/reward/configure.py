"""`robot-rl reward configure`: a vision-language judge in a folder, from a checkpoint or a server.

The folder holds names and settings only, no weights; every other verb takes it as a model. Asked
to try it, the judge looks at a recorded episode at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from robot_rl.apps.reward.data import instruction_of
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import from_plain
from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.replay.store import EpisodeStore
from robot_rl.reward.episodes import query_of
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.vlm.image_text import ImageTextCfg
from robot_rl.reward.vlm.judge import JUDGE_FILE
from robot_rl.reward.vlm.local import LocalCfg
from robot_rl.reward.vlm.saved import judge_settings, load_judge, make_engine, make_judge
from robot_rl.reward.vlm.server import ServerCfg

__all__ = ["ADAPTER", "Cfg", "main", "next_version"]

Kind = Literal["grm", "roboreward", "lrm", "gvl", "logprob", "robometer", "goal_baseline"]
ADAPTER = "trained"
"""What a fine-tuned adapter is called in a judge's settings."""
_LOOKED_AT = 4
"""Frames of the episode that a judge is tried on."""


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward configure`."""

    judge: Annotated[Kind, tyro.conf.Positional]
    """Which judge: how it asks, and how it reads the answer."""
    out: Path
    """Folder to write; a judge there becomes its next version."""
    checkpoint: Path | None = None
    """Hugging Face directory of the model, to run it in this process."""
    adapter: Path | None = None
    """Folder of a fine-tuned adapter for the checkpoint, in the layout of peft."""
    url: str = ""
    """OpenAI-compatible interface of a server that runs the model, such as http://host:8000/v1."""
    model: str = ""
    """The model's name on that server."""
    set: tuple[str, ...] = ()
    """Settings of the judge as name=value, such as front=top alpha=0.5."""
    engine: tuple[str, ...] = ()
    """Settings of checkpoint or server as name=value, such as device=cuda dtype=bfloat16."""
    look_at: Path | None = None
    """Episode store; the judge is asked about its first episode at once."""
    task: str = ""
    """The instruction of that episode; by default that of its task."""

    def __post_init__(self) -> None:
        """Refuse a judge without a model, or with two."""
        if (self.checkpoint is None) == (not self.url):
            raise ConfigError(
                f"checkpoint is '{self.checkpoint or ''}' and url '{self.url}': give one of the "
                "two, a local directory or a server."
            )
        if self.url and not self.model:
            raise ConfigError(
                f"model is '', but must be a name. GET {self.url}/models lists them."
            )
        if self.url and (self.adapter is not None or self.judge in ("robometer", "goal_baseline")):
            raise ConfigError(
                f"judge '{self.judge}' and adapters in a folder need the model in this process: "
                "give --checkpoint instead of --url."
            )


def main(cfg: Cfg) -> int:
    """Write the judge, and try it if asked to; 1 if it could judge nothing."""
    use_one_thread()
    settings = _settings(cfg)
    judge = make_judge(cfg.judge, make_engine(_engine(cfg)), settings, next_version(cfg.out))
    judge.save(cfg.out)
    print(f"{cfg.out}: {cfg.judge} version {judge.version}")
    if cfg.look_at is None:
        print(f"Try it: robot-rl reward eval {cfg.out} <episodes>")
        return 0
    return _look(judge, cfg)


def next_version(folder: Path) -> int:
    """1, or one more than that of the judge in a folder.

    Raises:
        CheckpointError: There is a damaged one.
    """
    return load_judge(folder).version + 1 if (folder / JUDGE_FILE).exists() else 1


def _settings(cfg: Cfg) -> Any:
    """The judge's settings, with the adapter in them."""
    kind = judge_settings(cfg.judge)
    given = _pairs(cfg.set)
    known = [field.name for field in fields(kind)]
    if cfg.judge == "robometer":
        given.setdefault("heads", str(cfg.out / "heads"))  # where fine-tuning puts them
    if cfg.adapter is not None:
        if "adapter" not in known:
            raise ConfigError(
                f"judge '{cfg.judge}' takes no adapter of one name. Its settings are "
                f"{', '.join(known)}."
            )
        given["adapter"] = ADAPTER
    return from_plain(kind, given, f"judge '{cfg.judge}'")


def _engine(cfg: Cfg) -> Any:
    """The settings of whoever runs the model.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    given = _pairs(cfg.engine)
    if cfg.checkpoint is None:
        return from_plain(ServerCfg, {"url": cfg.url, "model": cfg.model, **given}, "server")
    if not (cfg.checkpoint / "config.json").is_file():
        raise CheckpointError(
            f"{cfg.checkpoint} holds no checkpoint (no config.json). Give the directory of a "
            "downloaded Hugging Face model."
        )
    given["folder"] = str(cfg.checkpoint.resolve())
    if cfg.judge == "goal_baseline":
        return from_plain(ImageTextCfg, given, "checkpoint")
    if cfg.adapter is not None:
        given["adapters"] = {ADAPTER: str(cfg.adapter.resolve())}
    return from_plain(LocalCfg, given, "checkpoint")


def _pairs(settings: Sequence[str]) -> dict[str, Any]:
    """`name=value` as a dict; values are JSON where they can be, else text.

    Raises:
        ConfigError: One is not of this form.
    """
    found: dict[str, Any] = {}
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ConfigError(f"setting '{each}' must be of the form name=value.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _look(judge: ProgressModel, cfg: Cfg) -> int:
    """Ask about a few frames of an episode, and print what comes back."""
    assert cfg.look_at is not None
    store = EpisodeStore.open(cfg.look_at)
    infos = store.infos()
    if not infos:
        raise DataError(f"{cfg.look_at} holds no episode.")
    episode = store.read(infos[0].id)
    if len(episode.obs) < 2:
        raise DataError(
            f"{cfg.look_at} holds no images, and judge '{cfg.judge}' looks at nothing else. "
            "Record with cameras, such as robot-rl collect --env peg/pixels."
        )
    task = instruction_of(infos[0].task, cfg.task)
    rows = np.unique(np.linspace(0, len(episode.t_s) - 1, _LOOKED_AT).round().astype(int))
    (found,) = judge.score([query_of(episode, task, frames=rows)])
    for row, valid, progress in zip(rows, found.valid, found.progress, strict=True):
        words = f"progress {progress:.2f}" if valid else "not judged"
        print(f"frame {row:>4}: {words}")
    print(f"{found.latency_s:.2f} s; it said: {found.raw_text[:400].strip() or '(numbers only)'}")
    return 0 if found.valid.any() else 1
