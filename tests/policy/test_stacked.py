"""The stacked networks against torch.autograd, torch.optim.AdamW and themselves."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from robot_rl.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from robot_rl.policy.layers import layer_views
from robot_rl.policy.precision import fastest
from robot_rl.policy.stacked import StackedMLP

SIZES = (5, 16, 24, 2)
NUM, BATCH = 3, 7


def reference(net: StackedMLP) -> nn.ModuleList:
    """The same networks as ordinary modules: one nn.Sequential each."""
    modules = nn.ModuleList()
    layers = layer_views(net.flat, net.num, net.sizes)
    for n in range(net.num):
        parts: list[nn.Module] = []
        for k, (weight, bias) in enumerate(layers):
            last = k == len(layers) - 1
            linear = nn.Linear(net.sizes[k], net.sizes[k + 1])
            linear.weight.data = (weight[n] if last else weight[n].T).clone()
            linear.bias.data = bias[n, 0].clone()
            parts.append(linear)
            if not last:
                if net.layer_norm:
                    parts.append(nn.LayerNorm(net.sizes[k + 1], elementwise_affine=False))
                parts.append(nn.ReLU())
        modules.append(nn.Sequential(*parts))
    return modules


def outputs(modules: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    """(N, B, out) of the reference for shared or per-network inputs."""
    return torch.stack([m(x if x.ndim == 2 else x[n]) for n, m in enumerate(modules)])


def flat_gradient(net: StackedMLP, modules: nn.ModuleList) -> torch.Tensor:
    """The reference's gradients in the order of `net.flat`."""
    flat = torch.zeros_like(net.flat)
    views = layer_views(flat, net.num, net.sizes)
    for n, module in enumerate(modules):
        linears = [m for m in module if isinstance(m, nn.Linear)]
        for k, (linear, (weight, bias)) in enumerate(zip(linears, views, strict=True)):
            weight[n] = linear.weight.grad if k == len(views) - 1 else linear.weight.grad.T
            bias[n, 0] = linear.bias.grad
    return flat


def inputs(shared: bool, seed: int = 0, batch: int = BATCH, num: int = NUM) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, SIZES[0]) if shared else (num, batch, SIZES[0])
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize(
    ("shared", "layer_norm", "out"), list(itertools.product((True, False), (True, False), (1, 2)))
)
def test_forward_and_backward_equal_autograd(shared: bool, layer_norm: bool, out: int):
    net = StackedMLP(NUM, (*SIZES[:-1], out), layer_norm=layer_norm, seed=1)
    modules = reference(net)
    x = inputs(shared).requires_grad_()
    grad_out = torch.randn(NUM, BATCH, out, generator=torch.Generator().manual_seed(2))
    expected = outputs(modules, x)
    expected.backward(grad_out)

    got = net.forward(x.detach(), keep=True)
    grad_in = net.backward(grad_out, inputs=True)

    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.grad, flat_gradient(net, modules), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad_in, x.grad, rtol=1e-5, atol=1e-5)


def test_input_gradient_of_some_columns_leaves_the_parameters_alone():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    x, grad_out = inputs(shared=True), torch.ones(NUM, BATCH, SIZES[-1])
    net.forward(x, keep=True)
    whole = net.backward(grad_out, params=False, inputs=True)
    part = net.backward(grad_out, params=False, inputs=slice(3, 5))
    assert whole is not None and part is not None
    torch.testing.assert_close(part, whole[:, 3:5])
    assert not net.grad.any()


def test_two_backwards_add_up():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    x, grad_out = inputs(shared=True), torch.ones(NUM, BATCH, SIZES[-1])
    net.forward(x, keep=True)
    net.backward(grad_out)
    once = net.grad.clone()
    net.backward(2.0 * grad_out)
    torch.testing.assert_close(net.grad, 3.0 * once)


def test_forward_without_keep_does_not_disturb_what_is_kept():
    net = StackedMLP(NUM, SIZES, layer_norm=False, seed=1)
    grad_out = torch.ones(NUM, BATCH, SIZES[-1])
    net.forward(inputs(shared=True), keep=True)
    before = net.backward(grad_out, params=False, inputs=True)
    net.forward(inputs(shared=False, seed=9))
    after = net.backward(grad_out, params=False, inputs=True)
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_forward_of_some_members_equals_those_of_all():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    x = inputs(shared=True)
    torch.testing.assert_close(net.forward(x, members=[2, 0]), net.forward(x)[[2, 0]])


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_step_equals_adamw_with_clipping(max_norm: float | None):
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    param = nn.Parameter(net.flat.clone())
    adamw = torch.optim.AdamW([param], lr=1e-2, weight_decay=0.1)
    for seed in range(5):
        net.forward(inputs(shared=True, seed=seed), keep=True)
        net.backward(torch.full((NUM, BATCH, SIZES[-1]), 1.0 + seed))
        param.grad = net.grad.clone()
        norm = param.grad.norm()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_([param], max_norm)
        adamw.step()
        assert net.step(1e-2, weight_decay=0.1, max_norm=max_norm) == pytest.approx(float(norm))
    torch.testing.assert_close(net.flat, param.data, rtol=1e-5, atol=1e-6)


def test_follow_moves_a_share_of_the_way():
    target = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    online = StackedMLP(NUM, SIZES, layer_norm=True, seed=2)
    expected = 0.75 * target.flat + 0.25 * online.flat
    target.follow(online, 0.25)
    torch.testing.assert_close(target.flat, expected)
    target.follow(online, 1.0)
    torch.testing.assert_close(target.forward(inputs(True)), online.forward(inputs(True)))


def train(net: StackedMLP, steps: int, seed: int = 0) -> list[float]:
    """Regress a smooth function of the inputs; the losses."""
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        x = torch.randn(64, net.sizes[0], generator=generator)
        error = net.forward(x, keep=True) - torch.sin(x[:, :1])
        losses.append(float((error**2).mean()))
        net.backward(2.0 * error / error[0].numel())
        net.step(1e-3)
    return losses


def test_state_round_trip_continues_bit_for_bit():
    first = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    train(first, 5)
    second = StackedMLP(NUM, SIZES, layer_norm=True, seed=8)
    second.load_state_dict(first.state_dict())
    train(first, 5, seed=3)
    train(second, 5, seed=3)
    assert torch.equal(first.flat, second.flat)
    assert torch.equal(first.adam.square, second.adam.square)


def test_two_runs_of_one_seed_are_equal():
    runs = [StackedMLP(NUM, SIZES, layer_norm=True, seed=1) for _ in range(2)]
    assert train(runs[0], 10) == train(runs[1], 10)
    assert torch.equal(runs[0].flat, runs[1].flat)


def test_clone_is_equal_and_independent():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    train(net, 2)
    twin = net.clone()
    assert torch.equal(twin.flat, net.flat)
    train(net, 1)
    assert not torch.equal(twin.flat, net.flat)


def test_data_of_one_network_change_no_other():
    first = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    second = first.clone()
    x = inputs(shared=False)
    other = x.clone()
    other[1] += 1.0
    for net, data in ((first, x), (second, other)):
        out = net.forward(data, keep=True)
        net.backward(out)
        net.step(1e-3)
    y = inputs(shared=True, seed=5)
    same = (first.forward(y) == second.forward(y)).all(dim=(1, 2))
    assert same.tolist() == [True, False, True]


def test_networks_of_one_stack_start_different_and_zero_last_starts_at_zero():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    out = net.forward(inputs(shared=True))
    assert not torch.equal(out[0], out[1])
    zero = StackedMLP(NUM, SIZES, layer_norm=True, seed=1, zero_last=True)
    assert not zero.forward(inputs(shared=True)).any()


@pytest.mark.parametrize("layer_norm", [True, False])
def test_act_equals_forward_for_one_input(layer_norm: bool):
    net = StackedMLP(NUM, SIZES, layer_norm=layer_norm, seed=1)
    train(net, 3)
    x = np.random.default_rng(0).normal(size=SIZES[0]).astype(np.float32)
    expected = net.forward(torch.from_numpy(x)[None])[:, 0].numpy()
    np.testing.assert_allclose(net.act(x), expected, rtol=1e-5, atol=1e-5)


def test_wrong_shapes_are_refused_by_name():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    with pytest.raises(ShapeError, match=r"network input has shape \(7, 4\)"):
        net.forward(torch.zeros(7, 4))
    with pytest.raises(ShapeError, match="network input"):
        net.forward(torch.zeros(2, 7, 5))
    with pytest.raises(ShapeError, match="network input"):
        net.act(np.zeros(4, np.float32))
    with pytest.raises(ConfigError, match="keep=True"):
        net.backward(torch.zeros(3, 7, 2))
    net.forward(inputs(shared=True), keep=True)
    with pytest.raises(ShapeError, match="output gradient"):
        net.backward(torch.zeros(3, 7, 1))
    with pytest.raises(ConfigError, match="step needs a backward"):
        net.step(1e-3)
    with pytest.raises(ConfigError, match="at least three"):
        StackedMLP(1, (3, 2), layer_norm=True, seed=0)


def test_a_gradient_of_nan_is_refused_before_it_changes_a_weight():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    before = net.flat.clone()
    net.forward(inputs(shared=True), keep=True)
    net.backward(torch.full((NUM, BATCH, SIZES[-1]), float("nan")))
    with pytest.raises(NonFiniteError, match="gradient length is not finite"):
        net.step(1e-3)
    assert torch.equal(net.flat, before)


def test_checkpoint_of_another_shape_is_refused():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1)
    other = StackedMLP(NUM + 1, SIZES, layer_norm=True, seed=1)
    with pytest.raises(CheckpointError, match="Build the network with the sizes"):
        net.load_state_dict(other.state_dict())
    state = net.state_dict()
    del state["adam_square"]
    with pytest.raises(CheckpointError, match="adam_square"):
        net.load_state_dict(state)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_bf16_equals_fp32_within_its_digits(shared: bool, layer_norm: bool):
    exact = StackedMLP(NUM, SIZES, layer_norm=layer_norm, seed=1)
    rough = StackedMLP(NUM, SIZES, layer_norm=layer_norm, seed=1, precision="bf16")
    assert torch.equal(exact.flat, rough.flat)
    x = inputs(shared)
    results = []
    for net in (exact, rough):
        out = net.forward(x, keep=True)
        assert out.dtype == torch.float32
        results.append((out, net.backward(out, inputs=True), net.grad))
    for expected, got in zip(*results, strict=True):
        error = torch.linalg.vector_norm(got - expected) / torch.linalg.vector_norm(expected)
        assert error < (0.02 if got is results[1][0] else 0.15)  # a ReLU near zero may flip


def test_bf16_of_some_members_equals_those_of_all():
    net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1, precision="bf16")
    x = inputs(shared=True)
    torch.testing.assert_close(
        net.forward(x, members=[2, 0]), net.forward(x)[[2, 0]], rtol=0.02, atol=0.02
    )


def test_bf16_sums_two_backwards_and_sees_every_change_of_the_parameter():
    net = StackedMLP(NUM, SIZES, layer_norm=False, seed=1, precision="bf16")
    x, grad_out = inputs(shared=True), torch.ones(NUM, BATCH, SIZES[-1])
    before = net.forward(x, keep=True)
    net.backward(grad_out)
    once = net.grad.clone()
    net.backward(grad_out)
    torch.testing.assert_close(net.grad, 2.0 * once)
    net.step(1e-2)
    fresh = StackedMLP(NUM, SIZES, layer_norm=False, seed=9, precision="bf16")
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(net.forward(x), fresh.forward(x))
    assert not torch.equal(net.forward(x), before)
    net.follow(StackedMLP(NUM, SIZES, layer_norm=False, seed=1), 1.0)
    assert torch.equal(net.forward(x), before)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_bf16_learns_as_well_as_fp32(layer_norm: bool):
    final = {}
    for precision in ("fp32", "bf16"):
        net = StackedMLP(8, (5, 64, 64, 1), layer_norm=layer_norm, seed=1, precision=precision)
        train(net, 400)
        x = torch.randn(512, 5, generator=torch.Generator().manual_seed(7))
        losses = ((net.forward(x) - torch.sin(x[:, :1])) ** 2).mean(dim=(1, 2))
        final[precision] = losses
    mean, spread = final["fp32"].mean(), final["fp32"].std()
    assert mean < 0.05
    assert abs(final["bf16"].mean() - mean) < 3.0 * spread / 8**0.5 + 0.1 * mean


def test_auto_precision_is_measured_once_and_recorded():
    first, second = (
        StackedMLP(2, (40, 256, 1), layer_norm=False, seed=1, precision="auto") for _ in range(2)
    )
    assert first.precision in ("fp32", "bf16")
    assert second.precision == first.precision


def test_the_precision_of_the_faster_update_is_chosen_and_bf16_must_win_clearly():
    def spin(turns: int):
        return lambda: sum(range(turns))

    assert fastest({"fp32": spin(200_000), "bf16": spin(20_000)}) == "bf16"
    assert fastest({"fp32": spin(20_000), "bf16": spin(200_000)}) == "fp32"
    assert fastest({"fp32": spin(50_000), "bf16": spin(50_000)}) == "fp32"


def test_networks_work_inside_and_outside_of_inference_mode():
    with torch.inference_mode():
        net = StackedMLP(NUM, SIZES, layer_norm=True, seed=1, precision="bf16")
        train(net, 1)
    train(net, 1)
    with torch.inference_mode():
        train(net, 1)
    assert float(net.adam.count) == 3.0


def test_many_batch_sizes_do_not_fill_the_memory():
    net = StackedMLP(NUM, SIZES, layer_norm=False, seed=1)
    kept = net.forward(inputs(shared=True), keep=True)
    for batch in range(1, 100):
        net.forward(inputs(shared=True, batch=batch))
    assert len(net._workspace) <= 32
    net.backward(kept)  # what was kept survives
