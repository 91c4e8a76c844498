import pytest
import torch

from robot_rl.policy.product import product, product_added


def _tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize(
    ("i", "k", "j"), [(128, 128, 96), (5, 128, 128), (128, 3, 64), (70, 65, 1)]
)
def test_products_are_as_exact_as_float32_whatever_multiplies(i: int, k: int, j: int):
    a, b, c = _tensors((3, k, i), (3, j, k), (3, 1, j))
    a, b = a.mT, b.mT  # as views: the engine multiplies by transposes
    exact = torch.bmm(a.double(), b.double())
    out = torch.empty(3, i, j)
    assert product(a, b, out=out) is out
    torch.testing.assert_close(out, exact.float(), rtol=1e-5, atol=1e-4)
    product_added(c, a, b, out=out)
    torch.testing.assert_close(out, (exact + c).float(), rtol=1e-5, atol=1e-4)


def test_a_product_can_be_added_in_place():
    a, b, c = _tensors((2, 64, 80), (2, 80, 64), (2, 64, 64))
    exact = c + torch.bmm(a, b)
    product_added(c, a, b, out=c)
    torch.testing.assert_close(c, exact, rtol=1e-5, atol=1e-4)


def test_equal_products_are_equal_bit_for_bit():
    a, b = _tensors((2, 128, 256), (2, 256, 128))
    first, second = torch.empty(2, 2, 128, 128)
    torch.testing.assert_close(product(a, b, out=first), product(a, b, out=second), rtol=0, atol=0)


def test_torch_keeps_its_own_choice_of_library_even_after_an_error():
    a, b, out = _tensors((2, 64, 64), (2, 64, 64), (2, 64, 64))
    before = torch.get_float32_matmul_precision()
    product(a, b, out=out)
    with pytest.raises(RuntimeError):
        product(a, b[:1], out=out)
    assert torch.get_float32_matmul_precision() == before
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"
