"""Segmenter: the same answers as an episode's, what a person may give, several classes, nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from fsslib.basics.errors import InputError
from fsslib.episodes.batches import EpisodeOutput, EpisodeTensors
from fsslib.episodes.sampler import Episode, EpisodeList
from fsslib.episodes.transforms import to_truth
from fsslib.models import build_model
from fsslib.predict import Segmenter, as_image, as_labels
from fsslib.predict.supports import widened

SIZE = 64


@pytest.fixture
def segmenter(tiny_panet):
    return Segmenter(tiny_panet, SIZE, "cpu")


def photos_of(toy, c, count=3):
    return [i for i in range(len(toy)) if (toy.mask(i) == c).any()][:count]


def learn(segmenter, toy, i, c, name=None):
    return segmenter.learn(toy.image(i), mask=np.where(toy.mask(i) == 255, 255, toy.mask(i) == c).astype(np.uint8), name=name or toy.class_names[c - 1])


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("name", ["panet", "pfenet"])
def test_it_answers_as_the_same_episode_does(toy, name, shots):
    torch.manual_seed(0)
    model = build_model(name, "tiny", None, **({} if name == "panet" else {"width": 8})).eval()
    *supports, query = photos_of(toy, 2, shots + 1)
    batch = EpisodeTensors(EpisodeList(toy, [Episode((2,), (tuple(supports),), query)]), SIZE, "pad")[0]
    with torch.no_grad():
        logits = to_truth(model(batch).logits[0], toy.mask(query).shape, "pad")
    segmenter = Segmenter(model, SIZE, "cpu")
    for i in supports:
        segmenter.learn(toy.image(i), mask=toy.mask(i) == 2, name="two")         # an episode calls 255 background in a support
    margin, _ = segmenter.margin("two", segmenter.features(toy.image(query)), toy.mask(query).shape)
    np.testing.assert_allclose(margin, (logits[1] - logits[0]).numpy(), atol=1e-4)


def test_each_pixel_goes_to_the_class_of_the_largest_margin(segmenter, toy):
    one, two = photos_of(toy, 1)[0], photos_of(toy, 2)[0]
    learn(learn(segmenter, toy, one, 1), toy, two, 2)
    query = photos_of(toy, 2)[2]
    result = segmenter.segment(toy.image(query))
    margins = [segmenter.margin(name, segmenter.features(toy.image(query)), result.mask.shape)[0] for name in segmenter.classes]
    expected = np.where(np.maximum(*margins) <= 0, 0, np.where(margins[1] > margins[0], 2, 1))
    np.testing.assert_array_equal(result.mask, expected)
    assert result.classes == (toy.class_names[0], toy.class_names[1])
    assert result.area[result.classes[1]] == pytest.approx((expected == 2).mean())
    assert all(result.present[name] == (result.area[name] > 0) for name in result.classes)


class Sure(torch.nn.Module):
    """A model that marks the left half, and says of the class's presence what it is told."""

    def __init__(self, presence, left=SIZE // 2):
        super().__init__()
        self.encoders, self.presence, self.left = build_model("panet", "tiny", None).encoders, presence, left
        self.architecture = {"model": "sure", "backbone": "tiny", "options": {}}

    def forward(self, batch):
        logits = torch.zeros(1, 2, SIZE, SIZE)
        logits[:, 1] = torch.where(torch.arange(SIZE) < self.left, 1.0, -1.0)
        return EpisodeOutput(logits, presence=None if self.presence is None else torch.tensor([self.presence]))


def taught(presence, left=SIZE // 2):
    labels = np.zeros((48, 48), np.uint8)
    labels[10:30, 10:30] = 1
    return Segmenter(Sure(presence, left), SIZE, "cpu").learn(np.zeros((48, 48, 3), np.uint8), mask=labels, name="cup")


def test_where_the_model_says_nothing_is_there_nothing_is_marked():
    here, absent = (taught(value).segment(np.zeros((40, 64, 3), np.uint8)) for value in (2.0, -1.0))
    assert here.scores["cup"] == pytest.approx(1 / (1 + np.exp(-2))) and here.area["cup"] == pytest.approx(0.5, abs=0.02)
    assert here.present["cup"] and not absent.present["cup"]
    assert not absent.mask.any() and absent.area["cup"] == 0 and absent.scores["cup"] < 0.5
    assert here.mask.shape == absent.mask.shape == (40, 64) and here.mask.dtype == np.uint8


def test_a_few_stray_pixels_are_no_find():
    result = taught(2.0, left=0).segment(np.zeros((64, 64, 3), np.uint8))
    assert not result.mask.any() and not result.present["cup"]


def test_stray_pixels_are_the_next_class_s():
    """One class is marked everywhere; another wins on nine pixels, which is no find: they are the first one's."""
    segmenter = taught(2.0, left=SIZE)
    segmenter.learn(np.zeros((48, 48, 3), np.uint8), box=(5, 5, 30, 30), name="spot")
    spot = np.full((64, 64), -5.0, np.float32)
    spot[10:13, 10:13] = 5
    plain = segmenter.margin
    segmenter.margin = lambda name, query, shape: (spot, 2.0) if name == "spot" else plain(name, query, shape)
    result = segmenter.segment(np.zeros((64, 64, 3), np.uint8))
    assert (result.mask == 1).all() and result.present == {"cup": True, "spot": False} and result.area["cup"] == 1


def test_a_failure_leaves_no_class_behind(segmenter):
    def fail(photo):
        raise MemoryError
    segmenter.features = fail
    with pytest.raises(MemoryError):
        segmenter.learn(np.zeros((40, 40, 3), np.uint8), box=(5, 5, 30, 30), name=1)
    assert segmenter.classes == ()
    del segmenter.features
    segmenter.learn(np.zeros((40, 40, 3), np.uint8), box=(5, 5, 30, 30), name=1)
    segmenter.forget(1)
    assert segmenter.classes == ()


@pytest.mark.parametrize("size", [-5, 0, 64.0])
def test_a_size_that_cannot_be_used(tiny_panet, size):
    with pytest.raises(InputError, match="whole number of pixels"):
        Segmenter(tiny_panet, size, "cpu")


def test_ways_to_give_a_photo_and_a_mask(segmenter, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    for given in (photo, tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(photo), photo / 255.0,
                  np.dstack([photo, np.full((20, 30), 9, np.uint8)])):
        np.testing.assert_array_equal(as_image(given), photo)
    np.testing.assert_array_equal(as_image(photo[..., 0]), np.repeat(photo[..., :1], 3, 2))
    truth = np.zeros((20, 30), bool)
    truth[5:9, 3:20] = True
    Image.fromarray((255 * truth).astype(np.uint8)).save(tmp_path / "white.png")
    Image.fromarray(truth).save(tmp_path / "bits.png")
    Image.fromarray(np.dstack([255 * truth] * 3).astype(np.uint8)).save(tmp_path / "rgb.png")
    for given in (truth, truth.astype(int), 255 * truth, tmp_path / "white.png", tmp_path / "bits.png", str(tmp_path / "rgb.png")):
        np.testing.assert_array_equal(as_labels(given, "mask", (20, 30)), truth)
    Image.fromarray((255 * truth).astype(np.uint8)).convert("RGB").quantize(2).save(tmp_path / "palette.png")       # numbers as they come
    np.testing.assert_array_equal(as_labels(tmp_path / "palette.png", "mask", (20, 30)), truth)
    Image.fromarray(np.dstack([np.full((20, 30), 255)] * 3 + [255 * truth]).astype(np.uint8)).save(tmp_path / "alpha.png")
    with pytest.raises(InputError, match="colours"):                           # its outline is in what a reader of colours drops
        as_labels(tmp_path / "alpha.png", "mask", (20, 30))
    with pytest.raises(InputError, match="lies on its side"):
        as_labels(truth, "mask", (30, 20))
    box = as_labels((2.6, -4, 7, 99), "box", (20, 30))
    assert box.sum() == 20 * 4 and box[:, 3:7].all()
    scribble = np.full((20, 30), 255)
    scribble[3, 4], scribble[15, 15] = 1, 0
    np.testing.assert_array_equal(as_labels(scribble, "scribble", (20, 30)), scribble)


def test_a_scribble_is_as_wide_as_a_place_of_the_feature_map(segmenter):
    labels = np.full((SIZE, SIZE), 255, np.uint8)
    labels[20, 10:40], labels[40, 10:40] = 1, 0
    segmenter.learn(np.zeros((SIZE, SIZE, 3), np.uint8), scribble=labels, name="line")
    (_, small), = segmenter.supports["line"]
    expected = np.full((SIZE, SIZE), 255)
    expected[16:25, 6:44], expected[36:45, 6:44] = 1, 0                        # four px each way: nine of stride 8
    np.testing.assert_array_equal(small, expected)
    crossed = widened(torch.tensor([[1, 255, 0, 255, 255]], dtype=torch.uint8), 2)
    assert crossed.tolist() == [[1, 1, 0, 0, 0]]                               # what was drawn stays; between them the thing


@pytest.mark.parametrize("given, told", [
    (dict(mask=np.ones((4, 4))), r"found \(4, 4\), expected \(40, 40\)"),
    (dict(mask=np.full((40, 40), 7)), "the values 7, .* Give the mask of one class"),
    (dict(mask=np.zeros((40, 40))), "no pixel of the thing"),
    (dict(scribble=np.full((40, 40), 255)), "no pixel of the thing"),
    (dict(box=(30, 2, 10, 20)), r"found \(30, 2, 10, 20\), expected left before right"),
    (dict(box=(50, 50, 60, 60)), "inside of 40 x 40 px"),
    (dict(box=(1, 2, 3)), "left, top, right, bottom"),
    (dict(box=("a", 2, 3, 4)), "left, top, right, bottom"),
    (dict(), "no annotation, expected one of mask, scribble and box"),
    (dict(box=(1, 1, 9, 9), mask=np.ones((40, 40))), "mask and box"),
])
def test_what_cannot_be_meant_is_refused(segmenter, given, told):
    with pytest.raises(InputError, match=told):
        segmenter.learn(np.zeros((40, 40, 3), np.uint8), **given)
    assert segmenter.classes == ()                                           # nothing half-learned stays


def test_refusals_of_photos_and_empty_segmenters(segmenter):
    with pytest.raises(InputError, match="nothing learned"):
        segmenter.segment(np.zeros((40, 40, 3), np.uint8))
    for image in (np.zeros((40, 40, 3)) + 3, np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), "nowhere.jpg"):
        with pytest.raises(InputError):
            as_image(image)
    thin = np.zeros((2000, 2000), np.uint8)
    thin[1001, 1001] = 1
    with pytest.raises(InputError, match="vanishes at 64 px"):
        segmenter.learn(np.zeros((2000, 2000, 3), np.uint8), mask=thin)


def test_the_package_hands_it_on():
    import fsslib
    assert fsslib.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        fsslib.Segmentor


def test_equal_digests_mean_equal_supports(tiny_panet, toy):
    one, other, same = (Segmenter(tiny_panet, SIZE, "cpu") for _ in range(3))
    a, b = photos_of(toy, 1, 2)
    assert learn(one, toy, a, 1).digest == learn(same, toy, a, 1).digest != learn(other, toy, b, 1).digest
    before = one.digest
    assert learn(one, toy, b, 1).digest != before and one.about["supports"] == {toy.class_names[0]: 2}


def test_a_checkpoint_is_loaded_and_others_are_refused(tmp_path, toy):
    from fsslib.training import TrainingConfig, fit
    torch.manual_seed(0)
    model = build_model("pfenet", "tiny", None, width=8)
    fit(model, toy, (1, 2), TrainingConfig(steps=1, batch=1, size=SIZE, validate_every=0), tmp_path)
    learned = Segmenter.load(tmp_path / "checkpoint.pt", SIZE, "cpu")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(learned.model.state_dict()[name], tensor)
    with pytest.raises(InputError, match="no such file"):
        Segmenter.load(tmp_path / "nothing.pt")
