"""InfoNCE, the queue and the step of momentum contrast, against numpy written from the papers' formulas."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from fsslib.contrast import GlobalLocalMoCo, KeyQueue, info_nce, queue_length
from fsslib.contrast.queue import own_keys
from fsslib.basics.errors import InputError


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def numpy_info_nce(q, k, queue, temperature):
    """Equation 1 with its softmax by hand: (loss, gradient with respect to q), float64."""
    logits = np.concatenate([(q * k).sum(1, keepdims=True), q @ queue], 1) / temperature          # (B, 1+K)
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    towards = share.copy()
    towards[:, 0] -= 1                                                  # d loss / d logits, but for B
    gradient = (towards[:, :1] * k + towards[:, 1:] @ queue.T) / temperature / len(q)
    return -np.log(share[:, 0]).mean(), gradient


@pytest.fixture
def keys():
    """q, k (5,6) and a queue (6,7), unit vectors of float64."""
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(5, 6))), unit(rng.normal(size=(5, 6))), unit(rng.normal(size=(7, 6))).T


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_and_its_gradient(keys, temperature):
    q, k, queue = keys
    expected, gradient = numpy_info_nce(q, k, queue, temperature)
    tensor = torch.from_numpy(q).requires_grad_()
    loss = info_nce(tensor, torch.from_numpy(k), torch.from_numpy(queue), temperature)
    loss.backward()
    assert loss.shape == () and loss.item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-10)
    step = 1e-6
    for at in np.ndindex(q.shape):                                      # and against differences of the loss itself
        high, low = q.copy(), q.copy()
        high[at] += step
        low[at] -= step
        slope = (numpy_info_nce(high, k, queue, temperature)[0] - numpy_info_nce(low, k, queue, temperature)[0])
        assert tensor.grad[at].item() == pytest.approx(slope / (2 * step), abs=1e-6)


def test_info_nce_by_hand():
    """One query, its key at 60 degrees, two strangers at 90 and 180: -ln(e / (e + 1 + 1/e^2)) at tau 0.5."""
    q, k = torch.tensor([[1., 0.]]), torch.tensor([[.5, .75 ** .5]])
    queue = torch.tensor([[0., -1.], [1., 0.]])                         # columns (0, 1) and (-1, 0)
    expected = -math.log(math.e / (math.e + 1 + math.exp(-2)))
    assert info_nce(q, k, queue, 0.5).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.2, 0.07])
def test_what_cannot_be_told_apart_costs_log_of_all_keys(temperature):
    same = torch.ones(3, 4) / 2
    assert info_nce(same, same, same[:1].T.repeat(1, 9), temperature).item() == pytest.approx(math.log(10), rel=1e-6)


def test_mo_co_v2_temperature_is_the_default(keys):
    q, k, queue = map(torch.from_numpy, keys)
    assert info_nce(q, k, queue) == info_nce(q, k, queue, 0.2) != info_nce(q, k, queue, 0.07)


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_the_queue_is_a_ring(batch):
    torch.manual_seed(0)
    queue, rng = KeyQueue(4, 6), np.random.default_rng(1)
    assert queue.keys.shape == (4, 6) and queue.filled == 0
    torch.testing.assert_close(queue.keys.norm(dim=0), torch.ones(6))
    columns = list(queue.keys.T.clone().numpy())
    for turn in range(1, 11):
        rows = unit(rng.normal(size=(batch, 4))).astype(np.float32)
        queue.enqueue(torch.from_numpy(rows))
        for n, row in enumerate(rows):
            columns[((turn - 1) * batch + n) % 6] = row
        np.testing.assert_array_equal(queue.keys.numpy(), np.stack(columns, 1))
        assert queue.filled == min(6, turn * batch)


def test_a_queue_survives_saving_with_its_place():
    queue, other = KeyQueue(2, 4), KeyQueue(2, 4)
    queue.enqueue(torch.ones(2, 2))
    other.load_state_dict(queue.state_dict())
    other.enqueue(torch.zeros(2, 2))
    np.testing.assert_array_equal(other.keys.numpy(), [[1, 1, 0, 0], [1, 1, 0, 0]])
    assert other.filled == 4 and queue.filled == 2


@pytest.mark.parametrize("length, batch, cure", [(6, 4, "Use 4."), (100, 32, "Use 96."), (4, 5, "Use 5.")])
def test_a_batch_that_does_not_divide_the_queue_is_refused(length, batch, cure):
    queue = KeyQueue(3, length)
    before = queue.keys.clone()
    with pytest.raises(InputError, match=f"length {length} with batches of {batch} keys.*{cure}"):
        queue.enqueue(torch.ones(batch, 3))
    assert torch.equal(queue.keys, before) and queue.filled == 0
    with pytest.raises(InputError, match="at least one key"):
        KeyQueue(3, 0)


@pytest.mark.parametrize("images, batch, length", [
    (1569, 32, 768), (10, 4, 4), (7, 4, 4), (3, 4, 4), (1_281_167, 256, 65536), (1_281_167, 100, 65500)])
def test_default_length(images, batch, length):
    assert queue_length(images, batch) == length


@pytest.mark.parametrize("x", [0.25, 0.5, 1.0, 1.6, 3.2])
def test_own_keys_of_shuffled_epochs(x):
    """400 images, 40 epochs in new orders each: how often the K keys before a visit hold the same image."""
    rng, images = np.random.default_rng(0), 400
    visits = np.concatenate([rng.permutation(images) for _ in range(40)])
    length = int(x * images)
    counted = [(visits[t - length:t] == visits[t]).sum() for t in range(5 * images, len(visits))]
    assert own_keys(images, length) == pytest.approx(np.mean(counted), abs=0.02)     # 14 000 visits: error < 0.005


class Flat(nn.Module):
    """An encoder that a page of numpy can repeat: 1x1 convolution, 3 -> 4 channels."""
    channels = {"layer4": 4}
    batch_norm = "train"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, images):
        return {"layer4": self.conv(images)}


class Net:
    """Flat's mean over the image, a head and the l2 norm, in float64, with their derivative by hand."""

    def __init__(self, encoder, head):
        self.p = {"W": encoder.conv.weight[:, :, 0, 0], "b": encoder.conv.bias, "w1": head[0].weight,
                  "b1": head[0].bias, "w2": head[2].weight, "b2": head[2].bias}
        self.p = {name: value.detach().numpy().copy() for name, value in self.p.items()}

    def forward(self, images):
        p = self.p
        self.x = images.mean((2, 3))
        self.f = self.x @ p["W"].T + p["b"]
        self.a = self.f @ p["w1"].T + p["b1"]
        self.z = np.maximum(self.a, 0) @ p["w2"].T + p["b2"]
        return unit(self.z)

    def backward(self, dq):
        p, q = self.p, unit(self.z)
        dz = (dq - q * (q * dq).sum(1, keepdims=True)) / np.linalg.norm(self.z, axis=1, keepdims=True)
        da = dz @ p["w2"] * (self.a > 0)
        df = da @ p["w1"]
        return {"W": df.T @ self.x, "b": df.sum(0), "w1": da.T @ self.f, "b1": da.sum(0),
                "w2": dz.T @ np.maximum(self.a, 0), "b2": dz.sum(0)}


def views_of(seed, parts=("global", "local"), batch=4, side=2):
    generator = torch.Generator().manual_seed(seed)
    return {part: torch.rand(batch, 2, 3, side, side, generator=generator, dtype=torch.float64) for part in parts}


@pytest.mark.parametrize("loss", ["global", "local", "both"])
def test_steps_in_the_official_order(loss):
    """Three steps with SGD beside numpy: k moves first, towards the q of the last optimiser step; the logits see
    the queue as it was before the batch; both parts pull at one encoder, each with its own head and queue."""
    torch.manual_seed(2)
    parts, m, tau, lr = {"both": ("global", "local")}.get(loss, (loss,)), 0.7, 0.3, 0.5
    model = GlobalLocalMoCo(Flat(), loss, dim=5, queue=8, momentum=m, temperature=tau, sub_batches=2).double()
    assert set(model.heads) == set(model.key_heads) == set(model.queues) == set(parts)
    optimizer = torch.optim.SGD(model.query_parameters(), lr)
    query = {part: Net(model.encoder, model.heads[part]) for part in parts}
    key = copy.deepcopy(query)                                          # k starts as a copy of q
    queue, at = {part: model.queues[part].keys.numpy().copy() for part in parts}, 0
    for step in range(3):
        views = views_of(step, parts)
        losses, accuracy = model(views)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()

        gradients = {}
        for part in parts:                                              # k <- m k + (1-m) q
            for name, value in key[part].p.items():
                value[:] = m * value + (1 - m) * query[part].p[name]
        for part in parts:
            first, second = views[part].numpy().swapaxes(0, 1)
            q, k = query[part].forward(first), key[part].forward(second)
            expected, dq = numpy_info_nce(q, k, queue[part], tau)
            assert losses[part].item() == pytest.approx(expected, rel=1e-10)
            own = (q * k).sum(1) > (q @ queue[part]).max(1)
            assert accuracy[part].item() == own.mean()
            gradients[part] = query[part].backward(dq)
            assert all(value.any() for value in gradients[part].values())     # a sleeping ReLU would test nothing
            queue[part][:, at:at + 4] = k.T
        at = (at + 4) % 8
        shared = {name: sum(gradients[part][name] for part in parts) for name in ("W", "b")}
        for part in parts:
            for name, value in query[part].p.items():
                value -= lr * shared.get(name, gradients[part][name])
            np.testing.assert_allclose(model.queues[part].keys.numpy(), queue[part], rtol=0, atol=1e-12)
            for net, encoder, heads in ((query, model.encoder, model.heads), (key, model.key_encoder, model.key_heads)):
                for name, value in Net(encoder, heads[part]).p.items():
                    np.testing.assert_allclose(value, net[part].p[name], rtol=0, atol=1e-12, err_msg=name)


def test_gradients_reach_the_query_side_alone():
    torch.manual_seed(2)                                                # a start where both heads are awake
    model = GlobalLocalMoCo(Flat(), queue=8, sub_batches=1).double()
    losses, accuracy = model(views_of(0))
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.query_parameters())
    assert all(p.grad is None and not p.requires_grad for p in model.key_parameters())
    assert not any(b.requires_grad for b in model.buffers()) and not accuracy["local"].requires_grad
    assert len(model.query_parameters()) + len(model.key_parameters()) == len(list(model.parameters()))


def test_it_learns_what_views_share():
    """64 "images", two shared numbers each; a view adds a third one at random, which only disturbs. The loss falls as
    the encoder learns to look past it, and does not when it may not learn."""
    def last_losses(lr):
        torch.manual_seed(0)
        model = GlobalLocalMoCo(Flat(), "global", 8, queue=16, momentum=0.99, sub_batches=1)
        optimizer = torch.optim.SGD(model.query_parameters(), lr, 0.9)
        shared, found = torch.rand(64, 2), []
        for _ in range(250):
            views = 2 * torch.rand(8, 2, 3)
            views[:, :, :2] = shared[torch.randperm(64)[:8], None]
            loss = model({"global": views[..., None, None]})[0]["global"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return np.mean(found[-30:])
    assert last_losses(0.1) < last_losses(0.0) - 0.4 and last_losses(0.0) > math.log(17) - 0.2


class Norm(nn.Module):
    """An encoder that is nothing but batch norm; the images that each call saw are written down."""
    channels = {"layer4": 3}

    def __init__(self, batch_norm="train"):
        super().__init__()
        self.norm, self.batch_norm, self.calls = nn.BatchNorm2d(3), batch_norm, []

    def forward(self, images):
        self.calls.append(images[:, 0, 0, 0].tolist())
        return {"layer4": self.norm(images)}

    def train(self, mode=True):
        super().train(mode)
        self.norm.train(mode and self.batch_norm == "train")
        return self


def numbered(batch):
    """Global views of one pixel whose first channel is the image's number; both views are equal."""
    values = torch.rand(batch, 1, 3, 1, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values[:, 0, 0, 0, 0] = torch.arange(batch)
    return {"global": values.repeat(1, 2, 1, 1, 1)}


def norm_model(batch_norm="train", **options):
    torch.manual_seed(0)
    return GlobalLocalMoCo(Norm(batch_norm), "global", dim=5, queue=8, **options).double()


def head_of(model, features):
    return unit(model.heads["global"](torch.from_numpy(features)).detach().numpy())


def normed(rows):
    return (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)


def test_keys_meet_other_neighbours_than_queries():
    model, views, mixed = norm_model(sub_batches=4), numbered(8), 0
    x = views["global"][:, 0, :, 0, 0].numpy()
    for turn in range(10):
        model.encoder.calls.clear()
        model.key_encoder.calls.clear()
        queue = model.queues["global"].keys.numpy().copy()
        loss = model(views)[0]["global"].item()
        assert model.encoder.calls == [[0, 1], [2, 3], [4, 5], [6, 7]]
        groups = [sorted(map(int, call)) for call in model.key_encoder.calls]
        assert sorted(sum(groups, [])) == list(range(8)) and [len(group) for group in groups] == [2, 2, 2, 2]
        mixed += sum(group not in ([0, 1], [2, 3], [4, 5], [6, 7]) for group in groups)
        q = np.concatenate([normed(x[at:at + 2]) for at in range(0, 8, 2)])
        k = np.empty((8, 3))
        for group in groups:                                            # in its group, then back to its own row
            k[group] = normed(x[group])
        expected = numpy_info_nce(head_of(model, q), head_of(model, k), queue, 0.2)[0]
        assert loss == pytest.approx(expected, rel=1e-9)
    assert mixed > 25                                                   # of 40 pairs; by chance one in seven stays


def test_one_part_is_the_plain_pass():
    model, views = norm_model(sub_batches=1), numbered(6)
    model.queues["global"].length = 6
    x, queue = views["global"][:, 0, :, 0, 0].numpy(), model.queues["global"].keys.numpy().copy()
    loss = model(views)[0]["global"].item()
    q = head_of(model, normed(x))
    assert loss == pytest.approx(numpy_info_nce(q, q, queue, 0.2)[0], rel=1e-9)
    assert [len(call) for call in model.encoder.calls + model.key_encoder.calls] == [6, 6]


@pytest.mark.parametrize("eval_by", ["backbone", "mode"])
def test_parts_do_not_matter_without_batch_statistics(eval_by):
    for sub_batches in (1, 3, 4):
        model = norm_model("eval" if eval_by == "backbone" else "train", sub_batches=sub_batches)
        model.train(eval_by == "backbone")
        views = {"global": numbered(4)["global"][:1].repeat(2, 1, 1, 1, 1)}
        x, queue = views["global"][:, 0, :, 0, 0].numpy(), model.queues["global"].keys.numpy().copy()
        q = head_of(model, x / np.sqrt(1 + 1e-5))                       # the stored statistics: mean 0, variance 1
        assert model(views)[0]["global"].item() == pytest.approx(numpy_info_nce(q, q, queue, 0.2)[0], rel=1e-9)
        assert [len(call) for call in model.encoder.calls] == [2]


@pytest.mark.parametrize("batch, sub_batches", [(4, 3), (4, 4), (6, 4), (1, 1)])
def test_parts_below_two_images_are_refused(batch, sub_batches):
    model = norm_model(sub_batches=sub_batches)
    with pytest.raises(InputError, match=f"batch: found {batch} images in {sub_batches} parts.*at least 2 images"):
        model(numbered(batch))
    assert model.queues["global"].filled == 0


def test_each_encoder_keeps_its_own_running_statistics():
    """Parameters follow, statistics do not: they are what each encoder saw itself, as in MoCo."""
    model = norm_model(sub_batches=1, momentum=0.0)
    views = numbered(4)
    views["global"][:, 1] += 10
    model(views)
    assert (model.key_encoder.norm.running_mean - model.encoder.norm.running_mean).numpy() == pytest.approx([1] * 3)


@pytest.mark.parametrize("options, word", [
    (dict(loss="all"), "loss: found 'all', expected one of global, local, both"),
    (dict(momentum=1.0), "key momentum: found 1.0"), (dict(momentum=-0.1), "key momentum: found -0.1"),
    (dict(temperature=0), "temperature: found 0"), (dict(temperature=float("nan")), "temperature: found nan"),
    (dict(queue=0), "queue: found a length of 0")])
def test_bad_options(options, word):
    with pytest.raises(InputError, match=word):
        GlobalLocalMoCo(Flat(), **options)
