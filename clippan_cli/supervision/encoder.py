"""CLIP, frozen: images and texts as vectors that can be compared."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.errors import ModelError, UsageError

Config = dict[str, Any]
"""The configuration of an architecture, or of a tag, as open_clip's JSON has it."""

UNTRAINED = "none"
"""The name of weights that nobody trained: for trials only."""

PRECISIONS = ("fp32", "bf16")

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_URL_CACHE = Path.home() / ".cache" / "clip"
_KEPT_ALIVE: list[torch.library.Library] = []


class Encoder(nn.Module):
    """Holds a frozen CLIP. Gradients flow through it to the image, never into it.

    Args:
        clip: The architecture's name in open_clip, such as ``ViT-B-32-quickgelu``, or a JSON file with a configuration.
        weights: The weights: ``"none"`` for untrained ones, a tag such as ``"openai"``, or a file.
        download: Whether the weights of a tag may be fetched.
        config: The configuration, if it is known already; then ``clip`` is only a name.
        precision: The precision: ``"fp32"``, or ``"bf16"``, which is half the work.

    Raises:
        UsageError: There is no such architecture, tag or precision.
        ModelError: The weights are not at hand, or not of this architecture.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        clip: str,
        weights: str = UNTRAINED,
        *,
        download: bool = False,
        config: Config | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise UsageError(f"unknown precision {precision!r}", "known: " + ", ".join(PRECISIONS))
        self.precision, self.weights = precision, weights
        self.name, self.config = _configuration(clip, config)
        path = None if weights == UNTRAINED else _weights_file(self.name, weights, download=download)
        self.clip = build(self.name, self.config)
        if path is not None:
            _load(self.clip, path)
        self.sha256 = digest(self.clip) if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
        self.tokenize = tokenizer(self.name, self.config)
        for name, value in zip(("mean", "deviation"), statistics(self.name, weights), strict=True):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(requires_grad=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoder:
        """Return itself: nothing in it ever changes, so copies share it."""
        return self

    def see_as(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Bring images to the statistics of those that the weights were trained on."""
        self.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
        self.deviation.copy_(torch.tensor(deviation).view(1, 3, 1, 1))

    @property
    def side(self) -> int:
        """The pixels along an image, as CLIP wants it."""
        size = self.clip.visual.image_size
        return int(size[0] if isinstance(size, (tuple, list)) else size)

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.texts([""]).shape[1])

    def images(self, x: Tensor) -> Tensor:
        """Encode images.

        Args:
            x: The images ``(B, 3, side, side)``, from 0 to 1.

        Returns:
            The vectors ``(B, D)`` of length 1.
        """
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            vectors = self.clip.encode_image((x - self.mean) / self.deviation)
        return F.normalize(vectors.float(), dim=-1)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """Encode texts as vectors ``(N, D)`` of length 1."""
        tokens = self.tokenize(texts).to(self.mean.device)
        return F.normalize(self.clip.encode_text(tokens).float(), dim=-1)


def _open_clip() -> Any:
    """Import open_clip, late: it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_torchvision()
        import open_clip
    return open_clip


def import_torchvision() -> None:
    """Import torchvision, though it may have been built for another torch.

    Then its compiled operators are missing and its import fails for want of two names. CLIP needs none of them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _KEPT_ALIVE.append(library)
        import torchvision  # noqa: F401


def _configuration(clip: str, config: Config | None) -> tuple[str, Config | None]:
    """Return the name, and the configuration if open_clip does not know it by that name."""
    if config is not None:
        return clip, config
    if not clip.endswith(".json"):
        known = _open_clip().list_models()
        if clip not in known:
            near = [name for name in known if name.lower().startswith(clip.lower()[:5])]
            raise UsageError(
                f"open_clip has no architecture {clip!r}",
                "for example " + ", ".join(near[:6] or ["ViT-B-32-quickgelu"]),
            )
        return clip, None
    try:
        found = json.loads(Path(clip).read_text("utf-8"))
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(found):
            raise ValueError("it lacks embed_dim, vision_cfg or text_cfg")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot use {clip}: {error}", "it takes a configuration as open_clip has them") from error
    return Path(clip).stem, found


def statistics(name: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the images that the weights were trained on; SigLIP's differ from CLIP's.

    Args:
        name: The architecture's name.
        weights: The tag, or anything else: then the images are those that the architecture is usually trained on.
    """
    library = _open_clip()
    tags = (weights, *library.list_pretrained_tags_by_model(name))
    known: Config = next((found for tag in tags if (found := library.get_pretrained_cfg(name, tag))), {})
    return known.get("mean", _MEAN), known.get("std", _DEVIATION)


def build(name: str, config: Config | None) -> Any:
    """Build the architecture; its untrained weights are always the same."""
    library = _open_clip()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            if config is not None:
                return library.CLIP(**config)
            return library.create_model(name, pretrained=None, pretrained_image=False, pretrained_text=False)
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"CLIP {name} cannot be built: {error}", "correct the configuration") from error


def tokenizer(name: str, config: Config | None) -> Any:
    """Return the tokenizer of an architecture: it turns texts into numbers."""
    library = _open_clip()
    if config is not None:
        return library.SimpleTokenizer(context_length=config["text_cfg"].get("context_length", 77))
    try:
        return library.get_tokenizer(name)
    except Exception as error:
        # Those of the hub raise what they like where there is none.
        raise ModelError(
            f"the tokenizer of CLIP {name} is not at hand: {str(error).splitlines()[0]}",
            "take an architecture with CLIP's own tokenizer, such as ViT-B-32-quickgelu",
        ) from error


def _weights_file(name: str, weights: str, *, download: bool) -> Path:
    """Find the file with the weights, at once or not at all."""
    if Path(weights).is_file():
        return Path(weights)
    library = _open_clip()
    tag = library.get_pretrained_cfg(name, weights)
    if not tag:
        tags = library.list_pretrained_tags_by_model(name)
        raise UsageError(
            f"CLIP weights {weights!r} are no file, and no tag of {name}",
            f"give `clip_weights=FILE`, or one of none{''.join(', ' + each for each in tags)}",
        )
    if bool(tag.get("quick_gelu")) != bool((library.get_model_config(name) or {}).get("quick_gelu")):
        raise UsageError(
            f"the weights {weights!r} were trained with another activation than {name} has",
            f"give `clip={name.removesuffix('-quickgelu')}{'-quickgelu' if tag.get('quick_gelu') else ''}`",
        )
    found = _cached(tag)
    if found is not None:
        return found
    if not download:
        raise ModelError(
            f"the weights {weights!r} of CLIP {name} are not on this machine: {_origin(tag)}",
            "leave out `clip`: one ships; or `download` fetches them; or copy the file here: `clip_weights=FILE`",
        )
    try:
        return Path(library.download_pretrained(tag))
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"cannot fetch the weights {weights!r} of CLIP {name}: {error}", f"fetch {_origin(tag)} by hand"
        ) from error


def _cached(tag: Config) -> Path | None:
    """Find what a former download left."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = str(tag.get("hf_hub", "")).rpartition("/")
    names = [file] if file else list(_HUB_FILES)
    places = [try_to_load_from_cache(repository, name) for name in names] if repository else []
    url = str(tag.get("url", ""))
    places += [str(_URL_CACHE / Path(url).name)] if url else []
    return next((Path(place) for place in places if isinstance(place, str) and Path(place).is_file()), None)


def _origin(tag: Config) -> str:
    return str(tag.get("url") or f"https://huggingface.co/{tag.get('hf_hub', '').rstrip('/')}")


def _load(clip: Any, path: Path) -> None:
    """Load weights of open_clip, in whatever form, or of OpenAI's own archives."""
    try:
        if _is_archive(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                state = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
            sizes = ("input_resolution", "context_length", "vocab_size")
            clip.load_state_dict({key: value.float() for key, value in state.items() if key not in sizes})
        else:
            _open_clip().load_checkpoint(clip, str(path), strict=True)
    except Exception as error:
        # What a damaged or foreign file makes the readers raise is anything.
        raise ModelError(
            f"{path} does not hold weights of this CLIP: {str(error).splitlines()[0]}",
            "`clip` must name the architecture that the file was made for",
        ) from error


def _is_archive(path: Path) -> bool:
    """Tell whether it is TorchScript, which holds more than weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of all weights, in order."""
    sums = hashlib.sha256()
    for value in module.state_dict().values():
        sums.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sums.hexdigest()
