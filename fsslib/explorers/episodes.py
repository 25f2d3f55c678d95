"""The explorer of notebook 01: episodes of any fold, class, ways and shots."""

import functools

from ..basics.errors import InputError
from ..datasets import open_dataset
from ..episodes.folds import novel_classes
from ..episodes.sampler import EpisodeSampler
from .pictures import episode_panels, strip
from .widgets import explore, menu, slider


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
