"""Tiny random models of the real transformers classes, saved as their authors publish them."""

from __future__ import annotations

from pathlib import Path

import torch

_SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def _clip_tokenizer(folder: Path) -> None:
    from transformers import CLIPTokenizer

    from lib_anyms.standalone.pipeline import write_configs
    from lib_anyms.standalone.structure import SPRITES

    write_configs(folder / "configs", SPRITES)
    CLIPTokenizer.from_pretrained(str(folder / "configs" / "tokenizer")).save_pretrained(folder)


def save_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    _clip_tokenizer(folder)
    CLIPImageProcessor().save_pretrained(folder)
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=_SMALL, vision_config={**_SMALL, "patch_size": 32})).save_pretrained(folder)
    return folder


def save_dino(folder: Path) -> Path:
    """As wide as ViT-S, with one layer."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(folder)
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=384, intermediate_size=16, num_hidden_layers=1, num_attention_heads=6)
    ViTModel(config).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}).save_pretrained(folder)
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=384, mlp_ratio=1, num_hidden_layers=1, num_attention_heads=6, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    _clip_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), model_max_length=16)
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    text = {**_SMALL, "vocab_size": len(tokenizer)}
    config = Owlv2Config(
        text_config=text, vision_config={**_SMALL, "image_size": 64, "patch_size": 16}, projection_dim=16
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder.mkdir(parents=True)
    # The model looks for the numbers of BERT's own special tokens: 101, 102, 1012, 1029.
    vocabulary = [f"[unused{number}]" for number in range(1100)]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for number, word in (special | dict(enumerate(("a", "cat", "tea", "##pot", "teapot"), 1037))).items():
        vocabulary[number] = word
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    backbone = SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, image_size=64, out_indices=[2, 3, 4]
    )
    text = BertConfig(vocab_size=1100, **_SMALL)
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=64,
        num_queries=6,
        encoder_layers=1,
        decoder_layers=2,  # with one there is no second head to tie to the first
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        positional_embedding_temperature=20,
    )
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    return folder
