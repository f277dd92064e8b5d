"""The event-driven execution once more, as SimPy processes in exact fractions; slow and short."""

from __future__ import annotations

from fractions import Fraction

import simpy
from oracle import message_bytes

from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

Load = dict[str, Fraction]


class Wires:
    """Messages in progress; all rates are computed anew whenever one begins or ends."""

    def __init__(self, env: simpy.Environment, capacity: Load) -> None:
        self.env, self.capacity = env, capacity
        self.flows: dict[simpy.Event, tuple[Load, Fraction, Fraction]] = {}  # load, bytes left, rate
        self.since, self.change = Fraction(0), 0

    def send(self, size: int, load: Load) -> simpy.Event:
        done = self.env.event()
        self.flows[done] = (load, Fraction(size), Fraction(0))
        self.update()
        return done

    def update(self) -> None:
        now = Fraction(self.env.now)
        for done, (load, left, rate) in list(self.flows.items()):
            self.flows[done] = (load, left - rate * (now - self.since), rate)
            if self.flows[done][1] == 0:
                done.succeed()
                del self.flows[done]
        self.since, self.change = now, self.change + 1
        left, growing = dict(self.capacity), set(self.flows)
        while growing:
            weight = {r: sum(self.flows[f][0].get(r, 0) for f in growing) for r in left}
            level, full = min((left[r] / w, r) for r, w in weight.items() if w)
            for f in [f for f in growing if full in self.flows[f][0]]:
                growing.remove(f)
                self.flows[f] = (*self.flows[f][:2], level)
                for r, part in self.flows[f][0].items():
                    left[r] -= part * level
        if self.flows:
            self.env.process(self.wake(min(left / rate for _, left, rate in self.flows.values())))

    def wake(self, delay: Fraction):
        change = self.change
        yield self.env.timeout(delay)
        if change == self.change:
            self.update()


def twin(tables: Tables, plan: Plan) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    """Starts and ends of every chunk, ticks, [stage][chunk]."""
    env, stages, chunks = simpy.Environment(Fraction(0)), range(tables.stages), range(plan.chunks)
    ports = {f"port {k}": Fraction(int(rate)) for k, rate in enumerate(tables.port_rate)}
    links = {name: Fraction(int(rate)) for name, rate in zip(tables.links, tables.link_rate, strict=True)}
    wires = Wires(env, links | ports)
    cuts, pages = plan.grid_indices(tables).tolist(), plan.all_pages(tables).tolist()
    memories = range(tables.memories)
    arrived, started, ended = ([[env.event() for _ in chunks] for _ in stages] for _ in range(3))
    start, end = ([[Fraction(-1) for _ in chunks] for _ in stages] for _ in range(2))

    def way(a: int, b: int, port: int | None) -> Load:
        shares = zip(tables.links, tables.share[:, a, b].tolist(), strict=True)
        on_links = {name: Fraction(part, tables.share_denominator) for name, part in shares if part}
        return on_links if port is None else on_links | {f"port {port}": Fraction(1)}

    def stores(i: int, k: int) -> bool:
        return any(pages[i][j][k] for j in chunks) or (i == k and tables.prefix_bytes[k] > 0)

    def brings(i: int, j: int, k: int) -> bool:
        return pages[i][j][k] > 0 or (j == 0 and i == k and tables.prefix_bytes[k] > 0)

    def stage(i: int):
        for j in chunks:
            yield arrived[i][j]
            if tables.queue_depth is not None and i + 1 in stages and j >= tables.queue_depth:
                yield started[i + 1][j - tables.queue_depth]
            for other in stages:
                if other + chunks[-1] < i + j and any(stores(other, k) and brings(i, j, k) for k in memories):
                    yield ended[other][chunks[-1]]
            start[i][j] = env.now
            started[i][j].succeed()
            size, messages = int(tables.page_bytes[i]), []
            for k in [k for k in memories if k != i]:
                messages.append((size * pages[i][j][k], way(i, k, k)))
                messages.append((size * sum(pages[i][e][k] for e in range(j)), way(k, i, k)))
            weights = []
            rows = [] if tables.fixed_messages is None else tables.fixed_messages.tolist()
            for kind, owner, source, target, each, per_page, first in rows:
                moved = each + per_page * sum(pages[i][j]) + (first if j == 0 else 0)
                if owner == i:
                    far = source if target == i else target
                    (messages if kind else weights).append((moved, way(source, target, far)))
            on = {r: sum(n * load.get(r, 0) for n, load in messages) for r in wires.capacity}
            transfer = max(n / wires.capacity[r] for r, n in on.items())
            messages += [*weights, (int(tables.own_traffic[i, cuts[j + 1]]), {f"port {i}": Fraction(1)})]
            compute = int(tables.compute_time(i, cuts[j], cuts[j + 1])) + (1 - tables.overlap) * transfer
            sent = [wires.send(n, load) for n, load in messages if n]
            yield env.all_of([env.timeout(compute), *sent])
            end[i][j] = env.now
            ended[i][j].succeed()
            if i + 1 in stages:
                env.process(hand_over(i, j))

    def hand_over(i: int, j: int):
        soonest = env.now + int(tables.send_time(i, cuts[j], cuts[j + 1]))
        size = message_bytes(tables, i, plan.boundaries[j], plan.boundaries[j + 1])
        if size and way(i, i + 1, None):
            yield wires.send(size, way(i, i + 1, None))
        yield env.timeout(max(env.now + int(tables.hop_ticks[i, i + 1]), soonest) - env.now)
        arrived[i + 1][j].succeed()

    for event in arrived[0]:
        event.succeed()
    for i in stages:
        env.process(stage(i))
    env.run()
    return start, end
