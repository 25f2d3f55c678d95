"""FEM: its size to the parameter, shapes, gradients, one episode or many, and a scale computed step by step."""

import pytest
import torch
import torch.nn.functional as F

from fsslib.basics.errors import InputError
from fsslib.models.fem import FEM


def inputs(B=2, width=8, maps=2, h=9, w=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(B, width, h, w, generator=draw), torch.randn(B, width, generator=draw),
            torch.rand(B, maps, h, w, generator=draw))


def test_parameters():
    """PFENet's head has 10 817 034 at 1 536 middle channels, of which 2 x 1 536 x 256 reduce query and support."""
    assert sum(p.numel() for p in FEM(maps=1).parameters()) == 10_817_034 - 2 * 1536 * 256
    assert sum(p.numel() for p in FEM(maps=2).parameters()) == 10_817_034 - 2 * 1536 * 256 + 4 * 256


@pytest.mark.parametrize("bins, sizes", [((6, 3, 2), [(6, 6), (3, 3), (2, 2)]),
                                         ((1.0, 0.5, 0.1), [(1, 1), (4, 3), (1, 1)])])
def test_shapes(bins, sizes):
    logits, auxiliary = FEM(maps=2, width=8, bins=bins)(*inputs())
    assert logits.shape == (2, 2, 9, 7)
    expected = [(9, 7) if bin == 1.0 else size for bin, size in zip(bins, sizes)]
    assert [tuple(a.shape[2:]) for a in auxiliary] == expected and all(a.shape[:2] == (2, 2) for a in auxiliary)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    fem = FEM(maps=2, width=8, bins=(6, 3, 2))
    logits, auxiliary = fem(*inputs())
    (logits.square().sum() + sum(a.square().sum() for a in auxiliary)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fem.parameters())


def test_query_prototype_and_maps_start_with_equal_shares():
    torch.manual_seed(0)
    width, maps = 64, 2
    weight = FEM(maps, width).mix[0][0].weight[:, :, 0, 0]
    shares = [part.square().sum(1).mean().item() for part in weight.split([width, width, maps], 1)]
    assert shares == pytest.approx([2 / 3, 2 / 3, 16 * 2 / 3], rel=0.35)       # He: 2 in all; maps spread a quarter as far


def test_a_map_that_holds_the_answer_is_soon_believed():
    """A training that does not find it in 60 steps among 32 channels of noise starts with the map too faint."""
    torch.manual_seed(0)
    fem = FEM(maps=1, width=16, bins=(1.0, 0.5))
    optimizer = torch.optim.AdamW(fem.parameters(), 2e-3)
    for step in range(61):
        truth = F.interpolate(torch.rand(4, 1, 4, 4), (16, 16), mode="bilinear") > 0.6
        logits, _ = fem(2 * torch.randn(4, 16, 16, 16), torch.randn(4, 16), truth.float())
        loss = F.cross_entropy(logits, truth[:, 0].long())
        if step < 60:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = logits.argmax(1) == 1
    assert (found & truth[:, 0]).sum() / (found | truth[:, 0]).sum() > 0.5         # seeds: 0.92 to 0.99; by channels: 0 to 0.19


def test_an_episode_does_not_see_its_neighbours():
    torch.manual_seed(0)
    fem = FEM(maps=2, width=8, bins=(6, 3, 2)).eval()
    parts = inputs(B=3)
    together, _ = fem(*parts)
    alone = torch.cat([fem(*(part[b:b + 1] for part in parts))[0] for b in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_two_scales_step_by_step():
    torch.manual_seed(0)
    fem = FEM(maps=1, width=8, bins=(4, 2)).eval()
    query, prototype, maps = inputs(maps=1, h=4, w=4)

    def conv(layer, x):
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)

    def residual(layers, x):
        return x + F.relu(conv(layers[2], F.relu(conv(layers[0], x))))

    def head(layers, x):
        return conv(layers[3], F.relu(conv(layers[0], x)))

    vector = prototype[:, :, None, None]
    fine = torch.cat([query, vector.expand(-1, -1, 4, 4), maps], 1)
    fine = residual(fem.refine[0], F.relu(conv(fem.mix[0][0], fine)))
    pooled = query.reshape(2, 8, 2, 2, 2, 2).mean((3, 5))                               # 2x2 means of 4x4
    corners = torch.tensor([0, 3])                                                      # 4 -> 2, corners aligned
    coarse = torch.cat([pooled, vector.expand(-1, -1, 2, 2), maps[:, :, corners][..., corners]], 1)
    coarse = F.relu(conv(fem.mix[1][0], coarse))
    coarse = coarse + F.relu(conv(fem.inform[0][0], torch.cat([coarse, fine[:, :, corners][..., corners]], 1)))
    coarse = residual(fem.refine[1], coarse)
    t = torch.linspace(0, 1, 4)
    up = torch.stack([1 - t, t], 1)                                                     # (4, 2): linear between corners
    grown = torch.einsum("ya,xb,ncab->ncyx", up, up, coarse)
    final = residual(fem.refine_all, F.relu(conv(fem.gather[0], torch.cat([fine, grown], 1))))
    logits, auxiliary = fem(query, prototype, maps)
    for found, expected in ((logits, head(fem.classify_all, final)), (auxiliary[0], head(fem.classify[0], fine)),
                            (auxiliary[1], head(fem.classify[1], coarse))):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_bad_bins():
    with pytest.raises(InputError, match="fine to coarse"):
        FEM(maps=1, bins=(30, 0))


def test_the_start_neither_shrinks_nor_blows_up_a_signal():
    """Through a dozen layers a signal of size 1 stays within a factor of 4; the answer itself starts near even."""
    torch.manual_seed(0)
    fem, sizes = FEM(1, width=64, bins=(1.0, 0.5)).eval(), []
    for layer in (*fem.mix, *fem.refine, fem.gather, fem.refine_all):
        layer.register_forward_hook(lambda _, given, out: sizes.append(out.square().mean().sqrt().item()))
    logits, _ = fem(torch.randn(2, 64, 16, 16).relu() * 2 ** 0.5, torch.randn(2, 64).relu() * 2 ** 0.5, torch.rand(2, 1, 16, 16))
    assert len(sizes) == 6 and all(0.25 < size < 4 for size in sizes), sizes
    assert logits.abs().max() < 1 and logits.abs().max() > 0
