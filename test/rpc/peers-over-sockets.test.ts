import test from "ava";
import type { ExecutionContext } from "ava";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { systemClock } from "../../src/clock.ts";
import { isKind } from "../../src/errors.ts";
import { createTcpProbe } from "../../src/leader/probe.ts";
import { silentLog } from "../../src/log.ts";
import { createForwarding } from "../../src/rpc/forwarding.ts";
import { createGrpcCaller } from "../../src/rpc/grpc-caller.ts";
import type { CallContext, HandlerTable } from "../../src/rpc/handlers.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { leaderKey } from "../../src/rpc/leader-route.ts";
import { createMembers } from "../../src/rpc/members.ts";
import { createPeerHandlers } from "../../src/rpc/peer-service.ts";
import { createPeerWatch } from "../../src/rpc/peer-watch.ts";
import { createClusterView } from "../support/create-cluster-view.ts";
import type { TestClusterView } from "../support/create-cluster-view.ts";
import { createProxy } from "../support/create-proxy.ts";
import { createRawClient, createRpcServer, readAll } from "../support/create-rpc-server.ts";
import { waitUntil } from "../support/wait-until.ts";

const publish = methodPath(VaultService.method.publish);
const publishStream = methodPath(VaultService.method.publishStream);
const connection = { connectTimeoutMs: 10_000, keepaliveMs: 20_000, keepaliveTimeoutMs: 10_000 };
const settings = { peerHeartbeatMs: 50, suspicionMs: 1000 };
const noEnds = { async *follow() {} };

/** A node of a vault, without its streams: it answers publishes with its name and what they say. */
async function createNode(t: ExecutionContext, name: string) {
  const view = createClusterView(name);
  const caller = createGrpcCaller(connection, systemClock);
  t.teardown(() => caller.close());
  const members = createMembers(systemClock);
  const state = { handingOver: false, answer: async (request: string, _context: CallContext) => `${name}: ${request}` };
  const handlers: HandlerTable = {
    ...createPeerHandlers({
      cluster: view,
      clock: systemClock,
      heartbeatMs: settings.peerHeartbeatMs,
      members,
      streamEnds: noEnds,
    }),
    [publish]: {
      kind: "unary",
      handle: async (request, context) => Buffer.from(await state.answer(request.toString(), context)),
    },
    [publishStream]: {
      kind: "duplex",
      async *handle(requests, context) {
        for await (const request of requests) yield Buffer.from(await state.answer(request.toString(), context));
      },
    },
  };
  const forwarding = createForwarding(handlers, {
    cluster: view,
    caller,
    clock: systemClock,
    handingOver: () => state.handingOver,
    leaving: new AbortController().signal,
    settings: { leaderWaitMs: 5000, pendingBytesMax: 64 * 1024 * 1024 },
  });
  const { address, server } = await createRpcServer(t, forwarding);
  const proxy = await createProxy(t, address);
  view.endpoint = proxy.endpoint;
  const heard: string[] = [];
  const watch = createPeerWatch({
    self: view,
    caller,
    clock: systemClock,
    log: silentLog,
    probe: createTcpProbe(systemClock, 1000),
    sink: { learn: () => undefined, feedStarted: () => heard.push("started"), feedLost: () => heard.push("lost") },
    settings,
  });
  t.teardown(() => watch.close());
  return { name, view, state, address, server, proxy, watch, members, heard };
}

type Node = Awaited<ReturnType<typeof createNode>>;

function lead(node: Node, epoch: number, ...views: TestClusterView[]) {
  const leader = { nodeId: node.name, endpoint: node.proxy.endpoint, epoch };
  for (const view of [node.view, ...views]) view.lead(leader);
  return { ...leader, since: 0, failover: { cause: "first", gapMs: undefined } as const };
}

test("peers over sockets - a leader whose process ends is known to be gone, and not only silent", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  b.watch.follow(lead(a, 1, b.view));
  await waitUntil(() => a.members.list.length === 1 && b.heard.length === 1, "b watches a");
  a.proxy.refuse();
  await waitUntil(() => b.watch.evidence.value.kind !== "none", "there is evidence");
  t.is(b.watch.evidence.value.kind, "gone");
  t.deepEqual(b.heard, ["started", "lost"]);
});

test("peers over sockets - a leader that falls silent is suspected, and heard again", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  b.watch.follow(lead(a, 1, b.view));
  await waitUntil(() => b.heard.length === 1, "b watches a");
  a.proxy.muffle();
  const from = b.watch.heardAt!;
  await waitUntil(() => b.watch.evidence.value.kind === "silent", "a is suspected");
  t.true(systemClock.monotonic() - from >= settings.suspicionMs);
  a.proxy.cut();
  await waitUntil(() => b.watch.evidence.value.kind === "none", "a is heard again");
});

test("peers over sockets - a resignation arrives before the server drains", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  b.watch.follow(lead(a, 1, b.view));
  await waitUntil(() => b.heard.length === 1, "b watches a");
  a.view.lead(undefined, { epoch: 1, successor: "b" });
  t.true(await a.server.drain(1000));
  await waitUntil(() => b.watch.evidence.value.kind === "resigned", "a has resigned");
  t.deepEqual(b.watch.evidence.value, { kind: "resigned", successor: "b" });
});

test("peers over sockets - a publish at a standby is answered by the leader, which the answer names", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  lead(a, 1, b.view);
  const { unary, duplex } = createRawClient(t, b.address);
  t.is((await unary(publish, Buffer.from("x"))).toString(), "a: x");
  const call = duplex(publishStream);
  let named: unknown;
  call.on("metadata", (metadata: { get(name: string): unknown[] }) => (named = metadata.get(leaderKey)[0]));
  for (let i = 0; i < 100; i++) call.write(Buffer.from(`${i}`));
  call.end();
  const { responses, status } = await readAll(call);
  t.is(status.code, 0);
  t.deepEqual(
    responses.map(String),
    Array.from({ length: 100 }, (_, i) => `a: ${i}`),
  );
  t.is(named, a.proxy.endpoint);
});

test("peers over sockets - a publish that waits is answered by the next leader", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  lead(a, 1, b.view);
  a.proxy.refuse();
  const answer = createRawClient(t, b.address).unary(publish, Buffer.from("x"));
  await waitUntil(() => a.proxy.connectionCount === 0, "nobody reaches a");
  lead(b, 2, a.view);
  t.is((await answer).toString(), "b: x");
});

test("peers over sockets - a link that breaks under a publish leaves its outcome open", async (t) => {
  const [a, b] = [await createNode(t, "a"), await createNode(t, "b")];
  lead(a, 1, b.view);
  let asked = 0;
  a.state.answer = (_request, { signal }) => {
    asked++;
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve("")));
  };
  const client = createRawClient(t, b.address);
  const answer = client.unary(publish, Buffer.from("x"));
  const call = client.duplex(publishStream);
  call.write(Buffer.from("y"));
  const all = readAll(call);
  await waitUntil(() => asked === 2, "both have arrived");
  a.proxy.refuse();
  const error = await t.throwsAsync(answer);
  t.is((error as unknown as { code: number }).code, 2);
  t.is((await all).status.code, 2);
  t.is(asked, 2);
});

test("peers over sockets - a caller says unavailable only where nothing was sent", async (t) => {
  const a = await createNode(t, "a");
  const caller = createGrpcCaller(connection, systemClock);
  t.teardown(() => caller.close());
  let asked = 0;
  lead(a, 1);
  a.state.answer = async () => {
    asked++;
    return "";
  };
  const signal = new AbortController().signal;
  const kinds = { answered: 0, unavailable: 0, open: 0 };
  const call = async () => {
    try {
      await caller.unary(a.proxy.endpoint, publish, Buffer.from("x"), { signal });
      kinds.answered++;
    } catch (error) {
      if (isKind(error, "unavailable")) kinds.unavailable++;
      else kinds.open++;
    }
  };
  for (let round = 0; round < 20; round++) {
    const calls = Array.from({ length: 20 }, call);
    if (round % 2 === 0) a.proxy.cut();
    await Promise.all(calls);
  }
  t.is(kinds.answered + kinds.unavailable + kinds.open, 400);
  t.true(asked <= kinds.answered + kinds.open, "a call that was never sent has arrived");
  t.true(kinds.answered > 0);
});
