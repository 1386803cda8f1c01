// The lanes of a sequence: one for each chart, or for each node where there are more charts than lanes.

import { el, keyOf, shown, svg } from "./dom.js";

export const MOST_LANES = 16;
export const ROW = 22;
const WIDTH = { widest: 150, least: 44, scrolled: 64 };
// Beside the lanes stand the time, and the words: as the style sheet has it.
const BESIDE = 104 + 400;
const HEAD = 44;
// Names come from the network, and may be without end.
const MOST_NAMES = 2000;

export class Lanes {
  constructor() {
    this.head = el("div", { class: "lane-head" });
    // What is wrong with charts, by their keys; and the chart whose lane is marked.
    this.wrong = new Map();
    this.chosen = null;
    this.clear();
  }

  clear() {
    this.by_node = false;
    this.places = new Map();
    this.wide = WIDTH.least;
    this.head.replaceChildren();
  }

  get size() {
    return this.places.size;
  }

  get columns() {
    return Math.min(this.size, MOST_LANES + 1);
  }

  // Whether there are more charts than lanes.
  get crowded() {
    return this.size > MOST_LANES && !this.by_node;
  }

  // From now on a lane is a node.
  group() {
    this.by_node = true;
    this.places.clear();
  }

  // Makes lanes for those who handled the events and who sent them, and those with whom something is
  // wrong. By name, so that they have the same places whenever this is done anew.
  take(moments) {
    const places = moments.flatMap((each) => (each.sender ? [each.sender, each.at] : [each.at]));
    const keys = new Set([...places.map((place) => this.key(place)), ...this.wrongKeys()]);
    const fresh = [...keys].filter((key) => !this.places.has(key));
    for (const key of fresh.sort()) this.of(JSON.parse(key));
  }

  key([node, chart]) {
    return keyOf(node, this.by_node ? "" : chart);
  }

  wrongKeys() {
    return [...this.wrong.values()].map(({ node, chart }) => this.key([node, chart]));
  }

  // The last lane is that of all for which there is no room.
  of(place) {
    const key = this.key(place);
    if (!this.places.has(key) && this.size < MOST_NAMES)
      this.places.set(key, Math.min(this.size, MOST_LANES));
    return this.places.get(key) ?? MOST_LANES;
  }

  // Divides so much room among the lanes.
  fit(room) {
    const each = (room - BESIDE) / Math.max(this.columns, 1);
    // Those that do not fit are scrolled, and need not be narrow.
    this.wide = each < WIDTH.least ? WIDTH.scrolled : Math.min(WIDTH.widest, each);
    const lives = Array.from({ length: this.columns }, (_, lane) => `M${this.x(lane)} 0v${ROW}`);
    this.lives = lives.join("");
    this.heads();
  }

  heads() {
    const named = [...this.places].filter(([, lane]) => lane < MOST_LANES);
    const heads = named.map(([key, lane]) => this.name(lane, ...JSON.parse(key)));
    const others = this.size - MOST_LANES;
    const last = { x: this.x(MOST_LANES), y: 19, "text-anchor": "middle" };
    if (others > 0) heads.push(svg("text", last, `${others} more`));
    const drawing = svg("svg", { width: this.columns * this.wide, height: HEAD }, heads);
    const words = [
      el("span", { class: "who" }, "chart"),
      el("span", { class: "what" }, "event"),
      el("span", { class: "late" }, "after its cause"),
    ];
    this.head.replaceChildren(
      el("span", { class: "when" }, "time"),
      drawing,
      el("span", { class: "words" }, words),
    );
  }

  name(lane, node, chart) {
    const fits = Math.max(Math.floor((this.wide - 6) / 7.4), 4);
    const place = { x: this.x(lane), "text-anchor": "middle" };
    const below = chart ? shown(node || "unknown node", Math.floor(fits * 1.15)) : "node";
    const key = this.by_node ? node : keyOf(node, chart);
    const troubles = [...this.wrong].filter(([of, each]) => (this.by_node ? each.node : of) === key);
    const bad = troubles.some(([, each]) => each.kind !== "waits");
    const kinds = [
      bad ? "bad" : troubles.length ? "waits" : "",
      this.isChosen(lane) ? "chosen" : "",
    ];
    const title = [
      chart ? `${shown(chart)} of ${shown(node)}` : shown(node),
      ...troubles.map(([, each]) => shown(each.text)),
    ];
    const edge = { x: lane * this.wide + 1, y: 1, width: this.wide - 2, height: HEAD - 3, rx: 4 };
    return svg("g", { class: ["lane", ...kinds].filter(Boolean).join(" ") }, [
      svg("title", {}, title.join("; ")),
      svg("rect", edge),
      svg("text", { ...place, y: 19 }, shown(chart || node || "unknown node", fits)),
      svg("text", { class: "node-name", ...place, y: 34 }, below),
    ]);
  }

  isChosen(lane) {
    return this.chosen !== null && this.places.get(this.key(this.chosen)) === lane;
  }

  x(lane) {
    return (lane + 0.5) * this.wide;
  }

  // One row: the lanes, and the event from its sender's to that of who handled it.
  row(moment) {
    const to = this.x(this.of(moment.at));
    const from = moment.sender ? this.x(this.of(moment.sender)) : to;
    const parts = from === to ? [own(to, moment)] : sent(from, to);
    const size = { width: this.columns * this.wide, height: ROW, "aria-hidden": "true" };
    const chosen = this.chosen && this.places.get(this.key(this.chosen));
    const band =
      chosen === null || chosen === undefined
        ? null
        : svg("rect", { class: "band", x: chosen * this.wide, width: this.wide, height: ROW });
    return svg("svg", size, band, svg("path", { class: "life", d: this.lives }), parts);
  }
}

function sent(from, to) {
  const side = from < to ? -1 : 1;
  const y = ROW / 2;
  return [
    svg("line", { class: "sent", x1: from, x2: to + 6 * side, y1: y, y2: y }),
    svg("circle", { class: "sent-end", cx: from, cy: y, r: 3 }),
    svg("path", { class: "sent-end", d: `M${to} ${y}l${9 * side} -4v8z` }),
  ];
}

// A square is a transition, and a dot an event that made none.
function own(x, moment) {
  const kind = moment.to ? "own step" : "own";
  const size = { width: 7, height: 7, rx: moment.to ? 1 : 3.5 };
  return svg("rect", { class: kind, x: x - 3.5, y: ROW / 2 - 3.5, ...size });
}
