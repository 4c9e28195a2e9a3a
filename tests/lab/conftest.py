"""Model files for the TinyUNet, as the unit tests have them."""

from tests.unit.conftest import encodings, folder

__all__ = ["encodings", "folder"]
