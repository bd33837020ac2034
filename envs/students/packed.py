"""Linear layers with weights in oneDNN's own layout, which makes a model that only answers faster on a CPU."""

from __future__ import annotations

from typing import Any

# The number of input rows that the layout is optimised for; any number works.
ROWS = 256


def pack_linear(model: Any) -> Any:
    """Pack the float32 linear layers of `model`; leave it unchanged on GPUs and if torch has no oneDNN.

    For each product of a plain layer, torch calls a GEMM that packs the weight again. Packing it once makes
    answering an eighth faster (docs/measurements.md). Packed layers cannot be trained or saved. torch has no
    public name for the two operators (its own compiler uses them), so a build without them stays unpacked.
    """
    import torch

    operators = torch.ops.mkldnn
    usable = torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")
    if not usable or not hasattr(operators, "_reorder_linear_weight") or model.device.type != "cpu":
        return model

    class PackedLinear(torch.nn.Module):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__()
            self.packed = operators._reorder_linear_weight(linear.weight.detach(), ROWS)
            self.bias = linear.bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = operators._linear_pointwise(x, self.packed, self.bias, "none", [], "")
            return y

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is torch.nn.Linear and child.weight.dtype == torch.float32:
                setattr(parent, name, PackedLinear(child))
    return model
