"""Controls beside one picture, redrawn by a pure function of their values."""

import html

import ipywidgets

from ..basics.errors import InputError


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
