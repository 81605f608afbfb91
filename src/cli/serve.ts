import { setFlagsFromString } from "node:v8";
import { Command, Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { describeSettings, loadConfig } from "../config.ts";
import type { Config } from "../config.ts";
import { isKind } from "../errors.ts";
import { createLog } from "../create-log.ts";
import { blotSecrets, type Log } from "../log.ts";
import type { RunningVault } from "../server.ts";
import { isDisabled, readAskedSignals } from "../telemetry/asked-signals.ts";
import type { LoadedTelemetry } from "../telemetry/load-telemetry.ts";
import { toJsonLine } from "./describe.ts";
import { reportFailure } from "./failure.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";

const examples = `
Each setting may also be given by an environment variable: --segment-bytes is MESSAGE_VAULT_SEGMENT_BYTES. Sizes are
written as 64MiB, times as 30s. SIGTERM or Ctrl-C ends the vault in an orderly way, a second one at once.

Examples:
  $ message-vault serve
  $ message-vault serve --storage memory: --port 0 --json
  $ message-vault serve --storage file:/var/lib/vault --host 0.0.0.0
  $ message-vault serve --storage azurite:
  $ message-vault serve --storage https://ACCOUNT.blob.core.windows.net/CONTAINER
`;

/** The command that runs a vault. `finish` gets the exit code. */
export function createServeCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("serve").summary("run a vault").description("Runs a vault, until it is told to stop.");
  for (const row of describeSettings()) {
    const description = `${row.description} (${row.allowed}; default: ${row.default})`;
    command.addOption(new Option(`${row.flag} ${row.toggle ? "[boolean]" : "<value>"}`, description));
  }
  return command.addHelpText("after", examples).action(async (flags: Record<string, unknown>) => {
    finish(await serve(io, flags));
  });
}

async function serve(io: CliIo, flags: Readonly<Record<string, unknown>>): Promise<number> {
  let config: Config;
  try {
    config = loadConfig(flags, io.env);
  } catch (error) {
    if (!isKind(error, "invalid")) throw error;
    say(io, error.message.replace(/^/gm, "error: "));
    return exitCodes.usage;
  }
  let loaded: LoadedTelemetry | undefined;
  const format = config.json || io.stderr.isTTY !== true ? "json" : "text";
  const log = createLog(config.logLevel, format, io.stderr, () => loaded?.telemetry.active?.context);
  try {
    loaded = await openTelemetry(io, config, log);
    // Only now: what stands behind it takes longest to load, and the other commands do not need it.
    tuneGarbageCollection();
    const { startVault } = await import("../server.ts");
    const vault = await startVault(config, {
      clock: io.clock,
      log,
      telemetry: loaded?.telemetry,
      metrics: loaded?.scrape,
    });
    announce(io, config, vault);
    await waitForAbort(io.interrupted);
    if (io.stderr.isTTY === true) say(io, "\nstopping; Ctrl-C again ends at once");
    await vault.close();
    return exitCodes.done;
  } catch (error) {
    return reportFailure(io, error);
  } finally {
    await loaded?.close();
  }
}

/** Telemetry as the standard variables and the HTTP port ask for it; undefined, and nothing loaded, where none does. */
async function openTelemetry(io: CliIo, config: Config, log: Log): Promise<LoadedTelemetry | undefined> {
  const { env: environment, clock } = io;
  const scraped = config.httpPort !== undefined && !isDisabled(environment);
  const asked = readAskedSignals(environment);
  if (!scraped && !asked.metrics && !asked.traces) return undefined;
  const { loadTelemetry } = await import("../telemetry/load-telemetry.ts");
  return loadTelemetry({
    environment,
    clock,
    log,
    scraped,
    streamsMax: config.telemetryStreamsMax,
    version: packageJson.version,
  });
}

/**
 * Nearly all memory that a vault turns over is outside of V8's heap: requests, commits, blocks, responses. By default V8
 * begins a full collection whenever 64 MiB of that came since the last one, which under load was half of the CPU time.
 * With this flag it weighs such memory as it does the heap. [V8 14: `node --v8-options`; versions without it say so]
 */
function tuneGarbageCollection(): void {
  if (Number.parseInt(process.versions.v8, 10) >= 14) setFlagsFromString("--external-memory-accounted-in-global-limit");
}

function announce(io: CliIo, config: Config, { endpoint: address, httpAddress: http }: RunningVault): void {
  const storage = blotSecrets(config.storage);
  if (config.json) io.stdout.write(toJsonLine({ address, http, pid: process.pid, storage }));
  else say(io, describeFirstSteps(address, storage, http));
}

function describeFirstSteps(address: string, storage: string, http: string | undefined): string {
  const at = address.endsWith(":50051") ? "" : ` --address ${address}`;
  const watching = http === undefined ? "" : `\nhttp://${http} has /metrics, /livez and /readyz.`;
  return `Message Vault serves ${address}, with its storage in ${storage}. Ctrl-C stops it.${watching}

In another terminal, try:
  printf 'hello\\nworld\\n' | npm run -s vault -- publish greetings${at}
  npm run -s vault -- subscribe greetings --follow${at}
  npm run -s vault -- streams list --long${at}
`;
}

function waitForAbort(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
