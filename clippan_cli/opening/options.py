"""What the user may say of a scene and of the machine."""

from __future__ import annotations

DEFAULT_MEMORY = 2 << 30
