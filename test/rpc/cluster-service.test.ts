import test from "ava";
import { ClusterService, FailoverCause, NodeRole } from "../../gen/messagevault/v1/cluster_pb.ts";
import { isKind } from "../../src/errors.ts";
import type { Member } from "../../src/rpc/cluster-view.ts";
import { createClusterHandlers, createTransferHandlers } from "../../src/rpc/cluster-service.ts";
import { callHandler } from "../support/call-handler.ts";
import { createClock } from "../support/create-clock.ts";
import { createClusterView } from "../support/create-cluster-view.ts";
import { drive } from "../support/drive.ts";

const { getCluster, transferLeadership } = ClusterService.method;

function member(name: string): Member {
  return { id: name, endpoint: `${name}:50051`, version: `of ${name}` };
}

function leader(name: string, epoch: number) {
  return { nodeId: name, endpoint: `${name}:50051`, epoch };
}

test("GetCluster - a standby tells itself, the leader, the others, and the last failover", async (t) => {
  const view = createClusterView("n1");
  view.lead(leader("n2", 7));
  const known = { watchers: [member("n3"), member("n1")], leader: member("n2") };
  const cluster = await callHandler(createClusterHandlers(view, known), getCluster, {});
  t.like(cluster.node, { id: "n1", endpoint: "n1:50051", version: "1.2.3", role: NodeRole.STANDBY });
  t.like(cluster.leader, { id: "n2", endpoint: "n2:50051", version: "of n2", role: NodeRole.LEADER });
  t.is(cluster.epoch, 7n);
  t.like(cluster.leaderSince, { seconds: BigInt(Date.UTC(2026, 0, 1) / 1000) });
  t.deepEqual(
    cluster.nodes.map(({ id, role, version }) => [id, role, version]),
    [
      ["n1", NodeRole.STANDBY, "1.2.3"],
      ["n2", NodeRole.LEADER, "of n2"],
      ["n3", NodeRole.STANDBY, "of n3"],
    ],
  );
  t.is(cluster.lastFailover?.cause, FailoverCause.GONE);
  t.like(cluster.lastFailover?.gap, { seconds: 1n, nanos: 234_000_000 });
});

test("GetCluster - the leader tells itself and who watches it", async (t) => {
  const view = createClusterView("n1");
  view.lead(leader("n1", 2));
  const known = { watchers: [member("n2")], leader: undefined };
  const cluster = await callHandler(createClusterHandlers(view, known), getCluster, {});
  t.like(cluster.node, { id: "n1", role: NodeRole.LEADER });
  t.like(cluster.leader, { id: "n1", version: "1.2.3" });
  t.deepEqual(
    cluster.nodes.map(({ id, role }) => [id, role]),
    [
      ["n1", NodeRole.LEADER],
      ["n2", NodeRole.STANDBY],
    ],
  );
});

test("GetCluster - a version that another process told is not taken for the leader's", async (t) => {
  const view = createClusterView("n1");
  view.lead(leader("n2", 7));
  const known = { watchers: [], leader: member("n9") };
  const cluster = await callHandler(createClusterHandlers(view, known), getCluster, {});
  t.is(cluster.leader?.version, "");
});

test("GetCluster - without a leader there is none", async (t) => {
  const cluster = await callHandler(createClusterHandlers(createClusterView("n1")), getCluster, {});
  t.is(cluster.leader, undefined);
  t.is(cluster.lastFailover, undefined);
  t.is(cluster.nodes.length, 1);
});

function createTransfer(watchers: readonly Member[], takesOver = true) {
  const clock = createClock();
  const view = createClusterView("n1");
  view.lead(leader("n1", 4));
  const handed: string[] = [];
  const handlers = createTransferHandlers({
    cluster: view,
    clock,
    watchers: { watchers },
    handOver: async (successorId) => {
      handed.push(successorId);
      view.lead(undefined);
      if (takesOver) clock.timer(50, () => view.lead(leader(successorId, 5)));
    },
    limitMs: 3000,
  });
  const transfer = (node: string) => drive(clock, callHandler(handlers, transferLeadership, { node }));
  return { view, handed, transfer };
}

test("TransferLeadership - hands over to the node that is named, by id or endpoint, and tells when it leads", async (t) => {
  for (const node of ["n3", "n3:50051"]) {
    const { handed, transfer } = createTransfer([member("n1"), member("n2"), member("n3")]);
    const answer = await transfer(node);
    t.deepEqual(handed, ["n3"]);
    t.like(answer.leader, { id: "n3", endpoint: "n3:50051", version: "of n3", role: NodeRole.LEADER });
    t.is(answer.epoch, 5n);
  }
});

test("TransferLeadership - to any: the one that has watched for longest", async (t) => {
  const { handed, transfer } = createTransfer([member("n2"), member("n3")]);
  await transfer("");
  t.deepEqual(handed, ["n2"]);
});

test("TransferLeadership - to the node that leads already changes nothing", async (t) => {
  for (const node of ["n1", "n1:50051"]) {
    const { handed, transfer } = createTransfer([member("n2")]);
    const answer = await transfer(node);
    t.is(answer.leader?.id, "n1");
    t.is(answer.epoch, 4n);
    t.deepEqual(handed, []);
  }
});

test("TransferLeadership - to a node that is not there is refused, and nothing is handed over", async (t) => {
  for (const [watchers, node] of [
    [[], ""],
    [[member("n1")], ""],
    [[member("n2")], "n9"],
  ] as const) {
    const { handed, transfer } = createTransfer(watchers);
    const error = await t.throwsAsync(transfer(node));
    t.true(isKind(error, "conflict"), String(error));
    t.deepEqual(handed, []);
  }
});

test("TransferLeadership - a successor that does not take over leaves the outcome open", async (t) => {
  const { transfer } = createTransfer([member("n2")], false);
  const error = await t.throwsAsync(transfer("n2"));
  t.true(isKind(error, "indeterminate"), String(error));
});

test("TransferLeadership - a node that does not lead says who does", async (t) => {
  const { view, transfer } = createTransfer([member("n2")]);
  view.lead(leader("n2", 5));
  const error = await t.throwsAsync(transfer("n2"));
  t.true(isKind(error, "unavailable") && error.detail.leader === "n2:50051", String(error));
});
