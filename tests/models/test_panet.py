"""PANet against a few lines written from its description: features upsampled, cosines by torch, loops everywhere."""

import pytest
import torch
import torch.nn.functional as F

from fsslib.episodes.batches import EpisodeBatch
from fsslib.basics.errors import InputError
from fsslib.models import build_model
from fsslib.models.panet import PANet

S, C, h = 33, 6, 5


class Given(torch.nn.Module):
    """A backbone stands in the way of gradients to features; this one is never called."""
    prototype_maps = ("layer4",)


def cosines(features, prototypes):
    return torch.stack([F.cosine_similarity(features, p[:, None, None], dim=0, eps=1e-8) for p in prototypes])


def enlarge(maps, size=(S, S)):
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def pooled(features, mask):
    return (enlarge(features) * mask).sum((1, 2)) / (mask.double().sum() + 1e-5)


def reference(support, query, masks, truth):
    """Logits (B,1+N,S,S), query loss, alignment loss of PANet's training step."""
    logits, align = [], 0
    B, N, K = support.shape[:3]
    for b in range(B):
        foreground = [sum(pooled(support[b, n, k], masks[b, n, k] == 1) for k in range(K)) / K for n in range(N)]
        background = sum(pooled(support[b, n, k], masks[b, n, k] == 0) for n in range(N) for k in range(K)) / (N * K)
        scores = 20 * cosines(query[b], [background, *foreground])
        logits.append(enlarge(scores))
        guess = scores.argmax(0)
        own = [(query[b] * (guess == n)).sum((1, 2)) / ((guess == n).double().sum() + 1e-5) for n in range(1 + N)]
        for n in range(1, 1 + N):
            if (guess == n).sum() == 0:
                continue
            for k in range(K):
                back = enlarge(20 * cosines(support[b, n - 1, k], [own[0], own[n]]))
                label = torch.full((S, S), 255)
                label[masks[b, n - 1, k] == 1], label[masks[b, n - 1, k] == 0] = 1, 0
                align = align + F.cross_entropy(back[None], label[None], ignore_index=255) / K / N
    logits = torch.stack(logits)
    return logits, F.cross_entropy(logits, truth, ignore_index=255), align / B


def episode(B, N, K, seed=0, unseen=None):
    """Random features and blocky masks; the features of way ``unseen`` look like no part of the query."""
    torch.manual_seed(seed)
    support = torch.randn(B, N, K, C, h, h, dtype=torch.float64)
    query = torch.randn(B, C, h, h, dtype=torch.float64)
    masks = torch.randint(0, 2, (B, N, K, 5, 5)).repeat_interleave(7, -1).repeat_interleave(7, -2)[..., :S, :S]
    masks[..., :3, :] = 255
    truth = torch.randint(0, 1 + N, (B, S, S))
    truth[:, :, :2] = 255
    if unseen is not None:
        masks[:, unseen] = 0
        masks[:, unseen, ..., 14:21, 14:21] = 1                      # one low-resolution position
        query, support[:, unseen] = query.abs(), support[:, unseen].abs()
        support[:, unseen, ..., 1:4, 1:4] = -0.5
        for n in set(range(N)) - {unseen}:                           # the first position shows the other ways
            masks[:, n, ..., :7, :7], support[:, n, ..., :2, :2] = 1, query[:, None, :, :1, :1]
    return support, query, masks.byte(), truth


def run(support, query, masks, truth, **options):
    model = PANet(Given(), **options).train()
    return model(EpisodeBatch(masks, truth, support_features=support, query_features=query))


@pytest.mark.parametrize("B, N, K, unseen", [(1, 1, 1, None), (1, 2, 3, None), (2, 2, 3, 1), (2, 3, 2, 0)])
def test_forward_and_gradients(B, N, K, unseen):
    support, query, masks, truth = episode(B, N, K, unseen=unseen)
    support.requires_grad_(), query.requires_grad_()
    logits, query_loss, align = reference(support, query, masks, truth)
    output = run(support, query, masks, truth)
    if unseen is not None:                   # the case is what it says: nobody sees this way, but another
        guess = output.maps["similarity"].argmax(1)
        assert not (guess == unseen + 1).any() and (guess > 0).any()
    torch.testing.assert_close(output.logits, logits, atol=1e-10, rtol=0)
    for found, expected in ((output.losses["query"], query_loss), (output.losses["align"], align)):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
        for ours, theirs in zip(torch.autograd.grad(found, (support, query), retain_graph=True),
                                torch.autograd.grad(expected, (support, query), retain_graph=True)):
            torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_no_way_seen_gives_no_alignment_loss():
    support, query, masks, truth = episode(1, 1, 1, unseen=0)
    output = run(support, query.requires_grad_(), masks, truth)
    assert output.losses["align"].item() == 0
    sum(output.losses.values()).backward()
    assert query.grad.isfinite().all()


def test_losses_only_where_asked(tiny_panet):
    batch = episode(1, 1, 1)
    assert set(run(*batch).losses) == {"query", "align"} and set(run(*batch, align=False).losses) == {"query"}
    output = PANet(Given()).eval()(EpisodeBatch(batch[2], batch[3], support_features=batch[0], query_features=batch[1]))
    assert output.losses == {} and output.maps["prototype_distance"].shape == (1,)


def test_images_and_their_features_give_the_same(tiny_panet):
    torch.manual_seed(1)
    images, query = torch.rand(2, 2, 2, 3, 40, 40), torch.rand(2, 3, 40, 40)
    masks, truth = torch.randint(0, 2, (2, 2, 2, 40, 40)).byte(), torch.randint(0, 3, (2, 40, 40))
    with torch.no_grad():
        one = tiny_panet.eval()(EpisodeBatch(masks, truth, images, query))
        features = torch.stack([torch.stack([tiny_panet.encode(k) for k in way]) for way in images])
        other = tiny_panet(EpisodeBatch(masks, truth, support_features=features,
                                        query_features=tiny_panet.encode(query)))
    assert one.logits.shape == (2, 3, 40, 40)
    torch.testing.assert_close(one.logits, other.logits)


def test_distance_by_hand():
    """One channel points up in the support, the query's own prototype to the right: unit vectors, sqrt(2) apart."""
    query = torch.zeros(1, 2, 4, 4)
    query[:, 0] = 3.0
    prototypes = torch.tensor([[[1., 1.], [0., 9.], [7., 0.]]])      # background, way 1, way 2
    truth = torch.zeros(1, 8, 8, dtype=torch.long)
    truth[:, :4] = 1
    assert PANet.distance(query, prototypes, truth).item() == pytest.approx(2 ** 0.5)
    truth[:, 4:] = 2
    assert PANet.distance(query, prototypes, truth).item() == pytest.approx(2 ** 0.5 / 2)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="model"):
        build_model("fpn", "tiny", None)
    with pytest.raises(InputError, match="'depth'.*maps, align, scale"):
        build_model("panet", "tiny", None, depth=3)


def test_default_options_are_the_same_architecture():
    one, other = build_model("panet", "tiny", None), build_model("panet", "tiny", None, align=True)
    assert one.architecture == other.architecture != build_model("panet", "tiny", None, align=False).architecture
