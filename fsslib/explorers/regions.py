"""The explorer of notebook 05: an episode, its region maps, and what a threshold makes of them."""

import functools
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from ..basics.errors import InputError
from ..datasets import open_dataset
from ..episodes.batches import EpisodeTensors
from ..episodes.folds import FOLDS, novel_classes
from ..episodes.sampler import EpisodeList, EpisodeSampler
from ..metrics import recall_curve
from ..models.bank import ModelBank
from .pictures import as_seen, heat, overlay, strip
from .widgets import explore, menu, slider

RESIZE = "pad"
MOST_SHOTS = 5


class RegionExplorer:
    """Maps of episodes of ``datasets`` (names), seen by ``models``: dict name of a prior extractor -> QGNet.

    ``size``: input px. Features are computed when an image is first seen, or by ``prepare``, and kept; maps of the
    last episodes too, so that a moved threshold redraws at once.
    """

    def __init__(self, models, datasets, size, seed=0):
        self.models, self.names, self.size, self.seed = {k: m.eval() for k, m in models.items()}, datasets, size, seed
        self.dataset = functools.cache(lambda name: open_dataset(name, split="val"))
        self.bank = functools.cache(self._bank)
        self.episode = functools.lru_cache(256)(self._episode)
        self.picture = functools.lru_cache(256)(self._picture)
        self.maps = functools.lru_cache(256)(self._maps)

    def _bank(self, dataset, extractor):
        return ModelBank(self.models[extractor], self.dataset(dataset), self.size, RESIZE, dtype="float16")

    def _episode(self, dataset, fold, class_name, episode):
        images, novel = self.dataset(dataset), novel_classes(dataset, fold)
        names = {images.class_names[c - 1]: c for c in novel}
        if class_name != "any" and class_name not in names:
            raise InputError("class", class_name, f"a novel class of fold {fold}: {', '.join(names)}",
                             "Choose another class or fold.")
        classes = novel if class_name == "any" else (names[class_name],)
        return EpisodeSampler(images, classes, MOST_SHOTS, self.seed, "panet")[episode]

    @torch.no_grad()
    def _maps(self, dataset, fold, class_name, episode, shots, extractor):
        """(dict name -> float32 (S,S), truth int64 (S,S), support masks uint8 (K,S,S)) without a threshold."""
        drawn = self.episode(dataset, fold, class_name, episode)
        drawn = replace(drawn, support=(drawn.support[0][:shots],))
        batch = EpisodeTensors(EpisodeList(self.dataset(dataset), [drawn]), self.size, RESIZE,
                               bank=self.bank(dataset, extractor))[0]
        model = self.models[extractor]
        found = model.region_maps(*model.features(batch), batch.support_masks[:, 0])
        maps = {name: F.interpolate(found[name], (self.size, self.size), mode="bilinear", align_corners=True)[0, 0].numpy()
                for name in ("prior", "guided")}
        maps["both"] = (maps["prior"] + maps["guided"]) / 2
        return maps, batch.query_masks[0].numpy(), batch.support_masks[0, 0].numpy()

    def _picture(self, dataset, index):
        return as_seen(self.dataset(dataset).image(index), self.size, RESIZE)

    def prepare(self, episodes, progress=False, **state):
        """Computes the features of these episode numbers, for every extractor, so that they appear at once."""
        drawn = [self.episode(state["dataset"], state["fold"], state["class_name"], e) for e in episodes]
        for extractor in self.models:
            self.bank(state["dataset"], extractor).fill([e.query for e in drawn],
                                                        [j for e in drawn for j in e.support[0]], progress=progress)

    def render(self, dataset, fold, class_name, episode, shots, extractor, threshold, opacity):
        """PNG bytes: supports and query above the three maps, each with the region where it exceeds ``threshold`` / 100."""
        return strip(self.panels(dataset, fold, class_name, episode, shots, extractor, threshold, opacity),
                     height=128, columns=(shots + 1, 6))

    def panels(self, dataset, fold, class_name, episode, shots, extractor, threshold, opacity):
        maps, truth, support_masks = self.maps(dataset, fold, class_name, episode, shots, extractor)
        drawn, opacity = self.episode(dataset, fold, class_name, episode), opacity / 100
        name = self.dataset(dataset).class_names[drawn.class_ids[0] - 1]
        query = self.picture(dataset, drawn.query)
        panels = [(f"support: {name}" if k == 0 else f"support {k + 1}", overlay(self.picture(dataset, j), mask, opacity))
                  for k, (j, mask) in enumerate(zip(drawn.support[0], support_masks))]
        panels.append(("query, truth", overlay(query, truth, opacity)))
        for map_name, values in maps.items():
            score = _scores(values, truth, threshold)
            precision = "-" if np.isnan(score["precision"]) else f"{100 * score['precision']:.0f}"
            region = np.where(truth == 255, 0, values > threshold / 100)
            panels += [(f"{map_name} map", heat(values, 0, 1)),
                       (f"R {100 * score['recall']:.0f} P {precision} IoU {100 * score['iou']:.0f} %",
                        overlay(query, region, opacity))]
        return panels

    def iou(self, map_name, threshold, opacity=None, **state):
        """0..1, of the region of an episode's map that exceeds ``threshold`` / 100; ``state`` as in ``render``."""
        maps, truth, _ = self.maps(*(state[name] for name in ("dataset", "fold", "class_name", "episode", "shots", "extractor")))
        return _scores(maps[map_name], truth, threshold)["iou"]

    def box(self):
        """The widget; the list of classes follows data set and fold."""
        controls = dict(dataset=menu(self.names, "data set"), fold=slider(0, FOLDS - 1, 0, "fold"),
                        class_name=menu(self.classes(self.names[0], 0), "class"), episode=slider(0, 50, 0, "episode"),
                        shots=slider(1, MOST_SHOTS, 1, "shots"), extractor=menu(list(self.models), "extractor"),
                        threshold=slider(0, 100, 50, "threshold %"), opacity=slider(0, 100, 55, "opacity %"))

        def follow(_):
            controls["class_name"].options = self.classes(controls["dataset"].value, controls["fold"].value)
        for name in ("dataset", "fold"):
            controls[name].observe(follow, "value")          # before the picture is drawn for the old class
        return explore(self.render, **controls)

    def classes(self, dataset, fold):
        return ["any", *(self.dataset(dataset).class_names[c - 1] for c in novel_classes(dataset, fold))]


def _scores(values, truth, threshold):
    return {name: float(curve[0]) for name, curve in recall_curve(values, truth, [threshold / 100]).items()}
