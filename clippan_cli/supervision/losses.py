"""What the adapters learn (stage I), and what a supervisor asks of a fusion (stage II)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_STEP = 1e-3
"""The length of a step between features below which its direction means nothing."""

_TEMPERATURE = 0.07


def type_loss(images: Tensor, types: Tensor, texts: Tensor, temperature: float = _TEMPERATURE) -> Tensor:
    """Return InterMCL (eq. 2) as a classification of images by their texts.

    All images of a type share one text, so that the paper's softmax over the images' own texts would be constant, ln N.

    Args:
        images: The vectors of images, ``(M, D)`` of length 1.
        types: The index of each image's text, ``(M,)``.
        texts: The vectors of texts, ``(T, D)`` of length 1.
        temperature: The paper's τ_c.
    """
    return F.cross_entropy(images @ texts.T / temperature, types)


def scene_loss(
    images: Tensor, scenes: Tensor, temperature: float = _TEMPERATURE, alike: Tensor | None = None
) -> Tensor:
    """Return IntraMCL (eq. 3) with several positives: images of one place belong together, whatever their type.

    Args:
        images: The vectors of images, ``(M, D)`` of length 1.
        scenes: The index of the place that each shows, ``(M,)``.
        temperature: The paper's τ_i.
        alike: The mask ``(M, M)``, True where two images overlap though they are not of one place: neither positive
            nor negative.
    """
    alone = torch.eye(len(images), dtype=torch.bool, device=images.device)
    positive = (scenes[:, None] == scenes[None, :]) & ~alone
    aside = alone if alike is None else alone | (alike & ~positive)
    share = (images @ images.T / temperature).masked_fill(aside, -torch.inf).log_softmax(1)
    count = positive.sum(1)
    per_anchor = -torch.where(positive, share, 0).sum(1) / count.clamp(min=1)
    return per_anchor[count > 0].mean() if bool((count > 0).any()) else images.sum() * 0


def alignment_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return the fusion alignment (eq. 5): the mean absolute difference of vectors ``(N, D)`` of length 1."""
    return (predicted - wanted).abs().mean()


def directional_loss(fused: Tensor, sources: Tensor, directions: Tensor) -> Tensor:
    """Return L_d (eq. 6 to 8): the step from MS, and from PAN, to the fused image shall point where the texts point.

    A fused image that is (nearly) its source has no direction: it counts as fully wrong, without a gradient.

    Args:
        fused: The features of the fused image, ``(B, D)``; gradients flow into them.
        sources: The features of MS and of PAN, ``(S, B, D)``.
        directions: The steps from the text of each source to that of HRMS, ``(S, D)``.

    Returns:
        The mean of 1 - cosine over the sources, ``(B,)``; 0 to 2.
    """
    step = fused[None] - sources
    length = step.norm(dim=-1)
    along = (step * F.normalize(directions, dim=-1)[:, None]).sum(-1)
    moved = length >= LEAST_STEP
    return (1 - torch.where(moved, along / length.clamp(min=LEAST_STEP), 0)).mean(0)
