import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { ClusterService, FailoverCause, NodeRole } from "../../gen/messagevault/v1/cluster_pb.ts";
import type { Failover, Node } from "../../gen/messagevault/v1/cluster_pb.ts";
import { StreamService, StreamSettingsSchema } from "../../gen/messagevault/v1/stream_pb.ts";
import type { Stream } from "../../gen/messagevault/v1/stream_pb.ts";
import type { SegmentInfo, SettingsChange, StreamInfo, TrimPoint } from "../stream/commands.ts";
import { callUnary } from "./call.ts";
import type { CallContext, CallOptions } from "./call.ts";

/** A vault node. */
export interface NodeInfo {
  /** New at each start. */
  readonly id: string;
  /** `host:port`. */
  readonly endpoint: string;
  readonly role: "leader" | "standby" | "unknown";
  readonly version: string;
}

/** The cluster, as the node that answers sees it. */
export interface ClusterInfo {
  /** The node that answers. */
  readonly node: NodeInfo | undefined;
  /** The leader; undefined while none is known. */
  readonly leader: NodeInfo | undefined;
  readonly epoch: bigint;
  /** Since when that leader leads, in milliseconds since 1970. */
  readonly leaderSince: number | undefined;
  readonly nodes: readonly NodeInfo[];
  /** How that leader came to lead; undefined while none is known. */
  readonly lastFailover: FailoverInfo | undefined;
}

/** A change of leader. */
export interface FailoverInfo {
  /** Why the leader before does not lead any more; `first`: there was none before. */
  readonly cause: "first" | "resigned" | "expired" | "gone" | "silent" | "unknown";
  /** How long nobody led, in milliseconds; undefined where the new leader had not watched the one before. */
  readonly gapMs: number | undefined;
}

/** A page of a list of streams. */
export interface StreamPage {
  readonly names: string[];
  /** What to give for the next page; undefined at the end. */
  readonly next: string | undefined;
}

/** Managing streams, and looking at the cluster. Every rejection is a VaultError. */
export interface Admin {
  createStream(name: string, settings?: SettingsChange, options?: CallOptions): Promise<StreamInfo>;
  getStream(name: string, options?: CallOptions): Promise<StreamInfo>;
  /** Names that begin with `prefix`, in byte order, `pageSize` (1 to 1,000) at a time. */
  listStreams(prefix?: string, pageSize?: number, from?: string, options?: CallOptions): Promise<StreamPage>;
  /** Changes the settings that `change` has a key for; one that is undefined goes back to the default. */
  updateStream(name: string, change: SettingsChange, options?: CallOptions): Promise<StreamInfo>;
  deleteStream(name: string, incarnation?: string, options?: CallOptions): Promise<void>;
  /** Makes everything before a point unreadable. Resolves to the first offset that is kept. */
  trimStream(name: string, before: TrimPoint, options?: CallOptions): Promise<bigint>;
  /** Where a stream's bytes are; `to` of 0 means to the tail. */
  readAccess(
    name: string,
    from?: bigint,
    to?: bigint,
    options?: CallOptions,
  ): Promise<{ readonly incarnation: string; readonly segments: readonly SegmentInfo[] }>;
  getCluster(options?: CallOptions): Promise<ClusterInfo>;
  /**
   * Makes another node the leader: the one with this id or endpoint, or any that is ready. Resolves to the node that
   * leads then. Rejects with `conflict` if no such node is ready.
   */
  transferLeadership(
    node?: string,
    options?: CallOptions,
  ): Promise<{ readonly leader: NodeInfo; readonly epoch: bigint }>;
}

const methods = { ...StreamService.method, ...ClusterService.method };

/** Binds the calls to a client's connections. */
export function createAdmin(context: CallContext): Admin {
  return {
    async createStream(name, settings = {}, options) {
      const request = { name, settings: toSettings(settings) };
      const response = await callUnary(context, methods.createStream, request, false, options);
      return toStreamInfo(response.stream);
    },
    async getStream(name, options) {
      const response = await callUnary(context, methods.getStream, { name }, true, options);
      return toStreamInfo(response.stream);
    },
    async listStreams(prefix = "", pageSize = 100, from = "", options) {
      const request = { prefix, pageSize, pageToken: from };
      const response = await callUnary(context, methods.listStreams, request, true, options);
      return { names: response.names, next: response.nextPageToken === "" ? undefined : response.nextPageToken };
    },
    async updateStream(name, change, options) {
      const request = {
        name,
        settings: toSettings(change),
        updateMask: { paths: Object.keys(change).map(toFieldName) },
      };
      const response = await callUnary(context, methods.updateStream, request, true, options);
      return toStreamInfo(response.stream);
    },
    async deleteStream(name, incarnation = "", options) {
      await callUnary(context, methods.deleteStream, { name, incarnation }, false, options);
    },
    async trimStream(name, before, options) {
      const request = { name, before: toTrimPoint(before) };
      return (await callUnary(context, methods.trimStream, request, true, options)).firstOffset;
    },
    async readAccess(name, from = 0n, to = 0n, options) {
      const request = { name, fromOffset: from, toOffset: to };
      const response = await callUnary(context, methods.getReadAccess, request, true, options);
      const segments = response.segments.map(({ blob, firstOffset, nextOffset, endPosition, sealed }) => ({
        blob,
        firstOffset,
        nextOffset,
        endPosition: Number(endPosition),
        sealed,
      }));
      return { incarnation: response.incarnation, segments };
    },
    async getCluster(options) {
      const response = await callUnary(context, methods.getCluster, {}, true, options);
      return {
        node: toNodeInfo(response.node),
        leader: toNodeInfo(response.leader),
        epoch: response.epoch,
        leaderSince: toMs(response.leaderSince),
        nodes: response.nodes.map((node) => toNodeInfo(node)!),
        lastFailover: toFailoverInfo(response.lastFailover),
      };
    },
    async transferLeadership(node = "", options) {
      const response = await callUnary(context, methods.transferLeadership, { node }, false, options);
      const unknown = { id: "", endpoint: "", role: "unknown", version: "" } as const;
      return { leader: toNodeInfo(response.leader) ?? unknown, epoch: response.epoch };
    },
  };
}

const fieldNames: Readonly<Record<keyof SettingsChange, string>> = {
  segmentBytes: "segment_bytes",
  segmentAgeMs: "segment_age",
  retentionAgeMs: "retention_age",
  retentionBytes: "retention_bytes",
  producerWindowMs: "producer_window",
};

function toFieldName(setting: string): string {
  return fieldNames[setting as keyof SettingsChange];
}

function toSettings(change: SettingsChange): MessageInitShape<typeof StreamSettingsSchema> {
  const { segmentBytes, segmentAgeMs, retentionAgeMs, retentionBytes, producerWindowMs } = change;
  return create(StreamSettingsSchema, {
    ...(segmentBytes === undefined ? {} : { segmentBytes: BigInt(segmentBytes) }),
    ...(segmentAgeMs === undefined ? {} : { segmentAge: durationFromMs(segmentAgeMs) }),
    ...(retentionAgeMs === undefined ? {} : { retentionAge: durationFromMs(retentionAgeMs) }),
    ...(retentionBytes === undefined ? {} : { retentionBytes: BigInt(retentionBytes) }),
    ...(producerWindowMs === undefined ? {} : { producerWindow: durationFromMs(producerWindowMs) }),
  });
}

function toStreamInfo(stream: Stream | undefined): StreamInfo {
  const settings = stream?.settings;
  return {
    name: stream?.name ?? "",
    incarnation: stream?.incarnation ?? "",
    settings: {
      segmentBytes: Number(settings?.segmentBytes ?? 0n),
      segmentAgeMs: toDurationMs(settings?.segmentAge),
      retentionAgeMs: toDurationMs(settings?.retentionAge),
      retentionBytes: Number(settings?.retentionBytes ?? 0n),
      producerWindowMs: toDurationMs(settings?.producerWindow),
    },
    createdAt: toMs(stream?.createTime) ?? 0,
    firstOffset: stream?.firstOffset ?? 0n,
    nextOffset: stream?.nextOffset ?? 0n,
    firstTimestamp: toMs(stream?.firstTimestamp),
    lastTimestamp: toMs(stream?.lastTimestamp),
    storedBytes: Number(stream?.storedBytes ?? 0n),
    segmentCount: stream?.segmentCount ?? 0,
  };
}

function toTrimPoint(before: TrimPoint) {
  if ("offset" in before) return { case: "offset" as const, value: before.offset };
  return { case: "timestamp" as const, value: timestampFromMs(before.timestamp) };
}

const roles: Readonly<Record<NodeRole, NodeInfo["role"]>> = {
  [NodeRole.UNSPECIFIED]: "unknown",
  [NodeRole.LEADER]: "leader",
  [NodeRole.STANDBY]: "standby",
};

function toNodeInfo(node: Node | undefined): NodeInfo | undefined {
  if (node === undefined) return undefined;
  return { id: node.id, endpoint: node.endpoint, role: roles[node.role] ?? "unknown", version: node.version };
}

const causes: Readonly<Record<FailoverCause, FailoverInfo["cause"]>> = {
  [FailoverCause.UNSPECIFIED]: "unknown",
  [FailoverCause.FIRST_LEADER]: "first",
  [FailoverCause.RESIGNED]: "resigned",
  [FailoverCause.EXPIRED]: "expired",
  [FailoverCause.GONE]: "gone",
  [FailoverCause.SILENT]: "silent",
};

function toFailoverInfo(failover: Failover | undefined): FailoverInfo | undefined {
  if (failover === undefined) return undefined;
  const { cause, gap } = failover;
  return { cause: causes[cause] ?? "unknown", gapMs: gap === undefined ? undefined : durationMs(gap) };
}

function toMs(timestamp: Timestamp | undefined): number | undefined {
  return timestamp === undefined ? undefined : timestampMs(timestamp);
}

function toDurationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : durationMs(duration);
}
