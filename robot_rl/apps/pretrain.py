"""`robot-rl pretrain`: learn before there is a robot, from data and in twins side by side.

learning:  demonstrations, prior episodes, twins → **pretraining** → `robot-rl train --from` it
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robot_rl.apps.admission import admit_demos, admit_policy
from robot_rl.apps.envs import eval_seeds, load_demos, make_env
from robot_rl.apps.eval import find_policy
from robot_rl.apps.report import write_report
from robot_rl.apps.summary import summarize
from robot_rl.apps.threads import use_one_thread
from robot_rl.apps.twins import make_scenes
from robot_rl.config import config_hash
from robot_rl.env.features import camera_shapes
from robot_rl.errors import ConfigError
from robot_rl.learn.bc import BCCfg, fit
from robot_rl.learn.calql import CalQLCfg
from robot_rl.learn.candidates import fit_normaliser
from robot_rl.learn.carry_over import KIND
from robot_rl.learn.deploy import policy_of
from robot_rl.learn.diagnostics import diagnose
from robot_rl.learn.methods import ResidualCfg
from robot_rl.learn.pretrain import PretrainCfg, Pretrainer
from robot_rl.learn.progress import Progress
from robot_rl.learn.record import RunRecord
from robot_rl.learn.run import RunFolder
from robot_rl.learn.split import SplitFolder, Start
from robot_rl.policy.base import BasePolicy
from robot_rl.policy.normalise import Normaliser
from robot_rl.policy.saved import CONFIG_FILE, load_policy, save_policy
from robot_rl.replay.trajectory import Trajectory

__all__ = ["Cfg", "main"]

NO_TWIN = "none"


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl pretrain`."""

    env: str
    """Task of the twin; or gym:<id>, with --twin none."""
    demos: str
    """Episode store with demonstrations, or builtin."""
    data: tuple[Path, ...] = ()
    """Further episode stores of the task, failures and all, such as those of earlier runs."""
    base: Path | None = None
    """Base to learn on (default: one is cloned from the demonstrations)."""
    twin: str = "nominal"
    """Twins to learn in: nominal, uniform (randomised), forces (pushed at random), the file of a
    posterior of robot-rl identify, or none."""
    scenes: int = 32
    """Twins side by side."""
    out: Path | None = None
    """The folder to write (default: runs/<env>-pretrain-s<seed>)."""
    resume: bool = False
    """Go on with the pretraining in that folder, if there is one."""
    eval_episodes: int = 50
    """Evaluation seeds on which what is deployed is measured, in such twins; 0 for none."""
    bc: BCCfg = field(default_factory=BCCfg)
    """How a base is cloned where none is given."""
    offline_updates: int = PretrainCfg.offline_updates
    """Updates from demonstrations, data and what the base gathered, before acting."""
    prior_share: float = PretrainCfg.prior_share
    """Share of --data in what is not drawn from demonstrations."""
    calql: CalQLCfg = field(default_factory=CalQLCfg)
    """The conservative term of the offline updates."""
    learn: Annotated[ResidualCfg, tyro.conf.arg(name="")] = field(
        default_factory=lambda: PretrainCfg().learn
    )
    """The learner as it acts in the twins; its warm-up is what the base gathers there."""

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if self.scenes < 1 or self.eval_episodes < 0:
            raise ConfigError(
                f"scenes is {self.scenes} and eval_episodes {self.eval_episodes}, but must be at "
                "least 1 and 0."
            )
        _ = self.pretrain  # refuses what it must

    @property
    def pretrain(self) -> PretrainCfg:
        """What is learned, and how."""
        return PretrainCfg(
            learn=self.learn,
            calql=self.calql,
            offline_updates=self.offline_updates,
            prior_share=self.prior_share,
        )

    @property
    def folder(self) -> Path:
        """Where the pretraining lies."""
        task = self.env.split(":")[-1].replace("/", "-")
        return self.out or Path("runs") / f"{task}-{KIND}-s{self.learn.seed}"


def main(cfg: Cfg) -> int:
    """Pretrain, and leave a folder that training starts from; all can be had again by --resume."""
    use_one_thread()
    env = make_env(cfg.env)
    try:
        if camera_shapes(env):
            raise ConfigError(f"'{cfg.env}' has cameras; pretraining is of the state form.")
        demos = load_demos(cfg.demos, cfg.env)
        admit_demos(env, demos, cfg.demos)
        demos = [demo for demo in demos if demo.success is not False]
        prior = [episode for store in cfg.data for episode in _prior(cfg, env, store)]
        base = None
        if cfg.base is not None:
            base = load_policy(find_policy(cfg.base, cfg.env)[0])
            admit_policy(env, base, str(cfg.base))
        norm = fit_normaliser(demos, env)
    finally:
        env.close()
    twins = None if cfg.twin == NO_TWIN else make_scenes(cfg.env, cfg.twin, cfg.scenes)
    steps = cfg.learn.steps if twins is not None else 0
    with RunFolder.create(
        cfg.folder, _config(cfg, demos, prior), resume=cfg.resume, steps=steps
    ) as run:
        policy = run.path / "policy"
        if not (policy / CONFIG_FILE).exists():  # it is saved last
            learner = _learner(cfg, run, _start(cfg, run, base, demos, norm), prior, twins)
            with Progress("pretrain", max(steps, 1), start=learner.step) as progress:
                learner.pretrain(progress)
            save_policy(policy_of(learner, learner.deployed()), policy)
        found = summarize(RunRecord.read(run.path))
        final = found.final.mean if found.final else None
        run.finish({"policy": found.policy, "final": final, "steps": found.steps})
    _say(run.path, policy)
    return 0


def _learner(
    cfg: Cfg, run: RunFolder, start: Start, prior: Sequence[Trajectory], twins: Any
) -> Pretrainer:
    """Where it is, if it goes on."""
    assert start.base is not None  # it was packed
    learner = Pretrainer(
        cfg.pretrain,
        twins,
        start.base,
        start.demos,
        prior,
        norm=start.norm,
        run=run,
        seeds=eval_seeds(cfg.env)[: cfg.eval_episodes],
    )
    if cfg.resume:
        learner.resume()
    return learner


def _say(path: Path, policy: Path) -> None:
    """Tell the user what there is, and what the offline updates looked like."""
    for finding in diagnose(RunRecord.read(path).offline):
        print(f"{finding.mood}: {finding.title}. {finding.words}")
    print(f"policy: {policy}\nreport: {write_report(path)}")
    print(f"start on the robot from here: robot-rl train --from {path} ...")


def _prior(cfg: Cfg, env: Any, store: Path) -> list[Trajectory]:
    """The episodes of a further store."""
    episodes = load_demos(store, cfg.env)
    admit_demos(env, episodes, str(store))
    return episodes


def _start(
    cfg: Cfg,
    run: RunFolder,
    base: BasePolicy | None,
    demos: Sequence[Trajectory],
    norm: Normaliser,
) -> Start:
    """What both the pretraining and the robot start from, made once and kept in the folder."""
    folder = SplitFolder(run.path)
    if not folder.is_packed:
        if base is None:
            with Progress("bc", cfg.bc.steps) as progress:
                base = fit(
                    cfg.bc,
                    demos,
                    seed=cfg.learn.seed,
                    progress=lambda step, loss: progress.update(step, loss=loss),
                )
        folder.pack(Start(base=base, demos=demos, norm=norm))
    return folder.unpack()


def _config(cfg: Cfg, demos: Sequence[Trajectory], prior: Sequence[Trajectory]) -> dict[str, Any]:
    """What makes a pretraining what it is, and must be the same when it goes on."""
    twin = cfg.twin
    if Path(twin).is_file():
        twin = f"{cfg.twin} {config_hash(Path(twin).read_text())}"
    base = None
    if cfg.base is not None:
        base = str(find_policy(cfg.base, cfg.env)[0] / CONFIG_FILE)
    return {
        "kind": KIND,
        "env": cfg.env,
        "demos": {"path": cfg.demos, "episodes": len(demos)},
        "data": {"paths": [str(path) for path in cfg.data], "episodes": len(prior)},
        "base": base,
        "bc": None if cfg.base else cfg.bc,
        "twin": twin,
        "scenes": cfg.scenes if cfg.twin != NO_TWIN else None,
        "eval_episodes": cfg.eval_episodes,
        "learn": cfg.learn,
        "offline_updates": cfg.offline_updates,
        "prior_share": cfg.prior_share,
        "calql": cfg.calql,
    }
