from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lib_anyms.standalone.library import Box, Layout, Request, Subject, inject_subjects

pipeline = StableDiffusionXLPipeline.from_single_file("sdxl.safetensors").to("cuda")
layout = Layout((Subject("cat", Box(0.0, 0.3, 0.5, 1.0)), Subject("dog", Box(0.5, 0.3, 1.0, 1.0))))
request = Request(layout, ((Image.open("cat.png"),), (Image.open("dog.png"),)), scale=0.6)
with inject_subjects(pipeline, request, "ip-adapter-plus_sdxl_vit-h.safetensors", "image_encoder.safetensors") as step:
    pipeline("a cat and a dog on grass", callback_on_step_end=step).images[0].save("picture.png")
