"""From a joint target at the policy's rate to a smooth joint command at the bridge's rate.

command:   … → decode → safety → **send**: the twin and the arm bridge run this at 100 Hz

Time-optimal in discrete time: a joint speeds up as fast as it may, and brakes so that it arrives
exactly at the target with speed zero.
"""

import numpy as np

from robot_rl.types import F64

__all__ = ["step_towards", "target_of_step"]


def step_towards(
    q_cmd: F64,
    dq_cmd: F64,
    q_target: F64,
    *,
    velocity_limit: F64,
    acceleration_limit: F64,
    dt: float,
) -> tuple[F64, F64]:
    """One tick towards the target within the limits.

    Neither limit is ever passed, and from rest the target is never overshot. When a new target
    lies inside the braking distance, the joint brakes as hard as it may and comes back; where it
    stops then still lies between the targets given so far, so targets within the joint limits
    give commands within the joint limits.

    Args:
        q_cmd: (..., n) [rad], the command of the last tick.
        dq_cmd: (..., n) [rad/s], its velocity.
        q_target: (..., n) [rad].
        velocity_limit: (n,) [rad/s].
        acceleration_limit: (n,) [rad/s^2].
        dt: Length of the tick [s].

    Returns:
        (q_cmd, dq_cmd) of this tick, new arrays.
    """
    distance = q_target - q_cmd
    gap = np.abs(distance)
    brake = acceleration_limit * dt  # loss of speed in one tick
    # Braking from n * brake takes n ticks over brake * dt * n * (n + 1) / 2; hence n from the gap,
    # and the speed from which n ticks of braking end exactly at the target.
    n = np.ceil((np.sqrt(gap * (8.0 / (brake * dt)) + 1.0) - 1.0) * 0.5)
    np.maximum(n, 1.0, out=n)
    speed = gap / (n * dt) + brake * 0.5 * (n - 1.0)
    np.minimum(speed, velocity_limit, out=speed)
    dq = np.copysign(speed, distance)
    np.maximum(dq, dq_cmd - brake, out=dq)
    np.minimum(dq, dq_cmd + brake, out=dq)
    return q_cmd + dq * dt, dq


def target_of_step(q_cmd: F64, dq: F64, *, acceleration_limit: F64, dt: float) -> F64:
    """The target for which `step_towards` takes its next step at a wished speed.

    It is where the joint would come to stand if it braked from there: a planned path is followed
    exactly by asking for these in place of its own points, behind which the command would lag.

    Args:
        q_cmd: (..., n) [rad], where the step begins.
        dq: (..., n) [rad/s], its speed, within the limit of acceleration of the last one.
        acceleration_limit: (n,) [rad/s^2].
        dt: Length of the tick [s].

    Returns:
        (..., n) [rad].
    """
    brake = acceleration_limit * dt
    speed = np.abs(dq)
    n = np.maximum(np.ceil(speed / brake), 1.0)
    return q_cmd + np.copysign(n * dt * (speed - 0.5 * brake * (n - 1.0)), dq)
