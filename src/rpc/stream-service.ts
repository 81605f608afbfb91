import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GetReadAccessResponseSchema, StreamSchema } from "../../gen/messagevault/v1/stream_pb.ts";
import type {
  GetReadAccessRequest,
  ListStreamsRequest,
  TrimStreamRequest,
} from "../../gen/messagevault/v1/stream_pb.ts";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import type { SegmentInfo, StreamInfo, TrimPoint, VaultApi } from "../stream/commands.ts";
import { validateStreamName, validateStreamPrefix } from "../stream/names.ts";
import type { HandlerTable } from "./handlers.ts";
import { defineUnary } from "./handlers.ts";
import { readMaskedSettings, readSettings, toSettings } from "./settings.ts";
import { invalidField, readTimestamp, toTimestamp } from "./values.ts";

/** The most names in one page of ListStreams. */
export const pageSizeMax = 1000;

/** The names in a page of ListStreams where the request does not say. */
export const pageSizeDefault = 100;

/** The most characters of a page token. */
export const pageTokenLengthMax = 4096;

/** The methods of StreamService. */
export function createStreamHandlers(vault: VaultApi): HandlerTable {
  return { ...settingsMethods(vault), ...contentMethods(vault) };
}

function settingsMethods(vault: VaultApi): HandlerTable {
  return {
    ...defineUnary(StreamService.method.createStream, async ({ name, settings }) => {
      validateStreamName(name, "name");
      return { stream: toStream(await vault.createStream(name, readSettings(settings))) };
    }),
    ...defineUnary(StreamService.method.getStream, async ({ name }) => {
      validateStreamName(name, "name");
      return { stream: toStream(await vault.getStream(name)) };
    }),
    ...defineUnary(StreamService.method.listStreams, async (request) => {
      const { prefix, limit, from } = readListing(request);
      const { names, next } = await vault.listStreams(prefix, limit, from);
      return { names, nextPageToken: next === undefined ? "" : Buffer.from(next).toString("base64url") };
    }),
    ...defineUnary(StreamService.method.updateStream, async ({ name, settings, updateMask }) => {
      validateStreamName(name, "name");
      return { stream: toStream(await vault.updateStream(name, readMaskedSettings(settings, updateMask))) };
    }),
  };
}

function contentMethods(vault: VaultApi): HandlerTable {
  return {
    ...defineUnary(StreamService.method.deleteStream, async ({ name, incarnation }) => {
      validateStreamName(name, "name");
      await vault.deleteStream(name, incarnation === "" ? undefined : incarnation);
      return {};
    }),
    ...defineUnary(StreamService.method.trimStream, async (request) => {
      validateStreamName(request.name, "name");
      return { firstOffset: await vault.trimStream(request.name, readTrimPoint(request)) };
    }),
    ...defineUnary(StreamService.method.getReadAccess, async (request) => {
      validateStreamName(request.name, "name");
      validateRange(request);
      const access = await vault.readAccess(request.name, request.fromOffset, request.toOffset);
      return { incarnation: access.incarnation, segments: access.segments.map(toSegment) };
    }),
  };
}

function readListing({ prefix, pageSize, pageToken }: ListStreamsRequest) {
  validateStreamPrefix(prefix, "prefix");
  if (pageSize < 0 || pageSize > pageSizeMax) {
    throw invalidField("page_size", `from 1 to ${pageSizeMax}, or 0 for ${pageSizeDefault}; this one is ${pageSize}`);
  }
  return { prefix, limit: pageSize === 0 ? pageSizeDefault : pageSize, from: readPageToken(pageToken) };
}

function readPageToken(token: string): string | undefined {
  if (token === "") return undefined;
  if (token.length > pageTokenLengthMax || !/^[A-Za-z0-9_-]+$/.test(token)) {
    throw invalidField("page_token", "send the last answer's next_page_token as it came");
  }
  return Buffer.from(token, "base64url").toString();
}

function readTrimPoint({ before }: TrimStreamRequest): TrimPoint {
  switch (before.case) {
    case "offset":
      return { offset: before.value };
    case "timestamp":
      return { timestamp: readTimestamp(before.value, "timestamp") };
    default:
      throw invalidField("before", "name the offset or the timestamp that the stream shall begin at");
  }
}

function validateRange({ fromOffset, toOffset }: GetReadAccessRequest): void {
  if (toOffset !== 0n && toOffset < fromOffset) {
    throw invalidField("to_offset", `${toOffset} lies before from_offset, ${fromOffset}`);
  }
}

function toStream(info: StreamInfo): MessageInitShape<typeof StreamSchema> {
  const { firstTimestamp, lastTimestamp } = info;
  return {
    name: info.name,
    incarnation: info.incarnation,
    settings: toSettings(info.settings),
    createTime: toTimestamp(info.createdAt),
    firstOffset: info.firstOffset,
    nextOffset: info.nextOffset,
    ...(firstTimestamp === undefined ? {} : { firstTimestamp: toTimestamp(firstTimestamp) }),
    ...(lastTimestamp === undefined ? {} : { lastTimestamp: toTimestamp(lastTimestamp) }),
    storedBytes: BigInt(info.storedBytes),
    segmentCount: info.segmentCount,
  };
}

type SegmentInits = NonNullable<MessageInitShape<typeof GetReadAccessResponseSchema>["segments"]>;

function toSegment({ endPosition, ...segment }: SegmentInfo): SegmentInits[number] {
  return { ...segment, endPosition: BigInt(endPosition) };
}
