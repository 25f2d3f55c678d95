"""The explorer of notebook 07: Sym-Net's prior under your hands, beside PFENet's."""

import functools

import numpy as np
import torch
import torch.nn.functional as F

from ..episodes.batches import EpisodeTensors
from ..metrics import auc
from ..models.bank import ModelBank
from ..models.symnet import WINDOWS, self_activation_maps
from ..regions.maps import guided_region_map
from .pictures import as_seen, heat, overlay, strip
from .widgets import explore, menu, slider

CHOICES = {"all three": WINDOWS, **{f"{h} x {w}": ((h, w),) for h, w in ((1, 1), *WINDOWS)}}
KEYS = ("layer 4", "centred")


class PriorExplorer:
    """Both priors of the one-way ``episodes`` (EpisodeList) on the features of ``model`` (a SymNet); ``size``: input px."""

    keys = KEYS

    def __init__(self, model, episodes, size):
        self.model, self.episodes, self.size = model.eval(), episodes, size
        self.tensors = EpisodeTensors(episodes, size, "pad", bank=ModelBank(model, episodes.dataset, size, "pad", dtype="float16"))
        self.seen = functools.lru_cache(64)(self._seen)

    @torch.no_grad()
    def _seen(self, episode):
        """(dict keys -> (query features, support features), support masks (1,K,S,S), truth int (S,S))."""
        batch = self.tensors[episode]
        support, query = self.model.features(batch)
        q, s = (self.model.encoders[0].named(x) for x in (query, support))
        centred = self.model.backbone.region_features
        keys = {"layer 4": (q["layer4"], s["layer4"]), "centred": (centred(q["layer3"], q["layer4"]), centred(s["layer3"], s["layer4"]))}
        return keys, batch.support_masks[:, 0], batch.query_masks[0].numpy()

    def maps(self, episode, windows, activation, keys):
        """``windows``: a name of CHOICES · ``activation``: bool · ``keys``: of KEYS -> dict name -> float32 (S,S) in 0..1."""
        features, masks, _ = self.seen(episode)
        found = {"PFENet's prior": guided_region_map(*features[keys], masks),
                 "SPM": self_activation_maps(*features[keys], masks, CHOICES[windows], activation).mean(1, keepdim=True)}
        return {name: F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=True)[0, 0].numpy() for name, x in found.items()}

    def ranking(self, name, windows="all three", activation=True, keys="layer 4"):
        """float (E,) of every episode: how often a place on the object lies above one off it in the map ``name`` (``metrics.auc``)."""
        found = [(self.maps(e, windows, activation, keys)[name], self.seen(e)[2]) for e in range(len(self.episodes))]
        return np.array([auc(values[truth == 1], values[truth == 0]) for values, truth in found])

    def panels(self, episode, windows="all three", activation=True, keys="layer 4"):
        """Panels for ``pictures``: support, query with its truth, and both maps with the truth's outline."""
        drawn, (_, masks, truth) = self.episodes[episode], self.seen(episode)
        name = self.episodes.dataset.class_names[drawn.class_ids[0] - 1]
        query = self.picture(drawn.query)
        return [(f"support: {name}", overlay(self.picture(drawn.support[0][0]), masks[0, 0].numpy())),
                ("query, truth", overlay(query, truth)),
                *((title, overlay(heat(x, 0, 1), np.where(truth == 1, 1, 0), 0)) for title, x in
                  self.maps(episode, windows, activation, keys).items())]

    def picture(self, index):
        """uint8 (S,S,3) of an image."""
        return as_seen(self.episodes.dataset.image(index), self.size, "pad")

    def render(self, episode, windows, activation, keys):
        """PNG bytes of the panels; ``activation``: "on" or "off"."""
        return strip(self.panels(episode, windows, activation == "on", keys), height=200, columns=4)

    def box(self):
        """The widget."""
        return explore(self.render, episode=slider(0, len(self.episodes) - 1, 0, "episode"), windows=menu(list(CHOICES), "windows"),
                       activation=menu(["on", "off"], "self-activation"), keys=menu(self.keys, "features"))
