// What is known of one chart, or of one event: the panel at the side.

import { clock, count, el, keyOf, lasting, rate, say, shown, troubleWords, wait, way } from "./dom.js";
import { ask } from "./feed.js";
import { diagram } from "./states.js";

const WIDTH = 460;
const PATH = 6;
const MOST_FLOWS = 12;
const MOST_KIN = 6;
// The height of a line, as the style sheet has it.
const LINE = 17;
const ABOVE = 8;

export class Panel {
  constructor(element, { chart, moment, story, closed }) {
    this.element = element;
    this.openChart = chart;
    this.openMoment = moment;
    this.told_story = story;
    this.closed = closed;
    this.what = null;
  }

  get open() {
    return !this.element.hidden;
  }

  close() {
    this.what = null;
    this.element.hidden = true;
    this.element.replaceChildren();
    this.closed();
  }

  chart(node, chart, mesh) {
    this.what = keyOf(node, chart);
    this.at = { node, chart };
    this.parts = {
      facts: el("dl"),
      states: el("div"),
      path: el("div", { class: "path" }),
      flows: el("table", { class: "flows" }),
      trace: el("pre", { tabindex: 0, "aria-label": "Last transitions" }),
      steps: el("p", { class: "faint" }),
      spy: el("pre", { tabindex: 0, "aria-label": "Last steps" }),
    };
    const { facts, states, path, flows, trace, steps: about, spy } = this.parts;
    this.print = "";
    this.fill(shown(chart), `of node ${shown(node)}`, [
      facts,
      el("h3", {}, "States, as they were seen"),
      states,
      path,
      el("h3", {}, "What flows"),
      flows,
      el("h3", {}, "Last transitions"),
      trace,
      el("h3", {}, "Last steps (spy)"),
      about,
      spy,
    ]);
    this.mesh(mesh);
  }

  async moment(id) {
    this.what = `moment ${id}`;
    const what = this.what;
    this.fill("Event", "", [el("p", { class: "faint" }, "looking")]);
    try {
      const told = await ask("/api/moment", { id });
      if (this.what === what) this.story(told);
    } catch (error) {
      if (this.what === what) this.fill("Event", "", [el("p", {}, shown(error.message))]);
    }
  }

  mesh(mesh) {
    if (!this.parts || !mesh || !this.at || this.what !== keyOf(this.at.node, this.at.chart))
      return;
    const { node, chart } = this.at;
    const told = mesh.charts.find((each) => each.node === node && each.chart === chart);
    const troubles = mesh.troubles.filter(
      (each) => each.node === node && [chart, ""].includes(each.chart),
    );
    this.told = told;
    this.kin = mesh.charts.filter(
      (each) => told?.group && each.group === told.group && each !== told,
    );
    this.flows(mesh.flows);
    this.troubles = troubles;
    this.look();
  }

  // Of both directions, the fastest first.
  flows(all) {
    const own = JSON.stringify([this.at.node, this.at.chart]);
    const mine = all.filter((each) =>
      [each.from, each.to].some((place) => JSON.stringify(place) === own),
    );
    const rows = mine.slice(0, MOST_FLOWS).map((each) => {
      const out = JSON.stringify(each.from) === own;
      const [node, chart] = out ? each.to : each.from;
      return el("tr", {}, [
        el("td", {}, out ? "to" : "from"),
        el("td", {}, node ? `${shown(chart)} of ${shown(node)}` : shown(chart)),
        el(
          "td",
          { class: "mono" },
          Object.keys(each.signals)
            .slice(0, 3)
            .map((name) => shown(name, 24))
            .join(", "),
        ),
        el("td", { class: "number" }, each.rate > 0 ? rate(each.rate) : count(each.count, "event")),
        el("td", { class: "number" }, way(each.latency_s)),
      ]);
    });
    const none = el("tr", {}, el("td", { class: "faint" }, "Nothing was seen to come or go yet."));
    this.parts.flows.replaceChildren(...(rows.length ? rows : [none]));
  }

  async look() {
    const what = this.what;
    // Null for a chart that has told nothing; what fails is asked for again in a second.
    const seen = await ask("/api/chart", this.at).catch(() => undefined);
    if (this.what === what && seen !== undefined) this.renew(seen);
  }

  renew(seen) {
    const { facts, states, path, trace, steps: about, spy } = this.parts;
    const stuck = this.troubles.find((each) => each.kind === "stuck");
    const last = this.told?.last ? `${shown(this.told.last)}()` : "one event";
    const rows = [
      ...chartFacts(this.told, seen, this.kin, this.troubles),
      ...this.troubles.map((each) => [
        each.kind,
        each === stuck ? troubleWords(each, `at ${last}`) : troubleWords(each),
        "bad",
      ]),
    ];
    const missing = stuck ? ` ${last}, at which it is stuck, is not among them.` : "";
    say(about, `Every step of its event processor, once an event is handled.${missing}`);
    const print = JSON.stringify([rows, seen?.transitions, seen?.path, seen?.state]);
    if (print !== this.print) {
      this.print = print;
      facts.replaceChildren(
        ...rows.flatMap(([name, words, kind]) => [
          el("dt", {}, name),
          el("dd", { class: kind ?? null }, words),
        ]),
      );
      this.draw(states, path, seen);
    }
    lines(trace, seen?.trace, "No transition was told: the chart needs enable_snoop_trace.");
    lines(spy, seen?.spy, "No step was told: the chart needs enable_snoop_spy.");
  }

  draw(states, path, seen) {
    if (!seen?.transitions.length) {
      states.replaceChildren(el("p", { class: "faint" }, "No transition was seen yet."));
      path.replaceChildren();
      return;
    }
    const { picture, cut } = diagram(seen, WIDTH);
    const left = [
      cut && `${count(cut, "more state")}`,
      seen.unlisted && `${count(seen.unlisted, "transition")} of further kinds`,
    ];
    const words = left.filter(Boolean).join(", ");
    states.replaceChildren(
      picture,
      words ? el("p", { class: "faint" }, `not drawn: ${words}`) : "",
    );
    const lately = seen.path.slice(-PATH);
    path.replaceChildren(
      ...lately.flatMap(([from, signal, to], at) =>
        [
          at === 0 ? el("span", {}, shown(from, 24)) : null,
          el("span", { class: "signal" }, `—${shown(signal, 24)}→`),
          el("span", { class: at === lately.length - 1 ? "here" : null }, shown(to, 24)),
        ].filter(Boolean),
      ),
    );
  }

  story({ moment, chain, effects }) {
    this.told_story([...chain, ...effects].map((each) => each.id));
    const rows = [
      ["chart", shown(moment.at[1])],
      ["node", shown(moment.at[0])],
      ["at", clock(moment.time)],
      [
        "sent by",
        moment.sender
          ? shown(`${moment.sender[1]} of ${moment.sender[0] || "an unknown node"}`)
          : "itself",
      ],
      ["event id", shown(moment.event ?? "")],
    ];
    const facts = rows.flatMap(([name, words]) => [el("dt", {}, name), el("dd", {}, words)]);
    const reopen = () => this.openChart(...moment.at);
    this.fill(`${shown(moment.signal)}()`, steps(moment), [
      el("dl", {}, facts),
      el("p", {}, el("button", { onclick: reopen }, "Open its chart")),
      el("h3", {}, chain.length > 1 ? "What led to it" : "Nothing that is known led to it"),
      this.list(chain, moment.id),
      el("h3", {}, effects.length ? "What it led to" : "It led to nothing that is known"),
      this.list(effects, moment.id),
    ]);
  }

  list(moments, chosen) {
    return el(
      "ol",
      { class: "steps" },
      moments.map((each) => this.step(each, chosen)),
    );
  }

  step(each, chosen) {
    const place = `${shown(each.at[1])} of ${shown(each.at[0])}`;
    const late = each.latency_s === null ? "" : ` · ${way(each.latency_s)} after its cause`;
    const kind = each.distance ? `distance-${Math.min(each.distance, 3)}` : null;
    const open = () => this.openMoment(each.id);
    return el("li", { class: kind }, [
      el("button", { class: each.id === chosen ? "chosen" : null, onclick: open }, [
        el("span", { class: "mono" }, `${shown(each.signal)}()  ${steps(each)}`),
        el("span", { class: "faint" }, `${clock(each.time)} · ${place}${late}`),
      ]),
    ]);
  }

  fill(title, sub, children) {
    const close = el(
      "button",
      { class: "quiet", "aria-label": "Close", onclick: () => this.close() },
      "✕",
    );
    const words = el("div", {}, el("h2", {}, title), el("p", { class: "faint" }, sub));
    this.element.replaceChildren(el("div", { class: "top" }, words, close), ...children);
    this.element.hidden = false;
    this.element.scrollTop = 0;
    // So that a keyboard goes on from here, and Escape goes back.
    close.focus({ preventScroll: true });
  }
}

export function steps(moment) {
  if (moment.to) return `${shown(moment.from)} → ${shown(moment.to)}`;
  return moment.from ? `in ${shown(moment.from)}` : "";
}

function chartFacts(told, seen, kin, troubles) {
  const late = troubles.some((each) => each.kind === "waits");
  const state = told?.dead ? "dead" : told?.state || seen?.state;
  const asks = told?.asks
    .map((each) => `an answer to ${shown(each.signal)}(), for ${lasting(each.waited_s)}`)
    .join(", ");
  const queue = seen?.queued ?? null;
  return [
    ["state", shown(state || "not told"), told?.dead ? "bad" : undefined],
    [
      "handled",
      told?.handled === null || !told
        ? "not told"
        : `${count(told.handled, "event")}, ${rate(told.rate)}`,
    ],
    told?.last ? ["last event", shown(told.last)] : null,
    told && told.waiting !== null
      ? ["inbox", told.waiting ? wait(told.waiting) : "no event waits"]
      : null,
    queue === null
      ? null
      : ["last step", `left ${count(queue, "event")} in its queue, and ${seen.deferred} deferred`],
    asks && !late ? ["waits for", asks] : null,
    told?.group ? ["group", groupWords(told.group, kin)] : null,
    seen?.missing ? ["not seen", count(seen.missing, "record")] : null,
  ].filter(Boolean);
}

function groupWords(group, kin) {
  const others = kin
    .slice(0, MOST_KIN)
    .map((each) => `${shown(each.chart)} of ${shown(each.node)}`);
  const more = kin.length > MOST_KIN ? ` and ${kin.length - MOST_KIN} more` : "";
  return others.length ? `${shown(group)}, with ${others.join(", ")}${more}` : shown(group);
}

// Follows the newest line, unless the reader has scrolled up.
function lines(place, given, none) {
  const text =
    given?.length && given.some(Boolean) ? given.map((line) => shown(line, 400)).join("\n") : none;
  const follows = place.scrollTop + place.clientHeight >= place.scrollHeight - 2 * LINE;
  if (place.textContent === text) return;
  say(place, text);
  // So that the first line is whole: as much is free below the last one.
  const over = place.scrollHeight - ABOVE - LINE - place.clientHeight;
  if (follows) place.scrollTop = over > 0 ? ABOVE + Math.ceil(over / LINE) * LINE : 0;
}
