/** Nobody leads, and nobody can: reads go on, and what needs a leader says so. */
import test from "ava";
import type { ExecutionContext } from "ava";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "../../gen/grpc/health/v1/health_pb.ts";
import { PublishRequestSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { systemClock } from "../../src/clock.ts";
import { controlName } from "../../src/leader/control.ts";
import { publishHealthName } from "../../src/rpc/health.ts";
import { create } from "@bufbuild/protobuf";
import { createCaller } from "../support/call-vault.ts";
import { createAzurite } from "../support/create-azurite.ts";
import { createClient } from "../support/create-client.ts";
import { createVault } from "../support/create-vault.ts";

/** A vault whose leader's lease is held by nobody who can be asked, or reached. */
async function createLeaderless(t: ExecutionContext) {
  const azurite = await createAzurite(t);
  const first = await createVault(t, { storage: azurite.setting });
  await createClient(t, first).publish("s", [{ value: "before" }]);
  await first.close();
  const store = await azurite.open();
  const { etag, metadata } = (await store.properties(controlName))!;
  await store.setMetadata(controlName, { epoch: metadata["epoch"]! }, etag);
  const leaseId = systemClock.id();
  await store.acquireLease(controlName, leaseId, 60);
  const settings = { storage: azurite.setting, leaderWaitMs: 300, electionPollMs: 500, httpPort: 0 };
  const vault = await createVault(t, settings);
  return { vault, release: () => store.releaseLease(controlName, leaseId) };
}

test("no leader - publishing is not healthy and says when to come back; reads are served", async (t) => {
  const { vault, release } = await createLeaderless(t);
  const readiness = async () => (await fetch(`http://${vault.httpAddress}/readyz`)).text();
  t.is(await readiness(), "not ready: no leader is known\n");
  const caller = createCaller(t, vault);
  const health = async (service: string) => (await caller.call(Health.method.check, { service })).response?.status;
  t.is(await health(""), Serving.SERVING);
  t.is(await health(VaultService.typeName), Serving.SERVING);
  t.is(await health(publishHealthName), Serving.NOT_SERVING);

  const request = create(PublishRequestSchema, { stream: "s", records: [{ value: Buffer.from("x") }] });
  const { status } = await caller.call(VaultService.method.publish, request);
  t.like(status, { code: "UNAVAILABLE", reason: "NOT_STORED", domain: "messagevault" });
  t.true(status!.retryAfterMs! > 0);

  const client = createClient(t, vault);
  const values: string[] = [];
  for await (const { records } of client.subscribe("s", { start: { at: "earliest" }, end: { at: "tail" } }).batches()) {
    values.push(...records.map(({ value }) => Buffer.from(value).toString()));
  }
  t.deepEqual(values, ["before"]);
  t.is((await client.getStream("s")).nextOffset, 1n);

  await release();
  t.is((await client.publish("s", [{ value: "after" }])).firstOffset, 1n);
  t.is(await health(publishHealthName), Serving.SERVING);
  t.is(await readiness(), "ok\n");
});
