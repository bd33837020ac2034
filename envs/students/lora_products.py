"""The products of a LoRA layer with fewer passes over memory, for GPUs.

PEFT computes y = x W', then (x A') B', then scales it, then adds it: on a GPU the last three, and their counterparts
in the backward pass, are bound by memory and take as long as the product with W. Here the matrix library adds
into the result of the product with W. Same sums, but for the order of rounding.
"""

from __future__ import annotations

from typing import Any


def fuse(model: Any) -> int:
    """Have a PEFT model's plain LoRA layers compute that way; how many it changed.

    Layers with dropout, biases of their own, variants (DoRA and the like) or several adapters stay as they are.
    """
    from peft.tuners.lora import Linear

    layers = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    product = _product()

    def replace(layer: Any) -> None:
        (name,) = layer.active_adapters
        base, a, b = layer.base_layer, layer.lora_A[name], layer.lora_B[name]
        scale = layer.scaling[name]

        def forward(x: Any) -> Any:
            return product.apply(x, base.weight, base.bias, a.weight, b.weight, scale)

        layer.forward = forward

    for layer in layers:
        replace(layer)
    return len(layers)


def _is_plain(layer: Any) -> bool:
    import torch

    if len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return False
    name = layer.active_adapters[0]
    return (
        type(layer.base_layer) is torch.nn.Linear
        and not layer.base_layer.weight.requires_grad
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and name not in layer.lora_variant
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
        and layer.lora_A[name].weight.dtype == layer.base_layer.weight.dtype
    )


def _product() -> Any:
    import torch

    class Product(torch.autograd.Function):
        """x [.., in], weight [out, in] and bias [out] frozen, a [rank, in], b [out, rank]."""

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
            rows = x.reshape(-1, x.shape[-1])
            low = rows @ a.t()
            y = torch.nn.functional.linear(rows, weight, bias).addmm_(low, b.t(), alpha=scale)
            ctx.save_for_backward(rows, low, weight, a, b)
            ctx.scale, ctx.shape = scale, x.shape
            return y.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            rows, low, weight, a, b = ctx.saved_tensors
            dy = gradients[0].reshape(-1, weight.shape[0])
            dlow = (dy @ b).mul_(ctx.scale)
            da = dlow.t() @ rows if ctx.needs_input_grad[3] else None
            db = dy.t() @ (low * ctx.scale) if ctx.needs_input_grad[4] else None
            dx = None
            if ctx.needs_input_grad[0]:
                dx = (dy @ weight).addmm_(dlow, a).view(ctx.shape)
            return dx, None, None, da, db, None

    return Product
