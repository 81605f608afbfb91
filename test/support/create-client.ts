import type { ExecutionContext } from "ava";
import { connect } from "../../src/client.ts";
import type { ConnectOptions, VaultClient } from "../../src/client.ts";

/** A client of a vault, for as long as `t`. */
export function createClient(
  t: ExecutionContext,
  vault: { readonly endpoint: string },
  options: Partial<ConnectOptions> = {},
): VaultClient {
  const client = connect({ addresses: [vault.endpoint], ...options });
  t.teardown(() => client.close());
  return client;
}
