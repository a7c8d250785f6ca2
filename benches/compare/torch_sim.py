"""G1's rounds in plain PyTorch: two processes of one thread, each with half of the cohort and half of the test, weights in
memory that they share; prints the seconds of each round as JSON. What a practised hand writes without a framework.
"""

import json
import os
import sys
import time

began = float(os.environ["COMPARE_BEGAN"])

import common
import numpy as np
import torch
import torch.multiprocessing as processes
from torch.nn.utils import parameters_to_vector, vector_to_parameters

KIND, ROUNDS = sys.argv[1], int(sys.argv[2])
WORKERS = 2
EVALUATION_BATCH = 1000


def train(network, weights, x, y):
    """One epoch over a client's examples, the update by hand: it is faster than PyTorch's optimiser."""
    vector_to_parameters(weights.clone(), network.parameters())
    parameters = list(network.parameters())
    order = torch.randperm(len(x))
    for at in range(0, len(x), common.BATCH):
        batch = order[at : at + common.BATCH]
        loss = torch.nn.functional.cross_entropy(network(x[batch]), y[batch])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients):
                parameter.sub_(gradient, alpha=common.LEARNING_RATE)
    return parameters_to_vector(network.parameters()).detach()


@torch.inference_mode()
def evaluate(network, weights, x, y):
    vector_to_parameters(weights, network.parameters())
    total, correct = 0.0, 0
    for at in range(0, len(x), EVALUATION_BATCH):
        logits = network(x[at : at + EVALUATION_BATCH])
        total += torch.nn.functional.cross_entropy(logits, y[at : at + EVALUATION_BATCH], reduction="sum").item()
        correct += (logits.argmax(1) == y[at : at + EVALUATION_BATCH]).sum().item()
    return total, correct


def work(rank, weights, sums, pipe):
    torch.set_num_threads(1)
    network = common.model(KIND)
    x, y = common.mnist("train", common.is_convolutional(KIND))
    parts = torch.from_numpy(np.random.RandomState(1).permutation(len(x)).reshape(common.CLIENTS, -1))
    test = [part.chunk(WORKERS)[rank] for part in common.mnist("t10k", common.is_convolutional(KIND))]
    while (clients := pipe.recv()) is not None:
        sums[rank].zero_()
        for client in clients:
            part = parts[client]
            sums[rank] += train(network, weights, x[part], y[part])
        pipe.send(None)
        pipe.recv()
        pipe.send(evaluate(network, weights, *test))


def main():
    weights = parameters_to_vector(common.model(KIND).parameters()).detach().share_memory_()
    sums = torch.zeros(WORKERS, len(weights)).share_memory_()
    context = processes.get_context("spawn")
    ends = [context.Pipe() for _ in range(WORKERS)]
    workers = [context.Process(target=work, args=(rank, weights, sums, end[1])) for rank, end in enumerate(ends)]
    for worker in workers:
        worker.start()
    pipes = [end[0] for end in ends]
    at = []
    for _ in range(ROUNDS + 1):
        cohort = np.random.choice(common.CLIENTS, common.COHORT, replace=False)
        for pipe, clients in zip(pipes, np.array_split(cohort, WORKERS)):
            pipe.send(clients)
        for pipe in pipes:
            pipe.recv()
        torch.div(sums.sum(0), common.COHORT, out=weights)
        for pipe in pipes:
            pipe.send(None)
        _ = [pipe.recv() for pipe in pipes]
        at.append(time.time())
    for pipe, worker in zip(pipes, workers):
        pipe.send(None)
        worker.join()
    seconds = [after - before for before, after in zip(at, at[1:])]
    print("RESULT " + json.dumps({"seconds": seconds, "first": at[0] - began}))


if __name__ == "__main__":
    main()
