"""A detector for a written function, which gives progress and no probability of success.

learning:  episode store → progress model → **verdict** → replay → residual agent → weights
"""

import numpy as np

from robot_rl.reward.audit import UNDONE_UNTIL
from robot_rl.reward.detector import DetectorCfg, Evidence, fit_detector
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.written.scoring import Examples
from robot_rl.types import F64

__all__ = ["fit_verdicts"]


def fit_verdicts(
    model: ProgressModel, examples: Examples, cfg: DetectorCfg | None = None
) -> DetectorCfg:
    """Calibrate progress as a score of success, and put the threshold near the successes.

    A written function has hardly anything fitted to the episodes that it was chosen by, so these
    serve. Done are the last frames of a success for as long as the detector wants them held; what
    lies between them and the part that is certainly undone, nobody can say.

    Args:
        model: Judges.
        examples: Episodes with their outcome; at least one success.
        cfg: Hold time, gates and earliest success, which are kept.
    """
    cfg = cfg or DetectorCfg()
    estimates = model.score(examples.queries)
    evidence = []
    for k, (query, estimate) in enumerate(zip(examples.queries, estimates, strict=True)):
        won, done = bool(examples.success[k]), np.zeros(len(query), np.int8)
        if won:
            done = _done(query.stamps_s, float(examples.ends_s[k]), cfg.hold_s)
        evidence.append(Evidence(query=query, estimate=estimate, success=won, done=done))
    return fit_detector(evidence, cfg)


def _done(stamps_s: F64, end_s: float, hold_s: float) -> np.ndarray:
    """int8 (T,) of a success that was complete at `end_s`: 1 done, 0 not, -1 nobody can say."""
    share = (stamps_s - stamps_s[0]) / max(end_s - float(stamps_s[0]), 1e-6)
    is_done = stamps_s >= end_s - hold_s
    return np.where(is_done, 1, np.where(share < UNDONE_UNTIL, 0, -1)).astype(np.int8)
