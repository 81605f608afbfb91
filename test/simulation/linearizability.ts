/**
 * Whether a stream's history is linearizable: whether there is one order of its operations, each at a moment between
 * its call and its answer, in which each has the answer that a log gives which does one thing at a time.
 *
 * The search is Wing and Gong's with Lowe's cache, as Porcupine does it: operations are put in order one by one, and an
 * order is given up where an answer was due that is not in it yet. What was put in order, with the state that it leads
 * to, is not tried twice. The state has the same size however long the log is: the tail, a digest of everything before
 * it, and the producers' last requests.
 *
 * An append with an unknown outcome may take effect at any time from its call on, or never.
 */
import type { Append, HistoryOperation } from "./history.ts";

/** What the check found. */
export type Verdict =
  | { readonly kind: "linearizable"; readonly operations: number; readonly steps: number }
  /** No order goes beyond `order`: one of `stuck` would have to come next. */
  | {
      readonly kind: "violated";
      readonly order: readonly HistoryOperation[];
      readonly stuck: readonly HistoryOperation[];
    }
  /** The search was given up after `stepsMax` steps. */
  | { readonly kind: "unknown"; readonly steps: number };

/** How long the search goes on before it is given up. */
export const stepsMax = 5_000_000;

interface ProducerState {
  readonly last: number;
  /** Where the newest requests are stored, by sequence. */
  readonly requests: ReadonlyMap<number, number>;
}

interface State {
  readonly tail: number;
  readonly digest: number;
  readonly producers: ReadonlyMap<string, ProducerState>;
}

/** An operation with what was learned about it from others. */
interface Entry {
  readonly operation: HistoryOperation;
  readonly calledAt: number;
  /** Infinity where it may take effect at any time, or never. */
  readonly endedAt: number;
  /** Whether an append may be stored there, by what others saw. */
  readonly fits: (offset: number) => boolean;
  /** The digest of all records before the end that a read saw; undefined where it did not see all. */
  readonly digest: number | undefined;
}

/** Checks the operations of one incarnation of one stream, which begins with offset `firstOffset`. */
export function checkLinearizable(operations: readonly HistoryOperation[], firstOffset = 0): Verdict {
  const entries = prepare(operations, firstOffset);
  return search(entries, { tail: firstOffset, digest: 0, producers: new Map() });
}

/** The digest of a log that is longer by one record. */
export function extendDigest(digest: number, value: string): number {
  let low = 0x9e3779b9 ^ (digest >>> 0);
  let high = 0x41c6ce57 ^ Math.floor(digest / 2 ** 32);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    low = Math.imul(low ^ code, 0x9e3779b1);
    high = Math.imul(high ^ code, 0x5f356495);
  }
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  return (high & 0x1fffff) * 2 ** 32 + (low >>> 0);
}

/** What is known of the log from everybody who saw some of it. */
interface Known {
  /** Where each record is that was seen or acknowledged. */
  readonly offsets: ReadonlyMap<string, number>;
  readonly taken: ReadonlySet<number>;
  /** The offset behind the last that anybody told of. */
  readonly end: number;
  /** The requests that somebody's refusal showed to be remembered: producer and sequence. */
  readonly remembered: ReadonlySet<string>;
  /** Whether somebody read all that anybody told of. */
  readonly allRead: boolean;
}

function learn(operations: readonly HistoryOperation[], firstOffset: number): Known {
  const offsets = new Map<string, number>();
  const remembered = new Set<string>();
  let end = firstOffset;
  let readTo = firstOffset - 1;
  for (const operation of operations) {
    if (operation.op === "append") {
      if (operation.outcome === "ok") {
        operation.values.forEach((value, i) => offsets.set(value, operation.firstOffset! + i));
      }
      end = Math.max(end, operation.foundOffset ?? 0);
      if (operation.foundSequence !== undefined) remembered.add(`${operation.producer} ${operation.foundSequence}`);
    } else if (operation.op === "read") {
      if (operation.firstOffset <= firstOffset) readTo = Math.max(readTo, operation.nextOffset);
      operation.values.forEach((value, i) => offsets.set(value, operation.firstOffset + i));
    } else if (operation.op === "delivery") {
      operation.values.forEach((value, i) => offsets.set(value, operation.offsets[i]!));
    }
    if ("nextOffset" in operation) end = Math.max(end, operation.nextOffset);
  }
  const taken = new Set(offsets.values());
  for (const offset of taken) end = Math.max(end, offset + 1);
  return { offsets, taken, end, remembered, allRead: readTo >= end };
}

/** Leaves out what says nothing, and finds where appends with an unknown outcome are stored, by who has read them. */
function prepare(operations: readonly HistoryOperation[], firstOffset: number): Entry[] {
  const known = learn(operations, firstOffset);
  const entries: Entry[] = [];
  const superfluous = findSuperfluous(operations);
  let observed = firstOffset;
  for (const operation of operations.toSorted((a, b) => (a.endedAt ?? Infinity) - (b.endedAt ?? Infinity))) {
    if (operation.op === "trim" || operation.op === "delete" || superfluous.has(operation)) continue;
    const { calledAt, endedAt = Infinity } = operation;
    if (operation.op === "append") {
      const entry = prepareAppend(operation, known);
      if (entry !== undefined) entries.push(entry);
    } else if (operation.op === "delivery") {
      // What was seen shows that the tail was there by then; less than that is known already.
      if (operation.nextOffset <= observed || operation.endedAt === undefined) continue;
      observed = operation.nextOffset;
      entries.push({ operation, calledAt: endedAt, endedAt, fits: anywhere, digest: undefined });
    } else {
      const whole = operation.op === "read" && operation.firstOffset === firstOffset;
      const digest = whole ? operation.values.reduce(extendDigest, 0) : undefined;
      entries.push({ operation, calledAt, endedAt, fits: anywhere, digest });
    }
  }
  return entries;
}

/**
 * Of the attempts to store one batch only one takes effect: the one that was told so. Where none was, it may as well be
 * the first, which had the most time; so the others with an unknown outcome need not be tried.
 */
function findSuperfluous(operations: readonly HistoryOperation[]): ReadonlySet<HistoryOperation> {
  const stored = new Set<string>();
  const first = new Map<string, Append>();
  const unknown = operations.filter((operation): operation is Append => {
    if (operation.op === "append" && operation.outcome === "ok" && operation.duplicate !== true) {
      stored.add(operation.values[0]!);
    }
    return operation.op === "append" && operation.outcome === "unknown";
  });
  for (const append of unknown) {
    const known = first.get(append.values[0]!);
    if (known === undefined || append.calledAt < known.calledAt) first.set(append.values[0]!, append);
  }
  return new Set(
    unknown.filter((append) => {
      const [value] = append.values;
      return stored.has(value!) || first.get(value!) !== append;
    }),
  );
}

function anywhere(): boolean {
  return true;
}

function prepareAppend(append: Append, known: Known): Entry | undefined {
  const { calledAt, endedAt = Infinity, outcome, values, producer, sequence } = append;
  const entry = (fits: Entry["fits"], end = endedAt) => {
    return { operation: append, calledAt, endedAt: end, fits, digest: undefined };
  };
  if (outcome === "ok") return entry((tail) => tail === append.firstOffset);
  if (outcome === "refused") {
    const told = append.foundOffset !== undefined || append.foundSequence !== undefined;
    return told ? entry(anywhere) : undefined;
  }
  const at = values.findIndex((value) => known.offsets.has(value));
  if (at >= 0) {
    const offset = known.offsets.get(values[at]!)! - at;
    return entry((tail) => tail === offset, Infinity);
  }
  // Nobody saw it, though everything was read: it never took effect, and need not be tried.
  if (known.allRead) return undefined;
  // Else only where nobody saw another; and behind all that anybody told of nothing depends on it.
  const isFree = (tail: number) => values.every((_, i) => !known.taken.has(tail + i));
  const end = known.remembered.has(`${producer} ${sequence}`) ? Infinity : known.end;
  return entry((tail) => tail + values.length <= end && isFree(tail), Infinity);
}

/** The state behind an operation; undefined where the log would not have given its answer. */
function step(state: State, { operation, fits, digest }: Entry): State | undefined {
  switch (operation.op) {
    case "append":
      return stepAppend(state, operation, fits);
    case "tail":
      return operation.nextOffset === state.tail ? state : undefined;
    case "read":
      if (operation.nextOffset !== state.tail) return undefined;
      return digest === undefined || digest === state.digest ? state : undefined;
    case "delivery":
      return operation.nextOffset <= state.tail ? state : undefined;
    default:
      return state;
  }
}

function stepAppend(state: State, append: Append, fits: Entry["fits"]): State | undefined {
  const { producer, sequence, expectedOffset, outcome } = append;
  const known = producer === undefined ? undefined : state.producers.get(producer);
  const follows = known === undefined || sequence === known.last + 1;
  if (outcome === "refused") {
    if (append.foundSequence !== undefined) return !follows && known?.last === append.foundSequence ? state : undefined;
    const refused = append.foundOffset === state.tail && expectedOffset !== state.tail;
    return refused && follows ? state : undefined;
  }
  if (append.duplicate === true) {
    return known?.requests.get(sequence!) === append.firstOffset ? state : undefined;
  }
  const isExpected = expectedOffset === undefined || expectedOffset === state.tail;
  if (!isExpected || !follows || !fits(state.tail)) return undefined;
  const tail = state.tail + append.values.length;
  const digest = append.values.reduce(extendDigest, state.digest);
  if (producer === undefined) return { ...state, tail, digest };
  const requests = new Map(known?.requests).set(sequence!, state.tail);
  const producers = new Map(state.producers).set(producer, { last: sequence!, requests });
  return { tail, digest, producers };
}

/** A call or an answer, in a list in the order of time. */
interface Event {
  /** The entry's number. */
  readonly id: number;
  readonly isCall: boolean;
  previous: Event;
  next: Event | undefined;
  /** A call's answer; undefined where none was due. */
  answer: Event | undefined;
}

function search(entries: readonly Entry[], initial: State): Verdict {
  const head = toEvents(entries);
  const tried = new Set<string>();
  const done = new Uint8Array(entries.length);
  const stack: { event: Event; before: State }[] = [];
  let state = initial;
  let steps = 0;
  let best: Event[] = [];
  let low = 0;
  let high = -1;
  let event = head.next;
  while (event !== undefined) {
    if (event.isCall) {
      if (++steps > stepsMax) return { kind: "unknown", steps };
      const after = step(state, entries[event.id]!);
      if (after !== undefined) {
        done[event.id] = 1;
        const [lowBefore, highBefore] = [low, high];
        high = Math.max(high, event.id);
        while (done[low] === 1) low++;
        const key = `${low}:${packed(done, low, high)}:${after.digest}:${after.tail}`;
        if (!tried.has(key)) {
          tried.add(key);
          stack.push({ event, before: state });
          state = after;
          lift(event);
          event = head.next;
          continue;
        }
        done[event.id] = 0;
        low = lowBefore;
        high = highBefore;
      }
      event = event.next;
    } else {
      if (stack.length > best.length) best = stack.map((taken) => taken.event);
      const last = stack.pop();
      if (last === undefined) return violated(entries, best);
      state = last.before;
      done[last.event.id] = 0;
      low = Math.min(low, last.event.id);
      unlift(last.event);
      event = last.event.next;
    }
  }
  return { kind: "linearizable", operations: entries.length, steps };
}

/** Which entries from `low` to `high` are done, as text. */
function packed(done: Uint8Array, low: number, high: number): string {
  return high < low ? "" : Buffer.from(done.buffer, low, high - low + 1).toString("latin1");
}

function toEvents(entries: readonly Entry[]): Event {
  const moments = entries.flatMap(({ calledAt, endedAt }, id) => [
    { at: calledAt, id, isCall: true },
    ...(endedAt === Infinity ? [] : [{ at: endedAt, id, isCall: false }]),
  ]);
  // Of what happens at the same time calls come first: such operations may be in either order.
  moments.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
  const head = { id: -1, isCall: false, next: undefined, answer: undefined } as unknown as Event;
  const calls = new Map<number, Event>();
  let previous = head;
  for (const { id, isCall } of moments) {
    const event: Event = { id, isCall, previous, next: undefined, answer: undefined };
    if (isCall) calls.set(id, event);
    else calls.get(id)!.answer = event;
    previous.next = event;
    previous = event;
  }
  return head;
}

function lift(call: Event): void {
  unlink(call);
  if (call.answer !== undefined) unlink(call.answer);
}

function unlift(call: Event): void {
  if (call.answer !== undefined) link(call.answer);
  link(call);
}

function unlink(event: Event): void {
  event.previous.next = event.next;
  if (event.next !== undefined) event.next.previous = event.previous;
}

function link(event: Event): void {
  event.previous.next = event;
  if (event.next !== undefined) event.next.previous = event;
}

function violated(entries: readonly Entry[], best: readonly Event[]): Verdict {
  const order = best.map(({ id }) => entries[id]!);
  const taken = new Set(order);
  const due = Math.min(...entries.filter((entry) => !taken.has(entry)).map(({ endedAt }) => endedAt));
  const stuck = entries.filter((entry) => !taken.has(entry) && entry.calledAt <= due);
  return {
    kind: "violated",
    order: order.map(({ operation }) => operation),
    stuck: stuck.map(({ operation }) => operation),
  };
}
