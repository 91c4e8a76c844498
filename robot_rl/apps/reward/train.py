"""`robot-rl reward train`: demonstrations and failures in, a judge of progress and success out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.reward.data import DETECTOR_FILE, lessons
from robot_rl.apps.reward.tables import figure_rows
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import save_config, to_plain
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.eyesight import EyesightCfg, fit_eyes
from robot_rl.learn.progress import Progress
from robot_rl.policy.eyes import Eyes
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.corpus import Lesson
from robot_rl.reward.detector import DetectorCfg, Evidence, Gate, SuccessDetector, fit_detector
from robot_rl.reward.embedded_cfg import EmbeddedCfg
from robot_rl.reward.embedded_fit import Fitted, fit_embedded
from robot_rl.reward.episodes import cameras_of
from robot_rl.reward.evaluation import Case, evaluate
from robot_rl.reward.saved import MODEL_FILE, read_model

__all__ = ["Cfg", "learned_eyes", "main"]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward train`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Episode stores with successes, and failures if there are some."""
    out: Path
    """Folder of the model, such as runs/reward/peg; a model there becomes its next version."""
    task: str = ""
    """The instruction; by default that of the task which the episodes name."""
    seed: int = 0
    """Of weights, windows and disturbances."""
    gates: tuple[int, ...] = ()
    """Numbers of the state vector that must lie where demonstrations end, such as a gripper's."""
    model: EmbeddedCfg = field(default_factory=EmbeddedCfg)
    """The model."""
    eyes: EyesightCfg = field(default_factory=EyesightCfg)
    """The encoder of images, if there are some: trained on the demonstrations before all else."""
    detector: DetectorCfg = field(default_factory=DetectorCfg)
    """Hold time and earliest success; threshold and calibration are fitted."""


def main(cfg: Cfg) -> int:
    """Train, fit the detector on held-out episodes, save both, and say what was measured."""
    use_one_thread()
    data = lessons(cfg.data, cfg.task)
    version = read_model(cfg.out).version + 1 if (cfg.out / MODEL_FILE).exists() else 1
    wins = sum(lesson.success for lesson in data)
    began_s = time.process_time()
    eyes = learned_eyes(data, cfg.eyes, seed=cfg.seed)
    total = cfg.model.members * cfg.model.steps
    with Progress("reward", total) as progress:
        fitted = fit_embedded(
            data,
            cfg.model,
            eyes=eyes,
            seed=cfg.seed,
            version=version,
            progress=lambda step, loss: progress.update(step, loss=f"{loss:.3f}"),
        )
    cpu_s = time.process_time() - began_s
    gates = (*cfg.detector.gates, *_gates(cfg.gates, data))
    detector = fit_detector(fitted.held_out, replace(cfg.detector, gates=gates))
    fitted.model.save(cfg.out)
    save_config(cfg.out / DETECTOR_FILE, detector)
    out = Output()
    figures = _report(cfg, fitted, detector, out)
    save_config(cfg.out / "training.json", {"cfg": to_plain(cfg), "held_out": figures})
    out.line(
        f"{cfg.out}: {fitted.model.model_id} version {version}, from {wins} successes and "
        f"{len(data) - wins} failures in {cpu_s:.0f} CPU-s. "
        f"Next: robot-rl reward eval {cfg.out} <other episodes>"
    )
    return 0


def learned_eyes(data: Sequence[Lesson], cfg: EyesightCfg, *, seed: int) -> Eyes | None:
    """An encoder that the demonstrations among these episodes train; None without images."""
    demos = [cast(Trajectory, lesson.episode) for lesson in data if lesson.success]
    if not demos or not cameras_of(demos[0]):
        return None
    with Progress("eyes", cfg.steps) as progress:
        return fit_eyes(
            cfg, demos, seed=seed, progress=lambda n, loss: progress.update(n, loss=f"{loss:.3f}")
        )


def _gates(numbers: tuple[int, ...], data: list[Lesson]) -> tuple[Gate, ...]:
    """A gate around where demonstrations end, for each of these numbers.

    Raises:
        ConfigError: The state vector has no such number.
    """
    ends = np.array([lesson.episode.obs["state"][-1] for lesson in data if lesson.success])
    wrong = [number for number in numbers if not 0 <= number < ends.shape[1]]
    if wrong:
        raise ConfigError(f"gates {wrong}: the state vector has numbers 0 to {ends.shape[1] - 1}.")
    return tuple(Gate.around(number, ends[:, number]) for number in numbers)


def _report(
    cfg: Cfg, fitted: Fitted, detector: DetectorCfg, out: Output
) -> dict[str, dict[str, float]]:
    """Print and return the figures on the episodes that each network had left out."""
    cases = [_case(k, evidence) for k, evidence in enumerate(fitted.held_out)]
    try:
        figures = evaluate(cases, SuccessDetector(detector)).figures
    except DataError as error:
        raise DataError(f"nothing was held out ({error}). Record more episodes.") from error
    title = f"On {len(cases)} held-out episodes, by single networks; too few to trust"
    out.table(title, ("figure", "value", "95 % interval"), figure_rows(figures))
    return {name: to_plain(interval) for name, interval in figures.items()}


def _case(index: int, evidence: Evidence) -> Case:
    """Held-out evidence as a case of an evaluation."""
    progress = evidence.progress
    return Case(
        name=f"held out {index}",
        kind="success" if evidence.success else "failure",
        query=evidence.query,
        estimate=evidence.estimate,
        success=evidence.success,
        progress=np.full(len(evidence.query), np.nan) if progress is None else progress,
    )
