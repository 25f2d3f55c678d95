"""The explorer of notebook 02: similarity to the prototypes, and the mask that follows."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from ..episodes.annotations import annotator
from ..episodes.batches import EpisodeTensors
from ..episodes.sampler import EpisodeList
from ..metrics import iou
from ..models.bank import ModelBank
from .pictures import as_seen, heat, overlay, strip
from .widgets import explore, menu, slider


class PrototypeExplorer:
    """Similarity to the prototypes and the mask that follows, for a model and an episode list.

    Features of an image are computed when first seen and kept, so that a moved slider redraws at once.
    """

    def __init__(self, model, sampler, size):
        self.model, self.sampler, self.size = model.eval(), sampler, size
        self.bank = ModelBank(model, sampler.dataset, size, "square", keep=False)

    @torch.no_grad()
    def _answered(self, episode, shots, annotation):
        """(episode, its batch, the model's output, predicted labels (S,S), IoU 0..1)."""
        drawn, dataset = self.sampler[episode], self.sampler.dataset
        drawn = replace(drawn, support=tuple(way[:shots] for way in drawn.support))
        batch = EpisodeTensors(EpisodeList(dataset, [drawn]), self.size, "square", annotate=annotator(annotation),
                               bank=self.bank)[0]
        output = self.model(batch)
        predicted = output.logits[0].argmax(0).numpy()
        return drawn, batch, output, predicted, iou(predicted, batch.query_masks[0].numpy())

    def iou(self, episode, shots=1, annotation="mask"):
        """0..1, of the answer to one episode."""
        return self._answered(episode, shots, annotation)[-1]

    def render(self, episode, shots, annotation, opacity):
        """PNG bytes: the supports with their annotation, the query's similarity maps, prediction and truth."""
        drawn, batch, output, predicted, score = self._answered(episode, shots, annotation)
        dataset, truth = self.sampler.dataset, batch.query_masks[0].numpy()
        panels = []
        for k, i in enumerate(drawn.support[0]):
            labels = batch.support_masks[0, 0, k].numpy()
            marks = np.where(labels == 1, 1, np.where((labels == 0) & (annotation != "mask"), 2, 0))
            panels.append((f"support {k + 1}, {annotation}", overlay(self._picture(i), marks, opacity / 100)))
        maps = F.interpolate(output.maps["similarity"], (self.size, self.size), mode="bilinear")[0].numpy()
        background, foreground = maps[0], maps[1]
        valid = truth != 255
        low, high = float(maps.min()), float(maps.max())
        query = self._picture(drawn.query)
        return strip([*panels, (f"similarity to {dataset.class_names[drawn.class_ids[0] - 1]}",
                                heat(foreground, low, high)),
                      ("similarity to background", heat(background, low, high)),
                      (f"prediction, IoU {100 * score:.0f} %", overlay(query, predicted, opacity / 100)),
                      ("truth", overlay(query, np.where(valid, truth, 255), opacity / 100))], columns=9)

    def _picture(self, index):
        return as_seen(self.sampler.dataset.image(index), self.size, "square")

    def box(self):
        """The widget: episode, shots, annotation, opacity."""
        return explore(self.render, episode=slider(0, 30, 0, "episode"),
                       shots=slider(1, self.sampler.shots, 1, "shots"),
                       annotation=menu(("mask", "scribble", "box"), "annotation"),
                       opacity=slider(0, 100, 55, "opacity"))
