"""The job that every side does: MNIST's files, the two published models, plain gradient descent."""

import gzip
import os
import pathlib

import numpy as np
import torch
from torch import nn

# McMahan et al. 2017: 100 clients of 600 examples each, ten a round, one epoch in batches of ten.
CLIENTS = 100
COHORT = 10
BATCH = 10
LEARNING_RATE = 0.1


def data_folder() -> pathlib.Path:
    return pathlib.Path(os.environ["COMPARE_MNIST"])


def idx(name: str) -> np.ndarray:
    with gzip.open(data_folder() / f"{name}.gz") as file:
        raw = file.read()
    dimensions = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def mnist(part: str, images: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels from 0 to 1 and labels; flat, or as images of one channel."""
    pixels = torch.from_numpy(idx(f"{part}-images-idx3-ubyte").astype(np.float32) / 255)
    labels = torch.from_numpy(idx(f"{part}-labels-idx1-ubyte").astype(np.int64))
    return (pixels[:, None] if images else pixels.flatten(1)), labels


def model(kind: str) -> nn.Module:
    if kind == "softmax":
        return nn.Sequential(nn.Linear(784, 10))
    if kind == "2nn":
        return nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10),
    )


def is_convolutional(kind: str) -> bool:
    return kind == "cnn"
