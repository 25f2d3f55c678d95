"""WhichNet: its maps against PANet, numpy and hand-made heads; which head an episode meets; what a checkpoint brings along."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fsslib.basics.errors import InputError
from fsslib.episodes.batches import EpisodeBatch
from fsslib.models import build_model
from fsslib.models.known import KnownHeads

SPACES = ("", ", learned")


def whichnet(seed=0, classes=(1, 2, 4, 5, 6), **options):
    torch.manual_seed(seed)
    model = build_model("whichnet", "tiny", None, **{"width": 6, **options}).eval()
    if classes and model.uses != "none":
        model.known.build(classes)
    return model


def episodes(asked=(9, 9), K=2, S=40):
    torch.manual_seed(1)
    masks = torch.zeros(len(asked), 1, K, S, S, dtype=torch.uint8)
    masks[..., 8:24, 10:30] = 1
    masks[..., -4:, :] = 255
    return EpisodeBatch(masks, torch.randint(0, 2, (len(asked), S, S)), torch.rand(len(asked), 1, K, 3, S, S),
                        torch.rand(len(asked), 3, S, S), class_ids=torch.tensor(asked)[:, None])


@torch.no_grad()
def maps_of(model, batch):
    return model(batch).maps


def test_cosines_are_panets():
    """Of layers 3 and 4 side by side, which a PANet on the same backbone compares."""
    model, batch = whichnet(), episodes()
    maps = maps_of(model, batch)
    panet = build_model("panet", "tiny", None, maps=("layer3", "layer4")).eval()
    panet.backbone.load_state_dict(model.backbone.state_dict())
    similarity = maps_of(panet, batch)["similarity"]                               # background, object
    torch.testing.assert_close(maps["object"][:, 0], similarity[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps["background"][:, 0], similarity[:, 0], rtol=1e-4, atol=1e-5)


def test_known_things_against_numpy():
    """Softmax of the head that knows all five classes, each spared by twice its share of the support's object."""
    model, batch = whichnet(), episodes()
    maps, head = maps_of(model, batch), model.known[-1]
    assert head.classes.tolist() == [1, 2, 4, 5, 6]
    with torch.no_grad():
        support, query = model.features(batch)
        answers = [F.softmax(head(x), 1).numpy() for x in (query, *support)]       # (B,6,h,w), two of (K,6,h,w)
    shape = answers[0].shape[2:]
    weights = F.interpolate(torch.eye(shape[0])[None], 40, mode="linear")[0].numpy()          # bilinear upsampling, one axis
    for b in range(2):
        mask = (batch.support_masks[b, 0] == 1).numpy()
        seen = []
        for k in range(2):
            large = np.einsum("ih,jw,chw->cij", weights.T, weights.T, answers[1 + b][k])      # (6,40,40)
            seen.append((large * mask[k]).sum((1, 2)) / mask[k].sum())
        spared = np.minimum(1, 2 * np.mean(seen, 0)[1:])
        others = (answers[0][b, 1:] * (1 - spared)[:, None, None]).sum(0)
        assert maps["others"][b, 0].numpy() == pytest.approx(others, abs=1e-4)
        assert maps["unknown"][b, 0].numpy() == pytest.approx(answers[0][b, 0], abs=1e-5)


def test_a_class_that_the_head_sees_in_the_support_is_not_other():
    """A head that finds class 2 everywhere: where the support shows it, too, nothing is left; where the object is free of it, all."""
    model, batch = whichnet(), episodes()

    class Everywhere(torch.nn.Module):
        def embed(self, x):
            return x[:, :3]

        def answer(self, z):
            share = torch.zeros(len(z), 6, *z.shape[2:])
            share[0, 2], share[1:, 1 if self.elsewhere else 2] = 50.0, 50.0        # the query, then its supports
            return share
    stand_in = Everywhere()
    stand_in.classes, stand_in.elsewhere = torch.tensor([1, 2, 4, 5, 6]), False
    model.known._modules[str(len(model.known) - 1)] = stand_in
    assert maps_of(model, batch)["others"].abs().max() < 1e-5
    stand_in.elsewhere = True
    assert (maps_of(model, batch)["others"] - 1).abs().max() < 1e-5


def test_an_episode_meets_the_head_that_has_left_out_its_class():
    heads = KnownHeads(8)
    heads.build([6, 1, 2, 4, 5])
    learned = [head.classes.tolist() for head in heads]
    assert learned == [[2, 4, 6], [1, 4, 5], [1, 2, 5, 6], [1, 2, 4, 5, 6]]
    for c in (1, 2, 4, 5, 6):
        (head,) = heads.of(torch.tensor([c]))
        assert c not in head.classes
    assert heads.of(torch.tensor([3, 9])) == [heads[-1], heads[-1]]                # never learned: all that is known is other
    few = KnownHeads(8)
    few.build([7, 3])
    assert [head.classes.tolist() for head in few] == [[7], [3], [3, 7]]
    assert few.of(torch.tensor([3, 7, 1])) == list(few)
    few.build([3])
    assert len(few) == 1 and few.of(torch.tensor([3])) == [few[0]]
    alone = KnownHeads(8, parts=False)
    alone.build([1, 2, 3, 4])
    assert len(alone) == 1


def test_learned_and_novel_classes_see_other_maps():
    model = whichnet()
    novel, learned = (maps_of(model, episodes(asked)) for asked in ((9, 9), (4, 9)))
    assert not torch.equal(novel["others"][0], learned["others"][0]) and torch.equal(novel["others"][1], learned["others"][1])
    control = whichnet(known="all")
    assert torch.equal(*(maps_of(control, episodes(asked))["others"] for asked in ((9, 9), (4, 9))))


@pytest.mark.parametrize("options, names", [
    ({}, 7), ({"guided": False}, 6), ({"blind": True}, 7), ({"cosines": False}, 5), ({"known": "none"}, 3), ({"known": "none", "cosines": False}, 1)])
def test_switches(options, names):
    model = whichnet(**options)
    assert len(maps_of(model, episodes())) == model.count_maps() == names


def test_blind_answers_do_not_depend_on_the_support():
    model, batch = whichnet(blind=True), episodes()
    torch.nn.init.normal_(model.fem.classify_all[-1].weight)
    other = episodes()
    other.support_masks = other.support_masks.flip(-1)
    other.support_images = torch.rand_like(other.support_images)
    with torch.no_grad():
        one, two = model(batch), model(other)
    torch.testing.assert_close(one.logits, two.logits)
    head = model.known[-1]
    known = 1 - F.softmax(head(model.features(batch)[1]), 1)[:, :1]
    torch.testing.assert_close(one.maps["others"], known)
    assert all(one.maps[f"{what}{space}"].abs().max() == 0 for what in ("object", "background") for space in SPACES)
    assert not torch.allclose(*(whichnet()(b).logits for b in (batch, other)))


def test_a_state_dict_brings_its_heads(tmp_path):
    model = whichnet()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    again = whichnet(seed=1, classes=())
    with pytest.raises(InputError, match="no heads of known things"):
        again(episodes())
    again.load_state_dict(torch.load(tmp_path / "w.pt"))
    for name, maps in maps_of(model, episodes()).items():
        assert torch.equal(maps_of(again, episodes())[name], maps), name
    other = whichnet(classes=(1, 2))
    other.load_state_dict(model.state_dict())
    assert [head.classes.tolist() for head in other.known] == [head.classes.tolist() for head in model.known]


def test_heads_stand_by_while_the_decoder_learns():
    model = whichnet().train()
    assert not any(module.training for head in model.known for module in head.modules())
    assert not any(p.requires_grad for p in model.known.parameters())
    losses = model(episodes((1, 5))).losses
    sum(losses.values()).backward()
    assert model.fem.mix[0][0].weight.grad.abs().sum() > 0


def test_presence_weighs_what_the_answer_rests_on():
    """Five numbers: margin and cosines where the answer is surest, by a softmax over places; above 0 the class is there. The first
    rule is for one and two shots, the second for more."""
    model, batch = whichnet(), episodes()
    torch.nn.init.normal_(model.fem.classify_all[-1].weight)
    with torch.no_grad():
        assert model(batch).presence is None                                       # no rule yet
        model.rule[0] = torch.tensor([0.5, 2.0, -1.0, 3.0, 0.25, -1.5])
        output = model(batch)
        assert model(episodes(K=3)).presence.tolist() == [0, 0]
    for b in range(2):
        margin = F.interpolate((output.logits[:, 1] - output.logits[:, 0])[:, None], (5, 5), mode="bilinear", align_corners=True)[b, 0]
        margin = margin.double().numpy()
        surest = np.exp(margin - margin.max())
        surest /= surest.sum()
        numbers = [(surest * margin).sum()] + [(surest * output.maps[name][b, 0].numpy()).sum()
                                               for name in ("object", "background", "object, learned", "background, learned")]
        assert float(output.presence[b]) == pytest.approx(np.dot(numbers, [0.5, 2, -1, 3, 0.25]) - 1.5, abs=1e-4)
    assert model.train()(episodes()).presence is None


@pytest.mark.parametrize("options, word", [({"known": "some"}, "known"), ({"frozen": False}, "does not change"),
                                           ({"batch_norm": "train"}, "does not change")])
def test_bad_options(options, word):
    with pytest.raises(InputError, match=word):
        whichnet(**options)
