"""A card from a compact model, with what its pulses do."""

from __future__ import annotations

import json
from pathlib import Path

from hwtrain.cards import card_id
from hwtrain.errors import ConfigError


def derive_card(
    name: str,
    pulses: dict[str, tuple[float | None, float | None]],
    parameters: dict[str, float],
    points: int,
    out: Path | None,
    *,
    as_json: bool,
) -> int:
    """Solve the model, write the card, and say what came out."""
    from hwtrain.analysis.derive import MODELS, Pulse, card_text, derive
    from hwtrain.files import make_folder, write_file
    from hwtrain.report.quantities import quantity, share

    card = out or Path(f"{name}.toml")
    if card.suffix != ".toml":
        raise ConfigError(f"{card}: a card's name ends in .toml: mend --out")
    if out is None and card.exists():
        raise ConfigError(f"{card}: is there already: name the card with --out")
    made = {}
    for way, (volt, second) in pulses.items():
        if name in MODELS and (volt, second) != (None, None):
            usual = getattr(MODELS[name], way)
            made[way] = Pulse(usual.v_V if volt is None else volt, usual.t_s if second is None else second)
    found = derive(name, made.get("up"), made.get("down"), points, **parameters)
    make_folder(card.parent)
    write_file(card, card_text(found))
    low, high = found.ends_S
    if as_json:
        print(json.dumps({"card": str(card), "g_min_S": float(low), "g_max_S": float(high)}))
        return 0
    print(f"{card_id(str(card))}: {quantity(low, 'S')} to {quantity(high, 'S')}")
    for way, pulse, steps in (("up", found.up, found.steps_up), ("down", found.down, found.steps_down)):
        print(
            f"a pulse {way} of {quantity(pulse.v_V, 'V')} and {quantity(pulse.t_s, 's')}: "
            f"{share(float(steps.min()))} to {share(float(steps.max()))} of the range"
        )
    print(f"card: {card}")
    return 0
