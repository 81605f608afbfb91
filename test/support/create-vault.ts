import type { ExecutionContext } from "ava";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import type { Config } from "../../src/config.ts";
import { silentLog } from "../../src/log.ts";
import { startVault } from "../../src/server.ts";
import type { Telemetry } from "../../src/telemetry.ts";

/** A vault in this process. */
export interface TestVault {
  /** `host:port`. */
  readonly endpoint: string;
  /** `host:port` of its HTTP port; undefined where it has none. */
  readonly httpAddress: string | undefined;
  /** Ends the vault before the test does. */
  close(): Promise<void>;
}

/** Starts a vault in this process, in memory and on a free port unless `settings` say otherwise, for as long as `t`. */
export async function createVault(
  t: ExecutionContext,
  settings: Partial<Config> = {},
  telemetry?: Telemetry,
): Promise<TestVault> {
  const config = loadConfig({ storage: "memory:", port: 0, shutdownGraceMs: 500, ...settings }, {});
  const vault = await startVault(config, { clock: systemClock, log: silentLog, telemetry });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= vault.close());
  t.teardown(close);
  return { endpoint: vault.endpoint, httpAddress: vault.httpAddress, close };
}
