/**
 * Publishing with several requests under way, on one PublishStream call.
 *
 * A request is in `queued`, then in `inFlight`, then answered. Invariants:
 *
 * - Requests are sent, and answered, in the order in which they were given. `inFlight` is in that order; its first
 *   `sentCount` requests were sent on `call`.
 * - A request keeps its producer sequence and its bytes for good. When a call breaks, all of `inFlight` is sent again on
 *   the next one: what was stored already is answered as a duplicate. The vault remembers the last 64 requests of a
 *   producer, so no more than that are ever in flight.
 * - After a broken call one request goes alone until it is answered. So a refusal always belongs to the first one.
 * - A failure that repeating cannot cure, or a deadline, ends the pipeline: what stands behind the failed request must
 *   not be stored without it. Nothing is accepted any more.
 */
import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import { Metadata, status as statusCode } from "@grpc/grpc-js";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Timer } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { freeMemory } from "../free-memory.ts";
import { methodPath } from "../rpc/handlers.ts";
import { leaderKey } from "../rpc/leader-route.ts";
import { pause, retryDelayMs } from "./backoff.ts";
import { type Acknowledged, AcknowledgedCounts } from "./acknowledged.ts";
import type { EncodedBatch } from "./batch-builder.ts";
import { mayRetry, passBytes } from "./call.ts";
import type { CallContext } from "./call.ts";
import type { Endpoint } from "./endpoints.ts";
import { decodePublishResponse, encodePublishRequest } from "./publish-request.ts";
import type { PublishConditions, PublishReceipt } from "./publish-request.ts";
import { toVaultError } from "./status.ts";

/** How a pipeline publishes. */
export interface PipelineOptions {
  /** Who publishes: 1 to 128 bytes; a new id by default. Nobody else may use it at the same time. */
  readonly producerId?: string;
  /** The sequence of the first request to each stream: 0 by default. */
  readonly firstSequence?: bigint;
  /** How many requests may be under way: 1 to 64, 32 by default. */
  readonly inFlightRequestsMax?: number;
  /** How many bytes may be under way: 16 MiB by default. One request may always be. */
  readonly inFlightBytesMax?: number;
  /** How many requests may wait behind those under way: 1,024 by default. Beyond them publishes are refused. */
  readonly queuedRequestsMax?: number;
  /** How many bytes may wait behind those under way: 64 MiB by default. Beyond them publishes are refused. */
  readonly queuedBytesMax?: number;
  /** How long a request is tried, from when it was given, in milliseconds: 60 s by default. */
  readonly deadlineMs?: number;
  /** How long to wait for an answer before another connection is tried, in milliseconds: 15 s by default. */
  readonly answerTimeoutMs?: number;
}

// What the vault remembers of a producer.
const inFlightRequestsLimit = 64;
const streamsMax = 10_000;

// So much may be ready before it can be sent, in as many requests as may be under way: what one commit of the vault
// answers can be replaced at once then.
const aheadBytesMax = 4 * 1024 * 1024;

const path = methodPath(VaultService.method.publishStream);

interface Request {
  readonly stream: string;
  readonly bytes: Buffer;
  readonly recordCount: number;
  readonly deadline: number;
  readonly resolve: (receipt: PublishReceipt) => void;
  readonly reject: (error: VaultError) => void;
  /** An attempt ended without saying whether this was stored. */
  maybeStored: boolean;
  /** It was sent on a call that broke, which may still hold on to its bytes. */
  wasOnBrokenCall: boolean;
}

interface OpenCall {
  readonly endpoint: Endpoint;
  readonly duplex: ClientDuplexStream<Uint8Array, Buffer>;
  /** The node that was called passes requests on to the leader. */
  passedOn: boolean;
}

/** Publishes requests to any streams, in order, several at a time. */
export class Pipeline {
  readonly producerId: string;
  private readonly context: CallContext;
  private readonly inFlightRequestsMax: number;
  private readonly inFlightBytesMax: number;
  private readonly queuedRequestsMax: number;
  private readonly queuedBytesMax: number;
  private readonly deadlineMs: number;
  private readonly answerTimeoutMs: number;
  private readonly firstSequence: bigint;
  private readonly nextSequences = new Map<string, bigint>();
  private readonly queued: Request[] = [];
  private readonly inFlight: Request[] = [];
  private queuedBytes = 0;
  private inFlightBytes = 0;
  private sentCount = 0;
  /** How many requests have ever left `queued`. */
  private takenCount = 0;
  private call: OpenCall | undefined;
  private attempt = 0;
  private waiting = false;
  private progressAt = 0;
  private watch: Timer | undefined;
  private failure: VaultError | undefined;
  private changed: PromiseWithResolvers<void> | undefined;
  private readonly counts = new AcknowledgedCounts();

  constructor(context: CallContext, options: PipelineOptions = {}) {
    this.context = context;
    this.producerId = options.producerId ?? context.clock.id();
    this.firstSequence = options.firstSequence ?? 0n;
    this.inFlightRequestsMax = Math.max(1, Math.min(inFlightRequestsLimit, options.inFlightRequestsMax ?? 32));
    this.inFlightBytesMax = options.inFlightBytesMax ?? 16 * 1024 * 1024;
    this.queuedRequestsMax = Math.max(1, options.queuedRequestsMax ?? 1024);
    this.queuedBytesMax = Math.max(1, options.queuedBytesMax ?? 64 * 1024 * 1024);
    this.deadlineMs = options.deadlineMs ?? 60_000;
    this.answerTimeoutMs = options.answerTimeoutMs ?? 15_000;
  }

  /** What was acknowledged so far. */
  get acknowledged(): Acknowledged {
    return this.counts;
  }

  /**
   * Publishes a batch; resolves when it is durable. Rejects with `overloaded`, and goes on, where too much waits
   * already: wait for `room` before you give more. Any other rejection ends the pipeline.
   */
  publish(
    stream: string,
    batch: EncodedBatch,
    conditions: Omit<PublishConditions, "producer"> = {},
  ): Promise<PublishReceipt> {
    const refusal = this.refusal();
    return refusal === undefined ? this.enqueue(stream, batch, conditions) : Promise.reject(refusal);
  }

  /**
   * As `publish`, also where too much waits already: for a batch that was collected while there was room. Its bytes are
   * copied before this returns.
   */
  enqueue(
    stream: string,
    batch: EncodedBatch,
    conditions: Omit<PublishConditions, "producer"> = {},
  ): Promise<PublishReceipt> {
    const refusal = this.failure ?? this.findFault(stream, batch);
    if (refusal !== undefined) return Promise.reject(refusal);
    const sequence = this.nextSequences.get(stream) ?? this.firstSequence;
    this.nextSequences.set(stream, sequence + 1n);
    const bytes = encodePublishRequest(stream, batch, { ...conditions, producer: { id: this.producerId, sequence } });
    const { promise, resolve, reject } = Promise.withResolvers<PublishReceipt>();
    const deadline = this.context.clock.monotonic() + this.deadlineMs;
    this.queued.push({
      stream,
      bytes,
      recordCount: batch.recordCount,
      deadline,
      resolve,
      reject,
      maybeStored: false,
      wasOnBrokenCall: false,
    });
    this.queuedBytes += bytes.length;
    this.pump();
    return promise;
  }

  /** Why nothing is accepted now: the pipeline has ended, or, with `overloaded`, too much waits. */
  refusal(): VaultError | undefined {
    if (this.failure !== undefined) return this.failure;
    if (this.queued.length < this.queuedRequestsMax && this.queuedBytes < this.queuedBytesMax) return undefined;
    return new VaultError("overloaded", "too many batches wait to be published: wait for earlier ones first");
  }

  /**
   * Resolves when there is room for a batch: it would be sent at once, or be ready for when the next answers come. Also
   * when the pipeline has ended; undefined if that is so now.
   */
  room(): Promise<void> | undefined {
    const requestsMax = Math.min(this.inFlightRequestsMax, this.queuedRequestsMax);
    const bytesMax = Math.min(aheadBytesMax, this.queuedBytesMax);
    const hasRoom = () =>
      this.failure !== undefined || (this.queued.length < requestsMax && this.queuedBytes < bytesMax);
    return hasRoom() ? undefined : this.waitFor(hasRoom);
  }

  /**
   * Resolves when what waits now has been sent and a batch more could be, or the pipeline has ended; undefined if that is
   * so now. What others give meanwhile does not count.
   */
  turn(): Promise<void> | undefined {
    const due = this.takenCount + this.queued.length;
    const isTurn = () =>
      this.failure !== undefined || this.takenCount > due || (this.takenCount === due && this.hasWindow());
    return isTurn() ? undefined : this.waitFor(isTurn);
  }

  /** Waits until everything given is answered, then ends the call. Never rejects: each publish has its own outcome. */
  async close(): Promise<void> {
    await this.waitFor(() => this.queued.length === 0 && this.inFlight.length === 0);
    this.failure ??= new VaultError("unavailable", "this publisher is closed");
    this.watch?.cancel();
    this.call?.duplex.end();
    this.call = undefined;
  }

  private async waitFor(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.changed ??= Promise.withResolvers();
      await this.changed.promise;
    }
  }

  private notify(): void {
    this.changed?.resolve();
    this.changed = undefined;
  }

  private findFault(stream: string, batch: EncodedBatch): VaultError | undefined {
    if (batch.recordCount === 0)
      return new VaultError("invalid", "a batch needs at least one record", { field: "records" });
    if (!this.nextSequences.has(stream) && this.nextSequences.size >= streamsMax) {
      return new VaultError("invalid", `one publisher can publish to ${streamsMax} streams at most`);
    }
    return undefined;
  }

  private hasWindow(): boolean {
    return this.inFlight.length < this.inFlightRequestsMax && this.inFlightBytes < this.inFlightBytesMax;
  }

  private pump(): void {
    while (this.queued.length > 0 && this.hasWindow()) {
      const request = this.queued.shift()!;
      this.takenCount++;
      this.queuedBytes -= request.bytes.length;
      this.inFlight.push(request);
      this.inFlightBytes += request.bytes.length;
    }
    if (this.waiting || this.failure !== undefined || this.inFlight.length === 0) return;
    if (this.call?.passedOn === true && this.context.endpoints.isBehind(this.call.endpoint)) {
      // What was sent is answered first, so that nothing is sent twice.
      if (this.sentCount > 0) return;
      this.call.duplex.end();
      this.call = undefined;
    }
    const call = this.call ?? this.open();
    if (call === undefined) return;
    if (this.sentCount === 0) this.progressAt = this.context.clock.monotonic();
    const sendable = this.attempt === 0 ? this.inFlight.length : 1;
    for (; this.sentCount < sendable; this.sentCount++) call.duplex.write(this.inFlight[this.sentCount]!.bytes);
    this.watch ??= this.startWatch();
  }

  private open(): OpenCall | undefined {
    try {
      const { endpoints } = this.context;
      const endpoint = endpoints.pickLeader();
      const duplex = endpoint.channel.makeBidiStreamRequest(path, passBytes, passBytes, new Metadata(), {});
      const call: OpenCall = { endpoint, duplex, passedOn: false };
      let status: StatusObject | undefined;
      duplex.on("metadata", (metadata: Metadata) => {
        const leader = metadata.get(leaderKey)[0];
        if (typeof leader !== "string") return;
        call.passedOn = true;
        endpoints.mention(leader);
      });
      duplex.on("data", (bytes: Buffer) => this.answered(call, bytes));
      // Errors come as a status as well. An answer that was received before the status is delivered before "end".
      duplex.on("error", () => undefined);
      duplex.on("status", (received: StatusObject) => (status = received));
      duplex.on("end", () => this.ended(call, status));
      this.call = call;
      this.sentCount = 0;
      return call;
    } catch (error) {
      this.fail(error instanceof VaultError ? error : new VaultError("unavailable", String(error), {}, error));
      return undefined;
    }
  }

  private answered(call: OpenCall, bytes: Buffer): void {
    if (call !== this.call || this.sentCount === 0) return;
    const request = this.inFlight.shift()!;
    const receipt = decodePublishResponse(request.stream, bytes);
    this.sentCount--;
    this.inFlightBytes -= request.bytes.length;
    this.attempt = 0;
    this.progressAt = this.context.clock.monotonic();
    this.counts.add(request.recordCount, request.bytes.length, receipt);
    // grpc-js has copied it before it could be answered.
    if (!request.wasOnBrokenCall) freeMemory(request.bytes);
    request.resolve(receipt);
    this.pump();
    this.notify();
  }

  private ended(call: OpenCall, status: StatusObject | undefined): void {
    if (call !== this.call) return;
    this.call = undefined;
    const sent = this.inFlight.slice(0, this.sentCount);
    this.sentCount = 0;
    const first = sent[0];
    // Nothing was lost: the next publish connects anew.
    if (first === undefined) return;
    const finished = status === undefined || status.code === statusCode.OK;
    const error = toVaultError(finished ? null : status, call.endpoint.address);
    for (const request of sent) {
      request.wasOnBrokenCall = true;
      if (error.kind === "indeterminate") request.maybeStored = true;
    }
    this.context.endpoints.moveOn(call.endpoint, error.detail.leader);
    this.attempt++;
    const { clock, endpoints, log } = this.context;
    const delayMs = retryDelayMs(clock, error, this.attempt, endpoints.addressCount);
    if (!mayRetry(error, true) || clock.monotonic() + delayMs >= first.deadline) {
      this.fail(error);
      return;
    }
    log.warn("publishing was interrupted", { address: call.endpoint.address, error, delayMs });
    this.waiting = true;
    void pause(clock, delayMs).then(() => {
      this.waiting = false;
      this.pump();
    });
  }

  // One timer that looks at the time of the last answer costs less than one for each request.
  private startWatch(): Timer {
    const { clock } = this.context;
    return clock.timer(Math.max(1, this.dueAt() - clock.monotonic()), () => {
      this.watch = undefined;
      const call = this.call;
      if (this.inFlight.length === 0) return;
      if (call !== undefined && clock.monotonic() >= this.dueAt()) {
        call.duplex.cancel();
        this.ended(call, undefined);
      }
      if (this.failure === undefined) this.watch ??= this.startWatch();
    });
  }

  // When it is time to give up on the call.
  private dueAt(): number {
    const first = this.inFlight[0];
    const silentAt = this.progressAt + this.answerTimeoutMs;
    return first === undefined ? silentAt : Math.min(silentAt, Math.max(first.deadline, this.progressAt + 1));
  }

  private fail(error: VaultError): void {
    this.failure = error;
    this.watch?.cancel();
    this.call?.duplex.cancel();
    this.call = undefined;
    const [first, ...others] = [...this.inFlight.splice(0), ...this.queued.splice(0)];
    this.inFlightBytes = 0;
    this.queuedBytes = 0;
    first?.reject(
      first.maybeStored && mayRetry(error, true) ? describeFailure(first, "the last attempt", error) : error,
    );
    for (const request of others) request.reject(describeFailure(request, "one before it", error));
    this.notify();
  }
}

// What became of a request that is not to blame for the failure, or that an earlier attempt may have stored.
function describeFailure(request: Request, failed: string, error: VaultError): VaultError {
  const kind = request.maybeStored ? "indeterminate" : "unavailable";
  const outcome = request.maybeStored ? "may or may not be stored" : "was not stored";
  return new VaultError(kind, `the batch ${outcome}: ${failed} failed: ${error.message}`, {}, error);
}
