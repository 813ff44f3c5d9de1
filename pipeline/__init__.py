"""tensorflash: TensorFlow models as microcontroller firmware, proved on the device byte for byte."""

__version__ = "0.1.0"
