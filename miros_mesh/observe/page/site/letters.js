// Dead letters: what was refused and why; put back or dropped where the page may, after a question.

import { count, el, say, shown } from "./dom.js";
import { act, ask } from "./feed.js";

const COLUMNS = [
  ["set aside", (each) => (each.time ?? "").replace("T", " ").slice(0, 19)],
  ["reason", (each) => [each.reason || each.content, each.detail].filter(Boolean).join(": ")],
  ["signal", (each) => each.signal || `(${each.content})`],
  ["chart", (each) => [each.chart, each.node].filter(Boolean).join(" of ")],
  ["sender", (each) => [each.sender_chart, each.sender_node].filter(Boolean).join(" of ")],
  ["topic", (each) => each.topic],
  ["place", (each) => each.place],
];
const ABOUT =
  "Events that were refused or could not be handled. They are kept, and can be put back. " +
  "This list does not change by itself: look again.";
const DONE = { retry: "sent again", drop: "dropped" };

export class LettersView {
  constructor({ state, sure }) {
    this.state = state;
    this.sure = sure;
    this.chosen = new Set();
    this.letters = [];
    this.remark = el("span", { class: "faint", role: "status" });
    this.again = el("button", { onclick: () => this.load() }, "Look again");
    this.retry = el("button", { onclick: () => this.act("retry") }, "Put back");
    this.drop = el("button", { class: "danger", onclick: () => this.act("drop") }, "Drop");
    this.rows = el("tbody");
    this.heads = el("tr");
    const table = el("table", {}, el("thead", {}, this.heads), this.rows);
    const bar = el("div", { class: "bar" }, this.again, this.retry, this.drop, this.remark);
    const what = el("p", { class: "about faint" }, ABOUT);
    this.element = el("div", {}, bar, what, el("div", { class: "scroll" }, table));
  }

  show() {
    this.about();
    this.load();
  }

  about() {
    const { actions } = this.state.about;
    this.retry.hidden = this.drop.hidden = !actions;
    this.draw();
  }

  async load() {
    say(this.remark, "looking");
    try {
      const { letters, more } = await ask("/api/letters");
      this.letters = letters;
      const ids = new Set(letters.map((each) => each.id));
      this.chosen = new Set([...this.chosen].filter((each) => ids.has(each)));
      const words = letters.length
        ? count(letters.length, "dead letter")
        : "There are no dead letters";
      say(this.remark, more ? `${words}, the newest; ${count(more, "more")}` : words);
    } catch (error) {
      say(this.remark, shown(error.message, 300));
    }
    this.draw();
  }

  draw() {
    const { actions, payloads } = this.state.about;
    const heads = [
      actions ? "" : null,
      ...COLUMNS.map(([name]) => name),
      payloads ? "payload" : null,
    ];
    this.heads.replaceChildren(
      ...heads.filter((each) => each !== null).map((each) => el("th", { scope: "col" }, each)),
    );
    this.rows.replaceChildren(...this.letters.map((each) => this.row(each, actions, payloads)));
    this.enable();
  }

  row(letter, actions, payloads) {
    const cells = COLUMNS.map(([, cell]) =>
      el("td", {}, cell(letter) ? shown(cell(letter), 300) : ""),
    );
    if (actions) cells.unshift(el("td", {}, this.box(letter)));
    if (payloads) cells.push(el("td", {}, this.look(letter)));
    return el("tr", { "data-id": letter.id }, cells);
  }

  box(letter) {
    const box = el("input", {
      type: "checkbox",
      "aria-label": `Choose ${shown(letter.signal || letter.id)} of ${shown(letter.chart || "a sealed letter")}`,
    });
    box.checked = this.chosen.has(letter.id);
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(letter.id);
      else this.chosen.delete(letter.id);
      this.enable();
    });
    return box;
  }

  look(letter) {
    const place = el("div");
    const button = el("button", {}, "Show");
    button.addEventListener("click", async () => {
      try {
        const { payload } = await ask("/api/payload", { id: letter.id });
        place.replaceChildren(el("pre", { tabindex: 0 }, payload));
      } catch (error) {
        place.replaceChildren(shown(error.message, 300));
      }
    });
    place.append(button);
    return place;
  }

  enable() {
    this.retry.disabled = this.drop.disabled = this.chosen.size === 0;
  }

  async act(what) {
    const letters = [...this.chosen];
    const question = {
      retry: `Send ${count(letters.length, "event")} again, each to the chart or the broker that refused it?`,
      drop: `Drop ${count(letters.length, "letter")} for good? They cannot be brought back.`,
    }[what];
    if (!(await this.sure(question, { retry: "Put back", drop: "Drop" }[what]))) return;
    let words;
    try {
      const { outcomes } = await act(`/api/letters/${what}`, { letters });
      const wrong = outcomes.filter((each) => each.error);
      words = `${outcomes.length - wrong.length} of ${count(outcomes.length, "letter")} ${DONE[what]}`;
      if (wrong.length) words += `; ${shown(wrong[0].error, 300)}`;
    } catch (error) {
      words = shown(error.message, 300);
    }
    this.chosen.clear();
    await this.load();
    say(this.remark, words);
  }
}
