"""G1's rounds in Flower's simulation on two workers of one core each; prints the seconds of each round as JSON.

This is `start_simulation`, which Flower calls legacy: its newer `run_simulation` looks for answers at intervals, and a round
of this size takes about three seconds there.
"""

import json
import os
import sys
import time

began = float(os.environ["COMPARE_BEGAN"])

import common
import torch
from flower_client import Client, set_weights, weights
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import start_simulation

torch.set_num_threads(1)
KIND, ROUNDS = sys.argv[1], int(sys.argv[2])
EVALUATION_BATCH = 1000

def main():
    network = common.model(KIND)
    x, y = common.mnist("t10k", common.is_convolutional(KIND))
    torch.set_num_threads(2)
    at = []

    @torch.inference_mode()
    def evaluate(round_, arrays, config):
        set_weights(network, arrays)
        total, correct = 0.0, 0
        for start in range(0, len(x), EVALUATION_BATCH):
            end = start + EVALUATION_BATCH
            logits = network(x[start:end])
            total += torch.nn.functional.cross_entropy(logits, y[start:end], reduction="sum").item()
            correct += (logits.argmax(1) == y[start:end]).sum().item()
        at.append(time.time())
        return total / len(x), {"accuracy": correct / len(x)}

    strategy = FedAvg(
        fraction_fit=common.COHORT / common.CLIENTS, fraction_evaluate=0.0, min_available_clients=common.CLIENTS,
        evaluate_fn=evaluate, initial_parameters=ndarrays_to_parameters(weights(network)),
    )
    start_simulation(
        client_fn=lambda context: Client(KIND, int(context.node_config["partition-id"])).to_client(),
        num_clients=common.CLIENTS, config=ServerConfig(num_rounds=ROUNDS), strategy=strategy,
        client_resources={"num_cpus": 1, "num_gpus": 0.0}, ray_init_args={"num_cpus": 2, "include_dashboard": False},
    )
    # The first measure is of the initial model; what follows up to the next one is the first round.
    seconds = [after - before for before, after in zip(at[1:], at[2:])]
    print("RESULT " + json.dumps({"seconds": seconds, "first": at[1] - began}), flush=True)


main()
