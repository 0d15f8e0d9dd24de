"""What would be decided, without starting anything: for ``metabolic explain``."""

__all__ = ["Explanation", "Offline", "offline"]

from msgspec import Struct

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.checking import Checking
from metabolic.core.decision import Decision
from metabolic.core.fleet import FleetSpec, Load, Situation
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.metabolism import assess
from metabolic.execute.clock import RealClock
from metabolic.wiring.fleet import assemble
from metabolic.wiring.policy import Chooser
from metabolic.wiring.senses import probe_of

_CHARS_PER_TOKEN = 4


class Explanation(Struct, frozen=True, kw_only=True):
    """One decision with everything it was made from; ``checking`` is what validators take."""

    ask: Ask
    signals: Signals
    situation: Situation
    decision: Decision
    checking: Checking | None = None


class Offline:
    """The deciding half of a runtime, with every deployment taken to be up."""

    def __init__(self, config: Config) -> None:
        """Read the machine once and assemble the fleet; see ``offline``."""
        self.config = config
        self._clock = RealClock()
        probe = probe_of(config)
        self.hardware: HardwareState = probe.poll()
        probe.close()
        assembled = assemble(config)
        self.fleet: FleetSpec = assembled.fleet
        self.why = assembled.why
        self.chooser = Chooser(config, self.fleet, self.hardware)
        self.metabolic: MetabolicState = assess(self.hardware, None, self.chooser.policy.profile)
        self.chooser.follow(self.metabolic)
        self._classifier = plugins.classifier(
            config.routing.classifier.kind, config.routing.classifier.options
        )

    def explain(self, prompt: str, *, preference: float | None = None) -> Explanation:
        """Return what would be decided for one user message, and from what."""
        request = Request(
            id="explain",
            dialect="chat",
            model="auto",
            messages=(Message(role="user", content=(Text(text=prompt),)),),
        )
        ask = Ask(
            id="explain",
            at_s=self._clock.now_s(),
            preference=preference,
            input_tokens=max(1, len(prompt) // _CHARS_PER_TOKEN),
        )
        signals = self._classifier.classify(request)
        situation = Situation(
            at_s=ask.at_s,
            metabolic=self.metabolic,
            fleet=self.fleet,
            load=tuple(Load(deployment=one.name) for one in self.fleet.deployments),
        )
        prepared = self.chooser.prepared
        decision = decide(ask, signals, situation, prepared.policy, prepared=prepared)
        return Explanation(
            ask=ask,
            signals=signals,
            situation=situation,
            decision=decision,
            checking=prepared.policy.checking,
        )


def offline(config: Config) -> Offline:
    """Return what decides for a configuration without starting anything.

    Raises:
        ConfigError: the configuration names adapters or models that do not exist.
        StoreError: no source of default models may be used.
    """
    return Offline(config)
