/** The vault's code as a simulation runs it: the checkout's own, or a copy of it in which one step was left out. */
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type * as memory from "../../src/blob/memory.ts";
import type * as config from "../../src/config.ts";
import type * as errors from "../../src/errors.ts";
import type * as node from "../../src/node.ts";
import type * as fromStatus from "../../src/rpc/from-status.ts";
import type * as status from "../../src/rpc/status.ts";
import type * as verify from "../../src/stream/verify.ts";

/** The modules that a simulation uses itself, all of one copy of the code: errors are known by their class. */
export interface VaultSource {
  readonly errors: typeof errors;
  readonly memory: typeof memory;
  readonly verify: typeof verify;
  readonly config: typeof config;
  readonly node: typeof node;
  readonly status: typeof status;
  readonly fromStatus: typeof fromStatus;
}

/** Where the checkout is. */
export const checkoutRoot = resolve(import.meta.dirname, "../..");

/** Loads the code under `root`. */
export async function loadSource(root: string): Promise<VaultSource> {
  const load = (path: string): Promise<unknown> => import(pathToFileURL(join(root, "src", path)).href);
  return {
    errors: await load("errors.ts"),
    memory: await load("blob/memory.ts"),
    verify: await load("stream/verify.ts"),
    config: await load("config.ts"),
    node: await load("node.ts"),
    status: await load("rpc/status.ts"),
    fromStatus: await load("rpc/from-status.ts"),
  } as VaultSource;
}
