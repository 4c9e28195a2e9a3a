"""Planted faults of ip_adapter."""

from __future__ import annotations

from tests.faults.fault import Fault

TOKENS = "tests/unit/test_tokens.py"

FAULTS = (
    Fault(
        "the image is cropped to its middle before it is resized",
        "lib_anyms/ip_adapter/references.py",
        "LONGEST = 4 ",
        "LONGEST = 1 ",
        "tests/unit/test_references.py -k transformers_own",
    ),
    Fault(
        "a mask is inverted",
        "lib_anyms/ip_adapter/cutting.py",
        'return Image.composite(image.convert("RGB"), Image.new("RGB", image.size, BACKGROUND), opacity)',
        'return Image.composite(Image.new("RGB", image.size, BACKGROUND), image.convert("RGB"), opacity)',
        "tests/unit/test_references.py -k mask",
    ),
    Fault(
        "rembg downloads a model",
        "lib_anyms/ip_adapter/cutting.py",
        '{"download_models": classmethod(lambda *_, **__: str(path))}',
        "{}",
        "tests/unit/test_references.py -k background",
    ),
    Fault(
        "rembg without its runtime ends the WebUI",
        "lib_anyms/ip_adapter/cutting.py",
        "    import onnxruntime  # noqa: F401",
        "    import math  # noqa: F401",
        "tests/unit/test_references.py -k runtime",
    ),
    Fault(
        "a newer rembg's models are not found",
        "lib_anyms/ip_adapter/cutting.py",
        'newer / "models" / name / f"{name}.onnx"',
        'newer / f"{name}.onnx"',
        "tests/unit/test_references.py -k each_version",
    ),
    Fault(
        "subjects' sets permuted",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "KeyValues(keys_values, spans, uncond)",
        "KeyValues(keys_values, spans[::-1], uncond)",
        TOKENS,
    ),
    Fault(
        "keys and values exchanged",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "key, value = keys_values[layer.number]",
        "value, key = keys_values[layer.number]",
        TOKENS,
    ),
    Fault(
        "uncond set of the first subject",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "KeyValues(keys_values, spans, uncond)",
        "KeyValues(keys_values, spans, uncond and spans[0])",
        TOKENS,
    ),
    Fault(
        "only the first picture of a subject",
        "lib_anyms/ip_adapter/tokens.py",
        "lambda tokens: tokens.mean(0)",
        "lambda tokens: tokens[0]",
        TOKENS,
    ),
    Fault(
        "base without its layer norm",
        "lib_anyms/ip_adapter/projection.py",
        'return F.layer_norm(tokens, (width,), weights["norm.weight"], weights["norm.bias"])',
        "return tokens",
        "tests/parity -k tokens",
    ),
    Fault(
        "resampler: the norms of features and latents exchanged",
        "lib_anyms/ip_adapter/projection.py",
        'features = _norm(weights, f"{name}.norm1", features)\n    latents = _norm(weights, f"{name}.norm2", latents)',
        'features = _norm(weights, f"{name}.norm2", features)\n    latents = _norm(weights, f"{name}.norm1", latents)',
        "tests/parity -k tokens",
    ),
    Fault(
        "resampler without its latents",
        "lib_anyms/ip_adapter/projection.py",
        "torch.cat((features, latents), dim=1)",
        "features",
        "tests/parity -k tokens",
    ),
    Fault(
        "the last hidden state instead of the penultimate",
        "lib_anyms/ip_adapter/encoder.py",
        "output.hidden_states[-2]",
        "output.hidden_states[-1]",
        "tests/parity -k encoder",
    ),
    Fault(
        "plus's unconditional input is zeros",
        "lib_anyms/ip_adapter/encoder.py",
        'if kind == "base":\n            return torch.zeros(1, self.checkpoint.projection_width',
        "if kind:\n            return torch.zeros(1, self.checkpoint.width_for(kind)",
        "tests/unit/test_encoder.py",
    ),
    Fault(
        "encoders: open_clip's key and value exchanged",
        "lib_anyms/ip_adapter/encoder_names.py",
        'third="qkv".index(letter)',
        'third="qvk".index(letter)',
        "tests/unit/test_finding.py -k every_naming",
    ),
    Fault(
        "encoders: open_clip's layer norms exchanged",
        "lib_anyms/ip_adapter/encoder_names.py",
        '"layer_norm1": "ln_1", "layer_norm2": "ln_2"',
        '"layer_norm1": "ln_2", "layer_norm2": "ln_1"',
        "tests/unit/test_finding.py -k every_naming",
    ),
    Fault(
        "encoders: open_clip's projection is not transposed",
        "lib_anyms/ip_adapter/encoder_names.py",
        "return tensor.T.contiguous() if self.transposed else tensor",
        "return tensor.reshape(tensor.shape[::-1]) if self.transposed else tensor",
        "tests/unit/test_finding.py -k every_naming",
    ),
)
