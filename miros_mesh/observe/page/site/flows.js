// What flows between charts, and who waits for whom: lines with their words. A line that stays is kept.

import { count, keyOf, lasting, rate, shown, svg, way } from "./dom.js";
import { curve, TITLE } from "./layout.js";

const LABELLED = 24;
const FASTEST = { roomy: 60, medium: 50, dense: 40 };
const NAMED = 2;
// Where on its line a label stands, the best place first; and how far below or above where none is free.
const ALONG = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82];
const BESIDE = [0, 16, -16, 32, -32, 48, -48, 64, -64];

export class FlowLayer {
  constructor(plan, groups, labels) {
    this.plan = plan;
    this.groups = groups;
    this.labels = labels;
    this.lines = new Map();
  }

  // Draws what is known, and returns words for what is left out.
  draw(known, chosen) {
    const drawable = known.flows.filter((each) => this.place(each.from) && this.place(each.to));
    const own = (each) => [keyOf(...each.from), keyOf(...each.to)].includes(chosen);
    const mine = chosen ? drawable.filter(own) : [];
    const fastest = drawable.slice(0, FASTEST[this.plan.size]);
    const most = mine.length ? mine : fastest;
    const aside = mine.length ? fastest.filter((each) => !own(each)) : [];
    const waits = known.waits.filter((each) => each.of && each.waited_s >= 1);
    const drawn = new Set();
    for (const each of aside) drawn.add(this.flow(each, " aside"));
    for (const each of most) drawn.add(this.flow(each, most.length > LABELLED ? " thin" : ""));
    for (const each of waits) drawn.add(this.wait(each));
    for (const [key, lines] of this.lines) {
      if (!drawn.has(key)) {
        lines.forEach((line) => line.remove());
        this.lines.delete(key);
      }
    }
    // In rows the words would stand on charts; the panel of a chart has them.
    this.label(most.length <= LABELLED && this.plan.ring ? most : [], waits);
    const all = drawable.length + known.more_flows;
    if (mine.length || all === most.length) return "";
    const words = `the ${most.length} fastest of ${count(all, "flow")} are drawn`;
    return `${words}; choose a chart for all of its`;
  }

  place([node, chart]) {
    return this.plan.places.get(keyOf(node, chart));
  }

  flow(each, how) {
    const busy = each.rate > 0;
    const kind = `${busy ? "busy" : ""}${how}`;
    const wide = busy ? Math.min(1.4 + Math.log10(1 + each.rate) * 1.2, 5) : 1.2;
    return this.line("flow", each.from, each.to, kind, wide);
  }

  wait(each) {
    return this.line("wait", each.asks, each.of, "wait", 2.2);
  }

  line(what, from, to, kind, wide) {
    const key = JSON.stringify([what, from, to]);
    if (!this.lines.has(key)) {
      const [a, b] = [this.place(from), this.place(to)];
      if (!a || !b) return key;
      const { begin, middle, end } = curve(a, b);
      const path = svg("path", { d: `M${xy(begin)}Q${xy(middle)} ${xy(end)}` });
      const head = svg("path", { d: arrow(middle, end) });
      this.groups[what].append(path, head);
      this.lines.set(key, [path, head]);
    }
    const [path, head] = this.lines.get(key);
    path.setAttribute("class", `flow ${kind}`);
    path.setAttribute("stroke-width", wide.toFixed(1));
    head.setAttribute("class", `flow-end ${kind}`);
    return key;
  }

  label(flows, waits) {
    // No label stands on a broker, a chart or the name of a node, where there is room beside it.
    const names = this.plan.cards.map(({ x, y, w }) => ({ x, y, w, h: TITLE }));
    const taken = [...this.plan.hubs, ...this.plan.places.values(), ...names];
    const late = new Set(waits.map((each) => JSON.stringify([each.asks, each.of])));
    // First what tells most.
    const red = waits.map((each) =>
      this.words(
        each.asks,
        each.of,
        [`waits ${lasting(each.waited_s)}`, `for an answer to ${shown(each.signal, 18)}()`],
        " wait",
        taken,
      ),
    );
    const labels = flows
      .filter((each) => !late.has(JSON.stringify([each.from, each.to])))
      .map((each) => this.words(each.from, each.to, flowWords(each), "", taken));
    this.labels.replaceChildren(...[...labels, ...red].filter(Boolean));
  }

  words(from, to, lines, kind, taken) {
    const [a, b] = [this.place(from), this.place(to)];
    if (!a || !b) return null;
    const bow = curve(a, b);
    const w = Math.max(...lines.map((line) => [...line].length)) * 6.3 + 10;
    const boxes = BESIDE.flatMap((down) =>
      ALONG.map((part) => {
        const { x, y } = along(bow, part);
        return { x: x - w / 2, y: y - 16 + down, w, h: 31 };
      }),
    );
    const box = boxes.find((one) => !taken.some((each) => overlaps(each, one))) ?? boxes[0];
    taken.push(box);
    const at = (y) => ({ x: box.x + w / 2, y: box.y + y, "text-anchor": "middle" });
    return svg("g", { class: `flow-label${kind}` }, [
      svg("rect", { x: box.x, y: box.y, width: w, height: box.h, rx: 4 }),
      svg("text", at(13), lines[0]),
      svg("text", { class: "second", ...at(26) }, lines[1]),
    ]);
  }
}

// How fast and how long on the way; and below it the signals, the most frequent first.
function flowWords(flow) {
  const pace = flow.rate > 0 ? rate(flow.rate) : `${flow.count.toLocaleString("en")} so far`;
  const signals = Object.entries(flow.signals).sort((a, b) => b[1] - a[1]);
  const names = signals.slice(0, NAMED).map(([name]) => shown(name, 18));
  const more = signals.length > NAMED ? ` +${signals.length - NAMED}` : "";
  return [[pace, way(flow.latency_s)].filter(Boolean).join(" · "), names.join(", ") + more];
}

// The place on a curve, from 0 at its begin to 1 at its end.
function along({ begin, middle, end }, part) {
  const rest = 1 - part;
  const at = (axis) =>
    rest * rest * begin[axis] + 2 * rest * part * middle[axis] + part * part * end[axis];
  return { x: at("x"), y: at("y") };
}

function overlaps(a, b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

function xy({ x, y }) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

function arrow(from, to) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const side = (turn) => ({
    x: to.x - 9 * Math.cos(angle + turn),
    y: to.y - 9 * Math.sin(angle + turn),
  });
  return `M${xy(to)}L${xy(side(0.42))}L${xy(side(-0.42))}Z`;
}
