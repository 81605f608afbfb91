/** A whole vault in the process of a test that uses one: no child process, no file, no fixed port. */
import { connect } from "./client.ts";
import type { VaultClient } from "./client.ts";
import { systemClock } from "./clock.ts";
import { loadConfig } from "./config.ts";
import type { Config } from "./config.ts";
import { silentLog } from "./log.ts";
import type { Log } from "./log.ts";
import { startVault } from "./server.ts";

export type { Config as VaultSettings } from "./config.ts";

/** How a test's vault is. */
export interface TestVaultOptions {
  /** Settings by their names in docs/settings.md, in camel case, such as `recordBytesMax`; the defaults where absent. */
  readonly settings?: Partial<Config>;
  /** Where the vault logs; nowhere by default. */
  readonly log?: Log;
}

/** A vault that runs in this process. */
export interface TestVault extends AsyncDisposable {
  /** Where it is: `127.0.0.1:PORT`. Any gRPC client can use it. */
  readonly address: string;
  /** A client of it, which is closed with it. */
  readonly client: VaultClient;
  /** Ends it: subscriptions end with `unavailable`, and what was stored is gone. */
  close(): Promise<void>;
}

// A test that ends in the middle of something shall not wait for it.
const shutdownGraceMs = 100;

/**
 * Starts a vault on a free port of this machine, with its storage in memory. It keeps the process alive until it is
 * closed. Throws `invalid` for settings that are not allowed.
 */
export async function startTestVault(options: TestVaultOptions = {}): Promise<TestVault> {
  const { settings = {}, log = silentLog } = options;
  const config = loadConfig({ host: "127.0.0.1", port: 0, storage: "memory:", shutdownGraceMs, ...settings }, {});
  const vault = await startVault(config, { clock: systemClock, log });
  const address = vault.endpoint;
  const client = connect({ addresses: [address] });
  let closing: Promise<void> | undefined;
  function close(): Promise<void> {
    client.close();
    closing ??= vault.close();
    return closing;
  }
  return { address, client, close, [Symbol.asyncDispose]: close };
}
