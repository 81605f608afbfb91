/** The vault's code as a simulation runs it: the checkout's own, or a copy of it in which one step was left out. */
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** The modules that a simulation uses itself, of one copy of the code: errors are compared by their class. */
export interface VaultSource {
  readonly errors: typeof import("../../src/errors.ts");
  readonly memory: typeof import("../../src/blob/memory.ts");
  readonly verify: typeof import("../../src/stream/verify.ts");
  readonly config: typeof import("../../src/config.ts");
  readonly node: typeof import("../../src/node.ts");
  readonly status: typeof import("../../src/rpc/status.ts");
  readonly fromStatus: typeof import("../../src/rpc/from-status.ts");
}

/** Where the checkout is. */
export const checkoutRoot = resolve(import.meta.dirname, "../..");

/** Loads the code under `root`. */
export async function loadSource(root: string): Promise<VaultSource> {
  const load = (path: string): Promise<unknown> => import(pathToFileURL(join(root, "src", path)).href);
  const [errors, memory, verify, config, node, status, fromStatus] = await Promise.all([
    load("errors.ts"),
    load("blob/memory.ts"),
    load("stream/verify.ts"),
    load("config.ts"),
    load("node.ts"),
    load("rpc/status.ts"),
    load("rpc/from-status.ts"),
  ]);
  return { errors, memory, verify, config, node, status, fromStatus } as VaultSource;
}
