"""A round of Flower over loopback without training: one SuperLink, SuperNodes, no TLS; prints the seconds of each round as
JSON. The first argument is the number of values of the model, the second that of the clients, the third that of the rounds.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

VALUES, CLIENTS, ROUNDS = map(int, sys.argv[1:4])
APP = pathlib.Path(__file__).resolve().parent / "flower_link"
BIN = pathlib.Path(sys.executable).parent
# Seconds until everything must be over; rounds wait for polling intervals of seconds.
DEADLINE = 300


def free_ports(count):
    """Ports that nobody listens on; all are held until all are known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def main():
    link, health, *nodes = free_ports(2 + CLIENTS)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        home = folder / "home"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "loopback"\n[superlink.loopback]\naddress = "127.0.0.1:{link}"\ninsecure = true\n')
        environment = os.environ | {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0",
                                    "PATH": f"{BIN}:{os.environ['PATH']}"}
        result = folder / "seconds.json"
        processes = []

        def start(*command):
            log = open(folder / f"{len(processes)}.log", "w")
            processes.append(subprocess.Popen([BIN / command[0], *command[1:]], env=environment, stdout=log,
                                              stderr=subprocess.STDOUT, start_new_session=True))

        try:
            start("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link), "--health-server-address",
                  f"127.0.0.1:{health}")
            until = time.time() + DEADLINE
            wait(until, folder, processes, lambda: is_open(link))
            for port in nodes:
                start("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}", "--port", str(port))
            start("flwr", "run", str(APP), "loopback", "--run-config",
                  f'values={VALUES} clients={CLIENTS} rounds={ROUNDS} result="{result}"')
            wait(until, folder, processes, lambda: result.exists() and result.read_text())
            print("RESULT " + json.dumps(json.loads(result.read_text())), flush=True)
        finally:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(until, folder, processes, is_done):
    while not is_done():
        failed = [index for index, process in enumerate(processes) if process.poll() not in (None, 0)]
        if failed or time.time() > until:
            for log in sorted(folder.glob("*.log")):
                print(f"{log.name}: {log.read_text()[-3000:]}", file=sys.stderr)
            sys.exit(f"error: process {failed[0]} ended" if failed else f"error: not over after {DEADLINE} s")
        time.sleep(0.05)


def stop(*_):
    """Whoever ends this process ends what it started, too."""
    sys.exit("error: stopped")


signal.signal(signal.SIGTERM, stop)
main()
