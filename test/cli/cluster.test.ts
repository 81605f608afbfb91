import test from "ava";
import type { ExecutionContext } from "ava";
import { createClusterHandlers, createTransferHandlers } from "../../src/rpc/cluster-service.ts";
import { createClock } from "../support/create-clock.ts";
import { createClusterView } from "../support/create-cluster-view.ts";
import { createRpcServer } from "../support/create-rpc-server.ts";
import { startCli } from "../support/run-cli.ts";

/** A leader n1 with a standby n2 that takes over at once when it is asked. */
async function createLeader(t: ExecutionContext) {
  const view = createClusterView("n1", "vault-1:50051");
  view.lead({ nodeId: "n1", endpoint: "vault-1:50051", epoch: 4 });
  const known = { watchers: [{ id: "n2", endpoint: "vault-2:50051", version: "1.2.4" }], leader: undefined };
  const { address } = await createRpcServer(t, {
    ...createClusterHandlers(view, known),
    ...createTransferHandlers({
      cluster: view,
      clock: createClock(),
      watchers: known,
      handOver: async (nodeId) => view.lead({ nodeId, endpoint: "vault-2:50051", epoch: 5 }),
      limitMs: 1000,
    }),
  });
  const run = async (...argv: string[]) => {
    const cli = startCli([...argv, "--address", address]);
    const code = await cli.exited;
    return { code, stdout: cli.stdout(), stderr: cli.stderr() };
  };
  return { run, view };
}

test("cluster - shows the leader, how it came to lead, and all nodes with their roles", async (t) => {
  const { run } = await createLeader(t);
  const { code, stdout } = await run("cluster");
  t.is(code, 0);
  t.regex(stdout, /^leader +vault-1:50051 \(leader, version 1\.2\.3, id n1\)$/m);
  t.regex(stdout, /^epoch +4$/m);
  t.regex(stdout, /^since +2026-01-01T00:00:00\.000Z$/m);
  t.regex(stdout, /^last failover +the process of the leader before was gone; nobody led for 1\.23 s$/m);
  t.regex(
    stdout,
    /^NODE +ROLE +VERSION +ID\nvault-1:50051 +leader +1\.2\.3 +n1\nvault-2:50051 +standby +1\.2\.4 +n2\n$/m,
  );
});

test("cluster - as JSON", async (t) => {
  const { run } = await createLeader(t);
  const { stdout } = await run("cluster", "--json");
  t.deepEqual(JSON.parse(stdout), {
    node: { id: "n1", endpoint: "vault-1:50051", role: "leader", version: "1.2.3" },
    leader: { id: "n1", endpoint: "vault-1:50051", role: "leader", version: "1.2.3" },
    epoch: "4",
    leader_since: "2026-01-01T00:00:00.000Z",
    last_failover: { cause: "gone", gap_ms: 1234 },
    nodes: [
      { id: "n1", endpoint: "vault-1:50051", role: "leader", version: "1.2.3" },
      { id: "n2", endpoint: "vault-2:50051", role: "standby", version: "1.2.4" },
    ],
  });
});

test("cluster - shows that nobody leads", async (t) => {
  const { run, view } = await createLeader(t);
  view.lead(undefined);
  const { stdout } = await run("cluster");
  t.regex(stdout, /^leader +none$/m);
  t.regex(stdout, /^last failover +-$/m);
});

test("cluster transfer - lets another node lead, and tells which", async (t) => {
  for (const node of [[], ["n2"], ["vault-2:50051"]]) {
    const { run } = await createLeader(t);
    const { code, stdout, stderr } = await run("cluster", "transfer", ...node);
    t.is(code, 0, stderr);
    t.regex(stdout, /^leader +vault-2:50051 \(leader, version 1\.2\.4, id n2\)\nepoch +5\n$/);
  }
  const { run } = await createLeader(t);
  const { stdout } = await run("cluster", "transfer", "n2", "--json");
  t.like(JSON.parse(stdout), { leader: { id: "n2", endpoint: "vault-2:50051" }, epoch: "5" });
});

test("cluster transfer - a node that is not ready is refused, with those that are", async (t) => {
  const { run } = await createLeader(t);
  const { code, stdout, stderr } = await run("cluster", "transfer", "n9");
  t.is(code, 1);
  t.is(stdout, "");
  t.regex(stderr, /node n9 is not ready to lead; ready: vault-2:50051 \(n2\)/);
});
