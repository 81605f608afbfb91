/**
 * What a vault has in memory at the most: what its limits name, 25 KB a subscription, and what Node and V8 take. It is
 * asked for with everything at once: subscribers that stand still, others that wait, and publishers at full speed.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import type { ExecutionContext } from "ava";
import { PublishRequestSchema, SubscribeRequestSchema, VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { settings } from "../../src/settings.ts";
import { createDirectory } from "../support/create-directory.ts";
import type { RawClient } from "../support/create-rpc-server.ts";
import { createRawClient, createStalledCall } from "../support/create-rpc-server.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

const MiB = 1024 ** 2;
const stalledCount = 100;
const idleCount = 10_000;
/** How many subscriptions are begun at a time, and over how many connections. */
const openingCount = 500;
const connectionCount = 20;
const publisherCount = 16;
const requestsUnanswered = 4;
const publishedBytes = 1500 * MiB;

/** What a subscription may take, and what Node, V8 and the code take. */
const subscriptionBytes = 25_000;
const otherBytes = 150 * MiB;

/** The limits of what a vault holds, by name. */
const limits = {
  pendingBytesMax: settings.pendingBytesMax.default,
  tailCacheBytes: settings.tailCacheBytes.default,
  readCacheBytes: settings.readCacheBytes.default,
  indexCacheBytes: settings.indexCacheBytes.default,
  unsentBytesMax: settings.unsentBytesMax.default,
};

const publishPath = methodPath(VaultService.method.publish);
const publishStreamPath = methodPath(VaultService.method.publishStream);
const subscribePath = methodPath(VaultService.method.subscribe);

function publishRequest(stream: string, count: number): Uint8Array {
  const records = Array.from({ length: count }, () => ({ value: Buffer.alloc(250, 97) }));
  return toBinary(PublishRequestSchema, create(PublishRequestSchema, { stream, records }));
}

function subscribeRequest(stream: string, start: "earliest" | "latest"): Buffer {
  const request = create(SubscribeRequestSchema, { stream, start: { case: start, value: {} } });
  return Buffer.from(toBinary(SubscribeRequestSchema, request));
}

/** Subscribes; resolves when each has had its first response. */
async function openIdle(clients: readonly RawClient[], count: number): Promise<void> {
  const request = subscribeRequest("quiet", "latest");
  for (let begun = 0; begun < count; begun += openingCount) {
    const first = Array.from({ length: openingCount }, (_, i) => {
      const call = clients[(begun + i) % clients.length]!.serverStream(subscribePath, request);
      return new Promise<void>((resolve, reject) => {
        call.on("data", () => resolve());
        call.on("error", reject);
      });
    });
    await Promise.all(first);
  }
}

/** Publishes as fast as answers come, until `bytesMax` are answered. */
function publishOn(t: ExecutionContext, endpoint: string, request: Uint8Array, bytesMax: number): Promise<void> {
  const call = createRawClient(t, endpoint).duplex(publishStreamPath);
  let [sent, answered] = [0, 0];
  const fill = () => {
    while (sent - answered < requestsUnanswered && sent * request.length < bytesMax) {
      sent++;
      call.write(request);
    }
    if (sent === answered) call.end();
  };
  return new Promise((resolve, reject) => {
    call.on("data", () => {
      answered++;
      fill();
    });
    call.on("error", reject);
    call.on("end", resolve);
    fill();
  });
}

/** The most that was resident, as the kernel kept it. */
async function residentBytesMax(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}

// The kernel tells there what was resident.
const whereTold = existsSync("/proc/self/status") ? test : test.skip;

whereTold(
  "memory - stalled and idle subscribers and publishers at full speed stay within the named limits",
  async (t) => {
    t.timeout(600_000);
    const vault = await startVaultProcess(t, ["--storage", `file:${await createDirectory(t)}`]);
    const { endpoint } = vault;
    const pid = vault.child.pid!;
    const clients = Array.from({ length: connectionCount }, () => createRawClient(t, endpoint));
    for (const stream of ["quiet", "load"]) await clients[0]!.unary(publishPath, publishRequest(stream, 1));
    let begun = 0;
    for (let i = 0; i < stalledCount; i++) {
      const call = createStalledCall(t, endpoint, subscribePath, subscribeRequest("load", "earliest"));
      call.on("response", () => begun++);
    }
    await waitUntil(() => begun === stalledCount, "the stalled subscriptions have begun", 60_000);
    await openIdle(clients, idleCount);
    t.log(`${Math.round((await residentBytesMax(pid)) / MiB)} MiB with all subscriptions`);
    const request = publishRequest("load", 1000);
    await Promise.all(
      Array.from({ length: publisherCount }, () => publishOn(t, endpoint, request, publishedBytes / publisherCount)),
    );
    const allowed =
      Object.values(limits).reduce((sum, bytes) => sum + bytes) +
      (stalledCount + idleCount) * subscriptionBytes +
      otherBytes;
    const resident = await residentBytesMax(pid);
    t.log(`${Math.round(resident / MiB)} MiB at the most, ${Math.round(allowed / MiB)} MiB allowed`);
    t.true(resident <= allowed);
  },
);
