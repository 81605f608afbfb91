import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import test from "ava";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { attributes, type MetricName, metrics, noTelemetry } from "../../src/telemetry.ts";
import { createCaller } from "../support/call-vault.ts";
import { createTestTelemetry, sumOf } from "../support/create-telemetry.ts";
import { createVault } from "../support/create-vault.ts";

const known = new Set<unknown>(Object.values(conventions));

test("metrics - what is not the vault's own - is named as the semantic conventions have it", (t) => {
  for (const name of [...Object.keys(metrics), ...Object.keys(attributes)]) {
    if (!name.startsWith("messagevault.")) t.true(known.has(name), name);
  }
  for (const [name, metric] of Object.entries(metrics)) {
    for (const attribute of metric.attributes) t.true(attribute in attributes, `${name}: ${attribute}`);
  }
});

test("metrics - no telemetry - keeps nothing and runs what it is given", (t) => {
  t.true(Object.isFrozen(noTelemetry));
  t.is(noTelemetry.startSpan("commit", { parent: null }), undefined);
  t.is(
    noTelemetry.within(undefined, () => 7),
    7,
  );
  t.is(noTelemetry.counter("messagevault.fences.lost"), noTelemetry.counter("messagevault.publish.requests"));
});

test("metrics - a vault that was published to and read - tells of it", async (t) => {
  const told = createTestTelemetry();
  const vault = await createVault(t, {}, told.telemetry);
  const { call, stream } = createCaller(t, vault);
  const records = Array.from({ length: 10 }, () => ({ value: Buffer.alloc(100) }));
  const producer = { id: "p", sequence: 1n };
  for (let i = 0; i < 2; i++) await call(VaultService.method.publish, { stream: "orders", records, producer });
  await call(VaultService.method.publish, { stream: "orders", records, expectedOffset: 5n });
  await stream(VaultService.method.subscribe, {
    stream: "orders",
    start: { case: "earliest", value: {} },
    end: { case: "untilTail", value: {} },
  });
  const collected = await told.collect();
  const value = (name: MetricName, values = {}) => sumOf(collected.get(name), values);
  const orders = { "messaging.destination.name": "orders" };
  t.is(value("messagevault.publish.requests", orders), 1);
  t.is(value("messagevault.publish.records", orders), 10);
  t.true(value("messagevault.publish.bytes", orders) > 1000);
  t.is(value("messagevault.publish.duplicates", orders), 1);
  t.is(value("messagevault.publish.failures", { "error.type": "conflict" }), 1);
  t.is(value("messagevault.publish.queue.length"), 0);
  t.is(value("messagevault.commit.duration"), 1);
  t.is(value("messagevault.delivery.records", orders), 10);
  t.is(value("messagevault.tail_cache.reads", { "messagevault.cache.result": "hit" }), 1);
  t.is(value("messagevault.storage.request.duration", { "messagevault.storage.operation": "writePages" }), 1);
  t.is(value("messagevault.leader.leads"), 1);
  t.is(value("messagevault.leader.epoch"), 1);
  t.is(value("messagevault.failovers", { "messagevault.failover.cause": "first" }), 1);
  t.is(value("messagevault.subscriptions.open"), 0);
  const publish = "messagevault.v1.VaultService/Publish";
  const byStatus = (status: string) =>
    value("rpc.server.call.duration", { "rpc.method": publish, "rpc.status_code": status });
  t.is(byStatus("OK"), 2);
  t.is(byStatus("FAILED_PRECONDITION"), 1);
  for (const [name, series] of collected) {
    for (const { attributes: found } of series) {
      t.deepEqual(
        Object.keys(found).filter((key) => !(metrics[name].attributes as readonly string[]).includes(key)),
        [],
      );
    }
  }
});

test("metrics - more streams than are named - the others are told of together", async (t) => {
  const told = createTestTelemetry({ streamsMax: 2 });
  const vault = await createVault(t, {}, told.telemetry);
  const { call } = createCaller(t, vault);
  for (const name of ["a", "b", "c", "d", "a"]) {
    await call(VaultService.method.publish, { stream: name, records: [{ value: Buffer.from("x") }] });
  }
  const requests = (await told.collect()).get("messagevault.publish.requests");
  const counts = requests?.map(({ attributes: found, value }) => [found["messaging.destination.name"], value]);
  t.deepEqual(counts, [
    ["a", 2],
    ["b", 1],
    ["(other)", 2],
  ]);
});
