"""The numbering of cross-attention layers: input, output, MIDDLE LAST, by name, in both namings, for any depth."""

from __future__ import annotations

import torch
from torch import nn

from lib_anyms.engine.layer_map import cross_attention_layers, linear_shape
from tests.support.four_bits import FourBits
from tests.support.tiny_unet import tiny_unet


def parts(layers) -> list[str]:
    return [layer.name.split(".transformer_blocks")[0] for layer in layers]


def test_sdxl_depths_give_the_numbers_of_sdxl() -> None:
    layers = cross_attention_layers(tiny_unet(depths=(0, 2, 10)))
    assert [layer.number for layer in layers] == list(range(1, 140, 2))
    by_part: dict[str, list[int]] = {}
    for layer, part in zip(layers, parts(layers)):
        by_part.setdefault(part, []).append(layer.number)
    assert {part: (numbers[0], numbers[-1]) for part, numbers in by_part.items()} == {
        "input_blocks.4.1": (1, 3),
        "input_blocks.5.1": (5, 7),
        "input_blocks.7.1": (9, 27),
        "input_blocks.8.1": (29, 47),
        "output_blocks.0.1": (49, 67),
        "output_blocks.1.1": (69, 87),
        "output_blocks.2.1": (89, 107),
        "output_blocks.3.1": (109, 111),
        "output_blocks.4.1": (113, 115),
        "output_blocks.5.1": (117, 119),
        "middle_block.1": (121, 139),
    }


def test_the_tenth_block_comes_after_the_second() -> None:
    layers = cross_attention_layers(tiny_unet(depths=(0, 1, 12)))
    depths = [
        int(layer.name.split("transformer_blocks.")[1].split(".")[0])
        for layer in layers
        if "input_blocks.7" in layer.name
    ]
    assert depths == list(range(12))


def test_other_depths_are_numbered_by_the_same_rule() -> None:
    assert len(cross_attention_layers(tiny_unet(depths=(1, 1, 1)))) == 16
    assert [layer.number for layer in cross_attention_layers(tiny_unet())] == list(range(1, 34, 2))


def test_a_network_without_such_layers_has_none() -> None:
    assert cross_attention_layers(nn.Sequential(nn.Linear(2, 2))) == ()


def test_widths_are_read_from_attributes_first() -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out_features, self.in_features = 8, 6
            self.weight = torch.zeros(24, 1)

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.zeros(5, 3)

    class Unknown(nn.Module):
        def __init__(self, weight: torch.Tensor | None) -> None:
            super().__init__()
            self.weight = weight

    assert linear_shape(Quantised()) == (8, 6)
    assert linear_shape(Bare()) == (5, 3)
    assert linear_shape(Unknown(torch.zeros(24))) == linear_shape(Unknown(None)) == linear_shape(nn.Module()) == (0, 0)


def test_a_layer_in_four_bits_has_the_shape_in_its_state() -> None:
    layer = FourBits(nn.Linear(6, 8))
    assert layer.weight.shape == (24, 1)
    assert linear_shape(layer) == (8, 6)
    layer = cross_attention_layers(tiny_unet())[0]
    assert (layer.width, layer.context_width, layer.heads) == (32, 24, 2)
