/** Vaults that share a storage: whatever is asked of one that stands by is answered as the leader would. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { ExecutionContext } from "ava";
import type { Config } from "../../src/config.ts";
import { isKind } from "../../src/errors.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createVault } from "../support/create-vault.ts";
import { startCli } from "../support/run-cli.ts";

/** A leader and a standby. */
async function createPair(t: ExecutionContext, settings: Partial<Config> = {}) {
  const azurite = await createAzurite(t);
  const shared = { storage: azurite.setting, ...settings };
  const leader = await createVault(t, shared);
  return { leader, standby: await createVault(t, shared), shared };
}

test("standby - takes publishes, single and pipelined, and changes of streams", async (t) => {
  const { leader, standby } = await createPair(t);
  const [at, there] = [createClient(t, standby), createClient(t, leader)];
  await at.createStream("s", { retentionAgeMs: 60_000 });
  await at.publish("s", [{ value: "0" }]);
  const publisher = at.publisher("s");
  for (let i = 1; i < 200; i++) await publisher.add({ value: `${i}` });
  await publisher.close();
  t.is((await there.getStream("s")).nextOffset, 200n);
  // What the leader alone can know without a look at storage, and so is asked.
  t.is((await at.getStream("s")).nextOffset, 200n);
  t.is((await at.updateStream("s", { retentionAgeMs: 120_000 })).settings.retentionAgeMs, 120_000);
  t.is(await at.trimStream("s", { offset: 50n }), 50n);
  t.is((await at.readAccess("s")).segments.length, 1);
  t.deepEqual((await at.listStreams()).names, ["s"]);
  await at.deleteStream("s");
  t.true(isKind(await t.throwsAsync(there.getStream("s")), "notFound"));
});

test("standby - a refusal is the leader's, with its details", async (t) => {
  const { standby } = await createPair(t);
  const client = createClient(t, standby);
  await client.publish("s", [{ value: "x" }]);
  const error = await t.throwsAsync(client.publish("s", [{ value: "y" }], { expectedOffset: 7n }));
  t.true(isKind(error, "conflict") && error.detail.condition === "expectedOffset");
});

test("standby - a subscription follows what is published through the leader", async (t) => {
  const { leader, standby } = await createPair(t);
  const [at, there] = [createClient(t, standby), createClient(t, leader)];
  await there.publish("s", [{ value: "0" }]);
  const read: string[] = [];
  const end = { at: "count", count: 20n } as const;
  const reading = (async () => {
    for await (const { records } of at.subscribe("s", { start: { at: "earliest" }, end }).batches()) {
      read.push(...records.map(({ value }) => Buffer.from(value).toString()));
    }
  })();
  for (let i = 1; i < 20; i++) await there.publish("s", [{ value: `${i}` }]);
  await reading;
  t.deepEqual(
    read,
    Array.from({ length: 20 }, (_, i) => `${i}`),
  );
});

test("standby - leads when it is told to, and nothing that is published meanwhile fails", async (t) => {
  const { leader, standby } = await createPair(t);
  const client = createClient(t, standby);
  await client.publish("s", [{ value: "first" }]);
  const publisher = createClient(t, leader).publisher("s");
  const state = { stop: false };
  const publishing = (async () => {
    let published = 0;
    for (; !state.stop; published++) await publisher.publish([{ value: `${published}` }]);
    return published;
  })();
  const run = async (...argv: string[]) => {
    const cli = startCli(["cluster", ...argv, "--json", "--address", leader.endpoint]);
    t.is(await cli.exited, 0, cli.stderr());
    return JSON.parse(cli.stdout()) as { leader: { endpoint: string }; epoch: string };
  };
  const before = await run();
  t.is(before.leader.endpoint, leader.endpoint);
  for (const next of [standby, leader]) {
    t.is((await run("transfer", next.endpoint)).leader.endpoint, next.endpoint);
  }
  const after = await run();
  t.like(after, { leader: { endpoint: leader.endpoint }, last_failover: { cause: "resigned" } });
  t.is(Number(after.epoch), Number(before.epoch) + 2);
  const behind = publisher.publish([{ value: "last" }]);
  state.stop = true;
  const published = await publishing;
  await behind;
  t.is((await client.getStream("s")).nextOffset, BigInt(published + 2));
  t.is(publisher.acknowledged.duplicateCount, 0);
});

test("standby - takes over from a leader that is shut down; clients notice nothing", async (t) => {
  const { leader, standby } = await createPair(t);
  const client = createClient(t, standby, { addresses: [leader.endpoint, standby.endpoint] });
  const publisher = client.publisher("s");
  await publisher.publish([{ value: "0" }]);
  const closing = leader.close();
  for (let i = 1; i < 50; i++) t.is((await publisher.publish([{ value: `${i}` }])).firstOffset, BigInt(i));
  await closing;
  const { node, lastFailover } = await client.getCluster();
  t.is(node?.endpoint, standby.endpoint);
  t.is(lastFailover?.cause, "resigned");
});

test("standby - nodes that speak TLS reach each other", async (t) => {
  const file = (name: string) => fileURLToPath(new URL(`../golden/tls/${name}.pem`, import.meta.url));
  const tls = { tlsCert: file("certificate"), tlsKey: file("key"), tlsCa: file("certificate") };
  const { standby } = await createPair(t, tls);
  const client = createClient(t, standby, { tls: { rootCertificates: await readFile(tls.tlsCa) } });
  t.is((await client.publish("s", [{ value: "x" }])).firstOffset, 0n);
  const { nodes } = await client.getCluster();
  t.deepEqual(
    nodes.map(({ role, version }) => [role, version !== ""]),
    [
      ["standby", true],
      ["leader", true],
    ],
  );
});

test("standby - a merged subscription is told by the leader of silence, and by the next one after it", async (t) => {
  t.timeout(180_000);
  const { leader, standby } = await createPair(t, { renewMs: 100 });
  // Only by the standby's word is it known where the leader is; later the standby leads itself.
  const client = createClient(t, standby);
  await client.createStream("silent");
  await client.publish("busy", [{ value: "0" }]);
  const merged = client.subscribeMerged(["silent", "busy"], { start: { at: "earliest" }, heartbeatMs: 1000 });
  const records = merged[Symbol.asyncIterator]();
  const next = async () => {
    const { value } = await records.next();
    return `${value?.stream} ${value?.record.text()}`;
  };
  t.is(await next(), "busy 0");
  await leader.close();
  await client.publish("busy", [{ value: "1" }], { producer: { id: "p", sequence: 0n } });
  t.is(await next(), "busy 1");
  await client.publish("silent", [{ value: "2" }], { producer: { id: "p", sequence: 0n } });
  t.is(await next(), "silent 2");
  t.deepEqual(merged.cursor, { busy: 2n, silent: 1n });
  await records.return?.();
});
