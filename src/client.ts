/** The TypeScript client: publishes, subscribes, and manages streams. */
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { createAdmin } from "./client/admin.ts";
import type { Admin } from "./client/admin.ts";
import { encodeBatch } from "./client/batch-builder.ts";
import type { RecordInput } from "./client/batch-builder.ts";
import { callBytes } from "./client/call.ts";
import type { CallContext, CallOptions } from "./client/call.ts";
import type { SubscribeOptions } from "./client/cursor.ts";
import { createEndpoints } from "./client/endpoints.ts";
import type { TlsOptions } from "./client/endpoints.ts";
import { Pipeline } from "./client/pipeline.ts";
import type { PipelineOptions } from "./client/pipeline.ts";
import { decodePublishResponse, encodePublishRequest } from "./client/publish-request.ts";
import type { PublishConditions, PublishReceipt } from "./client/publish-request.ts";
import { createPublisher } from "./client/publisher.ts";
import type { Publisher, PublisherOptions } from "./client/publisher.ts";
import { followStream } from "./client/follow-stream.ts";
import type { MergedSubscription } from "./client/merge.ts";
import { subscribeMerged } from "./client/subscribe-merged.ts";
import type { MergedOptions } from "./client/subscribe-merged.ts";
import { StreamSubscription } from "./client/subscription.ts";
import type { Subscription } from "./client/subscription.ts";
import { VaultService } from "../gen/messagevault/v1/vault_pb.ts";
import { silentLog } from "./log.ts";
import type { Log } from "./log.ts";
import { methodPath } from "./rpc/handlers.ts";

export type { Admin, ClusterInfo, FailoverInfo, NodeInfo, StreamPage } from "./client/admin.ts";
export { encodeBatch } from "./client/batch-builder.ts";
export type { EncodedBatch, HeaderInput, RecordInput } from "./client/batch-builder.ts";
export type { CallOptions } from "./client/call.ts";
export type { SubscribeOptions } from "./client/cursor.ts";
export type { Delivery, Lag } from "./client/delivery.ts";
export type { TlsOptions } from "./client/endpoints.ts";
export type { MergedCursor, MergedRecord, MergedSubscription } from "./client/merge.ts";
export type { MergedOptions } from "./client/subscribe-merged.ts";
export type { Acknowledged, AcknowledgedRange } from "./client/acknowledged.ts";
export type { Pipeline, PipelineOptions } from "./client/pipeline.ts";
export type { PublishConditions, PublishReceipt } from "./client/publish-request.ts";
export type { Publisher, PublisherOptions, RecordReceipt } from "./client/publisher.ts";
export type { StreamHeader, StreamRecord } from "./client/stream-record.ts";
export type { Subscription } from "./client/subscription.ts";
export type { Clock, Timer } from "./clock.ts";
export { isKind, VaultError } from "./errors.ts";
export type { ErrorDetail, ErrorKind } from "./errors.ts";
export type { Log, LogFields } from "./log.ts";
export type { End, SegmentInfo, SettingsChange, Start, StreamInfo } from "./stream/commands.ts";
export type { StreamSettings, TrimPoint } from "./stream/commands.ts";

/** Where a vault is, and how to talk to it. */
export interface ConnectOptions {
  /** `host:port` of the vault's nodes: the next one is tried when one is not available. */
  readonly addresses: readonly string[];
  /** Where absent, connections are not encrypted. */
  readonly tls?: TlsOptions;
  /** How long calls and subscriptions are tried again while no node is available, in milliseconds: 60 s by default. */
  readonly retryForMs?: number;
  readonly clock?: Clock;
  /** Hears of interruptions that were overcome. */
  readonly log?: Log;
}

/** A client of a vault. Every rejection is a VaultError. */
export interface VaultClient extends Admin {
  /**
   * Publishes one batch, all or nothing; resolves when it is durable. It is sent again after a failure that may have
   * stored it only if it has a producer and a sequence. For more than a few batches use a publisher.
   */
  publish(
    stream: string,
    records: Iterable<RecordInput>,
    options?: PublishConditions & CallOptions,
  ): Promise<PublishReceipt>;
  /** A publisher for one stream, with a connection of its own: pipelined, in order, nothing stored twice. */
  publisher(stream: string, options?: PublisherOptions & PipelineOptions): Publisher;
  /** A pipeline for many streams; `publisherOn` makes publishers that share it. */
  pipeline(options?: PipelineOptions): Pipeline;
  /** A publisher for one stream that shares a pipeline. */
  publisherOn(pipeline: Pipeline, stream: string, options?: PublisherOptions): Publisher;
  /** Reads a stream, from the tail unless told otherwise, and resumes by itself when a connection breaks. */
  subscribe(stream: string, options?: SubscribeOptions): Subscription;
  /**
   * Reads several streams as one, in the order of their records' timestamps, then of the streams' names; resumes by
   * itself. Live, a record waits until no stream can bring an earlier one any more: a few seconds where one is silent.
   */
  subscribeMerged(streams: readonly string[], options?: MergedOptions): MergedSubscription;
  /** Closes all connections. What is under way fails. */
  close(): void;
}

const retryForMsDefault = 60_000;

/** Makes a client. Connections are made when they are first needed. Throws `invalid` if there is no address. */
export function connect(options: ConnectOptions): VaultClient {
  const { addresses, tls, clock = systemClock, log = silentLog, retryForMs = retryForMsDefault } = options;
  const context: CallContext = { endpoints: createEndpoints(addresses, tls, clock), clock, log, retryForMs };
  return {
    ...createAdmin(context),
    publish: (stream, records, conditions = {}) => publishOnce(context, stream, records, conditions),
    publisher: (stream, settings = {}) =>
      createPublisher(new Pipeline(context, settings), clock, stream, settings, true),
    pipeline: (settings) => new Pipeline(context, settings),
    publisherOn: (pipeline, stream, settings = {}) => createPublisher(pipeline, clock, stream, settings, false),
    subscribe: (stream, settings = {}) => new StreamSubscription(followStream(context, stream, settings)),
    subscribeMerged: (streams, settings = {}) => subscribeMerged(context, streams, settings),
    close: () => context.endpoints.close(),
  };
}

async function publishOnce(
  context: CallContext,
  stream: string,
  records: Iterable<RecordInput>,
  options: PublishConditions & CallOptions,
): Promise<PublishReceipt> {
  const request = encodePublishRequest(stream, encodeBatch(records), options);
  const path = methodPath(VaultService.method.publish);
  const response = await callBytes(context, path, request, options.producer !== undefined, options);
  return decodePublishResponse(stream, response);
}
