"""Explorers for the notebooks: controls beside one picture, redrawn by a pure function of their values."""

import functools
import html
from dataclasses import replace

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F

from .annotations import annotator
from .bank import ModelBank
from .batches import EpisodeTensors
from .datasets import open_dataset
from .episodes import EpisodeList, EpisodeSampler
from .errors import InputError
from .figures import episode_panels, heat, overlay, strip
from .folds import novel_classes
from .transforms import image_to_input


def explore(render, **controls):
    """A box of ``controls`` (name -> widget) over an Image of ``render(**values) -> PNG bytes``.

    ipywidgets' own ``interact`` waits for a front end and can hang a batch run; an Image's value does not. An
    InputError is shown as its sentence, under the last picture.
    """
    picture = ipywidgets.Image(value=render(**{k: w.value for k, w in controls.items()}), format="png",
                               layout={"align_self": "flex-start", "max_width": "100%"})     # its own size, or less
    note = ipywidgets.HTML()                                 # wraps where a Label would be cut off

    def update(_):
        try:
            picture.value, note.value = render(**{k: w.value for k, w in controls.items()}), ""
        except InputError as error:
            note.value = html.escape(str(error))

    for control in controls.values():
        control.observe(update, "value")
    return Explorer([ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"}), picture, note])


class Explorer(ipywidgets.VBox):
    """A box that says what it is on pages without a kernel, where its text is all there is."""

    def __repr__(self):
        return "Sliders and a picture: open this notebook in JupyterLab and run it to move them."


def slider(low, high, value, name):
    """An integer slider that reports each step."""
    return ipywidgets.IntSlider(value, low, high, description=name, continuous_update=True)


def menu(options, name, value=None):
    """A drop-down menu; ``options``: values, or (label, value) pairs."""
    return ipywidgets.Dropdown(options=options, description=name, **({} if value is None else {"value": value}))


@functools.lru_cache(maxsize=4)
def _dataset(name, split):
    return open_dataset(name, split=split)


@functools.lru_cache(maxsize=32)
def _sampler(name, split, fold, class_id, shots, ways, seed):
    classes = novel_classes(name, fold)
    if class_id:
        classes = (class_id,)
    return EpisodeSampler(_dataset(name, split), classes, shots, seed, "panet", ways)


def render_episode(dataset, fold, class_name, ways, shots, seed, episode, split="val"):
    """PNG bytes of an episode; ``class_name`` ``"any"``, or a class of the fold (1-way only), else InputError."""
    images = _dataset(dataset, split)
    class_id = 0 if class_name == "any" else images.class_names.index(class_name) + 1
    if class_id and class_id not in novel_classes(dataset, fold):
        raise InputError("class", class_name, f"a class of fold {fold}: " + ", ".join(
            images.class_names[c - 1] for c in novel_classes(dataset, fold)), "Choose another class or fold.")
    if class_id and ways > 1:
        raise InputError("class", class_name, f"any, for {ways} ways", "Choose any, or 1 way.")
    panels = episode_panels(images, _sampler(dataset, split, fold, class_id, shots, ways, seed)[episode])
    return strip(panels, columns=6 // shots * shots)                 # a row holds whole ways


def episode_browser(datasets=("shapes",), split="val"):
    """Browse episodes: data set, fold, class, ways, shots, seed, number."""
    dataset = menu(datasets, "data set")
    names = ["any", *_dataset(datasets[0], split).class_names]
    controls = dict(dataset=dataset, fold=slider(0, 3, 0, "fold"), class_name=menu(names, "class"),
                    ways=slider(1, 5, 1, "ways"), shots=slider(1, 5, 1, "shots"), seed=slider(0, 20, 0, "seed"),
                    episode=slider(0, 50, 0, "episode"))
    box = explore(functools.partial(render_episode, split=split), **controls)
    dataset.observe(lambda change: setattr(controls["class_name"], "options",
                                           ["any", *_dataset(change["new"], split).class_names]), "value")
    return box


class PrototypeExplorer:
    """Similarity to the prototypes and the mask that follows, for a model and an episode list.

    Features of an image are computed when first seen and kept, so that a moved slider redraws at once.
    """

    def __init__(self, model, sampler, size):
        self.model, self.sampler, self.size = model.eval(), sampler, size
        self.bank = ModelBank(model, sampler.dataset, size, "square", keep=False)

    @torch.no_grad()
    def render(self, episode, shots, annotation, opacity):
        """PNG bytes: the supports with their annotation, the query's similarity maps, prediction and truth."""
        drawn, dataset = self.sampler[episode], self.sampler.dataset
        drawn = replace(drawn, support=tuple(way[:shots] for way in drawn.support))
        batch = EpisodeTensors(EpisodeList(dataset, [drawn]), self.size, "square", annotate=annotator(annotation),
                               bank=self.bank)[0]
        output = self.model(batch)
        panels = []
        for k, i in enumerate(drawn.support[0]):
            labels = batch.support_masks[0, 0, k].numpy()
            marks = np.where(labels == 1, 1, np.where((labels == 0) & (annotation != "mask"), 2, 0))
            panels.append((f"support {k + 1}, {annotation}", overlay(self._picture(i), marks, opacity / 100)))
        maps = F.interpolate(output.maps["similarity"], (self.size, self.size), mode="bilinear")[0].numpy()
        background, foreground = maps[0], maps[1]
        predicted = output.logits[0].argmax(0).numpy()
        truth = batch.query_masks[0].numpy()
        valid = truth != 255
        iou = ((predicted == 1) & (truth == 1)).sum() / max(1, (((predicted == 1) | (truth == 1)) & valid).sum())
        low, high = float(maps.min()), float(maps.max())
        query = self._picture(drawn.query)
        return strip([*panels, (f"similarity to {dataset.class_names[drawn.class_ids[0] - 1]}",
                                heat(foreground, low, high)),
                      ("similarity to background", heat(background, low, high)),
                      (f"prediction, IoU {100 * iou:.0f} %", overlay(query, predicted, opacity / 100)),
                      ("truth", overlay(query, np.where(valid, truth, 255), opacity / 100))], columns=9)

    def _picture(self, index):
        image = image_to_input(self.sampler.dataset[index].image, self.size, "square")
        return (255 * image).round().byte().permute(1, 2, 0).numpy()

    def box(self):
        """The widget: episode, shots, annotation, opacity."""
        return explore(self.render, episode=slider(0, 30, 0, "episode"),
                       shots=slider(1, self.sampler.shots, 1, "shots"),
                       annotation=menu(("mask", "scribble", "box"), "annotation"),
                       opacity=slider(0, 100, 55, "opacity"))

