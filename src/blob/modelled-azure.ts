/**
 * A model of Azure's page blobs as far as speed goes: how long a request takes, and which ones are throttled. For
 * planning, measurements and tests where no Azure is at hand; what is stored, and under which conditions, is up to the
 * store that it is put around.
 *
 * - A request takes a latency (lognormal, by its median and its 99th percentile) and the transfer of what it carries.
 *   Half of the latency and what is sent come before it is judged and applied, the rest comes after.
 * - Each blob has a bucket of requests and one of bytes, the account one of requests and two of bytes. A bucket fills
 *   at its rate up to `burstSeconds` of it. A request that meets an empty one is refused as the adapter to Azure reports
 *   a 503: `overloaded` with a time to wait. Refused ones take nothing out of the buckets.
 *
 * The limits are Microsoft's published targets (learn.microsoft.com, articles below azure/storage). How Azure behaves
 * at them is not published: the buckets' depth, and that it refuses at once instead of slowing down, are assumptions,
 * as are latency and transfer, which depend on region, redundancy and machine.
 */
import type { Clock } from "../clock.ts";
import { sleep } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { BlobStore, Etag, Fence, PutCondition } from "./blob-store.ts";

/** What the model assumes. */
export interface AzureModel {
  /** The latency that half of the requests stay below, and that of 99 of 100, in milliseconds. Assumed. */
  readonly latencyMsMedian: number;
  readonly latencyMsP99: number;
  /** How fast one request's content is transferred. Assumed. */
  readonly transferBytesPerSecond: number;
  /** "Target throughput for a single page blob" (blobs/scalability-targets): 60 MiB a second. */
  readonly blobBytesPerSecond: number;
  /** "Target request rate for a single blob" (blobs/scalability-targets): 500 a second. */
  readonly blobRequestsPerSecond: number;
  /** "Maximum request rate" (common/scalability-targets-standard-account): 20,000 a second, 40,000 in some regions. */
  readonly accountRequestsPerSecond: number;
  /** "Maximum ingress" (same page): 25 Gbit a second, 60 in some regions. */
  readonly accountIngressBytesPerSecond: number;
  /** "Maximum egress" (same page): 50 Gbit a second, 200 in some regions. */
  readonly accountEgressBytesPerSecond: number;
  /** How many seconds of its rate a bucket holds. Assumed: the targets are per second. */
  readonly burstSeconds: number;
  /** What a refusal asks for: the time that the adapter assumes where Azure names none. */
  readonly retryAfterMs: number;
}

/** The published limits of a standard account in most regions, and a latency as within a region. */
export const azureModelDefaults: AzureModel = {
  latencyMsMedian: 10,
  latencyMsP99: 40,
  transferBytesPerSecond: 200 * 1024 * 1024,
  blobBytesPerSecond: 60 * 1024 * 1024,
  blobRequestsPerSecond: 500,
  accountRequestsPerSecond: 20_000,
  accountIngressBytesPerSecond: 25e9 / 8,
  accountEgressBytesPerSecond: 50e9 / 8,
  burstSeconds: 1,
  retryAfterMs: 1000,
};

/** What was asked of a modelled storage. */
export interface AzureModelCounts {
  readonly requests: number;
  /** How many of them were refused with 503. */
  readonly throttled: number;
  readonly bytesWritten: number;
  readonly bytesRead: number;
}

/** A store that behaves like Azure. */
export interface ModelledAzure extends BlobStore {
  /** What was asked of it so far. */
  readonly counts: AzureModelCounts;
}

/** How far the 99th percentile of the normal distribution lies from its middle, in standard deviations. */
const p99Deviations = 2.3263;

/** Puts the model around a store. Time and chance are the clock's. */
export function createModelledAzure(store: BlobStore, clock: Clock, settings: Partial<AzureModel> = {}): ModelledAzure {
  const model = { ...azureModelDefaults, ...settings };
  const blobs = new Map<string, { requests: Bucket; bytes: Bucket }>();
  const bucket = (perSecond: number) => new Bucket(clock, perSecond, model.burstSeconds);
  const requests = bucket(model.accountRequestsPerSecond);
  const ingress = bucket(model.accountIngressBytesPerSecond);
  const egress = bucket(model.accountEgressBytesPerSecond);
  const counts = { requests: 0, throttled: 0, bytesWritten: 0, bytesRead: 0 };

  function bucketsOf(name: string) {
    const known = blobs.get(name);
    if (known !== undefined) return known;
    const made = { requests: bucket(model.blobRequestsPerSecond), bytes: bucket(model.blobBytesPerSecond) };
    blobs.set(name, made);
    return made;
  }

  function sampleLatencyMs(): number {
    const normal = Math.sqrt(-2 * Math.log(1 - clock.random())) * Math.cos(2 * Math.PI * clock.random());
    const deviation = Math.log(model.latencyMsP99 / model.latencyMsMedian) / p99Deviations;
    return model.latencyMsMedian * Math.exp(deviation * normal);
  }

  const transferMs = (bytes: number) => (1000 * bytes) / model.transferBytesPerSecond;

  /** `sent`: the content of the request in bytes. `sizeOf`: the content of its answer. */
  async function request<T>(
    name: string,
    sent: number,
    run: () => Promise<T>,
    sizeOf: (answer: T) => number = () => 0,
  ): Promise<T> {
    const latencyMs = sampleLatencyMs();
    const blob = bucketsOf(name);
    counts.requests += 1;
    const full = [blob.requests, blob.bytes, requests, ingress, egress].some((each) => each.empty);
    if (full) {
      counts.throttled += 1;
      await sleep(clock, latencyMs);
      const message = "storage throttles (503 ServerBusy, modelled): slow down";
      throw new VaultError("overloaded", message, { resource: name, retryAfterMs: model.retryAfterMs });
    }
    for (const each of [blob.requests, requests]) each.take(1);
    for (const each of [blob.bytes, ingress]) each.take(sent);
    counts.bytesWritten += sent;
    await sleep(clock, latencyMs / 2 + transferMs(sent));
    const [outcome] = await Promise.allSettled([run()]);
    const received = outcome.status === "fulfilled" ? sizeOf(outcome.value) : 0;
    for (const each of [blob.bytes, egress]) each.take(received);
    counts.bytesRead += received;
    await sleep(clock, latencyMs / 2 + transferMs(received));
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }

  return {
    counts,
    description: `${store.description}azure`,
    createPages: (name: string, sizeBytes: number, fence: Fence) =>
      request(name, 0, () => store.createPages(name, sizeBytes, fence)),
    writePages(name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence) {
      return request(name, bytes.length, () => store.writePages(name, position, bytes, ifMatch, fence));
    },
    clearPages: (name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence) =>
      request(name, 0, () => store.clearPages(name, position, lengthBytes, ifMatch, fence)),
    raiseFence: (name: string, ifMatch: Etag, fence: Fence) =>
      request(name, 0, () => store.raiseFence(name, ifMatch, fence)),
    read: (name: string, position: number, lengthBytes: number) =>
      request(
        name,
        0,
        () => store.read(name, position, lengthBytes),
        ({ bytes }) => bytes.length,
      ),
    put: (name: string, bytes: Uint8Array, condition: PutCondition) =>
      request(name, bytes.length, () => store.put(name, bytes, condition)),
    get: (name: string) =>
      request(
        name,
        0,
        () => store.get(name),
        (found) => found?.bytes.length ?? 0,
      ),
    properties: (name: string) => request(name, 0, () => store.properties(name)),
    async remove(name: string, ifMatch?: Etag) {
      const removed = await request(name, 0, () => store.remove(name, ifMatch));
      blobs.delete(name);
      return removed;
    },
    list: (prefix: string, limit: number, from?: string) => request("", 0, () => store.list(prefix, limit, from)),
    listFolders: (prefix: string, limit: number, from?: string) =>
      request("", 0, () => store.listFolders(prefix, limit, from)),
    createControl: (name: string, metadata: Readonly<Record<string, string>>) =>
      request(name, 0, () => store.createControl(name, metadata)),
    setMetadata: (name: string, metadata: Readonly<Record<string, string>>, ifMatch: Etag, leaseId?: string) =>
      request(name, 0, () => store.setMetadata(name, metadata, ifMatch, leaseId)),
    acquireLease: (name: string, leaseId: string, seconds: number) =>
      request(name, 0, () => store.acquireLease(name, leaseId, seconds)),
    renewLease: (name: string, leaseId: string) => request(name, 0, () => store.renewLease(name, leaseId)),
    releaseLease: (name: string, leaseId: string) => request(name, 0, () => store.releaseLease(name, leaseId)),
    breakLease: (name: string, ifMatch: Etag) => request(name, 0, () => store.breakLease(name, ifMatch)),
    close: () => store.close(),
  };
}

/** What may still be asked for, filled again at a rate. May be overdrawn by the last one that took from it. */
class Bucket {
  private readonly clock: Clock;
  private readonly perSecond: number;
  private readonly depth: number;
  private level: number;
  private at: number;

  constructor(clock: Clock, perSecond: number, burstSeconds: number) {
    this.clock = clock;
    this.perSecond = perSecond;
    this.depth = perSecond * burstSeconds;
    this.level = this.depth;
    this.at = clock.monotonic();
  }

  get empty(): boolean {
    this.fill();
    return this.level <= 0;
  }

  take(amount: number): void {
    this.fill();
    this.level -= amount;
  }

  private fill(): void {
    const now = this.clock.monotonic();
    this.level = Math.min(this.depth, this.level + ((now - this.at) / 1000) * this.perSecond);
    this.at = now;
  }
}
