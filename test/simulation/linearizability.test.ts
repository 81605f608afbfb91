import test from "ava";
import type { Append, HistoryOperation } from "./history.ts";
import { checkLinearizable } from "./linearizability.ts";
import { createRandom } from "../support/create-clock.ts";

type Given = { op: HistoryOperation["op"]; call: number; end?: number } & Record<string, unknown>;

function history(...given: Given[]): HistoryOperation[] {
  return given.map(
    ({ call, end, ...rest }) =>
      ({
        client: "c",
        stream: "s",
        outcome: "ok",
        calledAt: call,
        endedAt: end,
        ...rest,
      }) as unknown as HistoryOperation,
  );
}

const append = (call: number, end: number | undefined, value: string, firstOffset?: number, rest = {}): Given => {
  const answered = end === undefined ? {} : { end };
  const outcome = firstOffset === undefined ? "unknown" : "ok";
  return { op: "append", call, ...answered, values: [value], outcome, firstOffset, ...rest };
};
const tail = (call: number, end: number, nextOffset: number): Given => ({ op: "tail", call, end, nextOffset });
const read = (call: number, end: number, ...values: string[]): Given => {
  return { op: "read", call, end, firstOffset: 0, values, nextOffset: values.length };
};
const refused = (call: number, end: number, value: string, rest: object): Given => {
  return { op: "append", call, end, values: [value], outcome: "refused", ...rest };
};
const delivery = (at: number, offset: number, value: string): Given => {
  return {
    op: "delivery",
    call: 0,
    end: at,
    offsets: [offset],
    values: [value],
    timestamps: [0],
    nextOffset: offset + 1,
  };
};

const p = (sequence: number, rest = {}) => ({ producer: "p", sequence, ...rest });

const good: Record<string, Given[]> = {
  "one after the other": [append(0, 1, "a", 0), append(2, 3, "b", 1), tail(4, 5, 2), read(6, 7, "a", "b")],
  "side by side, in the other order": [append(0, 9, "a", 1), append(1, 8, "b", 0), read(10, 11, "b", "a")],
  "a tail in the middle of an append, before or after": [
    append(0, 9, "a", 0),
    tail(1, 2, 0),
    tail(3, 4, 1),
    tail(5, 6, 1),
  ],
  "an unknown append that never was": [
    append(0, undefined, "a"),
    tail(5, 6, 0),
    append(7, 8, "b", 0),
    read(9, 10, "b"),
  ],
  "an unknown append that comes late": [
    append(0, undefined, "a"),
    tail(5, 6, 0),
    append(7, 8, "b", 0),
    read(9, 10, "b", "a"),
  ],
  "a refused offset that was wrong at some moment": [
    append(0, 9, "a", 0, { expectedOffset: 0 }),
    refused(1, 10, "b", { expectedOffset: 0, foundOffset: 1 }),
    read(11, 12, "a"),
  ],
  "a duplicate of an unknown attempt": [
    append(0, undefined, "a", undefined, p(1)),
    append(3, 4, "a", 0, p(1, { duplicate: true })),
    read(5, 6, "a"),
  ],
  "an attempt that took effect though another was unknown": [
    append(0, undefined, "a", undefined, p(1)),
    append(3, 4, "a", 0, p(1, { duplicate: false })),
    read(5, 6, "a"),
  ],
  "an unknown append that nobody saw, between records that were": [
    append(0, 1, "a", 0),
    read(2, 3, "a"),
    append(4, undefined, "b"),
    append(5, 9, "c", 2),
    tail(10, 11, 3),
  ],
  "a refused sequence": [
    append(0, 1, "a", 0, p(7)),
    refused(2, 3, "b", p(9, { foundSequence: 7 })),
    append(4, 5, "c", 1, p(8)),
    read(6, 7, "a", "c"),
  ],
  "a record that is seen before its append is answered": [append(0, 9, "a", 0), delivery(3, 0, "a"), tail(4, 5, 1)],
};

const bad: Record<string, Given[]> = {
  "two records at one offset": [append(0, 1, "a", 0), append(2, 3, "b", 0)],
  "a hole": [append(0, 1, "a", 0), append(2, 3, "b", 2), read(4, 5, "a", "b")],
  "a lost record": [append(0, 1, "a", 0), append(2, 3, "b", 1), read(4, 5, "b")],
  "a lost tail": [append(0, 1, "a", 0), tail(2, 3, 0)],
  "a tail that goes back": [append(0, 9, "a", 0), tail(1, 2, 1), tail(3, 4, 0)],
  "another order than that of time": [append(0, 1, "a", 1), append(2, 3, "b", 0), read(4, 5, "b", "a")],
  "another record than the one that was stored": [append(0, 1, "a", 0), append(2, 3, "b", 1), read(4, 5, "a", "c")],
  "an unknown append that is seen before it was called": [
    delivery(1, 0, "a"),
    append(2, undefined, "a"),
    read(3, 4, "a"),
  ],
  "an expected offset that did not hold": [append(0, 1, "a", 0), append(2, 3, "b", 1, { expectedOffset: 0 })],
  "a refusal although the offset held": [refused(0, 1, "a", { expectedOffset: 0, foundOffset: 0 })],
  "a refusal by an append that never was": [
    append(0, undefined, "a", undefined, { expectedOffset: 0 }),
    refused(1, 2, "b", { expectedOffset: 0, foundOffset: 1 }),
    append(3, 4, "c", 0, { expectedOffset: 0 }),
    read(5, 6, "c"),
  ],
  "a request stored twice": [append(0, 1, "a", 0, p(1)), append(2, 3, "a", 1, p(1)), read(4, 5, "a", "a")],
  "a sequence left out": [append(0, 1, "a", 0, p(1)), append(2, 3, "b", 1, p(3))],
  "a duplicate of nothing": [append(0, 1, "a", 0, p(1, { duplicate: true })), read(2, 3)],
  "a duplicate with other offsets": [append(0, 1, "a", 0, p(1)), append(2, 3, "a", 1, p(1, { duplicate: true }))],
  "a refused sequence that followed": [append(0, 1, "a", 0, p(1)), refused(2, 3, "b", p(2, { foundSequence: 1 }))],
};

for (const [name, given] of Object.entries(good)) {
  test(`linearizability - ${name} - is`, (t) => {
    t.is(checkLinearizable(history(...given)).kind, "linearizable");
  });
}

for (const [name, given] of Object.entries(bad)) {
  test(`linearizability - ${name} - is not`, (t) => {
    t.is(checkLinearizable(history(...given)).kind, "violated");
  });
}

/** A history as a log makes it that does one thing at a time, with calls that overlap. */
function randomHistory(seed: number, count: number): HistoryOperation[] {
  const random = createRandom(seed);
  const values: string[] = [];
  const given: Given[] = [];
  for (let at = 0; at < count; at++) {
    const [call, end] = [at - 8 * random(), at + 8 * random()];
    const dice = random();
    const value = `v${at}`;
    if (dice < 0.5) given.push(append(call, end, value, values.push(value) - 1));
    else if (dice < 0.6) given.push(append(call, undefined, value, undefined), ...(random() < 0.5 ? [] : store(value)));
    else if (dice < 0.7) given.push(refused(call, end, value, { expectedOffset: -1, foundOffset: values.length }));
    else if (dice < 0.9) given.push(tail(call, end, values.length));
    else given.push(read(call, end, ...values));
  }
  given.push(read(count + 10, count + 11, ...values));
  return history(...given);

  function store(value: string): Given[] {
    values.push(value);
    return [];
  }
}

test("linearizability - a thousand operations of eight clients - are judged in a moment, right and wrong", (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const operations = randomHistory(seed, 1000);
    t.is(checkLinearizable(operations).kind, "linearizable", `seed ${seed}`);
    const at = operations.findLastIndex(({ op, outcome }) => op === "append" && outcome === "ok");
    const wrong = operations.with(at, { ...(operations[at] as Append), firstOffset: 3 });
    t.is(checkLinearizable(wrong).kind, "violated", `seed ${seed}`);
  }
});
