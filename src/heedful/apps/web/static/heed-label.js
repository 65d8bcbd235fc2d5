// @ts-check
/**
 * The labeling page, made quicker. The form of radio buttons is the truth: keys, drags and undo only set it, drafts and submissions
 * only send it. Without this module the page does the same by ordinary form posts.
 * No markup is ever made from text here: texts go through textContent, pages come whole from the server.
 */

import { FAIL, LETTERS, UNRANKED, dropped, groups, moved, placesOf, summary } from "./heed-order.js";
import { watchDrags } from "./heed-drag.js";

const DRAFT_AFTER = 1000;
const RETRY_AFTER = 3000;
const HEARTBEAT = 60_000;
const IDLE = 60_000;
const MOST_EVENTS = 500;

/** The task on the page. @type {Sheet|null} */
let sheet = null;

class Sheet {
  /** @param {HTMLElement} main */
  constructor(main) {
    this.main = main;
    this.form = /** @type {HTMLFormElement} */ (main.querySelector("#answer"));
    this.mode = main.dataset.mode ?? "";
    this.cards = /** @type {HTMLElement[]} */ ([...main.querySelectorAll(".card")]);
    this.words = JSON.parse(main.querySelector("[data-words]")?.textContent ?? "{}");
    this.opened = performance.now();
    this.lastSign = this.opened;
    this.active = 0;
    /** @type {object[]} */ this.events = [];
    this.now = this.snapshot();
    /** @type {string[]} */ this.past = [];
    /** @type {string[]} */ this.future = [];
    this.dirty = false;
    this.leaving = false;
    this.submitting = false;
    /** @type {Promise<void>} */ this.sending = Promise.resolve();
    this.stop = new AbortController();
    this.current = Math.max(0, this.firstOpen());
    this.listen();
    this.show();
    this.ahead = this.fetchAhead();
  }

  // --- What the form holds -------------------------------------------------------------------------------------------

  /** @returns {HTMLInputElement[]} */
  radios() {
    return /** @type {HTMLInputElement[]} */ ([...this.form.querySelectorAll('.options input[type="radio"]')]);
  }

  /** @param {string} name @returns {HTMLInputElement} */
  field(name) {
    return /** @type {HTMLInputElement} */ (this.form.elements.namedItem(name));
  }

  snapshot() {
    return JSON.stringify(this.radios().map((radio) => radio.checked));
  }

  /** @param {string} snapshot */
  restore(snapshot) {
    const checked = JSON.parse(snapshot);
    this.radios().forEach((radio, at) => { radio.checked = checked[at]; });
  }

  /** @returns {string[]} */
  choices() {
    return this.cards.map((_, place) => /** @type {HTMLInputElement|null} */ (this.form.querySelector(`input[name="rank-${place}"]:checked`))?.value ?? UNRANKED);
  }

  /** @param {string[]} choices */
  setChoices(choices) {
    for (const radio of this.radios()) radio.checked = choices[Number(radio.name.split("-")[1])] === radio.value;
  }

  /** The first card without a choice, from `after` on, around the end; -1 where all have one. */
  firstOpen(after = 0) {
    const order = this.cardsShown().map((card) => Number(card.dataset.place));
    const from = Math.max(0, order.indexOf(after));
    const open = [...order.slice(from), ...order.slice(0, from)].find((place) => this.isOpen(place));
    return open ?? -1;
  }

  /** @param {number} place */
  isOpen(place) {
    const own = this.cards[place]?.querySelectorAll('.options input[type="radio"]') ?? [];
    return own.length > 0 && ![...own].some((radio) => /** @type {HTMLInputElement} */ (radio).checked);
  }

  /** @returns {HTMLElement[]} */
  cardsShown() {
    return /** @type {HTMLElement[]} */ ([...this.main.querySelectorAll(".card")]);
  }

  // --- Changes -------------------------------------------------------------------------------------------------------

  /** Make one change that can be undone. @param {() => void} change @param {object} event */
  change(change, event) {
    change();
    const after = this.snapshot();
    if (after === this.now) return;
    this.past.push(this.now);
    this.future = [];
    this.now = after;
    this.changed(event);
  }

  /** @param {object} event */
  changed(event) {
    this.note(event);
    this.field("client_uuid").value = freshUuid();
    this.field("confirmed").value = "";
    this.complain("");
    this.show();
    this.saveSoon();
  }

  /** @param {string[]} from @param {string[]} to @param {string} kind */
  step(from, to, kind) {
    const state = from.pop();
    if (state === undefined) return;
    to.push(this.now);
    this.restore(state);
    this.now = state;
    this.changed({ kind });
    this.announce(this.line());
  }

  /** @param {string} move @param {number} place */
  move(move, place) {
    this.change(() => this.setChoices(moved(this.choices(), move, place)), { kind: move, place });
    this.announce(this.placeInWords(place));
  }

  /** Choose what a digit or letter stands for, and go on to the next open card. @param {string} key @returns {boolean} */
  choose(key) {
    const within = this.mode === "pairwise" ? this.form : this.cards[this.current];
    const radio = within?.querySelector(`.options input[data-key="${CSS.escape(key)}"]`);
    if (!(radio instanceof HTMLInputElement)) return false;
    const wasOpen = this.isOpen(this.current);
    const place = this.current;
    if (this.mode === "ranking" && key === "f" && radio.checked) this.move("fail", place);
    else this.change(() => { radio.checked = true; }, { kind: "key", place, value: radio.value });
    this.announce(this.placeInWords(place));
    const next = wasOpen ? this.firstOpen(place) : -1;
    if (next >= 0) this.focus(next);
    return true;
  }

  // --- What the reader sees ------------------------------------------------------------------------------------------

  show() {
    this.cards.forEach((card, place) => card.classList.toggle("current", place === this.current && this.mode !== "pairwise" && this.mode !== "demonstration"));
    if (this.mode === "ranking") this.showOrder();
    const told = this.main.querySelector("[data-told]");
    if (told) told.textContent = this.told();
    for (const [name, list] of /** @type {[string, string[]][]} */ ([["undo", this.past], ["redo", this.future]])) {
      const button = this.main.querySelector(`[data-do="${name}"]`);
      if (button instanceof HTMLButtonElement) button.disabled = list.length === 0;
    }
  }

  showOrder() {
    const line = /** @type {HTMLElement} */ (this.main.querySelector(".order"));
    const choices = this.choices();
    const parts = summary(choices).map(([rank, places]) => orderGroup(rank, places, " = ", rank === FAIL ? "fail" : ""));
    const open = placesOf(choices, UNRANKED);
    if (open.length) parts.push(orderGroup(this.words.notRanked, open, " ", "open"));
    line.replaceChildren(...parts);
  }

  told() {
    if (this.mode === "demonstration") return "";
    if (this.mode === "pairwise") return this.radios().find((radio) => radio.checked)?.closest("label")?.querySelector("span")?.firstChild?.textContent?.trim() ?? "";
    const open = this.cards.filter((_, place) => this.isOpen(place)).length;
    return fill(this.words.soFar, { done: this.cards.length - open, total: this.cards.length });
  }

  line() {
    return summary(this.choices()).map(([rank, places]) => `${rank} ${places.map((place) => LETTERS[place]).join(" = ")}`).join(", ");
  }

  /** @param {number} place */
  placeInWords(place) {
    if (this.mode !== "ranking") return this.told();
    const letter = LETTERS[place];
    const choice = this.choices()[place];
    if (choice === FAIL) return fill(this.words.nowFails, { letter });
    const order = groups(this.choices());
    const at = order.findIndex((group) => group.includes(place));
    if (at < 0) return fill(this.words.nowOpen, { letter });
    const others = order[at].filter((each) => each !== place).map((each) => LETTERS[each]).join(", ");
    return fill(others ? this.words.nowTied : this.words.nowRank, { letter, rank: at + 1, others });
  }

  /** @param {string} text */
  announce(text) {
    const place = this.main.querySelector("[data-announce]");
    if (place) place.textContent = text;
  }

  /** @param {string} text */
  complain(text) {
    const place = this.main.querySelector("[data-problem]");
    if (place) place.textContent = text;
  }

  /** @param {"draft"|"saving"|"unsaved"|"submitted"} state */
  say(state) {
    const place = /** @type {HTMLElement} */ (this.main.querySelector("[data-state]"));
    place.dataset.state = state;
    place.textContent = this.words[state];
  }

  /** @param {number} place @param {boolean} [scroll] */
  focus(place, scroll = true) {
    this.current = place;
    this.cards[place]?.focus({ preventScroll: true });
    if (scroll) this.cards[place]?.scrollIntoView({ block: "nearest" });
    this.show();
  }

  /** @param {number} by */
  walk(by) {
    const order = this.cardsShown().map((card) => Number(card.dataset.place));
    const next = order[order.indexOf(this.current) + by];
    if (next !== undefined) this.focus(next);
  }

  /** Put the cards in the order built, or back. */
  sort() {
    const list = this.main.querySelector(".cards");
    const shown = this.cardsShown();
    const inOrder = shown.every((card, at) => card === this.cards[at]);
    const wanted = inOrder ? [...groups(this.choices()).flat(), ...placesOf(this.choices(), UNRANKED), ...placesOf(this.choices(), FAIL)].map((place) => this.cards[place]) : this.cards;
    list?.append(...wanted);
    const button = this.main.querySelector('[data-do="sort"]');
    if (button) button.textContent = inOrder ? this.words.asShown : this.words.inMyOrder;
    this.focus(this.current);
  }

  // --- Listening -----------------------------------------------------------------------------------------------------

  listen() {
    const options = { signal: this.stop.signal };
    this.form.addEventListener("change", (event) => this.onChange(event), options);
    this.form.addEventListener("input", (event) => {
      if (event.target instanceof HTMLTextAreaElement) this.changed({ kind: "text", length: event.target.value.length });
    }, options);
    this.form.addEventListener("submit", (event) => this.onSubmit(event), options);
    this.main.addEventListener("focusin", (event) => {
      const card = /** @type {HTMLElement} */ (event.target).closest?.(".card");
      if (card instanceof HTMLElement) { this.current = Number(card.dataset.place); this.show(); }
    }, options);
    this.main.addEventListener("click", (event) => this.onClick(event), options);
    for (const name of ["input", "keydown", "pointermove", "pointerdown", "scroll", "visibilitychange"]) {
      document.addEventListener(name, () => this.sign(), { ...options, passive: true, capture: true });
    }
    if (this.mode === "ranking") {
      watchDrags(this.main, {
        ties: this.main.dataset.ties !== "forbid",
        label: (place, how, other) => fill(how ? this.words[how] : this.words.dragging, { letter: LETTERS[place], other: LETTERS[other] }),
        done: (place, how, other) => {
          this.change(() => this.setChoices(dropped(this.choices(), how, place, other)), { kind: "drop", how, place, other });
          this.announce(this.placeInWords(place));
        },
      });
    }
    const beat = setInterval(() => this.beat(), HEARTBEAT);
    this.stop.signal.addEventListener("abort", () => clearInterval(beat));
  }

  /** @param {Event} event */
  onChange(event) {
    const radio = event.target;
    if (!(radio instanceof HTMLInputElement) || !radio.closest(".options")) return;
    this.change(() => {}, { kind: "click", name: radio.name, value: radio.value });
    this.announce(this.placeInWords(this.current));
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const card = target.closest?.(".card");
    if (card instanceof HTMLElement && !target.closest("button, input, label, a")) { this.current = Number(card.dataset.place); this.show(); }
    const what = target.closest("[data-do]")?.getAttribute("data-do");
    if (what === "undo") this.step(this.past, this.future, "undo");
    if (what === "redo") this.step(this.future, this.past, "redo");
    if (what === "sort") this.sort();
  }

  /** @param {SubmitEvent} event */
  onSubmit(event) {
    const [what, place] = (event.submitter?.getAttribute("value") ?? "submit").split(":");
    if (what === "edit") { this.leaving = true; return; }
    event.preventDefault();
    if (["up", "down", "tie", "fail"].includes(what)) this.move(what, Number(place));
    else void this.submit(what);
  }

  // --- Time, drafts, submission --------------------------------------------------------------------------------------

  sign() {
    const now = performance.now();
    if (now - this.lastSign <= IDLE) this.active += now - this.lastSign;
    this.lastSign = now;
  }

  /** @param {object} event */
  note(event) {
    if (this.events.length < MOST_EVENTS) this.events.push({ ms: Math.round(performance.now() - this.opened), ...event });
  }

  beat() {
    if (performance.now() - this.lastSign > 2 * IDLE) return;
    const body = new URLSearchParams({ csrf: this.field("csrf").value });
    void fetch(`/api/tasks/${this.main.dataset.task}/heartbeat`, { method: "POST", body }).catch(() => {});
  }

  saveSoon(delay = DRAFT_AFTER) {
    this.dirty = true;
    this.say("saving");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.sending = this.sending.then(() => this.saveDraft()); }, delay);
  }

  async saveDraft() {
    if (!this.dirty || this.submitting || this.stop.signal.aborted) return;
    const sent = this.snapshot() + (this.field("text")?.value ?? "");
    try {
      const answer = await this.send("draft", freshUuid());
      if (answer.status === 409) { await this.conflict(answer); return; }
      if (!answer.ok) throw new Error(await problemOf(answer));
      this.field("based_on").value = (await answer.json()).revision;
      if (sent === this.snapshot() + (this.field("text")?.value ?? "")) { this.dirty = false; this.say("draft"); }
    } catch (error) {
      this.say("unsaved");
      this.saveSoonAgain();
    }
  }

  saveSoonAgain() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.sending = this.sending.then(() => this.saveDraft()); }, RETRY_AFTER);
  }

  /** @param {string} action @param {string} uuid @returns {Promise<Response>} */
  send(action, uuid) {
    this.sign();
    const body = new URLSearchParams(/** @type {any} */ (new FormData(this.form)));
    body.set("action", action);
    body.set("client_uuid", uuid);
    body.set("active_ms", String(Math.round(this.active)));
    body.set("wall_ms", String(Math.round(performance.now() - this.opened)));
    body.set("events", JSON.stringify(this.events));
    return fetch(this.form.getAttribute("action") ?? "", { method: "POST", body, headers: { accept: "application/json" } });
  }

  /** @param {string} action "submit" or "skip" */
  async submit(action) {
    if (this.submitting) return;
    const open = this.firstOpen();
    if (action === "submit" && open >= 0) {
      this.complain(fill(this.words.missing, { letter: LETTERS[open] }));
      this.focus(open);
      return;
    }
    this.submitting = true;
    clearTimeout(this.timer);
    this.busy(true);
    this.say("saving");
    try {
      await this.sending;
      await this.settle(await this.send(action, this.field("client_uuid").value));
    } catch {
      this.say("unsaved");
      this.complain(this.words.offline);
    } finally {
      this.submitting = false;
      this.busy(false);
    }
  }

  /** @param {Response} answer */
  async settle(answer) {
    if (answer.status === 409) { await this.conflict(answer); return; }
    if (!answer.ok) { this.say("unsaved"); this.complain(await problemOf(answer)); return; }
    const receipt = await answer.json();
    if (receipt.confirm) {
      this.field("confirmed").value = "1";
      this.complain(receipt.confirm);
      this.say(this.dirty ? "unsaved" : "draft");
      return;
    }
    this.dirty = false;
    this.leaving = true;
    this.say("submitted");
    if (receipt.feedback) { location.assign(receipt.feedback); return; }
    await this.goOn();
  }

  /** @param {boolean} busy */
  busy(busy) {
    this.main.querySelector('[data-do="submit"]')?.setAttribute("aria-busy", String(busy));
  }

  // --- What comes next -----------------------------------------------------------------------------------------------

  /** Fetch the page of the next task, which is leased by that. @returns {Promise<HTMLElement|null>} */
  async fetchAhead() {
    const address = this.main.dataset.next;
    if (!address) return null;
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      if (!answer.ok) return null;
      const main = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main[data-task]");
      return main instanceof HTMLElement ? main : null;
    } catch {
      return null;
    }
  }

  async goOn() {
    const next = await this.ahead;
    if (!next) { location.assign(this.main.dataset.here ?? "/"); return; }
    this.stop.abort();
    const adopted = document.adoptNode(next);
    adopted.dataset.arrived = "1";
    this.main.replaceWith(adopted);
    window.scrollTo(0, 0);
    if (location.pathname !== this.main.dataset.here) history.replaceState(null, "", this.main.dataset.here);
    begin(adopted);
  }

  /** @param {Response} answer */
  async conflict(answer) {
    this.say("unsaved");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".conflict");
    if (!page || document.querySelector("dialog[open]")) return;
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "conflict-title");
    dialog.append(document.adoptNode(page));
    dialog.addEventListener("submit", () => { this.leaving = true; });
    dialog.addEventListener("click", (event) => { if (/** @type {HTMLElement} */ (event.target).closest("a")) this.leaving = true; });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }
}

/** @param {string} rank @param {number[]} places @param {string} between @param {string} kind */
function orderGroup(rank, places, between, kind) {
  const group = document.createElement("li");
  group.className = `group ${kind}`.trim();
  const name = document.createElement("b");
  name.textContent = rank;
  group.append(name, " ");
  places.forEach((place, at) => {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.dataset.place = String(place);
    chip.textContent = LETTERS[place];
    group.append(at ? between : "", chip);
  });
  return group;
}

/** @param {string} text @param {Record<string, string|number>} values */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** @param {Response} answer */
async function problemOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `${answer.status}`;
  }
}

/** A random UUID, also where the page is no secure context. */
function freshUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** What a key does: the one table. `shift` and plain are told apart; anything else is left to the browser. */
const KEYS = /** @type {Record<string, (sheet: Sheet) => void>} */ ({
  j: (at) => at.walk(1),
  k: (at) => at.walk(-1),
  ArrowDown: (at) => at.walk(1),
  ArrowUp: (at) => at.walk(-1),
  "Shift+ArrowUp": (at) => at.mode === "ranking" && at.move("up", at.current),
  "Shift+ArrowDown": (at) => at.mode === "ranking" && at.move("down", at.current),
  t: (at) => (at.mode === "ranking" ? at.main.dataset.ties !== "forbid" && at.move("tie", at.current) : at.choose("t")),
  u: (at) => at.step(at.past, at.future, "undo"),
  "Shift+u": (at) => at.step(at.future, at.past, "redo"),
  s: (at) => openSkip(at),
  b: (at) => toggle(at.main.querySelector("#reveal")),
  " ": (at) => toggle(at.cards[at.current]?.querySelector(".more") ?? null),
  Enter: (at) => void at.submit("submit"),
  "?": (at) => toggleInstructions(at),
  "Shift+?": (at) => toggleInstructions(at),
});

/** @param {Sheet} at */
function openSkip(at) {
  const panel = /** @type {HTMLDetailsElement|null} */ (at.main.querySelector(".skip"));
  if (!panel) return;
  panel.open = true;
  /** @type {HTMLElement|null} */ (panel.querySelector("input"))?.focus();
}

/** @param {Element|null} box */
function toggle(box) {
  if (box instanceof HTMLInputElement) box.checked = !box.checked;
}

/** @param {Sheet} at */
function toggleInstructions(at) {
  const panel = /** @type {HTMLDetailsElement|null} */ (at.main.querySelector(".instructions"));
  if (panel) panel.open = !panel.open;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (!sheet || document.querySelector("dialog[open]") || event.isComposing || event.altKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Escape") { closeSkip(); return; }
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "Enter" && target.matches("textarea")) { event.preventDefault(); void sheet.submit("submit"); }
    return;
  }
  const isRadio = target.matches('.options input[type="radio"]');
  if (document.documentElement.dataset.keys === "off") return;
  if (target.closest("textarea, select, .skip") || (target.matches("input") && !isRadio)) return;
  if (["Enter", " "].includes(event.key) && target.closest("button, summary, a, label")) return;
  if (isRadio && (event.key === " " || (event.key.startsWith("Arrow") && !event.shiftKey))) return;
  if (event.repeat && event.key === "Enter") return;
  const name = (event.shiftKey ? "Shift+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const action = KEYS[name];
  if (action) { event.preventDefault(); action(sheet); } else if (/^[a-z0-9]$/.test(name) && sheet.choose(name)) event.preventDefault();
}

function closeSkip() {
  const panel = sheet?.main.querySelector(".skip");
  if (!(panel instanceof HTMLDetailsElement) || !panel.open) return;
  panel.open = false;
  /** @type {HTMLElement|null} */ (panel.querySelector("summary"))?.focus();
}

/** @param {HTMLElement} main */
function begin(main) {
  sheet = new Sheet(main);
  sheet.focus(sheet.current, false);
}

document.documentElement.classList.add("live");
document.addEventListener("keydown", onKey);
window.addEventListener("beforeunload", (event) => {
  if (sheet?.dirty && !sheet.leaving) event.preventDefault();
});
const first = document.querySelector("main[data-task]");
if (first instanceof HTMLElement) begin(first);
