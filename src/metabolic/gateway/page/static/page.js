// Asks the gateway every two seconds, more seldom when it does not answer, not at all when hidden.
"use strict";

const PERIOD_MS = 2000;
const LONGEST_MS = 30000;
const $ = (id) => document.getElementById(id);

let key = "";
let paused = false;
let wait = PERIOD_MS;
let timer = 0;
let asking = false;

// --- words and numbers: what is not known is "unknown", never 0 -------------------------------

const UNKNOWN = "unknown";
const known = (value) => value !== null && value !== undefined;
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const number = (value) => (Math.abs(value) >= 1000 ? whole : digits).format(value);
const took = (value) => (known(value) ? (value < 1 ? `${number(1000 * value)} ms` : `${number(value)} s`) : UNKNOWN);
const dollars = (value) => (known(value) && value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : amount(value));
const amount = (value, unit = "") => (known(value) ? number(value) + (unit && ` ${unit}`) : UNKNOWN);
const share = (value) => (known(value) ? `${(100 * value).toFixed(Math.abs(value) < 0.1 ? 1 : 0)} %` : UNKNOWN);
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const gigabytes = (value) => (known(value) ? `${(value / 2 ** 30).toFixed(1)} GiB` : UNKNOWN);

function make(tag, content = "", kind = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  for (const part of [content].flat()) made.append(part);
  return made;
}

function cell(content, kind = "") {
  const unknown = content === UNKNOWN ? "unknown" : "";
  return make("td", content, [kind, unknown].filter(Boolean).join(" "));
}

function table(heads, rows, caption = "") {
  const top = make("tr");
  for (const head of heads) {
    const numeric = head.startsWith(">");
    const made = make("th", numeric ? head.slice(1) : head, numeric ? "n" : "");
    made.scope = "col";
    top.append(made);
  }
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr", "", row.kind ?? "");
    row.cells.forEach((content, at) => {
      const long = typeof content === "string" && content.length > 48 ? "long" : "";
      line.append(cell(content, heads[at].startsWith(">") ? "n" : long));
    });
    body.append(line);
  }
  const made = make("table", [make("thead", top), body]);
  if (caption) made.prepend(make("caption", caption));
  return made;
}

function facts(pairs) {
  const list = make("dl", "", "facts");
  for (const [name, value] of pairs) {
    list.append(make("dt", name), make("dd", value, value === UNKNOWN ? "unknown" : ""));
  }
  return list;
}

// --- the machine ------------------------------------------------------------------------------

const LEVELS = { nominal: "good", elevated: "wait", critical: "stop" };

function pill(id, text, kind) {
  const made = $(id);
  made.textContent = text;
  made.className = `pill ${kind}`;
  made.hidden = false;
}

function tiles(state) {
  const m = state.machine;
  const found = [
    ["thermal level", m.level, m.limiting ? `limited by ${m.limiting}` : ""],
    ["headroom", amount(m.headroom_c, "°C"), known(m.headroom_w) ? `${number(m.headroom_w)} W to spare` : ""],
    ["power", amount(m.power_w, "W"), known(m.budget_used_ratio) ? `${share(m.budget_used_ratio)} of what it may draw` : ""],
    ["throttle risk", share(m.throttle_risk_ratio), known(m.time_to_throttle_s) ? `in ${number(m.time_to_throttle_s)} s` : ""],
    ["memory free", gigabytes(m.memory_available_bytes), known(m.memory_total_bytes) ? `of ${gigabytes(m.memory_total_bytes)}` : ""],
    ["being answered", String(state.in_flight), `profile ${m.profile}`],
  ];
  if (known(m.battery_ratio)) found.push(["battery", share(m.battery_ratio), m.on_battery ? "discharging" : "on mains"]);
  const made = found.map(([name, value, note]) => {
    const kind = value === UNKNOWN ? "unknown" : name === "thermal level" ? LEVELS[value] : "";
    const shown = make("dd", value, kind);
    if (note) shown.append(make("small", note));
    return make("div", [make("dt", name), shown]);
  });
  $("tiles").replaceChildren(...made);
  const lost = m.failed.length ? [`could be read before and cannot now: ${m.failed.join(", ")}`] : [];
  $("why").textContent = [...m.reasons, ...lost].join("; ");
}

function reading(found, unit, factor = 1) {
  if (!found) return UNKNOWN;
  return `${amount(found.value * factor, unit)} (${found.origin}, ${found.source})`;
}

function devices(machine) {
  if (!machine.devices.length) {
    $("devices").replaceChildren(make("p", "No sensor of this machine can be read: temperature and power are unknown. “metabolic sense” says why.", "soft"));
    return;
  }
  const rows = machine.devices.map((one) => ({
    cells: [
      one.name, one.kind, reading(one.temperature_c, "°C"), reading(one.limit_c, "°C"), reading(one.power_w, "W"),
      reading(one.utilization_ratio, "%", 100), known(one.throttled) ? (one.throttled ? "yes" : "no") : UNKNOWN,
    ],
  }));
  $("devices").replaceChildren(table(["device", "kind", ">temperature", ">throttles at", ">power", ">in use", "throttled"], rows));
}

function charts(state) {
  const m = state.machine;
  const heat = m.devices.filter((one) => one.temperature_c).slice(0, 4).map((one) => [one.name, one.temperature_c.value]);
  if (known(m.headroom_c)) heat.push(["headroom", m.headroom_c]);
  Charts.add("heat", "Temperature and headroom in °C", "No thermometer can be read here.", state.at_s, heat);
  const power = m.devices.filter((one) => one.power_w).slice(0, 4).map((one) => [one.name, one.power_w.value]);
  if (known(m.power_w)) power.push(["mean of 10 s", m.power_w]);
  Charts.add("power", "Power in W", "No power meter can be read here.", state.at_s, power);
}

// --- who answers, and what it saves -----------------------------------------------------------

function fleet(state) {
  const rows = state.fleet.map((one) => {
    const bar = make("span", make("span"), "share");
    bar.firstChild.style.width = `${100 * (one.share_ratio ?? 0)}%`;
    const busy = one.running || one.waiting ? `${one.running} running, ${one.waiting} waiting` : "idle";
    const healthy = one.healthy === false ? "not healthy" : one.state;
    const part = known(one.share_ratio) ? make("span", [bar, share(one.share_ratio)]) : UNKNOWN;
    return { cells: [one.name, one.tier, healthy, busy, part] };
  });
  const caption = `share of the last ${state.totals.answered} answers`;
  $("fleet").replaceChildren(table(["deployment", "tier", "state", "now", "share"], rows, caption));
}

function saving(one) {
  const names = one.deployments.join(", ") || "nobody";
  const unit = one.unit === "usd" ? "USD" : "J";
  const made = make("div", "", "sum");
  const exact = (value) => `${(100 * value).toFixed(1)} %`;
  const sure = known(one.low) ? ` (${exact(one.low)} to ${exact(one.high)})` : "";
  made.append(make("b", `${share(one.ratio)} of ${unit}`), ` ${sure} against always ${one.against}: ${names}`);
  if (known(one.low)) made.append(range(one));
  const parts = [`${dollars(one.spent)} ${unit} instead of ${dollars(one.alternative)} in ${one.requests} requests`];
  if (one.unknown) parts.push(`${one.unknown} not counted: a figure is unknown`);
  if (known(one.ratio) && !known(one.low)) parts.push("too few sessions for an interval");
  made.append(make("p", parts.join("; "), "soft"));
  return made;
}

function range(one) {
  const least = Math.min(0, one.low, -0.05);
  const most = Math.max(1, one.high);
  const at = (value) => `${(100 * (value - least)) / (most - least)}%`;
  const made = make("div", [make("i"), make("b"), make("u")], "range");
  const [bar, mark, zero] = made.children;
  bar.style.left = at(one.low);
  bar.style.width = `${(100 * (one.high - one.low)) / (most - least)}%`;
  mark.style.left = at(one.ratio);
  zero.style.left = at(0);
  return made;
}

function savings(state) {
  const found = state.saved.filter((one) => one.requests && known(one.ratio));
  const seen = new Set();
  const fresh = found.filter((one) => {
    const same = `${one.unit} ${one.deployments}`;
    return !seen.has(same) && seen.add(same);
  });
  const parts = fresh.map(saving);
  if (!parts.length) parts.push(make("p", "Unknown: no request yet whose costs and alternative are both known.", "unknown"));
  parts.push(make("p", "Net: drafts that were discarded, retries, judges and failures count. The alternative is modelled for the same tokens; the interval (95 %) is over sessions, and does not hold the model's error.", "soft"));
  $("saved").replaceChildren(...parts);
}

// --- the last requests ------------------------------------------------------------------------

function how(row) {
  if (row.failure) return `failed: ${row.failure}`;
  const words = [];
  if (row.escalations) words.push(`escalated ${row.escalations}×`);
  if (row.degraded) words.push("degraded");
  if (row.certified) words.push("certified");
  return words.join(", ") || "at once";
}

function line(row) {
  const open = make("button", time(row.at_s), "row");
  open.type = "button";
  open.setAttribute("aria-label", `Open request of ${time(row.at_s)}: ${row.task}, ${row.deployment ?? "no answer"}`);
  open.addEventListener("click", () => show(row.id));
  const far = known(row.remote_energy_j) ? `${number(row.remote_energy_j)} J remote, modelled` : "";
  const near = known(row.energy_j) ? `${number(row.energy_j)} J ${row.energy_origin}` : "";
  const energy = near && far ? [near, make("br"), far] : near || far || UNKNOWN;
  const made = make("tr", [
    make("td", open), cell(row.lane === row.task ? row.task : `${row.task} / ${row.lane}`), cell(row.deployment ?? "nobody"),
    cell(how(row), row.failure ? "stop" : ""), cell(took(row.seconds), "n"), cell(amount(row.output_tokens), "n"),
    cell(energy, "n"), cell(dollars(row.cost_usd), "n"), cell(dollars(row.carbon_g), "n"),
  ]);
  made.dataset.id = row.id;
  return made;
}

function requests(state) {
  const body = $("rows");
  const there = new Map([...body.children].map((row) => [row.dataset.id, row]));
  const wanted = new Set(state.requests.map((row) => row.id));
  for (const [id, row] of there) if (!wanted.has(id)) row.remove();
  let before = body.firstChild;
  for (const row of state.requests) {
    const old = there.get(row.id);
    if (old && old === before) before = old.nextSibling;
    else body.insertBefore(old ?? line(row), before);
  }
  $("none").hidden = state.requests.length > 0;
  const t = state.totals;
  $("totals").textContent = t.requests
    ? `The last ${t.requests} requests, since ${time(state.from_s)}: ${t.answered} answered, ${t.escalated} escalated, ${t.degraded} degraded; median ${took(t.seconds_p50)}. ${state.requests.length} are listed.`
    : "";
}

// --- one request, down to every candidate ------------------------------------------------------

function candidates(found) {
  const stages = found.decision.stages ?? [];
  const rows = (found.decision.candidates ?? []).map((one) => {
    const e = one.estimate ?? {};
    const stage = stages.findIndex((other) => other.deployment === one.deployment && (other.variant ?? null) === (one.variant ?? null));
    const kept = stage >= 0 ? `stage ${stage + 1}` : one.rejected ? `rejected: ${one.rejected}` : "fit, not chosen";
    const good = one.estimate ? share(e.p_correct ?? 0.5) : UNKNOWN;
    return {
      kind: stage >= 0 ? "chosen" : "",
      cells: [
        one.variant ? `${one.deployment} (${one.variant})` : one.deployment, kept, good, one.estimate ? String(e.evidence ?? 0) : UNKNOWN,
        took(e.ttft_s), amount(e.energy_j, "J"), dollars(e.cost_usd), dollars(e.carbon_g), one.estimate ? dollars(e.net_usd ?? 0) : UNKNOWN,
      ],
    };
  });
  return table(["candidate", "verdict", ">p good", ">labels", ">first token", ">energy", ">USD", ">gCO2e", ">net USD"], rows);
}

function plans(found) {
  const rows = (found.decision.plans ?? []).map((one) => ({
    cells: [one.stages.join(" then "), share(one.p_correct), share(one.p_escalate ?? 0), amount(one.expected_energy_j, "J"), dollars(one.expected_net_usd)],
  }));
  return table(["plan", ">p good", ">escalates", ">energy", ">net USD"], rows);
}

function calls(receipt) {
  const rows = receipt.attempts.map((one) => ({
    cells: [
      `${one.call} ${one.role}`, one.deployment, one.failure ? `failed: ${one.failure.kind}` : receipt.answer && receipt.answer.call === one.call ? "given" : "set aside",
      known(one.confidence) ? share(one.confidence) : UNKNOWN, [...(one.reasons ?? []), ...(one.doubtful ? ["doubtful"] : [])].join("; ") || "–",
      took(one.seconds), amount(one.usage.input_tokens), amount(one.usage.cached_tokens), amount(one.usage.output_tokens),
      one.energy ? `${number(one.energy.energy_j)} J ${one.energy.origin}` : UNKNOWN, dollars(one.tokens_usd),
    ],
  }));
  return table(["call", "deployment", "outcome", ">confidence", "verdict", ">took", ">in", ">cached", ">out", ">energy", ">token USD"], rows);
}

function bill(receipt) {
  const e = receipt.energy;
  const rows = [["this request", e ? `${number(e.energy_j)} J (${number(e.low_j)} to ${number(e.high_j)}), ${e.origin}, ${e.status}` : UNKNOWN, dollars(total(receipt.cost)), receipt.carbon ? `${dollars(receipt.carbon.carbon_g)} g` : UNKNOWN]];
  const far = receipt.remote_energy;
  if (far) rows.push(["remote calls, never added", `${number(far.energy_j)} J (${number(far.low_j)} to ${number(far.high_j)}), ${far.origin}`, "in the line above", UNKNOWN]);
  for (const one of receipt.baselines) rows.push([`always ${one.deployment} (modelled)`, amount(one.energy_j, "J"), dollars(one.cost_usd), UNKNOWN]);
  return table(["bill", ">energy", ">USD", ">CO2e"], rows.map((cells) => ({ cells })));
}

function total(cost) {
  return cost.tokens_usd + (cost.electricity_usd ?? 0) + (cost.rent_usd ?? 0);
}

function scrolled(label, content) {
  const made = make("div", content, "scroll panel");
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", label);
  return made;
}

function words(found) {
  const list = make("ul");
  for (const one of found.words) list.append(make("li", one));
  return found.words.length ? list : make("p", "No reason beyond the figures below.", "soft");
}

function opened(found) {
  const { ask, signals, decision, receipt } = found;
  const stages = (decision.stages ?? []).map((one) => (known(one.min_confidence) ? `${one.deployment} (kept from ${share(one.min_confidence)})` : one.deployment));
  const chosen = facts([
    ["id", receipt.id],
    ["asked", `${new Date(receipt.at_s * 1000).toLocaleString("en-GB")}, ${ask.dialect ?? "chat"}${ask.stream ? ", streamed" : ""}, ${amount(ask.input_tokens ?? 0)} tokens in`],
    ["seen as", `${signals.task ?? "other"}, lane ${signals.lane ?? "other"}; simple ${share(signals.p_simple ?? 1 / 3)}, complex ${share(signals.p_complex ?? 1 / 3)} (${signals.classifier ?? "none"})`],
    ["machine", receipt.level],
    ["stages", stages.join(" then ") || "nobody could answer"],
    ["delivery", decision.delivery ?? "hold"],
    ["certificate", decision.certificate ?? "none"],
    ["no cascade because", decision.abstained ?? "–"],
    ["dial", known(ask.preference) ? `${ask.preference} (0 quality, 1 thrift), the client's` : "the profile's"],
  ]);
  $("one-head").textContent = receipt.answer ? `Answered by ${receipt.answer.deployment}` : "Not answered";
  $("one-body").replaceChildren(
    chosen,
    make("h3", "Why this plan"), words(found),
    make("h3", "Every candidate"), scrolled("Candidates", candidates(found)),
    make("h3", "Plans considered, cheapest first"), scrolled("Plans", plans(found)),
    make("h3", "Calls made"), scrolled("Calls", calls(receipt)),
    make("h3", "Bill"), scrolled("Bill", bill(receipt)),
    make("p", "The prompt and the answer are not kept.", "soft"),
  );
}

async function show(id) {
  try {
    opened(await ask(`/ui/requests/${encodeURIComponent(id)}`));
  } catch (error) {
    $("one-head").textContent = "Request";
    $("one-body").replaceChildren(make("p", String(error.message ?? error)));
  }
  $("one").showModal();
  $("one").scrollTop = 0;
}

// --- asking -----------------------------------------------------------------------------------

async function ask(path) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const got = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (got.status === 401) throw Object.assign(new Error("An API key is needed."), { locked: true });
  const body = await got.json();
  if (!got.ok) throw new Error(body.error?.message ?? `status ${got.status}`);
  return body;
}

function render(state) {
  $("version").textContent = state.version;
  const words = state.draining ? ["draining", "wait"] : state.ready ? ["ready", "good"] : ["starting", "wait"];
  pill("ready", ...words);
  pill("level", `heat: ${state.machine.level}`, LEVELS[state.machine.level] ?? "");
  $("when").textContent = `as of ${time(state.at_s)}`;
  $("key").hidden = true;
  $("main").hidden = false;
  tiles(state);
  charts(state);
  devices(state.machine);
  savings(state);
  fleet(state);
  requests(state);
}

async function look() {
  clearTimeout(timer);
  if (paused || document.hidden || asking) return;
  asking = true;
  try {
    render(await ask("/ui/state"));
    wait = PERIOD_MS;
    say("");
  } catch (error) {
    wait = Math.min(LONGEST_MS, 2 * wait);
    if (error.locked) return lock();
    pill("ready", "no connection", "stop");
    say(`The gateway does not answer (${error.message ?? error}); what is shown is old. Asking again in ${wait / 1000} s.`);
  } finally {
    asking = false;
  }
  timer = setTimeout(look, wait);
}

function say(text) {
  if ($("said").textContent !== text) $("said").textContent = text;
}

function lock() {
  const again = key !== "";
  key = "";
  pill("ready", "locked", "wait");
  say(again ? "That key is not known here." : "");
  $("main").hidden = true;
  $("key").hidden = false;
  $("secret").focus();
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("secret").value;
  $("secret").value = "";
  look();
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Resume" : "Pause";
  look();
});
$("close").addEventListener("click", () => $("one").close());
document.addEventListener("visibilitychange", look);
look();
