"""Run by the WebUI at start-up.

The WebUI brings all packages AnyMS needs, so this installs nothing and works offline.
"""

from importlib.util import find_spec

missing = [name for name in ("torch", "transformers", "safetensors", "numpy", "PIL") if find_spec(name) is None]
if missing:
    print(f"AnyMS: this WebUI lacks {', '.join(missing)}, which it should bring. Reinstall the WebUI's requirements.")
