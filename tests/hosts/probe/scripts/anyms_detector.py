"""Test only: a detector for ADetailer. Its model file is JSON with boxes in pixels: [[x0, y0, x1, y1], ...].

ADetailer imports `ultralytics.YOLO` when it detects, so a module of that name with this class is enough.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch


class YOLO:
    def __init__(self, path) -> None:
        self.boxes = json.loads(Path(path).read_text(encoding="utf-8"))

    def __call__(self, image, conf=0.0, device=""):
        boxes = torch.tensor(self.boxes, dtype=torch.float32).reshape(-1, 4)
        seen = types.SimpleNamespace(xyxy=boxes, conf=torch.linspace(0.9, 0.8, len(boxes)))
        return [types.SimpleNamespace(boxes=seen, masks=None, plot=lambda: np.asarray(image)[..., ::-1].copy())]


if "ultralytics" not in sys.modules:
    sys.modules["ultralytics"] = types.ModuleType("ultralytics")
    sys.modules["ultralytics"].YOLO = YOLO
