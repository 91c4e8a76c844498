"""`robot-rl reward write`: let a language model write progress as a function of the state.

It is asked for some functions, which are checked, run in a sandbox and measured on recorded
successes and failures; what came of it is told back, round by round. The best becomes a judge like
any other. A search that was stopped goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from robot_rl.apps.data_tables import Output
from robot_rl.apps.page import write_page
from robot_rl.apps.reward.data import DETECTOR_FILE, instruction_of, judged_episodes
from robot_rl.apps.reward.state import schema_from
from robot_rl.apps.reward.tables import figure_rows, figure_text
from robot_rl.apps.reward.trial import ShortTraining, TrialCfg
from robot_rl.apps.reward.write_page import Measured, body_of
from robot_rl.apps.threads import use_one_thread
from robot_rl.config import save_config
from robot_rl.errors import ConfigError, DataError
from robot_rl.learn.progress import Progress
from robot_rl.reward.detector import SuccessDetector
from robot_rl.reward.evaluation import Case, evaluate, judge
from robot_rl.reward.progress import ProgressEstimate
from robot_rl.reward.vlm.server import ServerCfg, ServerEngine
from robot_rl.reward.written.candidate import Candidate
from robot_rl.reward.written.confined import WALLS
from robot_rl.reward.written.model import WrittenModel
from robot_rl.reward.written.prompt import first_prompt
from robot_rl.reward.written.scoring import Examples
from robot_rl.reward.written.search import Round, Search, SearchCfg, best_of
from robot_rl.reward.written.verdicts import fit_verdicts

__all__ = ["Cfg", "main"]

PAGE = "rounds.html"


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """Options of `robot-rl reward write`."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Episode stores of one task, with successes and, better still, failures."""
    out: Path
    """Folder of the search and of the model that it finds, such as runs/reward/peg-written."""
    model: str = ""
    """The language model, as its server calls it."""
    url: str = "http://127.0.0.1:8000/v1"
    """OpenAI-compatible interface of the server, such as vLLM's."""
    api_key_variable: str = ""
    """Environment variable that holds the server's key; "" for none."""
    timeout_s: float = 300.0
    """Longest time for one answer."""
    env: str = ""
    """Whose state vectors these are: a task of the twin, gym:<id>, or a real robot's task file;
    by default the task that the episodes name."""
    robot: str = ""
    """Robot of a task file: its file, or the name of one that comes along, such as fr3."""
    state: Path | None = None
    """JSON file that describes the state vector, where nothing else does."""
    task: str = ""
    """The instruction; by default that of the task."""
    held_out_share: float = 0.3
    """Share of the episodes that the result is measured on, and nothing is chosen by."""
    search: SearchCfg = field(default_factory=SearchCfg)
    """How much is asked and tried."""
    trial: TrialCfg = field(default_factory=TrialCfg)
    """Short training with the best of a round."""
    show_prompt: bool = False
    """Print what would be asked first, and end."""

    def __post_init__(self) -> None:
        """Refuse a search that would ask nobody."""
        if not self.model and not self.show_prompt:
            raise ConfigError(
                f"model is '', but must be a name. GET {self.url}/models lists them."
            )
        if not 0 <= self.held_out_share < 1:
            raise ConfigError(
                f"held_out_share is {self.held_out_share}, but must be at least 0 and below 1."
            )


def main(cfg: Cfg) -> int:
    """Search, save the best function with its detector, measure it, and write the page."""
    use_one_thread()
    out = Output()
    examples, held_out, env = _episodes(cfg)
    size = examples.vectors.shape[1]
    schema = schema_from(env, size, file=cfg.state, robot=cfg.robot, instruction=cfg.task)
    if cfg.show_prompt:
        out.line(first_prompt(schema, examples))
        return 0
    server = ServerCfg(
        url=cfg.url,
        model=cfg.model,
        api_key_variable=cfg.api_key_variable,
        timeout_s=cfg.timeout_s,
        deadline_s=min(2 * cfg.timeout_s * cfg.search.candidates, 9e4),
    )
    total = cfg.search.rounds * cfg.search.candidates
    with ServerEngine(server) as engine, Progress("write", total) as progress:

        def on_step(done: int, words: str) -> None:
            progress.update(done, now=words)

        search = Search(
            cfg.search,
            schema,
            examples,
            engine,
            cfg.out,
            trainer=ShortTraining(cfg.trial, env, examples) if cfg.trial.steps else None,
            on_step=on_step,
        )
        search.sandbox.start()
        _tell_walls(search.sandbox.walls, out)
        rounds = search.run()
        progress.update(total, now="done")
    return _finish(cfg, search, rounds, examples, held_out, out)


def _finish(
    cfg: Cfg,
    search: Search,
    rounds: Sequence[Round],
    examples: Examples,
    held_out: Examples | None,
    out: Output,
) -> int:
    """Save, measure and show what was found; 1 if nothing was."""
    best = best_of(rounds)
    _tell(rounds, best, out)
    found, model = None, None
    if best is not None:
        model = search.model_of(best)
        found = _measured(cfg, model, examples, held_out, out)
    page = body_of(search.schema, rounds, best, model, found)
    if model is not None:
        model.close()
    write_page(cfg.out / PAGE, "written reward: robot_rl", page)
    out.line(f"page: {cfg.out / PAGE}")
    if best is None:
        out.line(
            "no function was accepted. The page says why; ask again with more --search.rounds."
        )
        return 1
    out.line(f"{cfg.out}: answer {best.round + 1}.{best.index + 1}, a judge like any other")
    return 0


def _measured(
    cfg: Cfg, model: WrittenModel, examples: Examples, held_out: Examples | None, out: Output
) -> Measured:
    """Fit the detector, save both, and measure them on what they were not chosen by."""
    fitted = fit_verdicts(model, examples)
    model.save(cfg.out)
    save_config(cfg.out / DETECTOR_FILE, fitted)
    detector = SuccessDetector(fitted)
    test = held_out or examples
    cases = judge(model, [_case(test, k) for k in range(len(test.names))])
    found = evaluate(cases, detector)
    which = "episodes that nothing was chosen by" if held_out else "episodes that it was chosen by"
    title = f"On {len(cases)} {which}, {int(test.success.sum())} successes"
    out.table(title, ("figure", "value", "95 % interval"), figure_rows(found.figures))
    return Measured(title=title, detector=detector, cases=cases, evaluation=found)


def _case(examples: Examples, k: int) -> Case:
    """An episode as a case of an evaluation, not judged yet."""
    query = examples.queries[k]
    stamps_s = query.stamps_s - query.stamps_s[0]
    share = stamps_s / max(float(stamps_s[-1]), 1e-6)
    success = bool(examples.success[k])
    return Case(
        name=examples.names[k],
        kind="success" if success else "failure",
        query=query,
        estimate=ProgressEstimate.invalid(len(query), model_id="", version=0),
        success=success,
        progress=share if success else np.full(len(share), np.nan),
    )


def _episodes(cfg: Cfg) -> tuple[Examples, Examples | None, str]:
    """Episodes to search with, to measure by, and the task that they are of.

    Raises:
        DataError: There are none, of several tasks, or none is a success.
    """
    found = [(name, info.task, episode) for name, info, episode in judged_episodes(cfg.data)]
    if not found:
        raise DataError(
            f"{', '.join(map(str, cfg.data))}: no episode has an outcome that a person or the "
            "environment gave. Record with `robot-rl collect` or `robot-rl record`."
        )
    tasks = sorted({task for _, task, _ in found})
    if len(tasks) > 1 and not cfg.env:
        raise DataError(
            f"the episodes are of several tasks: {', '.join(tasks)}. Give stores of one task, or "
            "say by --env whose state they hold."
        )
    env = cfg.env or tasks[0]
    if not env and cfg.state is None:
        raise DataError("the episodes name no task. Say by --env or --state what they hold.")
    words = instruction_of(env, cfg.task)
    is_held = _held_out([bool(episode.success) for _, _, episode in found], cfg)
    parts = [
        {name: episode for (name, _, episode), h in zip(found, is_held, strict=True) if h == held}
        for held in (False, True)
    ]
    held_out = Examples.of(parts[1], words) if any(is_held) else None
    return Examples.of(parts[0], words), held_out, env


def _held_out(success: Sequence[bool], cfg: Cfg) -> np.ndarray:
    """Which episodes nothing is chosen by: that share of successes and of failures."""
    rng = np.random.default_rng(cfg.search.seed)
    held, won = np.zeros(len(success), bool), np.asarray(success)
    for kind in (True, False):
        rows = rng.permutation(np.flatnonzero(won == kind))
        held[rows[: int(cfg.held_out_share * len(rows))]] = True
    if not held[won].any():  # without a success there is nothing to measure
        held[:] = False
    return held


def _tell_walls(walls: Sequence[str], out: Output) -> None:
    """What functions cannot do, and what this system cannot keep them from."""
    missing = [words for name, words in WALLS.items() if name not in walls]
    out.line(f"sandbox: {', '.join(walls)}")
    if missing:
        out.line(f"not on this system: {'; '.join(missing)}")


def _tell(rounds: Sequence[Round], best: Candidate | None, out: Output) -> None:
    """One line a round."""
    rows = []
    for each in rounds:
        accepted = [c for c in each.candidates if c.figures is not None]
        top = each.best.figures if each.best and each.best.figures else None
        marks = ["–"] * 4
        if top is not None:
            marks = [figure_text(v) for v in (top.worth, top.voc, top.auc, top.fooled)]
        name = f"{each.number + 1}" + (" (best)" if best and best.round == each.number else "")
        rows.append((name, f"{len(accepted)} of {len(each.candidates)}", *marks))
    head = ("round", "accepted", "worth", "order", "separation", "fooled")
    out.table("Rounds, and the best function of each", head, rows)
