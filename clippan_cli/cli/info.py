"""``clippan info``."""

from __future__ import annotations

from clippan_cli.cli.command import Call, command
from clippan_cli.cli.params import Inputs, MsFiles, PanFile, scene_files
from clippan_cli.opening.options import SceneOptions


@command
def info(call: Call, *, inputs: Inputs = None, ms: MsFiles = None, pan: PanFile = None, options: SceneOptions) -> None:
    """Examine how MS and PAN fit together, and say what sharpen would do with them."""
    ms_files, pan_file = scene_files(inputs, ms, pan)

    from clippan_cli.sharpening.options import SharpenOptions
    from clippan_cli.sharpening.sharpen import explain

    # What would be said on the way stands in the document.
    with call.console(-1) as console:
        found = explain(ms_files, pan_file, options=SharpenOptions(scene=options), listener=console)

    from clippan_cli.cli.tables import print_scene

    call.show(found, lambda: print_scene(found, call.spell))
