"""One SAC or TD3 update on the stacked engine, and the matrix products of it alone."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from update_task import ACT, BATCH, GAMMA, LOG_STD_RANGE, LR, OBS, TAU, Buffer, Row

from robot_rl.policy.layers import layer_views
from robot_rl.policy.precision import Precision
from robot_rl.policy.stacked import StackedMLP


class StackedTD3:
    """TD3 on the engine."""

    def __init__(self, row: Row, precision: Precision | Literal["auto"]) -> None:
        def net(num: int, sizes: tuple[int, ...], seed: int) -> StackedMLP:
            return StackedMLP(
                num, sizes, layer_norm=row.layer_norm, seed=seed, precision=precision
            )

        self.critic = net(row.critics, (OBS + ACT, *row.hidden, 1), 0)
        self.actor = net(1, (OBS, *row.hidden, self.actor_out), 1)
        self.critic_target, self.actor_target = self.critic.clone(), self.actor.clone()
        self.buffer = Buffer()
        self.updates = 0

    actor_out = ACT

    @torch.no_grad()
    def update(self) -> None:
        obs, action, reward, alive, next_obs = self.buffer.sample()
        next_action = self.actor_target.forward(next_obs)[0].tanh_()
        next_action.add_(torch.randn_like(next_action).mul_(0.2).clamp_(-0.5, 0.5)).clamp_(-1, 1)
        self.update_critic(obs, action, next_obs, next_action, reward, alive)
        self.updates += 1
        if self.updates % 2 == 0:
            pi = self.actor.forward(obs, keep=True)[0].tanh_()
            grad = self.action_gradient(obs, pi)
            self.actor.backward(grad.mul_(1 - pi * pi)[None])
            self.actor.step(LR)
            self.critic_target.follow(self.critic, TAU)
            self.actor_target.follow(self.actor, TAU)

    def update_critic(
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor,
        next_action: Tensor,
        reward: Tensor,
        alive: Tensor,
        next_log_prob: Tensor | float = 0.0,
    ) -> None:
        target = self.critic_target.forward(torch.cat((next_obs, next_action), 1)).amin(0)
        target = target.sub_(next_log_prob).mul_(alive).mul_(GAMMA).add_(reward)
        q = self.critic.forward(torch.cat((obs, action), 1), keep=True)
        self.critic.backward(q.sub_(target).mul_(2 / BATCH))
        self.critic.step(LR)

    def action_gradient(self, obs: Tensor, action: Tensor) -> Tensor:
        """Of minus the mean of all critics, as the product does it."""
        q = self.critic.forward(torch.cat((obs, action), 1), keep=True)
        grad_q = self.value_gradient(q)
        grad = self.critic.backward(grad_q, params=False, inputs=slice(OBS, None))
        assert grad is not None
        return grad

    def value_gradient(self, q: Tensor) -> Tensor:
        return torch.full_like(q, -1 / q.numel())


class StackedTD3ByOne(StackedTD3):
    """The same with an actor that climbs the first critic alone, as the peers' TD3 does."""

    def __init__(self, row: Row, precision: Precision | Literal["auto"]) -> None:
        super().__init__(row, precision)
        self.first = StackedMLP(
            1,
            self.critic.sizes,
            layer_norm=row.layer_norm,
            seed=0,
            precision=self.critic.precision,
        )
        sizes = self.critic.sizes
        views = (
            layer_views(self.first.flat, 1, sizes),
            layer_views(self.critic.flat, row.critics, sizes),
        )
        self.copies = [
            (to, layer[:1])
            for one, all_ in zip(*views, strict=True)
            for to, layer in zip(one, all_, strict=True)
        ]

    def action_gradient(self, obs: Tensor, action: Tensor) -> Tensor:
        """Of minus the first critic, taken over from the ensemble as it is now."""
        for to, layer in self.copies:
            to.copy_(layer)
        q = self.first.forward(torch.cat((obs, action), 1), keep=True)
        grad = self.first.backward(self.value_gradient(q), params=False, inputs=slice(OBS, None))
        assert grad is not None
        return grad


class StackedSAC(StackedTD3):
    """SAC on the engine; the gradient of the squashed Gaussian is written out."""

    actor_out = 2 * ACT

    def __init__(self, row: Row, precision: Precision | Literal["auto"]) -> None:
        super().__init__(row, precision)
        self.log_alpha = torch.zeros(1)
        self.alpha_mean = torch.zeros(2)  # Adam's moments for one number

    def sample_action(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_std = out.split(ACT, 1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        noise = torch.randn_like(mean)
        spread = log_std.exp().mul_(noise)
        action = (mean + spread).tanh_()
        log_prob = (noise.square() * -0.5 - log_std - (1 - action.square() + 1e-6).log_()).sum(
            1, keepdim=True
        ) - 0.9189385 * ACT
        return action, log_prob, spread, log_std

    @torch.no_grad()
    def update(self) -> None:
        obs, action, reward, alive, next_obs = self.buffer.sample()
        alpha = float(self.log_alpha.exp())
        next_action, log_prob, _, _ = self.sample_action(self.actor.forward(next_obs)[0])
        self.update_critic(obs, action, next_obs, next_action, reward, alive, log_prob.mul_(alpha))
        out = self.actor.forward(obs, keep=True)[0]
        pi, log_prob, spread, log_std = self.sample_action(out)
        grad = self.action_gradient(obs, pi)
        grad_pre = grad.mul_(1 - pi * pi).add_(pi, alpha=2 * alpha / BATCH)
        inside = (out[:, ACT:] == log_std).float()
        grad_log_std = (grad_pre * spread).sub_(alpha / BATCH).mul_(inside)
        self.actor.backward(torch.cat((grad_pre, grad_log_std), 1)[None])
        self.actor.step(LR)
        self.update_alpha(-(float(log_prob.mean()) - ACT))
        self.critic_target.follow(self.critic, TAU)

    def value_gradient(self, q: Tensor) -> Tensor:
        """Of minus the least critic of each sample."""
        return torch.zeros_like(q).scatter_(0, q.argmin(0, keepdim=True), -1 / BATCH)

    def update_alpha(self, grad: float) -> None:
        self.updates += 1
        self.alpha_mean *= torch.tensor([0.9, 0.999])
        self.alpha_mean += torch.tensor([0.1 * grad, 0.001 * grad * grad])
        mean = float(self.alpha_mean[0]) / (1 - 0.9**self.updates)
        square = float(self.alpha_mean[1]) / (1 - 0.999**self.updates)
        self.log_alpha -= LR * mean / (square**0.5 + 1e-8)


class Products:
    """The bound: nothing but the matrix products that one SAC update cannot do without."""

    def __init__(self, row: Row, precision: Precision) -> None:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []
        for num, sizes, inner in (
            (row.critics, (OBS + ACT, *row.hidden), ACT),
            (1, (OBS, *row.hidden), 0),
        ):
            forwards = 3 if num > 1 else 2
            for k, (i, o) in enumerate(pairwise(sizes)):
                x = torch.randn(num, BATCH, i).to(dtype)
                weight = torch.randn(num, i, o).to(dtype)
                grad = torch.randn(num, BATCH, o).to(dtype)
                self.add(forwards, x, weight)
                self.add(1, x.transpose(1, 2), grad)  # of the weights
                if k:  # of the inputs: critic and actor update, or the actor's own
                    self.add(forwards - 1, grad, weight.transpose(1, 2))
                elif inner:
                    self.add(1, grad, weight[:, -inner:].transpose(1, 2))

    def add(self, times: int, a: Tensor, b: Tensor) -> None:
        out = torch.bmm(a, b)
        self.calls += [(a, b, out)] * times

    @torch.no_grad()
    def update(self) -> None:
        for a, b, out in self.calls:
            torch.bmm(a, b, out=out)
