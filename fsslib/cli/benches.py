"""``fsslib bench``: speed on this machine."""

import click

from . import cli
from .options import DATASET, ROOT, given, weights_of
from .paths import NAME_OR_PATH, PATH


@cli.group()
def bench():
    """Measure speed on this machine."""


@bench.command("episodes")
@DATASET
@ROOT
@click.option("--model", type=click.Choice(["pfenet", "qgnet"]), default="qgnet", help="What is timed.")
@click.option("--backbone", default="efficientnet_lite0", help="Of both networks.")
@click.option("--weights", type=NAME_OR_PATH, default="imagenet", help="imagenet, none, or a file.")
@click.option("--size", type=int, default=225, help="Input side in px.")
@click.option("--width", type=int, default=64, help="Channels of the decoder.")
@click.option("--episodes", type=int, default=1000, help="Test episodes with the bank.")
@click.option("--without", type=int, default=30, help="Test episodes without it.")
@click.option("--batch", type=int, default=8, help="Episodes a training step.")
@click.option("--steps", type=int, default=8, help="Training steps timed with the bank, after one to warm up.")
@click.option("--shots", type=int, multiple=True, default=(1, 5), help="K, may be repeated.")
@click.option("--out", type=PATH, help="JSON file of the numbers.")
@click.pass_context
def bench_episodes(context, dataset, root, model, backbone, weights, size, width, episodes, without, batch, steps, shots,
                   out):
    """Training steps/s and test episodes/s, 1- and 5-shot, bank on and off; shares of backbone, maps, decoder."""
    from ..basics.commands import typed
    from ..bench.episodes import measure, table
    from ..basics.storage import write_json
    result = measure(dataset, root, model, backbone, weights_of(weights), size, width, episodes, without, steps, batch, shots,
                     typed("bench episodes", given(context)))
    if out:
        write_json(out, result)
    click.echo(table(result))


@bench.command("training")
@click.option("--model", "models", type=click.Choice(["pfenet", "qgnet"]), multiple=True, default=("qgnet",),
              help="May be repeated.")
@click.option("--backbone", "backbones", multiple=True, default=("resnet50",), help="Of both networks, may be repeated.")
@click.option("--size", "sizes", type=int, multiple=True, default=(473,), help="Input side in px, may be repeated.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", default=("width=256", "masked_pass=true"),
              help="Of the model, as in fsslib train; by default the papers'.")
@click.option("--batch", type=click.IntRange(1), default=4, help="Episodes a step.")
@click.option("--shots", type=click.IntRange(1), default=1, help="K, support images of an episode.")
@click.option("--steps", type=click.IntRange(1), default=20, help="Steps timed, after a warm-up.")
@click.option("--out", type=PATH, help="JSON file of the numbers.")
@click.pass_context
def bench_training(context, models, backbones, sizes, options, batch, shots, steps, out):
    """Training steps/s, hours of the papers' schedule and memory, without a bank; on a GPU in 32 bit and bf16, with and
    without torch.compile."""
    from ..basics.config import parse_options
    from ..models import model_class
    from ..basics.storage import write_json
    from ..basics.commands import typed
    from ..bench.training import line, measure
    parsed = [parse_options(options, model_class(name).OPTIONS) for name in models]          # an option must fit them all
    for result in measure(models, backbones, sizes, parsed[0], batch, shots, steps,
                          typed("bench training", given(context))):
        click.echo(line(result["rows"][-1]))
        if out:                              # after every row: compiling takes minutes
            write_json(out, result)


@bench.command("contrast")
@DATASET
@ROOT
@click.option("--backbone", default="efficientnet_lite0", help="Of the extractor.")
@click.option("--loss", type=click.Choice(["global", "local", "both"]), default="both", help="What is trained.")
@click.option("--batch", type=int, default=32, help="Images a step.")
@click.option("--steps", type=int, default=4, help="Steps timed of each kind.")
def bench_contrast(dataset, root, backbone, loss, batch, steps):
    """Images/s of pretraining from a random start; the shares of loading, forward and backward."""
    from ..bench.contrast import contrast as run
    from ..contrast.pretraining import PretrainConfig, check_config
    check_config(config := PretrainConfig(loss=loss, batch=batch))
    click.echo(run(dataset, root, backbone, None, config, steps))
