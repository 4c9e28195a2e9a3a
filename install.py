"""Run by the WebUI at start-up.

AnyMS needs nothing the WebUI does not bring, so this installs nothing and works offline.
"""

from importlib.util import find_spec

missing = [name for name in ("torch", "transformers", "safetensors", "numpy", "PIL") if find_spec(name) is None]
if missing:
    print(f"AnyMS: this WebUI lacks {', '.join(missing)} (it should bring them). Reinstall the WebUI's requirements.")
