"""Runs each side alternately on the same machine and data, prints the table of ratios and writes it as Markdown.

Started by benches/compare.sh, which makes the environment. A side that cannot run is named in the table with its error.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import threading
import time
from importlib import metadata

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Failed(Exception):
    """A side that did not run to its end."""


class Tree:
    """A process and its descendants: their output, how long they took and the most memory they held together."""

    def __init__(self, commands, environments, timeout=1800, first=None):
        self.began = time.time()
        environment = os.environ | {"COMPARE_BEGAN": str(self.began), "PYTHONPATH": str(HERE)}
        self.processes = [
            subprocess.Popen(command, env=environment | more, cwd=HERE, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
            for command, more in zip(commands, environments)
        ]
        self.peak = 0
        self.first_at = None
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        # Every pipe has its reader, or a process that talks much would wait for it.
        outputs = [[] for _ in self.processes]
        readers = []
        for process, output in zip(self.processes, outputs):
            readers.append(threading.Thread(target=self._read, args=(process.stdout, output, first)))
            readers.append(threading.Thread(target=self._read, args=(process.stderr, [], None)))
        for reader in readers:
            reader.start()
        for process in self.processes:
            process.wait(timeout)
        for reader in readers:
            reader.join()
        watcher.join()
        self.output = "".join(outputs[0])
        if any(process.returncode for process in self.processes):
            raise Failed(f"`{' '.join(map(str, commands[0][:3]))} …` ended with {self.processes[0].returncode}")

    def _read(self, pipe, output, first):
        for line in pipe:
            if first and self.first_at is None and first in line:
                self.first_at = time.time() - self.began
            output.append(line)

    def _watch(self):
        while any(process.poll() is None for process in self.processes):
            self.peak = max(self.peak, sum(map(proportional_memory, descendants(self.processes))))
            time.sleep(0.1)


def descendants(processes):
    """The processes and all that they started, as the system has them now."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [process.pid for process in processes]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(parents.get(pid, []))
    return found


def proportional_memory(pid):
    """Bytes that a process holds, shared ones divided among those who share them."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024


def median(values):
    return sorted(values)[len(values) // 2]


class Bench:
    def __init__(self, arguments):
        self.data = arguments.data.resolve()
        self.tributary = ROOT / "target" / "release" / "tributary"
        self.quick = arguments.quick
        os.environ["COMPARE_MNIST"] = str(self.data)

    # ---- one measurement of one side ----

    def ours(self, *arguments):
        command = [self.tributary, *map(str, arguments), "--json"]
        return json.loads(Tree([command], [{}]).output)

    def set_data(self):
        return ["--set", f'data.source="idx:{self.data}"']

    def our_step(self, kind, batch):
        found = self.ours("bench", "train", HERE / f"{kind}.toml", *self.set_data(), "--set", f"train.batch={batch}",
                          # One test row: evaluation has a row of its own.
                          "--set", "data.test={every=60000}", "--seconds", 1)
        return found["step_ms"]["median"]

    def our_evaluation(self, kind):
        found = self.ours("bench", "train", HERE / f"{kind}.toml", *self.set_data(), "--seconds", 1)
        return found["evaluation"]["ms"]["median"]

    def torch(self, kind, what):
        seconds = 2
        tree = Tree([[sys.executable, "torch_step.py", kind, str(what), str(seconds)]], [{}])
        return json.loads(tree.output)["ms"]

    def our_simulation(self, kind, rounds):
        """Seconds a round with evaluation in the steady state, to the end of the first round, and MiB."""
        command = [self.tributary, "sim", HERE / f"{kind}.toml", "--no-out", "--json-lines", "--quiet", *self.set_data()]
        first = Tree([[*command, "--set", "run.rounds=1"]], [{}], first='"event":"round"')
        at_end = []
        for count in (1, rounds + 1):
            tree = Tree([[*command, "--set", f"run.rounds={count}"]], [{}])
            done = [json.loads(line) for line in tree.output.splitlines() if '"event":"done"' in line]
            at_end.append(done[0]["seconds"])
        return {"round": (at_end[1] - at_end[0]) / rounds, "first": first.first_at, "memory": tree.peak / 2**20}

    def python_simulation(self, script, kind, rounds, workers):
        commands = [[sys.executable, script, kind, str(rounds)]] * workers
        port = 20_000 + os.getpid() % 10_000
        addresses = ",".join(f"127.0.0.1:{port + rank}" for rank in range(workers))
        more = [{"PFL_WORKER_RANK": str(rank), "PFL_WORKER_ADDRESSES": addresses} for rank in range(workers)]
        tree = Tree(commands, more if workers > 1 else [{}])
        found = json.loads(next(line for line in tree.output.splitlines() if line.startswith("RESULT"))[7:])
        return {"round": median(found["seconds"]), "first": found["first"], "memory": tree.peak / 2**20}

    def pfl(self, kind, rounds):
        return self.python_simulation("pfl_sim.py", kind, rounds, 2)

    def torch_simulation(self, kind, rounds):
        return self.python_simulation("torch_sim.py", kind, rounds, 1)

    def flower(self, kind, rounds):
        return self.python_simulation("flower_sim.py", kind, rounds, 1)

    def our_sum(self, updates, threads):
        found = self.ours("bench", "fold", "--updates", updates, "--threads", threads, "--seconds", 1)
        return found["aggregation_ms"]["median"]

    def our_fold(self):
        """Milliseconds a GB for the fold of one update, and for a plain addition."""
        found = self.ours("bench", "fold", "--updates", 1, "--threads", 1, "--seconds", 1)
        return 1e3 / found["fold_gb_per_second"], 1e3 / found["addition_gb_per_second"]

    def flower_sum(self, updates):
        tree = Tree([[sys.executable, "flower_sum.py", str(updates), "9"]], [{}])
        return json.loads(tree.output)["ms"]

    def flower_link(self, rounds):
        """Milliseconds of a round over loopback. Whoever ends it early leaves nothing behind: see its SIGTERM."""
        tree = Tree([[sys.executable, "flower_loopback.py", "1663370", "2", str(rounds)]], [{}])
        found = json.loads(next(line for line in tree.output.splitlines() if line.startswith("RESULT"))[7:])
        return median(found) * 1e3

    def our_link(self, clients, rounds):
        found = self.ours("bench", "link", HERE / "cnn.toml", *self.set_data(), "--clients", clients, "--rounds", rounds)
        return found["round_ms"]["median"], found["bare_ms"]["median"]


class Table:
    """Rows of medians, their spread, and how many times faster or smaller ours is."""

    def __init__(self):
        self.lines = []

    def row(self, job, unit, ours, theirs, goal):
        """`ours` and every value of `theirs` are lists of measurements, or the text of a failure."""
        for name, values in theirs.items():
            if isinstance(ours, str) or isinstance(values, str):
                found = next(value for value in (ours, values) if isinstance(value, str))
                line = f"| {job} | {shown(ours, unit)} | {name}: could not be measured ({found}) | | {goal.get(name, '')} |"
            else:
                ratio = median(values) / median(ours)
                line = f"| {job} | {shown(ours, unit)} | {name}: {shown(values, unit)} | {ratio:.2f} × | {goal.get(name, '')} |"
            print(line, flush=True)
            self.lines.append(line)


def shown(values, unit):
    if isinstance(values, str):
        return "–"
    digits = lambda value: f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{digits(median(values))} {unit} ({digits(min(values))} to {digits(max(values))})"


def alternate(repetitions, sides):
    """Runs each side in turn, again and again; a side that fails once is left out from then on."""
    found = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, measure in sides.items():
            if isinstance(found[name], str):
                continue
            try:
                found[name].append(measure())
            except (Failed, KeyError, StopIteration, ValueError, OSError, subprocess.TimeoutExpired) as error:
                found[name] = str(error) or type(error).__name__
                print(f"{name}: {found[name]}", file=sys.stderr)
    return found


def pairs(repetitions, measure):
    """What measures ours and the other in turn by itself: the values of both."""
    found = alternate(repetitions, {"": measure})[""]
    return (found, found) if isinstance(found, str) else tuple(map(list, zip(*found)))


def split(values, key):
    return values if isinstance(values, str) else [value[key] for value in values]


def training(bench, table, repetitions):
    steps = [("2nn", 10, 2.1), ("2nn", 32, 1.5), ("2nn", 64, 1.35), ("softmax", 10, 8), ("cnn", 10, 1.25), ("cnn", 32, 1.05)]
    for kind, batch, goal in steps:
        sides = {"Tributary": lambda: bench.our_step(kind, batch), "PyTorch": lambda: bench.torch(kind, batch)}
        found = alternate(repetitions, sides)
        job = f"step, {kind}, B = {batch}, one thread"
        table.row(job, "ms", found.pop("Tributary"), found, {"PyTorch": f"≥ {goal} ×"})


def evaluation(bench, table, repetitions):
    for kind, goal in [("2nn", 1.1), ("cnn", 1.2)]:
        sides = {"Tributary": lambda: bench.our_evaluation(kind), "PyTorch": lambda: bench.torch(kind, "evaluation")}
        found = alternate(repetitions, sides)
        job = f"evaluation of 10,000 examples, {kind}, one thread"
        table.row(job, "ms", found.pop("Tributary"), found, {"PyTorch": f"≥ {goal} ×"})


def simulation(bench, table, repetitions):
    rounds = 10 if bench.quick else 30
    sides = {
        "Tributary": lambda: bench.our_simulation("2nn", rounds),
        "pfl-research": lambda: bench.pfl("2nn", rounds),
        "Flower": lambda: bench.flower("2nn", rounds),
        "plain PyTorch": lambda: bench.torch_simulation("2nn", rounds),
    }
    found = alternate(repetitions, sides)
    ours = found.pop("Tributary")
    jobs = [
        ("round", "2NN: a round with evaluation, both cores", "s", {"pfl-research": "≥ 2.5 ×, ≤ 0.08 s", "Flower": "≥ 4.5 ×"}),
        ("first", "2NN: start of the program to the end of the first round", "s", dict.fromkeys(found, "≤ 0.6 s")),
        ("memory", "2NN: peak memory of the simulation", "MiB", dict.fromkeys(found, "≤ 300 MiB")),
    ]
    for key, job, unit, goal in jobs:
        theirs = {name: split(values, key) for name, values in found.items()}
        table.row(job, unit, split(ours, key), theirs, goal)


def convolutional_simulation(bench, table, repetitions):
    sides = {
        "Tributary": lambda: bench.our_simulation("cnn", 2),
        "Flower": lambda: bench.flower("cnn", 2),
        "plain PyTorch": lambda: bench.torch_simulation("cnn", 2),
    }
    found = {name: split(values, "round") for name, values in alternate(repetitions, sides).items()}
    job = "CNN: a round with evaluation, both cores"
    table.row(job, "s", found.pop("Tributary"), found, {"Flower": "≥ 2.2 ×, ≤ 5 s"})


def aggregation(bench, table, repetitions):
    for updates in (10, 100):
        for threads, goal in ((1, "≥ 2 ×"), (2, "≥ 3.5 ×" if updates == 10 else "≥ 2 ×")):
            sides = {"Tributary": lambda: bench.our_sum(updates, threads), "Flower": lambda: bench.flower_sum(updates)}
            found = alternate(repetitions, sides)
            job = f"aggregation of {updates} updates of 1,663,370 parameters, {threads} thread{'s' * (threads > 1)}"
            table.row(job, "ms", found.pop("Tributary"), found, {"Flower": goal})
    fold, addition = pairs(repetitions, bench.our_fold)
    job = "fold of one update of 1,663,370 parameters, one thread, by bytes moved"
    table.row(job, "ms/GB", fold, {"plain addition of f32": addition}, {"plain addition of f32": "≥ 0.7 ×"})


def link(bench, table, repetitions):
    ours, bare = pairs(repetitions, lambda: bench.our_link(2, 60))
    theirs = alternate(repetitions, {"Flower": lambda: bench.flower_link(3)})
    job = "round over loopback, 2 clients × 6.7 MB, no training"
    table.row(job, "ms", ours, {"bare QUIC": bare} | theirs, {"bare QUIC": "≥ 0.67 × (wanted 0.83 ×)", "Flower": "≥ 50 ×"})
    ours, bare = pairs(repetitions, lambda: bench.our_link(50, 10))
    job = "round over loopback, 50 clients × 6.7 MB, no training"
    table.row(job, "ms", ours, {"bare QUIC": bare}, {"bare QUIC": "≥ 0.8 ×"})


def processor():
    names = re.findall(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def text(lines):
    head = "| job | Tributary | the other | ratio | goal |\n|---|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n"


def commit():
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return revision.stdout.strip() or "unknown"


def page(measured):
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "flwr", "pfl", "numpy"))
    parts = [name for name in PARTS if name in measured]
    lines = [line for name in parts for line in measured[name]["lines"]]
    commits = dict.fromkeys(measured[name]["commit"] for name in parts)
    of = {commit: ", ".join(name for name in parts if measured[name]["commit"] == commit) for commit in commits}
    commits = "; ".join(f"{commit} ({names})" for commit, names in of.items())
    return f"""# Performance

This page is written by `benches/compare.sh`; do not edit it by hand.
In every row the sides were measured in turn on the same machine and the same data; a value is the median of its repetitions, with the fastest and the slowest in brackets.
A ratio above 1 says that Tributary is faster, or smaller.

- machine: {processor()}
- Tributary, by commit: {commits}
- the others: {versions}, Python {platform.python_version()}

{text(lines)}
What is compared:

- A step of Tributary includes gathering the examples and counting metrics; PyTorch's does not. Of PyTorch's own optimiser and a hand-written update the faster counts, and of several batch sizes the best for evaluation.
- The simulations are those of McMahan et al. 2017: 100 clients of 600 examples, ten a round, one epoch in batches of ten, then the evaluation of 10,000 examples. pfl-research runs in two processes of one thread; Flower on two Ray workers of one core, by `start_simulation`, because its newer `run_simulation` looks for answers at intervals of seconds; plain PyTorch in two processes of one thread that share the weights' memory, written by hand for this.
- Memory is that of all processes together, shared pages divided among those who share them.
- Aggregation begins with updates as received bytes and ends with the next model. Tributary's is the exact sum; what arrives over the network is also checked once more while it arrives, which is not in this time but in that of the round over loopback.
- Flower's round over loopback is that of one SuperLink, two SuperNodes and an app of its own for each, without TLS, while Tributary's is with mutual TLS. Its clients send back what they got. It waits for its polling intervals, which are seconds.
- The fold reads an update once, and reads and writes a sum of 64-bit integers: 20 bytes a parameter; the addition `a[i] += b[i]` over f32 moves 12. Both are in the third-level cache here, which a virtual machine shares with others: from call to call the fold moved 49 to 84 % of what the addition moves, and 78 to 81 % in four calls while the neighbours were quiet (`tributary bench fold`). Its instructions bind it too: of a loop that moved 68 %, what was left without the way back and the check of the bound moved 80 %. With models that are not in the cache both wait for memory, and the fold moves 84 to 91 % (`tributary bench fold --parameters 50000000`).
- Bare QUIC moves the same bytes with the same endpoints, certificates and windows, and neither checks, keeps nor answers anything. Of the 87 ms of CPU time that a round with 2 clients takes, against 70 ms, BLAKE3 takes 9: the digests of download, update, upload and next model, which alone make 1.13 of it. That is why 1.2 of it (0.83 ×) is out of reach as long as every model and every update is checked on both sides.
- With 50 clients both cores are busy throughout (1.93 of 2 in use), so CPU time decides: 2.1 s a round against 1.8 s, by samples of the same run. BLAKE3 takes 0.2 s of it (335 MB hashed by who sends and who receives, and once more downwards), taking updates in and putting all but 16 MiB of them into files 0.15 s, the fold 0.1 s, copying models into place 0.06 s. The files are the price of memory that does not grow with the clients. Bare QUIC varies more than that from run to run (0.83 to 0.99 s, Tributary 1.18 to 1.27 s), so that single runs show ratios from 0.7 to 0.8.
"""


# The parts of a comparison, each of a few minutes.
PARTS = {
    "training": training,
    "evaluation": evaluation,
    "simulation": simulation,
    "cnn": convolutional_simulation,
    "aggregation": aggregation,
    "link": link,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--quick", action="store_true", help="one repetition, to see that all of it runs")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; the page keeps the others' last rows")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    kept = ROOT / "target" / "compare-rows.json"
    measured = json.loads(kept.read_text()) if arguments.only and kept.exists() else {}
    for name, part in PARTS.items():
        if not arguments.only or name in arguments.only:
            table = Table()
            part(bench, table, 1 if arguments.quick else 5)
            measured[name] = {"commit": commit(), "lines": table.lines}
            kept.write_text(json.dumps(measured))
            arguments.out.write_text(page(measured))
    print(f"written to {arguments.out}")


main()
