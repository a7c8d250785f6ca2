"""The client of flower_sim.py. A module of its own: Ray sends what stands in the main script anew with every call, and the
workers would read the files each time."""

import common
import numpy as np
import torch
from flwr.client import NumPyClient

_held = {}


def examples(kind: str, partition: int):
    """A client's part; a worker process reads the files once."""
    if not _held:
        _held["data"] = common.mnist("train", common.is_convolutional(kind))
        _held["parts"] = np.random.RandomState(1).permutation(60_000).reshape(common.CLIENTS, -1)
    (x, y), part = _held["data"], torch.from_numpy(_held["parts"][partition])
    return x[part], y[part]


def weights(network):
    return [value.numpy() for value in network.state_dict().values()]


def set_weights(network, arrays):
    network.load_state_dict({name: torch.from_numpy(a) for name, a in zip(network.state_dict(), arrays)})


class Client(NumPyClient):
    def __init__(self, kind: str, partition: int):
        self.kind, self.partition = kind, partition

    def fit(self, parameters, config):
        torch.set_num_threads(1)
        network = common.model(self.kind)
        set_weights(network, parameters)
        x, y = examples(self.kind, self.partition)
        optimizer = torch.optim.SGD(network.parameters(), lr=common.LEARNING_RATE)
        loss = torch.nn.CrossEntropyLoss()
        order = torch.randperm(len(x))
        for at in range(0, len(x), common.BATCH):
            batch = order[at : at + common.BATCH]
            optimizer.zero_grad()
            loss(network(x[batch]), y[batch]).backward()
            optimizer.step()
        return weights(network), len(x), {}
