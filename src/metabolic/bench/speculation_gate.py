"""The product's own gate in the benchmark of speculation: it learns, then chooses an arm."""

__all__ = ["RULES", "Gate", "Setting"]

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from metabolic import plugins
from metabolic.bench.speculation_engines import Arm, Said
from metabolic.core.decision import Policy
from metabolic.core.fleet import Deployment, FleetSpec, Load, Model, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.core.signals import Signals
from metabolic.core.speculation import Drafter
from metabolic.decide.decide import decide
from metabolic.decide.profiles import profile
from metabolic.execute.speculation import Drafted
from metabolic.wiring.defaults import speed_of

_BYTES_PER_TOKEN = 4


class Setting(Struct, frozen=True, kw_only=True):
    """One rule that chooses, and the machine it chooses on."""

    name: str
    rule: Literal["gate", "headroom"]
    state: MetabolicState


RULES = (
    Setting(name="gate", rule="gate", state=MetabolicState()),
    Setting(
        name="headroom",
        rule="headroom",
        state=MetabolicState(level="nominal", headroom_c=40.0),
    ),
)


class Gate:
    """One target with its twins, as the product knows them."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        """Take the arms of one target; ``off`` is among them."""
        self.target = arms[0].target
        self._names = {self._name(arm): arm.name for arm in arms}
        self._deployments = tuple(self._deployment(arm) for arm in arms)
        self._drafted = Drafted(self._deployments)
        self._classifier = plugins.classifier("rules", {})

    def _name(self, arm: Arm) -> str:
        """Return the deployment of an arm."""
        return self.target if arm.launch is None else f"{self.target}+{arm.name}"

    def _deployment(self, arm: Arm) -> Deployment:
        """Return an arm as a deployment of the fleet."""
        model = Model(
            id=self.target,
            tier="small",
            total_parameters=arm.parameters,
            active_parameters=arm.parameters,
        )
        speed = speed_of(model)
        drafter = None
        if arm.launch is not None:
            drafter = Drafter(
                method=arm.launch.method,
                twin_of=self.target,
                num_speculative_tokens=arm.launch.num_speculative_tokens,
                draft_cost_ratio=(arm.draft_parameters or 0) / arm.parameters,
                reports=True,
            )
        return Deployment(
            name=self._name(arm),
            model=model,
            kind="local",
            device="cpu",
            prefill_tokens_per_s=speed.prefill_tokens_per_s,
            decode_tokens_per_s=speed.decode_tokens_per_s,
            drafting=drafter,
        )

    def learn(self, prompt: str, said: Mapping[str, Said]) -> None:
        """Take every arm's answer to a prompt; its CPU time is the time it took."""
        task = self._signals(prompt).task
        for deployment in self._deployments:
            one = said.get(self._names[deployment.name])
            if one is None:
                continue
            if deployment.drafting is None:
                self._drafted.saw_plain(
                    deployment.name, seconds=one.cpu_s, output_tokens=one.tokens
                )
            else:
                self._drafted.saw(
                    deployment.name,
                    replace(one.drafts, decode_s=one.cpu_s),
                    output_tokens=one.tokens,
                    task=task,
                    temperature=0.0,
                    input_tokens=len(prompt) // _BYTES_PER_TOKEN,
                )

    def choose(self, prompt: str, setting: Setting) -> tuple[str, str]:
        """Return the arm that the rule has answer a prompt, and why."""
        tokens = len(prompt) // _BYTES_PER_TOKEN
        signals = self._signals(prompt)
        loads = self._drafted.informed(
            tuple(Load(deployment=one.name) for one in self._deployments),
            task=signals.task,
            temperature=0.0,
            input_tokens=tokens,
        )
        fleet = FleetSpec(
            id="bench",
            deployments=tuple(sorted(self._deployments, key=lambda one: one.name)),
        )
        situation = Situation(at_s=0.0, metabolic=setting.state, fleet=fleet, load=loads)
        policy = Policy(id="bench", profile=profile("edge"), speculation_rule=setting.rule)
        ask = Ask(id="bench", at_s=0.0, input_tokens=tokens)
        made = decide(ask, signals, situation, policy)
        found = made.speculation
        if found is None:
            return "off", "nobody drafts"
        arm = self._names[made.stages[0].deployment]
        figures = f"S {found.gain_ratio} ({found.gain_low_ratio} to {found.gain_high_ratio})"
        return arm, f"{signals.task}: {arm}; best was {found.deployment}: {figures}, {found.why}"

    def _signals(self, prompt: str) -> Signals:
        """Return what the classifier sees of a prompt."""
        messages = (Message(role="user", content=(Text(text=prompt),)),)
        return self._classifier.classify(
            Request(id="bench", dialect="chat", model=self.target, messages=messages)
        )
