"""Judge a plan from ``tables.json`` and ``plan.json`` alone: plain Python, nothing of this project.

Written from ``formulations/notation.md`` (the file) and ``formulations/replay.md`` (the rules).

    python foreign_checker.py tables.json plan.json
"""

import json
import sys
from fractions import Fraction
from itertools import pairwise
from math import ceil


def check(tables_file, plan_file):
    """Return what is wrong with the plan, its memory rows (bytes) and its lockstep slots (ticks)."""
    tables = {name: field["value"] for name, field in tables_file["fields"].items()}
    chunks, homes, broken = read_plan(tables, plan_file)
    if broken:
        return {"broken": broken}
    broken += too_slow(tables, chunks)
    memory = memory_rows(tables, chunks, homes)
    for k, row in enumerate(memory):
        for t, held in enumerate(row):
            if held > tables["capacity"][k]:
                broken.append(f"memory {k} is {held - tables['capacity'][k]} bytes short in slot {t}")
    work, exchange = lockstep(tables, chunks, homes)
    latency, exist = 0, tables.get("available")
    for t, (busy, sent) in enumerate(zip(work, exchange, strict=True)):
        if exist is not None and t < len(chunks):
            latency = max(latency, exist[chunks[t][1]])
        latency += busy + sent
    return {"broken": broken, "memory": memory, "work": work, "exchange": exchange, "latency_ticks": latency}


def read_plan(tables, plan):
    """Chunks [a, b) as grid indices, pages[i, j, k] by home, and the rules broken on the way."""
    boundaries, broken, grid, page = plan["boundaries"], [], tables["grid"], tables["page"]
    if not set(boundaries) <= set(grid) or boundaries[0] != 0 or boundaries[-1] != grid[-1]:
        return [], {}, ["boundaries are not a division of the grid"]
    if sorted(set(boundaries)) != boundaries:
        return [], {}, ["boundaries do not rise"]
    count, most = len(boundaries) - 1, tables["max_chunks"]
    if count > most or (tables["exact_chunks"] and count != most):
        broken.append(f"{count} chunks")
    for a, b in pairwise(boundaries):
        if not tables["min_length"] <= b - a <= tables["max_length"]:
            broken.append(f"a chunk of {b - a} tokens")
    homes = {}
    for i in range(len(tables["phi"])):
        for j, (a, b) in enumerate(pairwise(boundaries)):
            homes[i, j, i] = -(-b // page) - -(-a // page)
    for home in plan["homes"]:
        i, j, k, pages = home["stage"], home["chunk"], home["memory"], Fraction(home["tokens"], page)
        homes[i, j, k] = homes.get((i, j, k), 0) + pages
        homes[i, j, i] -= pages
    if any(pages < 0 or pages != int(pages) for pages in homes.values()):
        broken.append("homes are not whole pages, or more than there are")
    index = [grid.index(p) for p in boundaries]
    return list(pairwise(index)), homes, broken


def memory_rows(tables, chunks, homes):
    """Bytes held, [memory][slot]."""
    stages, count, grid = len(tables["phi"]), len(chunks), tables["grid"]
    memories = len(tables["capacity"])
    longest, queued, page = max(grid[b] - grid[a] for a, b in chunks), grid[-1], tables["page"]
    if tables["queue_depth"] is not None:
        queued = min(2 * tables["queue_depth"] * longest, queued)
    rows = []
    for k in range(memories):
        always = tables["static"][k] + tables["staging"][k] + queued * tables["working_bytes"][k]
        if "buffer_bytes" in tables:
            buffers = min(queued * tables["buffer_bytes"][k], tables["buffer_limit"][k])
            always += max(buffers, queued * tables["logit_bytes"][k])
        rings = tables["ring_bytes"][k] if "ring_bytes" in tables else []
        for span, size in zip(tables.get("ring_span", ()), rings, strict=True):
            touched = -(-(span + longest - 2) // page) + 1 + (tables["prefix"] > 0)
            always += size * min(touched, -(-tables["prefix"] // page) - (-grid[-1] // page))
        row = [always + (k <= t < k + count) * tables["prefix_bytes"][k] for t in range(count + stages - 1)]
        for (i, j, where), pages in homes.items():
            for t in range(i + j, i + count):
                row[t] += tables["page_bytes"][i] * int(pages) * (where == k)
        rows.append(row)
    return rows


def chunk_time(tables, i, a, b):
    """tau_i(a, b), ticks."""
    tail, compute = int(b == len(tables["grid"]) - 1), tables["phi"][i][b] - tables["phi"][i][a]
    compute = max(compute + tables["full_block"][i][tail][b - a], tables["memory_side"][i][b])
    compute += tables["prefix_cost"][i][a] + tables["length_cost"][i][tail][b - a]
    return compute + (tables["residual"][i][a][b] if "residual" in tables else 0)


def too_slow(tables, chunks):
    """Chunks that take longer through all stages than is allowed between tokens."""
    limit, last = tables.get("between_tokens"), len(tables["grid"]) - 1
    for a, b in chunks if limit is not None else []:
        each = range(len(tables["phi"]))
        ticks = sum(chunk_time(tables, i, a, b) + tables["send"][i][int(b == last)][b - a] for i in each)
        if ticks > limit:
            yield f"a chunk takes {ticks} ticks through all stages"


def lockstep(tables, chunks, homes):
    """Ticks of the work and exchange phases, by slot."""
    stages, count, grid, f = len(tables["phi"]), len(chunks), tables["grid"], Fraction(tables["overlap"])
    links = [
        (Fraction(rate), [[Fraction(n, tables["share_denominator"]) for n in row] for row in share])
        for rate, share in zip(tables["link_rate"], tables["share"], strict=True)
    ]
    memories, page = len(tables["capacity"]), tables["page"]
    none = [[0] * len(grid)] * 2
    work, exchange = [], []
    for t in range(count + stages - 1):
        running = [(i, *chunks[t - i], t - i) for i in range(stages) if 0 <= t - i < count]
        times, sends, at_link, at_port = [0], [0], [0] * len(links), [0] * memories
        for i, a, b, j in running:
            moved, weights = [], []  # (from, to, remote memory, bytes)
            for kind, stage, source, target, each, per_page, first in tables.get("fixed_messages", ()):
                size = each + per_page * (-(-grid[b] // page) - -(-grid[a] // page)) + first * (j == 0)
                if stage == i:
                    far = target if source == i else source
                    (moved if kind else weights).append((source, target, far, size))
            for k in range(memories):
                pages = [homes.get((i, before, k), 0) for before in range(j + 1)]
                if k != i and any(pages):
                    moved.append((i, k, k, pages[-1] * tables["page_bytes"][i]))
                    moved.append((k, i, k, sum(pages[:-1]) * tables["page_bytes"][i]))
            own_link = [sum(size * share[x][y] for x, y, _, size in moved) for _, share in links]
            own_port = [sum(size for _, _, port, size in moved if port == k) for k in range(memories)]
            at_link = [x + y for x, y in zip(at_link, own_link, strict=True)]
            at_port = [x + y for x, y in zip(at_port, own_port, strict=True)]
            for source, target, far, size in weights:
                at_link = [
                    x + size * share[source][target] for x, (_, share) in zip(at_link, links, strict=True)
                ]
                at_port[far] += size
            at_port[i] += tables["own_traffic"][i][b]
            longest = max(
                Fraction(size) / rate
                for size, rate in [
                    *zip(own_link, [rate for rate, _ in links], strict=True),
                    *zip(own_port, tables["port_rate"], strict=True),
                ]
            )
            times.append(chunk_time(tables, i, a, b) + (1 - f) * longest)
            if i < stages - 1:
                sends.append(tables["send"][i][int(b == len(grid) - 1)][b - a])
        times += [Fraction(size) / rate for size, (rate, _) in zip(at_link, links, strict=True)]
        times += [Fraction(size) / rate for size, rate in zip(at_port, tables["port_rate"], strict=True)]
        for rate, share in links:
            crossing = [
                (share[i][i + 1] * (tables["activation_bytes"][i] * (grid[b] - grid[a]) + riders[b - a]), i)
                for i, a, b, _ in running
                for riders in [tables.get("rider_bytes", none)[int(b == len(grid) - 1)]]
                if i < stages - 1 and share[i][i + 1]
            ]
            if crossing:
                hops = max(tables["hop_ticks"][i][i + 1] for _, i in crossing)
                sends.append(sum(size for size, _ in crossing) / rate + hops)
        work.append(ceil(max(times)))
        exchange.append(ceil(max(sends)))
    return work, exchange


if __name__ == "__main__":
    with open(sys.argv[1]) as tables_file, open(sys.argv[2]) as plan_file:
        print(json.dumps(check(json.load(tables_file), json.load(plan_file))))
