// The mesh as a graph: nodes with their charts, brokers, and what flows between charts.

import { count, el, keyOf, lasting, rate, say, shown, svg, troubleWords, wait } from "./dom.js";
import { FlowLayer } from "./flows.js";
import { layout } from "./layout.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EMPTY =
  "No node tells of itself: one does while a chart of it has a snoop stream enabled (enable_snoop_trace).";

const LEGEND = [
  ["busy", "blue", "events flow"],
  ["", "grey", "none now"],
  ["wait", "red dashed", "waits for an answer"],
];

const TOOK = "ms: median from the step that sent it to the step that it caused";

export class MeshView {
  constructor({ chart }) {
    this.open = chart;
    this.find = el("input", {
      type: "search",
      placeholder: "Find a chart",
      "aria-label": "Find a chart",
    });
    this.find.addEventListener("input", () => this.draw());
    this.remark = el("span", { class: "faint" });
    this.canvas = el("div", { class: "scroll", id: "graph" });
    const bar = el("div", { class: "bar" }, this.find, this.remark);
    this.element = el("div", {}, bar, this.canvas, legend());
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
    new ResizeObserver(() => this.resized()).observe(this.canvas);
    this.known = null;
    this.chosen = null;
    this.print = "";
    this.stopped = null;
  }

  mesh(known) {
    this.known = known;
    this.draw();
  }

  select(node, chart) {
    this.chosen = node === null ? null : keyOf(node, chart);
    this.draw();
  }

  focus() {
    this.canvas.querySelector(".chart[tabindex='0']")?.focus();
  }

  resized() {
    if (this.known && this.element.isConnected && this.width !== this.canvas.clientWidth)
      this.draw();
  }

  draw() {
    if (!this.known || !this.element.isConnected) return;
    const { nodes, charts, brokers } = this.known;
    if (!nodes.length) {
      this.print = "";
      this.canvas.replaceChildren(el("p", { class: "empty" }, EMPTY));
      return;
    }
    this.width = this.canvas.clientWidth;
    const names = [
      nodes.map((n) => n.node),
      charts.map((c) => [c.node, c.chart]),
      brokers.map((b) => b.broker),
    ];
    const print = JSON.stringify([names, this.width]);
    if (print !== this.print) {
      this.print = print;
      this.build(nodes, charts, brokers);
    }
    this.renew();
  }

  build(nodes, charts, brokers) {
    const focused = document.activeElement?.closest?.("#graph .chart")?.dataset.key;
    this.plan = layout(nodes, charts, brokers, this.width, this.canvas.clientHeight);
    const { width, height, cards, hubs } = this.plan;
    this.layers = Object.fromEntries(
      ["spokes", "cards", "hubs", "flows", "charts", "waits", "labels"].map((name) => [
        name,
        svg("g", { class: name }),
      ]),
    );
    // Above the charts, which are to be clicked all the same.
    for (const each of ["waits", "labels"])
      this.layers[each].setAttribute("pointer-events", "none");
    this.drawn = new Map(charts.map((each) => [keyOf(each.node, each.chart), this.box(each)]));
    this.layers.charts.append(...[...this.drawn.values()].map((each) => each.group));
    this.cards = new Map(cards.map((each) => [each.node, this.card(each)]));
    this.layers.cards.append(...[...this.cards.values()].map((each) => each.group));
    this.hubs = new Map(hubs.map((each) => [each.broker, this.hub(each)]));
    this.layers.hubs.append(...[...this.hubs.values()].map((each) => each.group));
    const { flows: flow, waits, labels } = this.layers;
    this.flows = new FlowLayer(this.plan, { flow, wait: waits }, labels);
    const label = "Charts of the mesh: arrow keys move, Enter opens";
    this.picture = svg(
      "svg",
      { width, height, role: "group", "aria-label": label },
      Object.values(this.layers),
    );
    this.canvas.replaceChildren(this.picture);
    this.stop(this.drawn.has(this.stopped) ? this.stopped : this.drawn.keys().next().value);
    if (focused && this.drawn.has(focused)) this.drawn.get(focused).group.focus();
  }

  box({ node, chart }) {
    const key = keyOf(node, chart);
    const { x, y, w, h } = this.plan.places.get(key);
    const dense = this.plan.size === "dense";
    const name = svg(
      "text",
      { class: "name", x: 10, y: dense ? 16 : 18 },
      shown(chart, Math.floor((w - 16) / 7)),
    );
    const state = dense
      ? svg("text", { class: "state", x: w - 7, y: 16, "text-anchor": "end" })
      : svg("text", { class: "state", x: 10, y: 34 });
    const more = this.plan.size === "roomy" ? svg("text", { class: "facts", x: 10, y: 54 }) : null;
    const title = svg("title");
    const group = svg(
      "g",
      { transform: `translate(${x} ${y})`, role: "button", tabindex: -1, "data-key": key },
      [title, svg("rect", { width: w, height: h, rx: dense ? 5 : 8 }), name, state, more],
    );
    const open = () => {
      this.stop(key);
      this.open(node, chart);
    };
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open();
      }
    });
    // Beside the name, where they stand in one line.
    const room = dense ? w - 24 - [...shown(chart, 17)].length * 6.6 : w - 16;
    return { group, state, facts: more, title, fits: Math.floor(room / (dense ? 6.2 : 7)) };
  }

  card({ node, x, y, w, h }) {
    const sub = svg("text", { class: "sub", x: 12, y: 34 });
    const title = svg(
      "text",
      { class: "title", x: 12, y: 19 },
      shown(node, Math.floor((w - 20) / 7.4)),
    );
    const full = svg("title", {}, shown(node, 300));
    const place = `translate(${x} ${y})`;
    const card = svg("rect", { class: "card", width: w, height: h, rx: 10 });
    return {
      group: svg("g", { class: "node", transform: place }, [full, card, title, sub]),
      sub,
      w,
    };
  }

  hub({ broker, x, y, w, h }) {
    const fits = Math.floor((w - 20) / 6.4);
    const words = svg(
      "text",
      { x: w / 2, y: h / 2 + 4, "text-anchor": "middle" },
      shown(ending(broker, fits), fits),
    );
    const place = `translate(${x} ${y})`;
    const group = svg("g", { class: "broker", transform: place }, [
      svg("title", {}, shown(broker, 300)),
      svg("rect", { width: w, height: h, rx: h / 2 }),
      words,
    ]);
    return { group };
  }

  renew() {
    const troubles = Map.groupBy(this.known.troubles, (each) => keyOf(each.node, each.chart));
    const wanted = this.find.value.trim().toLowerCase();
    // Those who share their work with the chart that is chosen.
    const kin = this.known.charts.find(
      (each) => keyOf(each.node, each.chart) === this.chosen,
    )?.group;
    for (const chart of this.known.charts) this.renewChart(chart, troubles, wanted, kin);
    for (const node of this.known.nodes) this.renewNode(node, troubles);
    this.renewSpokes();
    this.told = this.flows.draw(this.known, this.chosen);
    const { more_charts: more } = this.known;
    say(
      this.remark,
      [this.told, more ? `${count(more, "more chart")} not drawn` : ""].filter(Boolean).join(" · "),
    );
  }

  renewChart(chart, troubles, wanted, kin) {
    const key = keyOf(chart.node, chart.chart);
    const box = this.drawn.get(key);
    const own = troubles.get(key) ?? [];
    const bad = own.find((each) => each.kind !== "waits") ?? this.silent(chart.node);
    const waits = own.find((each) => each.kind === "waits");
    const found =
      !wanted ||
      `${chart.chart} ${chart.node} ${chart.state} ${chart.group}`.toLowerCase().includes(wanted);
    const classes = [
      "chart",
      this.plan.size,
      bad ? "bad" : waits ? "waits" : "",
      found ? "" : "dim",
    ];
    if (chart.handled === null) classes.push("untold");
    if (key === this.chosen) classes.push("chosen");
    else if (kin && chart.group === kin) classes.push("kin");
    box.group.setAttribute("class", classes.filter(Boolean).join(" "));
    const state = chart.dead
      ? "dead"
      : chart.state || (chart.handled === null ? "tells nothing" : "");
    say(box.state, box.fits > 2 ? shown(state || "–", box.fits) : "");
    const more = facts(chart, bad, waits);
    if (box.facts) say(box.facts, more && shown(more, Math.floor(box.fits * 1.3)));
    const words = [
      `${shown(chart.chart)} of ${shown(chart.node)}`,
      state && `in state ${shown(state)}`,
    ];
    words.push(
      ...own.map((each) => troubleWords(each)),
      chart.group && `group ${shown(chart.group)}`,
    );
    const label = words.filter(Boolean).join("; ");
    say(box.title, label);
    box.group.setAttribute("aria-label", label);
  }

  silent(node) {
    return this.known.troubles.find((each) => each.node === node && each.kind === "silent");
  }

  renewNode(node, troubles) {
    const { group, sub, w } = this.cards.get(node.node);
    const own = troubles.get(keyOf(node.node, "")) ?? [];
    group.setAttribute("class", own.length ? "node bad" : "node");
    const words = nodeWords(node, own);
    say(sub, words && shown(words, Math.floor((w - 20) / 6)));
  }

  renewSpokes() {
    const { ring, cards } = this.plan;
    const lines = [];
    for (const broker of this.known.brokers) {
      const states = Object.values(broker.states);
      const bad = broker.away || states.some((state) => state !== "up");
      this.hubs.get(broker.broker)?.group.setAttribute("class", bad ? "broker bad" : "broker");
      for (const card of cards) {
        const state = broker.states[card.node];
        // In rows they would cross everything, so only what is wrong is drawn.
        if (state && (ring || state !== "up")) lines.push(this.spoke(card, broker.broker, state));
      }
    }
    this.layers.spokes.replaceChildren(...lines);
  }

  spoke(card, broker, state) {
    const hub = this.plan.hubs.find((each) => each.broker === broker);
    const [x1, y1] = [card.x + card.w / 2, card.y + card.h / 2];
    const [x2, y2] = [hub.x + hub.w / 2, hub.y + hub.h / 2];
    return svg("line", { class: `spoke ${state}`, x1, y1, x2, y2 });
  }

  // One stop for the tab key: the chart that has or had the focus.
  stop(key) {
    this.stopped = key;
    for (const [each, { group }] of this.drawn)
      group.setAttribute("tabindex", each === key ? 0 : -1);
  }

  walk(event) {
    const way = ARROWS[event.key];
    const group = event.target.closest?.(".chart");
    if (!way || !group) return;
    event.preventDefault();
    const next = this.next(group.dataset.key, way);
    if (next) {
      this.stop(next);
      this.drawn.get(next).group.focus();
    }
  }

  next(key, [dx, dy]) {
    const here = this.plan.places.get(key);
    let [best, least] = [null, Infinity];
    for (const [other, box] of this.plan.places) {
      const [x, y] = [
        box.x + box.w / 2 - here.x - here.w / 2,
        box.y + box.h / 2 - here.y - here.h / 2,
      ];
      const along = x * dx + y * dy;
      const cost = along + 2.5 * Math.abs(x * dy + y * dx);
      if (other !== key && along > 4 && cost < least) [best, least] = [other, cost];
    }
    return best;
  }
}

function facts(chart, bad, waits) {
  const behind = chart.waiting ? wait(chart.waiting) : "";
  if (chart.dead) return chart.last ? `at ${chart.last}` : "";
  if (bad?.kind === "stuck")
    return [`stuck ${lasting(bad.lasts_s)}`, behind].filter(Boolean).join(", ");
  if (bad) return bad.kind;
  if (waits) return `waits for an answer to ${chart.asks[0].signal}()`;
  if (chart.handled === null) return "";
  return [
    chart.rate === 0 ? "idle" : rate(chart.rate),
    behind || (chart.last && `last ${chart.last}`),
    chart.group && `group ${chart.group}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function nodeWords(node, troubles) {
  if (!node.tells) return "no snoop stream";
  if (node.silent_s !== null) return `silent for ${lasting(node.silent_s)}`;
  if (troubles.length) return [...new Set(troubles.map((each) => each.kind))].join(", ");
  return node.outbox ? `${count(node.outbox, "event")} in the outbox` : "";
}

function legend() {
  const line = (kind) =>
    svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, [
      svg("line", { class: `sample ${kind}`, x1: 0, x2: 26, y1: 5, y2: 5 }),
    ]);
  return el("p", { class: "legend faint" }, [
    ...LEGEND.map(([kind, colour, words]) => el("span", {}, line(kind), `${colour}: ${words}`)),
    el("span", { title: TOOK }, TOOK),
  ]);
}

// Of an address the end tells most.
function ending(address, fits) {
  if (address.startsWith("embedded:")) return "embedded broker";
  const letters = [...address];
  return letters.length > fits ? `…${letters.slice(1 - fits).join("")}` : address;
}
