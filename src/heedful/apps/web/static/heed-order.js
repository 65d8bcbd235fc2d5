// @ts-check
/**
 * The order that a labeler builds, without any page: choices in, choices out. The server makes the same moves for pages without
 * scripts (ordering.py); a test in the browser holds the two together.
 *
 * A choice is "" (not ranked), "1" to "9", or "F"; the same number is a tie.
 * @typedef {string[]} Choices
 */

export const UNRANKED = "";
export const FAIL = "F";
export const LETTERS = "ABCDEFGHI";

/** Groups of positions, best first. @param {Choices} choices @returns {number[][]} */
export function groups(choices) {
  const ranks = [...new Set(choices.filter((choice) => choice !== UNRANKED && choice !== FAIL))].sort((a, b) => +a - +b);
  return ranks.map((rank) => choices.flatMap((choice, place) => (choice === rank ? [place] : [])));
}

/** @param {Choices} choices @param {string} wanted @returns {number[]} */
export function placesOf(choices, wanted) {
  return choices.flatMap((choice, place) => (choice === wanted ? [place] : []));
}

/** The same order with ranks 1, 2, 3 without gaps. @param {Choices} choices @returns {Choices} */
export function dense(choices) {
  return written(groups(choices), choices, null);
}

/**
 * Choices after one move: "up", "down", "tie" (with the group above) or "fail".
 * @param {Choices} choices @param {string} move @param {number} place @returns {Choices}
 */
export function moved(choices, move, place) {
  if (move === "fail") {
    return dense(choices.map((choice, at) => (at !== place ? choice : choice === FAIL ? UNRANKED : FAIL)));
  }
  const order = groups(choices);
  const found = order.findIndex((group) => group.includes(place));
  const at = found < 0 ? order.length : found;
  const alone = found < 0 || order[at].length === 1;
  const rest = order.map((group) => group.filter((each) => each !== place));
  if (move === "tie") {
    if (at === 0) return found < 0 ? written([...order, [place]], choices, place) : dense(choices);
    rest[at - 1] = [...rest[at - 1], place].sort((a, b) => a - b);
  } else {
    rest.splice(target(move, at, alone, order.length), 0, [place]);
  }
  return written(rest.filter((group) => group.length), choices, place);
}

/**
 * Choices after a drop: `place` becomes better than, tied with, or worse than `other`; onto an F it fails too, beside it it is last.
 * @param {Choices} choices @param {"better"|"tie"|"worse"} how @param {number} place @param {number} other @returns {Choices}
 */
export function dropped(choices, how, place, other) {
  if (place === other) return choices;
  if (choices[other] === FAIL && how === "tie") return dense(choices.map((choice, at) => (at === place ? FAIL : choice)));
  const rest = groups(choices).map((group) => group.filter((each) => each !== place)).filter((group) => group.length);
  if (choices[other] === UNRANKED) rest.push([other]);
  const found = rest.findIndex((group) => group.includes(other));
  if (found < 0) rest.push([place]);
  else if (how === "tie") rest[found] = [...rest[found], place].sort((a, b) => a - b);
  else rest.splice(how === "better" ? found : found + 1, 0, [place]);
  return written(rest, choices, place);
}

/** @param {string} move @param {number} at @param {boolean} alone @param {number} end @returns {number} */
function target(move, at, alone, end) {
  if (at === end) return end;
  if (move === "up") return alone ? Math.max(at - 1, 0) : at;
  return alone ? Math.min(at + 2, end) : at + 1;
}

/** @param {number[][]} order @param {Choices} choices @param {number|null} freed @returns {Choices} */
function written(order, choices, freed) {
  return choices.map((choice, place) => {
    const rank = order.findIndex((group) => group.includes(place));
    if (rank >= 0) return String(rank + 1);
    return choice === FAIL && place !== freed ? FAIL : UNRANKED;
  });
}

/** The order line: rank and letters, then F, then what is not ranked. @param {Choices} choices @returns {[string, number[]][]} */
export function summary(choices) {
  /** @type {[string, number[]][]} */
  const line = groups(choices).map((group, index) => [String(index + 1), group]);
  const fails = placesOf(choices, FAIL);
  if (fails.length) line.push([FAIL, fails]);
  return line;
}
