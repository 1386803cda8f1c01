// Where nodes, their charts and brokers stand. The same mesh and width give the same places: by name.

const SIZES = {
  roomy: { w: 188, h: 66, gap: 12, apart: 36 },
  medium: { w: 150, h: 42, gap: 9, apart: 30 },
  dense: { w: 126, h: 24, gap: 5, apart: 16 },
};
const PAD = 12;
export const TITLE = 42;
const MARGIN = 24;
const BROKER = { w: 230, h: 32, gap: 10 };
// So many nodes stand around their brokers; more stand in rows below them.
const RING = 10;
const RING_CHARTS = 40;
// How far the bow of a flow may reach beyond the boxes.
const BOW = 60;

export function sizeOf(charts) {
  if (charts <= 24) return "roomy";
  return charts <= 100 ? "medium" : "dense";
}

export function layout(nodes, charts, brokers, width, tall) {
  const size = sizeOf(charts.length);
  const byNode = Map.groupBy(charts, (each) => each.node);
  const cards = nodes.map((each) => card(each.node, byNode.get(each.node) ?? [], SIZES[size]));
  const ring = cards.length <= RING && charts.length <= RING_CHARTS;
  const hubs = brokers.map((each) => ({
    broker: each.broker,
    w: BROKER.w,
    h: BROKER.h,
    x: 0,
    y: 0,
  }));
  if (ring) around(cards, hubs, width, tall);
  else inRows(cards, hubs, width, SIZES[size].apart);
  const boxes = [...cards, ...hubs];
  const right = Math.max(0, ...boxes.map((each) => each.x + each.w)) + MARGIN;
  const bottom = Math.max(0, ...boxes.map((each) => each.y + each.h)) + MARGIN + (ring ? BOW : 0);
  const places = new Map();
  for (const each of cards) {
    for (const box of each.boxes) {
      box.x += each.x;
      box.y += each.y;
      places.set(JSON.stringify([each.node, box.chart]), box);
    }
  }
  return { size, ring, cards, hubs, places, width: Math.max(right, width), height: bottom };
}

// A node with its charts in columns; the places of the charts are within it.
function card(node, charts, size) {
  const columns = columnsOf(charts.length, size);
  const rows = Math.ceil(charts.length / columns);
  const boxes = charts.map((each, at) => ({
    chart: each.chart,
    w: size.w,
    h: size.h,
    x: PAD + (at % columns) * (size.w + size.gap),
    y: TITLE + Math.floor(at / columns) * (size.h + size.gap),
  }));
  const w = 2 * PAD + columns * (size.w + size.gap) - size.gap;
  const h = TITLE + Math.max(rows, 0) * (size.h + size.gap) - (rows ? size.gap : 0) + PAD;
  return { node, boxes, w, h, x: 0, y: 0 };
}

function columnsOf(charts, size) {
  if (size === SIZES.roomy && charts <= 4) return 1;
  const square = Math.sqrt((charts * size.h * 1.5) / size.w);
  return Math.max(1, Math.round(square));
}

function around(cards, hubs, width, tall) {
  const tallest = Math.max(0, ...cards.map((each) => each.h));
  const widest = Math.max(0, ...cards.map((each) => each.w));
  const farthest = Math.max((width - widest) / 2 - MARGIN, widest);
  const begin = cards.length === 2 ? Math.PI : -Math.PI / 2;
  const hub = { w: BROKER.w, h: hubs.length * (BROKER.h + BROKER.gap) };
  const least = Math.min(Math.max((tall - tallest) / 2 - MARGIN - BOW, 140), 300);
  for (let high = least; high < 4000; high += 10) {
    const wide = Math.min(farthest, Math.max(high * 1.9, 330));
    cards.forEach((each, at) => {
      const angle = begin + (2 * Math.PI * at) / cards.length;
      const far = cards.length === 1 ? 0 : 1;
      each.x = far * wide * Math.cos(angle) - each.w / 2;
      each.y = far * high * Math.sin(angle) - each.h / 2;
    });
    // Two stand side by side, and one alone, so the brokers stand above them.
    const above = cards.length <= 2 ? -tallest / 2 - hub.h - 24 : -hub.h / 2;
    hubs.forEach((each, at) => {
      each.x = -each.w / 2;
      each.y = above + at * (BROKER.h + BROKER.gap);
    });
    if (free(cards, 44) && free([...cards, ...hubs], 14)) break;
  }
  const boxes = [...cards, ...hubs];
  const left = Math.min(0, ...boxes.map((each) => each.x));
  const top = Math.min(0, ...boxes.map((each) => each.y));
  const right = Math.max(0, ...boxes.map((each) => each.x + each.w));
  const bottom = Math.max(0, ...boxes.map((each) => each.y + each.h));
  const down = Math.max(0, (tall - (bottom - top) - 2 * MARGIN - BOW) / 3);
  // Room for bows above the boxes, where there is some.
  const bows = cards.length > 2 ? Math.min(BOW / 2, 3 * down) : 0;
  const aside = Math.max(0, (width - (right - left) - 2 * MARGIN) / 2);
  for (const each of boxes) {
    each.x = Math.round(each.x - left + MARGIN + aside);
    each.y = Math.round(each.y - top + MARGIN + down + bows);
  }
}

function free(boxes, gap) {
  return boxes.every((a, at) =>
    boxes
      .slice(at + 1)
      .every(
        (b) =>
          a.x + a.w + gap <= b.x ||
          b.x + b.w + gap <= a.x ||
          a.y + a.h + gap <= b.y ||
          b.y + b.h + gap <= a.y,
      ),
  );
}

function inRows(cards, hubs, width, apart) {
  let y = shelves(hubs, width, MARGIN, BROKER.gap);
  y = hubs.length ? y + 26 : y;
  shelves(cards, width, y, apart);
}

// One after the other, in rows; returns where the next row would begin.
function shelves(boxes, width, top, gap) {
  let [x, y, high] = [MARGIN, top, 0];
  for (const each of boxes) {
    if (x > MARGIN && x + each.w + MARGIN > width) {
      [x, y, high] = [MARGIN, y + high + gap, 0];
    }
    [each.x, each.y] = [x, y];
    x += each.w + gap;
    high = Math.max(high, each.h);
  }
  return y + high;
}

// A curve from one box to another, bent to its left, so that both directions are seen.
export function curve(a, b) {
  const from = { x: a.x + a.w / 2, y: a.y + a.h / 2 };
  const to = { x: b.x + b.w / 2, y: b.y + b.h / 2 };
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const far = Math.hypot(dx, dy) || 1;
  const bend = Math.min(14 + far * 0.05, 40);
  const middle = {
    x: (from.x + to.x) / 2 + (dy / far) * bend * 2,
    y: (from.y + to.y) / 2 - (dx / far) * bend * 2,
  };
  return { begin: edge(a, middle), end: edge(b, middle), middle };
}

// Where the way from the middle of a box to a point leaves the box.
function edge(box, point) {
  const [x, y] = [box.x + box.w / 2, box.y + box.h / 2];
  const [dx, dy] = [point.x - x, point.y - y];
  const reach = Math.min(
    dx ? box.w / 2 / Math.abs(dx) : Infinity,
    dy ? box.h / 2 / Math.abs(dy) : Infinity,
  );
  return reach === Infinity
    ? { x, y }
    : { x: x + dx * Math.min(reach, 1), y: y + dy * Math.min(reach, 1) };
}
