"""A small CLIP taught from nothing what is wrong with a fusion, and the supervisor that looks through it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event

import torch
from torch import Tensor, nn

from clippan_cli.base.files import replace_file
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.errors import Interrupted, OutputError
from clippan_cli.modelstore.model import find_model
from clippan_cli.modelstore.records import SupervisorRecord
from clippan_cli.modelstore.store import pack
from clippan_cli.modelstore.supervisor import CLIP, RECORD, save_supervisor
from clippan_cli.supervision.encoder import Config, Encoder, build, tokenizer
from clippan_cli.supervision.projector import Differences
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.loop.distributed import check_alone
from clippan_cli.training.loop.steps import Loop, check_folder
from clippan_cli.training.loop.task import Run, Schedule, Trained
from clippan_cli.training.objectives.graded import Graded, grade
from clippan_cli.training.objectives.teaching import DEVIATION, MEAN, Pupil, Teaching
from clippan_cli.training.options import TeachOptions
from clippan_cli.training.pretrain import describe_sources, gather_groups
from clippan_cli.training.products.card import taught_card
from clippan_cli.training.products.recipe import make_recipe
from clippan_cli.training.products.supervisor import SupervisorFolder

CONFIG: Config = {
    "embed_dim": 128,
    "vision_cfg": {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
    "text_cfg": {"context_length": 64, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""The configuration of the CLIP, as open_clip has it: 2.0 million weights, most of them words."""


def teach(
    output: str | Path,
    options: TeachOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[SupervisorRecord]:
    """Teach a small CLIP with captions of what is wrong with fusions, whose errors are known.

    Args:
        output: The supervisor's folder; the CLIP lies in it.
        options: What the user says; None for the defaults.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The supervisor's folder and record.

    Raises:
        InputError: There is nothing to learn from.
        ModelError: A checkpoint does not fit, or the model whose images are among the fusions cannot be used.
        OutputError: The supervisor cannot be written.
        Interrupted: ``stop`` was set.
    """
    check_alone("clippan teach")
    options, folder, hears, stop = options or TeachOptions(), Path(output), listener or Deaf(), stop or Event()
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    device = choose_device(options.device)
    model = find_model(options.init)
    groups, sources = gather_groups(options, device, hears)
    key = {
        **identity(options),
        "init": model.id,
        "init_sha256": model.sha256,
        **describe_sources(sources),
    }
    places: list[Graded] = []
    net = model.load().to(device)
    hears.begin("making fusions", options.places)
    while len(places) < options.places:
        if stop.is_set():
            raise Interrupted("stopped while making fusions", "begin again")
        made = grade(groups, net, Draw.of(options.seed, len(places)))
        places += made
        hears.advance(len(made))
    torch.manual_seed(options.seed)
    pupil = Pupil(build("clip", CONFIG), tokenizer("clip", CONFIG), CONFIG["embed_dim"]).to(device)
    task = Teaching(places, CONFIG["vision_cfg"]["image_size"], options.seed, options.iterations)
    loop = Loop(
        folder=folder,
        net=pupil,
        task=task,
        product=_Product(recipe=make_recipe("clippan teach", folder, options, key), task=task),
        schedule=Schedule(options.iterations, options.batch, options.rate, options.every),
        key=key,
        hears=hears,
        stop=stop,
    )
    return loop.run(options.resume)


@dataclass(frozen=True, kw_only=True)
class _Product(SupervisorFolder):
    """Writes the CLIP, and a supervisor that looks through it and has learned nothing beside it.

    Args:
        task: The task that validates the CLIP.
    """

    task: Teaching

    def write(self, folder: Path, net: nn.Module, run: Run) -> Trained[SupervisorRecord]:
        """See :meth:`Product.write`."""
        assert isinstance(net, Pupil)
        with torch.no_grad():
            found = {name: round(value, 4) for name, value in self.task.validate(net).items()}
        state = net.clip.state_dict()
        try:
            # Half of the digits are more than enough, and half of the size.
            replace_file(folder / CLIP, pack({name: _halve(value) for name, value in state.items()}))
        except OSError as error:
            raise OutputError(f"cannot write {folder / CLIP}: {error.strerror}", "free some space") from error
        encoder = Encoder(folder.resolve().name, str(folder / CLIP), config=CONFIG)
        encoder.see_as((MEAN,) * 3, (DEVIATION,) * 3)
        torch.manual_seed(0)
        training = replace(self.recipe, **asdict(run))
        made = Supervisor(encoder, Differences(), read_prompts())
        return Trained(str(folder), save_supervisor(folder, made, training, found, taught_card))


def _halve(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value
