// The state diagram of a chart, drawn from what was seen: states one below the other, or within one
// another where that is known, and arcs for the transitions, down on the right and up on the left.

import { shown, svg } from "./dom.js";

const LINE = 13;
const LETTER = 6.7;
const MOST_LABELS = 3;
const MOST_HOOKS = 2;
const MOST_STATES = 40;
const LATELY = 4;
const BEGIN = "top";
const INSET = 10;
const HEAD = 28;

export function diagram(seen, width) {
  const steps = seen.transitions.filter((each) => each.to !== "");
  const hooks = Map.groupBy(
    seen.transitions.filter((each) => each.to === ""),
    (each) => each.from,
  );
  const within = new Map(Object.entries(seen.within));
  const states = nested(inOrder(steps, hooks, seen.state), within);
  const shownStates = states.slice(0, MOST_STATES);
  const arcs = grouped(steps).filter(
    (each) => shownStates.includes(each.from) && shownStates.includes(each.to),
  );
  const lately = new Set(
    seen.path.slice(-LATELY).map(([from, , to]) => JSON.stringify([from, to])),
  );
  const widest = Math.max(...shownStates.map((each) => [...shown(each, 24)].length), 6);
  const deepest = Math.max(...shownStates.map((each) => around(each, within).length), 0);
  const w = Math.min(widest * 7.4 + 26, 190) + 2 * INSET * deepest;
  const boxes = stacked(shownStates, within, hooks, arcs, { x: (width - w) / 2, w });
  const height = Math.max(...[...boxes.values()].map((each) => each.y + each.h), 0) + 12;
  const [lines, words] = [[], []];
  for (const arc of arcs) {
    const late = lately.has(JSON.stringify([arc.from, arc.to])) ? " lately" : "";
    const shape = bent(boxes.get(arc.from), boxes.get(arc.to));
    lines.push(
      svg("path", { class: `arc${late}`, d: shape.d }),
      svg("path", { class: `arc-end${late}`, d: shape.head }),
    );
    words.push({ ...arc, ...shape, late });
  }
  const parts = shownStates.map((each) =>
    box(each, boxes.get(each), hooks.get(each) ?? [], each === seen.state),
  );
  // Below the arcs of what is within them.
  const outer = parts.filter((_, at) => boxes.get(shownStates[at]).around);
  const cut = states.length - shownStates.length;
  const label = `State diagram: ${states.length} states, now in ${shown(seen.state || "none")}`;
  return {
    picture: svg(
      "svg",
      { width, height, role: "img", "aria-label": label },
      outer,
      lines,
      labels(words, width),
      parts.filter((each) => !outer.includes(each)),
    ),
    cut,
  };
}

// As they are reached from where the chart began.
function inOrder(steps, hooks, now) {
  const found = [];
  const add = (state) => state && !found.includes(state) && found.push(state);
  const begin = steps.find((each) => each.from === BEGIN) ?? steps[0];
  add(begin?.from);
  for (let at = 0; at < found.length; at += 1) {
    steps.filter((each) => each.from === found[at]).forEach((each) => add(each.to));
  }
  steps.forEach((each) => [each.from, each.to].forEach(add));
  [...hooks.keys(), now].forEach(add);
  return found;
}

// The states around one, the innermost first.
function around(state, within) {
  const outer = within.get(state);
  return outer ? [outer, ...around(outer, within)] : [];
}

// Each behind the one around it, which is not among them while the chart never rests in it.
function nested(states, within) {
  const inside = new Map();
  for (const state of states) {
    for (const each of [state, ...around(state, within)]) {
      const outer = within.get(each) ?? "";
      inside.set(outer, (inside.get(outer) ?? new Set()).add(each));
    }
  }
  const whole = (state) => [state, ...[...(inside.get(state) ?? [])].flatMap(whole)];
  return [...(inside.get("") ?? [])].flatMap(whole);
}

function grouped(steps) {
  const arcs = new Map();
  for (const each of steps) {
    const key = JSON.stringify([each.from, each.to]);
    if (!arcs.has(key)) arcs.set(key, { from: each.from, to: each.to, signals: [] });
    arcs.get(key).signals.push(each);
  }
  for (const arc of arcs.values()) arc.signals.sort((a, b) => b.count - a.count);
  return [...arcs.values()];
}

function stacked(states, within, hooks, arcs, room) {
  const boxes = new Map();
  let y = 8;
  states.forEach((state, at) => {
    const outer = around(state, within);
    const inset = INSET * outer.length;
    const h = HEAD + Math.min(hooks.get(state)?.length ?? 0, MOST_HOOKS) * LINE;
    const holds = within.get(states[at + 1]) === state;
    const w = room.w - 2 * inset;
    boxes.set(state, { x: room.x + inset, y, w, h, at, inset, around: holds });
    if (holds) {
      y += h;
      return;
    }
    // The ones around it that hold no further state end with it.
    const next = new Set(around(states[at + 1], within));
    let end = y + h;
    for (const each of outer.filter((one) => !next.has(one))) {
      end += INSET;
      boxes.get(each).h = end - boxes.get(each).y;
    }
    // Room for the words of the arcs to the next one, on the fuller side.
    const between = arcs.filter(
      (each) =>
        [each.from, each.to].includes(state) && [each.from, each.to].includes(states[at + 1]),
    );
    const own = arcs.filter((each) => each.from === state && each.to === state);
    const lines =
      Math.max(0, ...between.map(linesOf)) + own.reduce((sum, each) => sum + linesOf(each), 0);
    y = end + Math.max(30, lines * LINE + 14);
  });
  return boxes;
}

function linesOf(arc) {
  return Math.min(arc.signals.length, MOST_LABELS) + (arc.signals.length > MOST_LABELS ? 1 : 0);
}

function bent(a, b) {
  const down = b.at >= a.at;
  const side = down ? 1 : -1;
  const edge = (place) => (down ? place.x + place.w : place.x);
  // From within others to beside them, so that no edge crosses the words.
  const far = a.inset + (a === b ? 30 : Math.min(20 + Math.abs(b.at - a.at) * 14, 90));
  const [x1, x2] = [edge(a), edge(b)];
  const [y1, y2] =
    a === b ? [a.y + 8, a.y + 22] : [a.y + a.h / 2 + 5 * side, b.y + b.h / 2 - 5 * side];
  const out = x1 + side * far * 1.34;
  const d = `M${x1} ${y1}C${out} ${y1} ${out} ${y2} ${x2 + side * 6} ${y2}`;
  const head = `M${x2} ${y2}l${side * 8} -4v8z`;
  return { d, head, side, x: x1 + side * (far + 6), y: (y1 + y2) / 2 };
}

function labels(words, width) {
  const drawn = [];
  for (const side of [1, -1]) {
    let next = -Infinity;
    for (const each of words.filter((arc) => arc.side === side).sort((a, b) => a.y - b.y)) {
      const lines = each.signals.slice(0, MOST_LABELS).map((one) => `${one.signal} ×${one.count}`);
      if (each.signals.length > MOST_LABELS)
        lines.push(`+${each.signals.length - MOST_LABELS} more`);
      const room = Math.floor((side > 0 ? width - each.x : each.x) / LETTER);
      let y = Math.max(each.y - (lines.length * LINE) / 2 + 10, next);
      for (const line of lines) {
        const anchor = side > 0 ? "start" : "end";
        const full = svg("title", {}, shown(line));
        const short = shown(line, Math.max(room, 4));
        drawn.push(
          svg(
            "text",
            { class: `arc-label${each.late}`, x: each.x, y, "text-anchor": anchor },
            full,
            short,
          ),
        );
        y += LINE;
      }
      next = y + 3;
    }
  }
  return drawn;
}

function box(state, { x, y, w, h }, hooks, now) {
  const kind = `state${now ? " now" : ""}${state === BEGIN && !now ? " begin" : ""}`;
  const middle = { x: w / 2, "text-anchor": "middle" };
  const lines = hooks
    .slice(0, MOST_HOOKS)
    .map((each, at) =>
      svg(
        "text",
        { class: "hook", ...middle, y: 32 + at * LINE },
        shown(`${each.signal} ×${each.count}`, Math.floor(w / 6.4)),
      ),
    );
  return svg("g", { class: kind, transform: `translate(${x} ${y})` }, [
    svg("title", {}, shown(state, 300)),
    svg("rect", { width: w, height: h, rx: 7 }),
    svg("text", { ...middle, y: 18 }, shown(state, Math.floor(w / 7.4))),
    lines,
  ]);
}
