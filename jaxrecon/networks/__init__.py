"""Networks: recipes (architectures), and Flax NNX modules as values."""

from .base import ARCHITECTURES, Network, apply_to_image, architecture, build, count_parameters

from .convnet import ConvNet
from .drunet import DRUNet

__all__ = ["ARCHITECTURES", "ConvNet", "DRUNet", "Network", "apply_to_image", "architecture", "build", "count_parameters"]
