"""Carries out what a session decides: episodes into the crash-safe store, past the quality gate.

learning:  **transition → gate → episode store** → progress model → replay → residual agent → ...

The same desk stands behind `robot-rl record` and behind the recorder node.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.errors import DataError
from robot_rl.replay.recorder import Recorder
from robot_rl.replay.trajectory import CONTROL_SOURCES
from robot_rl.replay.writer import EpisodeWriter
from robot_rl.teleop.quality import EpisodeGate
from robot_rl.teleop.session import Act, Do, Session
from robot_rl.types import F32, F64, RobotState

__all__ = ["RecordingDesk"]

_NS = 1e9


class RecordingDesk:
    """One session's hand on one store."""

    def __init__(self, recorder: Recorder, session: Session, gate: EpisodeGate) -> None:
        """Write through a started `recorder`."""
        self._recorder, self._session, self._gate = recorder, session, gate
        self._writer: EpisodeWriter | None = None
        self._steps = 0
        self._frames: dict[str, int] = {}
        self._held_step: dict[str, Any] | None = None
        self._held_observation: tuple[float, dict[str, F32], dict[str, Any]] | None = None
        self._last_id = ""

    @property
    def is_recording(self) -> bool:
        """Whether an episode is open."""
        return self._writer is not None

    @property
    def steps(self) -> int:
        """Steps of the open episode."""
        return self._steps

    def ages_s(self) -> dict[str, float]:
        """Age of each stream at the last step."""
        return self._gate.ages_s()

    def carry_out(
        self,
        acts: Sequence[Act],
        facts: Mapping[str, Any],
        *,
        lost: Mapping[str, int] | None = None,
    ) -> None:
        """Do what the session asks for, in order.

        Args:
            acts: From the session.
            facts: Kept with an episode that begins: task, seed, operator, device.
            lost: Messages of each stream that never arrived in the open episode.

        Raises:
            DataError: The recorder has ended, or what it was told failed.
        """
        for act in acts:
            if act.do is Do.BEGIN:
                self._begin(facts)
            elif act.do is Do.SEAL:
                self._seal(act, lost or {})
            elif act.do is Do.DISCARD:
                self._discard()
            elif act.do is Do.DELETE:
                self._recorder.command("delete", self._last_id)
            elif act.do is Do.LABEL:
                self._recorder.command("label", self._last_id, act.outcome, act.source)
            else:
                self._recorder.command("undo")
                self._recorder.command("label", self._last_id, act.outcome, act.source)

    def observe(
        self,
        obs: F32 | Mapping[str, Any],
        state: RobotState,
        *,
        t_s: float,
        now_s: float,
        command_rad: F64 | None = None,
    ) -> str:
        """Record what there was at a step of the open episode.

        Args:
            obs: What a policy would see.
            state: From which it was built.
            t_s: Stamp [s] of the observation, since the episode began.
            now_s: By the clock of the state's stamps.
            command_rad: (dof,) the command in force.

        Returns:
            Why the episode is spoiled and should be aborted, or "".
        """
        writer = self._open()
        self._gate.tick(now_s, state, command_rad)
        if reason := self._gate.spoiled():
            return reason
        rows: Mapping[str, Any] = obs if isinstance(obs, Mapping) else {"state": obs}
        for name, image in state.images.items():
            if name not in rows or self._frames.get(name) == image.frame_number:
                continue
            self._frames[name] = image.frame_number
            writer.frame(
                name,
                rows[name],
                t_device_ns=round(image.stamp_s * _NS),
                t_host_ns=round(now_s * _NS),
                frame_no=image.frame_number,
            )
        robot = {"q_rad": state.q_rad, "dq_rad_s": state.dq_rad_s, "gripper_m": state.gripper_m}
        robot["ages_s"] = np.array(list(self._gate.ages_s().values()))
        if state.tau_nm is not None:
            robot["tau_nm"] = state.tau_nm
        if command_rad is not None:
            robot["command_rad"] = command_rad  # identification needs what the arm was told
        self._held_observation = (t_s, {"state": rows["state"]}, robot)
        if self._held_step is None:
            self._write_held(reward=0.0)
        return ""

    def step(self, executed: F32, requested: F32, *, source: str, base: F32 | None = None) -> None:
        """Record what was done about the last observation.

        It is written with the next step, or with the verdict: only then is it known whether it
        was the one that completed the task, whose reward is 1 as in `RobotEnv`.

        Args:
            executed: (a,) after all limits.
            requested: (a,) as asked for.
            source: A word of `CONTROL_SOURCES`.
            base: (a,) what the policy wished, if one is there.
        """
        self._write_held(reward=0.0)
        self._held_step = {
            "executed": executed,
            "requested": requested,
            "base": base,
            "control_source": CONTROL_SOURCES.index(source),
        }
        self._steps += 1

    def check(self) -> None:
        """See that all that was handed over so far arrived.

        Raises:
            DataError: It did not; the message says why.
        """
        for report in self._recorder.poll():
            if report.error:
                raise DataError(f"recording failed at {report.about}: {report.error}")

    def _begin(self, facts: Mapping[str, Any]) -> None:
        self._gate.reset()
        self._steps, self._frames = 0, {}
        self._held_step = self._held_observation = None
        self._writer = self._recorder.begin({**facts, "streams": list(self._gate.streams)})
        self._last_id = self._writer.id

    def _seal(self, act: Act, lost: Mapping[str, int]) -> None:
        writer = self._open()
        verdict = self._gate.verdict(lost)
        if not verdict.is_good:
            self._session.refused(f"refused: {verdict}")
            self._discard()
            return
        self._write_held(reward=float(act.outcome == "success"))
        writer.seal(
            act.outcome,
            act.source,
            terminated=act.terminated,
            facts={"lost": dict(lost), "quality": str(verdict)},
        )
        self._writer = None

    def _discard(self) -> None:
        writer = self._open()
        self._write_held(reward=0.0)
        writer.discard()
        self._writer = None
        if self._steps == 0:
            self._session.was_empty()

    def _write_held(self, *, reward: float) -> None:
        """Write the step that was held back, and the observation that it led to."""
        writer = self._open()
        if self._held_step is not None:
            writer.step(**self._held_step, reward=reward)
        if self._held_observation is not None:
            writer.observe(*self._held_observation)
        self._held_step = self._held_observation = None

    def _open(self) -> EpisodeWriter:
        if self._writer is None:
            raise DataError("no episode is open. Let the session begin one.")
        return self._writer
