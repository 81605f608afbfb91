import test from "ava";
import { ProducerTable } from "../../src/segment/producers.ts";

const limits = { producersMax: 3, producerRequestsMax: 4, producerWindowMs: 1000 };

function request(sequence: number, timestamp = 0) {
  return { sequence: BigInt(sequence), firstOffset: BigInt(sequence * 10), count: 10, checksum: sequence, timestamp };
}

function createTable(id: string, ...sequences: number[]): ProducerTable {
  const table = new ProducerTable(limits);
  for (const sequence of sequences) table.record(id, request(sequence));
  return table;
}

test("producers - one that is not known may begin anywhere, then the next sequence follows", (t) => {
  const table = createTable("p", 41);
  t.is(table.draft(0).judge("q", 12345n, 1, 1).kind, "new");
  t.is(table.draft(0).judge("p", 42n, 1, 1).kind, "new");
  t.deepEqual(table.draft(0).judge("p", 43n, 1, 1), { kind: "conflict", lastSequence: 41n, reused: false });
  t.deepEqual(table.draft(0).judge("p", 40n, 1, 1), { kind: "conflict", lastSequence: 41n, reused: false });
});

test("producers - what is remembered and the same is a duplicate, else a conflict", (t) => {
  const table = createTable("p", 1, 2, 3);
  t.deepEqual(table.draft(0).judge("p", 2n, 2, 10), { kind: "duplicate", first: request(2) });
  t.deepEqual(table.draft(0).judge("p", 2n, 99, 10), { kind: "conflict", lastSequence: 3n, reused: true });
  t.deepEqual(table.draft(0).judge("p", 2n, 2, 11), { kind: "conflict", lastSequence: 3n, reused: true });
});

test("producers - so many requests of each are remembered and no more", (t) => {
  const table = createTable("p", 1, 2, 3, 4, 5);
  t.is(table.draft(0).judge("p", 1n, 1, 10).kind, "conflict");
  t.is(table.draft(0).judge("p", 2n, 2, 10).kind, "duplicate");
});

test("producers - beyond their number the one that was quiet for longest is forgotten", (t) => {
  const table = createTable("a", 1);
  for (const id of ["b", "c", "a", "d"]) table.record(id, request(id === "a" ? 2 : 1));
  table.expire(0);
  t.is(table.size, 3);
  t.is(table.draft(0).judge("b", 77n, 1, 1).kind, "new");
  t.is(table.draft(0).judge("a", 77n, 1, 1).kind, "conflict");
});

test("producers - the window counts from a producer's last request, its edge included", (t) => {
  const table = new ProducerTable(limits);
  table.record("p", request(1, 5000));
  table.record("p", request(2, 5500));
  table.expire(6500);
  t.is(table.draft(0).judge("p", 1n, 1, 10).kind, "duplicate");
  table.expire(6501);
  t.is(table.draft(0).judge("p", 1n, 1, 10).kind, "new");
  t.is(table.size, 0);
});

test("producers - a draft is judged by itself, and the table knows nothing of it until it is applied", (t) => {
  const table = createTable("p", 1, 2);
  const draft = table.draft(0);
  draft.record("p", request(3));
  draft.record("q", request(7));
  t.is(draft.judge("p", 4n, 1, 1).kind, "new");
  t.is(draft.judge("p", 3n, 3, 10).kind, "duplicate");
  t.is(draft.judge("q", 9n, 1, 1).kind, "conflict");
  t.is(table.draft(0).judge("p", 3n, 3, 10).kind, "new");
  t.is(table.size, 1);
  draft.apply();
  t.is(table.draft(0).judge("p", 3n, 3, 10).kind, "duplicate");
  t.is(table.draft(0).judge("q", 7n, 7, 10).kind, "duplicate");
});

test("producers - a draft does not remember whom its commit's timestamp has the table forget", (t) => {
  const table = new ProducerTable(limits);
  table.record("p", request(1, 5000));
  t.is(table.draft(6000).judge("p", 1n, 1, 10).kind, "duplicate");
  const draft = table.draft(6001);
  t.is(draft.judge("p", 1n, 1, 10).kind, "new");
  draft.apply();
  t.is(table.size, 0);
});
