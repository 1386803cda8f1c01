// The page: its views, what is wrong, and the panel for one chart or one event.

import { ask, enter, follow } from "./feed.js";
import { count, el, rate, say, troubleWords } from "./dom.js";
import { MeshView } from "./mesh.js";
import { TimeView } from "./time.js";
import { LettersView } from "./letters.js";
import { Panel } from "./panel.js";

const TABS = ["mesh", "time", "letters"];
const SAME_BEGIN_S = 2;
const THEME = "miros-mesh-theme";
const byId = (id) => document.getElementById(id);

const state = { mesh: null, about: { actions: false, payloads: false, forms: [] } };
const panel = new Panel(byId("panel"), {
  chart: openChart,
  moment: openMoment,
  story: (ids) => views.time.mark(ids),
  closed: select,
});
const views = {
  mesh: new MeshView({ chart: openChart }),
  time: new TimeView({ moment: openMoment, state }),
  letters: new LettersView({ state, sure }),
};
let shownView = null;
let begun = new Map();

function show(name) {
  for (const each of TABS) {
    const tab = byId(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  shownView?.hide?.();
  shownView = views[name];
  byId("view").setAttribute("aria-labelledby", `tab-${name}`);
  byId("view").replaceChildren(shownView.element);
  shownView.show?.();
  if (state.mesh) shownView.mesh?.(state.mesh);
}

function openChart(node, chart) {
  panel.chart(node, chart, state.mesh);
  views.mesh.select(node, chart);
  views.time.lane(node, chart);
}

function openMoment(id) {
  panel.moment(id);
  views.time.lane(null, null);
  views.time.select(id);
}

function select() {
  views.mesh.select(null, null);
  views.time.select(null);
  views.time.lane(null, null);
  shownView.focus?.();
}

function summarise(mesh) {
  const parts = [
    count(mesh.nodes.length, "node"),
    count(mesh.charts.length + mesh.more_charts, "chart"),
    `${rate(mesh.records_per_s).replace("/s", " records/s")}`,
  ];
  if (mesh.missed) parts.push(`${count(mesh.missed, "record")} missed`);
  if (mesh.refused) parts.push(`${count(mesh.refused, "unread frame")}`);
  say(byId("summary"), parts.join(" · "));
}

// Since when, by the clock. Of a node that tells each second it would change by a moment each time.
function since(mesh) {
  const now = new Map();
  for (const each of mesh.troubles) {
    if (each.lasts_s === null) continue;
    const key = JSON.stringify([each.kind, each.node, each.chart, each.text]);
    const [known, told] = [begun.get(key), mesh.at - each.lasts_s];
    each.since = Math.abs(known - told) < SAME_BEGIN_S ? known : told;
    now.set(key, each.since);
  }
  begun = now;
}

function complain(mesh) {
  const place = byId("troubles");
  place.hidden = mesh.troubles.length === 0;
  const rows = mesh.troubles.slice(0, 6).map((each) => ({ ...each, words: troubleWords(each) }));
  const more = mesh.troubles.length - rows.length + mesh.more_troubles;
  const print = JSON.stringify([rows.map((each) => [each.kind, each.node, each.chart]), more]);
  if (place.dataset.print === print) {
    // The same ones, which last longer: their words change, and the focus stays.
    place.querySelectorAll(".words").forEach((words, at) => say(words, rows[at].words));
    return;
  }
  place.dataset.print = print;
  place.replaceChildren(
    ...rows.map((each) => {
      const inside = [el("b", {}, each.kind), " ", el("span", { class: "words" }, each.words)];
      if (!each.chart) return el("p", {}, inside);
      const open = () => openChart(each.node, each.chart);
      return el("p", {}, el("button", { class: "link", onclick: open }, inside));
    }),
    ...(more ? [el("p", { class: "faint" }, `and ${more} more`)] : []),
  );
}

function sure(words, yes) {
  const dialog = byId("sure");
  say(byId("sure-words"), words);
  say(byId("sure-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

function live(kind, words) {
  byId("live").dataset.state = kind;
  say(byId("live"), words);
  if (kind === "refused") {
    byId("view").replaceChildren(el("p", { class: "empty" }, words));
  }
}

function walkTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const at = TABS.findIndex((each) => byId(`tab-${each}`) === document.activeElement);
  if (!step || at < 0) return;
  const next = TABS[(at + step + TABS.length) % TABS.length];
  show(next);
  byId(`tab-${next}`).focus();
  event.preventDefault();
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem(THEME, next);
}

async function begin() {
  const kept = localStorage.getItem(THEME);
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  byId("theme").addEventListener("click", theme);
  for (const each of TABS) byId(`tab-${each}`).addEventListener("click", () => show(each));
  document.querySelector("nav").addEventListener("keydown", walkTabs);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("sure").open && panel.open) panel.close();
  });
  enter();
  window.addEventListener(
    "hashchange",
    () => location.hash.startsWith("#token=") && location.reload(),
  );
  show("mesh");
  const on = {
    mesh(mesh) {
      state.mesh = mesh;
      const away = mesh.brokers.some((each) => each.away);
      live(away ? "waits" : "live", away ? "cut off from the broker" : "connected");
      since(mesh);
      summarise(mesh);
      complain(mesh);
      shownView.mesh?.(mesh);
      panel.mesh(mesh);
    },
    moments: (told) => views.time.moments(told),
  };
  const about = ask("/api/about").then((answer) => {
    state.about = answer;
    shownView.about?.();
  });
  about.catch(() => {});
  await follow(on, live);
}

begin();
