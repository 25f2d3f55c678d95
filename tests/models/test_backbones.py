"""Backbones: shapes, a VGG built by hand, batch norm's two rules, and weights that must be refused."""

import contextlib
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fsslib.models.backbones import LAYERS, DilatedDepthwise, build_backbone, read_weights
from fsslib.basics.errors import InputError


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return build_backbone("vgg16", None)


@pytest.fixture(scope="module")
def lite():
    return build_backbone("efficientnet_lite0")


def shapes_of(backbone, size, count=1):
    with torch.no_grad():
        return {name: tuple(m.shape) for name, m in backbone(torch.rand(count, 3, size, size)).items()}


def test_vgg_at_417_gives_53(vgg):
    found = shapes_of(vgg, 417)
    assert found == {"layer2": (1, 256, 53, 53), "layer3": (1, 512, 53, 53), "layer4": (1, 512, 53, 53),
                     "conv5": (1, 512, 53, 53)}
    assert vgg.prototype_maps == ("conv5",)
    assert sum(p.numel() for p in vgg.parameters()) == 14_714_688               # PANet's 14.71 M


def test_vgg_is_panets_encoder(vgg):
    """3x3 convolutions with ReLU, 3x3 max-pools of strides 2, 2, 2, 1, conv5 dilated 2, no ReLU after the last."""
    layers, channels = [], 3
    for width, repeats, stride, dilation in ((64, 2, 2, 1), (128, 2, 2, 1), (256, 3, 2, 1), (512, 3, 1, 1),
                                             (512, 3, 0, 2)):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            channels = width
        layers += [nn.MaxPool2d(3, stride, padding=1)] if stride else []
    plain = nn.Sequential(*layers[:-1])
    ours, theirs = vgg.state_dict(), plain.state_dict()
    assert [v.shape for v in ours.values()] == [v.shape for v in theirs.values()]
    plain.load_state_dict(dict(zip(theirs, ours.values())))
    image = torch.rand(1, 3, 65, 49)
    mean, std = torch.tensor([.485, .456, .406]), torch.tensor([.229, .224, .225])
    with torch.no_grad():
        expected = plain((image - mean[:, None, None]) / std[:, None, None])
        maps = vgg(image)
    torch.testing.assert_close(maps["conv5"], expected, rtol=1e-4, atol=2e-5)
    assert (maps["conv5"] < 0).any() and torch.equal(maps["layer4"], maps["conv5"].relu())


@pytest.mark.parametrize("name", ["tiny", "resnet50"])
def test_stride_8(name):
    found = shapes_of(build_backbone(name, None), 129)
    channels = build_backbone(name, None).channels
    assert found == {layer: (1, channels[layer], 17, 17) for layer in LAYERS}


def test_imagenet_features_of_lite0(lite):
    """The one test with real weights: shapes, and features that tell a disc from a texture wherever they lie."""
    found = shapes_of(lite, 225)
    assert {s[2:] for s in found.values()} == {(29, 29)}
    assert sum(s[1] for s in found.values()) == 472 and found["layer2"][1] == 40

    y, x = torch.meshgrid(torch.arange(129), torch.arange(129), indexing="ij")

    def disc(cy, cx):
        inside = ((y - cy) ** 2 + (x - cx) ** 2 < 24 ** 2).float()
        return torch.stack([.2 + .7 * inside, .3 + .3 * inside, .3 - .2 * inside])
    stripes = ((x // 4) % 2).float().expand(3, -1, -1)
    with torch.no_grad():
        one, other, texture = lite(torch.stack([disc(60, 60), disc(66, 64), stripes]))["layer4"].mean((2, 3))
    assert torch.cosine_similarity(one, other, dim=0) > torch.cosine_similarity(one, texture, dim=0) + 0.2


@pytest.mark.parametrize("kernel, dilation, size", [(5, 4, (29, 29)), (3, 4, (8, 13)), (5, 2, (6, 7))])
def test_dilated_depthwise_in_phases(kernel, dilation, size):
    """Values and gradients of torch's own dilated convolution, in float64; sides that dilation does not divide."""
    torch.manual_seed(0)
    phased = DilatedDepthwise(6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6).double()
    plain = nn.Conv2d(6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6).double()
    plain.load_state_dict(phased.state_dict())
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    gradients = []
    for layer in (phased, plain):
        given = x.clone().requires_grad_()
        layer(given).pow(2).sum().backward()
        gradients.append((layer(x), given.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_what_guided_maps_compare(lite, vgg):
    """lite0: the cosine of two places is the mean of their cosines in both layers, centred; elsewhere layer4 itself."""
    generator = np.random.default_rng(0)
    maps = [generator.normal(3, 1, (2, channels, 4, 5)).astype(np.float32) for channels in (112, 320)]
    found = lite.region_features(*map(torch.from_numpy, maps)).numpy()
    cosines = []
    for x in maps:
        a, b = (x - x.mean((2, 3), keepdims=True))[0][:, [0, 3], [1, 2]].T
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    one, other = found[0][:, [0, 3], [1, 2]].T
    assert found.shape == (2, 432, 4, 5)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(np.mean(cosines), abs=1e-5)
    layer4 = torch.rand(2, 3, 4, 4)
    assert vgg.region_features(None, layer4) is layer4


def test_lite0_runs_its_dilated_layers_in_phases(lite):
    kinds = [type(m) for m in lite.modules() if isinstance(m, nn.Conv2d) and m.groups > 1 and m.dilation[0] > 1]
    assert kinds and set(kinds) == {DilatedDepthwise}


@pytest.mark.parametrize("name, channels", [("efficientnet_lite1", (40, 112, 320)), ("efficientnet_lite2", (48, 120, 352))])
def test_larger_lites(name, channels):
    backbone = build_backbone(name, None)
    assert shapes_of(backbone, 65) == {layer: (1, c, 9, 9) for layer, c in zip(LAYERS, channels)}
    assert backbone.region_features(torch.rand(1, 2, 4, 4), torch.rand(1, 3, 4, 4)).shape == (1, 5, 4, 4)


def test_transformer_gives_a_vector_for_every_8_px(tmp_path):
    """Of a picture that needs no resizing, timm's own answer behind the third, the fourth and the last of its six blocks."""
    torch.manual_seed(0)
    vit = build_backbone("test_vit", None)
    torch.save({"model": vit.net.state_dict()}, tmp_path / "vit.pth")
    again = build_backbone("test_vit", tmp_path / "vit.pth")
    assert shapes_of(again, 73, 2) == {layer: (2, 64, 10, 10) for layer in LAYERS}
    assert {s[2:] for s in shapes_of(build_backbone("test_vit", None, output_stride=32), 73).values()} == {(3, 3)}
    picture = torch.rand(1, 3, 160, 128)                       # 10 x 8 patches of 16 px, so 80 x 64 px at 8 px a vector
    with torch.no_grad():
        found = again(torch.nn.functional.interpolate(picture, (80, 64), mode="area"))
        assert found["layer4"].shape == (1, 64, 10, 8)
        x = (picture - 0.5) / 0.5
        tokens = vit.net.patch_embed(x)
        assert tokens.shape == (1, 10, 8, 64)                  # with dynamic_img_size patches keep their places
        seen = {}
        for at in (2, 3):                                      # behind the third and the fourth of six blocks
            vit.net.blocks[at].register_forward_hook(lambda _, __, out, at=at: seen.update({at: vit.net.norm(out)}))
        expected = vit.net.forward_features(x)[:, vit.net.num_prefix_tokens:].reshape(1, 10, 8, 64).permute(0, 3, 1, 2)
        again.output_stride = 16
        found = again(picture)
    torch.testing.assert_close(found["layer4"], expected, rtol=1e-4, atol=1e-4)
    for layer, at in (("layer2", 2), ("layer3", 3)):
        inside = seen[at][:, vit.net.num_prefix_tokens:].reshape(1, 10, 8, 64).permute(0, 3, 1, 2)
        torch.testing.assert_close(found[layer], inside, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="masked_pass"):
        again.high_level(found["layer3"])


@pytest.mark.parametrize("name, counts", [("vgg16", (1, 3, 3)), ("resnet50", (4, 6, 3)), ("efficientnet_lite0", (2, 6, 5)), ("tiny", (1, 1, 1))])
def test_blocks(name, counts):
    """As many as the network has, of their layer's size; the last one's ReLU, where there is one, is the layer itself."""
    torch.manual_seed(0)
    backbone, image = build_backbone(name, None), torch.rand(1, 3, 65, 49)
    assert tuple(len(backbone.blocks[layer]) for layer in LAYERS) == counts
    with torch.no_grad():
        plain, found = backbone(image), backbone(image, blocks=True)
    assert set(plain) == {*LAYERS, *(["conv5"] if name == "vgg16" else [])}
    for layer in LAYERS:
        for block in backbone.blocks[layer]:
            assert found[block].shape == (1, backbone.channels[block], 9, 7)
        last = found[backbone.blocks[layer][-1]]
        torch.testing.assert_close(last if name in ("efficientnet_lite0", "tiny") else last.relu(), plain[layer])
    if name in ("resnet50", "vgg16"):
        assert all((found[backbone.blocks[layer][0]] < 0).any() for layer in ("layer3", "layer4"))     # before the ReLU


@pytest.mark.parametrize("rule, moves", [("eval", False), ("train", True)])
def test_batch_norm(rule, moves):
    backbone = build_backbone("tiny", None, batch_norm=rule)
    wrapped = nn.Sequential(backbone)        # modes reach it through a model
    before = {k: v.clone() for k, v in backbone.state_dict().items() if "running" in k}
    with torch.no_grad():
        wrapped.eval()(torch.rand(2, 3, 40, 40))
        assert all(torch.equal(backbone.state_dict()[k], v) for k, v in before.items())
        wrapped.train()(torch.rand(2, 3, 40, 40))
    assert len(before) == 6
    assert all(torch.equal(backbone.state_dict()[k], v) != moves for k, v in before.items())
    assert backbone.training and all(p.requires_grad for p in backbone.parameters())


class Touch:
    """What a malicious file holds: unpickling it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("write", [lambda value, path: torch.save(value, path),
                                   lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_weights_never_run_code(tmp_path, write):
    harm = tmp_path / "harm"
    write({"features.0.weight": Touch(harm)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no readable weights"):
        build_backbone("tiny", tmp_path / "w.pth")
    assert not harm.exists()
    with contextlib.suppress(RuntimeError):                          # a bare pickle runs, then is no checkpoint
        torch.load(tmp_path / "w.pth", weights_only=False)
    assert harm.exists()                     # the trap is real


def test_half_precision_and_other_files_load(tmp_path, vgg):
    state = {k: v.half().contiguous() for k, v in vgg.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = build_backbone("vgg16", tmp_path / "w.safetensors").state_dict()
    assert all(v.dtype == torch.float32 and torch.equal(v, state[k].float()) for k, v in loaded.items())
    tiny = build_backbone("tiny", None).state_dict()
    for stored in (tiny, {"state_dict": tiny}):
        torch.save(stored, tmp_path / "w.pth")
        again = build_backbone("tiny", str(tmp_path / "w.pth")).state_dict()
        assert all(torch.equal(again[k], v) for k, v in tiny.items())


def test_resnet_takes_torchvisions_names(tmp_path):
    import torchvision
    state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "r.pth")
    ours = build_backbone("resnet50", tmp_path / "r.pth")
    assert torch.equal(ours.stem[0].weight, state["conv1.weight"]) and torch.equal(
        ours.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


def test_bad_weights(tmp_path, vgg):
    torch.save({"a": 3}, tmp_path / "number.pth")
    torch.save({0: torch.zeros(3)}, tmp_path / "list.pth")
    (tmp_path / "folder.pth").mkdir()
    torch.save(build_backbone("tiny", None).state_dict(), tmp_path / "tiny.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (tmp_path / "text.pth").write_text("no weights")
    for file, word in (("gone.pth", "no such file"), ("number.pth", "other than tensors"),
                       ("list.pth", "other than tensors"), ("folder.pth", "found a folder"),
                       ("cut.safetensors", "no readable"), ("text.pth", "no readable"),
                       ("tiny.pth", "23 tensors, without features.0.weight.*vgg16")):
        with pytest.raises(InputError, match=word) as caught:
            build_backbone("vgg16", tmp_path / file)
        assert file in str(caught.value)
    state = build_backbone("tiny", None).state_dict()
    torch.save({**state, "stem.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="of other shapes"):
        build_backbone("tiny", tmp_path / "other.pth")
    assert set(read_weights(tmp_path / "tiny.pth")) == set(state)


@pytest.mark.parametrize("arguments, word", [
    (dict(name="vgg19"), "backbone"), (dict(name="vit_of_mine"), "backbone"), (dict(name="test_vit_relpos"), "backbone"), (dict(name="tiny"), "no ImageNet weights"),
    (dict(name="tiny", weights=None, output_stride=16), "output_stride"),
    (dict(name="tiny", weights=None, batch_norm="frozen"), "batch_norm")])
def test_bad_options(arguments, word):
    with pytest.raises(InputError, match=word):
        build_backbone(**arguments)
