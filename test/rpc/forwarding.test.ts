import test from "ava";
import { isKind, VaultError } from "../../src/errors.ts";
import { forwardedByKey, leaderKey } from "../../src/rpc/leader-route.ts";
import { createContext } from "../support/call-handler.ts";
import { createForwardingCluster, forwardingSettings, kindOf, paths } from "../support/create-forwarding.ts";
import type { ForwardingNode } from "../support/create-forwarding.ts";
import { drive } from "../support/drive.ts";

/** A leader `a` and a standby `b`. */
function createPair() {
  const cluster = createForwardingCluster();
  const [a, b] = [cluster.start("a"), cluster.start("b")];
  cluster.lead("a", 1);
  return { ...cluster, a, b };
}

function get({ handlers }: ForwardingNode, path: string, context = createContext()): Promise<string> {
  const handler = handlers[path];
  if (handler?.kind !== "unary") throw new Error("not unary");
  return handler.handle(Buffer.from("x"), context).then((bytes) => Buffer.from(bytes).toString());
}

test("forwarding - the leader answers by itself", async (t) => {
  const { a, publish, network } = createPair();
  const context = createContext();
  t.is(await publish(a, "x", context), "a: x");
  t.deepEqual(network.calls, []);
  t.deepEqual(context.sent, {});
});

test("forwarding - a standby's answer is the leader's, and says who that is", async (t) => {
  const { a, b, publish } = createPair();
  let by: string | undefined;
  a.answer = (request, { metadata, deadlineMs }) => {
    by = metadata.get(forwardedByKey);
    return `a: ${request} within ${deadlineMs}`;
  };
  const context = createContext({ deadlineMs: 5000 });
  t.is(await publish(b, "x", context), "a: x within 5000");
  t.deepEqual(context.sent, { [leaderKey]: "a:50051" });
  t.is(by, "b");
});

test("forwarding - what the caller sent along for whoever answers goes with the call, and nothing else", async (t) => {
  const { a, b, publish } = createPair();
  const given = {
    authorization: "Bearer x",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate: "vendor=1",
    baggage: "k=v",
    cookie: "no",
  };
  let received: Record<string, string | undefined> = {};
  a.answer = (_request, { metadata }) => {
    received = Object.fromEntries(Object.keys(given).map((name) => [name, metadata.get(name)]));
    return "";
  };
  await publish(b, "x", createContext({ metadata: given }));
  t.deepEqual(received, { ...given, cookie: undefined });
});

test("forwarding - the leader's refusal comes back as it is", async (t) => {
  const { a, b, publish } = createPair();
  const refusal = new VaultError("conflict", "no", { condition: "expectedOffset", found: { nextOffset: "7" } });
  a.answer = () => Promise.reject(refusal);
  t.is(await t.throwsAsync(publish(b, "x", createContext())), refusal);
});

test("forwarding - while nobody leads a call waits, and is answered by who leads then", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const answer = publish(b, "x", createContext());
  await clock.advance(9000);
  lead("a", 2);
  t.is(await drive(clock, answer, 500), "a: x");
});

test("forwarding - a call that waits at the node that leads next is answered there", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const answer = publish(b, "x", createContext());
  await clock.advance(1000);
  lead("b", 2);
  t.is(await drive(clock, answer, 500), "b: x");
});

test("forwarding - with no leader for long nothing was stored, and the error says when to try again", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const from = clock.monotonic();
  const error = await t.throwsAsync(drive(clock, publish(b, "x", createContext())));
  t.true(isKind(error, "unavailable") && error.detail.retryAfterMs !== undefined);
  const waitedMs = clock.monotonic() - from;
  t.true(
    waitedMs >= forwardingSettings.leaderWaitMs && waitedMs < forwardingSettings.leaderWaitMs + 200,
    `${waitedMs}`,
  );
});

test("forwarding - a call whose deadline is sooner is answered before it", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const from = clock.monotonic();
  t.is(await kindOf(drive(clock, publish(b, "x", createContext({ deadlineMs: 2000 })))), "unavailable");
  const waitedMs = clock.monotonic() - from;
  t.true(waitedMs > 1700 && waitedMs < 2000, `${waitedMs}`);
});

test("forwarding - a call that its client gave up waits no longer", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const gone = new AbortController();
  const answer = publish(b, "x", createContext({ signal: gone.signal }));
  await clock.advance(1000);
  gone.abort();
  await t.throwsAsync(answer);
  await clock.settle();
  t.is(clock.timers, 0);
});

test("forwarding - a node that leaves lets nobody wait", async (t) => {
  const { b, publish, lead, clock, leaving } = createPair();
  lead(undefined, 0);
  leaving.abort();
  t.is(await kindOf(publish(b, "x", createContext())), "unavailable");
  t.is(clock.timers, 0);
});

test("forwarding - a call goes one hop: who gets it and does not lead names the leader it knows", async (t) => {
  const { b, publish, network } = createPair();
  const context = createContext({ metadata: { [forwardedByKey]: "c" } });
  const error = await t.throwsAsync(publish(b, "x", context));
  t.true(isKind(error, "unavailable") && error.detail.leader === "a:50051", String(error));
  t.deepEqual(network.calls, []);
});

test("forwarding - two nodes that each take the other for the leader do not pass a call to and fro", async (t) => {
  const { a, b, publish, network, clock } = createPair();
  a.view.lead({ nodeId: "b", endpoint: "b:50051", epoch: 1 });
  const answer = kindOf(publish(b, "x", createContext()));
  t.is(await drive(clock, answer), "unavailable");
  t.true(network.calls.every((call) => call.startsWith("a:50051")));
  // It backs off: at most four times a second.
  t.true(network.calls.length < 100, `${network.calls.length}`);
});

test("forwarding - a leader that cannot be reached is tried again until it can", async (t) => {
  const { a, b, publish, network, clock } = createPair();
  network.serve("a:50051", undefined);
  const answer = publish(b, "x", createContext());
  await clock.advance(3000);
  network.serve("a:50051", a.handlers);
  t.is(await drive(clock, answer, 500), "a: x");
});

test("forwarding - what was sent and not answered stays open, and is not sent again", async (t) => {
  const { a, b, publish, network, clock } = createPair();
  a.answer = () => new Promise(() => undefined);
  const answer = kindOf(publish(b, "x", createContext()));
  await clock.settle();
  network.cut("a:50051");
  t.is(await drive(clock, answer), "indeterminate");
  t.is(network.calls.length, 1);
});

test("forwarding - a leader that hands over refuses, and the next one answers", async (t) => {
  const { a, b, publish, lead, clock } = createPair();
  a.handingOver = true;
  const answers = [publish(b, "via b", createContext()), publish(a, "via a", createContext())];
  await clock.advance(100);
  lead("b", 2);
  t.deepEqual(await drive(clock, Promise.all(answers), 500), ["b: via b", "b: via a"]);
});

test("forwarding - a call that the leader's own handler lost with its leadership goes to the next", async (t) => {
  const { a, publish, lead, clock } = createPair();
  const lost = Promise.withResolvers<string>();
  a.answer = () => lost.promise;
  const answer = publish(a, "x", createContext());
  await clock.settle();
  lead("b", 2);
  lost.reject(new VaultError("unavailable", "this node does not lead any more"));
  t.is(await drive(clock, answer, 500), "b: x");
});

test("forwarding - a leader that goes on to lead is believed when it says unavailable", async (t) => {
  const { a, publish } = createPair();
  let calls = 0;
  a.answer = () => {
    calls++;
    throw new VaultError("unavailable", "storage does not answer");
  };
  t.is(await kindOf(publish(a, "x", createContext())), "unavailable");
  t.is(calls, 1);
});

test("forwarding - a leader that was fenced has its calls answered by who fenced it", async (t) => {
  const { a, publish, lead, clock } = createPair();
  a.answer = () => Promise.reject(new VaultError("fenced", "a newer leader owns this"));
  const answer = publish(a, "x", createContext());
  await clock.advance(1000);
  lead("b", 2);
  t.is(await drive(clock, answer, 500), "b: x");
});

test("forwarding - a call to a leader that says nothing ends soon after another one leads", async (t) => {
  const { b, a, publish, lead, clock, start } = createPair();
  start("c");
  a.answer = () => new Promise(() => undefined);
  const answer = kindOf(publish(b, "x", createContext()));
  await clock.advance(5000);
  lead("c", 2);
  const from = clock.monotonic();
  t.is(await drive(clock, answer), "indeterminate");
  t.true(clock.monotonic() - from <= 750);
});

test("forwarding - what waits is bounded, and given back", async (t) => {
  const { b, publish, lead, clock } = createPair();
  lead(undefined, 0);
  const request = "x".repeat(600);
  const waiting = [publish(b, request, createContext()), publish(b, request, createContext())];
  await clock.settle();
  t.is(await kindOf(publish(b, request, createContext())), "overloaded");
  lead("b", 2);
  await drive(clock, Promise.all(waiting), 500);
  t.is((await publish(b, request, createContext())).length, 603);
  lead(undefined, 0);
  const again = [publish(b, request, createContext()), publish(b, request, createContext())];
  await clock.settle();
  lead("b", 3);
  t.is((await drive(clock, Promise.all(again), 500)).length, 2);
});

test("forwarding - GetStream is the leader's while it answers, and the node's own otherwise", async (t) => {
  const { a, b, lead, network, clock } = createPair();
  t.is(await get(b, paths.getStream), "a: x");
  network.serve("a:50051", undefined);
  t.is(await get(b, paths.getStream), "b: x");
  network.serve("a:50051", a.handlers);
  network.freeze("a:50051");
  const answer = get(b, paths.getStream, createContext({ deadlineMs: 60_000 }));
  await clock.settle();
  network.cut("a:50051");
  t.is(await answer, "b: x");
  network.thaw("a:50051");
  lead(undefined, 0);
  t.is(await get(b, paths.getStream), "b: x");
  a.answer = () => Promise.reject(new VaultError("notFound", "no such stream"));
  lead("a", 2);
  t.is(await kindOf(get(b, paths.getStream)), "notFound");
});

test("forwarding - what needs no leader stays where it is", async (t) => {
  const { b, network } = createPair();
  t.is(await get(b, paths.listStreams), "b: x");
  t.deepEqual(network.calls, []);
});
