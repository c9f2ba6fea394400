"""Networks: plain modules that have never heard of a diffusion process.

Each is called as `network(x, t, label=None)`: `x` of shape `(batch, ...)`, the noise level `t` in
[0, 1] of shape `(batch,)` or `()`, and integer labels of shape `(batch,)`, where -1 stands for "no
label". It returns a tensor like `x` with `out_channels` channels, zero until it is trained.
"""

from torch import nn

from sfumato.networks.mlp import MLP
from sfumato.networks.transformer import Transformer
from sfumato.networks.unet import UNet
from sfumato.registry import Registry

NETWORKS: Registry[nn.Module] = Registry(
    "network", {"UNet": UNet, "Transformer": Transformer, "MLP": MLP}
)


def parameters(module: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


__all__ = ["MLP", "NETWORKS", "Transformer", "UNet", "parameters"]
