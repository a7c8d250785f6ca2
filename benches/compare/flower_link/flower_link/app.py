"""Server and clients: the model goes to every client, comes back as it is, and is averaged."""

import json
import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server = ServerApp()
client = ClientApp()


class Timed(FedAvg):
    """Averaging that notes when each round begins."""

    def __init__(self, **options):
        super().__init__(**options)
        self.began = []

    def configure_train(self, *arguments, **named):
        self.began.append(time.time())
        return super().configure_train(*arguments, **named)


@server.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=config["clients"],
                     min_available_nodes=config["clients"])
    # One round more than is measured: a round ends where the next begins.
    model = ArrayRecord([np.zeros(config["values"], np.float32)])
    strategy.start(grid=grid, initial_arrays=model, num_rounds=config["rounds"] + 1)
    seconds = [after - before for before, after in zip(strategy.began, strategy.began[1:])]
    with open(config["result"], "w") as file:
        json.dump(seconds, file)


@client.train()
def train(message: Message, context: Context) -> Message:
    content = RecordDict({"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=content, reply_to=message)
