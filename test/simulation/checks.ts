/** What must hold of a history as a whole. */
import type { Append, Delivery, HistoryOperation, Read } from "./history.ts";
import { byIncarnation } from "./history.ts";
import { checkLinearizable } from "./linearizability.ts";
import { keyOf } from "./records.ts";
import type { Subscriber } from "./subscribers.ts";

/** A promise that was broken. */
export interface Violation {
  /** Which check found it. */
  readonly check: string;
  readonly what: string;
  /** The operations around it. */
  readonly around: readonly HistoryOperation[];
}

/** What is known to be in a stream at an offset. */
interface Known {
  readonly value: string;
  readonly by: HistoryOperation;
}

/** Checks every stream of a history. Returns what is wrong. */
export function checkHistory(operations: readonly HistoryOperation[]): Violation[] {
  const violations: Violation[] = [];
  for (const [key, own] of byIncarnation(operations)) {
    const problems = [...checkPlaces(own), ...checkTimestamps(own), ...checkPresence(own)];
    violations.push(...problems.map((problem) => ({ ...problem, what: `${key}: ${problem.what}` })));
    const verdict = checkLinearizable(own);
    if (verdict.kind === "violated") {
      const around = [...verdict.order.slice(-8), ...verdict.stuck];
      violations.push({ check: "linearizability", what: `${key}: no order of the operations goes on`, around });
    } else if (verdict.kind === "unknown") {
      violations.push({ check: "linearizability", what: `${key}: given up after ${verdict.steps} steps`, around: [] });
    }
  }
  return violations;
}

/** Each offset has one record, and each record one offset, whoever saw it. */
function checkPlaces(operations: readonly HistoryOperation[]): Violation[] {
  const violations: Violation[] = [];
  const byOffset = new Map<number, Known>();
  const byValue = new Map<string, number>();
  const place = (offset: number, value: string, by: HistoryOperation) => {
    const known = byOffset.get(offset);
    if (known === undefined) byOffset.set(offset, { value, by });
    else if (known.value !== value) {
      violations.push({
        check: "one record an offset",
        what: `${offset} is ${known.value} and ${value}`,
        around: [known.by, by],
      });
    }
    const other = byValue.get(value);
    if (other === undefined) byValue.set(value, offset);
    else if (other !== offset) {
      const around = [byOffset.get(other)!.by, by];
      violations.push({ check: "exactly once", what: `${value} is at ${other} and at ${offset}`, around });
    }
  };
  for (const operation of operations) {
    if (operation.op === "append" && operation.outcome === "ok") {
      operation.values.forEach((value, i) => place(operation.firstOffset! + i, value, operation));
    } else if (operation.op === "read") {
      operation.values.forEach((value, i) => place(operation.firstOffset + i, value, operation));
    } else if (operation.op === "delivery") {
      operation.values.forEach((value, i) => place(operation.offsets[i]!, value, operation));
    }
  }
  return violations;
}

/** Timestamps never go back, and a record has the one that its publisher was told. */
function checkTimestamps(operations: readonly HistoryOperation[]): Violation[] {
  const stamps = new Map<number, { at: number; by: HistoryOperation }>();
  const violations: Violation[] = [];
  const stamp = (offset: number, at: number, by: HistoryOperation) => {
    const known = stamps.get(offset);
    if (known === undefined) stamps.set(offset, { at, by });
    else if (known.at !== at) {
      violations.push({
        check: "one timestamp",
        what: `${offset} is of ${known.at} and ${at}`,
        around: [known.by, by],
      });
    }
  };
  for (const operation of operations) {
    if (operation.op === "append" && operation.outcome === "ok" && operation.timestamp !== undefined) {
      operation.values.forEach((_, i) => stamp(operation.firstOffset! + i, operation.timestamp!, operation));
    } else if (operation.op === "delivery") {
      operation.offsets.forEach((offset, i) => stamp(offset, operation.timestamps[i]!, operation));
    }
  }
  const sorted = [...stamps].toSorted(([a], [b]) => a - b);
  for (let i = 1; i < sorted.length; i++) {
    const [[before, earlier], [offset, later]] = [sorted[i - 1]!, sorted[i]!];
    if (later.at >= earlier.at) continue;
    const what = `${offset} is of ${later.at}, ${before} before it of ${earlier.at}`;
    violations.push({ check: "timestamps", what, around: [earlier.by, later.by] });
  }
  return violations;
}

/**
 * What was acknowledged or seen is there at the end, and no later read misses it. The last reads of the history begin
 * at the stream's start: what lies before it may be gone.
 */
function checkPresence(operations: readonly HistoryOperation[]): Violation[] {
  const violations: Violation[] = [];
  const last = operations.findLast((operation): operation is Read => operation.op === "read");
  if (last === undefined) return [];
  const there = new Map(last.values.map((value, i) => [last.firstOffset + i, value]));
  const expect = (offset: number, value: string, by: Append | Delivery | Read) => {
    if (offset < last.firstOffset || (by.endedAt ?? Infinity) > last.calledAt) return;
    if (there.get(offset) === value) return;
    const what = `${value} at ${offset} was ${by.op === "append" ? "acknowledged" : "read"}, and is gone`;
    violations.push({ check: "nothing vanishes", what, around: [by] });
  };
  for (const operation of operations) {
    if (operation.op === "append" && operation.outcome === "ok") {
      operation.values.forEach((value, i) => expect(operation.firstOffset! + i, value, operation));
    } else if (operation.op === "delivery") {
      operation.values.forEach((value, i) => expect(operation.offsets[i]!, value, operation));
    } else if (operation.op === "read") {
      operation.values.forEach((value, i) => expect(operation.firstOffset + i, value, operation));
    }
  }
  return violations;
}

/** No record came with a timestamp before one that a subscriber had been promised to know all of. */
export function checkPromises(
  subscribers: readonly Subscriber[],
  operations: readonly HistoryOperation[],
): Violation[] {
  return subscribers.flatMap(({ client, stream, promises }) => {
    const broken = (operation: HistoryOperation) => {
      if (operation.stream !== stream || operation.op !== "append" || operation.outcome !== "ok") return undefined;
      const { timestamp, firstOffset, incarnation } = operation;
      return promises.find((promise) => {
        const covers = promise.incarnation === incarnation && firstOffset! >= promise.tailOffset;
        return covers && timestamp! < promise.completeUntil;
      });
    };
    const violations: Violation[] = [];
    for (const operation of operations) {
      const promise = broken(operation);
      if (promise === undefined) continue;
      const { tailOffset, completeUntil } = promise;
      const what = `${client}: nothing from ${tailOffset} on was to be of a time before ${completeUntil}`;
      violations.push({ check: "complete until", what, around: [operation] });
    }
    return violations;
  });
}

/** A subscription got every record of its stretch that its filter lets through, once. */
export function checkSubscriber(subscriber: Subscriber, operations: readonly HistoryOperation[]): Violation[] {
  const { stream, incarnation, keyPrefix, nextOffset, values, client } = subscriber;
  const first = values[0]?.offset;
  if (nextOffset === undefined || first === undefined) return [];
  const there = new Map<number, string>();
  for (const operation of operations) {
    if (operation.op !== "read" || operation.stream !== stream || operation.incarnation !== incarnation) continue;
    operation.values.forEach((value, i) => there.set(operation.firstOffset + i, value));
  }
  const expected = [...there].filter(([offset, value]) => {
    return offset >= first && offset < nextOffset && keyOf(value).startsWith(keyPrefix);
  });
  const got = new Map(values.map(({ offset, value }) => [offset, value]));
  const missing = expected.filter(([offset, value]) => got.get(offset) !== value);
  if (missing.length === 0) return [];
  const what = `${client}: ${missing.length} records of ${stream} never came, the first is ${missing[0]!.join(" ")}`;
  return [{ check: "subscription", what, around: [] }];
}
