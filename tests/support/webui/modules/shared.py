from __future__ import annotations

from typing import Any

sd_model: Any = None
