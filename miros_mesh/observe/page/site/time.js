// The last events as a sequence diagram that grows: a row for each event, a lane for each chart, or for
// each node where there are more charts than lanes.

import { clock, count, el, keyOf, say, shown, svg, way } from "./dom.js";
import { ask, askBytes } from "./feed.js";
import { steps } from "./panel.js";

const MOST_ROWS = 1000;
const MOST_LANES = 16;
const LANE = { widest: 150, least: 64 };
const ROW = 22;
const ENDINGS = { text: "txt", mermaid: "mmd", plantuml: "puml", svg: "svg", html: "html" };

export class TimeView {
  constructor({ moment, state }) {
    this.open = moment;
    this.state = state;
    this.rows = new Map();
    this.lanes = new Map();
    this.paused = false;
    this.held = 0;
    this.loaded = false;
    this.left = [];
    this.hovered = false;
    this.led = new Set();
    this.build();
  }

  build() {
    const field = (name, words) => {
      const input = el("input", { type: "search", placeholder: words, "aria-label": words });
      input.addEventListener("input", () => this.filtered());
      this[name] = input;
      return input;
    };
    this.pause = el("button", { "aria-pressed": "false", onclick: () => this.toggle() }, "Pause");
    this.only = el("input", { type: "checkbox", onchange: () => this.filtered() });
    this.form = el("select", { "aria-label": "Form to export" });
    this.export = el("button", { onclick: () => this.save() }, "Export");
    this.remark = el("span", { class: "faint" });
    this.note = el("p", { class: "note", hidden: true });
    this.head = el("div", { class: "lane-head" });
    this.list = el("div", { id: "events", role: "list", "aria-label": "Events: arrow keys move, Enter opens" });
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.open(Number(row.dataset.id));
    });
    // A row must not run away from under the pointer.
    this.list.addEventListener("pointerenter", () => (this.hovered = true));
    this.list.addEventListener("pointerleave", () => (this.hovered = false));
    this.canvas = el("div", { class: "scroll" }, el("div", { class: "lanes" }, this.head, this.list));
    const bar = el("div", { class: "bar" }, [
      this.pause,
      field("chart", "Chart"),
      field("signal", "Signal"),
      field("text", "Text"),
      el("label", {}, this.only, "transitions only"),
      this.form,
      this.export,
      this.remark,
    ]);
    this.element = el("div", {}, bar, this.note, this.canvas);
  }

  about() {
    this.form.replaceChildren(...this.state.about.forms.map((each) => el("option", { value: each }, each)));
  }

  show() {
    this.about();
    if (!this.loaded) this.load();
    else this.toEnd();
  }

  focus() {
    this.list.querySelector(".row[tabindex='0']")?.focus();
  }

  // From the server's memory, which goes further back than this one.
  async load() {
    this.loaded = true;
    this.clear();
    const query = { seconds: 60, ...this.wanted() };
    try {
      const { moments } = await ask("/api/last", query);
      this.clear();
      this.add(moments);
      this.toEnd();
    } catch {
      this.loaded = false;
    }
  }

  wanted() {
    return { chart: this.chart.value.trim(), signal: this.signal.value.trim(), text: this.text.value.trim() };
  }

  filtered() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.load(), 200);
  }

  moments({ moments, left_out: left, seconds }) {
    this.sampled(left, moments.length, seconds);
    if (!this.loaded) return;
    if (this.paused) {
      this.held += moments.length + left;
      this.tell();
      return;
    }
    const follows = this.follows();
    this.add(moments.filter((each) => this.fits(each)));
    if (follows && !this.hovered) this.toEnd();
  }

  follows() {
    return this.canvas.scrollTop + this.canvas.clientHeight >= this.canvas.scrollHeight - 2 * ROW;
  }

  // Says so while more comes than is shown: over the last eight times that it was told, of two seconds
  // or more by the server's clock.
  sampled(left, came, seconds) {
    this.left.push({ left, came, seconds });
    if (this.left.length > 8) this.left.shift();
    const sum = (name) => this.left.reduce((all, each) => all + each[name], 0);
    const missing = sum("left");
    this.note.hidden = !missing;
    if (!missing) return;
    const pace = (events) => Math.round(events / sum("seconds")).toLocaleString("en");
    say(this.note, `Sampled: of about ${pace(missing + sum("came"))} events a second, ${pace(sum("came"))} are shown. Rates and counts of the mesh are of all.`);
  }

  fits(each) {
    const { chart, signal, text } = this.wanted();
    const line = `${each.at.join(" ")} ${each.signal} ${each.from} ${each.to}`.toLowerCase();
    return matches(each.at[1], chart) && matches(each.signal, signal) && line.includes(text.toLowerCase());
  }

  add(moments) {
    const wanted = this.only.checked ? moments.filter((each) => each.to) : moments;
    const [columns, lanes] = [this.columns, this.lanes.size];
    const fresh = [];
    for (const each of wanted) {
      if (each.sender) this.lane(each.sender);
      this.lane(each.at);
      const known = this.rows.get(each.id);
      if (known) known.moment = each;
      else {
        this.rows.set(each.id, { moment: each, row: null, order: this.order(each) });
        fresh.push(each.id);
      }
      if (known?.row) this.fill(known);
    }
    if (this.lanes.size > MOST_LANES && !this.by_node) this.group();
    else if (this.columns !== columns) this.redraw();
    else {
      if (this.lanes.size !== lanes) this.heads();
      for (const id of fresh) this.insert(id);
    }
    this.trim();
    this.tell();
  }

  // In the order of time, but no effect before its cause, whatever the clocks of their hosts say.
  order(moment) {
    const cause = this.rows.get(moment.cause);
    return cause ? Math.max(moment.time, cause.order + 1e-6) : moment.time;
  }

  // Nodes tell what they did in turns, so one that comes later may belong further up.
  insert(id) {
    const row = this.row(id);
    const { order } = this.rows.get(id);
    let before = null;
    let last = this.list.lastElementChild;
    while (last && this.rows.get(Number(last.dataset.id)).order > order) [before, last] = [last, last.previousElementSibling];
    this.list.insertBefore(row, before);
  }

  trim() {
    for (const [id, { row }] of this.rows) {
      if (this.rows.size <= MOST_ROWS) break;
      row?.remove();
      this.rows.delete(id);
    }
    if (!this.list.querySelector(".row[tabindex='0']")) this.list.lastElementChild?.setAttribute("tabindex", 0);
  }

  // More charts than lanes: a lane for each node from now on.
  group() {
    this.by_node = true;
    this.lanes.clear();
    for (const { moment } of this.rows.values()) {
      if (moment.sender) this.lane(moment.sender);
      this.lane(moment.at);
    }
    this.redraw();
  }

  clear() {
    this.by_node = false;
    this.rows.clear();
    this.lanes.clear();
    this.list.replaceChildren();
    this.head.replaceChildren();
  }

  // The last lane is that of all for which there is no room.
  lane([node, chart]) {
    const key = keyOf(node, this.by_node ? "" : chart);
    if (!this.lanes.has(key)) this.lanes.set(key, Math.min(this.lanes.size, MOST_LANES));
    return this.lanes.get(key);
  }

  get columns() {
    return Math.min(this.lanes.size, MOST_LANES + 1);
  }

  get lane_width() {
    const room = (this.canvas.clientWidth || 1200) - 104 - 480;
    return Math.max(LANE.least, Math.min(LANE.widest, room / Math.max(this.columns, 1)));
  }

  redraw() {
    this.wide = this.lane_width;
    this.lives = Array.from({ length: this.columns }, (_, lane) => `M${this.x(lane)} 0v${ROW}`).join("");
    this.heads();
    const sorted = [...this.rows.entries()].sort(([, a], [, b]) => a.order - b.order);
    this.list.replaceChildren(...sorted.map(([id]) => this.row(id)));
  }

  heads() {
    const heads = [...this.lanes].filter(([, at]) => at < MOST_LANES).map(([key, at]) => {
      const [node, chart] = JSON.parse(key);
      const fits = Math.max(Math.floor((this.wide - 6) / 7.4), 4);
      const place = { x: this.x(at), "text-anchor": "middle" };
      return svg("g", {}, [
        svg("title", {}, chart ? `${shown(chart)} of ${shown(node)}` : shown(node)),
        svg("text", { ...place, y: 19 }, shown(chart || node || "unknown node", fits)),
        svg("text", { class: "node-name", ...place, y: 34 }, chart ? shown(node || "unknown node", Math.floor(fits * 1.15)) : "node"),
      ]);
    });
    const others = this.lanes.size - MOST_LANES;
    if (others > 0) heads.push(svg("text", { x: this.x(MOST_LANES), y: 19, "text-anchor": "middle" }, `${others} more`));
    const drawing = svg("svg", { width: this.columns * this.wide, height: 44 }, heads);
    this.head.replaceChildren(el("span", { class: "when" }), drawing);
  }

  x(lane) {
    return (lane + 0.5) * this.wide;
  }

  row(id) {
    const known = this.rows.get(id);
    const stop = !this.list.querySelector(".row[tabindex='0']");
    known.row = el("button", { class: "row", role: "listitem", tabindex: stop ? 0 : -1, "data-id": id });
    this.fill(known);
    return known.row;
  }

  fill({ moment, row }) {
    const kinds = ["row", moment.to ? "" : "handled", moment.id === this.chosen ? "chosen" : "", this.led.has(moment.id) ? "led" : ""];
    row.setAttribute("class", kinds.filter(Boolean).join(" "));
    const late = moment.sender ? ` ${way(moment.latency_s)}` : "";
    row.replaceChildren(
      el("span", { class: "when" }, clock(moment.time)),
      this.line(moment),
      el("span", { class: "who" }, shown(moment.at[1], 40)),
      el("span", { class: "what" }, `${shown(moment.signal, 40)}() `, el("i", {}, steps(moment).slice(0, 90) + late)),
    );
    const from = moment.sender ? `, sent by ${shown(moment.sender[1])}` : "";
    row.setAttribute("aria-label", `${clock(moment.time)} ${shown(moment.at[1])}: ${shown(moment.signal)}() ${steps(moment)}${from}`);
  }

  line(moment) {
    const parts = [svg("path", { class: "life", d: this.lives })];
    const [to, middle] = [this.x(this.lane(moment.at)), ROW / 2];
    const from = moment.sender ? this.x(this.lane(moment.sender)) : to;
    if (from !== to) {
      const side = from < to ? -1 : 1;
      parts.push(
        svg("line", { class: "sent", x1: from, x2: to + 6 * side, y1: middle, y2: middle }),
        svg("circle", { class: "sent-end", cx: from, cy: middle, r: 3 }),
        svg("path", { class: "sent-end", d: `M${to} ${middle}l${9 * side} -4v8z` }),
      );
    } else {
      parts.push(svg("rect", { class: moment.to ? "own step" : "own", x: to - 3.5, y: middle - 3.5, width: 7, height: 7, rx: moment.to ? 1 : 3.5 }));
    }
    return svg("svg", { width: this.columns * this.wide, height: ROW, "aria-hidden": "true" }, parts);
  }

  // The events that led to the chosen one, and those that it led to.
  mark(ids) {
    this.list.querySelectorAll(".led").forEach((row) => row.classList.remove("led"));
    for (const id of ids) this.rows.get(id)?.row?.classList.add("led");
    this.led = new Set(ids);
  }

  select(id) {
    this.mark([]);
    this.rows.get(this.chosen)?.row?.classList.remove("chosen");
    this.chosen = id;
    this.rows.get(id)?.row?.classList.add("chosen");
    if (id !== null && this.rows.get(id)?.row) this.stop(this.rows.get(id).row);
  }

  toggle() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    say(this.pause, this.paused ? "Go on" : "Pause");
    this.held = 0;
    if (!this.paused) this.load();
    this.tell();
  }

  tell() {
    const words = [count(this.rows.size, "event")];
    if (this.paused) words.push(`paused, ${count(this.held, "event")} since`);
    say(this.remark, words.join(" · "));
  }

  toEnd() {
    this.canvas.scrollTop = this.canvas.scrollHeight;
  }

  stop(row) {
    this.list.querySelectorAll(".row[tabindex='0']").forEach((each) => each.setAttribute("tabindex", -1));
    row.setAttribute("tabindex", 0);
  }

  walk(event) {
    const row = event.target.closest(".row");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key];
    if (!next) return;
    event.preventDefault();
    this.stop(next);
    next.focus();
  }

  async save() {
    const format = this.form.value;
    try {
      const drawn = await askBytes("/api/sequence", { format, seconds: 60, ...this.wanted() });
      const address = URL.createObjectURL(drawn);
      const link = el("a", { href: address, download: `sequence.${ENDINGS[format] ?? "txt"}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      say(this.remark, shown(error.message, 300));
    }
  }
}

// A name, or a shell pattern as the server takes it; without one of its signs the whole name.
function matches(name, pattern) {
  if (!pattern) return true;
  const plain = pattern.replace(/[.+^${}()|\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".").replace(/\[!/g, "[^");
  try {
    return new RegExp(`^${plain}$`, "su").test(name);
  } catch {
    return name === pattern;
  }
}
