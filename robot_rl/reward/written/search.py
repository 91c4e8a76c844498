"""The search: ask for functions, check, measure, try the best, tell what came of it, ask again.

learning:  language model → **rounds of candidates** → progress model → replay

Ref: Eureka (arXiv 2310.12931), algorithm 1, with two differences: a function only ever becomes a
potential, so that what it gets wrong cannot change which policy is best, and it is measured on
recorded successes and failures first, which costs milliseconds where training costs minutes. Every
finished round is on disk; a search that was killed goes on after the last one.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from robot_rl.config import (
    config_hash,
    describe_differences,
    from_plain,
    save_config,
    to_plain,
)
from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.reward.vlm.chat import ChatEngine, ChatReply, ChatRequest
from robot_rl.reward.written.candidate import Candidate, Trial
from robot_rl.reward.written.model import WrittenModel
from robot_rl.reward.written.prompt import draft_note, first_prompt, next_prompt
from robot_rl.reward.written.sandbox import Sandbox, SandboxCfg
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.scoring import Examples, examine
from robot_rl.reward.written.syntax import CandidateError, check_source, code_in

__all__ = ["Round", "Search", "SearchCfg", "Trainer", "finished_rounds"]

logger = logging.getLogger(__name__)

SEARCH_FILE = "search.json"
_ROUNDS, _TRIALS = "rounds", "trials"


@dataclass(frozen=True, kw_only=True)
class SearchCfg:
    """How much is asked and tried."""

    rounds: int = 3
    """Times that the language model is asked, told each time what came of its last answers."""
    candidates: int = 8
    """Functions that it writes in a round."""
    finalists: int = 1
    """How many of a round are tried by a short training, where there is one."""
    temperature: float = 1.0
    """How much answers of a round differ."""
    max_new_tokens: int = 2_000
    """Longest answer."""
    sandbox: SandboxCfg = field(default_factory=SandboxCfg)
    """What a function may use."""
    seed: int = 0
    """Of the attacks that functions are tried with."""

    def __post_init__(self) -> None:
        """Refuse a search that finds nothing."""
        for name in ("rounds", "candidates", "finalists", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"search: {name} is {getattr(self, name)}, but must be >= 1.")
        if not 0 <= self.temperature <= 2:
            raise ConfigError(
                f"search: temperature is {self.temperature}, but must be within 0 and 2."
            )


class Trainer(Protocol):
    """Trains for a short while with a saved function as a potential."""

    def __call__(self, model: Path, out: Path) -> Trial:
        """What came of it; `out` is where it may keep what it needs to go on after a kill."""
        ...


@dataclass(frozen=True, kw_only=True)
class Round:
    """What was asked once, and all answers."""

    number: int
    prompt: str
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        """The best that was accepted."""
        accepted = [c for c in self.candidates if c.figures is not None]
        return max(accepted, key=lambda c: c.rank, default=None)


def best_of(rounds: Sequence[Round]) -> Candidate | None:
    """The best of all rounds; of equals the first."""
    found = [r.best for r in rounds if r.best is not None]
    return max(found, key=lambda c: c.rank, default=None)


def finished_rounds(folder: Path) -> list[Round]:
    """The rounds that a search has left in its folder, in order.

    Raises:
        CheckpointError: One is damaged.
    """
    rounds: list[Round] = []
    while (path := _round_file(folder, len(rounds))).is_file():
        try:
            rounds.append(from_plain(Round, json.loads(path.read_text()), "round"))
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{path} is damaged: {error}. Delete it and later ones; they are asked again."
            ) from error
    return rounds


class Search:
    """One search in one folder.

    Args:
        cfg: How much is asked and tried.
        schema: The task and its state.
        examples: Recorded episodes that functions are measured on.
        engine: The language model.
        folder: Where rounds and trials are kept.
        trainer: Tries the finalists of a round; None if figures on recordings must do.
        on_step: Called with (candidates done, words about what is being done).
    """

    def __init__(
        self,
        cfg: SearchCfg,
        schema: StateSchema,
        examples: Examples,
        engine: ChatEngine,
        folder: Path,
        *,
        trainer: Trainer | None = None,
        on_step: Callable[[int, str], None] | None = None,
    ) -> None:
        self.cfg, self.schema, self.examples, self.engine = cfg, schema, examples, engine
        self.folder, self.trainer = folder, trainer
        self.sandbox = Sandbox(cfg.sandbox)
        self._on_step = on_step or (lambda done, words: None)
        self._first = first_prompt(schema, examples)

    def run(self) -> list[Round]:
        """Go on after the last finished round, to the end.

        Raises:
            DataError: The language model did not answer at all.
            ConfigError: The folder holds another search.
            SandboxError: There is no sandbox.
        """
        self._claim_folder()
        rounds = finished_rounds(self.folder)[: self.cfg.rounds]
        with self.sandbox:
            for number in range(len(rounds), self.cfg.rounds):
                rounds.append(self._round(number, rounds))
                save_config(_round_file(self.folder, number), rounds[-1])
        return rounds

    def model_of(self, candidate: Candidate) -> WrittenModel:
        """An accepted candidate as a progress model.

        Raises:
            CandidateError: It was not accepted.
        """
        if candidate.scale is None:
            raise CandidateError(candidate.failure)
        written = check_source(candidate.source, self.schema.names)
        return WrittenModel(
            written, self.schema, candidate.scale, sandbox=Sandbox(self.cfg.sandbox)
        )

    def _claim_folder(self) -> None:
        """Make the folder, or make sure that it is of this very search; more rounds are fine."""
        digest = hashlib.sha256(self.examples.vectors.tobytes())
        digest.update(self.examples.success.tobytes())
        about = {
            "cfg": replace(self.cfg, rounds=1),
            "schema": self.schema,
            "model": self.engine.model_id,
            "data": digest.hexdigest(),
            "trial": to_plain(getattr(self.trainer, "cfg", None)),
        }
        path = self.folder / SEARCH_FILE
        (self.folder / _ROUNDS).mkdir(parents=True, exist_ok=True)
        if path.is_file():
            before = _read(path)
            if config_hash(before) != config_hash(about):
                changed = "; ".join(describe_differences(before, about)[:4])
                raise ConfigError(
                    f"{self.folder} holds another search ({changed}). Give another --out, or the "
                    "same options to go on."
                )
            return
        save_config(path, about)

    def _round(self, number: int, before: Sequence[Round]) -> Round:
        """Ask once, and judge all answers."""
        best = best_of(before)
        prompt = self._first
        if before:
            prompt = next_prompt(self._first, best, before[-1].candidates)
        count = self.cfg.candidates
        self._on_step(number * count, f"asking {self.engine.model_id}")
        replies = self.engine.answer(
            [
                ChatRequest(
                    parts=(f"{prompt}\n\n{draft_note(k, count)}",),
                    max_new_tokens=self.cfg.max_new_tokens,
                    temperature=self.cfg.temperature,
                )
                for k in range(count)
            ]
        )
        if all(reply.failure for reply in replies):
            raise DataError(
                f"{self.engine.model_id} gave no answer: {replies[0].failure}. Finished rounds "
                "are kept; call this again once it answers."
            )
        seen = {c.source: f"{r.number + 1}.{c.index + 1}" for r in before for c in r.candidates}
        candidates: list[Candidate] = []
        for k, reply in enumerate(replies):
            made = self._judged(number, k, reply, seen)
            candidates.append(made)
            if made.source:
                seen.setdefault(made.source, f"{number + 1}.{k + 1}")
            self._on_step(number * count + k + 1, made.failure or "measured")
        return self._tried(Round(number=number, prompt=prompt, candidates=tuple(candidates)))

    def _judged(
        self, number: int, index: int, reply: ChatReply, seen: Mapping[str, str]
    ) -> Candidate:
        """One answer, checked and measured."""
        made = Candidate(round=number, index=index, answer=reply.text)
        if reply.failure:
            return replace(made, failure=f"no answer: {reply.failure}")
        try:
            written = check_source(code_in(reply.text), self.schema.names)
            made = replace(made, source=written.source)
            if written.source in seen:
                raise CandidateError(f"the same function as answer {seen[written.source]}")
            scale, figures = examine(
                written, self.schema, self.examples, self.sandbox, seed=self.cfg.seed
            )
        except CandidateError as error:
            logger.info("candidate %d.%d is refused: %s", number + 1, index + 1, error)
            return replace(made, failure=str(error))
        return replace(made, scale=scale, figures=figures)

    def _tried(self, round: Round) -> Round:
        """The round with its best candidates tried by training."""
        if self.trainer is None:
            return round
        accepted = [c for c in round.candidates if c.figures is not None]
        best = sorted(accepted, key=lambda c: c.rank, reverse=True)[: self.cfg.finalists]
        done = (round.number + 1) * self.cfg.candidates
        trials = {}
        for candidate in best:
            self._on_step(done, f"training with answer {round.number + 1}.{candidate.index + 1}")
            trials[candidate.index] = self._trial(candidate, self.trainer)
        return replace(
            round,
            candidates=tuple(
                replace(c, trial=trials.get(c.index, c.trial)) for c in round.candidates
            ),
        )

    def _trial(self, candidate: Candidate, trainer: Trainer) -> Trial:
        """What training with it comes to; one that was finished before a kill is not repeated."""
        out = self.folder / _TRIALS / candidate.name
        path = out / "trial.json"
        if path.is_file():
            return from_plain(Trial, _read(path), "trial")
        model = self.model_of(candidate)
        with model.sandbox:
            trial = trainer(model.save(out / "model"), out)
        save_config(path, trial)
        return trial


def _round_file(folder: Path, number: int) -> Path:
    return folder / _ROUNDS / f"round_{number:03d}.json"


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of ours.

    Raises:
        CheckpointError: It is damaged.
    """
    try:
        row = json.loads(path.read_text())
        if isinstance(row, dict):
            return row
    except ValueError:
        pass
    raise CheckpointError(f"{path} is damaged. Delete it, or give another --out.")
