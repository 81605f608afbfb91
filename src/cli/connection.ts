import { readFile } from "node:fs/promises";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { connect } from "../client.ts";
import type { VaultClient } from "../client.ts";
import { VaultError } from "../errors.ts";
import type { Log } from "../log.ts";
import { silentLog } from "../log.ts";
import { exitCodes, say } from "./io.ts";
import type { CliIo } from "./io.ts";
import { reportFailure } from "./failure.ts";

/** What the commands that talk to a vault have in common. */
export interface ConnectionOptions {
  readonly address: readonly string[];
  readonly tls?: boolean;
  readonly tlsCa?: string;
}

const defaultAddresses: readonly string[] = ["127.0.0.1:50051"];

// How long a command waits for a first sign of life: long enough for one that is starting.
const firstContactMs = 2000;

/** Adds what says where the vault is to a command. */
export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option("-a, --address <host:port>", "where the vault is; may be repeated, or a list with commas")
        .env("MESSAGE_VAULT_ADDRESS")
        .default(defaultAddresses, defaultAddresses.join())
        .argParser(collectAddresses),
    )
    .option("--tls", "speak TLS, with the system's certificate authorities")
    .option("--tls-ca <file>", "speak TLS, with the certificate authority in this PEM file");
}

function collectAddresses(text: string, previous: readonly string[]): readonly string[] {
  const addresses = text.split(",").map((address) => address.trim());
  for (const address of addresses) {
    if (!/^(\[[0-9a-f:.]+\]|[^\s:/]+):\d{1,5}$/i.test(address)) {
      throw new InvalidArgumentError("Give a host and a port, such as 127.0.0.1:50051.");
    }
  }
  return previous === defaultAddresses ? addresses : [...previous, ...addresses];
}

/**
 * Runs `use` with a client, once the vault has answered a first call, and closes the client. What goes wrong is
 * reported; the result is the exit code.
 */
export async function withClient(
  io: CliIo,
  options: ConnectionOptions,
  use: (client: VaultClient) => Promise<number>,
): Promise<number> {
  let client: VaultClient | undefined;
  try {
    client = await open(io, options);
    await client.getCluster({ retryForMs: firstContactMs, timeoutMs: 10_000, signal: io.interrupted });
    return await use(client);
  } catch (error) {
    if (io.interrupted.aborted) return exitCodes.interrupted;
    return reportFailure(io, error);
  } finally {
    client?.close();
  }
}

async function open(io: CliIo, options: ConnectionOptions): Promise<VaultClient> {
  const settings = { addresses: options.address, clock: io.clock, log: createCliLog(io) };
  if (options.tls !== true && options.tlsCa === undefined) return connect(settings);
  const tls = options.tlsCa === undefined ? {} : { rootCertificates: await readCertificates(options.tlsCa) };
  return connect({ ...settings, tls });
}

async function readCertificates(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new VaultError("invalid", `--tls-ca: ${error instanceof Error ? error.message : path}`, {}, error);
  }
}

// Interruptions that the client gets over by itself are worth a line, as the command seems to hang meanwhile; the same
// one again is not.
function createCliLog(io: CliIo): Log {
  let last: string | undefined;
  const warn: Log["warn"] = (event, fields) => {
    const cause = fields?.["error"];
    const text = `${event}: ${cause instanceof Error ? cause.message : ""}; trying again`;
    if (text !== last) say(io, text);
    last = text;
  };
  return { ...silentLog, warn };
}
