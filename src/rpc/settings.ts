import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import type { StreamSettings as SettingsMessage, StreamSettingsSchema } from "../../gen/messagevault/v1/stream_pb.ts";
import { pageBytes } from "../blob/blob-store.ts";
import type { SettingsChange, StreamSettings } from "../stream/commands.ts";
import { invalidField, readDuration, readSize, toDuration } from "./values.ts";

/** The smallest segment, in bytes. */
export const segmentBytesMin = 64 * 1024;

/** The largest segment, in bytes. */
export const segmentBytesMax = 8 * 1024 ** 3;

type Setting = keyof StreamSettings;

// A setting's name in the API is its field's; the messages' property names differ from ours for times only.
const settingsByPath: Readonly<Record<string, Setting>> = {
  segment_bytes: "segmentBytes",
  segment_age: "segmentAgeMs",
  retention_age: "retentionAgeMs",
  retention_bytes: "retentionBytes",
  producer_window: "producerWindowMs",
};

/** A stream's settings as a message. */
export function toSettings(settings: StreamSettings): MessageInitShape<typeof StreamSettingsSchema> {
  return {
    segmentBytes: BigInt(settings.segmentBytes),
    segmentAge: toDuration(settings.segmentAgeMs),
    retentionAge: toDuration(settings.retentionAgeMs),
    retentionBytes: BigInt(settings.retentionBytes),
    producerWindow: toDuration(settings.producerWindowMs),
  };
}

/** The settings that a message gives; what is absent there is absent here. Throws `invalid`, naming the field. */
export function readSettings(settings: SettingsMessage | undefined): SettingsChange {
  if (settings === undefined) return {};
  const { segmentBytes, segmentAge, retentionAge, retentionBytes, producerWindow } = settings;
  return {
    ...(segmentBytes === undefined ? {} : { segmentBytes: readSegmentBytes(segmentBytes) }),
    ...(segmentAge === undefined ? {} : { segmentAgeMs: readSegmentAge(segmentAge) }),
    ...(retentionAge === undefined ? {} : { retentionAgeMs: readDuration(retentionAge, "settings.retention_age") }),
    ...(retentionBytes === undefined ? {} : { retentionBytes: readSize(retentionBytes, "settings.retention_bytes") }),
    ...(producerWindow === undefined
      ? {}
      : { producerWindowMs: readDuration(producerWindow, "settings.producer_window") }),
  };
}

/**
 * The settings that the mask names: undefined, so back to the default, where the message does not give them. Throws
 * `invalid` where the mask is empty or names something else.
 */
export function readMaskedSettings(settings: SettingsMessage | undefined, mask: FieldMask | undefined): SettingsChange {
  const given = readSettings(settings);
  const paths = mask?.paths ?? [];
  if (paths.length === 0) throw invalidField("update_mask", "name the settings to change, or '*' for all");
  const named = paths.flatMap((path) => (path === "*" ? Object.values(settingsByPath) : readPath(path)));
  return Object.fromEntries(named.map((setting) => [setting, given[setting]]));
}

function readPath(path: string): Setting {
  const setting = Object.hasOwn(settingsByPath, path) ? settingsByPath[path] : undefined;
  if (setting === undefined) {
    const known = Object.keys(settingsByPath).join(", ");
    throw invalidField("update_mask", `${JSON.stringify(path.slice(0, 64))} is no setting; there are ${known}`);
  }
  return setting;
}

function readSegmentBytes(size: bigint): number {
  if (size < segmentBytesMin || size > segmentBytesMax || size % BigInt(pageBytes) !== 0n) {
    const rule = `from ${segmentBytesMin} to ${segmentBytesMax} bytes, a multiple of ${pageBytes}`;
    throw invalidField("settings.segment_bytes", `${rule}; this one is ${size}`);
  }
  return Number(size);
}

function readSegmentAge(age: Parameters<typeof readDuration>[0]): number {
  const ageMs = readDuration(age, "settings.segment_age");
  if (ageMs === 0) throw invalidField("settings.segment_age", "it must be more than zero");
  return ageMs;
}
