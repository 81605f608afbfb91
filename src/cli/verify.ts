import { Command } from "commander";
import type { BlobReader, ListPage } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import { createLog } from "../create-log.ts";
import { settings } from "../settings.ts";
import { validateStreamName } from "../stream/names.ts";
import { verifyStream } from "../stream/verify.ts";
import type { VerifyEvent, VerifyProgress } from "../stream/verify-events.ts";
import { describeBytes, describeSome, toJsonFields, toJsonLine } from "./describe.ts";
import { reportFailure } from "./failure.ts";
import { exitCodes, openOutput, say } from "./io.ts";
import type { CliIo, Output } from "./io.ts";
import { createProgress } from "./progress.ts";

interface VerifyOptions {
  readonly all?: boolean;
  readonly storage?: string;
  readonly json?: boolean;
}

interface Totals {
  streams: number;
  segments: number;
  frames: number;
  records: bigint;
  bytes: number;
  findings: number;
}

const streamsFolder = "streams/";
const pageSize = 1000;

const examples = `
Every frame and record is read: checksums, offsets, timestamps, seals, indexes, producers and settings. Nothing is
changed, and the vault may run meanwhile. The exit code is 0 if nothing is wrong, 1 if something is. The storage may also
be given by the environment variable MESSAGE_VAULT_STORAGE.

Examples:
  $ message-vault verify orders
  $ message-vault verify orders --storage file:./data
  $ message-vault verify --all --storage https://ACCOUNT.blob.core.windows.net/CONTAINER --json
`;

/** The command that checks streams on storage. `finish` gets the exit code. */
export function createVerifyCommand(io: CliIo, finish: (code: number) => void): Command {
  return new Command("verify")
    .summary("check streams on storage")
    .description("Reads streams from storage, without the vault, and names everything that is not as it should be.")
    .argument("[streams...]", "the streams to check")
    .option("--all", "check all streams")
    .option("--storage <setting>", `where the streams are: as for serve (default: ${settings.storage.defaultText})`)
    .option("--json", "print a JSON object a line")
    .addHelpText("after", examples)
    .action(async (streams: readonly string[], options: VerifyOptions) => {
      finish(await verify(io, streams, options));
    });
}

async function verify(io: CliIo, streams: readonly string[], options: VerifyOptions): Promise<number> {
  const { all = false, json = false } = options;
  if ((streams.length === 0) !== all) {
    say(io, "error: name the streams to check, or give --all");
    return exitCodes.usage;
  }
  const totals: Totals = { streams: 0, segments: 0, frames: 0, records: 0n, bytes: 0, findings: 0 };
  const output = openOutput(io);
  try {
    // Only now: the Azure SDK takes longest to load, and most commands do not need it.
    const { openReader } = await import("../blob/open-store.ts");
    const storage = options.storage ?? io.env["MESSAGE_VAULT_STORAGE"] ?? settings.storage.default;
    const store = await openReader(storage, io.clock, createLog("warn", "text", io.stderr));
    try {
      for await (const stream of all ? listNames(store) : streams) {
        addTo(totals, await verifyOne(io, output, store, stream, options));
        if (io.interrupted.aborted) return exitCodes.interrupted;
        if (output.closed.aborted) break;
      }
    } finally {
      await store.close();
    }
  } catch (error) {
    return reportFailure(io, error);
  }
  if (json) await output.write(toJsonLine({ kind: "summary", ...toJsonFields(totals) }));
  say(io, `${describeSome(totals.streams, "stream")} checked, ${describeSome(totals.findings, "finding")}`);
  return totals.findings === 0 ? exitCodes.done : exitCodes.failed;
}

async function* listNames(store: BlobReader): AsyncGenerator<string> {
  let from: string | undefined;
  do {
    const page: ListPage<string> = await store.listFolders(streamsFolder, pageSize, from);
    for (const folder of page.items) yield folder.slice(streamsFolder.length);
    from = page.next;
  } while (from !== undefined);
}

// Tells what is found as it is found, and returns the totals of the stream.
async function verifyOne(
  io: CliIo,
  output: Output,
  store: BlobReader,
  stream: string,
  { all = false, json = false }: VerifyOptions,
): Promise<Totals> {
  const progress = createProgress(io);
  let findings = 0;
  let last: VerifyProgress | undefined;
  for await (const event of readEvents(io, store, stream, all)) {
    if (event.kind === "progress") last = event;
    if (event.kind === "finding") findings++;
    if (json) await output.write(toJsonLine({ stream, ...toJsonFields(event) }));
    else if (event.kind !== "progress") {
      progress.clear();
      await output.write(`${stream}: ${describeEvent(event)}\n`);
    }
    if (last !== undefined) progress.update(() => `${stream}: ${describeTotals(last)}`);
    if (io.interrupted.aborted || output.closed.aborted) break;
  }
  progress.clear();
  if (!json) await output.write(`${stream}: ${describeTotals(last)}, ${describeSome(findings, "finding")}\n`);
  const { segments, frames, records, bytes } = last ?? { segments: 0, frames: 0, records: 0n, bytes: 0 };
  return { streams: 1, segments, frames, records, bytes, findings };
}

async function* readEvents(io: CliIo, store: BlobReader, stream: string, listed: boolean): AsyncGenerator<VerifyEvent> {
  try {
    validateStreamName(stream, "stream");
    yield* verifyStream(store, stream, io.clock);
  } catch (error) {
    if (!isKind(error, "notFound", "invalid")) throw error;
    const blob = error.detail.resource ?? stream;
    // What was listed and is not there any more was deleted meanwhile.
    if (listed && error.kind === "notFound") yield { kind: "note", blob, text: "was deleted before it was looked at" };
    else yield { kind: "finding", blob, position: undefined, problem: error.message };
  }
}

function addTo(totals: Totals, stream: Totals): void {
  totals.streams += stream.streams;
  totals.segments += stream.segments;
  totals.frames += stream.frames;
  totals.records += stream.records;
  totals.bytes += stream.bytes;
  totals.findings += stream.findings;
}

function describeEvent(event: Exclude<VerifyEvent, VerifyProgress>): string {
  if (event.kind === "note") return `note: ${event.blob}: ${event.text}`;
  const place = event.position === undefined ? event.blob : `${event.blob} at ${event.position}`;
  return `FINDING: ${place}: ${event.problem}`;
}

function describeTotals(last: VerifyProgress | undefined): string {
  if (last === undefined) return "nothing stored";
  const { segments, frames, records, bytes } = last;
  const parts = [describeSome(segments, "segment"), describeSome(frames, "frame"), describeSome(records, "record")];
  return `${parts.join(", ")}, ${describeBytes(bytes)}`;
}
