"""The tables of the page formulations/models.md, made of the table of families; run it to write them.

python tests/models_page.py
"""

from __future__ import annotations

import json
from pathlib import Path

from mocap_opt.instance import ModelSpec
from mocap_opt.instance.hf_config import model_from_config
from mocap_opt.instance.hf_families import FAMILY_ROWS
from mocap_opt.instance.hf_family import USUAL, Family
from mocap_opt.instance.hf_wrappers import REFUSED_FAMILIES, WRAPPERS
from mocap_opt.tables.stage_costs import layer_parameters

PAGE = Path(__file__).parent.parent / "formulations" / "models.md"
DATA = Path(__file__).parent / "data" / "configs"


def _attention(row: Family) -> str:
    if row.latent:
        return "latent" + (", sparse by an indexer" if row.indexer else "")
    if row.windows is None:
        return "full"
    kind = "chunks" if row.windows.kind == "chunked_attention" else "windows"
    switch = f" if `{row.windows.switch}`" if row.windows.switch else ""
    return f"{kind} of `{row.windows.size}` in {row.windows.rule.told}{switch}"


def _feed_forward(row: Family) -> str:
    plain = "gated" if row.gated else "without a gate"
    experts = row.experts
    if experts is None:
        return plain
    told = f"{plain}; `{experts.active}` of `{experts.count}` experts"
    if experts.shared_width:
        told += f", one shared of `{experts.shared_width}`"
    elif experts.shared:
        told += (
            f", {experts.shared} shared"
            if isinstance(experts.shared, int)
            else f", `{experts.shared}` shared"
        )
    return told if experts.rule is None else f"{told}, {experts.rule.told}"


def _names(row: Family) -> str:
    other = [f"`{name}`" for figure, name in row.fields.items() if USUAL[figure] != name]
    return ", ".join(other) or "usual"


def families() -> str:
    """A row for each family."""
    rows = ["| models | `model_type` | attention | feed-forward | sizes under names | not counted |"]
    rows.append("|---|---|---|---|---|---|")
    for row in FAMILY_ROWS:
        outer = [name for name, (_, inner) in WRAPPERS.items() if inner in row.types]
        types = ", ".join(f"`{name}`" for name in (*row.types, *outer))
        cells = (row.title, types, _attention(row), _feed_forward(row), _names(row), row.left_out or "-")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def refused() -> str:
    """Families by the reason why they are not read."""
    by_reason: dict[str, list[str]] = {}
    for name, why in REFUSED_FAMILIES.items():
        by_reason.setdefault(why, []).append(f"`{name}`")
    return "; ".join(f"{why} ({', '.join(names)})" for why, names in by_reason.items())


def checked() -> str:
    """A row for each published file: parameters as they are counted here and as they were published."""
    rows = ["| file | billions of parameters | published | active for a token | published | by |"]
    rows.append("|---|---:|---:|---:|---:|---|")
    said_of = json.loads((DATA / "published.json").read_text(encoding="utf-8"))
    for name, said in said_of.items():
        config = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        model = ModelSpec.model_validate(model_from_config(config)[0])
        table = model.vocabulary * model.hidden
        whole, active = (
            sum(layer_parameters(model, layer, active=which) for layer in range(model.layers)) / 1e9
            for which in (False, True)
        )
        whole += (1 if said["tied"] else 2) * table / 1e9
        told = "-" if said["active"] is None else f"{active:.1f} to {active + 2 * table / 1e9:.1f}"
        cells = (name, f"{whole:.1f}", f"{said['billions']:g}", told, said["active"] or "-", said["source"])
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def written(text: str) -> str:
    """The page with its tables anew."""
    head, rest = text.split("## Families\n")
    after = rest[rest.index("\n\nNorms and biases are not counted") : rest.index("\n\n| file |")]
    told = f"{families()}\n\nFamilies that are known and refused: {refused()}."
    return f"{head}## Families\n\n{told}{after}\n\n{checked()}\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
