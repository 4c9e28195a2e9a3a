from __future__ import annotations

import torch

device, dtype_unet = torch.device("cpu"), torch.float32
