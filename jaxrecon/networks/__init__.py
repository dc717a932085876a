"""Networks: recipes (architectures), and Flax NNX modules as values."""

from .automap import AUTOMAP
from .base import ARCHITECTURES, Network, apply_to_image, architecture, build, count_parameters
from .convnet import ConvNet
from .dncnn import DnCNN
from .drunet import DRUNet
from .mlp import MLP
from .pretrained import card, pretrained
from .torch_weights import from_torch, read_safetensors
from .unet import UNet

__all__ = [
    "ARCHITECTURES", "AUTOMAP", "MLP", "ConvNet", "DRUNet", "DnCNN", "Network", "UNet", "apply_to_image",
    "architecture", "build", "card", "count_parameters", "from_torch", "pretrained", "read_safetensors",
]
