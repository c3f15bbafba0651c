"""`polytask data fetch`: bring data sets into the cache before they are needed."""

from __future__ import annotations

import json as jsonlib
import sys
from contextlib import nullcontext
from typing import Annotated, Any

from cyclopts import Parameter

from polytask import registry, verbosity
from polytask.cli._fetch_progress import bars
from polytask.cli._options import DATA, Json
from polytask.data.catalog import dataset_card
from polytask.data.fetch import fetch_carrier, fetched
from polytask.errors import UserError, unknown

ACTIONS = ("fetch",)
WHAT = {
    "fetched": "fetched",
    "present": "was in the cache",
    "bundled": "nothing to fetch",
    "provided": "cannot be fetched",
    "failed": "FAILED",
}


def data(
    action: Annotated[str | None, Parameter(help="fetch, the only one.", metavar="ACTION")] = None,
    /,
    *names: Annotated[str, Parameter(help="Data sets: polytask list datasets.", metavar="NAME...")],
    everything: Annotated[
        bool, Parameter(name="--all", group=DATA, negative=(), help="Fetch every data set.")
    ] = False,
    json: Json = False,
) -> None:
    """Fetch data sets into the cache."""
    if action is None or action not in ACTIONS:
        raise (
            unknown("action of polytask data:", action, ACTIONS)
            if action
            else UserError("what about the data? Say: polytask data fetch NAME..., or --all")
        )
    chosen = _chosen(names, everything)
    rows = _fetch_all(chosen)
    failed = [row["name"] for row in rows if row["state"] == "failed"]
    if not json:
        _show(rows)
    elif not failed:
        print(jsonlib.dumps(rows, indent=2))
    if failed and len(rows) == 1:
        raise UserError(rows[0]["why"])
    if failed:
        raise UserError(f"{len(failed)} of {len(rows)} were not fetched: {', '.join(failed)}")


def _chosen(names: tuple[str, ...], everything: bool) -> list[str]:
    """The names of the data sets to fetch, all known."""
    known = registry.names("dataset")
    if everything and names:
        raise UserError(f"--all means every data set; leave out {', '.join(names)}, or --all")
    if not everything and not names:
        raise UserError(f"which data sets? Name some, or say --all. Known: {', '.join(known)}")
    chosen = known if everything else [registry.find("dataset", name).name for name in names]
    return list(dict.fromkeys(chosen))


def _fetch_all(names: list[str]) -> list[dict[str, Any]]:
    """One row a data set; what fails is told at once and does not stop the others."""
    drawn = verbosity.draws_bars(True)
    speaking = drawn or verbosity.hushed()
    rows = []
    with (
        bars() if drawn else nullcontext() as watch,
        nullcontext() if speaking else verbosity.at_least_info("polytask.data"),
    ):
        for name in names:
            row = _fetch_one(name, watch)
            if row["state"] == "failed" and len(names) > 1:
                print(f"{name}: {row['why']}", file=sys.stderr)
            rows.append(row)
    return rows


def _fetch_one(name: str, watch: Any) -> dict[str, Any]:
    """What became of one data set: name, title, licence, state, megabytes, folders."""
    card = dataset_card(name)
    carriers = card.get("carriers", [])
    row: dict[str, Any] = {
        "name": name,
        "title": card.get("title", name),
        "licence": card.get("licence"),
        "state": "present",
        "download_megabytes": round(sum(carrier["megabytes"] for carrier in carriers), 1),
        "megabytes": 0.0,
        "folders": [],
    }
    if not carriers:
        said = card.get("provided")
        bundled = card.get("bundled")
        why = said or (f"comes with {bundled}" if bundled else "fetches itself when it is loaded")
        if said and card.get("address") and card["address"] not in said:
            why = f"{said}{'' if said.endswith('.') else '.'} The address is {card['address']}"
        return row | {"state": "bundled" if bundled or not said else "provided", "why": why}
    try:
        files: dict[str, Any] = {}
        for carrier in carriers:
            if not fetched({"carriers": [carrier]}):
                row["state"] = "fetched"
            with watch(name, carrier) if watch else nullcontext():
                found = fetch_carrier(card, carrier)
            member, file = next(iter(found.items()))
            row["folders"].append(str(file).removesuffix(member).rstrip("/"))
            files |= found
    except UserError as error:
        return row | {"state": "failed", "why": str(error)}
    row["megabytes"] = round(sum(file.stat().st_size for file in files.values()) / 1e6, 1)
    return row


def _show(rows: list[dict[str, Any]]) -> None:
    """What became of each data set, where it is, and its licence."""
    wide = max(len(row["name"]) for row in rows)
    for row in rows:
        text = WHAT[row["state"]]
        if row["state"] in {"fetched", "present"}:
            text += f", {row['megabytes']:.1f} MB: {', '.join(row['folders'])}"
        elif row["state"] != "failed":
            text += f": {row['why']}"
        print(f"{row['name']:<{wide}}  {text}")
        if row["licence"] and row["state"] != "failed":
            print(f"{'':<{wide}}  licence: {row['licence']}")
