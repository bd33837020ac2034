"""Linear layers with their weight in oneDNN's own layout: on a CPU, faster for a model that only answers."""

from __future__ import annotations

from typing import Any

# The number of input rows the layout is chosen for; any number is computed right.
ROWS = 256


def pack_linear(model: Any) -> Any:
    """`model` with its float32 linear layers packed; unchanged on GPUs and where torch has no oneDNN.

    torch hands each product of a plain layer to a GEMM that packs the weight anew; packed once, answering is
    an eighth faster (docs/measurements.md). The layers can no longer be trained or saved. torch has no public
    name for the two operators (its own compiler uses them), so a build without them answers unpacked.
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
