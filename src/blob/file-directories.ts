/**
 * The directories of a file store.
 *
 * Invariant: a directory is in `settled` only if its own entry, and all that was in it at that time, is durable. What a
 * process that was killed had not synced yet is seen by the next one though a power loss may still take it; so each
 * directory is synced once by each process before anything in it is believed or built upon.
 */
import path from "node:path";
import type { BlobEntry } from "./blob-store.ts";
import { decodeComponent, encodeName } from "./file-names.ts";
import type { FileSystem } from "./file-system.ts";
import { hasCode } from "./file-system.ts";

/** A blob's file, found by walking. */
export interface FoundFile {
  readonly name: BlobEntry["name"];
  readonly path: string;
}

/** The directories of one store. Paths are absolute; rejections are Node's own errors. */
export interface Directories {
  /** The path of a blob's file. */
  pathOf(name: string): string;
  /** Makes sure that a directory is there, durably. */
  ensure(directory: string): Promise<void>;
  /** Makes what is in a directory durable, once a process; does nothing where there is none. */
  settle(directory: string): Promise<void>;
  /** Makes the latest changes in a directory durable. */
  sync(directory: string): Promise<void>;
  /** Believes nothing of a directory and those above it any more: the next use makes or syncs them again. */
  forget(directory: string): void;
  /** Deletes a directory and those above it as far as they are empty. */
  prune(directory: string): Promise<void>;
  /** The blobs' files whose names begin with `prefix`, from the name `from` on, in byte order of the names. */
  walk(prefix: string, from: string): AsyncIterable<FoundFile>;
  /** The folders after `prefix` that hold blobs (see BlobStore.listFolders), from `from` on. */
  folders(prefix: string, from: string): AsyncIterable<string>;
}

interface Child {
  /** The name's component; with a `/` at its end for a directory, so that children sort as whole names do. */
  readonly key: string;
  readonly path: string;
}

/** The directories below `root`, which is there. Entries of it that are no blob names are left alone. */
export function createDirectories(fileSystem: FileSystem, root: string): Directories {
  const settled = new Set<string>();

  async function ensure(directory: string): Promise<void> {
    if (settled.has(directory)) return;
    if (directory !== root) {
      await ensure(path.dirname(directory));
      await fileSystem.mkdir(directory).catch((error: unknown) => {
        if (!hasCode(error, "EEXIST")) throw error;
      });
    }
    await settle(directory);
  }

  async function settle(directory: string): Promise<void> {
    if (settled.has(directory)) return;
    if (directory !== root) {
      const parent = path.dirname(directory);
      // A parent that was settled before this directory was made has not synced its entry.
      const old = settled.has(parent);
      await settle(parent);
      if (old) await fileSystem.syncDirectory(parent);
    }
    try {
      await fileSystem.syncDirectory(directory);
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return;
      throw error;
    }
    settled.add(directory);
  }

  function forget(directory: string): void {
    settled.delete(directory);
    if (directory !== root) forget(path.dirname(directory));
  }

  async function children(directory: string): Promise<Child[]> {
    const found = await fileSystem.readdir(directory).catch((error: unknown) => {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return [];
      throw error;
    });
    const list: Child[] = [];
    for (const entry of found) {
      const component = decodeComponent(entry.name);
      if (component === undefined) continue;
      list.push({ key: entry.directory ? `${component}/` : component, path: path.join(directory, entry.name) });
    }
    return list.toSorted((one, other) => (one.key < other.key ? -1 : 1));
  }

  async function* walkIn(directory: string, base: string, prefix: string, from: string): AsyncIterable<FoundFile> {
    await settle(directory);
    for (const child of await children(directory)) {
      const name = base + child.key;
      if (!child.key.endsWith("/")) {
        if (name.startsWith(prefix) && name >= from) yield { name, path: child.path };
      } else if ((name.startsWith(prefix) || prefix.startsWith(name)) && (name >= from || from.startsWith(name))) {
        yield* walkIn(child.path, name, prefix, from);
      }
    }
  }

  /** Without syncing anything: that a folder is named promises nothing of what is in it. */
  async function holdsBlob(directory: string): Promise<boolean> {
    for (const child of await children(directory)) {
      if (!child.key.endsWith("/") || (await holdsBlob(child.path))) return true;
    }
    return false;
  }

  return {
    pathOf: (name) => path.join(root, encodeName(name)),
    ensure,
    settle,
    sync: (directory) => fileSystem.syncDirectory(directory),
    forget,
    async prune(directory) {
      for (let at = directory; at !== root; at = path.dirname(at)) {
        settled.delete(at);
        try {
          await fileSystem.rmdir(at);
        } catch {
          return;
        }
        // Who made sure of it meanwhile may have found it while it was still there.
        settled.delete(at);
      }
    },
    walk: (prefix, from) => walkIn(startOf(root, prefix), baseOf(prefix), prefix, from),
    async *folders(prefix, from) {
      const base = baseOf(prefix);
      const start = startOf(root, prefix);
      await settle(start);
      for (const child of await children(start)) {
        const name = base + child.key;
        if (!name.endsWith("/") || !name.startsWith(prefix) || name < from) continue;
        if (await holdsBlob(child.path)) yield name.slice(0, -1);
      }
    },
  };
}

/** The part of a prefix that names whole directories. */
function baseOf(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf("/") + 1);
}

function startOf(root: string, prefix: string): string {
  const base = baseOf(prefix);
  return base === "" ? root : path.join(root, encodeName(base.slice(0, -1)));
}
