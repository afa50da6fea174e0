"""The way from corrupted to clean embeddings."""

import pytest
import torch

from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import pad
from locscope.interp.slopes import Endpoints

NONE = torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_way_ends_exactly_where_it_should(dtype):
    generator = torch.Generator().manual_seed(0)
    corrupted, clean = (
        (scale * torch.randn(2, 3, 64, generator=generator)).to(dtype) for scale in (30.0, 1.0)
    )
    prompts = pad(pack([TokenRow((0,), 1)] * 2), range(2), torch.device("cpu"))
    ends = Endpoints(prompts, NONE, NONE, corrupted, clean)
    assert torch.equal(ends.at(0.0), corrupted)
    assert torch.equal(ends.at(1.0), clean)
    middle = (corrupted.double() + clean.double()) / 2
    assert torch.allclose(ends.at(0.5).double(), middle, rtol=2e-2, atol=0.2)
    # What is run may change its input in place: the ends themselves are never handed out.
    assert ends.at(1.0).data_ptr() != clean.data_ptr()
