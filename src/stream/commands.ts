/**
 * What the RPC layer asks of the vault, and what it gets: plain values, no protobuf messages. Records are the
 * exception: they travel as the bytes that are stored and sent.
 */
import type { RecordBatch } from "../segment/batch.ts";
import type { Room } from "./pending-budget.ts";

/** A batch to publish. */
export interface PublishCommand {
  readonly stream: string;
  /** The records, validated and measured. */
  readonly batch: RecordBatch;
  readonly expectedOffset: bigint | undefined;
  readonly producer: { readonly id: string; readonly sequence: bigint } | undefined;
  readonly incarnation: string | undefined;
}

/** Where a batch was stored. */
export interface PublishResult {
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly duplicate: boolean;
  readonly incarnation: string;
}

/** Where a subscription begins. Timestamps are milliseconds since 1970. */
export type Start =
  | { readonly at: "earliest" }
  | { readonly at: "latest" }
  | { readonly at: "offset"; readonly offset: bigint }
  | { readonly at: "timestamp"; readonly timestamp: number }
  | { readonly at: "last"; readonly count: bigint };

/** Where a subscription ends, exclusive. */
export type End =
  | { readonly at: "never" }
  | { readonly at: "offset"; readonly offset: bigint }
  | { readonly at: "timestamp"; readonly timestamp: number }
  | { readonly at: "count"; readonly count: bigint }
  | { readonly at: "tail" };

/** What to read. */
export interface SubscribeCommand {
  readonly stream: string;
  readonly incarnation: string | undefined;
  readonly start: Start;
  readonly end: End;
  /** Empty: all records. */
  readonly keyPrefix: Uint8Array;
  readonly heartbeatMs: number;
}

/** One response of a subscription: a run of records or, where `payload` is empty, a heartbeat. */
export interface Delivery {
  /** Protobuf encodings of the `records` field of a SubscribeResponse; put end to end they are one valid encoding. */
  readonly payload: readonly Uint8Array[];
  /** Called once the payload was copied and is not looked at any more: its memory may be freed from then on. */
  readonly giveBack?: () => void;
  readonly nextOffset: bigint;
  readonly tailOffset: bigint;
  /** Milliseconds since 1970; undefined while the stream has no record. */
  readonly tailTimestamp: number | undefined;
  /** No record at or behind `tailOffset` will ever have a timestamp before this, in milliseconds since 1970. */
  readonly completeUntil: number | undefined;
  readonly caughtUp: boolean;
  /** In the first delivery and in heartbeats. */
  readonly incarnation: string | undefined;
}

/** A stream's settings. Zero means "for ever" or "all" in the retention fields. */
export interface StreamSettings {
  readonly segmentBytes: number;
  readonly segmentAgeMs: number;
  readonly retentionAgeMs: number;
  readonly retentionBytes: number;
  readonly producerWindowMs: number;
}

/** Which settings to change: a value, or undefined to go back to the default. */
export type SettingsChange = { readonly [K in keyof StreamSettings]?: StreamSettings[K] | undefined };

/** What GetStream tells. Timestamps are milliseconds since 1970. */
export interface StreamInfo {
  readonly name: string;
  readonly incarnation: string;
  readonly settings: StreamSettings;
  readonly createdAt: number;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly firstTimestamp: number | undefined;
  readonly lastTimestamp: number | undefined;
  readonly storedBytes: number;
  readonly segmentCount: number;
}

/** Where a trim cuts. */
export type TrimPoint = { readonly offset: bigint } | { readonly timestamp: number };

/** A segment, as GetReadAccess tells it. */
export interface SegmentInfo {
  readonly blob: string;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly endPosition: number;
  readonly sealed: boolean;
}

/** The vault, as the RPC layer sees it. Every rejection is a VaultError. */
export interface VaultApi {
  /** Appends a batch; resolves when it is durable. What has `room` is not refused for what is pending. */
  publish(command: PublishCommand, room?: Room): Promise<PublishResult>;
  /**
   * Resolves when there is room for a publish of so many bytes to the stream, or `signal` is aborted: the backpressure
   * of PublishStream. The room is taken by then, until it is released.
   */
  publishRoom(stream: string, bytes: number, signal: AbortSignal): Promise<Room>;
  /** Reads a stream. Ends by returning only at the requested end, or when `signal` is aborted. */
  subscribe(command: SubscribeCommand, signal: AbortSignal): AsyncIterable<Delivery>;
  createStream(name: string, settings: SettingsChange): Promise<StreamInfo>;
  getStream(name: string): Promise<StreamInfo>;
  listStreams(prefix: string, limit: number, from?: string): Promise<{ names: string[]; next: string | undefined }>;
  updateStream(name: string, change: SettingsChange): Promise<StreamInfo>;
  deleteStream(name: string, incarnation: string | undefined): Promise<void>;
  /** Resolves to the first offset that is kept. */
  trimStream(name: string, before: TrimPoint): Promise<bigint>;
  /** `to` of 0 means to the tail. */
  readAccess(name: string, from: bigint, to: bigint): Promise<{ incarnation: string; segments: SegmentInfo[] }>;
}
