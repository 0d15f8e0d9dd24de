"""``metabolic bench``: what is measured on this machine, each benchmark in its own module."""

__all__ = ["BENCHES", "app"]

from cyclopts import App

BENCHES = (
    ("gateway", "metabolic.cli.benches.gateway:gateway", "What the gateway adds to a request."),
    ("failover", "metabolic.cli.benches.failover:failover", "Faults and what became of answers."),
    (
        "certificate",
        "metabolic.cli.benches.certificate:certificate",
        "Certified thresholds on stored answers.",
    ),
    ("audit", "metabolic.cli.benches.audit:audit", "Whether an audit's interval holds the truth."),
    ("shadow", "metabolic.cli.benches.shadow:shadow", "What a shadow foretells, and what comes."),
    ("energy", "metabolic.cli.benches.energy:energy", "Whether every joule is accounted for."),
    ("router", "metabolic.cli.benches.router:router", "Queries known, models chosen, baselines."),
    ("sessions", "metabolic.cli.benches.sessions:sessions", "Conversations as a whole, and not."),
    ("thermal", "metabolic.cli.benches.thermal:thermal", "Forecasts of heat, and of power."),
    ("adapt", "metabolic.cli.benches.adapt:adapt", "What heat, battery and budget move."),
    ("cascade", "metabolic.cli.benches.cascade:cascade", "Policies on questions with answers."),
    ("delivery", "metabolic.cli.benches.delivery:delivery", "What each way to deliver takes."),
    (
        "telemetry",
        "metabolic.cli.benches.telemetry:telemetry",
        "What sensors read of recordings, and what it costs.",
    ),
    (
        "validation",
        "metabolic.cli.benches.validation:validation",
        "Validators on labelled answers.",
    ),
    (
        "estimators",
        "metabolic.cli.benches.estimators:estimators",
        "Foretold times and joules of tokens.",
    ),
    (
        "speculation",
        "metabolic.cli.benches.speculation:speculation",
        "Where drafting pays, and whether the gate knows.",
    ),
    (
        "load",
        "metabolic.cli.benches.load:load",
        "Loads and days on simulated engines.",
    ),
)
"""Name, where it is (imported only when it runs), and what ``--help`` says."""

app = App(
    name="bench",
    help="Measure one part on this machine.",
    result_action="return_value",
)
for _name, _target, _text in BENCHES:
    app.command(_target, name=_name, help=_text)
