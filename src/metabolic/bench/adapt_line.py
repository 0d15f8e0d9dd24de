"""The deciding half of the line on the made machine: sensors, state, policy, decisions."""

__all__ = ["Asker", "Fleet", "Line", "Moment", "fleet_of"]

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from metabolic import plugins
from metabolic.bench.adapt_machine import Machine
from metabolic.bench.adapt_script import Look
from metabolic.bench.answers import Respondent, record
from metabolic.bench.fleet import open_fleet
from metabolic.bench.questions import own_questions
from metabolic.config import Config
from metabolic.config.tables import ModelsTable, ProfileTable, SenseTable
from metabolic.core.decision import Belief, Decision
from metabolic.core.errors import EngineError, StoreError
from metabolic.core.fleet import Deployment, FleetSpec, Load, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import Prepared, prepare
from metabolic.decide.impacts import keeping, slots
from metabolic.decide.metabolism import assess
from metabolic.decide.profiles import transition
from metabolic.execute.snapshot import coarse
from metabolic.wiring.fleet import assemble
from metabolic.wiring.policy import home_of, policy_of
from metabolic.wiring.senses import probe_of

_EPOCH_S = 1_790_000_000.0
_RIGHT = (0.70, 0.84, 0.88)
_EVIDENCE = 10_000
_SIMPLE = Signals(task="extraction", lane="extraction", p_simple=0.7, p_medium=0.2, p_complex=0.1)
_COMPLEX = Signals(task="extraction", lane="extraction", p_simple=0.1, p_medium=0.2, p_complex=0.7)
_SLOTS = 4
_BUDGET_RATIO = 1.5
"""The operator's budget over the processor's own limit."""

Asker = Callable[[str], Coroutine[None, None, bool]]
"""Asks the engine of a deployment a question; true when it answered."""


class Fleet(Struct, frozen=True, kw_only=True):
    """The local models, smallest first, and the share of right answers given to each."""

    spec: FleetSpec
    right: tuple[tuple[str, float], ...]

    async def engines(
        self, config: Config, stack: AsyncExitStack, *, say: Callable[[str], None]
    ) -> tuple[Asker | None, str]:
        """Start the real engines; return how to ask one, or ``None`` and why not."""
        try:
            respondents = await stack.enter_async_context(open_fleet(config, say=say))
        except (EngineError, StoreError) as exc:
            return None, str(exc)
        by_name = {one.deployment.name: one for one in respondents}
        questions = own_questions()
        count = iter(range(10**6))

        async def ask(name: str) -> bool:
            one: Respondent | None = by_name.get(name)
            if one is None:
                return False
            question = questions[next(count) % len(questions)]
            book = await record(
                (one,), (question,), classifier=plugins.classifier("rules"), say=_nothing
            )
            return book.answers[question.id, name].failure is None

        return ask, ""


def _nothing(_: str) -> None:
    """Say nothing."""


def fleet_of(config: Config) -> Fleet:
    """Return the three local models that come along, on one device, with beliefs set by hand."""
    plain = Config(models=replace(config.models, fleet="registry"))
    found = [one for one in assemble(plain).fleet.deployments if one.device is not None]
    ordered = sorted(found, key=_size)[: len(_RIGHT)]
    free = [
        replace(
            one,
            tasks=(),
            slots=_SLOTS,
            memory_bytes=one.memory_bytes or one.model.file_bytes,
            capabilities=tuple([name for name in one.capabilities if name != "logprobs"]),
        )
        for one in ordered
    ]
    return Fleet(
        spec=sealed(FleetSpec(id="", deployments=tuple(free))),
        right=tuple([(one.name, p) for one, p in zip(free, _RIGHT, strict=False)]),
    )


def _size(deployment: Deployment) -> float:
    """Order by parameters."""
    model = deployment.model
    return float(model.active_parameters or model.total_parameters or 0)


class Moment(Struct, frozen=True, kw_only=True):
    """What was decided at one scripted second.

    ``expected_w`` is what the answers will draw above idle; ``largest_w`` what they would if the
    largest model gave them all. ``first`` is the model most requests go to first.
    """

    look: Look
    shares: tuple[tuple[str, float], ...]
    expected_w: float
    largest_w: float
    first: str
    headroom_c: float | None
    power_level: str
    memory_level: str


class Line:
    """Reads the made machine with the real sensors and decides as the gateway does."""

    def __init__(self, config: Config, fleet: Fleet, root: Path, *, machine: Machine) -> None:
        """Take a machine and its folder."""
        self.budget_w = _BUDGET_RATIO * machine.part.full_w
        self._bears_w: float = machine.plant.limit_w() - machine.part.idle_w
        self._config = replace(
            config,
            sense=SenseTable(root=str(root)),
            profile=ProfileTable(name="auto", power_budget_w=self.budget_w),
            models=ModelsTable(fleet="none"),
        )
        self._fleet, self._now_s = fleet, _EPOCH_S
        self._probe = probe_of(self._config, clock=lambda: self._now_s)
        self._home = home_of(self._config, "edge")
        self._prepared: dict[str, Prepared] = {}
        self._in_force = self._home
        self._state: MetabolicState | None = None
        self._largest_j = 0.0

    def look(self, at_s: float, load: float, *, requests: int) -> Moment:
        """Read, assess, decide on a handful of requests; the first of them is a complex one."""
        self._now_s = _EPOCH_S + at_s
        state = self._state = assess(self._probe.poll(), self._state, self._in_force)
        self._in_force = transition(self._home, state)
        prepared, situation = self._policy(), self._situation(coarse(state))
        decisions = [
            decide(
                Ask(id=f"{at_s}/{number}", at_s=self._now_s, input_tokens=200),
                _COMPLEX if number == 0 else _SIMPLE,
                situation,
                prepared.policy,
                prepared=prepared,
            )
            for number in range(requests)
        ]
        return self._moment(state, decisions, load)

    def _policy(self) -> Prepared:
        """Return the policy of the profile in force, with beliefs set by hand."""
        name = self._in_force.name
        if name not in self._prepared:
            policy = policy_of(self._config, self._in_force)
            beliefs = tuple(
                Belief(deployment=one, lane="*", p_correct=p, evidence=_EVIDENCE)
                for one, p in self._fleet.right
            )
            policy = sealed(replace(policy, id="", beliefs=beliefs))
            self._prepared[name] = prepare(self._fleet.spec, policy)
        return self._prepared[name]

    def _situation(self, state: MetabolicState) -> Situation:
        """Return the machine with every model warm."""
        return Situation(
            at_s=self._now_s,
            metabolic=state,
            fleet=self._fleet.spec,
            load=tuple([Load(deployment=one.name) for one in self._fleet.spec.deployments]),
        )

    def _moment(self, state: MetabolicState, decisions: Sequence[Decision], load: float) -> Moment:
        """Put together what was decided."""
        names = [name for name, _ in self._fleet.right]
        firsts = [(*one.stages, *one.fallbacks)[0].deployment for one in decisions]
        shares = tuple([(name, firsts.count(name) / len(firsts)) for name in names])
        joules = [_joules(one, first) for one, first in zip(decisions, firsts, strict=True)]
        most_j = max(_joules(decisions[-1], name) for name in names)
        size = sum(names.index(name) for name in firsts) / len(firsts) / (len(names) - 1)
        largest = next(one for one in decisions[-1].candidates if one.deployment == names[-1])
        per_j = load * self._bears_w / self._most_j(most_j)
        speculation = decisions[-1].speculation
        look = Look(
            level=state.level,
            profile=state.profile,
            risk_ratio=state.throttle_risk_ratio,
            size=size,
            joules=sum(joules) / len(joules),
            speculation=None if speculation is None else speculation.wanted,
            slots=slots(state, _SLOTS),
            largest_allowed=largest.rejected is None,
            warm_up=keeping(state).warm_up,
            marked=sum(not one.stages for one in decisions) / len(decisions),
            reasons=state.reasons,
        )
        return Moment(
            look=look,
            shares=shares,
            expected_w=per_j * sum(joules) / len(joules),
            largest_w=load * self._bears_w,
            first=max(shares, key=lambda one: (one[1], one[0]))[0],
            headroom_c=state.headroom_c,
            power_level=state.power_level,
            memory_level=state.memory_level,
        )

    def _most_j(self, seen_j: float) -> float:
        """Return the joules of the largest model, also while it is rejected."""
        self._largest_j = max(seen_j, self._largest_j)
        return self._largest_j


def _joules(decision: Decision, name: str) -> float:
    """Return what an answer by a deployment is expected to draw; 0 when it was not judged."""
    for one in decision.candidates:
        if one.deployment == name and one.estimate is not None:
            return one.estimate.energy_j or 0.0
    return 0.0
