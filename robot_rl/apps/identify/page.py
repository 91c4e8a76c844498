"""The page of one identification: measured and simulated, what was found, how far to trust it."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import mujoco
import numpy as np

from robot_rl.apps.page import card, legend, pairs, table, tile, write_page
from robot_rl.apps.svg import Curve, Level, plot
from robot_rl.types import F64
from sim.identify.measurement import Measurement
from sim.identify.posterior import Posterior
from sim.identify.replay import MotionReplay

__all__ = ["write_identification_page"]

_PLOT = (430, 190)
_POINTS = 400  # of a curve
_GAIN_GOOD = 4.0  # what even a twin that is built otherwise should reach


def write_identification_page(
    path: Path,
    posterior: Posterior,
    spec: mujoco.MjSpec,
    fitted_on: Sequence[Measurement],
    predicted: Sequence[Measurement],
) -> Path:
    """Write the page; motions are simulated anew, nominal and fitted.

    Args:
        path: Where.
        posterior: What was found.
        spec: The nominal twin.
        fitted_on: The measurements that were fitted; the first is drawn.
        predicted: Those that were only predicted; the first is drawn.
    """
    body = [
        _header(posterior),
        f'<div class="note">{html.escape(posterior.verdict)}</div>',
        _tiles(posterior),
        _parameters(posterior),
        _open(posterior),
        _motion("The motion that was fitted", spec, posterior, fitted_on[0]),
    ]
    if predicted:
        body.append(_motion("A motion that no fit has seen", spec, posterior, predicted[0]))
        body.append(_held_out(posterior))
    body += [_cross_check(posterior), _provenance(posterior)]
    body.append("<footer>Made by robot-rl identify report.</footer>")
    return write_page(path, "identification", "".join(body))


def _header(posterior: Posterior) -> str:
    facts = posterior.details
    files = ", ".join(facts.get("fitted_on", []))
    return (
        f"<header><h1>Identification of {html.escape(str(facts.get('robot', 'a twin')))}</h1>"
        f'<div class="soft">{html.escape(files)} · drives at {facts.get("share", 1):g} of their '
        "gains</div></header>"
    )


def _tiles(posterior: Posterior) -> str:
    """The figures that decide whether to use it."""
    facts = posterior.details
    tiles = [
        tile(
            f"{posterior.chi2:.3f}",
            "chi2: misfit over noise",
            "good" if posterior.is_trusted else "bad",
        )
    ]
    held_out = facts.get("held_out", [])
    if held_out:
        gain = min(one["gain"] for one in held_out)
        error = max(one["fitted_mrad"] for one in held_out)
        mood = "good" if gain >= _GAIN_GOOD else "bad"
        tiles.append(tile(f"{gain:.0f} ×", "nearer than nominal on unseen motions, worst", mood))
        tiles.append(tile(f"{error:.3f} mrad", "error on unseen motions, worst, noise taken off"))
    if "delay" in posterior.parameters.names:
        delay = posterior.values[posterior.parameters.index("delay")]
        tiles.append(tile(f"{1e3 * delay:.2f} ms", "delay of commands"))
    hits, gaps = len(posterior.at_bound), len(posterior.unidentifiable)
    tiles.append(tile(str(hits), "parameters at their bound", "bad" if hits else "good"))
    tiles.append(tile(str(gaps), "directions left open by the data", "bad" if gaps else "good"))
    tiles.append(
        tile(f"{facts['agreeing_starts']} of {len(facts['start_costs'])}", "starts agree")
    )
    tiles.append(tile(f"{facts['cpu_s']:.0f} s", f"CPU, {facts['evaluations']} rollouts"))
    return f'<section class="card tiles">{"".join(tiles)}</section>'


def _parameters(posterior: Posterior) -> str:
    """Every parameter with its interval, or why there is none."""
    rows = []
    for i, one in enumerate(posterior.parameters.parameters):
        ends = posterior.interval(one.name)
        open_in = [d.words for d in posterior.unidentifiable if one.name in d.weights]
        notes = ["at its bound"] if one.name in posterior.at_bound else []
        notes += ["left open"] if open_in else []
        learned = 1 - posterior.std[i] / posterior.parameters.prior_std[i]
        rows.append(
            [
                html.escape(one.name),
                f"{one.nominal:.4g}",
                f"<b>{posterior.values[i]:.4g}</b>",
                f"{ends[0]:.4g} – {ends[1]:.4g}" if ends else "withheld",
                f"{one.low:.3g} – {one.high:.3g}",
                f"{learned:.0%}" if posterior.is_trusted else "–",
                html.escape(one.unit),
                ", ".join(notes),
            ]
        )
    head = ["parameter", "nominal", "found", "95 %", "bounds", "learned", "unit", ""]
    words = (
        "Learned: how much narrower than before measuring."
        if posterior.is_trusted
        else "Intervals are withheld, for chi2 says that they would not mean anything."
    )
    return card("Parameters", table(head, rows), words)


def _open(posterior: Posterior) -> str:
    """What the data do not tell."""
    if not posterior.unidentifiable:
        return ""
    items = "".join(
        f"<li>{html.escape(one.words)} <span class='soft'>(still {one.shrinkage:.0%} as wide as "
        "before)</span></li>"
        for one in posterior.unidentifiable
    )
    return card(
        "What these data leave open",
        f"<ul>{items}</ul>",
        "Only the prior decides along these directions. Fix one of the parameters by a data "
        "sheet, or move in a way that tells them apart.",
    )


def _motion(title: str, spec: mujoco.MjSpec, posterior: Posterior, measured: Measurement) -> str:
    """Lag behind the command, joint by joint, and what is left of it."""
    replay = MotionReplay(spec.copy(), posterior.parameters, [measured])
    both = np.stack((posterior.parameters.nominal, posterior.values))
    nominal, fitted = replay.predict(both)[0].position
    figures = []
    for i, name in enumerate(measured.channels):
        before = 1e3 * float(np.sqrt(((nominal - measured.position)[:, i] ** 2).mean()))
        after = 1e3 * float(np.sqrt(((fitted - measured.position)[:, i] ** 2).mean()))
        figures.append(
            f"<div><h3>{html.escape(name)}: {before:.2f} → {after:.2f} mrad RMS</h3>"
            f"{_lags(measured, i, nominal[:, i], fitted[:, i])}"
            f"{_residuals(measured, i, fitted[:, i])}</div>"
        )
    marks = {"measured": "c2", "nominal twin": "c3", "fitted twin": "c1"}
    return card(
        title,
        legend(marks) + f'<div class="grid">{"".join(figures)}</div>',
        f"{measured.source}, {measured.duration_s:.1f} s. Above: how far each joint is from its "
        "command [mrad], where all that is to be identified shows. Below: measured minus fitted, "
        "with two deviations of the noise.",
    )


def _lags(measured: Measurement, i: int, nominal: F64, fitted: F64) -> str:
    thin, time_s = _thin(measured)
    command = np.interp(measured.state_s, measured.command_s, measured.command[:, i])
    curves = [
        Curve(x=time_s, y=1e3 * (signal - command)[thin], color=color)
        for signal, color in (
            (nominal, "c3"),
            (measured.position[:, i], "c2"),
            (fitted, "c1"),
        )
    ]
    return plot(curves, title="distance from the command", x_label="s", size=_PLOT)


def _residuals(measured: Measurement, i: int, fitted: F64) -> str:
    thin, time_s = _thin(measured)
    two = 2e3 * float(measured.position_std[i])
    curve = Curve(x=time_s, y=1e3 * (measured.position[:, i] - fitted)[thin])
    level = Level(y=0.0, low=-two, high=two)
    return plot([curve], title="residual", levels=[level], x_label="s", size=(430, 120))


def _thin(measured: Measurement) -> tuple[np.ndarray, F64]:
    """Which samples are drawn, and when they were."""
    step = max(1, len(measured.state_s) // _POINTS)
    thin = np.arange(0, len(measured.state_s), step)
    return thin, (measured.state_s - measured.state_s[0])[thin]


def _held_out(posterior: Posterior) -> str:
    rows = [
        [
            html.escape(one["source"]),
            f"{one['nominal_mrad']:.3f}",
            f"<b>{one['fitted_mrad']:.3f}</b>",
            f"{one['gain']:.1f} ×",
        ]
        for one in posterior.details.get("held_out", [])
    ]
    return card(
        "Unseen motions [mrad RMS]",
        table(["motion", "nominal", "fitted", "better"], rows),
        "Noise of the measurement is taken off.",
    )


def _cross_check(posterior: Posterior) -> str:
    """What MuJoCo's toolbox finds."""
    other: Mapping[str, object] | None = posterior.details.get("cross_check")
    if not other:
        return ""
    facts = {
        "chi2": f"{other['chi2']:.3f}",
        "disagrees most on": other["disagrees_most"],
        "by": f"{other['by_deviations']:.2f} deviations",
        "evaluations": other["evaluations"],
        "CPU": f"{other['cpu_s']} s",
    }
    return card("Cross-check by mujoco.sysid", pairs(facts))


def _provenance(posterior: Posterior) -> str:
    facts = posterior.details
    where = {"command": facts.get("command", ""), "posterior": posterior.hash}
    where |= {f"measurement {one['source']}": one["hash"] for one in facts["measurements"]}
    where |= {"numbers compared": facts["residuals"], "converged": facts["is_converged"]}
    return card("Where this comes from", pairs(where))
