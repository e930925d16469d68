"""What settings of co-inference send and how well they see, as text and as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from re_pose_ros.coinference.profile import Action, ActionTable
from re_pose_ros.coinference.setting import Setting

_KILO = 2000  # bytes at least sent where thousands are counted
_ANY = "any"  # exit
_LEGEND = 8  # lines at most; more have their cut beside them


def rates(table: ActionTable) -> str:
    """Accuracy and bytes at the largest input: a row for what is sent, a column per exit.

    Markdown. Where an exit was not measured with what a row says, its cell is empty.
    """
    exits = list(dict.fromkeys(setting.exit for setting in table.settings))[::-1]
    large = min(a.bytes[-1] for a in table.actions if a.setting.sends) >= _KILO
    rows: dict[Setting, dict[str, str]] = {}
    for action in table.actions:
        sent = replace(action.setting, exit=_ANY)
        rows.setdefault(sent, {})[action.setting.exit] = _cell(action, large)
    lines = [["sent", *(f"exit `{exit}`" for exit in exits)], ["---"] * (1 + len(exits))]
    lines += [
        [_called(sent), *(rows[sent].get(exit, "") for exit in exits)]
        for sent in sorted(rows, key=_order)
    ]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"Accuracy / {'kB' if large else 'bytes'} per picture:\n\n{text}\n"


def save_plot(table: ActionTable, path: Path) -> None:
    """Accuracy over bytes at the largest input, one panel per exit, features beside JPEG.

    Where there are many cuts, their numbers stand at the lines in place of a legend.
    """
    from matplotlib.figure import Figure

    exits = list(dict.fromkeys(setting.exit for setting in table.settings))
    figure = Figure(figsize=(4 * len(exits), 3.6), layout="constrained")
    panels = figure.subplots(1, len(exits), sharey=True, squeeze=False)[0]
    for axes, exit in zip(panels, reversed(exits), strict=True):
        own = [action for action in table.actions if action.setting.exit == exit]
        cuts = sorted({action.setting.cut for action in own if action.setting.sends})
        for cut in cuts:
            line = sorted((a.bytes[-1] / 1e3, a.accuracy) for a in own if a.setting.cut == cut)
            label = "JPEG" if cut == 0 else f"cut {cut}"
            axes.plot(*zip(*line, strict=True), "k.--" if cut == 0 else ".-", label=label)
            if cut and len(cuts) > _LEGEND:
                # Alternately above and below, since many lie close together.
                shift = (0, 5 if cut % 2 else -9)
                axes.annotate(
                    str(cut), line[-1], shift, textcoords="offset points", fontsize=7, ha="center"
                )
        alone = [action.accuracy for action in own if not action.setting.sends]
        axes.axhline(alone[0], color="0.7", lw=0.8)
        axes.set_xscale("log")
        axes.margins(y=0.12)
        axes.set_xlabel("kB per picture")
        axes.set_title(f"exit {exit}", fontsize=10)
        if len(cuts) <= _LEGEND:
            axes.legend(fontsize=8)
    panels[0].set_ylabel("accuracy")
    figure.savefig(path, dpi=110)


def _cell(action: Action, large: bool) -> str:
    size = action.bytes[-1]
    sent = f" / {size / 1e3:.1f}" if large else f" / {size:.0f}"
    return f"{action.accuracy:.3f}{sent if action.setting.sends else ''}"


def _order(sent: Setting) -> tuple[bool, int, int, int]:
    """By cut, the most bytes first, the robot alone at the end."""
    return not sent.sends, sent.cut, -sent.quality, -sent.bits


def _called(sent: Setting) -> str:
    if not sent.sends:
        return "nothing (the robot alone)"
    if sent.sends_features:
        return f"cut {sent.cut}, {sent.bits} bits"
    return f"JPEG, quality {sent.quality}"
