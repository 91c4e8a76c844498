"""`robot-rl reward audit`: attack a judge with what a learner would find, and show the worst.

Recordings are twisted (hovering, backwards, covered lenses, another scene, noise); in the twin a
robot acts as well: random motion, hovering, near misses, work beside the object, motions without
it. Half of the twin's episodes are spread over the kinds, the rest goes where the judge came
nearest to being fooled.
"""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.page import card, table, write_page
from robot_rl.apps.reward.data import instruction_of, judged_episodes, load_judge
from robot_rl.apps.reward.page import Shown, episodes
from robot_rl.apps.reward.probes import PROBES, Prober
from robot_rl.apps.reward.tables import figure_text
from robot_rl.apps.threads import use_one_thread
from robot_rl.errors import ConfigError, DataError
from robot_rl.reward.audit import (
    RECORDED_ATTACKS,
    Attack,
    Finding,
    audit,
    recorded_attacks,
    worst_of_each,
)
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.episodes import query_of
from robot_rl.reward.progress import ProgressModel

__all__ = ["AUDIT_SEEDS", "Cfg", "main", "search"]

AUDIT_SEEDS = range(850_000, 900_000)
"""Starts of episodes that are made to fail; no evaluation is ever made on them."""
MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward audit`."""

    model: Annotated[Path, tyro.conf.Positional]
    """Folder of the model."""
    data: tuple[Path, ...] = ()
    """Episode stores whose successes are twisted."""
    env: str = ""
    """Task of the twin in which a robot shall try, such as peg or peg/pixels."""
    episodes: int = 60
    """Episodes in the twin."""
    seed: int = AUDIT_SEEDS[0]
    """Of the first start."""
    task: str = ""
    """The instruction; by default that of the task."""
    out: Path | None = None
    """Where to write the page (default: audit.html in the model's folder)."""

    def __post_init__(self) -> None:
        """Refuse an audit of nothing."""
        if not self.data and not self.env:
            raise ConfigError("give recordings by --data, a task of the twin by --env, or both.")
        if self.episodes < 1:
            raise ConfigError(f"episodes is {self.episodes}, but must be at least 1.")


def main(cfg: Cfg) -> int:
    """Attack, print what came of each kind, write the page; 1 if the judge was fooled."""
    use_one_thread()
    model, detector = load_judge(cfg.model)
    findings = _recorded(cfg, model, detector)
    if cfg.env:
        findings += search(
            model, detector, cfg.env, budget=cfg.episodes, seed=cfg.seed, task=cfg.task
        )
    findings.sort(key=lambda found: (-found.is_fooled, -found.score))
    rows = [
        (kind, _words(kind), f"{fooled} of {count}", figure_text(worst.score))
        for kind, (fooled, count, worst) in worst_of_each(findings).items()
    ]
    out = Output()
    head = ("kind", "what happens", "fooled", "worst score")
    out.table(f"{model.model_id}: threshold {detector.cfg.threshold:.3f}", head, rows)
    path = cfg.out or cfg.model / "audit.html"
    write_page(path, f"audit of {model.model_id}: robot_rl", _page(model, detector, findings))
    out.line(f"page: {path}")
    return 1 if any(found.is_fooled for found in findings) else 0


def _recorded(cfg: Cfg, model: ProgressModel, detector: SuccessDetector) -> list[Finding]:
    """What twisted recordings achieve."""
    by_task: dict[str, dict[str, object]] = {}
    for name, info, episode in judged_episodes(cfg.data):
        by_task.setdefault(instruction_of(info.task, cfg.task), {})[name] = episode
    findings: list[Finding] = []
    for task, recorded in by_task.items():
        attacks = recorded_attacks(recorded, task, seed=cfg.seed)  # type: ignore[arg-type]
        findings += audit(model, detector, attacks)
    if cfg.data and not findings:
        raise DataError(f"{', '.join(map(str, cfg.data))}: no labelled episode to twist.")
    return findings


def search(
    model: ProgressModel,
    detector: SuccessDetector,
    env_name: str,
    *,
    budget: int,
    seed: int = AUDIT_SEEDS[0],
    task: str = "",
) -> list[Finding]:
    """Let a robot in the twin try to fool the judge.

    The first half of the episodes, and at least one each, goes to all kinds in turn, each further
    one to the kind whose best score, less a little for every try, is highest.

    Args:
        model: The judge.
        detector: Its detector.
        env_name: Task of the twin.
        budget: Number of episodes.
        seed: Of the first start; the next ones follow.
        task: The instruction; by default that of the task.
    """
    from robot_rl.apps.envs import make_env

    env = make_env(env_name)
    findings: list[Finding] = []
    try:
        prober = Prober(env, env_name)
        kinds, words = prober.kinds(), instruction_of(env_name, task)
        best, tries = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
        for k in range(budget):
            kind = kinds[k % len(kinds)]
            if k >= max(budget // 2, len(kinds)):
                kind = max(kinds, key=lambda name: best[name] - 0.01 * tries[name])
            episode = prober.fail(kind, seed + k)
            query = query_of(episode, words)
            name = f"seed {episode.attrs['seed']}"
            found = audit(model, detector, [Attack(kind=kind, name=name, query=query)])[0]
            best[kind], tries[kind] = max(best[kind], found.score), tries[kind] + 1
            findings.append(found)
    finally:
        env.close()
    return findings


def _words(kind: str) -> str:
    """What a kind of attack does."""
    return RECORDED_ATTACKS.get(kind) or PROBES.get(kind, "")


def _page(model: ProgressModel, detector: SuccessDetector, findings: Sequence[Finding]) -> str:
    """The body of the page."""
    fooled = sum(found.is_fooled for found in findings)
    badge = ("held", "good") if not fooled else (f"fooled {fooled} times", "bad")
    rows = [
        [
            html.escape(kind),
            html.escape(_words(kind)),
            f"{count_fooled} of {count}",
            figure_text(worst.score),
        ]
        for kind, (count_fooled, count, worst) in worst_of_each(findings).items()
    ]
    shown = [
        Shown(
            title=f"{found.attack.kind}, {found.attack.name}, score {found.score:.2f}",
            badge=("fooled", "bad") if found.is_fooled else ("held", "good"),
            query=found.attack.query,
            estimate=found.estimate,
            first_frame=None,
        )
        for found in findings[:MOST_SHOWN]
    ]
    head = ["kind", "what happens", "fooled", "worst score"]
    return "".join(
        [
            f"<header><h1>Audit of {html.escape(model.model_id)} "
            f'<span class="badge {badge[1]}">{badge[0]}</span></h1>'
            f'<div class="soft">{len(findings)} attacks, threshold {detector.cfg.threshold:.3f}'
            "</div></header>",
            episodes("Worst first", shown, detector, "In none of these the task was ever done."),
            card("Kinds of attack", table(head, rows, text_columns=2)),
            f"<footer>Made by robot-rl reward audit. {time.strftime('%Y-%m-%d %H:%M')}</footer>",
        ]
    )
