import { Command } from "commander";
import type { BlobReader, ListPage } from "../blob/blob-store.ts";
import { isKind } from "../errors.ts";
import { createLog } from "../log.ts";
import { settings } from "../settings.ts";
import { metadataBlob } from "../stream/metadata.ts";
import { verifyStream } from "../stream/verify.ts";
import type { VerifyEvent, VerifyProgress } from "../stream/verify.ts";
import { describeBytes, describeSome, toJsonFields, toJsonLine } from "./describe.ts";
import { reportFailure } from "./failure.ts";
import { exitCodes, openOutput, say } from "./io.ts";
import type { CliIo, Output } from "./io.ts";

interface VerifyOptions {
  readonly all?: boolean;
  readonly storage?: string;
  readonly json?: boolean;
}

const streamsFolder = "streams/";
const pageSize = 1000;

const examples = `
Every frame and record is read: checksums, offsets, timestamps, seals, indexes, producers and settings. Nothing is
changed, and the vault may run meanwhile. The exit code is 0 if nothing is wrong.

Examples:
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
  if ((streams.length === 0) === (options.all !== true)) {
    say(io, "error: name the streams to check, or give --all");
    return exitCodes.usage;
  }
  const output = openOutput(io);
  let findings = 0;
  let checked = 0;
  try {
    // Only now: the Azure SDK takes longest to load, and most commands do not need it.
    const { openReader } = await import("../blob/open-store.ts");
    const storage = options.storage ?? io.env["MESSAGE_VAULT_STORAGE"] ?? settings.storage.default;
    const store = await openReader(storage, io.clock, createLog("warn", "text", io.stderr));
    try {
      for await (const stream of options.all === true ? listNames(store) : streams) {
        findings += await verifyOne(io, output, store, stream, options.json === true);
        checked++;
        if (io.interrupted.aborted) return exitCodes.interrupted;
      }
    } finally {
      await store.close();
    }
  } catch (error) {
    return reportFailure(io, error);
  }
  say(io, `${describeSome(checked, "stream")} checked, ${describeSome(findings, "finding")}`);
  return findings === 0 ? exitCodes.done : exitCodes.failed;
}

// All streams that there are. A folder without metadata is what a deletion has left, or a creation has begun.
async function* listNames(store: BlobReader): AsyncGenerator<string> {
  let from: string | undefined = "";
  while (from !== undefined) {
    const page: ListPage<string> = await store.listFolders(streamsFolder, pageSize, from);
    for (const folder of page.items) {
      const name = folder.slice(streamsFolder.length);
      if ((await store.properties(metadataBlob(name))) !== undefined) yield name;
    }
    from = page.next;
  }
}

// Returns how much was found.
async function verifyOne(io: CliIo, output: Output, store: BlobReader, stream: string, json: boolean): Promise<number> {
  let findings = 0;
  let last: VerifyProgress | undefined;
  for await (const event of readEvents(store, stream)) {
    if (event.kind === "progress") last = event;
    if (event.kind === "finding") findings++;
    if (json) await output.write(toJsonLine({ stream, ...toJsonFields(event) }));
    else if (event.kind !== "progress") await output.write(`${stream}: ${describeEvent(event)}\n`);
    if (io.interrupted.aborted) return findings;
  }
  if (!json) await output.write(`${stream}: ${describeTotals(last)}, ${describeSome(findings, "finding")}\n`);
  return findings;
}

// What cannot be read at all is one of the findings: other streams are checked all the same.
async function* readEvents(store: BlobReader, stream: string): AsyncGenerator<VerifyEvent> {
  try {
    yield* verifyStream(store, stream);
  } catch (error) {
    if (isKind(error, "notFound")) {
      const text = "was deleted or trimmed while it was read: check the stream again";
      yield { kind: "note", blob: error.detail.resource ?? stream, text };
      return;
    }
    if (!isKind(error, "corrupt", "invalid")) throw error;
    const blob = error.detail.resource ?? metadataBlob(stream);
    yield { kind: "finding", blob, position: undefined, problem: error.message };
  }
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
