"""hwtrain devices: the cards, what they say, and a card from a measurement."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError
from hwtrain.flags import flag, json_flag, train_flags, trained_with, verb, workers, workers_flag


def add(verbs: Any) -> None:
    """The verb and its flags."""
    devices = verb(verbs, "devices", None, "the device cards").add_subparsers(required=True, metavar="VERB")
    one = verb(devices, "list", _devices_list, "every card in a line")
    json_flag(one, "one JSON object a card")
    one = verb(devices, "show", _devices_show, "every key of a card, its unit and how to measure it")
    one.add_argument("card", help="card id or file")
    json_flag(one)
    one = verb(devices, "check", _devices_check, "validate cards and hold them to what was published")
    one.add_argument("card", nargs="+", help="card ids or files")
    json_flag(one, "one JSON object a card")
    one = verb(devices, "trace", _devices_trace, "the response to a train of pulses, as CSV")
    one.add_argument("card", help="card id or file")
    flag(one, "--up", type=int, default=300, help="LTP pulses (300)")
    flag(one, "--down", type=int, default=300, help="LTD pulses after them (300)")
    flag(one, "--start", type=float, default=0.0, help="first weight, -1 (g_min) to 1 (g_max) (0)")
    flag(one, "--noise-free", action="store_true", help="the typical device, without scatter")
    flag(one, "--seed", type=int, default=0, help="which device and scatter (0)")

    one = verb(devices, "fit", _devices_fit, "a card from a measured response, with a plot beside it")
    one.add_argument("data", type=Path, help="CSV: up,down; pulse,G; or device,cycle,pulse,direction,G")
    flag(one, "--out", type=Path, metavar="CARD", help="card to write (the data's name with .toml, here)")
    flag(one, "--down", type=Path, metavar="TABLE", help="LTD table of CrossSim, DATA being the LTP table")
    flag(one, "--unit", metavar="UNIT", help="S, mS, uS, nS, ohm or A; 1 for arbitrary units")
    flag(one, "--v-read", type=float, metavar="V", help="read voltage, for currents")
    flag(one, "--g-min", type=float, metavar="S", help="of arbitrary units: what the lowest value stands for")
    flag(
        one, "--g-max", type=float, metavar="S", help="of arbitrary units: what the highest value stands for"
    )
    flag(one, "--title", help="name of the device (the file's name)")
    one.add_argument("--table", action="store_true", help="keep the distribution of steps, fit no law")
    json_flag(one)

    one = verb(
        devices, "export", _devices_export, "a card as what a peer reads, and what the peer cannot say"
    )
    one.add_argument("card", help="card id or file")
    flag(one, "--to", required=True, metavar="PEER", help="aihwkit, neurosim or crosssim")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for the files (here, over none that is there)")
    json_flag(one)

    one = verb(devices, "derive", _devices_derive, "a card from a compact model, one pulse at a time")
    one.add_argument("model", help="vteam, linear-ion-drift, data-driven, data-driven-2021 or stanford-pku")
    for way, what in (("up", "raises"), ("down", "lowers")):
        flag(one, f"--v-{way}", type=float, metavar="V", help=f"height of the pulse that {what} G")
        flag(one, f"--t-{way}", type=float, metavar="S", help=f"width of the pulse that {what} G")
    flag(one, "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the model")
    flag(one, "--points", type=int, default=33, help="conductances in the table (33)")
    flag(one, "--out", type=Path, metavar="CARD", help="card to write (the model's name with .toml, here)")
    json_flag(one)

    one = verb(devices, "sensitivity", _devices_sensitivity, "which property limits a device, by training")
    one.add_argument("card", help="card id or file")
    flag(one, "--target", type=float, default=90.0, help="accuracy that is wanted, in percent (90)")
    flag(one, "--out", type=Path, metavar="DIR", help="folder for the tornado plot, its table and JSON")
    json_flag(one)
    train_flags(one)
    workers_flag(one, 1)  # some thirty trainings of a second: starting processes takes longer


def _devices_list(found: argparse.Namespace) -> int:
    from hwtrain.cards import cards
    from hwtrain.console.devices import card_row, print_cards

    rows = [card_row(name, card) for name, card in cards()]
    if found.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print_cards(rows)
    return 0


def _devices_show(found: argparse.Namespace) -> int:
    from hwtrain.cards import card
    from hwtrain.console.devices import print_card

    if found.json:
        print(card(found.card).model_dump_json(by_alias=True))
    else:
        print_card(found.card, card(found.card))
    return 0


def _devices_check(found: argparse.Namespace) -> int:
    from hwtrain.analysis.expect import check_card
    from hwtrain.cards import card

    for name in found.card:
        check_card(name, card(name))
        print(json.dumps({"card": name, "ok": True}) if found.json else f"{name}: ok")
    return 0


def _devices_trace(found: argparse.Namespace) -> int:
    from hwtrain.analysis.compare import synapse
    from hwtrain.analysis.trace import trace

    points = trace(
        synapse(found.card),
        up=found.up,
        down=found.down,
        start=found.start,
        noise_free=found.noise_free,
        seed=found.seed,
    )
    print("pulse,direction,weight,conductance_S")
    for point in points:
        print(f"{point.pulse},{point.direction},{point.weight!r},{point.conductance_S!r}")
    return 0


def _devices_fit(found: argparse.Namespace) -> int:
    from hwtrain.console.fit import fit_card

    ends = (found.g_min, found.g_max) if (found.g_min, found.g_max) != (None, None) else None
    if ends is not None and found.unit != "1":
        raise ConfigError("--g-min and --g-max are for arbitrary units: add --unit 1, or leave them out")
    if ends is not None and None in ends:
        raise ConfigError(f"--g-{'min' if found.g_min is None else 'max'} is missing: give both ends")
    given = found.data, found.down, found.out, found.unit, found.v_read, ends, found.title
    return fit_card(*given, table=found.table, as_json=found.json)


def _devices_derive(found: argparse.Namespace) -> int:
    from hwtrain.console.derive import derive_card

    parameters = {}
    for text in found.set:
        name, _, value = text.partition("=")
        try:
            parameters[name] = float(value)
        except ValueError:
            raise ConfigError(f"--set {text}: write NAME=VALUE, such as k_off=5e-4") from None
    pulses = {way: (getattr(found, f"v_{way}"), getattr(found, f"t_{way}")) for way in ("up", "down")}
    return derive_card(found.model, pulses, parameters, found.points, found.out, as_json=found.json)


def _devices_export(found: argparse.Namespace) -> int:
    from hwtrain.analysis.peers import export_card
    from hwtrain.files import make_folder, write_file

    made = export_card(found.card, found.to)
    out = found.out or Path()
    there = [name for name in made.files if (out / name).exists()]
    if found.out is None and there:
        raise ConfigError(f"{there[0]}: is there already: name a folder with --out")
    make_folder(out)
    for name, text in made.files.items():
        write_file(out / name, text)
    if found.json:
        print(json.dumps({"files": [str(out / name) for name in made.files], "missing": made.missing}))
        return 0
    for name in made.files:
        print(out / name)
    print(f"{found.to} does not do as the card says:")
    for line in made.missing:
        print(f"- {line}")
    return 0


def _devices_sensitivity(found: argparse.Namespace) -> int:
    from hwtrain.console.sensitivity import show_sensitivity

    settings = trained_with(found)
    return show_sensitivity(found.card, found.target, found.out, settings, workers(found), as_json=found.json)
