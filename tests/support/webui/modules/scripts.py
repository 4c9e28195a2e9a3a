from __future__ import annotations

AlwaysVisible = object()


class Script:
    is_img2img = False

    def elem_id(self, item_id: str) -> str:
        return f"script_txt2img_anyms_{item_id}"


scripts_data: list[object] = []


class PostSampleArgs:
    def __init__(self, samples):
        self.samples = samples
