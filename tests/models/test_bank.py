"""The feature bank: the same numbers as without it, and none that is stale or damaged."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Toy, draw_toy

from fsslib.episodes.augmentation import view_of_image
from fsslib.models.bank import FeatureBank, ModelBank
from fsslib.episodes.batches import EpisodeTensors
from fsslib.basics.checkpoints import weights_digest
from fsslib.episodes.sampler import EpisodeSampler
from fsslib.basics.errors import InputError
from fsslib.evaluation.scoring import evaluate
from fsslib.models import build_model
from fsslib.training import TrainingConfig, fit
from fsslib.episodes.transforms import image_to_input

ROOT = Path(__file__).parents[2]


class Counted:
    """An encoder that counts images; after ``limit`` of them it stops as if the power went."""

    def __init__(self, encode, limit=10 ** 9):
        self.encode, self.images, self.limit = encode, -1, limit     # the bank asks for the shape once

    def __call__(self, images):
        if self.images + len(images) > self.limit:
            raise KeyboardInterrupt
        self.images += len(images)
        return self.encode(images)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def encode(tiny_panet):
    return tiny_panet.eval().encode


def direct(dataset, encode, i):
    with torch.no_grad():
        return encode(image_to_input(dataset[i].image, 40, "pad")[None])[0]


def open_bank(toy, encode, **options):
    return FeatureBank(toy, encode, 40, "pad", **{**dict(key="k", batch=4), **options})


def test_entries_are_the_encoders_output(toy, encode, cache):
    with open_bank(toy, encode) as bank:
        bank.fill(range(10))
        for i in (0, 9, 15):                 # the last was not filled: it is computed when asked for
            torch.testing.assert_close(bank[i], direct(toy, encode, i), rtol=1e-5, atol=1e-6)
    with open_bank(toy, encode, dtype="float16") as half:
        torch.testing.assert_close(half[3], direct(toy, encode, 3).half().float(), rtol=2e-3, atol=1e-3)
        assert half[3].dtype == torch.float32


@pytest.mark.parametrize("protocol", ["pfenet", "panet"])
def test_scores_are_equal_with_and_without(toy, tiny_panet, protocol):
    episodes = EpisodeSampler(toy, (1, 2, 3, 4), 2, 0, protocol, ways=2).take(12)
    results = [evaluate(tiny_panet, episodes, (1, 2, 3, 4), protocol, 40, bank=bank, progress=False)
               for bank in (True, False)]
    assert results[0]["scores"] == results[1]["scores"] and results[0]["miou"] > 0


def test_a_damaged_entry_is_computed_again(toy, encode, cache):
    counted = Counted(encode)
    with open_bank(toy, counted) as bank:
        bank.fill(range(24))
        good = bank[5]
        assert counted.images == 24
        bank._view(0)[0][5, 0, 0, 0] += 1
        torch.testing.assert_close(bank[5], good, rtol=1e-5, atol=1e-6)
        assert counted.images == 25          # this one alone
        torch.testing.assert_close(bank[5], good, rtol=1e-5, atol=1e-6)
        assert counted.images == 25


def test_a_file_cut_short_is_started_anew(toy, encode, cache):
    with open_bank(toy, encode) as bank:
        bank.fill(range(24))
        good, path = bank[5], bank.folder / "features.bin"
    path.write_bytes(path.read_bytes()[:100])
    with open_bank(toy, encode) as bank:
        torch.testing.assert_close(bank[5], good, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(bank[23], direct(toy, encode, 23), rtol=1e-5, atol=1e-6)


def test_what_an_interrupted_fill_finished_is_kept(toy, encode, cache):
    with open_bank(toy, Counted(encode, limit=9)) as bank, pytest.raises(KeyboardInterrupt):
        bank.fill(range(24))
    counted = Counted(encode)
    with open_bank(toy, counted) as bank:
        bank.fill(range(24))
        assert counted.images == 24 - 8      # two blocks of four were done
        torch.testing.assert_close(bank[2], direct(toy, encode, 2), rtol=1e-5, atol=1e-6)


def test_the_place_depends_on_data_key_and_geometry(toy, encode, cache, tmp_path):
    one, other = build_model("panet", "tiny", None), build_model("panet", "tiny", None)
    assert weights_digest(one) != weights_digest(other)
    other.load_state_dict(one.state_dict())
    assert weights_digest(one) == weights_digest(other)
    changed = Toy(draw_toy(tmp_path / "other", seed=1))
    options = [dict(), dict(key=weights_digest(one)), dict(dtype="float16")]
    banks = [open_bank(toy, encode, **o) for o in options] + [
        open_bank(changed, encode), FeatureBank(toy, encode, 41, "pad", "k"),
        FeatureBank(toy, encode, 40, "square", "k")]
    assert len({bank.folder for bank in banks}) == 6
    assert open_bank(toy, encode).folder == banks[0].folder


def test_without_a_key_nothing_stays(toy, encode, cache):
    bank = open_bank(toy, encode, key=None)
    bank.fill([0], views=(0, 1))
    assert bank[0].any() and bank.view(0, 1).any() and not any((cache / "bank").iterdir())       # unlinked while in use
    bank.close()
    bank.close()


def test_a_small_disk_is_told_before_the_work(toy, encode, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), dict(free=10))())
    counted = Counted(encode)
    bank = open_bank(toy, counted)
    before = counted.images                                             # the shape is read off one blank image
    with pytest.raises(InputError, match="GB free"):
        bank.fill(range(len(toy)))
    assert counted.images == before


def test_features_in_batches(toy, tiny_panet, encode, cache):
    episodes = EpisodeSampler(toy, (1, 2, 3), 2, 0, ways=2).take(3)
    with ModelBank(tiny_panet.eval(), toy, 40, "pad") as bank:
        plain, banked = EpisodeTensors(episodes, 40, "pad")[1], EpisodeTensors(episodes, 40, "pad", bank=bank)[1]
    assert banked.query_images is None and plain.query_features is None
    assert torch.equal(plain.support_masks, banked.support_masks) and torch.equal(plain.query_masks, banked.query_masks)
    torch.testing.assert_close(banked.support_features, encode(plain.support_images), rtol=1e-5, atol=1e-6)
    assert set(np.unique(plain.query_masks)) <= {0, 1, 2, 255}


def qgnet(seed=0):
    torch.manual_seed(seed)
    return build_model("qgnet", "tiny", None, width=6)


def test_features_do_not_depend_on_the_batch(toy, tiny_panet):
    """To the last bit, on a CPU; with gradients the batch is one call, for a batch norm that learns."""
    pfenet, calls = build_model("pfenet", "tiny", None, width=6), []
    pfenet.backbone.register_forward_pre_hook(lambda _, images: calls.append(len(images[0])))
    images, encoder = torch.rand(5, 3, 40, 40), pfenet.encoders[0]
    with torch.no_grad():
        together = encoder(images)
        assert torch.equal(together, torch.cat([encoder(image[None]) for image in images])) and set(calls) == {1}
        assert together.is_contiguous()                               # what follows rounds by the layout
    torch.testing.assert_close(encoder(images), together, rtol=1e-5, atol=1e-6)
    assert calls[-1] == 5


def test_masks_beside_a_bank_are_decoded_once_and_stay_as_they_are(toy, cache, monkeypatch):
    model, reads = build_model("pfenet", "tiny", None, width=6), []
    episodes = EpisodeSampler(toy, (1, 2), 2, 0, "pfenet").take(6)
    plain = EpisodeTensors(episodes, 40, "pad", views=4)
    with ModelBank(model, toy, 40, "pad") as bank:
        data = EpisodeTensors(episodes, 40, "pad", views=4, bank=bank)
        monkeypatch.setattr(Toy, "mask", lambda self, i, mask=Toy.mask: reads.append(i) or mask(self, i))
        for _ in range(2):
            reads.clear()
            for i in range(6):
                assert torch.equal(data[i].support_masks, plain[i].support_masks)
                assert torch.equal(data[i].query_masks, plain[i].query_masks)
    assert not reads                                                 # not one in the second round


def test_views_are_the_encoders_output_of_the_same_picture(toy, encode, cache):
    with open_bank(toy, encode) as bank:
        bank.fill([3], views=range(4))
        entries = [bank.view(3, view) for view in range(4)]
        for view, entry in enumerate(entries):
            image = view_of_image(toy[3].image, toy[3].mask, 40, "pad", view, 3)
            torch.testing.assert_close(entry, encode(image[None])[0].detach(), rtol=1e-5, atol=1e-6)
        assert not any(torch.allclose(entries[0], other) for other in entries[1:])
        assert bank.missing(range(5), range(2)) == [(v, i) for v in range(2) for i in (0, 1, 2, 4)]


@pytest.mark.parametrize("shots", [1, 3])
def test_two_networks_score_the_same_with_and_without(toy, cache, shots):
    episodes = EpisodeSampler(toy, (1, 2, 3, 4), shots, 0).take(12)
    on, off = (evaluate(qgnet(), episodes, (1, 2, 3, 4), "pfenet", 40, bank=bank, progress=False)
               for bank in (True, False))
    assert on["scores"] == off["scores"]


@pytest.mark.parametrize("views", [1, 2, 4])
def test_training_is_the_same_with_and_without(toy, cache, views):
    """The bank changes what is computed, never what is learned."""
    config = TrainingConfig(steps=3, batch=2, size=40, validate_every=3, validation=0.3, validation_episodes=8,
                            views=views, precision="32", **type(qgnet()).TRAINING)
    models, rows = [qgnet(), qgnet()], []
    with ModelBank(models[0], toy, 40, "pad") as bank:
        for model, given in zip(models, (bank, None)):
            rows.append(fit(model, toy, (1, 2, 3, 4), config, bank=given, progress=False))
    for one, other in zip(*rows):
        assert one["step"] == other["step"] and one.get("val_miou") == other.get("val_miou")
        assert one.get("loss", 0) == pytest.approx(other.get("loss", 0), rel=1e-4)
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(value, models[1].state_dict()[name], rtol=1e-3, atol=1e-5)


def test_models_of_one_network_share_its_features(toy, cache):
    with ModelBank(qgnet(), toy, 40, "pad") as bank:
        bank.fill(range(4), range(6))
        assert not bank.parts[0].missing(range(6)) and bank.parts[1].missing(range(6)) == [(0, 4), (0, 5)]
    torch.manual_seed(0)
    with ModelBank(build_model("pfenet", "tiny", None, width=3), toy, 40, "pad") as other:
        assert not other.parts[0].missing(range(6))


@pytest.mark.parametrize("change", [dict(frozen=False), dict(batch_norm="train")])
def test_a_backbone_that_learns_takes_no_bank(toy, cache, change):
    torch.manual_seed(0)
    model = build_model("pfenet", "tiny", None, width=6, **change)
    with ModelBank(model, toy, 40, "pad") as bank, pytest.raises(InputError, match="backbone that changes"):
        fit(model, toy, (1, 2, 3, 4), TrainingConfig(size=40, protocol="pfenet", validate_every=0), bank=bank, progress=False)


def test_new_views_every_time_take_no_bank(toy, cache):
    episodes = EpisodeSampler(toy, (1, 2), 1, 0).take(2)
    with ModelBank(qgnet(), toy, 40, "pad") as bank, pytest.raises(InputError, match="views"):
        EpisodeTensors(episodes, 40, "pad", views=0, bank=bank)


def test_room_is_taken_for_what_is_asked_before_the_work(toy, encode, cache):
    """What a view lacks has its blocks on the disk when the first image is computed, and nothing else has."""
    taken = []

    class Watching(Counted):
        def __call__(self, images):
            taken.append(bank.folder.joinpath("features.bin").stat().st_blocks * 512 if self.images >= 0 else 0)
            return super().__call__(images)
    watching = Watching(encode)
    bank = open_bank(toy, watching)
    entry = 4 * int(np.prod(bank.shape))
    with bank:
        bank.fill([2, 3, 4, 9])
    assert taken[0] == 0 and 4 * entry <= taken[1] < 24 * entry


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("key", ["k", None])
def test_a_disk_or_a_quota_that_says_no_is_one_sentence(toy, encode, cache, monkeypatch, number, key):
    def refuse(*_):
        raise OSError(number, os.strerror(number))
    counted = Counted(encode)
    with open_bank(toy, counted, key=key) as bank:
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
        with pytest.raises(InputError, match=rf"no room for the features \({os.strerror(number)}\).*Set FSSLIB_CACHE"):
            bank.fill(range(8))
        assert counted.images == 0


def test_a_small_disk_in_two_numbers_that_differ(toy, encode, cache, monkeypatch):
    with open_bank(toy, encode) as bank:
        needed = 24 * 4 * int(np.prod(bank.shape))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), dict(free=needed - 1))())
        with pytest.raises(InputError) as refused:
            bank.fill(range(24))
    free, wanted = re.search(r"found ([\d.]+) GB free, expected ([\d.]+) GB", str(refused.value)).groups()
    assert float(free) == (needed - 1) / 1e9 and float(wanted) == needed / 1e9


def test_room_that_a_killed_call_took_is_used(toy, encode, cache, monkeypatch):
    """It is not free any more, and not needed twice."""
    with open_bank(toy, Counted(encode, limit=9)) as bank, pytest.raises(KeyboardInterrupt):
        bank.fill(range(24))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), dict(free=0))())
    with open_bank(toy, encode) as bank:
        bank.fill(range(24))
        assert not bank.missing(range(24))


FULL = """
import sys; sys.path.insert(0, "tests")
from pathlib import Path
import torch
from conftest import Toy
from fsslib.models.bank import FeatureBank
try:
    bank = FeatureBank(Toy(Path(sys.argv[1])), lambda images: torch.ones(len(images), 4096, 40, 40), 40, "pad", "k")
    import shutil; shutil.disk_usage = lambda path: type("Usage", (), dict(free=1 << 40))()        # as beside a second call, or a quota
    bank.fill(range(24), progress=False)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0 if shutil.which("unshare") else True,
                    reason="needs the right to mount a small disk")
def test_on_a_disk_that_is_full(toy_folder, tmp_path):
    """16 MiB for 600 MiB: the process says so instead of dying of a signal."""
    script = 'mount -t tmpfs -o size=16m tmpfs "$1" && export FSSLIB_CACHE="$1" && exec "$2" -c "$3" "$4"'
    done = subprocess.run(["unshare", "-m", "bash", "-c", script, "bash", tmp_path, sys.executable, FULL, toy_folder], text=True,
                          capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if "permission denied" in done.stderr:
        pytest.skip("may not mount a small disk")
    assert done.returncode == 0 and "no room for the features (No space left on device)" in done.stdout, done.stderr
