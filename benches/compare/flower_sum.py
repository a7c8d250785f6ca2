"""Flower's aggregation: received bytes to mean; prints milliseconds as JSON.

Every update is one array of as many parameters as the CNN has, as it comes off the wire (a serialised NumPy array).
"""

import json
import sys
import time

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

PARAMETERS = 1_663_370


def main():
    count, repetitions = int(sys.argv[1]), int(sys.argv[2])
    random = np.random.RandomState(1)
    received = [Array(random.rand(PARAMETERS).astype(np.float32)) for _ in range(min(count, 10))]
    # Distinct buffers, as distinct clients send.
    arrays = [Array(a.dtype, a.shape, a.stype, bytes(bytearray(a.data))) for a in (received * count)[:count]]
    records = [
        RecordDict({"arrays": ArrayRecord({"weights": array}), "metrics": MetricRecord({"num-examples": 600})})
        for array in arrays
    ]
    times = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        aggregate_arrayrecords(records, "num-examples")
        times.append((time.perf_counter() - start) * 1e3)
    times = sorted(times[1:])
    print(json.dumps({"ms": times[len(times) // 2]}))


main()
