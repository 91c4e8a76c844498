"""TorchRL's SAC and TD3 in their own interpreter, driven by `bench_updates.py`.

Written as its `sota-implementations` are: one loss module, one optimiser, soft target updates.
Reads a number of updates a line from standard input, answers with the CPU seconds they took.
"""

import argparse
import logging
import sys
import time

import torch
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.data import Bounded, LazyTensorStorage, TensorDictReplayBuffer
from torchrl.modules import MLP, ProbabilisticActor, TanhModule, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate, TD3Loss
from update_task import ACT, BATCH, CAPACITY, GAMMA, LR, OBS, TAU


def mlp(width_in: int, width_out: int, hidden: list[int], layer_norm: bool) -> MLP:
    norm = {"norm_class": nn.LayerNorm, "norm_kwargs": [{"normalized_shape": h} for h in hidden]}
    return MLP(
        in_features=width_in,
        out_features=width_out,
        num_cells=hidden,
        activation_class=nn.ReLU,
        **(norm if layer_norm else {}),
    )


def actor_of(algorithm: str, hidden: list[int], layer_norm: bool) -> nn.Module:
    outputs = 2 * ACT if algorithm == "SAC" else ACT
    net = mlp(OBS, outputs, hidden, layer_norm)
    bounds = Bounded(-1.0, 1.0, (ACT,))
    if algorithm == "TD3":
        unit = TensorDictModule(net, in_keys=["observation"], out_keys=["param"])
        squash = TanhModule(in_keys=["param"], out_keys=["action"], spec=bounds)
        return TensorDictSequential(unit, squash)
    spread = nn.Sequential(net, NormalParamExtractor())
    return ProbabilisticActor(
        TensorDictModule(spread, in_keys=["observation"], out_keys=["loc", "scale"]),
        spec=bounds,
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        return_log_prob=True,
    )


def full_replay() -> TensorDictReplayBuffer:
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(CAPACITY), batch_size=BATCH)
    no = torch.zeros(CAPACITY, 1, dtype=torch.bool)
    after = {
        "observation": torch.randn(CAPACITY, OBS),
        "reward": torch.randn(CAPACITY, 1),
        "done": no,
        "terminated": no,
    }
    rows = {
        "observation": torch.randn(CAPACITY, OBS),
        "action": torch.rand(CAPACITY, ACT) * 2 - 1,
        "next": TensorDict(after, [CAPACITY]),
    }
    replay.extend(TensorDict(rows, [CAPACITY]))
    return replay


class Peer:
    """One learner of TorchRL with a full replay."""

    def __init__(self, algorithm: str, critics: int, hidden: list[int], layer_norm: bool) -> None:
        actor = actor_of(algorithm, hidden, layer_norm)
        value = ValueOperator(
            mlp(OBS + ACT, 1, hidden, layer_norm), in_keys=["action", "observation"]
        )
        settings = {"num_qvalue_nets": critics, "loss_function": "l2", "delay_qvalue": True}
        if algorithm == "SAC":
            self.loss = SACLoss(actor, value, target_entropy=-ACT, **settings)
        else:
            bounds = Bounded(-1.0, 1.0, (ACT,))
            self.loss = TD3Loss(actor, value, action_spec=bounds, delay_actor=True, **settings)
        self.loss.make_value_estimator(gamma=GAMMA)
        self.target = SoftUpdate(self.loss, tau=TAU)
        self.algorithm, self.replay, self.updates = algorithm, full_replay(), 0
        self.adam = torch.optim.Adam(self.loss.parameters(), lr=LR)
        self.actor_adam = torch.optim.Adam(
            self.loss.actor_network_params.flatten_keys().values(), lr=LR
        )
        self.value_adam = torch.optim.Adam(
            self.loss.qvalue_network_params.flatten_keys().values(), lr=LR
        )

    def update(self) -> None:
        batch = self.replay.sample()
        self.updates += 1
        if self.algorithm == "SAC":
            losses = self.loss(batch)
            total = losses["loss_actor"] + losses["loss_qvalue"] + losses["loss_alpha"]
            self.descend(self.adam, total)
            self.target.step()
            return
        self.descend(self.value_adam, self.loss.value_loss(batch)[0])
        if self.updates % 2 == 0:
            self.descend(self.actor_adam, self.loss.actor_loss(batch)[0])
            self.target.step()

    @staticmethod
    def descend(adam: torch.optim.Adam, loss: torch.Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=["SAC", "TD3"])
    parser.add_argument("critics", type=int)
    parser.add_argument("hidden", type=int, nargs="+")
    parser.add_argument("--layer-norm", action="store_true")
    options = parser.parse_args()
    logging.getLogger("torchrl").setLevel(logging.ERROR)  # it logs to standard output
    torch.set_num_threads(1)
    peer = Peer(options.algorithm, options.critics, options.hidden, options.layer_norm)
    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line)):
            peer.update()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
