/**
 * Every setting of a vault: one list, from which flags, environment variables, checks, help and documentation are
 * made. A name ends in its unit: `Bytes`, `Ms`, `Seconds`; `Max` behind it says that it is a limit.
 */
import { z } from "zod";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./units.ts";

/** A setting. */
export interface Setting<T> {
  /** What its value must be. */
  readonly schema: z.ZodType<T>;
  /** Reads it from a flag or an environment variable; undefined where the text makes no sense. */
  readonly parse: (text: string) => unknown;
  /** The value where none is given. */
  readonly default: T;
  /** The default and the allowed values, in words. */
  readonly defaultText: string;
  readonly allowedText: string;
  readonly description: string;
  /** Whether the value may hold a secret, so that it is never shown. */
  readonly secret?: boolean;
}

const KiB = 1024;
const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const second = 1000;
const minute = 60_000;
const hour = 3_600_000;
const day = 86_400_000;
const year = 366 * day;

function bytes(value: number, min: number, max: number, description: string): Setting<number> {
  return quantity(value, min, max, description, parseBytes, formatBytes);
}

function milliseconds(value: number, min: number, max: number, description: string): Setting<number> {
  return quantity(value, min, max, description, parseDuration, formatDuration);
}

function seconds(value: number, min: number, max: number, description: string): Setting<number> {
  const format = (amount: number) => formatDuration(amount * second);
  return quantity(value, min, max, description, (text) => parseDuration(text, second), format);
}

function count(value: number, min: number, max: number, description: string): Setting<number> {
  return quantity(value, min, max, description, (text) => (/^\d+$/.test(text) ? Number(text) : undefined), String);
}

function quantity(
  value: number,
  min: number,
  max: number,
  description: string,
  parse: Setting<number>["parse"],
  format: (value: number) => string,
): Setting<number> {
  const allowedText = `${format(min)} to ${format(max)}`;
  return {
    schema: z.int().min(min).max(max),
    parse,
    default: value,
    defaultText: format(value),
    allowedText,
    description,
  };
}

function choice<T extends string>(value: T, choices: readonly T[], description: string): Setting<T> {
  const allowedText = choices.join(", ");
  return { schema: z.enum(choices), parse: String, default: value, defaultText: value, allowedText, description };
}

function optionalCount(min: number, max: number, description: string): Setting<number | undefined> {
  const { parse, schema, allowedText } = count(min, min, max, description);
  return { schema: schema.optional(), parse, default: undefined, defaultText: "none", allowedText, description };
}

function flag(value: boolean, description: string): Setting<boolean> {
  const parse = (text: string) => ({ true: true, "1": true, false: false, "0": false })[text.toLowerCase()];
  return {
    schema: z.boolean(),
    parse,
    default: value,
    defaultText: String(value),
    allowedText: "true, false",
    description,
  };
}

function text(value: string, pattern: RegExp, allowedText: string, description: string): Setting<string> {
  return {
    schema: z.string().regex(pattern),
    parse: String,
    default: value,
    defaultText: value,
    allowedText,
    description,
  };
}

function optionalText(pattern: RegExp, allowedText: string, description: string): Setting<string | undefined> {
  const schema = z.string().regex(pattern).optional();
  return { schema, parse: String, default: undefined, defaultText: "none", allowedText, description };
}

/** Every setting, by its name. */
export const settings = {
  storage: {
    ...text(
      "file:./data",
      /^.{1,8192}$/s,
      "file:PATH, memory:, memory:azure, azurite:, an Azure container URL or connection string",
      "Where streams are stored.",
    ),
    secret: true,
  },
  createContainer: flag(false, "Whether to make the Azure container if there is none."),
  host: text(
    "127.0.0.1",
    /^[^\s/]{1,255}$/,
    "a host name or address",
    "The address to listen on; 0.0.0.0 or :: for all.",
  ),
  port: count(50_051, 0, 65_535, "The TCP port to listen on; 0 for any that is free."),
  advertisedEndpoint: optionalText(
    /^(\[[0-9a-fA-F:.%]+\]|[^:[\]\s]+):\d{1,5}$/,
    "host:port",
    "Where clients and other nodes reach this node, if that is not host and port.",
  ),
  tlsCert: optionalText(
    /^.+$/,
    "a path",
    "A file with the certificate chain (PEM). With it the vault speaks TLS only.",
  ),
  tlsKey: optionalText(/^.+$/, "a path", "A file with the private key (PEM) of the certificate."),
  tlsCa: optionalText(
    /^.+$/,
    "a path",
    "A file with the authorities (PEM) that other nodes' certificates are checked against; the system's if none.",
  ),
  httpPort: optionalCount(
    0,
    65_535,
    "A TCP port for HTTP beside gRPC: /livez, /readyz, /metrics; 0 for any that is free. There is none by default.",
  ),
  httpHost: optionalText(
    /^[^\s/]{1,255}$/,
    "a host name or address",
    "The address for it to listen on; that of --host if none. It has neither TLS nor access control.",
  ),
  json: flag(false, "Print the address and log as JSON lines, also on a terminal."),
  logLevel: choice("info", ["debug", "info", "warn", "error", "silent"], "What is logged: this level and those above."),
  autoCreateStreams: flag(true, "Whether a first publish creates its stream."),

  recordBytesMax: bytes(MiB, KiB, 3.5 * MiB, "The largest record, as it is stored."),
  keyBytesMax: bytes(KiB, 1, 64 * KiB, "The longest key of a record."),
  streamPendingBytesMax: bytes(
    16 * MiB,
    4 * MiB,
    16 * GiB,
    "What publishers of one stream may have waiting to be stored; beyond it they are held back or refused.",
  ),
  pendingBytesMax: bytes(64 * MiB, 4 * MiB, 64 * GiB, "The same for all streams together."),
  lingerMs: milliseconds(
    0,
    0,
    minute,
    "How long a commit waits for more records; 0: only while another is being written.",
  ),
  commitBytesMax: bytes(4 * MiB, 64 * KiB, 4 * MiB, "The largest write of records to storage. 4 MiB is Azure's limit."),
  frameBytes: bytes(256 * KiB, 4 * KiB, MiB, "The size at which a frame, the unit of checks and seeks, is closed."),
  responseBytes: bytes(256 * KiB, 4 * KiB, 2 * MiB, "The size at which a response of a subscription is sent."),
  settleMs: milliseconds(
    30 * second,
    second,
    hour,
    "How long the vault tries to learn what became of a write whose answer was lost, before it says UNKNOWN.",
  ),

  tailCacheBytes: bytes(
    24 * MiB,
    MiB,
    64 * GiB,
    "Memory for the newest frames of all streams, which subscriptions at the tail share.",
  ),
  readCacheBytes: bytes(
    8 * MiB,
    4 * MiB,
    64 * GiB,
    "Memory for what was read from storage, shared by all who replay the same.",
  ),
  readBytes: bytes(MiB, 256 * KiB, 4 * MiB, "The size of a read from storage."),
  readAheadBytes: bytes(2 * MiB, 0, 64 * MiB, "How far storage is read ahead of a subscription that replays."),
  readsInFlightMax: count(8, 1, 1024, "How many reads from storage are under way at a time."),
  blobBytesPerSecondMax: bytes(
    60 * MiB,
    MiB,
    64 * GiB,
    "Azure: what is read from and written to one segment, a second. 60 MiB is Azure's target for a page blob.",
  ),
  blobRequestsPerSecondMax: count(500, 1, 1_000_000, "Azure: requests for one blob, a second. 500 is Azure's target."),
  accountRequestsPerSecondMax: count(
    20_000,
    1,
    10_000_000,
    "Azure: requests of this node, a second. 20,000 is Azure's limit for an account, 40,000 in some regions.",
  ),
  indexCacheBytes: bytes(8 * MiB, MiB, 16 * GiB, "Memory for the indexes of closed segments."),
  openStreamsMax: count(1000, 1, 1_000_000, "How many streams are kept open; those not used for longest are closed."),
  openFilesMax: count(256, 8, 100_000, "How many files the file storage keeps open."),
  subscriptionsMax: count(20_000, 1, 1_000_000, "How many subscriptions a node serves."),
  wokenAtOnce: count(
    128,
    1,
    1_000_000,
    "How many subscriptions that wait for the same stream are woken before other work has its turn.",
  ),
  callsMax: count(25_000, 1, 2_000_000, "How many calls of all kinds a node serves at a time."),
  unsentBytesMax: bytes(
    64 * MiB,
    MiB,
    64 * GiB,
    "What may wait for clients to take it, of the responses of all calls together; beyond it subscriptions are held back.",
  ),
  stalledMs: milliseconds(
    10 * second,
    100,
    hour,
    "How long a client may take nothing while others are held back for it; then its call ends.",
  ),
  callsPerConnectionMax: count(
    10_000,
    1,
    1_000_000,
    "How many of them on one connection; clients hold back the others.",
  ),
  producersMax: count(
    10_000,
    1,
    1_000_000,
    "How many producers each stream remembers; the one silent for longest is forgotten.",
  ),
  producerRequestsMax: count(
    64,
    1,
    1024,
    "How many requests of each producer are remembered, to recognize one sent again.",
  ),

  segmentBytes: bytes(256 * MiB, 64 * KiB, 8 * GiB, "Default of streams: the size of a segment, a multiple of 4 KiB."),
  segmentAgeMs: milliseconds(
    day,
    second,
    year,
    "Default of streams: the age at which a segment is closed though not full.",
  ),
  retentionAgeMs: milliseconds(
    0,
    0,
    100 * year,
    "Default of streams: how long records are kept, at least; 0: for ever.",
  ),
  retentionBytes: bytes(
    0,
    0,
    2 ** 52,
    "Default of streams: how many bytes of the newest records are kept, at least; 0: all.",
  ),
  producerWindowMs: milliseconds(
    day,
    second,
    year,
    "Default of streams: how long a producer is remembered after its last batch.",
  ),
  retentionSweepMs: milliseconds(
    5 * second,
    100,
    hour,
    "How often a page of streams is looked through for what may be deleted.",
  ),

  leaseSeconds: seconds(
    15,
    15,
    60,
    "How long a leader leads without renewing its lease. 15 to 60 s are Azure's limits.",
  ),
  renewMs: milliseconds(5 * second, 100, 20 * second, "How often a leader renews its lease; at most a third of it."),
  electionPollMs: milliseconds(
    5 * second,
    100,
    minute,
    "How often, at most, a standby looks whether the leader's lease is held.",
  ),
  peerHeartbeatMs: milliseconds(500, 50, 10 * second, "How often a leader says to each standby that it is there."),
  suspicionMs: milliseconds(
    3 * second,
    500,
    10 * minute,
    "How long a leader may be silent before a standby takes over from it; a multiple of its heartbeats.",
  ),
  leaderWaitMs: milliseconds(
    10 * second,
    0,
    10 * minute,
    "How long a call that needs the leader waits while none is known, unless its deadline is sooner.",
  ),
  handOverMs: milliseconds(
    2 * second,
    0,
    minute,
    "How long what was accepted may take to be stored before leadership is handed over all the same.",
  ),
  followPollMs: milliseconds(
    second,
    100,
    minute,
    "How often a standby looks for new records in storage while no leader tells it of them.",
  ),
  probeTimeoutMs: milliseconds(2 * second, 10, minute, "How long a standby waits for the leader to take a connection."),
  clockSkewMsMax: milliseconds(
    5 * second,
    second,
    hour,
    "How far a node's clock may be off storage's if it is to lead.",
  ),
  leaseTimeoutMs: milliseconds(5 * second, 100, minute, "How long a request about the lease may take."),
  storageTimeoutMs: milliseconds(30 * second, second, 10 * minute, "How long any other request to storage may take."),

  shutdownGraceMs: milliseconds(
    10 * second,
    0,
    10 * minute,
    "How long calls may go on when the vault is told to stop.",
  ),
  heartbeatMs: milliseconds(
    10 * second,
    100,
    5 * minute,
    "How long a subscription may be silent before it gets a heartbeat.",
  ),
  keepaliveMs: milliseconds(20 * second, second, hour, "How long a connection may be silent before it is pinged."),
  keepaliveTimeoutMs: milliseconds(
    10 * second,
    second,
    hour,
    "How long the answer to a ping may take before the connection is closed.",
  ),
  connectionAgeMsMax: milliseconds(
    0,
    0,
    30 * day,
    "The age at which connections are closed, so that clients spread over nodes; 0: never.",
  ),
  connectionAgeGraceMs: milliseconds(minute, 0, day, "How long calls of such a connection may go on."),

  telemetryStreamsMax: count(
    100,
    0,
    100_000,
    "How many streams, and subscriptions, metrics tell of one by one; the others are told of together.",
  ),
} as const;

/** A setting's name. */
export type SettingName = keyof typeof settings;
