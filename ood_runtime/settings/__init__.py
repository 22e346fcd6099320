"""Settings: the model (what there is), the layers (where values come from) and how they are explained."""

from ood_runtime.settings.layers import Layer, Loaded, load
from ood_runtime.settings.model import Settings

__all__ = ["Layer", "Loaded", "Settings", "load"]
