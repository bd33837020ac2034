"""Compute LoRA layers with fewer passes over memory, for GPUs.

PEFT computes y = x W', then (x A') B', scales the latter and adds it. On a GPU the last three steps, and their
counterparts in the backward pass, are bound by memory and slow (docs/measurements.md). Here, where the input is
narrower than the output, the adapter's second matrix stands beside the weight in one tensor, so that one product
gives the sum. Elsewhere the matrix library adds into the result. The sums differ only in the order of rounding.
"""

from __future__ import annotations

from typing import Any


def fuse(model: Any) -> int:
    """Change the plain LoRA layers of a PEFT model to compute this way; return how many were changed.

    Layers with dropout, biases of their own, variants (DoRA and the like) or several adapters stay as they are.
    """
    from peft.tuners.lora import Linear

    layers = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    product = _product()

    def replace(layer: Any) -> None:
        (name,) = layer.active_adapters
        base, a, b = layer.base_layer, layer.lora_A[name], layer.lora_B[name]
        scale, store = layer.scaling[name], _with_room(base, a.weight.shape[0])

        def forward(x: Any) -> Any:
            return product.apply(x, base.weight, base.bias, a.weight, b.weight, scale, store)

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


def _with_room(linear: Any, rank: int) -> Any:
    """Move the linear layer's weight into a larger tensor and return that tensor.

    Shape: [out, in + rank] if the output is wider than the input, else [out + rank, in].
    """
    out, size = linear.weight.shape
    wide = out > size
    store = linear.weight.new_empty((out, size + rank) if wide else (out + rank, size))
    weight = store[:, :size] if wide else store[:out]
    weight.copy_(linear.weight)
    linear.weight.data = weight
    return store


def _product() -> Any:
    import torch

    class Product(torch.autograd.Function):
        """x [.., in], frozen weight [out, in] and bias [out], a [rank, in], b [out, rank]; store: `_with_room`."""

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float, store: Any) -> Any:
            rows = x.reshape(-1, x.shape[-1])
            low = rows @ a.t()
            if store.shape[0] == weight.shape[0]:
                torch.mul(b, scale, out=store[:, weight.shape[1] :])
                y = torch.nn.functional.linear(torch.cat([rows, low], 1), store, bias)
            else:
                y = torch.nn.functional.linear(rows, weight, bias).addmm_(low, b.t(), alpha=scale)
            ctx.save_for_backward(rows, low, weight, a, b)
            ctx.scale, ctx.shape, ctx.store = scale, x.shape, store
            return y.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            rows, low, weight, a, b = ctx.saved_tensors
            scale, store = ctx.scale, ctx.store
            dy = gradients[0].reshape(-1, weight.shape[0])
            dlow = dy @ b
            # With beta 0 only the shape of the first argument is used.
            da = torch.addmm(a, dlow.t(), rows, beta=0, alpha=scale) if ctx.needs_input_grad[3] else None
            db = torch.addmm(b, dy.t(), low, beta=0, alpha=scale) if ctx.needs_input_grad[4] else None
            dx = None
            if ctx.needs_input_grad[0] and store.shape[0] == weight.shape[0]:
                dx = (dy @ weight).addmm_(dlow, a, alpha=scale)
            elif ctx.needs_input_grad[0]:
                torch.mul(a, scale, out=store[weight.shape[0] :])
                dx = torch.cat([dy, dlow], 1) @ store
            return None if dx is None else dx.view(ctx.shape), None, None, da, db, None, None

    return Product
