// @ts-check
/**
 * Dragging with a mouse, a pen or a finger: from a handle or a letter of the order line, onto a response or a letter.
 * Its middle means a tie, its beginning better, its end worse; a label at the pointer says which. Escape gives up.
 * Everything that a drag does can be done by a button too.
 */

const THRESHOLD = 4;
const EDGE = 72;
const STEP = 14;

/** @typedef {{element: HTMLElement, place: number, how: "better"|"tie"|"worse"}} Drop */

/**
 * Watch a part of the page.
 * @param {HTMLElement} root
 * @param {{ties: boolean, label: (place: number, how: string, other: number) => string, done: (place: number, how: "better"|"tie"|"worse", other: number) => void}} on
 */
export function watchDrags(root, on) {
  root.addEventListener("pointerdown", (event) => {
    const grip = /** @type {HTMLElement} */ (event.target).closest?.(".handle, .chip");
    if (!(grip instanceof HTMLElement) || event.button !== 0) return;
    const holder = /** @type {HTMLElement} */ (grip.closest("[data-place]"));
    event.preventDefault();
    follow(event, grip, Number(holder.dataset.place), root, on);
  });
}

/** @param {PointerEvent} start @param {HTMLElement} grip @param {number} place @param {HTMLElement} root @param {Parameters<typeof watchDrags>[1]} on */
function follow(start, grip, place, root, on) {
  /** @type {HTMLElement|null} */ let ghost = null;
  /** @type {Drop|null} */ let drop = null;
  const stop = new AbortController();
  const card = root.querySelector(`.card[data-place="${place}"]`);
  grip.setPointerCapture(start.pointerId);

  /** @param {PointerEvent} event */
  const move = (event) => {
    if (!ghost && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < THRESHOLD) return;
    ghost ??= raise();
    scrollAtEdges(event.clientY);
    unmark();
    drop = findDrop(root, event.clientX, event.clientY, place, on.ties);
    drop?.element.classList.add(`drop-${drop.how}`);
    ghost.textContent = on.label(place, drop?.how ?? "", drop?.place ?? place);
    const left = Math.min(event.clientX + 14, window.innerWidth - ghost.offsetWidth - 8);
    ghost.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, event.clientY - 40)}px)`;
  };
  const raise = () => {
    const made = document.createElement("div");
    made.className = "ghost";
    document.body.append(made);
    document.documentElement.classList.add("dragging");
    card?.classList.add("dragged");
    return made;
  };
  const unmark = () => drop?.element.classList.remove("drop-better", "drop-tie", "drop-worse");
  const end = () => {
    unmark();
    stop.abort();
    ghost?.remove();
    card?.classList.remove("dragged");
    document.documentElement.classList.remove("dragging");
  };
  const options = { signal: stop.signal };
  grip.addEventListener("pointermove", move, options);
  grip.addEventListener("pointerup", () => { const found = ghost && drop; end(); if (found) on.done(place, found.how, found.place); }, options);
  grip.addEventListener("pointercancel", end, options);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") end(); }, options);
}

/** @param {HTMLElement} root @param {number} x @param {number} y @param {number} place @param {boolean} ties @returns {Drop|null} */
function findDrop(root, x, y, place, ties) {
  const under = document.elementFromPoint(x, y)?.closest(".card, .chip");
  if (!(under instanceof HTMLElement) || !root.contains(under) || Number(under.dataset.place) === place) return null;
  const box = under.getBoundingClientRect();
  const part = under.matches(".chip") ? (x - box.left) / box.width : (y - box.top) / box.height;
  const edge = ties ? 0.3 : 0.5;
  return { element: under, place: Number(under.dataset.place), how: part < edge ? "better" : part >= 1 - edge ? "worse" : "tie" };
}

/** @param {number} y */
function scrollAtEdges(y) {
  if (y < EDGE) window.scrollBy(0, -STEP);
  else if (y > window.innerHeight - EDGE && !document.elementFromPoint(8, y)?.closest(".bar")) window.scrollBy(0, STEP);
}
