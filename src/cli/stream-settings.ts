import type { Command } from "commander";
import type { SettingsChange, StreamInfo, StreamSettings } from "../stream/commands.ts";
import { formatBytes, formatDuration } from "../units.ts";
import { describeBytes, describeFields, describeTime, toJsonFields } from "./describe.ts";
import { parseDelay, parseSize } from "./parse.ts";

/** What the options of a stream's settings give; `default` stands for the vault's default. */
export interface SettingOptions {
  readonly segmentBytes?: number | "default";
  readonly segmentAge?: number | "default";
  readonly retentionAge?: number | "default";
  readonly retentionBytes?: number | "default";
  readonly producerWindow?: number | "default";
}

/** Adds the options for a stream's settings to a command. */
export function addSettingOptions(command: Command): Command {
  const size = (text: string) => (text === "default" ? text : parseSize(text));
  const delay = (text: string) => (text === "default" ? text : parseDelay(text));
  return command
    .option("--segment-bytes <size>", "the size of a segment: 64KiB to 8GiB", size)
    .option("--segment-age <duration>", "the age at which a segment is closed though it is not full", delay)
    .option("--retention-age <duration>", "how long records are kept, at least; 0 for ever", delay)
    .option("--retention-bytes <size>", "how many bytes of the newest records are kept, at least; 0 all", size)
    .option("--producer-window <duration>", "how long a producer is remembered after its last batch", delay);
}

/** The settings that were named. One that is undefined is to have its default. */
export function findSettings(options: SettingOptions): SettingsChange {
  const given: Record<keyof StreamSettings, number | "default" | undefined> = {
    segmentBytes: options.segmentBytes,
    segmentAgeMs: options.segmentAge,
    retentionAgeMs: options.retentionAge,
    retentionBytes: options.retentionBytes,
    producerWindowMs: options.producerWindow,
  };
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named.map(([name, value]) => [name, value === "default" ? undefined : value]));
}

/** A stream for people. */
export function toStreamText(stream: StreamInfo): string {
  const { settings } = stream;
  return describeFields({
    name: stream.name,
    incarnation: stream.incarnation,
    created: describeTime(stream.createdAt),
    "first offset": `${stream.firstOffset}  (${describeTime(stream.firstTimestamp)})`,
    "next offset": `${stream.nextOffset}  (last record ${describeTime(stream.lastTimestamp)})`,
    stored: `${describeBytes(stream.storedBytes)} in ${stream.segmentCount} segment${stream.segmentCount === 1 ? "" : "s"}`,
    "segment bytes": formatBytes(settings.segmentBytes),
    "segment age": formatDuration(settings.segmentAgeMs),
    "retention age": settings.retentionAgeMs === 0 ? "for ever" : formatDuration(settings.retentionAgeMs),
    "retention bytes": settings.retentionBytes === 0 ? "all" : formatBytes(settings.retentionBytes),
    "producer window": formatDuration(settings.producerWindowMs),
  });
}

/** A stream's fields for JSON, times as RFC 3339. */
export function toStreamFields(stream: StreamInfo): Record<string, unknown> {
  const { createdAt, firstTimestamp, lastTimestamp, settings, ...fields } = stream;
  return {
    ...toJsonFields(fields),
    create_time: describeTime(createdAt),
    ...(firstTimestamp === undefined ? {} : { first_timestamp: describeTime(firstTimestamp) }),
    ...(lastTimestamp === undefined ? {} : { last_timestamp: describeTime(lastTimestamp) }),
    settings: toJsonFields(settings),
  };
}
