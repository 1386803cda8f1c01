// Elements made of names and text. Nothing here, and nothing on the page, makes markup of a string:
// what comes from the network is text, and the policy of the server refuses anything else.

const SVG = "http://www.w3.org/2000/svg";
// Clocks that NTP keeps, and a handler that goes on after it has sent, differ by less.
const SAME_S = 0.05;
// Control characters, marks that turn the direction of text, line and paragraph separators.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu;

export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  // `append` makes text nodes of strings.
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined),
  );
  return element;
}

// A name as a reader may see it: in one line, with what is not seen written out, and never empty.
export function shown(text, longest = 200) {
  const plain = String(text).replace(
    UNSEEN,
    (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`,
  );
  const words = plain.trim() || "?";
  const letters = [...words];
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : words;
}

// Changes the text only if it is another one, so that a selection stays.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

export function wait(number) {
  return `${count(number, "event")} ${number === 1 ? "waits" : "wait"}`;
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond >= 100) return `${Math.round(perSecond).toLocaleString("en")}/s`;
  return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const size = Math.abs(seconds);
  if (size === 0) return "0 ms";
  if (size < 0.0995) return `${(seconds * 1000).toFixed(size < 0.00995 ? 1 : 0)} ms`;
  return size < 10 ? `${seconds.toFixed(1)} s` : lasting(seconds);
}

// For how long something has been so.
export function lasting(seconds) {
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// From a cause to its effect. Both are told when they are done, and the effect may be done first.
export function way(seconds) {
  return seconds === null ? "" : span(seconds < 0 && seconds > -SAME_S ? 0 : seconds);
}

export function clock(time) {
  const date = new Date(time * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}

// What is wrong, for how long, and since when: `text` is how to begin, if not with its own words.
export function troubleWords(trouble, text = trouble.text) {
  const { lasts_s: lasts, since, more } = trouble;
  const long =
    lasts === null ? "" : ` for ${lasting(lasts)}, since ${clock(since).slice(0, "hh:mm:ss".length)}`;
  return shown(`${text}${long}${more ? `; ${more}` : ""}`, 400);
}

// One key for a node and a chart, whatever their names hold.
export function keyOf(node, chart) {
  return JSON.stringify([node, chart]);
}
