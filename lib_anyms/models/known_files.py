"""The model files AnyMS can download: the IP-Adapters for SDXL and their two image encoders.

Every value below comes from public sources. Of the files of h94/IP-Adapter:

- SHA-256, place in the repository and its branch:
  https://github.com/mcmonkeyprojects/SwarmUI/blob/7241cba2902b37150f40cc51961b950afc196e47/src/BuiltinExtensions/ComfyUIBackend/WorkflowGeneratorSteps.cs
- size in bytes: tensors and header of the file (tests/big/test_real_files.py); public lists give the same sizes beside
  the same digests. A file with another size or digest is refused;
- licence: the model card of h94/IP-Adapter says apache-2.0, checked in a copy of it:
  https://github.com/tomc98/Sprite-Sheet-Diffusion, ModelTraining/IP-Adapter/IP-Adapter/README.md; that repository also
  distributes the encoders, which are OpenCLIP's by LAION.

Of noobIPAMARK1_mark1 (r3gm/noob-ipa, at one revision): three public lists agree on SHA-256 and size; the licence is
as others state it.

A file without traceable values has an empty digest: AnyMS names it but never downloads it.
"""

from __future__ import annotations

from dataclasses import dataclass

HOME = "https://huggingface.co"  # a setting can replace it by a mirror
_REPOSITORY = "h94/IP-Adapter/resolve/main"
_NOOB_REPOSITORY = "r3gm/noob-ipa/resolve/534fdd8fb5a221d67937d5495febd2560a1d395e"
_LICENCE = "Apache-2.0, by the model card of h94/IP-Adapter"


@dataclass(frozen=True)
class KnownFile:
    """`folder` below the host's models folder, `size` in bytes, `sha256` in hexadecimal, `place` in `repository`.

    `encoder`: the encoder file an adapter needs. `gives`: the outputs of an encoder, as (kind of adapter, width).
    """

    name: str
    folder: str
    size: int
    sha256: str
    place: str
    licence: str = _LICENCE
    encoder: str = ""
    gives: tuple[tuple[str, int], ...] = ()
    repository: str = _REPOSITORY

    @property
    def offered(self) -> bool:
        """Whether size, digest and place are known, as a safe download needs."""
        return bool(self.size and len(self.sha256) == 64 and self.place)

    @property
    def words(self) -> str:
        """Name and size, for a sentence."""
        return f"{self.name} ({self.size / 1e9:.1f} GB)"

    def address(self, home: str = HOME) -> str:
        """The file's address on the site `home`."""
        return f"{home.rstrip('/')}/{self.repository}/{self.place}"


_VIT_H, _BIG_G = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors"

KNOWN = (
    KnownFile(
        "ip-adapter-plus_sdxl_vit-h.safetensors",
        "ipadapter",
        847_517_512,
        "3f5062b8400c94b7159665b21ba5c62acdcd7682262743d7f2aefedef00e6581",
        "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
        encoder=_VIT_H,
    ),
    KnownFile(
        "ip-adapter-plus-face_sdxl_vit-h.safetensors",
        "ipadapter",
        847_517_512,
        "677ad8860204f7d0bfba12d29e6c31ded9beefdf3e4bbd102518357d31a292c1",
        "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors",
        encoder=_VIT_H,
    ),
    KnownFile(
        "ip-adapter_sdxl_vit-h.safetensors",
        "ipadapter",
        698_391_064,
        "ebf05d918348aec7abb02a5e9ecef77e0aaea6914a5c4ea13f50d45eb1681831",
        "sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
        encoder=_VIT_H,
    ),
    KnownFile(
        "ip-adapter_sdxl.safetensors",
        "ipadapter",
        702_585_376,
        "ba1002529e783604c5f326d49f0122025392d1d20ac8d573b3eeb3e6dea4ebb6",
        "sdxl_models/ip-adapter_sdxl.safetensors",
        encoder=_BIG_G,
    ),
    KnownFile(
        "noobIPAMARK1_mark1.safetensors",
        "ipadapter",
        1_405_172_056,
        "5cdb6a00be1b12579745b5bed0c7b83f0869073d8a864fa8cd50a9356601919a",
        "model_G/noobIPAMARK1_mark1.safetensors",
        licence="fair-ai-public-1.0-sd, as others state it",
        encoder=_BIG_G,
        repository=_NOOB_REPOSITORY,
    ),
    KnownFile(
        _VIT_H,
        "clip_vision",
        2_528_373_448,
        "6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
        "models/image_encoder/model.safetensors",
        gives=(("base", 1024), ("plus", 1280)),
    ),
    KnownFile(
        _BIG_G,
        "clip_vision",
        3_689_912_664,
        "657723e09f46a7c3957df651601029f66b1748afb12b419816330f16ed45d64d",
        "sdxl_models/image_encoder/model.safetensors",
        gives=(("base", 1280), ("plus", 1664)),
    ),
)
FIRST_ADAPTER = KNOWN[0]


def known_file(name: str) -> KnownFile | None:
    """The known file of exactly this name."""
    return next((file for file in KNOWN if file.name == name), None)


def encoder_for(kind: str, width: int) -> KnownFile | None:
    """The encoder with the output `width` that an adapter of `kind` takes."""
    return next((file for file in KNOWN if (kind, width) in file.gives), None)
