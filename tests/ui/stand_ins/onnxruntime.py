"""In onnxruntime's place beside the stand-in of rembg."""


class SessionOptions: ...
