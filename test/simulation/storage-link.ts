/**
 * A process's way to storage: requests and answers are slow, lost, doubled, late, refused, and carried out in part. What
 * is carried out is judged by the store in memory at the moment when the request arrives.
 */
import type { BlobBytes, BlobStore, Fence } from "../../src/blob/blob-store.ts";
import type { MemoryStore } from "../../src/blob/memory.ts";
import type { ErrorKind } from "../../src/errors.ts";
import type { Host } from "./host.ts";
import type { Scheduler } from "./scheduler.ts";
import type { VaultSource } from "./source.ts";
import type { Trace } from "./trace.ts";

/** What storage and the way to it do to requests. Rates are from 0 to 1, of all requests. */
export interface StorageWeather {
  /** How much slower than usual everything is: 1 is as usual. */
  slowness: number;
  /** Requests that are answered 503 and not carried out. */
  throttled: number;
  /** Requests that are answered 500: half of them carried out all the same. */
  failing: number;
  /** Answers that do not come: half of them with a reset of the connection, half not at all. */
  lostAnswers: number;
  /** Changes that arrive a second time, up to a minute later. */
  doubled: number;
  /** Changes that arrive so late that they were given up before. */
  late: number;
  /** Writes that are carried out in part, by sectors, and answered 500. */
  torn: number;
  /** Reads that see some sectors before, some after the changes that come meanwhile. */
  mixedReads: number;
  /** Whether storage answers nobody. */
  outage: boolean;
  /** Processes that do not reach storage: their requests are lost, or storage's answers are. */
  readonly cut: Map<string, "requests" | "answers">;
}

/** Storage without faults. */
export function fairWeather(): StorageWeather {
  const rates = { throttled: 0, failing: 0, lostAnswers: 0, doubled: 0, late: 0, torn: 0, mixedReads: 0 };
  return { slowness: 1, ...rates, outage: false, cut: new Map() };
}

/** What a link belongs to. */
export interface StorageLinkOptions {
  readonly source: VaultSource;
  readonly scheduler: Scheduler;
  readonly host: Host;
  readonly memory: MemoryStore;
  readonly weather: StorageWeather;
  readonly random: () => number;
  readonly trace: Trace;
  readonly requestTimeoutMs: number;
  readonly leaseTimeoutMs: number;
  /** Told of each request that storage carried out, and of each fault that happened to one. */
  readonly witness: StorageWitness;
}

/** Who sees what storage does. */
export interface StorageWitness {
  /** A write, clear, raise or create of a segment was carried out for `host`. */
  changed(host: Host, call: string, blob: string, epoch: number): void;
  /** A fault happened. */
  fault(kind: string): void;
}

/** A store as one process reaches it. */
export interface StorageLink extends BlobStore {
  /** Requests that are neither answered nor given up. */
  readonly pending: number;
}

interface Request<T> {
  readonly call: string;
  readonly name: string;
  readonly timeoutMs: number;
  readonly change: boolean;
  /** Carries it out. Called once or twice, at the time of arrival. */
  readonly apply: () => Promise<T>;
  /** Carries it out in part. */
  readonly tear?: () => Promise<void>;
}

const sectorBytes = 512;
const zeroSector = Buffer.alloc(sectorBytes);

// A segment has room for a largest commit behind its last one, here of a size that nobody writes: 4 MiB of zeros that
// every opening would read. So what is kept is smaller; a read ends sooner, as at the end of a blob.
const unusedBytes = 4 * 1024 * 1024 - 128 * 1024;

/** Makes a process's way to storage. */
export function createStorageLink(options: StorageLinkOptions): StorageLink {
  const { source, scheduler, host, memory, weather, random, trace, witness } = options;
  const { VaultError } = source.errors;
  let pending = 0;

  const chance = (rate: number) => rate > 0 && random() < rate;
  const latencyMs = () => (0.5 + 4 * random() + 40 * random() ** 12) * weather.slowness;
  const refuse = (kind: ErrorKind, text: string) => new VaultError(kind, `simulated: ${text}`);
  const failed = (request: Request<unknown>, text: string) =>
    refuse(request.change ? "indeterminate" : "unavailable", text);

  function send<T>(request: Request<T>): Promise<T> {
    const { call, name, timeoutMs } = request;
    trace.note(host.name, `→ ${call} ${name}`);
    pending++;
    return new Promise<T>((resolve, reject) => {
      let settled = false;
      const settle = (finish: () => void) => {
        host.deliver(() => {
          if (settled) return;
          settled = true;
          pending--;
          timer.cancel();
          finish();
        });
      };
      const timer = host.clock.timer(timeoutMs, () => settle(() => reject(failed(request, "no answer in time"))));
      const answer = (delayMs: number, outcome: string, finish: () => void) => {
        scheduler.after(delayMs, () => {
          if (settled) return;
          trace.note(host.name, `← ${call} ${name}: ${outcome}`);
          settle(finish);
        });
      };
      route(request, {
        ok: (delayMs, value) => answer(delayMs, "ok", () => resolve(value)),
        error: (delayMs, error) => answer(delayMs, describe(error), () => reject(error)),
      });
    });
  }

  /** Decides about the way there. */
  function route<T>(request: Request<T>, reply: Reply<T>): void {
    if (weather.cut.get(host.name) === "requests") {
      witness.fault("request lost");
      if (random() < 0.4) reply.error(latencyMs(), refuse("unavailable", "storage is out of reach"));
      else if (random() < 0.3) scheduler.after(5000 + 40_000 * random(), () => void carryOut(request).catch(() => {}));
      return;
    }
    if (request.change && chance(weather.late)) {
      witness.fault("late request");
      scheduler.after(1000 + 60_000 * random() ** 2, () => arrive(request, reply));
      return;
    }
    scheduler.after(latencyMs(), () => arrive(request, reply));
    // Creates are few, and one that comes again may find that its segment has come and gone.
    const isCreate = request.call === "createPages";
    if (request.change && chance(weather.doubled * (isCreate ? 4 : 1))) {
      witness.fault("doubled request");
      const delayMs = 60_000 * random() ** (isCreate ? 1 : 3);
      scheduler.after(latencyMs() + delayMs, () => void carryOut(request).catch(() => {}));
    }
  }

  /** What storage does with a request that has come. */
  function arrive<T>(request: Request<T>, reply: Reply<T>): void {
    if (weather.outage) {
      witness.fault("outage");
      if (random() < 0.5) reply.error(latencyMs(), failed(request, "500"));
      return;
    }
    if (chance(weather.throttled)) {
      witness.fault("throttled");
      reply.error(latencyMs(), refuse("overloaded", "503"));
      return;
    }
    if (chance(weather.failing)) {
      witness.fault("failed request");
      if (random() < 0.5) void carryOut(request).catch(() => {});
      reply.error(latencyMs(), failed(request, "500"));
      return;
    }
    // A process that is gone by now may have sent a part only.
    const { tear } = request;
    if (tear !== undefined && (chance(weather.torn) || (!host.alive && random() < 0.5))) {
      witness.fault("torn write");
      trace.note(host.name, `torn ${request.name}`);
      void tear().catch(() => {});
      reply.error(latencyMs(), failed(request, "500 in the middle"));
      return;
    }
    const lost = weather.cut.get(host.name) === "answers" || chance(weather.lostAnswers);
    if (lost) witness.fault("answer lost");
    const reset = lost && random() < 0.5;
    carryOut(request).then(
      (value) => {
        if (!lost) reply.ok(latencyMs(), value);
        else if (reset) reply.error(latencyMs(), failed(request, "connection reset"));
      },
      (error: unknown) => {
        if (!lost) reply.error(latencyMs(), error);
        else if (reset) reply.error(latencyMs(), failed(request, "connection reset"));
      },
    );
  }

  async function carryOut<T>(request: Request<T>): Promise<T> {
    try {
      const value = await request.apply();
      if (request.change) trace.note("storage", `${request.call} ${request.name} for ${host.name}`);
      return value;
    } catch (error) {
      trace.note("storage", `${request.call} ${request.name} for ${host.name}: ${describe(error)}`);
      throw error;
    }
  }

  const describe = (error: unknown) => {
    if (!(error instanceof VaultError)) return String(error);
    return error.detail.condition === undefined ? error.kind : `${error.kind} (${error.detail.condition})`;
  };

  /** The first sectors, or any, are as they will be, the others as they were. */
  async function tearWrite(
    name: string,
    position: number,
    bytes: Buffer,
    ifMatch: string,
    fence: Fence,
  ): Promise<void> {
    const mixed = (await memory.read(name, position, bytes.length)).bytes;
    const inOrder = random() < 0.5;
    const count = Math.ceil(bytes.length / sectorBytes);
    const until = Math.floor(random() * (count + 1));
    for (let i = 0; i < count; i++) {
      if (inOrder ? i < until : random() < 0.5)
        bytes.copy(mixed, i * sectorBytes, i * sectorBytes, (i + 1) * sectorBytes);
    }
    await memory.writePages(name, position, mixed, ifMatch, fence);
    witness.changed(host, "writePages", name, fence.epoch);
  }

  /** A read that is no snapshot: storage is looked at twice, and each sector is from one of the looks. */
  async function readMixed(name: string, position: number, lengthBytes: number): Promise<BlobBytes> {
    const first = await memory.read(name, position, lengthBytes);
    await new Promise<void>((resolve) => void scheduler.after(20 * random(), resolve));
    const second = await memory.read(name, position, lengthBytes);
    if (first.etag === second.etag || first.bytes.length !== second.bytes.length) return second;
    witness.fault("mixed read");
    for (let at = 0; at < second.bytes.length; at += sectorBytes) {
      if (random() < 0.5) first.bytes.copy(second.bytes, at, at, at + sectorBytes);
    }
    return { bytes: second.bytes, etag: random() < 0.5 ? first.etag : second.etag };
  }

  async function propertiesOf(name: string) {
    const properties = await memory.properties(name);
    if (properties === undefined || !name.endsWith(".segment")) return properties;
    return { ...properties, sizeBytes: properties.sizeBytes + unusedBytes };
  }

  /** Where what was written in a range ends, by whole sectors. */
  async function writtenEndOf(name: string, position: number, lengthBytes: number): Promise<number> {
    const { bytes } = await memory.read(name, position, lengthBytes);
    let last = bytes.length;
    while (last > 0) {
      const from = Math.max(0, last - sectorBytes);
      if (bytes.compare(zeroSector, 0, last - from, from, last) !== 0) break;
      last = from;
    }
    while (last > 0 && bytes[last - 1] === 0) last--;
    if (last === 0) return position;
    return Math.min(position + lengthBytes, Math.ceil((position + last) / sectorBytes) * sectorBytes);
  }

  const { requestTimeoutMs, leaseTimeoutMs } = options;
  // As on some storages.
  const tellsWhatWasWritten = random() < 0.5;
  const read = <T>(call: string, name: string, apply: () => Promise<T>, timeoutMs = requestTimeoutMs) =>
    send({ call, name, timeoutMs, change: false, apply });
  const change = <T>(call: string, name: string, apply: () => Promise<T>, timeoutMs = requestTimeoutMs) =>
    send({ call, name, timeoutMs, change: true, apply });

  /** A change of a segment: the fence is asked when it is sent, and its epoch goes along. */
  async function fenced<T>(call: string, name: string, fence: Fence, apply: (sent: Fence) => Promise<T>): Promise<T> {
    fence.assertHeld();
    const sent: Fence = { epoch: fence.epoch, assertHeld() {} };
    const witnessed = async () => {
      const value = await apply(sent);
      witness.changed(host, call, name, sent.epoch);
      return value;
    };
    return change(call, name, witnessed);
  }

  return {
    description: "simulated:",
    get pending() {
      return pending;
    },
    createPages: (name, sizeBytes, fence) =>
      fenced("createPages", name, fence, (sent) => memory.createPages(name, sizeBytes - unusedBytes, sent)),
    async writePages(name, position, bytes, ifMatch, fence) {
      fence.assertHeld();
      const copy = Buffer.from(bytes);
      const sent: Fence = { epoch: fence.epoch, assertHeld() {} };
      return send({
        call: `writePages ${position}+${copy.length}`,
        name,
        timeoutMs: requestTimeoutMs,
        change: true,
        async apply() {
          const etag = await memory.writePages(name, position, copy, ifMatch, sent);
          witness.changed(host, "writePages", name, sent.epoch);
          return etag;
        },
        tear: () => tearWrite(name, position, copy, ifMatch, sent),
      });
    },
    clearPages: (name, position, lengthBytes, ifMatch, fence) =>
      fenced("clearPages", name, fence, (sent) =>
        memory.clearPages(name, position, lengthBytes - unusedBytes, ifMatch, sent),
      ),
    raiseFence: (name, ifMatch, fence) =>
      fenced("raiseFence", name, fence, (sent) => memory.raiseFence(name, ifMatch, sent)),
    read: (name, position, lengthBytes) =>
      read("read", name, () =>
        chance(weather.mixedReads) ? readMixed(name, position, lengthBytes) : memory.read(name, position, lengthBytes),
      ),
    ...(tellsWhatWasWritten
      ? {
          writtenEnd: (name: string, position: number, lengthBytes: number) =>
            read("writtenEnd", name, () => writtenEndOf(name, position, lengthBytes)),
        }
      : {}),
    get: (name) => read("get", name, () => memory.get(name)),
    properties: (name) => read("properties", name, () => propertiesOf(name), leaseTimeoutMs),
    list: (prefix, limit, from) => read("list", prefix, () => memory.list(prefix, limit, from)),
    listFolders: (prefix, limit, from) => read("listFolders", prefix, () => memory.listFolders(prefix, limit, from)),
    put(name, bytes, condition) {
      const copy = Buffer.from(bytes);
      return change("put", name, () => memory.put(name, copy, condition));
    },
    remove: (name, ifMatch) => change("remove", name, () => memory.remove(name, ifMatch)),
    createControl: (name, metadata) => change("createControl", name, () => memory.createControl(name, metadata)),
    setMetadata: (name, metadata, ifMatch, leaseId) =>
      change("setMetadata", name, () => memory.setMetadata(name, metadata, ifMatch, leaseId), leaseTimeoutMs),
    acquireLease: (name, leaseId, seconds) =>
      change("acquireLease", name, () => memory.acquireLease(name, leaseId, seconds), leaseTimeoutMs),
    renewLease: (name, leaseId) => change("renewLease", name, () => memory.renewLease(name, leaseId), leaseTimeoutMs),
    releaseLease: (name, leaseId) =>
      change("releaseLease", name, () => memory.releaseLease(name, leaseId), leaseTimeoutMs),
    breakLease: (name, ifMatch) => change("breakLease", name, () => memory.breakLease(name, ifMatch), leaseTimeoutMs),
    async close() {},
  };
}

interface Reply<T> {
  ok(delayMs: number, value: T): void;
  error(delayMs: number, error: unknown): void;
}
