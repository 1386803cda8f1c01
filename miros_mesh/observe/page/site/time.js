// The last events as a sequence diagram that grows: a row for each event, a lane for each chart, or for
// each node where there are more charts than lanes.

import { clock, count, el, keyOf, say, shown, way } from "./dom.js";
import { ask, askBytes } from "./feed.js";
import { Lanes, ROW } from "./lanes.js";
import { steps } from "./panel.js";

const MOST_ROWS = 1000;
const ENDINGS = { text: "txt", mermaid: "mmd", plantuml: "puml", svg: "svg", html: "html" };

export class TimeView {
  constructor({ moment, state }) {
    this.open = moment;
    this.state = state;
    this.rows = new Map();
    this.lanes = new Lanes();
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
    this.form = el("select");
    this.export = el("button", { onclick: () => this.save() }, "Save");
    this.remark = el("span", { class: "faint" });
    this.note = el("p", { class: "note", hidden: true });
    this.list = el("div", {
      id: "events",
      role: "list",
      "aria-label": "Events: arrow keys move, Enter opens",
    });
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.open(Number(row.dataset.id));
    });
    // A row must not run away from under the pointer.
    this.list.addEventListener("pointerenter", () => (this.hovered = true));
    this.list.addEventListener("pointerleave", () => (this.hovered = false));
    this.canvas = el(
      "div",
      { class: "scroll" },
      el("div", { class: "lanes" }, this.lanes.head, this.list),
    );
    const bar = el("div", { class: "bar" }, [
      this.pause,
      field("chart", "Chart"),
      field("signal", "Signal"),
      field("text", "Text"),
      el("label", {}, this.only, "transitions only"),
      el("span", { class: "export" }, el("label", {}, "Export as", this.form), this.export),
      this.remark,
    ]);
    this.element = el("div", {}, bar, this.note, this.canvas);
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  about() {
    this.form.replaceChildren(
      ...this.state.about.forms.map((each) => el("option", { value: each }, each)),
    );
  }

  show() {
    this.about();
    if (!this.loaded) this.load();
    else this.toEnd();
  }

  focus() {
    this.list.querySelector(".row[tabindex='0']")?.focus();
  }

  // So that the words stay in sight beside the panel.
  resized() {
    const { clientWidth: width } = this.canvas;
    if (!this.loaded || !width || width === this.width) return;
    this.width = width;
    const follows = this.follows();
    this.redraw();
    if (follows) this.toEnd();
  }

  // What is wrong with charts: each of them has a lane, though nothing may be heard of it.
  mesh({ troubles }) {
    const { chart } = this.wanted();
    const own = troubles.filter((each) => each.chart && matches(each.chart, chart));
    const wrong = new Map();
    // The worst is told first.
    for (const each of own) {
      const key = keyOf(each.node, each.chart);
      if (!wrong.has(key)) wrong.set(key, each);
    }
    const print = JSON.stringify([...wrong].map(([key, each]) => [key, each.text]));
    if (print === this.print) return;
    this.print = print;
    this.lanes.wrong = wrong;
    if (this.loaded) this.add([]);
    this.lanes.heads();
  }

  // Marks the lane of a chart, or none.
  lane(node, chart) {
    if (node === null && this.lanes.chosen === null) return;
    this.lanes.chosen = node === null ? null : [node, chart];
    this.redraw();
    const lane = this.lanes.head.querySelector(".lane.chosen")?.getBoundingClientRect();
    if (!lane) return;
    const hidden = lane.right - this.lanes.head.querySelector(".words").getBoundingClientRect().left;
    const before = this.canvas.getBoundingClientRect().left - lane.left;
    if (hidden > 0) this.canvas.scrollLeft += hidden;
    else if (before > 0) this.canvas.scrollLeft -= before;
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
    return {
      chart: this.chart.value.trim(),
      signal: this.signal.value.trim(),
      text: this.text.value.trim(),
    };
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
    return this.canvas.scrollTop + this.canvas.clientHeight >= this.canvas.scrollHeight - 3 * ROW;
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
    say(
      this.note,
      `Sampled: of about ${pace(missing + sum("came"))} events a second, ` +
        `${pace(sum("came"))} are shown. Rates and counts of the mesh are of all.`,
    );
  }

  fits(each) {
    const { chart, signal, text } = this.wanted();
    const line = `${each.at.join(" ")} ${each.signal} ${each.from} ${each.to}`.toLowerCase();
    return (
      matches(each.at[1], chart) &&
      matches(each.signal, signal) &&
      line.includes(text.toLowerCase())
    );
  }

  add(moments) {
    const wanted = this.only.checked ? moments.filter((each) => each.to) : moments;
    const { columns, size } = this.lanes;
    const fresh = [];
    this.lanes.take(wanted);
    for (const each of wanted) {
      const known = this.rows.get(each.id);
      if (known) known.moment = each;
      else {
        this.rows.set(each.id, { moment: each, row: null, order: this.order(each) });
        fresh.push(each.id);
      }
      if (known?.row) this.fill(known);
    }
    if (this.lanes.crowded) this.group();
    else if (this.lanes.columns !== columns) this.redraw();
    else {
      if (this.lanes.size !== size) this.lanes.heads();
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
    while (last && this.rows.get(Number(last.dataset.id)).order > order)
      [before, last] = [last, last.previousElementSibling];
    this.list.insertBefore(row, before);
  }

  trim() {
    for (const [id, { row }] of this.rows) {
      if (this.rows.size <= MOST_ROWS) break;
      row?.remove();
      this.rows.delete(id);
    }
    if (!this.list.querySelector(".row[tabindex='0']"))
      this.list.lastElementChild?.setAttribute("tabindex", 0);
  }

  group() {
    this.lanes.group();
    this.lanes.take([...this.rows.values()].map(({ moment }) => moment));
    this.redraw();
  }

  clear() {
    this.rows.clear();
    this.lanes.clear();
    this.list.replaceChildren();
  }

  redraw() {
    this.lanes.fit(this.canvas.clientWidth || this.width || 1200);
    // Rows that are there stay, and so does the focus.
    for (const [id, known] of this.rows) {
      if (known.row) this.fill(known);
      else this.insert(id);
    }
  }

  row(id) {
    const known = this.rows.get(id);
    const stop = !this.list.querySelector(".row[tabindex='0']");
    known.row = el("button", {
      class: "row",
      role: "listitem",
      tabindex: stop ? 0 : -1,
      "data-id": id,
    });
    this.fill(known);
    return known.row;
  }

  fill({ moment, row }) {
    const kinds = [
      "row",
      moment.to ? "" : "handled",
      moment.id === this.chosen ? "chosen" : "",
      this.led.has(moment.id) ? "led" : "",
    ];
    row.setAttribute("class", kinds.filter(Boolean).join(" "));
    row.replaceChildren(
      el("span", { class: "when" }, clock(moment.time)),
      this.lanes.row(moment),
      el("span", { class: "words" }, [
        el("span", { class: "who" }, shown(moment.at[1], 40)),
        el(
          "span",
          { class: "what" },
          `${shown(moment.signal, 40)}() `,
          el("i", {}, steps(moment).slice(0, 90)),
        ),
        el("span", { class: "late" }, moment.sender ? way(moment.latency_s) : ""),
      ]),
    );
    const from = moment.sender ? `, sent by ${shown(moment.sender[1])}` : "";
    row.setAttribute(
      "aria-label",
      `${clock(moment.time)} ${shown(moment.at[1])}: ${shown(moment.signal)}() ${steps(moment)}${from}`,
    );
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
    say(this.pause, this.paused ? "Resume" : "Pause");
    this.held = 0;
    if (!this.paused) this.load();
    this.tell();
  }

  tell() {
    const all = count(this.rows.size, "event");
    const words = [this.rows.size < MOST_ROWS ? all : `the newest ${all}`];
    if (this.paused) words.push(`paused, ${count(this.held, "event")} since`);
    say(this.remark, words.join(" · "));
  }

  toEnd() {
    // So that the first row is whole: the head is two rows high, and one is free below the last row.
    const over = this.canvas.scrollHeight - ROW - this.canvas.clientHeight;
    this.canvas.scrollTop = Math.max(Math.ceil(over / ROW), 0) * ROW;
  }

  stop(row) {
    this.list
      .querySelectorAll(".row[tabindex='0']")
      .forEach((each) => each.setAttribute("tabindex", -1));
    row.setAttribute("tabindex", 0);
  }

  walk(event) {
    const row = event.target.closest(".row");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[
      event.key
    ];
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
  const plain = pattern
    .replace(/[.+^${}()|\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".")
    .replace(/\[!/g, "[^");
  try {
    return new RegExp(`^${plain}$`, "su").test(name);
  } catch {
    return name === pattern;
  }
}
