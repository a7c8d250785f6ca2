"""One training step and one evaluation by PyTorch on one thread; prints milliseconds as JSON.

The step is forward, loss, backward and descent over a batch that lies ready in memory: gathering, shuffling and metrics,
which Tributary's times include, are left out here. Of PyTorch's own optimiser and a hand-written update the faster counts.
"""

import json
import sys
import time

import common
import torch
from torch import nn

torch.set_num_threads(1)


def milliseconds(work, seconds: float, at_least: int = 5) -> list[float]:
    work()
    times, began = [], time.perf_counter()
    while len(times) < at_least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def step_times(kind: str, batch: int, seconds: float) -> list[float]:
    x, y = common.mnist("train", common.is_convolutional(kind))
    loss = nn.CrossEntropyLoss()
    best = None
    for by_hand in (False, True):
        torch.manual_seed(1)
        network = common.model(kind)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        parameters = list(network.parameters())
        position = 0

        def step():
            nonlocal position
            at, position = position, (position + batch) % (len(x) - batch)
            network.zero_grad(set_to_none=True)
            loss(network(x[at : at + batch]), y[at : at + batch]).backward()
            if by_hand:
                with torch.no_grad():
                    for parameter in parameters:
                        parameter.sub_(parameter.grad, alpha=0.01)
            else:
                optimizer.step()

        times = sorted(milliseconds(step, seconds / 2))
        if best is None or times[len(times) // 2] < best[len(best) // 2]:
            best = times
    return best


def evaluation_times(kind: str, seconds: float) -> list[float]:
    x, y = common.mnist("t10k", common.is_convolutional(kind))
    network, loss = common.model(kind), nn.CrossEntropyLoss(reduction="sum")
    best = None
    for batch in (100, 500, 1000, 10_000):
        if common.is_convolutional(kind) and batch > 1000:
            continue

        @torch.inference_mode()
        def evaluate():
            total, correct = 0.0, 0
            for at in range(0, len(x), batch):
                logits = network(x[at : at + batch])
                total += loss(logits, y[at : at + batch]).item()
                correct += (logits.argmax(1) == y[at : at + batch]).sum().item()

        times = sorted(milliseconds(evaluate, seconds / 4, 2))
        if best is None or times[len(times) // 2] < best[len(best) // 2]:
            best = times
    return best


def main():
    kind, batch, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    times = evaluation_times(kind, seconds) if batch == "evaluation" else step_times(kind, int(batch), seconds)
    print(json.dumps({"ms": times[len(times) // 2], "repetitions": len(times)}))


main()
