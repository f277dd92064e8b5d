"""Run an exported replay on SimGrid and print starts and ends of all chunks, ticks: ``FILE [LINK_FACTOR]``.

It knows nothing of this package and runs in any Python that has SimGrid's module.  A message is a flow over
its own pair of hosts; links and memory ports are SimGrid's links, and a link that carries several parts of
every byte stands in the route as often.
"""

import json
import sys
from fractions import Fraction
from math import gcd

from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone, Semaphore, simgrid_version, this_actor

SETTINGS = (
    "network/model:CM02",
    "network/crosstraffic:0",
    "network/TCP-gamma:0",
    "network/weight-S:0",
    "network/latency-factor:1",
    "network/bandwidth-factor:1",
    "network/loopback-lat:0",
    "contexts/factory:thread",
)


class Signal:
    """Something that happens once; whoever waits goes on then."""

    def __init__(self):
        self.gate = Semaphore(0)

    def wait(self):
        self.gate.acquire()
        self.gate.release()

    def set(self):
        self.gate.release()


def build(data, factor):
    """Make hosts, links and routes; the pair of hosts of every route."""
    zone = NetZone.create_full_zone("root")
    # Parts common to all routes that use a link need not be counted.
    common = [0] * len(data["resources"])
    for route in data["routes"]:
        for n, part in route["uses"]:
            common[n] = gcd(common[n], part)
    links = []
    for n, resource in enumerate(data["resources"]):
        speed = resource["capacity"] / max(common[n], 1) * (factor if resource["kind"] == "link" else 1)
        links.append(zone.create_link(f"r{n}", [speed]).set_latency(0).seal())
    pairs = []
    for r, route in enumerate(data["routes"]):
        ends = [zone.create_host(f"{side}{r}", [1.0]).seal() for side in "ab"]
        way = [LinkInRoute(links[n]) for n, part in route["uses"] for _ in range(part // common[n])]
        zone.add_route(ends[0].netpoint, ends[1].netpoint, None, None, way, False)
        pairs.append(ends)
    clock = zone.create_host("clock", [1.0]).seal()
    zone.seal()
    return pairs, clock


def run(data, factor):
    """Starts and ends, ticks, by stage and chunk."""
    old = int(simgrid_version.split(".")[0]) < 4
    precision = (
        ("surf/precision", "maxmin/precision") if old else ("precision/timing", "precision/work-amount")
    )
    settings = [*SETTINGS, *(f"{key}:1e-12" for key in precision)]
    engine = Engine(["replay", *(f"--cfg={each}" for each in settings), "--log=root.thres:error"])
    pairs, clock = build(data, factor)
    stages, chunks = range(data["stages"]), range(data["chunks"])
    arrived, started, ended = ([[Signal() for _ in chunks] for _ in stages] for _ in range(3))
    start, end = ([[0.0 for _ in chunks] for _ in stages] for _ in range(2))

    def send(message):
        route, size = message
        return Comm.sendto_async(*pairs[route], size)

    def stage(i):
        for j in chunks:
            task = data["tasks"][i][j]
            if i:
                arrived[i][j].wait()
            else:
                if data["loop"] is not None and j >= data["loop"]:
                    ended[-1][j - data["loop"]].wait()
                if data["release"][j] > Engine.clock:
                    this_actor.sleep_until(data["release"][j])
            if data["queue_depth"] is not None and i + 1 in stages and j >= data["queue_depth"]:
                started[i + 1][j - data["queue_depth"]].wait()
            for other, count in task["after"]:
                ended[other][count - 1].wait()
            start[i][j] = Engine.clock
            started[i][j].set()
            flows = [send(message) for message in task["at_start"]]
            this_actor.sleep_for(float(Fraction(task["compute"])))
            for flow in flows:
                flow.wait()
            end[i][j] = Engine.clock
            ended[i][j].set()
            if i + 1 in stages:
                Actor.create(f"hand over {i} {j}", clock, hand_over, i, j)

    def hand_over(i, j):
        task, left = data["tasks"][i][j], Engine.clock
        hops = 0
        if task["at_end"] is not None:
            send(task["at_end"]).wait()
            hops = data["hop_ticks"][i]
        until = max(Engine.clock + hops, left + task["send_at_least"])
        if until > Engine.clock:
            this_actor.sleep_until(until)
        arrived[i + 1][j].set()

    for i in stages:
        Actor.create(f"stage {i}", clock, stage, i)
    engine.run()
    return {"start": start, "end": end}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps(run(json.load(file), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)))
