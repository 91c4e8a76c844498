"""SBX (Stable-Baselines3 on JAX) in its own interpreter, driven by `bench_updates.py`.

Reads a number of updates a line from standard input, answers with the CPU seconds they took.
"""

import argparse
import sys
import time

import gymnasium as gym
import numpy as np
import sbx
from stable_baselines3.common.logger import Logger
from update_task import ACT, BATCH, CAPACITY, LR, OBS

STEPS_PER_CALL = 8  # one number, because SBX compiles anew for each


class Blank(gym.Env):
    """Spaces of the right shape; never stepped."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACT,), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm")
    parser.add_argument("critics", type=int)
    parser.add_argument("hidden", type=int, nargs="+")
    parser.add_argument("--layer-norm", action="store_true")
    options = parser.parse_args()
    policy = {"net_arch": options.hidden, "n_critics": options.critics}
    if options.layer_norm:
        policy["layer_norm"] = True
    model = getattr(sbx, options.algorithm)(
        "MlpPolicy", Blank(), learning_rate=LR, buffer_size=CAPACITY, policy_kwargs=policy
    )
    model.set_logger(Logger(None, []))
    rng = np.random.default_rng(0)
    buffer = model.replay_buffer
    for array in (buffer.observations, buffer.next_observations, buffer.rewards):
        array[:] = rng.normal(size=array.shape)
    buffer.actions[:] = rng.uniform(-1, 1, size=buffer.actions.shape)
    buffer.full = True
    for line in sys.stdin:
        count = int(line)
        calls = -(-count // STEPS_PER_CALL)
        start = time.process_time()
        for _ in range(calls):
            model.train(gradient_steps=STEPS_PER_CALL, batch_size=BATCH)
        spent = time.process_time() - start
        print(spent * count / (calls * STEPS_PER_CALL), flush=True)


if __name__ == "__main__":
    main()
