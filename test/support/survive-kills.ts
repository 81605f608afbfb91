import type { ExecutionContext } from "ava";
import { sleep, systemClock } from "../../src/clock.ts";
import type { Publisher, PublishReceipt, VaultClient } from "../../src/client.ts";
import { createClient } from "./create-client.ts";
import { createRandom } from "./create-clock.ts";
import { findFreePort } from "./find-free-port.ts";
import { findGap, readStream } from "./read-stream.ts";
import type { VaultProcess } from "./start-vault-process.ts";
import { startVaultProcess } from "./start-vault-process.ts";
import { waitUntil } from "./wait-until.ts";

/** How a vault is killed over and over. */
export interface Killing {
  readonly storage: string;
  readonly kills: number;
  readonly seed: number;
}

/** A batch that was acknowledged. */
interface Acknowledgement {
  readonly receipt: PublishReceipt;
  readonly values: readonly string[];
}

/** A publisher that never stops, and what it was told. */
interface Load {
  readonly stream: string;
  readonly acknowledged: Acknowledgement[];
  /** Stops it; resolves when everything that was given is acknowledged. */
  stop(): Promise<void>;
}

/** A subscriber that lives through all kills. */
interface Tail {
  readonly values: string[];
  /** Resolves to what ended it, if that was a failure. */
  readonly ended: Promise<unknown>;
}

const batchesInFlight = 24;

/**
 * Kills a vault while two streams are published to and read, each time at another moment, and starts it again: at two
 * addresses by turns, so that it meets its own old lease and that of another address. Afterwards everything that was
 * acknowledged must be there once, where it was said to be. The vault is dead when this resolves.
 */
export async function surviveKills(t: ExecutionContext, { storage, kills, seed }: Killing): Promise<void> {
  t.log(`seed ${seed}`);
  const random = createRandom(seed);
  const ports = [await findFreePort(t), await findFreePort(t)] as const;
  const start = (round: number) => startVault(t, storage, ports[round % 2]!);
  let vault = await start(0);
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  const client = createClient(t, vault, { addresses });
  const loads = ["one", "two"].map((stream) => startLoad(client, stream, random));
  const acknowledged = () => loads.reduce((sum, load) => sum + load.acknowledged.length, 0);
  await waitUntil(() => loads.every((load) => load.acknowledged.length > 0), "both streams are there");
  const stopping = new AbortController();
  const tails = loads.map(({ stream }) => startTail(client, stream, stopping.signal));

  for (let round = 1; round <= kills; round += 1) {
    // Some kills hit the vault while it opens its streams, most in the middle of publishing.
    const more = random() < 0.25 ? 0 : 1 + Math.floor(random() * 60);
    const enough = acknowledged() + more;
    await waitUntil(() => acknowledged() >= enough, `round ${round}: ${more} more acknowledgements`, 30_000);
    await sleep(systemClock, random() * 25);
    await vault.kill("SIGKILL");
    t.notRegex(vault.log(), /call failed/, `round ${round}`);
    vault = await start(round);
  }
  await Promise.all(loads.map((load) => load.stop()));
  await checkStreams(t, client, loads, tails);
  stopping.abort();
  t.deepEqual(await Promise.all(tails.map((tail) => tail.ended)), [undefined, undefined]);
  await vault.kill("SIGKILL");
  t.notRegex(vault.log(), /call failed/);
  t.log(`${acknowledged()} batches acknowledged`);
}

function startVault(t: ExecutionContext, storage: string, port: number): Promise<VaultProcess> {
  const settings = ["--segment-bytes", "64KiB", "--commit-bytes-max", "2MiB", "--log-level", "warn"];
  return startVaultProcess(t, ["--storage", storage, "--port", String(port), ...settings]);
}

function startLoad(client: VaultClient, stream: string, random: () => number): Load {
  const publisher = client.publisher(stream, { inFlightRequestsMax: batchesInFlight });
  const acknowledged: Acknowledgement[] = [];
  const stopping = new AbortController();
  let count = 0;
  async function publishNext(): Promise<void> {
    while (!stopping.signal.aborted) {
      const values = Array.from({ length: 1 + Math.floor(random() * 5) }, () => `${stream} ${count++} `);
      const receipt = await publish(publisher, values, Math.floor(random() * 900));
      acknowledged.push({ receipt, values });
    }
  }
  const workers = Promise.all(Array.from({ length: batchesInFlight }, publishNext));
  // A failure shows when it is stopped.
  workers.catch(() => undefined);
  return {
    stream,
    acknowledged,
    async stop() {
      stopping.abort();
      await workers;
      await publisher.close();
    },
  };
}

function publish(publisher: Publisher, values: readonly string[], padding: number): Promise<PublishReceipt> {
  return publisher.publish(
    values.map((value) => ({ value, headers: [{ name: "padding", value: "x".repeat(padding) }] })),
  );
}

function startTail(client: VaultClient, stream: string, signal: AbortSignal): Tail {
  const values: string[] = [];
  async function follow(): Promise<void> {
    for await (const { records } of client
      .subscribe(stream, { start: { at: "earliest" }, heartbeatMs: 500, signal })
      .batches()) {
      values.push(...records.map(({ value }) => Buffer.from(value).toString()));
    }
  }
  return { values, ended: follow().catch((error: unknown) => error) };
}

async function checkStreams(
  t: ExecutionContext,
  client: VaultClient,
  loads: readonly Load[],
  tails: readonly Tail[],
): Promise<void> {
  for (const [at, { stream, acknowledged }] of loads.entries()) {
    const records = await readStream(client, stream);
    t.is(findGap(records), undefined, stream);
    const values = records.map(({ value }) => Buffer.from(value).toString());
    const given = acknowledged.flatMap(({ values: batch }) => batch);
    t.is(values.length, given.length, `${stream}: as many records as were acknowledged`);
    t.deepEqual(firstDifference(values, given.toSorted(byNumber)), undefined, `${stream}: in order, each once`);
    const misplaced = acknowledged.find(({ receipt, values: batch }) => {
      const stored = values.slice(Number(receipt.firstOffset), Number(receipt.nextOffset));
      return stored.join() !== batch.join();
    });
    t.is(misplaced, undefined, `${stream}: each batch is where its receipt says`);
    const tail = tails[at]!;
    await waitUntil(() => tail.values.length >= values.length, `the subscriber of ${stream} has seen everything`);
    t.deepEqual(firstDifference(tail.values, values), undefined, `${stream}: the subscriber saw each record once`);
  }
}

function byNumber(one: string, other: string): number {
  return Number(one.split(" ")[1]) - Number(other.split(" ")[1]);
}

function firstDifference(found: readonly string[], expected: readonly string[]) {
  const at = expected.findIndex((value, index) => found[index] !== value);
  if (at >= 0) return { at, found: found[at], expected: expected[at] };
  return found.length > expected.length ? { at: expected.length, found: found[expected.length] } : undefined;
}
