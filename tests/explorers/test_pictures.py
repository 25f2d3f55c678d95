"""Pictures and explorers: what is drawn, and that a control redraws it."""

import io

import numpy as np
import pytest
from PIL import Image

from fsslib.explorers import pictures
from fsslib.episodes.sampler import EpisodeSampler


def opened(png):
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def test_overlay_colours_the_ways_and_leaves_the_rest():
    image, labels = np.full((12, 12, 3), 100, np.uint8), np.zeros((12, 12), int)
    labels[2:8, 2:8], labels[9:, 9:] = 1, 255
    drawn = pictures.overlay(image, labels, opacity=0.5)
    assert (drawn[labels == 0] == 100).all()
    assert tuple(drawn[2, 2]) == pictures.WAYS[0]                                   # outline in full colour
    assert tuple(drawn[5, 5]) == tuple(round(100 + 0.5 * (c - 100)) for c in pictures.WAYS[0])
    assert (drawn[10, 10] > 100).all() and (image == 100).all()


def test_heat_spans_its_range():
    drawn = pictures.heat(np.array([[0.0, 1.0], [-3.0, 5.0]]), low=0, high=1)
    assert (drawn[1, 0] == drawn[0, 0]).all() and (drawn[1, 1] == drawn[0, 1]).all()      # clipped
    assert drawn[0, 1].sum() > drawn[0, 0].sum()
    assert (pictures.heat(np.zeros((2, 2))) == pictures.heat(np.zeros((2, 2)))[0, 0]).all()  # constant: no division by 0


def test_strip_breaks_rows_and_keeps_every_panel():
    red, blue = (np.full((20, 30, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255)))
    one, two = (opened(pictures.strip([("a", red), ("b", blue)], height=40, columns=c)) for c in (2, 1))
    assert one.shape[1] > two.shape[1] and one.shape[0] < two.shape[0]
    for page in (one, two):
        assert (page == (255, 0, 0)).all(-1).sum() == (page == (0, 0, 255)).all(-1).sum() == 40 * 60


def test_episode_panels(toy):
    episode = EpisodeSampler(toy, (1, 2, 3), 2, 0, ways=2)[0]
    panels = pictures.episode_panels(toy, episode)
    assert len(panels) == 2 * 2 + 2 and panels[0][0].startswith("support 1: ")
    assert (panels[-2][1] == toy[episode.query].image).all() and (panels[-1][1] != panels[-2][1]).any()


def test_save_only_where_figures_are_collected(tmp_path, monkeypatch):
    import matplotlib
    matplotlib.use("Agg")
    figure = pictures.show([("x", np.zeros((4, 4, 3), np.uint8))])
    monkeypatch.delenv("FSSLIB_FIGURES", raising=False)
    pictures.save(figure, "nowhere")
    monkeypatch.setenv("FSSLIB_FIGURES", str(tmp_path / "figures"))
    pictures.save(figure, "here")
    assert [p.name for p in tmp_path.rglob("*.png")] == ["here.png"]


def test_a_control_redraws(toy, tiny_panet):
    from fsslib.explorers import prototypes, widgets
    explorer = prototypes.PrototypeExplorer(tiny_panet, EpisodeSampler(toy, (1, 2), 2, 0, "panet"), 64)
    box = explorer.box()
    controls, picture = {w.description: w for w in box.children[0].children}, box.children[1]
    before = picture.value
    controls["episode"].value = 1
    assert picture.value != before and opened(picture.value).shape[2] == 3
    narrow = opened(picture.value).shape[1]
    controls["shots"].value = 2
    assert opened(picture.value).shape[1] > narrow                                 # one more support
    for name in ("scribble", "box"):
        before, controls["annotation"].value = picture.value, name
        assert picture.value != before


def test_an_impossible_choice_is_said_not_raised():
    from fsslib.explorers import prototypes, widgets
    from fsslib.basics.errors import InputError

    def render(at):
        if at > 1:
            raise InputError("at", at, "0 or 1", "Go back.")
        return pictures.strip([("", np.zeros((4, 4, 3), np.uint8))])

    box = widgets.explore(render, at=widgets.slider(0, 3, 0, "at"))
    controls, picture, note = box.children
    before = picture.value
    controls.children[0].value = 2
    assert picture.value == before and "Go back." in note.value
    controls.children[0].value = 1
    assert not note.value


@pytest.mark.parametrize("opacity", [0, 100])
def test_opacity_ends(opacity):
    image, labels = np.full((9, 9, 3), 50, np.uint8), np.ones((9, 9), int)
    middle = pictures.overlay(image, labels, opacity / 100)[4, 4]
    assert tuple(middle) == (pictures.WAYS[0] if opacity else (50, 50, 50))
