import test from "ava";
import { isKind, VaultError } from "../../src/errors.ts";
import { forwardedByKey, leaderKey } from "../../src/rpc/leader-route.ts";
import { createContext } from "../support/call-handler.ts";
import type { TestContext } from "../support/call-handler.ts";
import { createForwardingCluster, paths } from "../support/create-forwarding.ts";
import type { ForwardingNode } from "../support/create-forwarding.ts";
import { drive } from "../support/drive.ts";

/** A leader `a` and two standbys. */
function createTrio() {
  const cluster = createForwardingCluster();
  const [a, b, c] = [cluster.start("a"), cluster.start("b"), cluster.start("c")];
  cluster.lead("a", 1);
  return { ...cluster, a, b, c };
}

/** A PublishStream call whose requests a test gives. */
function openStream({ handlers }: ForwardingNode, context: TestContext = createContext()) {
  const given: string[] = [];
  const answers: string[] = [];
  const state = { ended: false, taken: 0 };
  let wake: (() => void) | undefined;
  async function* requests() {
    for (;;) {
      const next = given.shift();
      if (next !== undefined) {
        state.taken++;
        yield Buffer.from(next);
      } else if (state.ended) {
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  }
  const handler = handlers[paths.publishStream];
  if (handler?.kind !== "duplex") throw new Error("not duplex");
  const responses = handler.handle(requests(), context);
  const ended = (async () => {
    for await (const answer of responses) answers.push((answer as Buffer).toString());
  })();
  const failure = ended.then(
    () => undefined,
    (error: unknown) => error,
  );
  return {
    context,
    answers,
    state,
    ended,
    /** What the call failed with; undefined where it ended well. */
    failure,
    give(...next: string[]) {
      given.push(...next);
      wake?.();
    },
    finish() {
      state.ended = true;
      wake?.();
    },
  };
}

test("forwarding of PublishStream - the leader answers by itself", async (t) => {
  const { a, network } = createTrio();
  const stream = openStream(a);
  stream.give("1", "2");
  stream.finish();
  await stream.ended;
  t.deepEqual(stream.answers, ["a: 1", "a: 2"]);
  t.deepEqual(network.calls, []);
});

test("forwarding of PublishStream - a standby passes requests and answers on, and says who leads", async (t) => {
  const { b, clock } = createTrio();
  const stream = openStream(b);
  stream.give("1");
  await clock.settle();
  t.deepEqual(stream.answers, ["a: 1"]);
  t.deepEqual(stream.context.sent, { [leaderKey]: "a:50051" });
  stream.give("2", "3");
  stream.finish();
  await stream.ended;
  t.deepEqual(stream.answers, ["a: 1", "a: 2", "a: 3"]);
});

test("forwarding of PublishStream - nothing is taken from the client that the leader does not take", async (t) => {
  const { a, b, clock } = createTrio();
  const gate = Promise.withResolvers<string>();
  a.answer = () => gate.promise;
  const stream = openStream(b);
  stream.give("1", "2", "3", "4", "5", "6");
  await clock.advance(1000);
  t.true(stream.state.taken <= 2, `${stream.state.taken} were taken`);
  gate.resolve("ok");
  stream.finish();
  await stream.ended;
  t.is(stream.answers.length, 6);
});

test("forwarding of PublishStream - a call that begins without a leader waits for one", async (t) => {
  const { b, clock, lead } = createTrio();
  lead(undefined, 0);
  const stream = openStream(b);
  stream.give("1");
  stream.finish();
  await clock.advance(5000);
  lead("c", 2);
  await drive(clock, stream.ended, 500);
  t.deepEqual(stream.answers, ["c: 1"]);
});

test("forwarding of PublishStream - without a leader for long nothing was stored", async (t) => {
  const { b, clock, lead } = createTrio();
  lead(undefined, 0);
  const stream = openStream(b);
  stream.give("1");
  t.true(isKind(await drive(clock, stream.failure), "unavailable"));
  t.is(stream.state.taken, 0);
});

test("forwarding of PublishStream - a request that is unanswered when the link breaks may be stored", async (t) => {
  const { a, b, clock, network } = createTrio();
  const stream = openStream(b);
  stream.give("1");
  await clock.settle();
  a.answer = () => new Promise(() => undefined);
  stream.give("2");
  await clock.settle();
  network.cut("a:50051");
  t.true(isKind(await drive(clock, stream.failure), "indeterminate"));
  t.deepEqual(stream.answers, ["a: 1"]);
});

test("forwarding of PublishStream - a link that breaks with nothing open is made anew, unseen", async (t) => {
  const { b, clock, network } = createTrio();
  const stream = openStream(b);
  stream.give("1");
  await clock.settle();
  network.cut("a:50051");
  await clock.advance(100);
  stream.give("2");
  stream.finish();
  await drive(clock, stream.ended, 500);
  t.deepEqual(stream.answers, ["a: 1", "a: 2"]);
});

test("forwarding of PublishStream - with nothing open it goes on at the next leader, unseen", async (t) => {
  const { a, b, clock, lead, network } = createTrio();
  const streams = [openStream(b), openStream(a)];
  for (const stream of streams) stream.give("1");
  await clock.settle();
  network.serve("a:50051", undefined);
  network.cut("a:50051");
  lead(undefined, 0);
  await clock.advance(3000);
  lead("c", 2);
  await clock.advance(1000);
  for (const stream of streams) {
    stream.give("2");
    stream.finish();
    await drive(clock, stream.ended, 500);
    t.deepEqual(stream.answers, ["a: 1", "c: 2"]);
  }
});

test("forwarding of PublishStream - an hour later it does so again", async (t) => {
  const { b, clock, lead, network } = createTrio();
  const stream = openStream(b);
  for (const [epoch, name] of ["a", "c", "a", "c"].entries()) {
    lead(name, epoch + 1);
    await clock.advance(2000);
    stream.give(`${epoch}`);
    await clock.advance(3_600_000);
    network.cut(`${name}:50051`);
  }
  stream.finish();
  await drive(clock, stream.ended);
  t.deepEqual(stream.answers, ["a: 0", "c: 1", "a: 2", "c: 3"]);
});

test("forwarding of PublishStream - a leader that hands over: nothing was stored, and the next one is named", async (t) => {
  const { a, b, clock, lead } = createTrio();
  const streams = [openStream(b), openStream(a)];
  for (const stream of streams) stream.give("1");
  await clock.settle();
  a.handingOver = true;
  for (const stream of streams) stream.give("2");
  await clock.advance(200);
  lead("c", 2);
  a.handingOver = false;
  for (const stream of streams) {
    const error = await drive(clock, stream.failure, 1000);
    t.true(isKind(error, "unavailable"), String(error));
    t.like((error as VaultError).detail, { leader: "c:50051", retryAfterMs: 0 });
    t.deepEqual(stream.answers, ["a: 1"]);
  }
});

test("forwarding of PublishStream - a refusal ends the call as it is", async (t) => {
  const { a, b } = createTrio();
  const refusal = new VaultError("conflict", "no", { condition: "producerSequence" });
  a.answer = () => Promise.reject(refusal);
  for (const node of [a, b]) {
    const stream = openStream(node);
    stream.give("1");
    t.is(await stream.failure, refusal);
  }
});

test("forwarding of PublishStream - a leader that says nothing is given up soon after another one leads", async (t) => {
  const { a, b, clock, lead } = createTrio();
  a.answer = () => new Promise(() => undefined);
  const stream = openStream(b);
  stream.give("1");
  await clock.advance(5000);
  lead("c", 2);
  const from = clock.monotonic();
  t.true(isKind(await drive(clock, stream.failure), "indeterminate"));
  t.true(clock.monotonic() - from <= 750);
});

test("forwarding of PublishStream - a server that drains lets what was passed on be answered", async (t) => {
  const { a, b, clock } = createTrio();
  const gate = Promise.withResolvers<string>();
  a.answer = () => gate.promise;
  const draining = new AbortController();
  const stream = openStream(b, createContext({ signal: draining.signal }));
  stream.give("1");
  await clock.settle();
  const reason = new VaultError("unavailable", "this node shuts down");
  draining.abort(reason);
  stream.give("2");
  await clock.settle();
  gate.resolve("stored");
  t.is(await drive(clock, stream.failure), reason);
  t.deepEqual(stream.answers, ["stored"]);
  t.is(clock.timers, 0);
});

test("forwarding of PublishStream - a client that is gone cuts the link", async (t) => {
  const { a, b, clock } = createTrio();
  let gone = false;
  a.answer = (_request, { signal }) => {
    signal.addEventListener("abort", () => (gone = true), { once: true });
    return new Promise(() => undefined);
  };
  const client = new AbortController();
  const stream = openStream(b, createContext({ signal: client.signal }));
  stream.give("1");
  await clock.settle();
  client.abort();
  t.truthy(await drive(clock, stream.failure));
  t.true(gone);
  t.is(clock.timers, 0);
});

test("forwarding of PublishStream - goes one hop", async (t) => {
  const { b, network } = createTrio();
  const stream = openStream(b, createContext({ metadata: { [forwardedByKey]: "c" } }));
  stream.give("1");
  const error = await stream.failure;
  t.true(isKind(error, "unavailable") && error.detail.leader === "a:50051");
  t.is(stream.state.taken, 0);
  t.deepEqual(network.calls, []);
});

test("forwarding of PublishStream - what is on the way holds others back, and is given back", async (t) => {
  const { b, a, clock } = createTrio();
  const gate = Promise.withResolvers<string>();
  let asked = 0;
  a.answer = () => {
    asked++;
    return gate.promise;
  };
  const streams = Array.from({ length: 6 }, () => openStream(b));
  for (const stream of streams) stream.give("x".repeat(300), "x".repeat(300));
  await clock.advance(1000);
  // With 300 bytes on the way more than half of the 1,000 is free, so that one more may go.
  t.is(asked, 2);
  gate.resolve("ok");
  for (const stream of streams) stream.finish();
  await drive(clock, Promise.all(streams.map(({ ended }) => ended)));
  t.deepEqual(
    streams.map(({ answers }) => answers.length),
    [2, 2, 2, 2, 2, 2],
  );
});
