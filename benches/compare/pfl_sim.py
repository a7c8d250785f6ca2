"""G1's rounds in pfl-research: one process of two, started by compare.py; prints the seconds of each round as JSON."""

import json
import os
import sys
import time

began = float(os.environ["COMPARE_BEGAN"])

import common
import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.callback.central_evaluation import CentralEvaluationCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel

torch.set_num_threads(1)
EVALUATION_BATCH = 1000


class Network(torch.nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.layers = common.model(kind)

    def forward(self, x):
        return self.layers(x)

    def loss(self, x, y):
        return torch.nn.functional.cross_entropy(self(x), y)

    @torch.inference_mode()
    def metrics(self, x, y):
        logits = self(x)
        loss = torch.nn.functional.cross_entropy(logits, y, reduction="sum").item()
        correct = (logits.argmax(1) == y).sum().item()
        return {"loss": Weighted(loss, len(x)), "accuracy": Weighted(correct, len(x))}


class Stopwatch(TrainingProcessCallback):
    """A round ends here, after central evaluation: callbacks are called in order."""

    def __init__(self):
        self.at = []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        self.at.append(time.time())
        return False, Metrics()


def main():
    kind, rounds = sys.argv[1], int(sys.argv[2])
    x, y = common.mnist("train", common.is_convolutional(kind))
    parts = torch.from_numpy(np.random.RandomState(1).permutation(len(x)).reshape(common.CLIENTS, -1))
    users = {user: Dataset((x[parts[user]], y[parts[user]])) for user in range(common.CLIENTS)}
    sampler = get_user_sampler("random", list(users))
    data = FederatedDataset(users.__getitem__, sampler)
    network = Network(kind)
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    # pfl measures before the first round and counts from 0: one iteration more gives as many measured rounds.
    parameters = NNAlgorithmParams(
        central_num_iterations=rounds + 1, evaluation_frequency=10**9, train_cohort_size=common.COHORT, val_cohort_size=0
    )
    train = NNTrainHyperParams(
        local_batch_size=common.BATCH, local_num_epochs=1, local_learning_rate=common.LEARNING_RATE
    )
    measure = NNEvalHyperParams(local_batch_size=EVALUATION_BATCH)
    test = Dataset(common.mnist("t10k", common.is_convolutional(kind)))
    stopwatch = Stopwatch()
    FederatedAveraging().run(
        algorithm_params=parameters,
        backend=SimulatedBackend(training_data=data, val_data=data),
        model=model,
        model_train_params=train,
        model_eval_params=measure,
        callbacks=[CentralEvaluationCallback(test, measure), stopwatch],
    )
    if os.environ.get("PFL_WORKER_RANK", "0") == "0":
        at = stopwatch.at
        seconds = [after - before for before, after in zip(at, at[1:])]
        print("RESULT " + json.dumps({"seconds": seconds, "first": at[0] - began}))


main()
