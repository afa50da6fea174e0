"""Products of bfloat16 in float32, and what of them comes back as a gradient."""

import torch

from locscope.forward.head import wide_product


def test_the_product_is_that_of_the_factors_cast_and_its_gradient_is_rounded_to_bfloat16():
    torch.manual_seed(0)
    hidden = torch.randn(3, 5, 16, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(40, 16, dtype=torch.bfloat16)
    found = wide_product(hidden, weight)
    assert found.dtype == torch.float32
    assert torch.equal(found, hidden.float() @ weight.float().T)

    asked = torch.randn_like(found)
    (mine,) = torch.autograd.grad(found, hidden, asked)
    exact = asked.double() @ weight.double()
    assert mine.dtype == torch.bfloat16
    error = (mine.double() - exact).norm() / exact.norm()
    assert 0 < float(error) < 2**-8
