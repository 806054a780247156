from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clippan_cli.errors import ClippanError, ModelError, UsageError
from clippan_cli.supervision.encoder import Encoder, statistics


def test_untrained_weights_repeat_and_are_frozen(tiny_clip: str) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = Encoder(tiny_clip), Encoder(tiny_clip)
    assert first.sha256 == second.sha256
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(weight.requires_grad for weight in first.parameters())
    assert (first.side, first.width) == (64, 32)


def test_vectors_have_length_one_and_gradients_reach_the_image(tiny_clip: str) -> None:
    encoder = Encoder(tiny_clip)
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    vectors = encoder.images(image)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
    vectors[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert float(image.grad.abs().max()) > 0
    assert torch.allclose(encoder.texts(["a", "b"]).norm(dim=1), torch.ones(2), atol=1e-5)


def test_images_are_normalised_as_clip_wants(tiny_clip: str) -> None:
    encoder = Encoder(tiny_clip)
    seen: list[torch.Tensor] = []
    encoder.clip.visual.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grey = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    encoder.images(grey + 0.26862954)
    assert float(seen[0][0, 0].mean()) == pytest.approx(1, abs=1e-5)
    assert float(seen[0][0, 1].mean()) == pytest.approx(0.26862954 / 0.26130258, abs=1e-5)


def test_each_kind_has_its_own_statistics() -> None:
    mean, deviation = statistics("ViT-B-32-quickgelu", "openai")
    assert (round(mean[0], 4), round(deviation[2], 4)) == (0.4815, 0.2758)
    assert statistics("ViT-B-16-SigLIP", "copied/by/hand.safetensors") == ((0.5,) * 3, (0.5,) * 3)
    assert statistics("own", "none") == (mean, deviation)


def test_bf16_is_near(tiny_clip: str) -> None:
    image = torch.rand(2, 3, 64, 64)
    exact, rough = (Encoder(tiny_clip, precision=how).images(image) for how in ("fp32", "bf16"))
    assert rough.dtype == torch.float32
    assert float((exact * rough).sum(1).min()) > 0.999
    with pytest.raises(UsageError, match="unknown precision"):
        Encoder(tiny_clip, precision="fp16")


@pytest.mark.parametrize("form", ["safetensors", "pt", "jit"])
def test_weights_from_a_file(tiny_clip: str, tmp_path: Path, form: str) -> None:
    made = Encoder(tiny_clip)
    for weight in made.clip.parameters():
        weight.data += 0.01
    path = tmp_path / f"clip.{form}"
    state = {name: value.contiguous() for name, value in made.clip.state_dict().items()}
    if form == "safetensors":
        save_file(state, path)
    elif form == "pt":
        torch.save({"state_dict": state}, path)
    else:
        _archive(state, path)
    again = Encoder(tiny_clip, str(path))
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(again.images(image), made.images(image), atol=1e-6)
    assert again.sha256 != Encoder(tiny_clip).sha256


def _archive(state: dict[str, torch.Tensor], path: Path) -> None:
    """As OpenAI publishes them: a TorchScript archive."""

    class Holder(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = Holder()
    for name, value in state.items():
        *parents, last = name.split(".")
        place: torch.nn.Module = root
        for part in parents:
            if not hasattr(place, part):
                place.add_module(part, Holder())
            place = getattr(place, part)
        place.register_buffer(last, value)
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(root), str(path))


def test_what_is_not_at_hand_is_said_at_once(tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="open_clip has no architecture 'ViT-B-33'"):
        Encoder("ViT-B-33")
    with pytest.raises(UsageError, match="are no file, and no tag of tiny"):
        Encoder(tiny_clip, "openai")
    with pytest.raises(ModelError, match="are not on this machine") as caught:
        Encoder("ViT-B-32-quickgelu", "openai")
    assert "`download`" in caught.value.hint
    assert "`clip_weights=FILE`" in caught.value.hint


def test_files_that_are_something_else(tiny_clip: str, tmp_path: Path) -> None:
    bad = tmp_path / "clip.safetensors"
    bad.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="does not hold weights of this CLIP"):
        Encoder(tiny_clip, str(bad))
    config = tmp_path / "config.json"
    for text in ("{", json.dumps({"embed_dim": 8}), json.dumps([1])):
        config.write_text(text)
        with pytest.raises(ClippanError):
            Encoder(str(config))
    document = json.loads(Path(tiny_clip).read_text())
    config.write_text(json.dumps({**document, "vision_cfg": {"depth": 3}}))
    with pytest.raises(ModelError, match="cannot be built"):
        Encoder(str(config))
