"""Layers whose every row comes out the same, to the bit, however many rows run with it on a CPU.

PyTorch's own depend on the number of rows, or on which core gets which part of them:

- linear: MKL takes other kernels for few rows, and divides many among cores in its own ways;
- convolution: some batches go to oneDNN, others to a kernel of PyTorch's (`use_mkldnn` in its
  `Convolution.cpp`), and oneDNN takes other kernels for other memory formats;
- group norm: with channels last, all pixels of the batch are divided among cores;
- SiLU and GELU: a core computes the end of its part one number at a time, with another exponential
  than the rest.

Those here go one way always: products, convolutions and plain GELU to oneDNN, channels first, and
exponentials to a function that treats the end like the rest. What else diffusion models are made of
(attention, layer norms, sums and products) works row by row as it is.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from diffusers.models.activations import GEGLU, GELU
from torch import nn

#: What PyTorch's own compiler runs for models on a CPU. The last arguments are what may be fused to
#: the end of a product, here nothing.
_ONEDNN: Final = torch.ops.mkldnn
_ALONE: Final[tuple[Any, ...]] = ("none", [], "")


class _Packed(nn.Module):
    """A layer whose weights are kept as oneDNN reads them, which else reorders them every time."""

    weight: torch.Tensor

    def pack(self) -> None:
        packed = self._packed(self.weight.detach())
        del self.weight
        self.register_buffer("weight", packed)

    @abstractmethod
    def _packed(self, weight: torch.Tensor) -> torch.Tensor:
        """Weights in oneDNN's order."""


class InvariantLinear(_Packed, nn.Linear):
    def _packed(self, weight: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = _ONEDNN._reorder_linear_weight(weight, None)
        return packed

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        # One vector alone would go to another kernel.
        few = rows.reshape(1, -1).expand(2, -1) if rows.numel() == self.in_features else rows
        product: torch.Tensor = _ONEDNN._linear_pointwise.default(
            few, self.weight, self.bias, *_ALONE
        )
        return product if few is rows else product[0].reshape(*rows.shape[:-1], -1)


class InvariantConv2d(_Packed, nn.Conv2d):
    def _packed(self, weight: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = _ONEDNN._reorder_convolution_weight(weight, *self._geometry)
        return packed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        convolved: torch.Tensor = _ONEDNN._convolution_pointwise.default(
            images.contiguous(), self.weight, self.bias, *self._geometry, *_ALONE
        )
        return convolved

    @property
    def _geometry(self) -> tuple[Any, ...]:
        return self.padding, self.stride, self.dilation, self.groups


class InvariantGroupNorm(nn.GroupNorm):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.contiguous())


class InvariantSiLU(nn.SiLU):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _weighted(values, values)


class InvariantGELU(nn.GELU):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _gelu(values, self.approximate)


class InvariantProjectedGELU(GELU):
    def gelu(self, gate: torch.Tensor) -> torch.Tensor:
        return _gelu(gate, self.approximate)


class InvariantGEGLU(GEGLU):
    def gelu(self, gate: torch.Tensor) -> torch.Tensor:
        return _gelu(gate)


def _gelu(values: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """Hendrycks and Gimpel, 2016; its tanh form is the value weighted by a logistic function."""
    if approximate == "tanh":
        cubic = (values + 0.044715 * values**3).mul_(2 * math.sqrt(2 / math.pi))
        return _weighted(values, cubic)
    # oneDNN takes no slices.
    return nn.functional.gelu(values.contiguous())


def _weighted(values: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Values times the logistic function of logits."""
    inverse_weights = logits.neg().exp_().add_(1)
    return torch.div(values, inverse_weights, out=inverse_weights)


#: By the exact class: what derives from one of them has reasons of its own.
_INVARIANT: Final[Mapping[type[nn.Module], type[nn.Module]]] = MappingProxyType(
    {
        nn.Linear: InvariantLinear,
        nn.Conv2d: InvariantConv2d,
        nn.GroupNorm: InvariantGroupNorm,
        nn.SiLU: InvariantSiLU,
        nn.GELU: InvariantGELU,
        GELU: InvariantProjectedGELU,
        GEGLU: InvariantGEGLU,
    }
)


def make_batch_invariant(model: nn.Module) -> None:
    """Have a model in float32 on a CPU run each row as if it were alone.

    Its weights are packed for that, in place. Where PyTorch comes without oneDNN the model is left
    as it is.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        invariant = _INVARIANT.get(type(module))
        # oneDNN pads with zeros only; no model here wants anything else.
        if invariant is None or getattr(module, "padding_mode", "zeros") != "zeros":
            continue
        module.__class__ = invariant
        if isinstance(module, _Packed):
            module.pack()
